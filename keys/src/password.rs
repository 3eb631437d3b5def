//! `hash = PBKDF2-HMAC-SHA-256(password, salt, 600 000 iterations)` (RFC 8018), as text
//! `pbkdf2-sha256$600000$<salt>$<hash>`, both in base64url without padding; and generated passwords.
//!
//! A generated password counts however a person types it: without case, spaces and dashes, and with O, I
//! and L for 0, 1 and 1 (Crockford's base32). Its hash says so: it begins with `pbkdf2-sha256-crockford`.
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
/// The same of a generated password.
const GENERATED_NAME: &str = "pbkdf2-sha256-crockford";
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// Fewer protect too little; more would let a hash from elsewhere hold a processor for minutes.
const ACCEPTED_ITERATIONS: RangeInclusive<u32> = 100_000..=10_000_000;
const SALT: usize = 16;
const HASH: usize = 32;

/// The hash of a password, with all that is needed to verify it. Its text is [`Display`](fmt::Display);
/// with serde it is that text.
#[derive(Clone)]
pub struct PasswordHash {
    generated: bool,
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
        Self::make(password, false)
    }

    /// A new password of 100 random bits, with its hash: four groups of five characters of Crockford's
    /// base32, such as `7K3QX-9V2MD-0RTHA-C5NWB`.
    pub fn generate() -> (Self, Zeroizing<String>) {
        let password = generate();
        (Self::make(&password, true), password)
    }

    fn make(password: &str, generated: bool) -> Self {
        let mut salt = [0; SALT];
        fill_random(&mut salt);
        let mut hash = [0; HASH];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut hash);
        Self { generated, iterations: ITERATIONS, salt, hash }
    }

    /// The hash that this text is.
    ///
    /// # Errors
    /// [`MalformedHash`] for everything else, and for too few or far too many iterations.
    pub fn parse(text: &str) -> Result<Self, MalformedHash> {
        let mut fields = text.split('$');
        let mut field = || fields.next().ok_or(MalformedHash);
        let generated = match field()? {
            NAME => false,
            GENERATED_NAME => true,
            _ => return Err(MalformedHash),
        };
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
        Ok(Self { generated, iterations, salt, hash })
    }

    /// What was typed in the form that is hashed. None if no generated password can be meant, where this
    /// is the hash of one.
    pub fn read(&self, typed: &str) -> Option<Zeroizing<String>> {
        if self.generated { spelled_out(typed) } else { Some(Zeroizing::new(typed.to_owned())) }
    }

    /// Whether this is the hash of what was typed. Takes some tenths of a second, whatever the answer.
    pub fn verify(&self, typed: &str) -> bool {
        let read = self.read(typed);
        let password = read.as_deref().map_or(typed, String::as_str);
        pbkdf2::verify(PBKDF2_HMAC_SHA256, self.iterations, &self.salt, password.as_bytes(), &self.hash)
            .is_ok()
            && read.is_some()
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
        let name = if self.generated { GENERATED_NAME } else { NAME };
        write!(f, "{name}${}${salt}${hash}", self.iterations)
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

const LENGTH: usize = 20;
const GROUP: usize = 5;

fn generate() -> Zeroizing<String> {
    let mut characters = Zeroizing::new([0; LENGTH]);
    fill_random(characters.as_mut_slice());
    for byte in characters.iter_mut() {
        // 256 is a multiple of 32: each character is as likely as any other.
        *byte = ALPHABET.get(usize::from(*byte % 32)).copied().unwrap_or_default();
    }
    grouped(&characters)
}

fn grouped(characters: &[u8; LENGTH]) -> Zeroizing<String> {
    let mut password = Zeroizing::new(String::with_capacity(LENGTH + LENGTH / GROUP));
    for (position, character) in characters.iter().enumerate() {
        if position > 0 && position % GROUP == 0 {
            password.push('-');
        }
        password.push(char::from(*character));
    }
    password
}

/// A generated password as it was printed, from how a person has typed it.
fn spelled_out(typed: &str) -> Option<Zeroizing<String>> {
    let mut characters = Zeroizing::new([0; LENGTH]);
    let mut places = characters.iter_mut();
    for typed in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let character = match typed.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let byte = u8::try_from(character).ok().filter(|byte| ALPHABET.contains(byte))?;
        *places.next()? = byte;
    }
    let complete = places.next().is_none();
    complete.then(|| grouped(&characters))
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, MalformedHash, PasswordHash, generate, spelled_out};

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
    fn generated_passwords_are_four_groups_of_five() {
        let password = generate();
        let groups: Vec<_> = password.split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [5; 4]);
        assert!(groups.concat().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(*password, *generate());
    }

    #[test]
    fn a_generated_password_counts_however_it_is_typed() {
        let (hash, password) = PasswordHash::generate();
        let text = hash.to_string();
        assert!(text.starts_with("pbkdf2-sha256-crockford$600000$"), "{text}");
        let hash = PasswordHash::parse(&text).unwrap();
        assert_eq!(hash.to_string(), text);
        let plain = password.replace('-', "");
        for typed in [password.to_lowercase(), format!(" {plain}\n"), password.replace('-', " ")] {
            assert!(hash.verify(&typed));
        }
        assert!(!hash.verify(&generate()));
        let read = spelled_out("oIl1a bcdef-GHJKMnpqrs").unwrap();
        assert_eq!(*read, "0111A-BCDEF-GHJKM-NPQRS");
        for other in ["", "abc", "0111ABCDEFGHJKMNPQR", "0111ABCDEFGHJKMNPQRST", "0111ABCDEFGHJKMNPQRU"] {
            assert!(hash.read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_chosen_password_counts_only_as_it_was_chosen() {
        let hash = PasswordHash::new("0111a bcdef ghjkm npqrs");
        assert!(hash.verify("0111a bcdef ghjkm npqrs"));
        assert!(!hash.verify("0111A-BCDEF-GHJKM-NPQRS"));
        assert!(hash.read("abc").is_some());
    }
}
