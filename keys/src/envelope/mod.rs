//! `envelope = JWE compact (RFC 7516): RSA-OAEP-256(proxy's key; CEK), A256GCM(CEK, header; claims)` with
//! the claims `sub iat exp jti aud scope [max_uses] [tables] tku`: the user's shares on their way to the proxy.
//!
//! Its siblings, each with a `typ` of its own so that none passes for another, are the sealed proxy share
//! ([`crate::proxy_share`]) and the hand-over ([`crate::handover`]).
//!
//! Exactly one header is accepted; what it says selects no code. Every failure to open is one outcome.
//! Whether a complete envelope is *valid* now (times, user, application, uses) is the proxy's question.

mod claims;
mod compact;
mod key;
mod tables;

use crate::secret::Share;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

pub use compact::{kid_of, seal};
pub(crate) use key::all_different;
pub use key::{EnvelopePrivateKey, EnvelopePublicKey};
pub use tables::{MAX_TABLES, are_tables};

/// Longest user envelope in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// What can be sealed to an RSA key: one kind of claims, all of them known, with secrets among them.
pub trait Sealed: Sized {
    /// Header parameter `typ`, of this kind alone.
    const TYP: &'static str;
    /// Longest JWE in bytes.
    const MAX_LENGTH: usize;

    /// The claims as JSON.
    ///
    /// # Errors
    /// [`EnvelopeError::Unsealable`] if a claim is empty or out of range.
    fn to_claims(&self) -> Result<Zeroizing<Vec<u8>>, EnvelopeError>;

    /// Reads claims.
    ///
    /// # Errors
    /// [`EnvelopeError::Rejected`] if they are not complete, or not exactly the known ones.
    fn from_claims(json: &[u8]) -> Result<Self, EnvelopeError>;
}

/// What an envelope allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Statements that read.
    Read,
    /// All statements.
    Write,
}

/// The user's share for one keyspace.
pub struct EpochShare {
    /// Key epoch of the keyspace.
    pub epoch: u8,
    /// TKu.
    pub share: Share,
}

/// What a user's agent says to the proxy. Times are seconds since 1970 (RFC 7519 NumericDate, whole).
pub struct UserEnvelope {
    /// The user (UId).
    pub sub: String,
    /// Issued at.
    pub iat: u64,
    /// Expires at; later than `iat`.
    pub exp: u64,
    /// Unique name of this envelope.
    pub jti: String,
    /// The application for which it is meant.
    pub aud: String,
    /// What it allows.
    pub scope: Scope,
    /// How often it may be used, at least once; without limit until `exp` if absent.
    pub max_uses: Option<u32>,
    /// The only tables that statements under it may touch, as `schema.table` ([`are_tables`]); all if
    /// absent.
    pub tables: Option<BTreeSet<String>>,
    /// TKu by keyspace (claim `tku`); at least one.
    pub shares: BTreeMap<String, EpochShare>,
}

/// Why an envelope was rejected, for the operator's log only. Holds no data of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Longer than its kind may be.
    #[error("too large")]
    Size,
    /// Not five parts of base64url of the right lengths.
    #[error("not a JWE in compact form")]
    Form,
    /// Another algorithm, type or parameter than the accepted ones.
    #[error("not the accepted JWE header")]
    Header,
    /// Sealed to another key.
    #[error("sealed to another key")]
    Kid,
    /// Unwrapping or authentication failed.
    #[error("not sealed to this key, or altered")]
    Unwrap,
    /// A claim is missing, malformed, doubled or unknown.
    #[error("claims incomplete or malformed")]
    Claims,
}

/// Errors of envelopes and their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The one outcome of opening. The reason is for the operator's log and not part of the text.
    #[error("the sealed message was rejected")]
    Rejected(Reason),
    /// What was to be sealed would not be accepted.
    #[error(
        "what is to be sealed would not be accepted: a claim is empty or out of range, or all are too long"
    )]
    Unsealable,
    /// Not a usable key.
    #[error(
        "not a usable envelope key: it must be an RSA key of 2048 to 4096 bits, the public half as a JWK with \
         n and e, the private half as unencrypted PKCS#8 in PEM"
    )]
    Key,
}

/// `SHA-256(compact form)`: names an envelope in caches and masks.
pub fn hash(jwe: &str) -> [u8; 32] {
    Sha256::digest(jwe).into()
}
