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
        let (message, signature) = split(jws, max_length)?;
        let (header, payload) = message.split_once('.').ok_or(Reason::Form)?;
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
    let payload = || {
        let (message, _) = split(jws, C::MAX_LENGTH)?;
        let (_, payload) = message.split_once('.').ok_or(Reason::Form)?;
        read(&decode(payload)?)
    };
    payload().map_err(SigningError::Rejected)
}

/// Signed text and signature.
fn split(jws: &str, max_length: usize) -> Result<(&str, &str), Reason> {
    if jws.len() > max_length {
        return Err(Reason::Size);
    }
    jws.rsplit_once('.').ok_or(Reason::Form)
}

fn read<C: Claims>(payload: &[u8]) -> Result<C, Reason> {
    let claims: C = serde_json::from_slice(payload).map_err(|_| Reason::Claims)?;
    if claims.is_complete() { Ok(claims) } else { Err(Reason::Claims) }
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| Reason::Form)
}
