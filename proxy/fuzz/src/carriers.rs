//! The carriers of shares: the extension's message, comments, settings in `options`, and the text form of
//! the application's shares. The first byte says which.

use trefoil_keys::carrier::message::KeyMessage;
use trefoil_keys::carrier::{Carriers, app_share, comment, options};

/// Reads one carrier.
pub fn run(data: &[u8]) -> bool {
    let Some((&kind, rest)) = data.split_first() else { return false };
    match kind {
        b'K' => {
            let Ok(message) = KeyMessage::decode(rest) else { return false };
            let mut out = Vec::new();
            message.encode(&mut out).expect("it was read");
            assert_eq!(out.get(5..), Some(rest));
        }
        b'/' => {
            let _ = comment::tag(rest, "user");
            let Ok(Some(taken)) = comment::take(rest) else { return false };
            assert!(taken.text.len() < rest.len());
            // Nothing is left to take, and no secret by its name.
            let lower = taken.text.to_ascii_lowercase();
            for name in [&b"trefoil_envelope"[..], b"trefoil_app_share"] {
                assert!(!lower.windows(name.len()).any(|window| window == name), "a carrier is left");
            }
        }
        b'-' => {
            options::settings(rest);
            let mut carriers = Carriers::default();
            let Ok(left) = options::take(rest, &mut carriers) else { return false };
            assert!(left.len() <= rest.len());
            let again = options::take(&left, &mut Carriers::default());
            assert_eq!(again.as_ref(), Ok(&left), "something is left to take");
        }
        _ => {
            let Ok(text) = str::from_utf8(rest) else { return false };
            let Ok(shares) = app_share::parse(text) else { return false };
            let shares = shares.iter().map(|(keyspace, share)| (keyspace.as_str(), share));
            let written = app_share::format(shares).expect("they were read");
            assert!(app_share::parse(&written).is_ok());
        }
    }
    true
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    [
        "K\0\u{5}alice\0\u{2}e.\0\u{7}main:AA",
        "/SELECT 1 /*trefoil_user='al%20ice',trefoil_envelope='e.f',route='%2Fx'*/",
        "//*trefoil_app_share='main:AA',user='a'*/ SELECT 1; /*trefoil_user='a\\'b'*/ ; ",
        "--c a=1 -c trefoil.user=al\\ ice -ctrefoil.envelope=e.f --Trefoil.app-share=s -d 1",
        &format!("smain:{zero},billing:{zero}"),
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
