//! The proxy and the application's sidecar, as the tenant admin knows them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use trefoil_keys::bundle::PrivateKeyPem;
use trefoil_keys::envelope::EnvelopePublicKey;
use trefoil_keys::signing::VerifyingKey;
use trefoil_keys::tls::Fingerprint;
use zeroize::Zeroizing;

/// The proxy.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    /// Its admin port; unknown after a hand-over by file.
    pub(crate) url: Option<String>,
    /// Of the certificate there.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Signs receipts and its status.
    pub(crate) receipt_key: VerifyingKey,
    /// To which envelopes and proxy shares are sealed, the current one first.
    pub(crate) envelope_keys: Vec<EnvelopePublicKey>,
    /// Until when former envelope keys are good, by `kid`.
    pub(crate) retires: BTreeMap<String, u64>,
}

impl Proxy {
    /// A proxy with these keys, at an unknown address.
    pub(crate) fn new(receipt_key: VerifyingKey, envelope_keys: Vec<EnvelopePublicKey>) -> Self {
        Self { url: None, fingerprint: None, receipt_key, envelope_keys, retires: BTreeMap::new() }
    }
}

/// The interface of the application's sidecar for the tenant admin.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) fingerprint: Fingerprint,
    /// Asked for in each run if absent.
    pub(crate) password: Option<Password>,
    pub(crate) client: Option<ClientCertificate>,
}

/// By which the sidecar knows this tenant admin, beside the password.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientCertificate {
    /// PEM, the own certificate first.
    pub(crate) chain: String,
    pub(crate) key: PrivateKeyPem,
}

/// A password, wiped on drop.
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

/// The seed of a signing key as base64url, for `#[serde(with = …)]`.
pub(super) mod signing_key_text {
    use super::{Deserializer, Serializer, Zeroizing};
    use trefoil_keys::bundle::share_text;
    use trefoil_keys::secret::Share;
    use trefoil_keys::signing::SigningKey;

    pub(crate) fn serialize<S: Serializer>(key: &SigningKey, serializer: S) -> Result<S::Ok, S::Error> {
        share_text::serialize(&Share::from_bytes(*key.seed()), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SigningKey, D::Error> {
        let seed = share_text::deserialize(deserializer)?;
        SigningKey::from_seed(Zeroizing::new(*seed.as_bytes()))
            .map_err(|_| serde::de::Error::custom("not a signing key"))
    }
}
