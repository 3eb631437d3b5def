//! The proxy's RSA pair. `kid = base64url(SHA-256({"e":…,"kty":"RSA","n":…}))` (RFC 7638). The public half
//! is a JWK (RFC 7517), the private half PKCS#8.
//!
//! Unwrapping is aws-lc's, in constant time. RUSTSEC-2023-0071 is about private-key operations of the
//! crate `rsa`: here it wraps, parses public keys, and makes a new key, whose timing no peer observes.

use super::EnvelopeError;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use rsa::pkcs8::{DecodePublicKey, EncodePrivateKey, LineEnding, SecretDocument};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Oaep, RsaPrivateKey, RsaPublicKey};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

const BITS: RangeInclusive<usize> = 2048..=4096;
const NEW_BITS: usize = 3072;
const PEM_LABEL: &str = "PRIVATE KEY";

/// The public half: seals ([`super::seal`]). In JSON, a JWK.
#[derive(Clone)]
pub struct EnvelopePublicKey {
    key: RsaPublicKey,
    kid: String,
}

/// Members of a public key for envelopes; a private one (`d`, `p`, …) is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    n: String,
    e: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

impl EnvelopePublicKey {
    /// Reads a JWK: `kty`, `n`, `e`, and if present `alg`, `use` and `kid`, which must be right.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`].
    pub fn from_jwk(jwk: &str) -> Result<Self, EnvelopeError> {
        serde_json::from_str(jwk).map_err(|_| EnvelopeError::Key)
    }

    fn from_members(jwk: &Jwk) -> Result<Self, EnvelopeError> {
        let number = |text: &str| Base64UrlUnpadded::decode_vec(text).map(|b| BigUint::from_bytes_be(&b));
        let (Ok(n), Ok(e)) = (number(&jwk.n), number(&jwk.e)) else { return Err(EnvelopeError::Key) };
        let public = Self::new(RsaPublicKey::new(n, e).map_err(|_| EnvelopeError::Key)?)?;
        let is = |member: &Option<String>, value: &str| member.as_deref().is_none_or(|m| m == value);
        let right = jwk.kty == "RSA"
            && is(&jwk.alg, "RSA-OAEP-256")
            && is(&jwk.usage, "enc")
            && is(&jwk.kid, &public.kid);
        if right { Ok(public) } else { Err(EnvelopeError::Key) }
    }

    /// The JWK as JSON text, with `alg`, `use` and `kid`.
    pub fn to_jwk(&self) -> String {
        let [n, e] = self.numbers();
        let kid = &self.kid;
        format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}","alg":"RSA-OAEP-256","use":"enc","kid":"{kid}"}}"#)
    }

    /// The key's RFC 7638 thumbprint (SHA-256, base64url).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    fn new(key: RsaPublicKey) -> Result<Self, EnvelopeError> {
        if !BITS.contains(&key.n().bits()) {
            return Err(EnvelopeError::Key);
        }
        let mut public = Self { key, kid: String::new() };
        let [n, e] = public.numbers();
        let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        public.kid = Base64UrlUnpadded::encode_string(&sha2::Sha256::digest(members.as_bytes()));
        Ok(public)
    }

    /// Modulus and exponent as a JWK writes them: big endian, shortest form, base64url.
    fn numbers(&self) -> [String; 2] {
        [self.key.n(), self.key.e()].map(|number| Base64UrlUnpadded::encode_string(&number.to_bytes_be()))
    }

    /// RSA-OAEP with SHA-256 and MGF1-SHA-256 (RFC 7518, section 4.3).
    pub(super) fn wrap(&self, cek: &[u8; 32]) -> Result<Vec<u8>, EnvelopeError> {
        let padding = Oaep::new::<rsa::sha2::Sha256>();
        self.key.encrypt(&mut OsRng, padding, cek).map_err(|_| EnvelopeError::Unsealable)
    }
}

/// Whether no key is among them twice.
pub(crate) fn all_different(keys: &[EnvelopePublicKey]) -> bool {
    let kids: BTreeSet<_> = keys.iter().map(EnvelopePublicKey::kid).collect();
    kids.len() == keys.len()
}

impl PartialEq for EnvelopePublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid
    }
}

impl Eq for EnvelopePublicKey {}

impl fmt::Debug for EnvelopePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnvelopePublicKey").field(&self.kid).finish()
    }
}

