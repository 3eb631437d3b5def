//! Commands: what the tenant admin orders the proxy through the application.
//!
//! `op, sub, seq, iat, exp` in clear, the proxy's shares sealed to the proxy (`tkp`), and the hash of the
//! application's shares (`tka_sha256`), which travel beside the command ([`Delivery`]) and never to the
//! proxy. Complete or rejected, as with envelopes.

mod delivery;

use crate::bundle::{CheckValue, Shares};
use crate::envelope::Sealed;
use crate::json::optional_digest;
use crate::proxy_share::ProxyShares;
use crate::signing::Claims;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub use crate::signing::hash;
pub use delivery::Delivery;

const DAY: u64 = 24 * 60 * 60;

/// Longest time between `iat` and `exp`, in seconds: 31 days.
pub const MAX_VALIDITY: u64 = 31 * DAY;

/// Longest time in which a former key of the proxy opens envelopes, in seconds: 366 days.
pub const MAX_OVERLAP: u64 = 366 * DAY;

/// Most users in one [`Operation::AddBatch`] or [`Operation::Renew`].
pub const MAX_BATCH: usize = 5000;

/// One order. Times are seconds since 1970 (RFC 7519 NumericDate, whole).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ClaimsIn")]
pub struct Command {
    /// Tenant's name.
    pub tenant: String,
    /// Number: one more than that of the last command that was applied; the first is 1.
    pub seq: u64,
    /// Issued at.
    pub iat: u64,
    /// Expires at; later than `iat` by at most [`MAX_VALIDITY`].
    pub exp: u64,
    /// What is to be done.
    pub op: Operation,
    /// [`tka_digest`] of the application's shares, for an operation that carries shares.
    pub tka_sha256: Option<[u8; 32]>,
    /// The proxy's shares ([`ProxyShares`], sealed), for an operation that carries shares.
    pub tkp: Option<String>,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new user, with shares.
    Add {
        /// UId.
        sub: String,
    },
    /// Several new users, with shares: all of them, or none if one is there already.
    AddBatch,
    /// New shares, with a new TKu, for a user that there is.
    Change {
        /// UId.
        sub: String,
    },
    /// Takes a user's access away for good.
    Withdraw {
        /// UId.
        sub: String,
    },
    /// New TKa's and TKp's for several users, whose TKu's stay. They need not be known: a proxy or an
    /// application that has lost its users gets them so.
    Renew,
    /// A new keyspace. Its TK is the tenant admin's, and goes to nobody.
    AddKeyspace {
        /// Its name, as [`is_keyspace_name`] says.
        name: String,
        /// By which the proxy knows its TK.
        check: CheckValue,
    },
    /// A new RSA pair of the proxy.
    RotateKey {
        /// How long the former one still opens envelopes, in seconds; at most [`MAX_OVERLAP`].
        overlap: u64,
    },
}

impl Operation {
    /// What claim `op` calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::AddBatch => "add-batch",
            Self::Change { .. } => "change",
            Self::Withdraw { .. } => "withdraw",
            Self::Renew => "renew",
            Self::AddKeyspace { .. } => "add-keyspace",
            Self::RotateKey { .. } => "rotate-key",
        }
    }

    /// The one user that it is about.
    pub fn sub(&self) -> Option<&str> {
        match self {
            Self::Add { sub } | Self::Change { sub } | Self::Withdraw { sub } => Some(sub),
            Self::AddBatch | Self::Renew | Self::AddKeyspace { .. } | Self::RotateKey { .. } => None,
        }
    }

    /// Whether `tka_sha256` and `tkp` belong to it.
    pub fn carries_shares(&self) -> bool {
        match self {
            Self::Add { .. } | Self::AddBatch | Self::Change { .. } | Self::Renew => true,
            Self::Withdraw { .. } | Self::AddKeyspace { .. } | Self::RotateKey { .. } => false,
        }
    }

    fn overlap(&self) -> Option<u64> {
        match self {
            Self::RotateKey { overlap } => Some(*overlap),
            _ => None,
        }
    }

    fn keyspace(&self) -> Option<NewKeyspace> {
        match self {
            Self::AddKeyspace { name, check } => {
                Some(NewKeyspace { name: name.clone(), check: check.clone() })
            }
            _ => None,
        }
    }

    fn from_parts(
        name: &str,
        sub: Option<String>,
        overlap: Option<u64>,
        keyspace: Option<NewKeyspace>,
    ) -> Option<Self> {
        Some(match (name, sub, overlap, keyspace) {
            ("add", Some(sub), None, None) => Self::Add { sub },
            ("add-batch", None, None, None) => Self::AddBatch,
            ("change", Some(sub), None, None) => Self::Change { sub },
            ("withdraw", Some(sub), None, None) => Self::Withdraw { sub },
            ("renew", None, None, None) => Self::Renew,
            ("add-keyspace", None, None, Some(NewKeyspace { name, check })) => {
                Self::AddKeyspace { name, check }
            }
            ("rotate-key", None, Some(overlap), None) => Self::RotateKey { overlap },
            _ => return None,
        })
    }
}

