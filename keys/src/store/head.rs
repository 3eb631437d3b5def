//! The two records beside the set: what the store keeps of its lock, in clear, and the sealed head,
//! which says what the set of records must be.

use super::seal::{Digest, Sealer};
use crate::lock::Wrapped;
use base64ct::{Base64UrlUnpadded, Encoding};
use rand::Rng;
use serde::{Deserialize, Serialize};

const HEAD: &[u8] = b"head";

/// In clear: needed before the lock gives its key. The head binds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockRecord {
    pub(super) version: u64,
    /// 16 random bytes in base64url: the same lock key gives each store other keys.
    pub(super) store: String,
    pub(super) lock: Wrapped,
    /// Says whether the lock is the right one, in base64url.
    pub(super) check: String,
}

/// A random id for a store.
pub(super) fn new_id() -> String {
    let mut id = [0; 16];
    rand::rng().fill_bytes(&mut id);
    Base64UrlUnpadded::encode_string(&id)
}

/// What the set of records is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Transactions since the store was made.
    pub(super) generation: u64,
    pub(super) count: u64,
    pub(super) digest: Digest,
}

impl Head {
    /// `None` if AES-SIV refuses. `lock_record` are the bytes in the database.
    pub(super) fn seal(&self, sealer: &Sealer, lock_record: &[u8]) -> Option<Vec<u8>> {
        let mut plaintext = [0; 48];
        let fields = [self.generation, self.count].map(u64::to_be_bytes);
        for (target, source) in plaintext.iter_mut().zip(fields.as_flattened().iter().chain(&self.digest.0)) {
            *target = *source;
        }
        sealer.seal(&[HEAD, lock_record], &plaintext)
    }

    /// `None` if it fails authentication, or belongs to another lock record.
    pub(super) fn open(sealer: &Sealer, lock_record: &[u8], sealed: &[u8]) -> Option<Self> {
        let plaintext = sealer.open(&[HEAD, lock_record], sealed)?;
        let (generation, rest) = plaintext.split_first_chunk()?;
        let (count, digest) = rest.split_first_chunk()?;
        Some(Self {
            generation: u64::from_be_bytes(*generation),
            count: u64::from_be_bytes(*count),
            digest: Digest(digest.try_into().ok()?),
        })
    }
}
