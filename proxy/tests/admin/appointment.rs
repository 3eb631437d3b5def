//! A proxy in the place of a lost one: it obeys the tenant admin that appointed it, and no old command.

use crate::process::{Place, code};
use crate::tenant::{Tenant, for_user, now, outcome, shares};
use std::fs;
use std::process::Output;
use trefoil_keys::appointment::Appointment;
use trefoil_keys::command::{Command, Operation};
use trefoil_keys::proxy_share::Recipients;
use trefoil_keys::signing::{self, SigningKey};
use trefoil_keys::status::State;

/// What the tenant of a lost proxy signs.
fn appointment(tenant: &Tenant) -> Appointment {
    let iat = now();
    Appointment {
        tenant: tenant.0.tenant.clone(),
        application: tenant.0.application.clone(),
        keyspaces: tenant.check_values(),
        tenant_key: tenant.0.signing_key.verifying_key().clone(),
        seq: 7,
        iat,
        exp: iat + 600,
    }
}

fn init(place: &Place, jws: &str, more: &[&str]) -> Output {
    fs::write(place.path("appointment"), format!("{jws}\n")).unwrap();
    let arguments = ["init", "--config", "proxy.toml", "--json", "--appointment", "appointment"];
    place.command().args(arguments).args(more).output().unwrap()
}

fn refused(place: &Place, jws: &str, more: &[&str]) -> String {
    let output = init(place, jws, more);
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_appointed_proxy_is_ready_and_takes_up_the_numbers() {
    let lost = Place::ready();
    let mut tenant = Tenant::of(&lost);
    let former = tenant.sign(&tenant.command(8, Operation::Withdraw { sub: "alice".to_owned() }));
    let jws = tenant.0.signing_key.sign(&appointment(&tenant)).unwrap();
    let mut place = Place::empty();
    let output = init(&place, &jws, &["--tenant", "clinic", "--application", "app"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["tenant_key"], tenant.0.signing_key.verifying_key().kid());
    assert!(report["password"].is_null() && report["password_expires"].is_null());
    place.pin_first(report["fingerprint"].as_str().unwrap());

    let proxy = place.start();
    let status = proxy.status();
    assert_eq!((status.state, status.seq, status.claim_sha256), (State::Ready, 7, None));
    assert_eq!(status.last_command_sha256, Some(signing::hash(&jws)));
    assert_eq!(status.tenant_key.as_ref(), Some(tenant.0.signing_key.verifying_key()));
    assert_eq!(status.keyspaces.len(), 2);
    assert_ne!(status.receipt_key, tenant.0.receipt_key);
    assert_ne!(status.envelope_keys, tenant.0.envelope_keys);
    assert_eq!(proxy.get("/health").status.as_u16(), 200);
    // Nobody fetches a tenant key here: there is none.
    let claim = r#"{"password":"x","claim":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#;
    assert_eq!(code(proxy.post("/v1/bootstrap/claim", claim)), (410, "closed".to_owned()));

    tenant.0.receipt_key = status.receipt_key;
    let sealed_to_the_lost = tenant.with_shares(8, Operation::Add { sub: "bob".to_owned() }, for_user("bob"));
    assert_eq!(outcome(&proxy, &tenant, &tenant.sign(&sealed_to_the_lost)), "key");
    tenant.0.envelope_keys = status.envelope_keys;
    for seq in [1, 7, 9] {
        assert_eq!(outcome(&proxy, &tenant, &tenant.add(seq, "bob")), "seq");
    }
    let users = Recipients::Batch([("bob".to_owned(), shares("main", 1))].into());
    let renewal: Command = tenant.with_shares(8, Operation::Renew, users);
    assert_eq!(outcome(&proxy, &tenant, &tenant.sign(&renewal)), "applied");
    assert_eq!(outcome(&proxy, &tenant, &former), "seq");
}

#[test]
fn what_is_forged_altered_out_of_time_or_for_another_makes_no_proxy() {
    let tenant = Tenant::of(&Place::ready());
    let place = Place::empty();
    let sign = |appointment: &Appointment| tenant.0.signing_key.sign(appointment).unwrap();
    let good = appointment(&tenant);
    let forged = SigningKey::generate().unwrap().sign(&good).unwrap();
    let mut altered = sign(&good);
    let middle = altered.len() / 2;
    let other = if &altered[middle..=middle] == "A" { "B" } else { "A" };
    altered.replace_range(middle..=middle, other);
    let expired = sign(&Appointment { iat: now() - 20, exp: now() - 10, ..good.clone() });
    let future = sign(&Appointment { iat: now() + 600, exp: now() + 700, ..good.clone() });
    for (jws, expected) in [
        (forged.as_str(), "altered"),
        (&altered, "altered"),
        ("", "no appointment"),
        (&expired, "has expired"),
        (&future, "from the future"),
    ] {
        let said = refused(&place, jws, &[]);
        assert!(said.contains(expected), "{said}");
    }
    for flags in [["--tenant", "other"], ["--application", "other"]] {
        let said = refused(&place, &sign(&good), &flags);
        assert!(said.contains("for tenant clinic, application app"), "{said}");
    }
    for flags in [["--keyspace", "more"], ["--seal-to", "x"], ["--password-ttl", "1h"]] {
        assert!(refused(&place, &sign(&good), &flags).contains("cannot be used with"));
    }
    assert!(!place.path("state").exists() && !place.path("lock.key").exists());
}

#[test]
fn a_proxy_that_is_there_stays_unless_it_is_to_be_forgotten() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let jws = tenant.0.signing_key.sign(&appointment(&tenant)).unwrap();
    assert!(refused(&place, &jws, &[]).contains("--anew --forget-everything"));
    assert!(refused(&place, &jws, &["--anew"]).contains("--anew --forget-everything"));
    assert_eq!(place.start().status().receipt_key, tenant.0.receipt_key);
    assert!(init(&place, &jws, &["--anew", "--forget-everything"]).status.success());

    let open = Place::open();
    assert!(refused(&open, &jws, &[]).contains("--anew"));
    assert!(init(&open, &jws, &["--anew"]).status.success());
}
