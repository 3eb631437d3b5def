//! Status: what the proxy signs about itself, for whoever asks with a nonce of his own.

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
