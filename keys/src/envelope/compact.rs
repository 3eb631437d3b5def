//! `header . encrypted key . IV . ciphertext . tag`, each part base64url without padding (RFC 7516,
//! section 7.1). The associated data is the header's text as it stands.

use super::{EnvelopeError, EnvelopePrivateKey, EnvelopePublicKey, Reason, Sealed};
use crate::secret::fill_random;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const ALG: &str = "RSA-OAEP-256";
const ENC: &str = "A256GCM";
const TAG: usize = 16;

/// The protected header: these members and no others (`crit`, `zip`, `cty`, a second `alg`, …).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    enc: &'a str,
    kid: &'a str,
    typ: &'a str,
}

/// Seals to the proxy's key.
///
/// # Errors
/// [`EnvelopeError::Unsealable`] if the proxy would reject it for its claims or its length.
pub fn seal<S: Sealed>(claims: &S, key: &EnvelopePublicKey) -> Result<String, EnvelopeError> {
    let header = Header { alg: ALG, enc: ENC, kid: key.kid(), typ: S::TYP };
    let header = serde_json::to_vec(&header).map_err(|_| EnvelopeError::Unsealable)?;
    let jwe = seal_text(&header, claims.to_claims()?, key)?;
    if jwe.len() <= S::MAX_LENGTH { Ok(jwe) } else { Err(EnvelopeError::Unsealable) }
}

fn seal_text(
    header: &[u8],
    mut text: Zeroizing<Vec<u8>>,
    key: &EnvelopePublicKey,
) -> Result<String, EnvelopeError> {
    let mut cek = Zeroizing::new([0; 32]);
    fill_random(cek.as_mut_slice());
    let mut iv = [0; NONCE_LEN];
    fill_random(&mut iv);

    let header = Base64UrlUnpadded::encode_string(header);
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = content_key(cek.as_slice())
        .and_then(|k| k.seal_in_place_separate_tag(nonce, Aad::from(header.as_bytes()), &mut text).ok())
        .ok_or(EnvelopeError::Unsealable)?;

    let parts = [&key.wrap(&cek)?, iv.as_slice(), text.as_slice(), tag.as_ref()];
    Ok(parts.iter().fold(header, |jwe, part| jwe + "." + &Base64UrlUnpadded::encode_string(part)))
}

impl EnvelopePrivateKey {
    /// Opens: size, header, unwrap, claims complete, in this order. Times, user, application and uses
    /// remain to be checked.
    ///
    /// # Errors
    /// [`EnvelopeError::Rejected`] for every failure.
    pub fn open<S: Sealed>(&self, jwe: &str) -> Result<S, EnvelopeError> {
        let text = self.open_text(jwe, S::TYP, S::MAX_LENGTH).map_err(EnvelopeError::Rejected)?;
        S::from_claims(&text)
    }

    fn open_text(&self, jwe: &str, typ: &str, max_length: usize) -> Result<Zeroizing<Vec<u8>>, Reason> {
        if jwe.len() > max_length {
            return Err(Reason::Size);
        }
        let mut parts = jwe.split('.');
        let mut part = || parts.next().ok_or(Reason::Form);
        let (header, encrypted_key, iv, text, tag) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(Reason::Form);
        }
        self.check_header(&decode(header)?, typ)?;

        let encrypted_key = decode(encrypted_key)?;
        let iv: [u8; NONCE_LEN] = decode(iv)?.try_into().map_err(|_| Reason::Form)?;
        let tag: [u8; TAG] = decode(tag)?.try_into().map_err(|_| Reason::Form)?;
        let mut text = Zeroizing::new(decode(text)?);
        // Still ciphertext, so a copy that growing leaves behind tells nothing.
        text.extend_from_slice(&tag);

        let cek = self.unwrap(&encrypted_key).ok_or(Reason::Unwrap)?;
        let nonce = Nonce::assume_unique_for_key(iv);
        let length = content_key(cek.as_slice())
            .and_then(|k| k.open_in_place(nonce, Aad::from(header.as_bytes()), &mut text).ok())
            .map(|opened| opened.len())
            .ok_or(Reason::Unwrap)?;
        text.truncate(length);
        Ok(text)
    }

    fn check_header(&self, json: &[u8], expected: &str) -> Result<(), Reason> {
        let Header { alg, enc, kid, typ } = serde_json::from_slice(json).map_err(|_| Reason::Header)?;
        if (alg, enc, typ) != (ALG, ENC, expected) {
            return Err(Reason::Header);
        }
        if kid == self.public_key().kid() { Ok(()) } else { Err(Reason::Kid) }
    }
}

