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

#[cfg(test)]
mod tests {
    use super::{Handover, KeyspaceKey, TenantKey, Version};
    use crate::envelope::{EnvelopeError, EnvelopePrivateKey, Reason, Sealed, seal};
    use crate::signing::SigningKey;
    use proptest::prelude::{ProptestConfig, any, prop, proptest};
    use zeroize::Zeroizing;

    fn private_key() -> EnvelopePrivateKey {
        EnvelopePrivateKey::from_pkcs8_pem(include_str!("../tests/vectors/proxy-key.pem")).unwrap()
    }

    fn handover() -> Handover {
        let key = TenantKey::from_bytes(Zeroizing::new([7; 32]));
        Handover {
            version: Version,
            tenant: "clinic".to_owned(),
            application: "clinic-app".to_owned(),
            keyspaces: [("main".to_owned(), KeyspaceKey { epoch: 1, key })].into(),
            signing_key: SigningKey::from_seed(Zeroizing::new([9; 32])).unwrap(),
            receipt_key: SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap().verifying_key().clone(),
            envelope_keys: vec![private_key().public_key().clone()],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens(
            names in prop::array::uniform2("\\PC{1,40}"),
            keys in prop::collection::btree_map("\\PC{1,40}", any::<(u8, [u8; 32])>(), 1..5),
            seed in any::<[u8; 32]>(),
        ) {
            let [tenant, application] = names;
            let keyspace = |(epoch, bytes)| {
                KeyspaceKey { epoch, key: TenantKey::from_bytes(Zeroizing::new(bytes)) }
            };
            let sealed = Handover {
                tenant,
                application,
                keyspaces: keys.into_iter().map(|(name, key)| (name, keyspace(key))).collect(),
                signing_key: SigningKey::from_seed(Zeroizing::new(seed)).unwrap(),
                ..handover()
            };
            let key = private_key();
            let opened: Handover = key.open(&seal(&sealed, key.public_key()).unwrap()).unwrap();
            assert!(opened.to_claims().unwrap() == sealed.to_claims().unwrap());
            assert!(opened.keyspaces.values().zip(sealed.keyspaces.values()).all(|(a, b)| a.key == b.key));
            assert_eq!(opened.signing_key.verifying_key(), sealed.signing_key.verifying_key());
        }
    }

    #[test]
    fn only_complete_hand_overs_are_read() {
        let json = handover().to_claims().unwrap();
        let json = std::str::from_utf8(&json).unwrap();
        assert!(Handover::from_claims(json.as_bytes()).is_ok());
        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        let escaped = key.replacen('B', "\\u0042", 1);
        let again = format!(r#""main": {{"epoch":1,"key":"{key}"}}, "main""#);
        for (from, to) in [
            (r#""version": 1"#, r#""version": 2"#),
            (r#""clinic""#, r#""""#),
            (r#""clinic-app""#, r#""""#),
            (r#""application""#, r#""applications""#),
            (r#""main""#, r#""""#),
            (r#""main""#, &again),
            (r#""epoch": 1"#, r#""epoch": 0.5"#),
            (key, "AAAA"),
            (key, &escaped),
            (r#""signing_seed""#, r#""signing_key""#),
            ("CQkJ", "CQk"),
            (r#""OKP""#, r#""EC""#),
            (r#""AQAB""#, r#""AQAC""#),
            ("{", r#"{"more":1,"#),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json);
            let read = Handover::from_claims(altered.as_bytes()).err();
            assert_eq!(read, Some(EnvelopeError::Rejected(Reason::Claims)), "{from} -> {to}");
        }
        let large = Handover::from_claims(&vec![b' '; Handover::MAX_LENGTH + 1]).err();
        assert_eq!(large, Some(EnvelopeError::Rejected(Reason::Size)));
    }

    #[test]
    fn only_complete_hand_overs_are_made() {
        let twice = vec![private_key().public_key().clone(); 2];
        for incomplete in [
            Handover { tenant: String::new(), ..handover() },
            Handover { keyspaces: [].into(), ..handover() },
            Handover { envelope_keys: vec![], ..handover() },
            Handover { envelope_keys: twice, ..handover() },
            Handover { tenant: "a".repeat(Handover::MAX_LENGTH), ..handover() },
        ] {
            assert_eq!(incomplete.to_claims().err(), Some(EnvelopeError::Unsealable));
        }
    }
}
