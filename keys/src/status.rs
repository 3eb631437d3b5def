//! Status: what the proxy signs about itself, for whoever asks with a nonce of his own.

use crate::audit::Head;
use crate::envelope::{EnvelopePublicKey, all_different};
use crate::json::{optional_digest, unique_map};
use crate::signing::{Claims, SigningError, VerifyingKey, compact};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest nonce in bytes.
pub const MAX_NONCE: usize = 64;

/// What the proxy says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Tenant's name.
    pub tenant: String,
    /// The application's id.
    pub application: String,
    /// The asker's, of 1 to [`MAX_NONCE`] bytes: shows that this is no old answer.
    pub nonce: String,
    /// When it was signed, in seconds since 1970.
    pub at: u64,
    /// How far the proxy's bootstrap has come.
    pub state: State,
    /// SHA-256 of the claim that the tenant key was handed to.
    #[serde(default, with = "optional_digest", skip_serializing_if = "Option::is_none")]
    pub claim_sha256: Option<[u8; 32]>,
    /// Number of the last command that was applied; 0 if none was.
    pub seq: u64,
    /// [`crate::signing::hash`] of that command.
    #[serde(default, with = "optional_digest", skip_serializing_if = "Option::is_none")]
    pub last_command_sha256: Option<[u8; 32]>,
    /// The keys that envelopes may be sealed to, the current one first.
    pub envelope_keys: Vec<EnvelopePublicKey>,
    /// What the proxy signs with.
    pub receipt_key: VerifyingKey,
    /// What the tenant admin signs commands with, as far as the proxy knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_key: Option<VerifyingKey>,
    /// Epoch of the tenant key by keyspace.
    #[serde(with = "unique_map")]
    pub keyspaces: BTreeMap<String, u8>,
    /// How far the audit log has come, if one is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Head>,
}

/// How far a proxy's bootstrap has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for the tenant admin.
    Open,
    /// The tenant key was handed over and the hand-over not confirmed.
    Claimed,
    /// Done.
    Ready,
    /// Given up: the proxy must be made anew.
    Burnt,
}

impl Status {
    /// Reads the status of a proxy whose key is not known yet, by the key that it names itself. This
    /// shows only that who answers has that key: who he is, a pinned channel must say.
    ///
    /// # Errors
    /// [`SigningError::Rejected`].
    pub fn introduce(jws: &str) -> Result<Self, SigningError> {
        compact::read_unverified::<Self>(jws)?.receipt_key.verify(jws)
    }
}

impl Claims for Status {
    const TYP: &'static str = "trefoil-status+jws";
    const MAX_LENGTH: usize = 64 * 1024;

    fn is_complete(&self) -> bool {
        let texts = [&self.tenant, &self.application, &self.nonce];
        texts.into_iter().chain(self.keyspaces.keys()).all(|text| !text.is_empty())
            && self.nonce.len() <= MAX_NONCE
            && (self.seq > 0) == self.last_command_sha256.is_some()
            && !self.envelope_keys.is_empty()
            && all_different(&self.envelope_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Claims, EnvelopePublicKey, Head, MAX_NONCE, SigningError, State, Status};
    use crate::envelope::EnvelopePrivateKey;
    use crate::signing::{Reason, SigningKey, compact};
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
    use zeroize::Zeroizing;

    fn key() -> SigningKey {
        SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap()
    }

    fn public_key() -> EnvelopePublicKey {
        let pem = include_str!("../tests/vectors/proxy-key.pem");
        EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap().public_key().clone()
    }

    fn status() -> Status {
        Status {
            tenant: "clinic".into(),
            application: "clinic-app".into(),
            nonce: "n".into(),
            at: 1000,
            state: State::Open,
            claim_sha256: None,
            seq: 0,
            last_command_sha256: None,
            envelope_keys: vec![public_key()],
            receipt_key: key().verifying_key().clone(),
            tenant_key: None,
            keyspaces: BTreeMap::from([("main".to_owned(), 1)]),
            audit: None,
        }
    }

    #[test]
    fn a_proxy_introduces_itself_with_its_own_key() {
        let jws = key().sign(&status()).unwrap();
        assert_eq!(Status::introduce(&jws), Ok(status()));
        // One key named and another one used.
        let other = SigningKey::generate().unwrap();
        let forged = other.sign(&status()).unwrap();
        assert_eq!(Status::introduce(&forged), Err(SigningError::Rejected(Reason::Kid)));
        let (message, _) = jws.rsplit_once('.').unwrap();
        let (_, signature) = forged.rsplit_once('.').unwrap();
        let forged = format!("{message}.{signature}");
        assert_eq!(Status::introduce(&forged), Err(SigningError::Rejected(Reason::Signature)));
        assert_eq!(Status::introduce("a.b"), Err(SigningError::Rejected(Reason::Form)));
    }

    #[test]
    fn only_complete_status_is_read() {
        let ready = Status { seq: 2, last_command_sha256: Some([9; 32]), state: State::Ready, ..status() };
        let json = serde_json::to_string(&ready).unwrap();
        assert_eq!(compact::read::<Status>(json.as_bytes()), Ok(ready));
        let long = format!(r#""nonce":"{}""#, "n".repeat(MAX_NONCE + 1));
        for (from, to) in [
            (r#""clinic""#, r#""""#),
            (r#""clinic-app""#, r#""""#),
            (r#""nonce":"n""#, r#""nonce":"""#),
            (r#""nonce":"n""#, &long),
            (r#""nonce":"n","#, ""),
            (r#""ready""#, r#""Ready""#),
            (r#""seq":2"#, r#""seq":0"#),
            (r#""last_command_sha256""#, r#""claim_sha256""#),
            (r#""main":1"#, r#""main":1,"main":2"#),
            (r#""main":1"#, r#""":1"#),
            (r#""main":1"#, r#""main":256"#),
            (r#""receipt_key""#, r#""tenant_key""#),
            (r#""at":1000"#, r#""at":1000,"more":1"#),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json);
            assert!(compact::read::<Status>(altered.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(!Status { envelope_keys: vec![], ..status() }.is_complete());
        assert!(!Status { envelope_keys: vec![public_key(), public_key()], ..status() }.is_complete());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn status_there_and_back(
            names in prop::array::uniform2("\\PC{1,40}"),
            nonce in "[A-Za-z0-9_-]{1,64}",
            state in prop::sample::select(vec![State::Open, State::Claimed, State::Ready, State::Burnt]),
            claim_sha256 in any::<Option<[u8; 32]>>(),
            last in any::<Option<([u8; 32], u32)>>(),
            tenant_key in any::<bool>(),
            head in any::<Option<(u64, [u8; 32])>>(),
            keyspaces in prop::collection::btree_map("\\PC{1,40}", any::<u8>(), 0..5),
        ) {
            let [tenant, application] = names;
            let status = Status {
                tenant, application, nonce, state, claim_sha256, keyspaces,
                seq: last.map_or(0, |(_, seq)| u64::from(seq) + 1),
                last_command_sha256: last.map(|(hash, _)| hash),
                audit: head.map(|(records, hash)| Head { log: "log-1".into(), records, hash }),
                tenant_key: tenant_key.then(|| SigningKey::generate().unwrap().verifying_key().clone()),
                ..status()
            };
            prop_assert_eq!(key().verifying_key().verify(&key().sign(&status).unwrap()), Ok(status));
        }
    }
}
