//! Claim and confirmation, and every way in which they fail.

use crate::process::{Place, code, in_memory};
use crate::tenant::{CLAIM, OTHER_CLAIM, Tenant, claim, confirm, outcome};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use std::process::Command;
use trefoil_keys::signing;
use trefoil_keys::status::State;

#[test]
fn the_tenant_key_is_claimed_once_confirmed_and_closed_for_good() {
    let place = Place::open();
    let proxy = place.start();
    assert_eq!(proxy.status().state, State::Open);
    assert_eq!(proxy.get("/health").status.as_u16(), 503);
    let none = json!({ "claim": CLAIM, "check_values": {} }).to_string();
    assert_eq!(code(proxy.post("/v1/bootstrap/confirm", none)), (409, "not-claimed".to_owned()));

    let tenant = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
    assert_eq!(tenant.0.keyspaces.keys().collect::<Vec<_>>(), ["main"]);
    let status = proxy.status();
    assert_eq!((status.state, status.claim_sha256), (State::Claimed, Some(signing::hash(CLAIM))));
    assert_eq!(status.tenant_key.as_ref(), Some(tenant.0.signing_key.verifying_key()));
    assert_eq!(
        (&status.receipt_key, &status.envelope_keys),
        (&tenant.0.receipt_key, &tenant.0.envelope_keys)
    );

    assert_eq!(code(confirm(&proxy, OTHER_CLAIM, &tenant.check_values())), (403, "other-claim".to_owned()));
    let mut wrong = tenant.check_values();
    wrong.values_mut().for_each(|check| check.value[3] ^= 1);
    assert_eq!(code(confirm(&proxy, CLAIM, &wrong)), (409, "claim-again".to_owned()));
    assert_eq!(proxy.status().state, State::Claimed);

    assert_eq!(confirm(&proxy, CLAIM, &tenant.check_values()).unwrap().status.as_u16(), 200);
    assert_eq!(proxy.get("/health").status.as_u16(), 200);
    drop(proxy);
    for _ in 0..2 {
        let proxy = place.start();
        assert_eq!(proxy.status().state, State::Ready);
        assert_eq!(code(claim(&proxy, place.password(), CLAIM)), (410, "closed".to_owned()));
        assert_eq!(code(confirm(&proxy, CLAIM, &tenant.check_values())), (410, "closed".to_owned()));
    }
    assert_eq!(outcome(&place.start(), &tenant, &tenant.add(1, "alice")), "applied");
    assert!(!place.log().contains(place.password()));
    assert!(!place.init(&["--anew"]).status.success());
    assert!(place.init(&["--anew", "--forget-everything"]).status.success());
}

#[test]
fn a_repeated_claim_gets_a_new_key_and_the_former_confirms_nothing() {
    let place = Place::open();
    let proxy = place.start();
    let first = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
    drop(proxy);
    let proxy = place.start();
    let second = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
    assert_ne!(first.check_values(), second.check_values());
    assert_eq!(code(confirm(&proxy, CLAIM, &first.check_values())), (409, "claim-again".to_owned()));
    drop(proxy);
    let proxy = place.start();
    assert_eq!(confirm(&proxy, CLAIM, &second.check_values()).unwrap().status.as_u16(), 200);
    // The former's signing key is as dead as its tenant key.
    assert_eq!(code(proxy.post("/v1/commands", first.add(1, "alice"))), (403, "signature".to_owned()));
    assert_eq!(outcome(&proxy, &second, &second.add(1, "alice")), "applied");
}

#[test]
fn five_wrong_passwords_burn_it_and_four_do_not() {
    let place = Place::open();
    let proxy = place.start();
    for _ in 0..4 {
        assert_eq!(code(claim(&proxy, "00000-00000-00000-00000", CLAIM)), (403, "password".to_owned()));
    }
    drop(proxy);
    // Restarts forget no failure.
    let proxy = place.start();
    let tenant = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
    assert_eq!(code(claim(&proxy, "00000-00000-00000-00000", CLAIM)), (410, "burnt".to_owned()));
    assert_eq!(proxy.status().state, State::Burnt);
    for _ in 0..2 {
        assert_eq!(code(claim(&proxy, place.password(), CLAIM)), (410, "burnt".to_owned()));
        assert_eq!(code(confirm(&proxy, CLAIM, &tenant.check_values())), (410, "burnt".to_owned()));
    }
    let health: Value = serde_json::from_slice(&proxy.get("/health").body).unwrap();
    assert!(health["reasons"][0].as_str().unwrap().contains("five times"), "{health}");
    drop(proxy);
    assert_eq!(place.start().status().state, State::Burnt);
    assert!(!place.init(&[]).status.success());
    assert!(place.init(&["--anew"]).status.success());
}

#[test]
fn a_second_claim_burns_it_for_both() {
    let place = Place::open();
    let proxy = place.start();
    let first = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
    assert_eq!(code(claim(&proxy, place.password(), OTHER_CLAIM)), (410, "burnt".to_owned()));
    assert_eq!(code(confirm(&proxy, CLAIM, &first.check_values())), (410, "burnt".to_owned()));
    assert_eq!(code(claim(&proxy, place.password(), CLAIM)), (410, "burnt".to_owned()));
}

