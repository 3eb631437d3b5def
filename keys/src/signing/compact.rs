//! `header . payload . signature`, each part base64url without padding (RFC 7515, section 7.1). Signed is
//! the text of the first two as it stands.

use super::{Claims, Reason, SigningError, SigningKey, VerifyingKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

const ALG: &str = "EdDSA";

/// The protected header: these members and no others (`crit`, `b64`, `jwk`, `x5u`, a second `alg`, …).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    #[serde(borrow)]
    kid: Option<&'a str>,
    typ: &'a str,
}

impl SigningKey {
    /// Signs.
    ///
    /// # Errors
    /// [`SigningError::Unsignable`] if it would be rejected for its claims or its length.
    pub fn sign<C: Claims>(&self, claims: &C) -> Result<String, SigningError> {
        if !claims.is_complete() {
            return Err(SigningError::Unsignable);
        }
        let header = Header { alg: ALG, kid: Some(&self.verifying_key().kid()), typ: C::TYP };
        let header = serde_json::to_vec(&header).map_err(|_| SigningError::Unsignable)?;
        let claims = serde_json::to_vec(claims).map_err(|_| SigningError::Unsignable)?;
        let jws = self.sign_text(&header, &claims)?;
        if jws.len() <= C::MAX_LENGTH { Ok(jws) } else { Err(SigningError::Unsignable) }
    }

    fn sign_text(&self, header: &[u8], payload: &[u8]) -> Result<String, SigningError> {
        let mut jws = Base64UrlUnpadded::encode_string(header);
        jws.push('.');
        jws.push_str(&Base64UrlUnpadded::encode_string(payload));
        let signature = self.signature(jws.as_bytes())?;
        jws.push('.');
        jws.push_str(&Base64UrlUnpadded::encode_string(&signature));
        Ok(jws)
    }
}

impl VerifyingKey {
    /// Verifies: size, form, header, signature, claims complete, in this order.
    ///
    /// # Errors
    /// [`SigningError::Rejected`] for every failure.
    pub fn verify<C: Claims>(&self, jws: &str) -> Result<C, SigningError> {
        let payload = self.verify_text(jws, C::TYP, C::MAX_LENGTH).map_err(SigningError::Rejected)?;
        read(&payload).map_err(SigningError::Rejected)
    }

    fn verify_text(&self, jws: &str, typ: &str, max_length: usize) -> Result<Vec<u8>, Reason> {
        let Parts { message, header, payload, signature } = split(jws, max_length)?;
        self.check_header(&decode(header)?, typ)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        if self.signed(message.as_bytes(), &signature) { Ok(payload) } else { Err(Reason::Signature) }
    }

    fn check_header(&self, json: &[u8], expected: &str) -> Result<(), Reason> {
        let Header { alg, kid, typ } = serde_json::from_slice(json).map_err(|_| Reason::Header)?;
        if (alg, typ) != (ALG, expected) {
            return Err(Reason::Header);
        }
        if kid.is_none_or(|kid| kid == self.kid()) { Ok(()) } else { Err(Reason::Kid) }
    }
}

/// The claims without a look at header and signature, for one who must verify with a key that they name.
pub(crate) fn read_unverified<C: Claims>(jws: &str) -> Result<C, SigningError> {
    let parts = split(jws, C::MAX_LENGTH);
    parts.and_then(|parts| read(&decode(parts.payload)?)).map_err(SigningError::Rejected)
}

struct Parts<'a> {
    /// What is signed: header and payload as they stand.
    message: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

fn split(jws: &str, max_length: usize) -> Result<Parts<'_>, Reason> {
    if jws.len() > max_length {
        return Err(Reason::Size);
    }
    let (message, signature) = jws.rsplit_once('.').ok_or(Reason::Form)?;
    let (header, payload) = message.split_once('.').ok_or(Reason::Form)?;
    if payload.contains('.') { Err(Reason::Form) } else { Ok(Parts { message, header, payload, signature }) }
}

/// The claims of a payload whose signature was verified.
pub(crate) fn read<C: Claims>(payload: &[u8]) -> Result<C, Reason> {
    let claims: C = serde_json::from_slice(payload).map_err(|_| Reason::Claims)?;
    if claims.is_complete() { Ok(claims) } else { Err(Reason::Claims) }
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| Reason::Form)
}

