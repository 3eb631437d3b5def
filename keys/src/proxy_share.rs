//! The sealed proxy share: `tku+jwe`'s sibling `tkp+jwe`, with which the tenant admin sends TKp's to the
//! proxy through the application. Claims `sub iat tkp {keyspace: {epoch, share}}` for one user, or
//! `iat users {sub: {keyspace: {epoch, share}}}` for several.

use crate::bundle::Shares;
use crate::command::MAX_BATCH;
use crate::envelope::{EnvelopeError, Reason, Sealed};
use crate::json::unique_map;
use crate::private_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// TKp's on their way to the proxy.
pub struct ProxyShares {
    /// When they were made, in seconds since 1970.
    pub iat: u64,
    /// For whom.
    pub recipients: Recipients,
}

/// One user or several.
pub enum Recipients {
    /// For an operation on one user.
    User {
        /// UId.
        sub: String,
        /// The user's TKp's; at least one.
        tkp: Shares,
    },
    /// For a batch: TKp's by UId, of 1 to [`MAX_BATCH`] users.
    Batch(BTreeMap<String, Shares>),
}

impl ProxyShares {
    fn is_complete(&self) -> bool {
        let complete = |sub: &str, shares: &Shares| {
            !sub.is_empty() && !shares.is_empty() && shares.keys().all(|keyspace| !keyspace.is_empty())
        };
        match &self.recipients {
            Recipients::User { sub, tkp } => complete(sub, tkp),
            Recipients::Batch(users) => {
                (1..=MAX_BATCH).contains(&users.len()) && users.iter().all(|(sub, tkp)| complete(sub, tkp))
            }
        }
    }
}

impl Sealed for ProxyShares {
    const TYP: &'static str = "tkp+jwe";
    const MAX_LENGTH: usize = 2 << 20;

    fn to_claims(&self) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if !self.is_complete() {
            return Err(EnvelopeError::Unsealable);
        }
        let iat = self.iat;
        let claims = match &self.recipients {
            Recipients::User { sub, tkp } => ClaimsOut { sub: Some(sub), iat, tkp: Some(tkp), users: None },
            Recipients::Batch(users) => ClaimsOut { sub: None, iat, tkp: None, users: Some(users) },
        };
        private_file::to_json(&claims).map_err(|_| EnvelopeError::Unsealable)
    }

    fn from_claims(json: &[u8]) -> Result<Self, EnvelopeError> {
        let rejected = EnvelopeError::Rejected(Reason::Claims);
        let claims: ClaimsIn = serde_json::from_slice(json).map_err(|_| rejected)?;
        let recipients = match claims {
            ClaimsIn { sub: Some(sub), tkp: Some(Unique(tkp)), users: None, .. } => {
                Recipients::User { sub, tkp }
            }
            ClaimsIn { sub: None, tkp: None, users: Some(Unique(users)), .. } => {
                Recipients::Batch(users.into_iter().map(|(sub, Unique(tkp))| (sub, tkp)).collect())
            }
            _ => return Err(rejected),
        };
        let shares = Self { iat: claims.iat, recipients };
        if shares.is_complete() { Ok(shares) } else { Err(rejected) }
    }
}

#[derive(Serialize)]
struct ClaimsOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tkp: Option<&'a Shares>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<&'a BTreeMap<String, Shares>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsIn {
    sub: Option<String>,
    iat: u64,
    tkp: Option<Unique<crate::bundle::IssuedShare>>,
    users: Option<Unique<Unique<crate::bundle::IssuedShare>>>,
}