/// The `kid` that a JWE names, whoever made it: good for choosing among one's own keys and for nothing else.
pub fn kid_of(jwe: &str) -> Option<String> {
    let header = decode(jwe.split_once('.')?.0).ok()?;
    serde_json::from_slice(&header).ok().map(|Header { kid, .. }| kid.to_owned())
}

fn content_key(cek: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, cek).ok().map(LessSafeKey::new)
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| Reason::Form)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MAX_LENGTH, hash},
        Base64UrlUnpadded, Encoding, Sealed, seal, seal_text,
    };
    use crate::envelope::{
        EnvelopeError, EnvelopePrivateKey, EpochShare, Reason, Scope, UserEnvelope, are_tables,
        claims::tests::envelope,
    };
    use crate::secret::Share;
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
    use std::collections::{BTreeMap, BTreeSet};
    use zeroize::Zeroizing;

    fn private_key() -> EnvelopePrivateKey {
        EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../tests/vectors/proxy-key.pem")).unwrap()
    }

    fn reason(opened: Result<UserEnvelope, EnvelopeError>) -> Option<Reason> {
        match opened {
            Ok(_) => None,
            Err(EnvelopeError::Rejected(reason)) => Some(reason),
            Err(other) => panic!("{other}"),
        }
    }

    /// What proptest may print; an envelope has no `Debug`.
    type Parts = (
        [String; 3],
        (u64, u64),
        Scope,
        Option<u32>,
        Option<BTreeSet<String>>,
        BTreeMap<String, (u8, [u8; 32])>,
    );

    fn parts() -> impl Strategy<Value = Parts> {
        let text = || "\\PC{1,40}";
        let times = (0..u64::MAX).prop_flat_map(|iat| (Just(iat), iat + 1..=u64::MAX));
        let scope = prop_oneof![Just(Scope::Read), Just(Scope::Write)];
        let shares = prop::collection::btree_map(text(), any::<(u8, [u8; 32])>(), 1..5);
        let tables = prop::option::of(prop::collection::btree_set(
            "[a-z ]{1,20}\\.(\"\\PC{1,10}x\"|[A-Zä]{1,9})",
            1..5,
        ));
        let tables = tables.prop_filter("each a name", |names| names.as_ref().is_none_or(are_tables));
        (prop::array::uniform3(text()), times, scope, prop::option::of(1..=u32::MAX), tables, shares)
    }

    fn envelope_of(([sub, jti, aud], (iat, exp), scope, max_uses, tables, shares): Parts) -> UserEnvelope {
        let share = |(epoch, bytes)| EpochShare { epoch, share: Share::from_bytes(bytes) };
        let shares = shares.into_iter().map(|(keyspace, s)| (keyspace, share(s))).collect();
        UserEnvelope { sub, iat, exp, jti, aud, scope, max_uses, tables, shares }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens(parts in parts()) {
            let envelope = envelope_of(parts);
            let key = private_key();
            let opened = key.open::<UserEnvelope>(&seal(&envelope, key.public_key()).unwrap()).unwrap();
            assert!(opened.to_claims().unwrap() == envelope.to_claims().unwrap());
        }

        #[test]
        fn any_text_is_rejected(text in "[A-Za-z0-9_.-]{0,400}") {
            assert!(private_key().open::<UserEnvelope>(&text).is_err());
        }
    }

    #[test]
    fn an_altered_character_is_rejected() {
        let key = private_key();
        let jwe = seal(&envelope(), key.public_key()).unwrap();
        for position in (0..jwe.len()).step_by(7) {
            let mut altered = jwe.clone().into_bytes();
            altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
            assert!(key.open::<UserEnvelope>(std::str::from_utf8(&altered).unwrap()).is_err(), "{position}");
        }
    }

    #[test]
    fn another_form_is_rejected() {
        let key = private_key();
        let jwe = seal(&envelope(), key.public_key()).unwrap();
        let parts: Vec<&str> = jwe.split('.').collect();
        let with = |index: usize, part: &str| {
            let mut parts = parts.clone();
            parts[index] = part;
            parts.join(".")
        };
        for wrong in [
            String::new(),
            parts[..4].join("."),
            format!("{jwe}."),
            format!("{jwe}\n"),
            format!("{jwe}="),
            with(2, ""),
            with(2, &format!("{}AAAA", parts[2])),
            with(4, "AAAA"),
            with(4, &format!("{}==", parts[4])),
            with(3, "+/"),
        ] {
            assert_eq!(reason(key.open(&wrong)), Some(Reason::Form), "{wrong}");
        }
        for wrong in [with(1, ""), with(1, "AAAA"), with(3, "")] {
            assert_eq!(reason(key.open(&wrong)), Some(Reason::Unwrap), "{wrong}");
        }
    }

    #[test]
    fn another_header_is_rejected() {
        let key = private_key();
        let kid = key.public_key().kid();
        let open = |header: &str| {
            let text = envelope().to_claims().unwrap();
            reason(key.open(&seal_text(header.as_bytes(), text, key.public_key()).unwrap()))
        };
        let right = format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"{kid}","typ":"tku+jwe"}}"#);
        assert_eq!(open(&right), None);
        for (from, to) in [
            ("RSA-OAEP-256", "RSA-OAEP"),
            ("RSA-OAEP-256", "RSA1_5"),
            ("RSA-OAEP-256", "dir"),
            ("RSA-OAEP-256", "none"),
            ("A256GCM", "A128GCM"),
            ("A256GCM", "a256gcm"),
            ("tku+jwe", "tkp+jwe"),
            ("tku+jwe", "JWT"),
            ("}", r#","crit":["exp"]}"#),
            ("}", r#","zip":"DEF"}"#),
            ("}", r#","jku":"https://example.org"}"#),
            ("}", r#","typ":"tku+jwe"}"#),
            ("}", "} x"),
            (r#","typ":"tku+jwe""#, ""),
            (r#""alg":"RSA-OAEP-256","#, ""),
            ("{", "[{"),
        ] {
            assert_eq!(open(&right.replace(from, to)), Some(Reason::Header), "{from} -> {to}");
        }
        assert_eq!(open(&right.replace(kid, "x")), Some(Reason::Kid));
        assert_eq!(open(""), Some(Reason::Header));
    }

    #[test]
    fn size_is_the_first_check() {
        let key = private_key();
        let jwe = seal(&envelope(), key.public_key()).unwrap();
        assert_eq!(reason(key.open(&"A".repeat(MAX_LENGTH + 1))), Some(Reason::Size));
        assert_eq!(reason(key.open(&format!("{jwe}.{}", "A".repeat(MAX_LENGTH)))), Some(Reason::Size));
        assert_eq!(reason(key.open(&"A".repeat(MAX_LENGTH))), Some(Reason::Form));

        let mut large = envelope();
        large.sub = "a".repeat(MAX_LENGTH * 3 / 4);
        assert_eq!(seal(&large, key.public_key()), Err(EnvelopeError::Unsealable));
        large.sub = "a".repeat(MAX_LENGTH * 2);
        assert_eq!(seal(&large, key.public_key()), Err(EnvelopeError::Unsealable));
    }

    #[test]
    fn an_envelope_for_another_key_is_rejected() {
        let key = private_key();
        let other =
            EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../tests/vectors/key-2048.pem")).unwrap();
        let jwe = seal(&envelope(), other.public_key()).unwrap();
        assert!(other.open::<UserEnvelope>(&jwe).is_ok());
        assert_eq!(reason(key.open(&jwe)), Some(Reason::Kid));

        // With a header that claims our key: of another modulus length, so that not even the length fits.
        let header = Base64UrlUnpadded::decode_vec(jwe.split('.').next().unwrap()).unwrap();
        let header =
            String::from_utf8(header).unwrap().replace(other.public_key().kid(), key.public_key().kid());
        let text = envelope().to_claims().unwrap();
        let jwe = seal_text(header.as_bytes(), text, other.public_key()).unwrap();
        assert_eq!(reason(key.open(&jwe)), Some(Reason::Unwrap));
    }

    #[test]
    fn incomplete_claims_are_rejected_after_unwrapping() {
        let key = private_key();
        let header = seal(&envelope(), key.public_key()).unwrap();
        let header = Base64UrlUnpadded::decode_vec(header.split('.').next().unwrap()).unwrap();
        let jwe = seal_text(&header, Zeroizing::new(b"{}".to_vec()), key.public_key()).unwrap();
        assert_eq!(reason(key.open(&jwe)), Some(Reason::Claims));
    }

    #[test]
    fn two_seals_of_one_envelope_differ() {
        let key = private_key();
        let [a, b] = [(), ()].map(|()| seal(&envelope(), key.public_key()).unwrap());
        assert_ne!(a, b);
        assert_ne!(hash(&a), hash(&b));
    }
}