#[test]
fn an_expired_password_burns_it() {
    let place = Place::made(&["--password-ttl", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let proxy = place.start();
    assert_eq!(code(claim(&proxy, place.password(), CLAIM)), (410, "burnt".to_owned()));
    assert_eq!(proxy.status().state, State::Burnt);
}

#[test]
fn a_password_may_be_ordered_by_its_hash() {
    let hash = trefoil_keys::password::PasswordHash::new("chosen elsewhere").to_string();
    let place = Place::made(&["--password-hash", &hash]);
    let proxy = place.start();
    Tenant::claimed(claim(&proxy, "chosen elsewhere", CLAIM));
}

#[test]
fn a_password_counts_however_it_is_typed_and_what_cannot_be_one_is_not_counted() {
    let place = Place::open();
    let proxy = place.start();
    assert!(place.log().contains("protected columns are refused until the bootstrap"), "{}", place.log());
    for _ in 0..6 {
        for typed in ["abc", "", "00000-00000-00000-0000", "00000-00000-00000-00000-0"] {
            assert_eq!(code(claim(&proxy, typed, CLAIM)), (400, "password-form".to_owned()), "{typed}");
        }
    }
    let typed = place.password().to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
    Tenant::claimed(claim(&proxy, &typed, CLAIM));
}

#[test]
fn what_is_no_claim_counts_for_nothing() {
    let place = Place::open();
    let proxy = place.start();
    let before = place.store();
    for _ in 0..6 {
        assert_eq!(code(claim(&proxy, "wrong", "short")), (400, "claim-form".to_owned()));
        assert_eq!(code(proxy.post("/v1/bootstrap/claim", "{}")), (400, "malformed".to_owned()));
    }
    assert_eq!(code(proxy.post("/v1/bootstrap/claim", vec![b' '; 5000])), (413, "too-large".to_owned()));
    assert_eq!(code(proxy.post("/v1/commands", "x")), (409, "not-ready".to_owned()));
    assert_eq!(code(proxy.post("/v1/nothing", "")), (404, "not-found".to_owned()));
    assert_eq!(proxy.get("/v1/status").status.as_u16(), 400);
    assert_eq!(proxy.get("/v1/status?nonce=a%20b").status.as_u16(), 400);
    assert!(place.store() == before);
    Tenant::claimed(claim(&proxy, place.password(), CLAIM));
}

#[test]
fn the_keys_of_a_claim_leave_the_memory_with_its_answer() {
    let place = Place::open();
    let proxy = place.start();
    let tenant = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
    assert_eq!(confirm(&proxy, CLAIM, &tenant.check_values()).unwrap().status.as_u16(), 200);
    let tk = tenant.0.keyspaces["main"].key.as_bytes().as_slice();
    let seed = tenant.0.signing_key.seed().as_slice();
    let text = [tk, seed].map(Base64UrlUnpadded::encode_string);
    // What stays shows that the search finds what is there.
    match in_memory(proxy.pid(), &[tenant.0.receipt_key.as_bytes()]) {
        None => return eprintln!("not looked: only root may read the memory of an undumpable process"),
        Some(found) => assert!(found > 0),
    }
    assert_eq!(in_memory(proxy.pid(), &[tk, seed, text[0].as_bytes(), text[1].as_bytes()]), Some(0));
}

#[test]
fn nothing_older_than_tls_1_3_is_spoken() {
    let place = Place::open();
    let proxy = place.start();
    let speaks = |version: &str| {
        let address = format!("127.0.0.1:{}", proxy.port);
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &address, version]).stdin(std::process::Stdio::null());
        String::from_utf8_lossy(&openssl.output().unwrap().stdout).contains("BEGIN CERTIFICATE")
    };
    assert!(speaks("-tls1_3"));
    assert!(!speaks("-tls1_2"));
}

#[test]
fn a_store_of_another_lock_is_not_served() {
    let place = Place::open();
    let run = || place.command().args(["--config", "proxy.toml"]).output().unwrap();
    let lock = place.path("lock.key");
    let key = std::fs::read(&lock).unwrap();
    std::fs::remove_file(&lock).unwrap();
    assert!(String::from_utf8_lossy(&run().stderr).contains("no lock"));
    std::fs::copy(Place::made(&[]).path("lock.key"), &lock).unwrap();
    let output = run();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("wrong lock"));
    std::fs::write(&lock, key).unwrap();
    place.start();
}

#[test]
fn the_certificate_may_come_from_an_authority() {
    let mut place = Place::made(&["--csr", "request.pem"]);
    let openssl = |place: &Place, arguments: &str| {
        let mut openssl = Command::new("openssl");
        let output = openssl.args(arguments.split(' ')).current_dir(place.path("")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    openssl(
        &place,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca -keyout ca.key -out ca.pem",
    );
    openssl(
        &place,
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copyall -out chain.pem",
    );
    let fingerprint = openssl(&place, "x509 -in chain.pem -noout -fingerprint -sha256");
    place.configure("certificate = \"chain.pem\"");
    let own = place.pin(fingerprint.trim().split_once('=').unwrap().1);
    let proxy = place.start();
    assert_eq!(proxy.status().state, State::Open);
    drop(proxy);
    place.pin(&own);
    assert!(place.start().post("/v1/bootstrap/claim", "{}").is_none(), "the pin is of another certificate");
}
