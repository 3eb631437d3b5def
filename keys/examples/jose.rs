//! Makes and reads what is sealed and signed, for tests with other JOSE libraries.
//!
//! ```text
//! jose jwk    PRIVATE.pem | SEED             prints the public half as a JWK
//! jose seal   TYP PUBLIC.jwk  CLAIMS.json    prints the JWE
//! jose open   TYP PRIVATE.pem JWE            prints the claims, with the secrets
//! jose sign   TYP SEED        CLAIMS.json    prints the JWS
//! jose verify TYP PUBLIC.jwk  JWS            prints the claims
//! ```
//!
//! Each argument but the first two is a file. SEED holds an Ed25519 key's 32 bytes in base64url.

use std::error::Error;
use std::fs::read_to_string;
use std::process::ExitCode;
use trefoil_keys::announcement::Announcement;
use trefoil_keys::command::Command;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EnvelopePublicKey, Sealed, UserEnvelope};
use trefoil_keys::handover::Handover;
use trefoil_keys::proxy_share::ProxyShares;
use trefoil_keys::receipt::Receipt;
use trefoil_keys::secret::Share;
use trefoil_keys::signing::{Claims, SigningKey, VerifyingKey};
use trefoil_keys::status::Status;

type Outcome = Result<String, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(output) => {
            println!("{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("jose: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Outcome {
    match *arguments {
        ["jwk", key] => match signing_key(&text(key)?) {
            Ok(key) => Ok(key.verifying_key().to_jwk()),
            Err(_) => Ok(EnvelopePrivateKey::from_pkcs8_pem(&text(key)?)?.public_key().to_jwk()),
        },
        [action, typ, key, content] => {
            let (key, content) = (text(key)?, text(content)?);
            match typ {
                UserEnvelope::TYP => sealed::<UserEnvelope>(action, &key, &content),
                ProxyShares::TYP => sealed::<ProxyShares>(action, &key, &content),
                Handover::TYP => sealed::<Handover>(action, &key, &content),
                Command::TYP => signed::<Command>(action, &key, &content),
                Receipt::TYP => signed::<Receipt>(action, &key, &content),
                Status::TYP => signed::<Status>(action, &key, &content),
                Announcement::TYP => signed::<Announcement>(action, &key, &content),
                _ => Err("no such TYP".into()),
            }
        }
        _ => Err("usage: see the beginning of keys/examples/jose.rs".into()),
    }
}

fn sealed<S: Sealed>(action: &str, key: &str, content: &str) -> Outcome {
    match action {
        "seal" => {
            let claims = S::from_claims(content.as_bytes())?;
            Ok(envelope::seal(&claims, &EnvelopePublicKey::from_jwk(key)?)?)
        }
        "open" => {
            let claims: S = EnvelopePrivateKey::from_pkcs8_pem(key)?.open(content.trim_end())?;
            Ok(String::from_utf8(claims.to_claims()?.to_vec())?)
        }
        _ => Err("this TYP can be sealed and opened".into()),
    }
}

fn signed<C: Claims>(action: &str, key: &str, content: &str) -> Outcome {
    match action {
        "sign" => Ok(signing_key(key)?.sign(&serde_json::from_str::<C>(content)?)?),
        "verify" => {
            let claims: C = VerifyingKey::from_jwk(key)?.verify(content.trim_end())?;
            Ok(serde_json::to_string(&claims)?)
        }
        _ => Err("this TYP can be signed and verified".into()),
    }
}

fn signing_key(seed: &str) -> Result<SigningKey, Box<dyn Error>> {
    // A seed has the form of a share.
    let seed = Share::from_base64url(seed.trim_end())?;
    Ok(SigningKey::from_seed((*seed.as_bytes()).into())?)
}

fn text(path: &str) -> Result<String, Box<dyn Error>> {
    read_to_string(path).map_err(|error| format!("{path}: {error}").into())
}
