//! Commands: what the tenant admin orders the proxy through the application.
//!
//! `op, sub, seq, iat, exp` in clear, the proxy's shares sealed to the proxy (`tkp`), and the hash of the
//! application's shares (`tka_sha256`), which travel beside the command ([`Delivery`]) and never to the
//! proxy. Complete or rejected, as with envelopes.

mod delivery;

use crate::bundle::Shares;
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

/// Most users in one [`Operation::Renew`].
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
    /// New TKa's and TKp's for several users, whose TKu's stay.
    Renew,
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
            Self::Change { .. } => "change",
            Self::Withdraw { .. } => "withdraw",
            Self::Renew => "renew",
            Self::RotateKey { .. } => "rotate-key",
        }
    }

    /// The one user that it is about.
    pub fn sub(&self) -> Option<&str> {
        match self {
            Self::Add { sub } | Self::Change { sub } | Self::Withdraw { sub } => Some(sub),
            Self::Renew | Self::RotateKey { .. } => None,
        }
    }

    /// Whether `tka_sha256` and `tkp` belong to it.
    pub fn carries_shares(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Change { .. } | Self::Renew => true,
            Self::Withdraw { .. } | Self::RotateKey { .. } => false,
        }
    }

    fn overlap(&self) -> Option<u64> {
        match self {
            Self::RotateKey { overlap } => Some(*overlap),
            _ => None,
        }
    }

    fn from_parts(name: &str, sub: Option<String>, overlap: Option<u64>) -> Option<Self> {
        Some(match (name, sub, overlap) {
            ("add", Some(sub), None) => Self::Add { sub },
            ("change", Some(sub), None) => Self::Change { sub },
            ("withdraw", Some(sub), None) => Self::Withdraw { sub },
            ("renew", None, None) => Self::Renew,
            ("rotate-key", None, Some(overlap)) => Self::RotateKey { overlap },
            _ => return None,
        })
    }
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
    #[serde(default, with = "optional_digest")]
    tka_sha256: Option<[u8; 32]>,
    tkp: Option<String>,
}

impl TryFrom<ClaimsIn> for Command {
    type Error = &'static str;

    fn try_from(claims: ClaimsIn) -> Result<Self, Self::Error> {
        let ClaimsIn { tenant, seq, iat, exp, op, sub, overlap, tka_sha256, tkp } = claims;
        let op = Operation::from_parts(&op, sub, overlap).ok_or("no known operation")?;
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