#[derive(Deserialize)]
#[serde(bound = "V: Deserialize<'de>")]
struct Unique<V>(#[serde(with = "unique_map")] BTreeMap<String, V>);

#[cfg(test)]
mod tests {
    use super::{MAX_BATCH, ProxyShares, Recipients, Shares};
    use crate::bundle::IssuedShare;
    use crate::envelope::{EnvelopeError, EnvelopePrivateKey, Reason, Sealed, UserEnvelope, kid_of, seal};
    use crate::secret::Share;
    use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
    use std::collections::BTreeMap;

    fn private_key() -> EnvelopePrivateKey {
        EnvelopePrivateKey::from_pkcs8_pem(include_str!("../tests/vectors/proxy-key.pem")).unwrap()
    }

    type Parts = BTreeMap<String, (u8, [u8; 32])>;

    fn shares(parts: Parts) -> Shares {
        let issued = |(epoch, bytes)| IssuedShare { epoch, share: Share::from_bytes(bytes) };
        parts.into_iter().map(|(keyspace, part)| (keyspace, issued(part))).collect()
    }

    fn main() -> Shares {
        shares([("main".to_owned(), (1, [7; 32]))].into())
    }

    fn single(sub: &str, tkp: Shares) -> ProxyShares {
        ProxyShares { iat: 1000, recipients: Recipients::User { sub: sub.to_owned(), tkp } }
    }

    fn batch<const N: usize>(users: [(&str, Shares); N]) -> ProxyShares {
        let users = users.into_iter().map(|(sub, tkp)| (sub.to_owned(), tkp)).collect();
        ProxyShares { iat: 1000, recipients: Recipients::Batch(users) }
    }

    fn recipients() -> impl Strategy<Value = Result<(String, Parts), BTreeMap<String, Parts>>> {
        let name = || "\\PC{1,40}";
        let parts = || prop::collection::btree_map(name(), any::<(u8, [u8; 32])>(), 1..4);
        prop_oneof![
            (name(), parts()).prop_map(Ok),
            prop::collection::btree_map(name(), parts(), 1..20).prop_map(Err),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens(recipients in recipients(), iat in any::<u64>()) {
            let recipients = match recipients {
                Ok((sub, parts)) => Recipients::User { sub, tkp: shares(parts) },
                Err(users) => {
                    Recipients::Batch(users.into_iter().map(|(sub, parts)| (sub, shares(parts))).collect())
                }
            };
            let sealed = ProxyShares { iat, recipients };
            let key = private_key();
            let jwe = seal(&sealed, key.public_key()).unwrap();
            assert_eq!(kid_of(&jwe).as_deref(), Some(key.public_key().kid()));
            let opened: ProxyShares = key.open(&jwe).unwrap();
            assert!(opened.to_claims().unwrap() == sealed.to_claims().unwrap());
        }
    }

    /// Both are sealed to the same key: a proxy share that passed for a user's would let whoever holds it
    /// act as that user.
    #[test]
    fn it_passes_for_no_user_envelope() {
        let key = private_key();
        let jwe = seal(&single("alice", main()), key.public_key()).unwrap();
        assert_eq!(key.open::<UserEnvelope>(&jwe).err(), Some(EnvelopeError::Rejected(Reason::Header)));
    }

    const SHARE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    #[test]
    fn only_complete_claims_are_read() {
        let shares = format!(r#"{{"main":{{"epoch":1,"share":"{SHARE}"}}}}"#);
        let single = format!(r#"{{"sub":"alice","iat":1000,"tkp":{shares}}}"#);
        let batch = format!(r#"{{"iat":1000,"users":{{"alice":{shares},"bob":{shares}}}}}"#);
        let read = |json: &str| ProxyShares::from_claims(json.as_bytes()).err();
        assert_eq!(read(&single), None);
        assert_eq!(read(&batch), None);
        let escaped = SHARE.replacen('B', "\\u0042", 1);
        for (json, from, to) in [
            (&single, r#""sub":"alice","#, ""),
            (&single, r#""alice""#, r#""""#),
            (&single, r#""iat":1000,"#, ""),
            (&single, "1000", "1000.5"),
            (&single, "1000", "1000,\"exp\":2000"),
            (&single, "1000", "1000,\"iat\":1000"),
            (&single, &shares, "{}"),
            (&single, "tkp", "tku"),
            (&single, r#""main""#, r#""""#),
            (&single, r#""epoch":1"#, r#""epoch":256"#),
            (&single, SHARE, "AAAA"),
            (&single, SHARE, &escaped),
            (&single, r#"{"main":"#, &format!(r#"{{"main":{{"epoch":1,"share":"{SHARE}"}},"main":"#)),
            (&single, r#""tkp":"#, r#""users":{},"tkp":"#),
            (&batch, r#""iat""#, r#""sub":"alice","iat""#),
            (&batch, "bob", "alice"),
            (&batch, "bob", ""),
            (&batch, &shares, "{}"),
            (&batch, r#""users""#, r#""tkp""#),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(&altered, json);
            assert_eq!(read(&altered), Some(EnvelopeError::Rejected(Reason::Claims)), "{from} -> {to}");
        }
        assert!(read(r#"{"iat":1000,"users":{}}"#).is_some());
        assert!(read(r#"{"iat":1000}"#).is_some());
    }

    #[test]
    fn only_complete_claims_are_sealed() {
        let key = private_key();
        let many = (0..=MAX_BATCH).map(|n| (n.to_string(), main())).collect();
        for incomplete in [
            single("", main()),
            single("alice", Shares::new()),
            batch([]),
            batch([("alice", main()), ("bob", Shares::new())]),
            batch([("", main())]),
            ProxyShares { iat: 1000, recipients: Recipients::Batch(many) },
            single(&"a".repeat(ProxyShares::MAX_LENGTH), main()),
        ] {
            assert_eq!(seal(&incomplete, key.public_key()), Err(EnvelopeError::Unsealable));
        }
    }
}
