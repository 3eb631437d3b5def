//! The hand-over: what the proxy gives to the tenant admin once, the tenant key and the tenant's signing
//! key. Over the bootstrap's TLS as JSON, or sealed to the tenant admin's RSA key (`handover+jwe`).

use crate::bundle::Version;
use crate::envelope::{EnvelopeError, EnvelopePublicKey, Reason, Sealed, all_different};
use crate::json::unique_map;
use crate::private_file;
use crate::secret::TenantKey;
use crate::signing::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What the proxy hands over. Neither it nor its JSON is ever stored by the proxy.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Of the format.
    pub version: Version,
    /// Tenant's name.
    pub tenant: String,
    /// The application's id.
    pub application: String,
    /// The tenant keys by keyspace; at least one.
    #[serde(with = "unique_map")]
    pub keyspaces: BTreeMap<String, KeyspaceKey>,
    /// What the tenant admin will sign with.
    #[serde(rename = "signing_seed", with = "seed_text")]
    pub signing_key: SigningKey,
    /// What the proxy signs with.
    pub receipt_key: VerifyingKey,
    /// The keys that envelopes may be sealed to, the current one first; at least one.
    pub envelope_keys: Vec<EnvelopePublicKey>,
}

/// The tenant key of one keyspace.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceKey {
    /// Its epoch.
    pub epoch: u8,
    /// The key.
    #[serde(with = "tenant_key_text")]
    pub key: TenantKey,
}

impl Handover {
    fn is_complete(&self) -> bool {
        let texts = [&self.tenant, &self.application];
        texts.into_iter().chain(self.keyspaces.keys()).all(|text| !text.is_empty())
            && !self.keyspaces.is_empty()
            && !self.envelope_keys.is_empty()
            && all_different(&self.envelope_keys)
    }
}

/// The JSON form is the sealed one's claims: [`Sealed::to_claims`] and [`Sealed::from_claims`].
impl Sealed for Handover {
    const TYP: &'static str = "handover+jwe";
    const MAX_LENGTH: usize = 64 * 1024;

    fn to_claims(&self) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if !self.is_complete() {
            return Err(EnvelopeError::Unsealable);
        }
        match private_file::to_json(self) {
            Ok(json) if json.len() <= Self::MAX_LENGTH => Ok(json),
            _ => Err(EnvelopeError::Unsealable),
        }
    }

    fn from_claims(json: &[u8]) -> Result<Self, EnvelopeError> {
        let rejected = |reason| Err(EnvelopeError::Rejected(reason));
        if json.len() > Self::MAX_LENGTH {
            return rejected(Reason::Size);
        }
        match serde_json::from_slice::<Self>(json) {
            Ok(handover) if handover.is_complete() => Ok(handover),
            _ => rejected(Reason::Claims),
        }
    }
}

/// A tenant key as base64url without padding: it has no `Serialize` of its own, so that none is written
/// by accident.
mod tenant_key_text {
    use super::TenantKey;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(key: &TenantKey, serializer: S) -> Result<S::Ok, S::Error> {
        super::secret_text::serialize(key.as_bytes(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TenantKey, D::Error> {
        super::secret_text::deserialize(deserializer).map(TenantKey::from_bytes)
    }
}

/// A signing key as its seed in base64url without padding.
mod seed_text {
    use super::SigningKey;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(key: &SigningKey, serializer: S) -> Result<S::Ok, S::Error> {
        super::secret_text::serialize(key.seed(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SigningKey, D::Error> {
        SigningKey::from_seed(super::secret_text::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod secret_text {
    use crate::bundle::share_text;
    use crate::secret::LENGTH;
    use base64ct::{Base64UrlUnpadded, Encoding};
    use serde::{Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; LENGTH], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(Base64UrlUnpadded::encode_string(bytes)))
    }

    /// Reads the text in place, as a share's.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<[u8; LENGTH]>, D::Error> {
        share_text::deserialize(deserializer).map(|secret| Zeroizing::new(*secret.as_bytes()))
    }
}
