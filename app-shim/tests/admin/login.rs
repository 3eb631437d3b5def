//! Who gets in.

use crate::peer::Proxy;
use crate::sidecar::{Sidecar, json};
use crate::tenant::{Client, Tenant};
use reqwest::Method;

fn sidecar() -> (Proxy, Sidecar) {
    let proxy = Proxy::start(Some(Tenant::new().key.verifying_key().clone()));
    let sidecar = Sidecar::start(&proxy);
    (proxy, sidecar)
}

#[test]
fn only_the_tenant_with_its_password() {
    let (_proxy, sidecar) = sidecar();
    let mut client = Client::new(&sidecar);
    assert_eq!(client.get("/v1/users").json()["users"], serde_json::json!({}));
    let right = client.login.take().unwrap();
    for path in ["/v1/users", "/v1/pending", "/v1/status?nonce=n"] {
        client.get(path).is(401, "login");
    }
    for path in
        ["AddUser", "AddUsers", "ChangeKey", "WithdrawUser", "RenewShares", "AddKeyspace", "RotateKey"]
    {
        client.send(Method::POST, &format!("/v1/{path}"), b"{}").is(401, "login");
    }
    client.send(Method::PUT, "/v1/announcement", b"").is(401, "login");
    client.login = Some(("other".to_owned(), right.1.clone()));
    client.get("/v1/users").is(401, "login");
    client.login = Some(("clinic".to_owned(), format!("{}X", right.1)));
    client.get("/v1/users").is(401, "login");
    for typed in [right.1.to_lowercase(), right.1.replace('-', " "), right.1.clone()] {
        client.login = Some((right.0.clone(), typed));
        assert_eq!(client.get("/v1/users").status, 200);
    }
}

#[test]
fn wrong_passwords_are_limited_and_do_not_hold_off_the_right_one() {
    let (_proxy, mut sidecar) = sidecar();
    // Both while no password has come yet and after the right one has.
    for known in [false, true] {
        sidecar.restart();
        let mut client = Client::new(&sidecar);
        if known {
            assert_eq!(client.get("/v1/users").status, 200);
        }
        let right = client.login.replace(("clinic".to_owned(), "wrong".to_owned()));
        for _ in 0..5 {
            client.get("/v1/users").is(401, "login");
        }
        let answer = client.get("/v1/users");
        answer.is(429, "too-many-failures");
        assert!((1..=61).contains(&answer.retry_after.unwrap()));
        client.login = right;
        assert_eq!(client.get("/v1/users").status, 200, "held off by wrong passwords");
        client.login = None;
        client.get("/v1/users").is(401, "login");
        assert_eq!(client.get("/health").status, 200);
    }
}

#[test]
fn a_new_password_puts_an_end_to_the_old_one() {
    let (_proxy, mut sidecar) = sidecar();
    let refused = sidecar.init(&["--new-password"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("in use"), "{text}");
    sidecar.kill();
    let made = json(&sidecar.init(&["--new-password", "--json"]));
    assert_eq!(made["fingerprint"], sidecar.fingerprint.to_string());
    sidecar.run(&[]);
    let mut client = Client::new(&sidecar);
    client.get("/v1/users").is(401, "login");
    client.login = Some(("clinic".to_owned(), made["password"].as_str().unwrap().to_owned()));
    assert_eq!(client.get("/v1/users").status, 200);
}

#[test]
fn init_takes_the_hash_of_a_password_and_prints_none() {
    let proxy = Proxy::start(None);
    let sidecar = Sidecar::new(&proxy, "");
    let hash = trefoil_keys::password::PasswordHash::new("chosen").to_string();
    let refused = sidecar.init(&["--password-hash", &hash]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("--anew"), "{text}");
    let made = json(&sidecar.init(&["--anew", "--json", "--password-hash", &hash]));
    assert!(made["password"].is_null(), "{made}");
    assert_eq!(made["bootstrapped"], false);
    assert!(made["lock_created"].is_null(), "the lock stays: {made}");
    assert_ne!(made["fingerprint"], sidecar.fingerprint.to_string());
    let wrong = sidecar.init(&["--anew", "--password-hash", "chosen"]);
    assert!(!wrong.status.success());
}
