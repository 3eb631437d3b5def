//! `derived = HKDF-SHA-256(ikm = key, salt = "", info = version ‖ keyspace ‖ context ‖ purpose)` (RFC 5869).
//!
//! Every field of `info` is preceded by its length (8 bytes, big endian), so that no two different
//! lists of fields are the same bytes.

use crate::secret::wipe_stack;
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use std::sync::LazyLock;

/// Changes with anything that would make the same key derive something else.
const VERSION: &[u8] = b"trefoil 1";

/// What a derived key is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    RandomizedCells,
    DeterministicCells,
    PartialCells,
    CheckValue,
    ShareMask,
    StoreLockCheck,
    StoreNames,
    StoreRecords,
    StoreSet,
    Escrow,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Purpose::RandomizedCells => b"randomized cells",
            Purpose::DeterministicCells => b"deterministic cells",
            Purpose::PartialCells => b"partial cells",
            Purpose::CheckValue => b"check value",
            Purpose::ShareMask => b"share mask",
            Purpose::StoreLockCheck => b"store lock check",
            Purpose::StoreNames => b"store names",
            Purpose::StoreRecords => b"store records",
            Purpose::StoreSet => b"store set",
            Purpose::Escrow => b"escrow",
        }
    }
}

/// Fills `out` (at most 8160 bytes) with the key that `key` derives for this purpose. `context` is the
/// key domain of cells, the envelope's hash of a mask, the id of a store, empty for a check value; a
/// store is of no keyspace.
pub(crate) fn derive(key: &[u8; 32], keyspace: &str, context: &[u8], purpose: Purpose, out: &mut [u8]) {
    Extracted::of(key).derive(keyspace, context, purpose, out);
    wipe_stack();
}

/// The pseudorandom key of a key that derives several. It is wiped with this, by `sha2`'s feature `zeroize`; what
/// its making and its work leave on the stack, by its owner.
pub(crate) struct Extracted(Box<Hkdf<Sha256>>);

impl Extracted {
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        static SALTED: LazyLock<HkdfExtract<Sha256>> = LazyLock::new(|| HkdfExtract::new(None));
        let mut extract = SALTED.clone();
        extract.input_ikm(key);
        Self(Box::new(extract.finalize().1))
    }

    /// [`derive()`], of the key that this is of.
    pub(crate) fn derive(&self, keyspace: &str, context: &[u8], purpose: Purpose, out: &mut [u8]) {
        let fields = [VERSION, keyspace.as_bytes(), context, purpose.name()];
        let [version, space, ctx, name] = fields.map(|field| (field.len() as u64).to_be_bytes());
        let [f0, f1, f2, f3] = fields;
        let filled = self.0.expand_multi_info(&[&version, f0, &space, f1, &ctx, f2, &name, f3], out);
        // Only a length above 255 blocks fails, and going on with a key of zeros must be impossible.
        assert!(filled.is_ok(), "HKDF-SHA-256 gives at most 8160 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, derive};
    use std::collections::HashSet;

    #[test]
    fn different_fields_derive_different_keys() {
        let mut derived = HashSet::new();
        let mut count = 0;
        for (keyspace, context) in [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("a", "b"), ("", "")]
        {
            for purpose in [
                Purpose::RandomizedCells,
                Purpose::DeterministicCells,
                Purpose::PartialCells,
                Purpose::CheckValue,
                Purpose::ShareMask,
                Purpose::StoreLockCheck,
                Purpose::StoreNames,
                Purpose::StoreRecords,
                Purpose::StoreSet,
                Purpose::Escrow,
            ] {
                let mut out = [0; 64];
                derive(&[1; 32], keyspace, context.as_bytes(), purpose, &mut out);
                derived.insert(out);
                count += 1;
            }
        }
        assert_eq!(derived.len(), count);
    }
}
