//! Envelopes (JWE), commands and answers (JWS), and their claims, as they are read before any key is used.
//! The first byte says which.

use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::LazyLock;
use trefoil_keys::announcement::Announcement;
use trefoil_keys::appointment::Appointment;
use trefoil_keys::bundle::{self, UserBundle};
use trefoil_keys::command::{Command, Delivery};
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EnvelopePublicKey, Sealed, UserEnvelope};
use trefoil_keys::escrow::Sheet;
use trefoil_keys::handover::Handover;
use trefoil_keys::proxy_share::ProxyShares;
use trefoil_keys::receipt::Receipt;
use trefoil_keys::signing::{Claims, SigningKey, VerifyingKey};
use trefoil_keys::status::Status;
use zeroize::Zeroizing;

static ENVELOPE_KEY: LazyLock<EnvelopePrivateKey> = LazyLock::new(|| {
    let pem = include_str!("../../../keys/tests/vectors/key-2048.pem");
    EnvelopePrivateKey::from_pkcs8_pem(pem).expect("the test's key")
});

static SIGNING_KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(Zeroizing::new([3; 32])).expect("a seed"));

/// Reads one text.
pub fn run(data: &[u8]) -> bool {
    let Some((&kind, json)) = data.split_first() else { return false };
    let text = str::from_utf8(json).unwrap_or_default();
    match kind {
        b'E' => {
            envelope::kid_of(text);
            ENVELOPE_KEY.open::<UserEnvelope>(text).is_ok()
        }
        b'e' => UserEnvelope::from_claims(json).is_ok(),
        b'p' => ProxyShares::from_claims(json).is_ok(),
        b'h' => Handover::from_claims(json).is_ok(),
        b'J' => {
            let key = SIGNING_KEY.verifying_key();
            let _ = (Status::introduce(text), Appointment::introduce(text));
            key.verify::<Command>(text).is_ok()
        }
        b'c' => claims::<Command>(json),
        b'r' => claims::<Receipt>(json),
        b's' => claims::<Status>(json),
        b'a' => claims::<Appointment>(json),
        b'n' => claims::<Announcement>(json),
        b'd' => {
            Delivery::from_json(json).is_ok_and(|delivery| delivery.open(SIGNING_KEY.verifying_key()).is_ok())
        }
        b'b' => bundle::parse::<UserBundle>(json, Path::new("bundle")).is_ok(),
        b'k' => VerifyingKey::from_jwk(text).is_ok() | EnvelopePublicKey::from_jwk(text).is_ok(),
        _ => Sheet::parse(text).is_ok(),
    }
}

/// What is complete can be signed and is read again.
fn claims<C: Claims + DeserializeOwned>(json: &[u8]) -> bool {
    let Ok(claims) = serde_json::from_slice::<C>(json) else { return false };
    let Ok(jws) = SIGNING_KEY.sign(&claims) else { return false };
    assert!(SIGNING_KEY.verifying_key().verify::<C>(&jws).is_ok());
    true
}

/// One of each, made with the keys above.
pub fn seeds() -> Vec<Vec<u8>> {
    let share = "iYqLjI2Oj4CRkpOUlZaXiJmam5ydnp-QoaKjpKWmp5g";
    let envelope = format!(
        r#"{{"sub":"alice","iat":1700000000,"exp":1700000060,"jti":"b7c1","aud":"clinic","scope":"read","max_uses":3,"tables":["public.t"],"tku":{{"main":{{"epoch":1,"share":"{share}"}}}}}}"#
    );
    let command =
        r#"{"tenant":"clinic","seq":1,"iat":1700000000,"exp":1700000060,"op":"withdraw","sub":"alice"}"#;
    let receipt = r#"{"tenant":"clinic","seq":1,"command_sha256":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk","at":1000,"outcome":"applied"}"#;
    let sealed = UserEnvelope::from_claims(envelope.as_bytes())
        .and_then(|claims| envelope::seal(&claims, ENVELOPE_KEY.public_key()));
    let signed = serde_json::from_str::<Command>(command).map(|command| SIGNING_KEY.sign(&command));
    let (sealed, signed) = (sealed.unwrap_or_default(), signed.ok().and_then(Result::ok).unwrap_or_default());
    let sheet = include_str!("../../../keys/tests/vectors/escrow-1-of-3.txt");
    [
        format!("E{sealed}"),
        format!("e{envelope}"),
        format!("J{signed}"),
        format!("c{command}"),
        format!("r{receipt}"),
        format!(r#"d{{"version":1,"command":"{signed}","tka":{{}}}}"#),
        format!("k{}", SIGNING_KEY.verifying_key().to_jwk()),
        format!("k{}", ENVELOPE_KEY.public_key().to_jwk()),
        format!("x{sheet}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}
