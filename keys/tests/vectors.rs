//! Published vectors, and vectors made with other people's cryptography (`jose/make_vectors.py`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use serde_json::Value;
use std::collections::BTreeSet;
use trefoil_keys::cell::partial::{Epochs, PartialKey};
use trefoil_keys::cell::{ColumnKey, Mode};
use trefoil_keys::envelope::{EnvelopePrivateKey, EnvelopePublicKey, Scope, Sealed, UserEnvelope};
use trefoil_keys::secret::{Share, TenantKey};
use trefoil_keys::{check, share};

macro_rules! vectors {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("vectors/", $name, ".json"))).unwrap()
    };
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn epoch(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn tenant_key(value: &Value) -> TenantKey {
    TenantKey::from_bytes(<[u8; 32]>::try_from(hex(value)).unwrap().into())
}

#[test]
fn aes_siv_of_rfc_5297() {
    for vector in vectors!("rfc5297").as_array().unwrap() {
        let mut siv = Aes128Siv::new_from_slice(&hex(&vector["key"])).unwrap();
        let associated_data: Vec<_> = vector["associated_data"].as_array().unwrap().iter().map(hex).collect();
        let sealed = siv.encrypt(&associated_data, &hex(&vector["plaintext"])).unwrap();
        assert_eq!(sealed, hex(&vector["sealed"]));
    }
}

#[test]
fn hkdf_of_rfc_5869() {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    for vector in vectors!("rfc5869").as_array().unwrap() {
        let expected = hex(&vector["derived"]);
        let mut derived = vec![0; expected.len()];
        let key = Salt::new(HKDF_SHA256, &hex(&vector["salt"])).extract(&hex(&vector["key"]));
        key.expand(&[&hex(&vector["info"])], Length(expected.len())).unwrap().fill(&mut derived).unwrap();
        assert_eq!(derived, expected);
    }
}

#[test]
fn thumbprint_of_rfc_7638() {
    let vector = vectors!("rfc7638");
    let key = EnvelopePublicKey::from_jwk(&vector["jwk"].to_string()).unwrap();
    assert_eq!(key.kid(), text(&vector["thumbprint"]));
}

#[test]
fn split_and_combine() {
    let vector = vectors!("shares");
    let [user, application, proxy] =
        ["user", "application", "proxy"].map(|name| Share::from_base64url(text(&vector[name])).unwrap());
    assert!(share::combine(&user, &application, &proxy) == tenant_key(&vector["tk"]));
}

#[test]
fn check_values() {
    for vector in vectors!("check").as_array().unwrap() {
        let tk = tenant_key(&vector["tk"]);
        let (keyspace, epoch) = (text(&vector["keyspace"]), epoch(&vector["epoch"]));
        let expected = hex(&vector["value"]);
        assert_eq!(check::value(&tk, keyspace, epoch), expected);
        assert!(check::verify(&tk, keyspace, epoch, &expected));
    }
}

fn mode(value: &Value) -> Mode {
    match text(value) {
        "randomized" => Mode::Randomized,
        "deterministic" => Mode::Deterministic,
        other => panic!("mode {other}"),
    }
}

#[test]
fn cells_with_a_part_for_others() {
    for vector in vectors!("partial-cells").as_array().unwrap() {
        let (mode, domain) = (mode(&vector["mode"]), text(&vector["domain"]));
        let mut key = ColumnKey::derive(&tenant_key(&vector["tk"]), text(&vector["keyspace"]), domain, mode);
        let mask_tk = tenant_key(&vector["mask_tk"]);
        let mut partial = PartialKey::derive(&mask_tk, text(&vector["mask_keyspace"]), domain, mode);
        let (plaintext, visible) = (hex(&vector["plaintext"]), hex(&vector["visible"]));
        let cell = hex(&vector["cell"]);

        let (mut opened, mut seen) = (Vec::new(), Vec::new());
        key.open(&cell, &mut opened).unwrap();
        assert!(partial.open(&cell, &mut seen).unwrap());
        assert_eq!((opened, seen), (plaintext.clone(), visible.clone()));
        if mode == Mode::Deterministic {
            let epochs = Epochs { full: epoch(&vector["epoch"]), partial: epoch(&vector["mask_epoch"]) };
            let mut sealed = Vec::new();
            partial.seal(&mut key, epochs, &plaintext, &visible, &mut sealed).unwrap();
            assert_eq!(sealed, cell);
        }
    }
}

#[test]
fn cells() {
    for vector in vectors!("cells").as_array().unwrap() {
        let mode = mode(&vector["mode"]);
        let tk = tenant_key(&vector["tk"]);
        let mut key = ColumnKey::derive(&tk, text(&vector["keyspace"]), text(&vector["domain"]), mode);
        let (plaintext, cell) = (hex(&vector["plaintext"]), hex(&vector["cell"]));

        let mut opened = Vec::new();
        key.open(&cell, &mut opened).unwrap();
        assert_eq!(opened, plaintext);
        if mode == Mode::Deterministic {
            let mut sealed = Vec::new();
            key.seal(epoch(&vector["epoch"]), &plaintext, &mut sealed);
            assert_eq!(sealed, cell);
        }
    }
}

#[test]
fn an_envelope_made_by_jwcrypto() {
    for (vector, tables) in [
        (vectors!("envelope"), None),
        (vectors!("envelope-limited"), Some([r#"public."visits.2024""#, "public.patients"])),
    ] {
        is_read(&vector, tables.map(|tables| tables.map(str::to_owned).into()));
    }
}

fn is_read(vector: &Value, tables: Option<BTreeSet<String>>) {
    let key = EnvelopePrivateKey::from_pkcs8_pem(include_str!("vectors/proxy-key.pem")).unwrap();
    assert_eq!(key.public_key().kid(), text(&vector["kid"]));

    let envelope: UserEnvelope = key.open(text(&vector["envelope"])).unwrap();
    assert_eq!((envelope.sub.as_str(), envelope.aud.as_str()), ("alice", "clinic"));
    assert_eq!((envelope.iat, envelope.exp), (1_700_000_000, 1_700_000_060));
    assert_eq!((envelope.scope, envelope.max_uses), (Scope::Read, Some(3)));
    assert_eq!(envelope.tables, tables);
    let claims: Value = serde_json::from_slice(&envelope.to_claims().unwrap()).unwrap();
    assert_eq!(claims, vector["claims"]);
}
