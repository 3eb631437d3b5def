//! The records of the proxy's store, and under which names they lie.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trefoil_keys::bundle::{CheckValue, PrivateKeyPem, Version};
use trefoil_keys::password::PasswordHash;
use trefoil_keys::signing::VerifyingKey;

/// What there is one of.
pub(super) const PROXY: &str = "proxy";
/// UId to `Option<Shares>`: without shares, the user is withdrawn, for good.
pub(super) const USERS: &str = "users";
/// Number of a command to [`StoredReceipt`].
pub(super) const RECEIPTS: &str = "receipts";
/// Oid of a database to [`SeenDatabase`].
pub(super) const DATABASES: &str = "databases";

// Names in `PROXY`; the three keys are raw bytes.
pub(super) const IDENTITY: &str = "identity";
pub(super) const BOOTSTRAP: &str = "bootstrap";
pub(super) const SEQUENCE: &str = "sequence";
pub(super) const ENVELOPE_KEYS: &str = "envelope_keys";
pub(super) const RECEIPT_KEY: &str = "receipt_key";
pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const CERTIFICATE_KEY: &str = "certificate_key";

/// Who the proxy is, since it was made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Of these records.
    pub version: Version,
    /// Tenant's name.
    pub tenant: String,
    /// Id of the application that the proxy serves.
    pub application: String,
    /// Epoch of TK by keyspace. Those that were added since are in [`Trust`] alone.
    pub keyspaces: BTreeMap<String, u8>,
}

/// How far the bootstrap has come. Neither TK nor T's signing key is ever in it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum Bootstrap {
    /// Waits for a claim.
    Open {
        /// What a claim needs.
        password: OneTimePassword,
    },
    /// TK was handed out, and its receipt not confirmed.
    Claimed {
        /// What a repeated claim needs.
        password: OneTimePassword,
        /// SHA-256 of the claim, by which the claimer is known.
        claim_sha256: [u8; 32],
        /// By which the TK of the last answer is known.
        trust: Trust,
    },
    /// Done.
    Ready {
        /// Of the claim; none was needed for a hand-over by file.
        claim_sha256: Option<[u8; 32]>,
        /// Whom and what to believe from then on.
        trust: Trust,
    },
    /// The proxy has to be made anew.
    Burnt {
        /// For people.
        reason: String,
    },
}

/// The one-time password of a bootstrap.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneTimePassword {
    /// Its hash.
    pub hash: PasswordHash,
    /// Until when it counts, in seconds since 1970.
    pub expires: u64,
    /// How often a wrong one was sent.
    pub wrong: u8,
}

/// What the proxy keeps of what it handed over: nothing that is secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// By which a TK is known, by keyspace.
    pub check_values: BTreeMap<String, CheckValue>,
    /// By which T's commands are known.
    pub tenant_key: VerifyingKey,
}

/// The last command that was applied.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// Its number; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub command_sha256: [u8; 32],
}

/// A private key that opens envelopes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// The key.
    pub key: PrivateKeyPem,
    /// When it stops to count, in seconds since 1970.
    pub retires: Option<u64>,
}

/// What was answered to a command.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredReceipt {
    /// The command's hash.
    pub command_sha256: [u8; 32],
    /// The receipt (JWS).
    pub receipt: String,
}

/// A database in which the check values were seen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenDatabase {
    /// Its name when it was seen first.
    pub name: String,
    /// Epochs by keyspace.
    pub epochs: BTreeMap<String, u8>,
}
