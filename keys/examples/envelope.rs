//! Seals and opens user envelopes by hand, for tests with other JOSE libraries.
//!
//! ```text
//! envelope jwk  PRIVATE.pem             prints the public half as a JWK
//! envelope seal PUBLIC.jwk CLAIMS.json  prints the envelope
//! envelope open PRIVATE.pem ENVELOPE    prints the claims, with the shares
//! ```

use std::error::Error;
use std::fs::read_to_string;
use std::process::ExitCode;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EnvelopePublicKey, Sealed, UserEnvelope};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(output) => {
            println!("{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("envelope: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    Ok(match *arguments {
        ["jwk", private] => private_key(private)?.public_key().to_jwk(),
        ["seal", public, claims] => {
            let key = EnvelopePublicKey::from_jwk(&read_to_string(public)?)?;
            envelope::seal(&UserEnvelope::from_claims(read_to_string(claims)?.as_bytes())?, &key)?
        }
        ["open", private, jwe] => {
            let opened = private_key(private)?.open::<UserEnvelope>(read_to_string(jwe)?.trim_end())?;
            String::from_utf8(opened.to_claims()?.to_vec())?
        }
        _ => {
            return Err(
                "usage: envelope jwk PRIVATE.pem | seal PUBLIC.jwk CLAIMS.json | open PRIVATE.pem ENVELOPE"
                    .into(),
            );
        }
    })
}

fn private_key(path: &str) -> Result<EnvelopePrivateKey, Box<dyn Error>> {
    Ok(EnvelopePrivateKey::from_pkcs8_pem(&read_to_string(path)?)?)
}