#[cfg(test)]
mod tests {
    use super::{Base64UrlUnpadded, Claims, Encoding};
    use crate::command::Command;
    use crate::receipt::{Outcome, Receipt};
    use crate::signing::{Reason, SigningError, SigningKey, hash};
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    fn key() -> SigningKey {
        SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap()
    }

    fn receipt() -> Receipt {
        let (tenant, command_sha256) = ("clinic".to_owned(), [9; 32]);
        Receipt { tenant, seq: 1, command_sha256, at: 1000, outcome: Outcome::Applied, envelope_keys: None }
    }

    fn reason(verified: Result<Receipt, SigningError>) -> Option<Reason> {
        match verified {
            Ok(_) => None,
            Err(SigningError::Rejected(reason)) => Some(reason),
            Err(other) => panic!("{other}"),
        }
    }

    /// Why a JWS of `key()` with this header and the receipt's claims is rejected.
    fn with_header(header: &str) -> Option<Reason> {
        let jws = key().sign_text(header.as_bytes(), &serde_json::to_vec(&receipt()).unwrap()).unwrap();
        reason(key().verifying_key().verify(&jws))
    }

    #[test]
    fn what_is_signed_is_verified() {
        let jws = key().sign(&receipt()).unwrap();
        assert_eq!(key().verifying_key().verify(&jws), Ok(receipt()));
        assert_eq!(jws, key().sign(&receipt()).unwrap(), "Ed25519 signatures are deterministic");
    }

    #[test]
    fn vectors_of_rfc_8037() {
        let vector: Value = serde_json::from_str(include_str!("../../tests/vectors/rfc8037.json")).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap();
        let mut seed = Zeroizing::new([0; 32]);
        Base64UrlUnpadded::decode(text("seed"), seed.as_mut_slice()).unwrap();
        let key = SigningKey::from_seed(seed).unwrap();
        let public = super::VerifyingKey::from_jwk(&vector["jwk"].to_string()).unwrap();
        assert_eq!(key.verifying_key(), &public);
        assert_eq!(public.kid(), text("thumbprint"));
        let jws = key.sign_text(text("header").as_bytes(), text("payload").as_bytes()).unwrap();
        assert_eq!(jws, text("jws"));
        let (message, signature) = jws.rsplit_once('.').unwrap();
        assert!(public.signed(message.as_bytes(), &Base64UrlUnpadded::decode_vec(signature).unwrap()));
    }

    #[test]
    fn another_key_is_rejected_with_and_without_its_name() {
        let other = SigningKey::generate().unwrap();
        let forged = other.sign(&receipt()).unwrap();
        assert_eq!(reason(key().verifying_key().verify(&forged)), Some(Reason::Kid));
        let claims = serde_json::to_vec(&receipt()).unwrap();
        let header = format!(
            r#"{{"alg":"EdDSA","kid":"{}","typ":"trefoil-receipt+jws"}}"#,
            key().verifying_key().kid()
        );
        for header in [header.as_str(), r#"{"alg":"EdDSA","typ":"trefoil-receipt+jws"}"#] {
            let forged = other.sign_text(header.as_bytes(), &claims).unwrap();
            assert_eq!(reason(key().verifying_key().verify(&forged)), Some(Reason::Signature));
        }
    }

