//! Announcements of the proxy's keys: which are taken, and what is sealed to them.

use crate::peer::{Proxy, envelope_key};
use crate::sidecar::Sidecar;
use crate::tenant::{Answer, Client, Tenant, add, now, shares};
use reqwest::Method;
use std::collections::BTreeMap;
use trefoil_keys::announcement::Announcement;
use trefoil_keys::bundle::{self, UserBundle, Version};
use trefoil_keys::envelope::{EnvelopePrivateKey, EnvelopePublicKey, UserEnvelope};

fn put(client: &Client, jws: &str) -> Answer {
    client.send(Method::PUT, "/v1/announcement", jws.as_bytes())
}

fn announce(tenant: &Tenant, serial: u64, key: EnvelopePublicKey) -> String {
    let announcement = Announcement {
        tenant: tenant.name.clone(),
        serial,
        iat: now(),
        envelope_keys: vec![key],
        retires: BTreeMap::new(),
    };
    tenant.key.sign(&announcement).unwrap()
}

#[test]
fn only_newer_ones_of_this_tenant_are_taken() {
    let tenant = Tenant::new();
    let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let mut sidecar = Sidecar::start(&proxy);
    let client = Client::new(&sidecar);
    let announce = |tenant: &Tenant, serial| announce(tenant, serial, envelope_key());
    client.get("/v1/announcement").is(404, "no-announcement");
    let second = announce(&tenant, 2);
    assert_eq!(put(&client, &second).status, 200);
    // The same once more changes nothing; an older one, another one of that number, and forged ones.
    assert_eq!(put(&client, &second).status, 200);
    put(&client, &announce(&tenant, 1)).is(409, "serial");
    let other = Announcement { iat: 1, ..tenant.key.verifying_key().verify(&second).unwrap() };
    put(&client, &tenant.key.sign(&other).unwrap()).is(409, "serial");
    put(&client, &announce(&Tenant::new(), 3)).is(403, "signature");
    let elsewhere = Announcement { tenant: "bank".to_owned(), serial: 3, ..other };
    put(&client, &tenant.key.sign(&elsewhere).unwrap()).is(403, "signature");
    put(&client, &tenant.delivery(1, add("alice"), 1).command).is(403, "signature");
    put(&client, "").is(403, "signature");
    put(&client, &"a".repeat(17 << 10)).is(413, "too-large");

    sidecar.restart();
    let mut client = Client::new(&sidecar);
    client.login = None;
    assert_eq!(client.get("/v1/announcement").text, second);
    client.login = Some(("clinic".to_owned(), sidecar.password.clone()));
    let third = announce(&tenant, 3);
    assert_eq!(put(&client, &third).status, 200);
    assert_eq!(client.get("/v1/announcement").text, third);
}

#[test]
fn an_older_one_does_not_come_again_with_a_proxy_made_anew() {
    let tenant = Tenant::new();
    let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let mut sidecar = Sidecar::start(&proxy);
    let first = announce(&tenant, 1, envelope_key());
    let second = announce(&tenant, 2, envelope_key());
    assert_eq!(put(&Client::new(&sidecar), &second).status, 200);
    for same_tenant_admin in [true, false] {
        sidecar.kill();
        if !same_tenant_admin {
            proxy.inside().tenant_key = Some(Tenant::new().key.verifying_key().clone());
        }
        assert!(sidecar.init(&["--new-proxy"]).status.success());
        sidecar.run(&[]);
        let client = Client::new(&sidecar);
        if same_tenant_admin {
            put(&client, &first).is(409, "serial");
            assert_eq!(client.get("/v1/announcement").text, second);
        } else {
            put(&client, &first).is(403, "signature");
            client.get("/v1/announcement").is(404, "no-announcement");
        }
    }
}

#[test]
fn envelopes_of_the_sidecars_own_are_sealed_to_the_key_announced_last() {
    let tenant = Tenant::new();
    let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let keys = [
        include_str!("../../../keys/tests/vectors/key-2048.pem"),
        include_str!("../../../keys/tests/vectors/proxy-key.pem"),
        include_str!("../../../keys/tests/vectors/key-4096.pem"),
    ]
    .map(|pem| EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap());
    let [first, second, third] = keys.each_ref().map(EnvelopePrivateKey::public_key);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("alice.json");
    let user = UserBundle {
        version: Version,
        tenant: "clinic".to_owned(),
        user: "alice".to_owned(),
        audience: "clinic-app".to_owned(),
        envelope_key: first.to_jwk(),
        announcement_key: Some(tenant.key.verifying_key().clone()),
        announcement_serial: 0,
        shares: shares(5),
    };
    bundle::write(&file, &user).unwrap();
    let acting = format!("act_for = '{}'", file.display());
    let mut sidecar = Sidecar::new_in(directory, &proxy, &acting, "");
    sidecar.run(&[]);
    let mut client = Client::new(&sidecar);
    assert_eq!(client.deliver(&tenant.delivery(1, add("alice"), 1), &add("alice")).status, 200);
    let sealed_to = |sidecar: &Sidecar| {
        let [user, envelope, share] = sidecar.request("");
        assert_eq!((user.as_str(), share.is_empty()), ("alice", false));
        let opens = |key: &EnvelopePrivateKey| key.open::<UserEnvelope>(&envelope).is_ok();
        keys.iter().position(opens)
    };
    assert_eq!(sealed_to(&sidecar), Some(0));
    assert_eq!(put(&client, &announce(&tenant, 1, second.clone())).status, 200);
    assert_eq!(sealed_to(&sidecar), Some(1));
    put(&client, &announce(&Tenant::new(), 2, third.clone())).is(403, "signature");
    put(&client, &announce(&tenant, 1, third.clone())).is(409, "serial");
    assert_eq!(sealed_to(&sidecar), Some(1));
    sidecar.restart();
    assert_eq!(sealed_to(&sidecar), Some(1));
    client = Client::new(&sidecar);
    assert_eq!(put(&client, &announce(&tenant, 2, third.clone())).status, 200);
    assert_eq!(sealed_to(&sidecar), Some(2));
}
