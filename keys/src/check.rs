//! `check value = AES-256-SIV(HKDF-SHA-256(TK, …keyspace, "check value"…), epoch; "0")`: says whether
//! three shares gave the right tenant key, and nothing else about it.

use crate::cell::derive_siv;
use crate::kdf::Purpose;
use crate::secret::TenantKey;
use subtle::ConstantTimeEq;

/// Bytes of a check value: the synthetic IV and the enciphered `0`.
pub const LENGTH: usize = 17;

/// The check value of this tenant key: [`LENGTH`] bytes.
pub fn value(tk: &TenantKey, keyspace: &str, epoch: u8) -> Vec<u8> {
    let mut value = Vec::with_capacity(LENGTH);
    derive_siv(tk, keyspace, &[], Purpose::CheckValue).seal(&[&[epoch]], b"0", &mut value);
    value
}

/// Whether `expected` is this tenant key's check value; in constant time.
pub fn verify(tk: &TenantKey, keyspace: &str, epoch: u8, expected: &[u8]) -> bool {
    value(tk, keyspace, epoch).ct_eq(expected).into()
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, value, verify};
    use crate::secret::TenantKey;

    #[test]
    fn tells_tenant_keys_apart() {
        let tk = TenantKey::generate();
        let mut expected = value(&tk, "main", 1);
        assert_eq!(expected.len(), LENGTH);
        assert!(verify(&tk, "main", 1, &expected));
        assert!(!verify(&TenantKey::generate(), "main", 1, &expected));
        assert!(!verify(&tk, "main", 2, &expected));
        assert!(!verify(&tk, "billing", 1, &expected));
        assert!(!verify(&tk, "main", 1, &[]));
        assert!(!verify(&tk, "main", 1, &expected[1..]));
        expected[LENGTH - 1] ^= 1;
        assert!(!verify(&tk, "main", 1, &expected));
    }
}