    #[test]
    fn another_header_is_rejected() {
        let kid = key().verifying_key().kid();
        let right = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"trefoil-receipt+jws"}}"#);
        assert_eq!(with_header(&right), None);
        assert_eq!(with_header(r#"{ "typ":"trefoil-receipt+jws", "alg":"EdDSA" }"#), None, "kid is optional");
        for (from, to) in [
            ("EdDSA", "none"),
            ("EdDSA", "None"),
            ("EdDSA", "HS256"),
            ("EdDSA", "RS256"),
            ("EdDSA", "ES256"),
            ("EdDSA", "eddsa"),
            ("trefoil-receipt+jws", "trefoil-command+jws"),
            ("trefoil-receipt+jws", "JWT"),
            (r#","typ":"trefoil-receipt+jws""#, ""),
            (r#""alg":"EdDSA","#, ""),
            (r#""EdDSA""#, r#"["EdDSA"]"#),
            ("}", r#","crit":["exp"]}"#),
            ("}", r#","b64":false}"#),
            ("}", r#","jwk":{}}"#),
            ("}", r#","jku":"https://example.org"}"#),
            ("}", r#","alg":"EdDSA"}"#),
            ("}", "} x"),
        ] {
            let altered = right.replace(from, to);
            assert_ne!(altered, right);
            assert_eq!(with_header(&altered), Some(Reason::Header), "{from} -> {to}");
        }
        assert_eq!(with_header(&right.replace(&kid, "x")), Some(Reason::Kid));
        assert_eq!(with_header(""), Some(Reason::Header));
    }

    /// The public key used as a MAC key, and no signature at all: what lets libraries be fooled that choose
    /// the algorithm by the header.
    #[test]
    fn the_public_key_is_no_mac_key() {
        let claims = Base64UrlUnpadded::encode_string(&serde_json::to_vec(&receipt()).unwrap());
        for alg in ["HS256", "none"] {
            let header = json!({ "alg": alg, "typ": Receipt::TYP }).to_string();
            let message = format!("{}.{claims}", Base64UrlUnpadded::encode_string(header.as_bytes()));
            let mac_key =
                aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key().verifying_key().as_bytes());
            let mac = aws_lc_rs::hmac::sign(&mac_key, message.as_bytes());
            for signature in ["", &Base64UrlUnpadded::encode_string(mac.as_ref())] {
                let verified = key().verifying_key().verify(&format!("{message}.{signature}"));
                assert_eq!(reason(verified), Some(Reason::Header), "{alg}");
            }
        }
    }

    #[test]
    fn an_altered_character_is_rejected() {
        let jws = key().sign(&receipt()).unwrap();
        for position in 0..jws.len() {
            let mut altered = jws.clone().into_bytes();
            altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(key().verifying_key().verify::<Receipt>(&altered).is_err(), "{position}");
        }
    }

    #[test]
    fn a_truncated_or_extended_form_is_rejected() {
        let jws = key().sign(&receipt()).unwrap();
        for length in 0..jws.len() {
            assert!(key().verifying_key().verify::<Receipt>(&jws[..length]).is_err(), "{length}");
        }
        for wrong in [format!("{jws}."), format!("{jws}="), format!("{jws}\n"), format!(".{jws}")] {
            assert_eq!(reason(key().verifying_key().verify(&wrong)), Some(Reason::Form), "{wrong}");
        }
        let longer = format!("{jws}AAAA");
        assert!(key().verifying_key().verify::<Receipt>(&longer).is_err());
    }

    #[test]
    fn size_is_the_first_check() {
        let large = "A".repeat(Receipt::MAX_LENGTH + 1);
        assert_eq!(reason(key().verifying_key().verify(&large)), Some(Reason::Size));
        assert_eq!(reason(key().verifying_key().verify(&large[1..])), Some(Reason::Form));
        let long = Receipt { tenant: "a".repeat(Receipt::MAX_LENGTH), ..receipt() };
        assert_eq!(key().sign(&long), Err(SigningError::Unsignable));
    }

    #[test]
    fn one_kind_of_claims_passes_for_no_other() {
        let jws = key().sign(&receipt()).unwrap();
        let verified = key().verifying_key().verify::<Command>(&jws);
        assert_eq!(verified.err(), Some(SigningError::Rejected(Reason::Header)));
    }

    #[test]
    fn incomplete_claims_are_neither_signed_nor_read() {
        let incomplete = Receipt { seq: 0, ..receipt() };
        assert_eq!(key().sign(&incomplete), Err(SigningError::Unsignable));
        let header = br#"{"alg":"EdDSA","typ":"trefoil-receipt+jws"}"#;
        let jws = key().sign_text(header, &serde_json::to_vec(&incomplete).unwrap()).unwrap();
        assert_eq!(reason(key().verifying_key().verify(&jws)), Some(Reason::Claims));
        let jws = key().sign_text(header, b"\xff").unwrap();
        assert_eq!(reason(key().verifying_key().verify(&jws)), Some(Reason::Claims));
    }

    #[test]
    fn a_hash_names_the_text() {
        let jws = key().sign(&receipt()).unwrap();
        let other = key().sign(&Receipt { at: 1001, ..receipt() }).unwrap();
        assert_ne!(hash(&jws), hash(&other));
    }
}
