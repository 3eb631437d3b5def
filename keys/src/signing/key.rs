//! Ed25519 pairs (RFC 8032). `kid = base64url(SHA-256({"crv":"Ed25519","kty":"OKP","x":…}))` (RFC 8037,
//! appendix A.3). The public half is a JWK (RFC 8037, section 2), the private half its 32 byte seed.

use super::SigningError;
use crate::secret::{LENGTH, fill_random};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The private half: signs. On the heap like the secrets of [`crate::secret`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SigningKey {
    seed: Box<[u8; LENGTH]>,
    #[zeroize(skip)]
    public: VerifyingKey,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`SigningError::Key`] if the library refuses, which it has no reason for.
    pub fn generate() -> Result<Self, SigningError> {
        let mut seed = Zeroizing::new([0; LENGTH]);
        fill_random(seed.as_mut_slice());
        Self::from_seed(seed)
    }

    /// The key of this seed (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn from_seed(seed: Zeroizing<[u8; LENGTH]>) -> Result<Self, SigningError> {
        let pair = pair(&seed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SigningError::Key)?;
        let mut key = Self { seed: Box::new([0; LENGTH]), public: VerifyingKey(public) };
        key.seed.copy_from_slice(seed.as_slice());
        Ok(key)
    }

    /// The seed.
    pub fn seed(&self) -> &[u8; LENGTH] {
        &self.seed
    }

    /// The public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        // The pair is made anew each time (some 20 µs): its memory, wiped when freed, is not ours to place.
        Ok(pair(&self.seed)?.sign(message).as_ref().to_vec())
    }
}

fn pair(seed: &[u8; LENGTH]) -> Result<Ed25519KeyPair, SigningError> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningError::Key)
}

/// The public half: verifies. In JSON, a JWK.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey([u8; LENGTH]);

/// Members of a public key for signatures; a private one (`d`) is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

impl VerifyingKey {
    /// The key that these bytes encode (RFC 8032, section 5.1.2). Bytes that encode none verify nothing.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The key's encoding.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// Reads a JWK: `kty`, `crv`, `x`, and if present `alg`, `use` and `kid`, which must be right.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_jwk(jwk: &str) -> Result<Self, SigningError> {
        serde_json::from_str(jwk).map_err(|_| SigningError::Key)
    }

    /// The JWK as JSON text, with `alg`, `use` and `kid`.
    pub fn to_jwk(&self) -> String {
        let (x, kid) = (self.x(), self.kid());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"EdDSA","use":"sig","kid":"{kid}"}}"#)
    }

    /// The key's thumbprint (SHA-256, base64url).
    pub fn kid(&self) -> String {
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x());
        Base64UrlUnpadded::encode_string(&Sha256::digest(members))
    }

    fn x(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.0)
    }

    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.kid()).finish()
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |text: &str| text.to_owned();
        let jwk = Jwk {
            kty: text("OKP"),
            crv: text("Ed25519"),
            x: self.x(),
            alg: Some(text("EdDSA")),
            usage: Some(text("sig")),
            kid: Some(self.kid()),
        };
        jwk.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let jwk = Jwk::deserialize(deserializer)?;
        let mut key = Self([0; LENGTH]);
        let length = Base64UrlUnpadded::decode(&jwk.x, &mut key.0).map(<[u8]>::len);
        let is = |member: &Option<String>, value: &str| member.as_deref().is_none_or(|m| m == value);
        let right = length == Ok(LENGTH)
            && jwk.kty == "OKP"
            && jwk.crv == "Ed25519"
            && is(&jwk.alg, "EdDSA")
            && is(&jwk.usage, "sig")
            && is(&jwk.kid, &key.kid());
        if right { Ok(key) } else { Err(D::Error::custom("not an Ed25519 key")) }
    }
}

#[cfg(test)]
mod tests {
    use super::{SigningError, SigningKey, VerifyingKey};
    use proptest::prelude::{any, proptest};
    use zeroize::Zeroizing;

    proptest! {
        #[test]
        fn jwk_there_and_back(bytes in any::<[u8; 32]>()) {
            let key = VerifyingKey::from_bytes(bytes);
            assert_eq!(VerifyingKey::from_jwk(&key.to_jwk()), Ok(key.clone()));
            assert_eq!(VerifyingKey::from_jwk(&serde_json::to_string(&key).unwrap()), Ok(key));
        }

        #[test]
        fn a_signature_holds_for_its_key_and_message(seed in any::<[u8; 32]>(), message in any::<Vec<u8>>()) {
            let key = SigningKey::from_seed(Zeroizing::new(seed)).unwrap();
            assert_eq!(key.seed(), &seed);
            let signature = key.signature(&message).unwrap();
            assert!(key.verifying_key().signed(&message, &signature));
            assert!(!key.verifying_key().signed(&[&message[..], &[0]].concat(), &signature));
            assert!(!SigningKey::generate().unwrap().verifying_key().signed(&message, &signature));
        }
    }

    /// `S + L` in place of `S` (RFC 8032, section 5.1.7): a second signature that nobody made.
    #[test]
    fn a_signature_has_one_form() {
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10_u16,
        ];
        let key = SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap();
        let mut signature = key.signature(b"x").unwrap();
        assert!(key.verifying_key().signed(b"x", &signature));
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + add + carry;
            (carry, *byte) = (sum >> 8, u8::try_from(sum & 0xff).unwrap());
        }
        assert!(!key.verifying_key().signed(b"x", &signature));
    }

    #[test]
    fn new_keys_differ() {
        let [one, other] = [(), ()].map(|()| SigningKey::generate().unwrap());
        assert_ne!(one.verifying_key(), other.verifying_key());
    }

    #[test]
    fn what_is_not_a_public_key() {
        let jwk = VerifyingKey::from_bytes([5; 32]).to_jwk();
        for (from, to) in [
            ("OKP", "EC"),
            ("Ed25519\"", "Ed448\""),
            ("Ed25519\"", "X25519\""),
            ("EdDSA", "ES256"),
            ("\"sig\"", "\"enc\""),
            ("\"kid\":\"", "\"kid\":\"x"),
            ("\"x\":\"", "\"x\":\"AAAA"),
            ("\"x\":\"BQ", "\"x\":\""),
            ("\"x\":", "\"d\":\"AQAB\",\"x\":"),
            ("\"crv\":", "\"kty\":\"OKP\",\"crv\":"),
        ] {
            let altered = jwk.replacen(from, to, 1);
            assert_ne!(altered, jwk);
            assert_eq!(VerifyingKey::from_jwk(&altered), Err(SigningError::Key), "{from} -> {to}");
        }
        assert_eq!(VerifyingKey::from_jwk(""), Err(SigningError::Key));
    }
}
