//! Receipts: what the proxy signs about a command, so that the tenant admin sees what became of it even
//! if the application in between would rather have dropped or delayed it.

use crate::command::Command;
use crate::envelope::{EnvelopePublicKey, all_different};
use crate::json::digest;
use crate::signing::{self, Claims};
use serde::{Deserialize, Serialize};

/// What the proxy says about one command. Only what was decided for good gets a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Tenant's name.
    pub tenant: String,
    /// The command's number.
    pub seq: u64,
    /// [`signing::hash`] of the command.
    #[serde(with = "digest")]
    pub command_sha256: [u8; 32],
    /// When it was decided, in seconds since 1970.
    pub at: u64,
    /// What was decided.
    pub outcome: Outcome,
    /// The proxy's keys for envelopes, the current one first, if the command made a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_keys: Option<Vec<EnvelopePublicKey>>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// It is in force.
    Applied,
    /// Nothing has changed and the command's number is free.
    Refused {
        /// Why, for programs.
        code: String,
        /// Why, for people. Holds nothing of a share.
        message: String,
        /// The user because of whom, with code `withdrawn`: it was withdrawn before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
}

impl Receipt {
    /// Whether this is about this command, `jws` being the signed form of `command`.
    pub fn answers(&self, command: &Command, jws: &str) -> bool {
        self.tenant == command.tenant && self.seq == command.seq && self.command_sha256 == signing::hash(jws)
    }
}

impl Claims for Receipt {
    const TYP: &'static str = "trefoil-receipt+jws";
    const MAX_LENGTH: usize = 16 * 1024;

    fn is_complete(&self) -> bool {
        let outcome = match &self.outcome {
            Outcome::Applied => true,
            Outcome::Refused { code, message, .. } => {
                !code.is_empty() && !message.is_empty() && self.envelope_keys.is_none()
            }
        };
        outcome
            && !self.tenant.is_empty()
            && self.seq > 0
            && self.envelope_keys.as_deref().is_none_or(|keys| !keys.is_empty() && all_different(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, EnvelopePublicKey, Outcome, Receipt};
    use crate::command::{Command, Operation};
    use crate::envelope::EnvelopePrivateKey;
    use crate::signing::{SigningKey, compact, hash};
    use proptest::prelude::{
        Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest,
    };

    fn public_key() -> EnvelopePublicKey {
        let pem = include_str!("../tests/vectors/proxy-key.pem");
        EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap().public_key().clone()
    }

    fn refused() -> Outcome {
        Outcome::Refused { code: "seq".into(), message: "expected is command 4".into(), user: None }
    }

    fn receipt(outcome: Outcome) -> Receipt {
        let (tenant, command_sha256) = ("clinic".to_owned(), [9; 32]);
        Receipt { tenant, seq: 3, command_sha256, at: 1000, outcome, envelope_keys: None }
    }

    #[test]
    fn it_answers_one_command() {
        let key = SigningKey::generate().unwrap();
        let op = Operation::Withdraw { sub: "alice".into() };
        let tenant = || "clinic".to_owned();
        let command = Command { tenant: tenant(), seq: 3, iat: 1, exp: 2, op, tka_sha256: None, tkp: None };
        let jws = key.sign(&command).unwrap();
        let right = Receipt { command_sha256: hash(&jws), ..receipt(refused()) };
        assert!(right.answers(&command, &jws));
        assert!(!receipt(Outcome::Applied).answers(&command, &jws));
        assert!(!Receipt { seq: 4, ..right.clone() }.answers(&command, &jws));
        assert!(!Receipt { tenant: "other".into(), ..right }.answers(&command, &jws));
    }

    #[test]
    fn as_json() {
        let start = r#"{"tenant":"clinic","seq":3,"command_sha256":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk","at":1000,"outcome":"#;
        let applied = serde_json::to_string(&receipt(Outcome::Applied)).unwrap();
        assert_eq!(applied, format!(r#"{start}"applied"}}"#));
        let json = serde_json::to_string(&receipt(refused())).unwrap();
        let outcome = r#"{"refused":{"code":"seq","message":"expected is command 4"}}"#;
        assert_eq!(json, format!("{start}{outcome}}}"));
        for (from, to) in [
            (r#""seq":3"#, r#""seq":0"#),
            (r#""clinic""#, r#""""#),
            ("CQkJ", "CQk"),
            (r#""at":1000,"#, ""),
            (r#""refused":"#, r#""applied":"#),
            (r#""refused":"#, r#""postponed":"#),
            (r#""code":"seq","#, ""),
            (r#""code":"seq""#, r#""code":"""#),
            (r#""code":"seq""#, r#""code":"seq","more":1"#),
            (r#""code":"seq""#, r#""code":"seq","code":"seq""#),
            (r#""at":1000"#, r#""at":1000,"at":1000"#),
            (r#""at":1000"#, r#""at":1000,"more":1"#),
            (r#""at":1000"#, r#""at":1000,"envelope_keys":[]"#),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json);
            assert!(compact::read::<Receipt>(altered.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn only_what_was_applied_names_keys() {
        let with_keys = |outcome, keys| Receipt { envelope_keys: Some(keys), ..receipt(outcome) };
        assert!(with_keys(Outcome::Applied, vec![public_key()]).is_complete());
        assert!(!with_keys(refused(), vec![public_key()]).is_complete());
        assert!(!with_keys(Outcome::Applied, vec![]).is_complete());
        assert!(!with_keys(Outcome::Applied, vec![public_key(), public_key()]).is_complete());
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let refused = ["[a-z-]{1,20}", "\\PC{1,200}", "\\PC{0,20}"].prop_map(|[code, message, user]| {
            Outcome::Refused { code, message, user: Some(user).filter(|user| !user.is_empty()) }
        });
        prop_oneof![Just(Outcome::Applied), refused]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn receipts_there_and_back(
            tenant in "\\PC{1,40}",
            seq in 1..=u64::MAX,
            command_sha256 in any::<[u8; 32]>(),
            at in any::<u64>(),
            outcome in outcome(),
            keys in prop::bool::ANY,
        ) {
            let envelope_keys = (keys && outcome == Outcome::Applied).then(|| vec![public_key()]);
            let receipt = Receipt { tenant, seq, command_sha256, at, outcome, envelope_keys };
            let key = SigningKey::generate().unwrap();
            prop_assert_eq!(key.verifying_key().verify(&key.sign(&receipt).unwrap()), Ok(receipt));
        }
    }
}