/// A claim of [`Operation::AddKeyspace`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKeyspace {
    name: String,
    check: CheckValue,
}

impl NewKeyspace {
    fn is_complete(&self) -> bool {
        is_keyspace_name(&self.name) && (1..=MAX_CHECK).contains(&self.check.value.len())
    }
}

/// Longest check value, in bytes.
const MAX_CHECK: usize = 64;

/// Whether a keyspace may be called so: 1 to 63 ASCII letters, digits, `_` and `-`, as policies have it.
pub fn is_keyspace_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(fits)
}

impl Claims for Command {
    const TYP: &'static str = "trefoil-command+jws";
    // Base64 of base64: the sealed shares are text inside the claims.
    const MAX_LENGTH: usize = ProxyShares::MAX_LENGTH / 3 * 4 + 16 * 1024;

    fn is_complete(&self) -> bool {
        let shares = self.op.carries_shares();
        !self.tenant.is_empty()
            && self.seq > 0
            && self.exp.checked_sub(self.iat).is_some_and(|time| (1..=MAX_VALIDITY).contains(&time))
            && self.op.sub().is_none_or(|sub| !sub.is_empty())
            && self.op.overlap().is_none_or(|overlap| overlap <= MAX_OVERLAP)
            && self.op.keyspace().is_none_or(|keyspace| keyspace.is_complete())
            && self.tka_sha256.is_some() == shares
            && self.tkp.is_some() == shares
            && self.tkp.as_deref().is_none_or(|tkp| !tkp.is_empty())
    }
}

