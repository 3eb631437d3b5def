//! What is said at a login, from either side: requests, answers, SCRAM's messages and verifiers, and the files
//! that say who may log in. The first byte says which.

use trefoil_proxy::authentication::{Binding, ScramServer, UsersError, Verifier, fuzzed};
use trefoil_proxy::wire::authentication::{self, Request};
use trefoil_proxy::wire::frame;

const VERIFIER: &str = "SCRAM-SHA-256$4096:bFpdfSaCZ8hvBTXnfHfyFg==$EOU2AmEWJmyRBaLEL0xGqOjQwZBGaMZT+SPrP6rTj8o=:\
    UoDPLPcl0OYvCEJyDYlzSJDY1FbqG5LzZMVQbGjRDFc=";

/// Reads one of them.
pub fn run(data: &[u8]) -> bool {
    let Some((&kind, body)) = data.split_first() else { return false };
    let text = str::from_utf8(body).unwrap_or_default();
    match kind {
        b'R' => {
            let Ok(request) = Request::decode(body) else { return false };
            if let Request::Sasl(offered) = &request {
                offered.offer("SCRAM-SHA-256");
            }
            let other = matches!(request, Request::Other(_));
            let mut out = Vec::new();
            request.encode(&mut out).expect("it was read");
            assert!(other || out.get(frame::HEAD..) == Some(body));
            true
        }
        b'w' => authentication::password(body).is_ok(),
        b'i' => authentication::sasl_initial_response(body).is_ok(),
        b'v' => text.parse::<Verifier>().is_ok(),
        b'h' => fuzzed::rules(text),
        b'm' => fuzzed::maps(text),
        b'u' => are_users(body),
        _ => logs_in(kind, body),
    }
}

/// A `users_file` in which `%` stands for a password. What is wrong with the syntax is said without it; else
/// only the names of keys are told.
fn are_users(body: &[u8]) -> bool {
    const PASSWORD: &str = "QJ-a-password-QZ";
    let text = String::from_utf8_lossy(body).replace('%', PASSWORD);
    let read = fuzzed::users(text.as_bytes());
    if let Err(UsersError::Syntax { problem, .. }) = &read {
        assert!(!problem.contains(PASSWORD), "a password is told");
    }
    read.is_ok()
}

/// A client's two messages, a 0 between. `%` in the last stands for the nonces, which differ each time. Nobody
/// who does not know the password gets in.
fn logs_in(kind: u8, body: &[u8]) -> bool {
    let verifier: Verifier = VERIFIER.parse().expect("a verifier");
    let (mechanism, binding): (&[u8], _) = match kind & 1 {
        0 => (b"SCRAM-SHA-256", Binding::None),
        _ => (b"SCRAM-SHA-256-PLUS", Binding::EndPoint(vec![7; 32])),
    };
    let mut messages = body.split(|byte| *byte == 0);
    let (first, last) = (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    let Ok((challenged, answer)) = ScramServer::new(verifier, true, binding).first(mechanism, first) else {
        return false;
    };
    let nonces = answer.strip_prefix("r=").and_then(|rest| rest.split_once(',')).map_or("", |(both, _)| both);
    let last = String::from_utf8_lossy(last).replace('%', nonces);
    assert!(challenged.last(last.as_bytes()).is_err(), "in without the password");
    true
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let verifier = format!("v{VERIFIER}");
    let users = format!(
        "u[users.alice]\nverifier = \"{VERIFIER}\"\nrole = 'app'\npassword = \"%\"\n[users.\"Z W\"]\n"
    );
    let rules = "hlocal all all scram\nhostssl \"all\",d x 10.0.0.0/8 cert map=m # why\nhost all all 0.0.0.0 0.0.0.0 reject\n";
    [
        &b"R\0\0\0\0"[..],
        b"R\0\0\0\x05salt",
        b"R\0\0\0\x0aSCRAM-SHA-256\0\0",
        b"R\0\0\0\x0br=abc,s=c2FsdA==,i=4096",
        b"wpassword\0",
        b"iSCRAM-SHA-256\0\0\0\0\x04n,,n",
        verifier.as_bytes(),
        rules.as_bytes(),
        b"hhost all all all passthrough\n",
        users.as_bytes(),
        b"mm /^(.*)@example\\.org$ \\1\nm \"CN with blanks\" a\n",
        b"\0n,,n=,r=abcdefghijklmnop\0c=biws,r=%,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        b"\x01p=tls-server-end-point,,n=,r=abcdefghijklmnop\0c=cD10bHM=,r=%,p=AAAA",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}