impl Serialize for EnvelopePublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [n, e] = self.numbers();
        let text = |text: &str| text.to_owned();
        let (alg, usage, kid) = (Some(text("RSA-OAEP-256")), Some(text("enc")), Some(self.kid.clone()));
        Jwk { kty: text("RSA"), n, e, alg, usage, kid }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EnvelopePublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_members(&Jwk::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The private half: opens.
pub struct EnvelopePrivateKey {
    key: PrivateDecryptingKey,
    unwrapper: OaepPrivateDecryptingKey,
    public: EnvelopePublicKey,
}

impl EnvelopePrivateKey {
    /// A new key of 3072 bits. Takes about a second, a few in bad luck.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`] if no key could be made.
    pub fn generate() -> Result<Self, EnvelopeError> {
        let key = RsaPrivateKey::new(&mut OsRng, NEW_BITS).map_err(|_| EnvelopeError::Key)?;
        Self::from_pkcs8(&key.to_pkcs8_der().map_err(|_| EnvelopeError::Key)?)
    }

    /// Reads unencrypted PKCS#8 in PEM. Costs about 0.3 ms: load once.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`].
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, EnvelopeError> {
        match SecretDocument::from_pem(pem) {
            Ok((PEM_LABEL, der)) => Self::from_pkcs8(&der),
            _ => Err(EnvelopeError::Key),
        }
    }

    /// The key as unencrypted PKCS#8 in PEM.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`] if it could not be encoded.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, EnvelopeError> {
        let der = self.key.as_der().map_err(|_| EnvelopeError::Key)?;
        SecretDocument::try_from(der.as_ref())
            .and_then(|document| document.to_pem(PEM_LABEL, LineEnding::LF))
            .map_err(|_| EnvelopeError::Key)
    }

    /// The public half.
    pub fn public_key(&self) -> &EnvelopePublicKey {
        &self.public
    }

    fn from_pkcs8(der: &SecretDocument) -> Result<Self, EnvelopeError> {
        let key = PrivateDecryptingKey::from_pkcs8(der.as_bytes()).map_err(|_| EnvelopeError::Key)?;
        let public = key.public_key().as_der().map_err(|_| EnvelopeError::Key)?;
        let public = RsaPublicKey::from_public_key_der(public.as_ref()).map_err(|_| EnvelopeError::Key)?;
        let unwrapper = OaepPrivateDecryptingKey::new(key.clone()).map_err(|_| EnvelopeError::Key)?;
        Ok(Self { key, unwrapper, public: EnvelopePublicKey::new(public)? })
    }

    /// The content key, if this is one that [`EnvelopePublicKey::wrap`] made for this key.
    pub(super) fn unwrap(&self, encrypted_key: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let mut buffer = Zeroizing::new(vec![0; self.unwrapper.min_output_size()]);
        let unwrapped =
            self.unwrapper.decrypt(&OAEP_SHA256_MGF1SHA256, encrypted_key, &mut buffer, None).ok()?;
        let mut cek = Zeroizing::new([0; 32]);
        if unwrapped.len() != cek.len() {
            return None;
        }
        cek.copy_from_slice(unwrapped);
        Some(cek)
    }
}

#[cfg(test)]
mod tests {
    use super::{EnvelopeError, EnvelopePrivateKey, EnvelopePublicKey};

    const PEM: &str = include_str!("../../tests/vectors/proxy-key.pem");

    #[test]
    fn keys_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<EnvelopePrivateKey>();
        shared::<EnvelopePublicKey>();
    }

    #[test]
    fn pem_and_jwk_there_and_back() {
        let key = EnvelopePrivateKey::from_pkcs8_pem(PEM).unwrap();
        let again = EnvelopePrivateKey::from_pkcs8_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
        assert_eq!(again.public_key().kid(), key.public_key().kid());
        let public = EnvelopePublicKey::from_jwk(&key.public_key().to_jwk()).unwrap();
        assert_eq!(public.kid(), key.public_key().kid());
        assert_eq!(public.to_jwk(), key.public_key().to_jwk());
    }

    #[test]
    fn sizes_that_are_accepted() {
        for pem in [
            include_str!("../../tests/vectors/key-2048.pem"),
            include_str!("../../tests/vectors/key-4096.pem"),
        ] {
            let key = EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap();
            let wrapped = key.public_key().wrap(&[9; 32]).unwrap();
            assert_eq!(key.unwrap(&wrapped).unwrap().as_slice(), [9; 32]);
        }
        assert!(
            EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../tests/vectors/key-1024.pem")).is_err()
        );
    }

    #[test]
    fn what_is_not_a_public_key() {
        let jwk = EnvelopePrivateKey::from_pkcs8_pem(PEM).unwrap().public_key().to_jwk();
        for (from, to) in [
            ("RSA\"", "EC\""),
            ("RSA-OAEP-256", "RSA-OAEP"),
            ("\"enc\"", "\"sig\""),
            ("\"kid\":\"", "\"kid\":\"x"),
            ("\"e\":", "\"d\":\"AQAB\",\"e\":"),
            ("\"e\":\"AQAB\"", "\"e\":\"AQAA\""),
            ("\"e\":\"AQAB\"", "\"e\":\"AQ==\""),
            ("\"e\":\"AQAB\",", ""),
            ("\"n\":\"", "\"n\":\"AQ\",\"x\":\""),
        ] {
            let altered = jwk.replacen(from, to, 1);
            assert_ne!(altered, jwk);
            assert!(
                EnvelopePublicKey::from_jwk(&altered).is_err_and(|e| e == EnvelopeError::Key),
                "{from} -> {to}"
            );
        }
        assert!(EnvelopePublicKey::from_jwk(r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#).is_err());
        assert!(EnvelopePublicKey::from_jwk("").is_err());
    }

    #[test]
    fn what_is_not_a_private_key() {
        let public_label = PEM.replace("PRIVATE", "PUBLIC");
        let encrypted_label = PEM.replace("PRIVATE", "ENCRYPTED PRIVATE");
        for wrong in
            ["", "-----BEGIN PRIVATE KEY-----", &public_label, &encrypted_label, &PEM[..PEM.len() / 2]]
        {
            assert!(EnvelopePrivateKey::from_pkcs8_pem(wrong).is_err_and(|e| e == EnvelopeError::Key));
        }
    }

    #[test]
    fn a_new_key_has_3072_bits() {
        let key = EnvelopePrivateKey::generate().unwrap();
        assert_eq!(key.unwrapper.key_size_bits(), 3072);
        assert!(EnvelopePrivateKey::from_pkcs8_pem(&key.to_pkcs8_pem().unwrap()).is_ok());
    }
}