#[derive(Serialize)]
struct ClaimsOut<'a> {
    tenant: &'a str,
    seq: u64,
    iat: u64,
    exp: u64,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace: Option<NewKeyspace>,
    #[serde(with = "optional_digest", skip_serializing_if = "Option::is_none")]
    tka_sha256: Option<[u8; 32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tkp: Option<&'a str>,
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = ClaimsOut {
            tenant: &self.tenant,
            seq: self.seq,
            iat: self.iat,
            exp: self.exp,
            op: self.op.name(),
            sub: self.op.sub(),
            overlap: self.op.overlap(),
            keyspace: self.op.keyspace(),
            tka_sha256: self.tka_sha256,
            tkp: self.tkp.as_deref(),
        };
        claims.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsIn {
    tenant: String,
    seq: u64,
    iat: u64,
    exp: u64,
    op: String,
    sub: Option<String>,
    overlap: Option<u64>,
    keyspace: Option<NewKeyspace>,
    #[serde(default, with = "optional_digest")]
    tka_sha256: Option<[u8; 32]>,
    tkp: Option<String>,
}

impl TryFrom<ClaimsIn> for Command {
    type Error = &'static str;

    fn try_from(claims: ClaimsIn) -> Result<Self, Self::Error> {
        let ClaimsIn { tenant, seq, iat, exp, op, sub, overlap, keyspace, tka_sha256, tkp } = claims;
        let op = Operation::from_parts(&op, sub, overlap, keyspace).ok_or("no known operation")?;
        Ok(Self { tenant, seq, iat, exp, op, tka_sha256, tkp })
    }
}

/// `SHA-256` over the application's shares by UId: `users ‖ for each: uid ‖ keyspaces ‖ for each: keyspace ‖
/// epoch ‖ share`, in the order of their bytes, counts and the lengths before texts as 8 bytes big endian.
/// Shares are uniform, so who knows the digest knows nothing of them.
pub fn tka_digest(tka: &BTreeMap<String, Shares>) -> [u8; 32] {
    // A usize has at most 64 bits on every target of ours.
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX).to_be_bytes();
    let mut hash = Sha256::new();
    hash.update(number(tka.len()));
    for (uid, shares) in tka {
        hash.update(number(uid.len()));
        hash.update(uid);
        hash.update(number(shares.len()));
        for (keyspace, issued) in shares {
            hash.update(number(keyspace.len()));
            hash.update(keyspace);
            hash.update([issued.epoch]);
            hash.update(issued.share.as_bytes());
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{Command, DAY, MAX_OVERLAP, MAX_VALIDITY, Operation, Shares, tka_digest};
    use crate::bundle::{CheckValue, IssuedShare};
    use crate::secret::Share;
    use crate::signing::{SigningError, SigningKey, compact};
    use proptest::prelude::{
        Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest,
    };
    use std::collections::BTreeMap;

    pub(super) fn shares(names: &[&str], byte: u8) -> Shares {
        let share = |name: &&str| {
            ((*name).to_owned(), IssuedShare { epoch: 1, share: Share::from_bytes([byte; 32]) })
        };
        names.iter().map(share).collect()
    }

    pub(super) fn command(op: Operation) -> Command {
        let carries = op.carries_shares();
        let tka_sha256 = carries.then(|| tka_digest(&[("alice".to_owned(), shares(&["main"], 7))].into()));
        let tkp = carries.then(|| "e30.sealed".to_owned());
        Command { tenant: "clinic".into(), seq: 3, iat: 1000, exp: 1000 + DAY, op, tka_sha256, tkp }
    }

    fn add() -> Operation {
        Operation::Add { sub: "alice".into() }
    }

    fn new_keyspace(name: &str, value: &[u8]) -> Operation {
        Operation::AddKeyspace { name: name.into(), check: CheckValue { epoch: 1, value: value.to_vec() } }
    }

    const DIGEST: &str = "fPYPtDTu_IvUbAi33qkgahkSVuo_31yO7tHNbUM8ZvU";

    fn json() -> String {
        format!(
            r#"{{"tenant":"clinic","seq":3,"iat":1000,"exp":87400,"op":"add","sub":"alice","tka_sha256":"{DIGEST}","tkp":"e30.sealed"}}"#
        )
    }

    #[test]
    fn as_json() {
        assert_eq!(serde_json::to_string(&command(add())).unwrap(), json());
        let others = [
            (Operation::Withdraw { sub: "alice".into() }, r#""op":"withdraw","sub":"alice"}"#),
            (Operation::RotateKey { overlap: 60 }, r#""op":"rotate-key","overlap":60}"#),
            (
                new_keyspace("finance", b"123"),
                r#""op":"add-keyspace","keyspace":{"name":"finance","check":{"epoch":1,"value":"MTIz"}}}"#,
            ),
        ];
        for (op, end) in others {
            let json = serde_json::to_string(&command(op)).unwrap();
            assert!(json.ends_with(end), "{json}");
        }
    }

    #[test]
    fn only_complete_commands_are_read() {
        assert!(compact::read::<Command>(json().as_bytes()).unwrap() == command(add()));
        let late = format!(r#""exp":{}"#, 1000 + MAX_VALIDITY + 1);
        for (from, to) in [
            (r#""tenant":"clinic","#, ""),
            (r#""clinic""#, r#""""#),
            (r#""seq":3,"#, ""),
            (r#""seq":3"#, r#""seq":0"#),
            (r#""seq":3"#, r#""seq":-3"#),
            (r#""seq":3"#, r#""seq":3.0"#),
            (r#""seq":3"#, r#""seq":"3""#),
            (r#""seq":3"#, r#""seq":18446744073709551616"#),
            (r#""seq":3"#, r#""seq":3,"seq":4"#),
            (r#""iat":1000,"#, ""),
            (r#""exp":87400,"#, ""),
            (r#""exp":87400"#, r#""exp":1000"#),
            (r#""exp":87400"#, r#""exp":999"#),
            (r#""exp":87400"#, &late),
            (r#""op":"add","#, ""),
            (r#""op":"add""#, r#""op":"Add""#),
            (r#""op":"add""#, r#""op":"add-batch""#),
            (r#""op":"add""#, r#""op":"withdraw""#),
            (r#""op":"add""#, r#""op":"renew""#),
            (r#""op":"add""#, r#""op":"rotate-key""#),
            (r#""op":"add""#, r#""op":"delete""#),
            (r#""op":"add""#, r#""op":"add","overlap":60"#),
            (r#""sub":"alice","#, ""),
            (r#""sub":"alice""#, r#""sub":"""#),
            (r#""sub":"alice""#, r#""sub":"alice","sub":"bob""#),
            (r#""sub":"alice""#, r#""sub":"alice","more":1"#),
            (r#""tka_sha256":"#, r#""tka":"#),
            (DIGEST, "AAAA"),
            (DIGEST, ""),
            (&format!(r#""{DIGEST}""#), "null"),
            (r#","tkp":"e30.sealed""#, ""),
            (r#""e30.sealed""#, r#""""#),
            (r#""e30.sealed""#, "null"),
            ("}", "} {}"),
            ("}", ""),
        ] {
            let altered = json().replacen(from, to, 1);
            assert_ne!(altered, json());
            assert!(compact::read::<Command>(altered.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn only_complete_commands_are_signed() {
        let key = SigningKey::generate().unwrap();
        assert!(key.sign(&command(add())).is_ok());
        let withdraw = || command(Operation::Withdraw { sub: "alice".into() });
        let rotate = |overlap| command(Operation::RotateKey { overlap });
        assert!(key.sign(&withdraw()).is_ok());
        assert!(key.sign(&rotate(0)).is_ok());
        assert!(key.sign(&rotate(MAX_OVERLAP)).is_ok());
        assert!(key.sign(&command(new_keyspace("finance", &[0; 64]))).is_ok());
        for incomplete in [
            Command { tkp: None, ..command(add()) },
            Command { tka_sha256: None, ..command(Operation::Renew) },
            Command { tkp: Some("x".into()), ..withdraw() },
            Command { tka_sha256: Some([1; 32]), ..rotate(60) },
            Command { exp: 1000, ..withdraw() },
            command(Operation::Withdraw { sub: String::new() }),
            command(new_keyspace("", b"1")),
            command(new_keyspace("a:b", b"1")),
            command(new_keyspace(&"a".repeat(64), b"1")),
            command(new_keyspace("finance", b"")),
            command(new_keyspace("finance", &[0; 65])),
            rotate(MAX_OVERLAP + 1),
        ] {
            assert_eq!(key.sign(&incomplete), Err(SigningError::Unsignable));
        }
    }

    /// A whole batch, as large as base64 of base64 makes it, still fits.
    #[test]
    fn the_largest_sealed_batch_fits_into_a_command() {
        use crate::envelope::Sealed;
        let tkp = Some("A".repeat(crate::proxy_share::ProxyShares::MAX_LENGTH));
        let jws = SigningKey::generate().unwrap().sign(&Command { tkp, ..command(Operation::Renew) });
        assert!(jws.unwrap().len() < super::Delivery::MAX_LENGTH);
    }

    #[test]
    fn the_digest_is_over_every_part() {
        // DIGEST was computed from the documented bytes by Python's hashlib.
        let all = BTreeMap::from([("alice".to_owned(), shares(&["main"], 7))]);
        assert_eq!(crate::json::tests::base64url(&tka_digest(&all)), DIGEST);
        let mut epoch = shares(&["main"], 7);
        epoch.get_mut("main").unwrap().epoch = 2;
        let others = [
            BTreeMap::new(),
            [("alicf".to_owned(), shares(&["main"], 7))].into(),
            [("alice".to_owned(), shares(&["maim"], 7))].into(),
            [("alice".to_owned(), shares(&["main"], 8))].into(),
            [("alice".to_owned(), epoch)].into(),
            [("alice".to_owned(), shares(&["main", "more"], 7))].into(),
            [("alice".to_owned(), shares(&["main"], 7)), ("bob".to_owned(), shares(&[], 7))].into(),
            [("alicemain".to_owned(), shares(&[""], 7))].into(),
        ];
        let digests: std::collections::BTreeSet<_> = others.iter().chain([&all]).map(tka_digest).collect();
        assert_eq!(digests.len(), others.len() + 1);
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let sub = || "\\PC{1,40}";
        prop_oneof![
            sub().prop_map(|sub| Operation::Add { sub }),
            sub().prop_map(|sub| Operation::Change { sub }),
            sub().prop_map(|sub| Operation::Withdraw { sub }),
            Just(Operation::AddBatch),
            Just(Operation::Renew),
            ("[a-z_-]{1,63}", prop::collection::vec(any::<u8>(), 1..=64))
                .prop_map(|(name, value)| new_keyspace(&name, &value)),
            (0..=MAX_OVERLAP).prop_map(|overlap| Operation::RotateKey { overlap }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn commands_there_and_back(
            op in operation(),
            tenant in "\\PC{1,40}",
            seq in 1..=u64::MAX,
            iat in 0..u64::MAX - MAX_VALIDITY,
            validity in 1..=MAX_VALIDITY,
            digest in any::<[u8; 32]>(),
            tkp in prop::string::string_regex("[A-Za-z0-9_.-]{1,200}").unwrap(),
        ) {
            let carries = op.carries_shares();
            let (tka_sha256, tkp) = (carries.then_some(digest), carries.then_some(tkp));
            let command = Command { tenant, seq, iat, exp: iat + validity, op, tka_sha256, tkp };
            let key = SigningKey::generate().unwrap();
            let read: Command = key.verifying_key().verify(&key.sign(&command).unwrap()).unwrap();
            prop_assert_eq!(read == command, true);
        }
    }
}
