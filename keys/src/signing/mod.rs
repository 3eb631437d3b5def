//! `JWS compact (RFC 7515) = header . claims . Ed25519(key; header . claims)`, `alg` EdDSA (RFC 8037):
//! what tenant admin and proxy say to each other through the application.
//!
//! Exactly one header is accepted, and one `typ` for each kind of claims, so that none passes for
//! another; what the header says selects no code. Whether claims are valid *now* (tenant, times,
//! sequence) is the reader's question.

pub(crate) mod compact;
mod key;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

pub use key::{SigningKey, VerifyingKey};

/// What can be signed: one kind of claims, all of them known.
pub trait Claims: Serialize + DeserializeOwned {
    /// Header parameter `typ`, of this kind alone.
    const TYP: &'static str;
    /// Longest JWS in bytes.
    const MAX_LENGTH: usize;

    /// Whether every claim is within its range and they fit each other. Others are neither signed nor read.
    fn is_complete(&self) -> bool;
}

/// Why a JWS was rejected, for the operator's log only. Holds no data of the JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Longer than its kind may be.
    #[error("too large")]
    Size,
    /// Not three parts of base64url of the right lengths.
    #[error("not a JWS in compact form")]
    Form,
    /// Another algorithm, type or parameter than the accepted ones.
    #[error("not the accepted JWS header")]
    Header,
    /// Signed by another key, as it says itself.
    #[error("signed with another key")]
    Kid,
    /// The signature is wrong.
    #[error("not signed with the expected key, or altered")]
    Signature,
    /// A claim is missing, malformed, doubled, unknown or does not fit the others.
    #[error("claims incomplete or malformed")]
    Claims,
    /// The shares that came along are not those that were signed for.
    #[error("shares other than those that were signed for")]
    Shares,
}

/// Errors of signatures and their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The one outcome of verifying. The reason is for the operator's log and not part of the text.
    #[error("the signed message was rejected")]
    Rejected(Reason),
    /// What was to be signed would not be accepted.
    #[error("the message would not be accepted: a claim is empty or out of range, or it is too long")]
    Unsignable,
    /// Not a usable key.
    #[error(
        "not a usable signing key: it must be an Ed25519 key, the public half as a JWK with kty OKP, crv and x"
    )]
    Key,
}

/// `SHA-256(compact form)`: names a JWS in receipts and stores.
pub fn hash(jws: &str) -> [u8; 32] {
    Sha256::digest(jws).into()
}
