//! What proves a password without being it: PostgreSQL's form of a SCRAM-SHA-256 verifier (RFC 5802, 7677),
//! `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as in `pg_authid.rolpassword`.

use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

/// Bytes of SHA-256.
pub(super) const HASH: usize = 32;
/// More would take a client longer than anybody waits.
const MAX_ITERATIONS: u32 = 10_000_000;
const MAX_SALT: usize = 256;

/// A verifier.
#[derive(Clone)]
pub struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Zeroizing<[u8; HASH]>,
    pub(super) server_key: Zeroizing<[u8; HASH]>,
}

/// A text is no verifier. Which text is not said: it could be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a verifier `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; make one by trefoil-proxy scram-verifier"
)]
pub struct MalformedVerifier;

impl std::str::FromStr for Verifier {
    type Err = MalformedVerifier;

    fn from_str(text: &str) -> Result<Self, MalformedVerifier> {
        read(text).ok_or(MalformedVerifier)
    }
}

fn read(text: &str) -> Option<Verifier> {
    let (costs, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = costs.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let iterations = iterations.parse().ok().filter(|count| (1..=MAX_ITERATIONS).contains(count))?;
    let salt = Base64::decode_vec(salt).ok().filter(|salt| (1..=MAX_SALT).contains(&salt.len()))?;
    Some(Verifier { iterations, salt, stored_key: hash(stored_key)?, server_key: hash(server_key)? })
}

fn hash(text: &str) -> Option<Zeroizing<[u8; HASH]>> {
    let bytes = Zeroizing::new(Base64::decode_vec(text).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgresqls_client_makes_is_a_verifier() {
        let text = postgres_protocol::password::scram_sha_256(b"pencil");
        let read: Verifier = text.parse().unwrap();
        assert_eq!((read.iterations, read.salt.len()), (4096, 16));
        for broken in [
            "",
            "md53175bce1d3201d16594cebf9d7eb3f9d",
            &text.replace("4096", "0"),
            &text.replace("4096", "99999999999"),
            &text.replace("SHA-256", "SHA-1"),
            &text[..text.len() - 2],
            &format!("{text}="),
        ] {
            assert!(broken.parse::<Verifier>().is_err(), "{broken}");
        }
    }
}
