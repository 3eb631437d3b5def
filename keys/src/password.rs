//! `hash = PBKDF2-HMAC-SHA-256(password, salt, 600 000 iterations)` (RFC 8018), as text
//! `pbkdf2-sha256$600000$<salt>$<hash>`, both in base64url without padding; and one-time passwords.
//!
//! Compared in constant time; no error repeats a password or a hash.

use crate::secret::fill_random;
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;
use zeroize::Zeroizing;

const NAME: &str = "pbkdf2-sha256";
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// Fewer protect too little; more would let a hash from elsewhere hold a processor for minutes.
const ACCEPTED_ITERATIONS: RangeInclusive<u32> = 100_000..=10_000_000;
const SALT: usize = 16;
const HASH: usize = 32;

/// The hash of a password, with all that is needed to verify it. Its text is [`Display`](fmt::Display);
/// with serde it is that text.
#[derive(Clone)]
pub struct PasswordHash {
    iterations: NonZeroU32,
    salt: [u8; SALT],
    hash: [u8; HASH],
}

/// A text is not the hash of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the hash of a password: it has the form {NAME}$600000$<salt>$<hash>, with 100000 to 10000000 iterations"
)]
pub struct MalformedHash;

impl PasswordHash {
    /// Hashes `password` with a fresh salt. Takes some tenths of a second.
    pub fn new(password: &str) -> Self {
        let mut salt = [0; SALT];
        fill_random(&mut salt);
        let mut hash = [0; HASH];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut hash);
        Self { iterations: ITERATIONS, salt, hash }
    }

    /// The hash that this text is.
    ///
    /// # Errors
    /// [`MalformedHash`] for everything else, and for too few or far too many iterations.
    pub fn parse(text: &str) -> Result<Self, MalformedHash> {
        let mut fields = text.split('$');
        let mut field = || fields.next().ok_or(MalformedHash);
        if field()? != NAME {
            return Err(MalformedHash);
        }
        let digits = field()?;
        let iterations: NonZeroU32 = digits.parse().map_err(|_| MalformedHash)?;
        // No sign and no leading zero: a hash has one text.
        if !ACCEPTED_ITERATIONS.contains(&iterations.get()) || iterations.to_string() != digits {
            return Err(MalformedHash);
        }
        let salt = bytes(field()?)?;
        let hash = bytes(field()?)?;
        if fields.next().is_some() {
            return Err(MalformedHash);
        }
        Ok(Self { iterations, salt, hash })
    }

    /// Whether this is the hash of `password`. Takes some tenths of a second, whatever the answer.
    pub fn verify(&self, password: &str) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA256, self.iterations, &self.salt, password.as_bytes(), &self.hash)
            .is_ok()
    }
}

/// Exactly `N` bytes of base64url.
fn bytes<const N: usize>(text: &str) -> Result<[u8; N], MalformedHash> {
    let mut bytes = [0; N];
    match Base64UrlUnpadded::decode(text, &mut bytes) {
        Ok(decoded) if decoded.len() == N => Ok(bytes),
        _ => Err(MalformedHash),
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, hash] = [self.salt.as_slice(), &self.hash].map(Base64UrlUnpadded::encode_string);
        write!(f, "{NAME}${}${salt}${hash}", self.iterations)
    }
}

/// Without the hash, which would let who reads a log try passwords.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl FromStr for PasswordHash {
    type Err = MalformedHash;

    fn from_str(text: &str) -> Result<Self, MalformedHash> {
        Self::parse(text)
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Crockford's base32: no I, L, O, U, so nothing is misread or spelt by accident.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A password of 100 random bits, to be typed once: four groups of five characters of Crockford's
/// base32, such as `7K3QX-9V2MD-0RTHA-C5NWB`.
pub fn one_time_password() -> Zeroizing<String> {
    let mut random = Zeroizing::new([0; 20]);
    fill_random(random.as_mut_slice());
    let mut password = Zeroizing::new(String::with_capacity(23));
    for (position, byte) in random.iter().enumerate() {
        if position > 0 && position % 5 == 0 {
            password.push('-');
        }
        // 256 is a multiple of 32: each character is as likely as any other.
        if let Some(character) = ALPHABET.get(usize::from(byte % 32)) {
            password.push(char::from(*character));
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, MalformedHash, PasswordHash, one_time_password};

    #[test]
    fn verifies_its_password_and_no_other() {
        let hash = PasswordHash::new("correct horse");
        assert!(hash.verify("correct horse"));
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!hash.verify(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_text_is_the_hash() {
        let hash = PasswordHash::new("x");
        let text = hash.to_string();
        assert!(text.starts_with("pbkdf2-sha256$600000$"));
        assert_eq!(text.len(), 21 + 22 + 1 + 43);
        let read = PasswordHash::parse(&text).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(read.verify("x"));
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{text}\""));
        assert!(serde_json::from_str::<PasswordHash>(&format!("\"{text}\"")).unwrap().verify("x"));
        assert_ne!(PasswordHash::new("x").to_string(), text, "the salt is fresh");
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }

    /// Made with Python's `hashlib.pbkdf2_hmac("sha256", b"open sesame", bytes(range(16)), 100000)`.
    #[test]
    fn agrees_with_another_implementation() {
        let text = "pbkdf2-sha256$100000$AAECAwQFBgcICQoLDA0ODw$Y3hpdPa-i2v3a1Z4DNYiCV63ynzfC_p7G853gmKZ2ag";
        let hash = PasswordHash::parse(text).unwrap();
        assert!(hash.verify("open sesame"));
        assert!(!hash.verify("open sesam"));
    }

    #[test]
    fn nothing_else_is_a_hash() {
        let salt = "AAECAwQFBgcICQoLDA0ODw";
        let hash = "A".repeat(43);
        assert!(PasswordHash::parse(&format!("pbkdf2-sha256$600000${salt}${hash}")).is_ok());
        for wrong in [
            String::new(),
            "pbkdf2-sha256".to_owned(),
            format!("pbkdf2-sha512$600000${salt}${hash}"),
            format!("pbkdf2-sha256$99999${salt}${hash}"),
            format!("pbkdf2-sha256$10000001${salt}${hash}"),
            format!("pbkdf2-sha256$+600000${salt}${hash}"),
            format!("pbkdf2-sha256$0600000${salt}${hash}"),
            format!("pbkdf2-sha256$600000$${hash}"),
            format!("pbkdf2-sha256$600000${salt}$"),
            format!("pbkdf2-sha256$600000${salt}A${hash}"),
            format!("pbkdf2-sha256$600000${salt}=${hash}"),
            format!("pbkdf2-sha256$600000${salt}${hash}$"),
            format!("pbkdf2-sha256$600000${salt}${hash} "),
        ] {
            assert_eq!(PasswordHash::parse(&wrong).err(), Some(MalformedHash), "{wrong}");
        }
    }

    #[test]
    fn one_time_passwords_are_four_groups_of_five() {
        let password = one_time_password();
        let groups: Vec<_> = password.split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [5; 4]);
        assert!(groups.concat().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(*password, *one_time_password());
    }
}
