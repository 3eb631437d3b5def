//! Commands: each that is in order beside each that is not, which leaves the store byte for byte.

use crate::process::{Place, Proxy, code};
use crate::tenant::{Tenant, for_user, now, outcome, receipt, shares};
use trefoil_keys::bundle::CheckValue;
use trefoil_keys::command::{Command, Operation};
use trefoil_keys::envelope::EnvelopePrivateKey;
use trefoil_keys::proxy_share::Recipients;
use trefoil_keys::receipt::Outcome;
use trefoil_keys::signing::{self, SigningKey};

fn add(sub: &str) -> Operation {
    Operation::Add { sub: sub.to_owned() }
}

fn change(sub: &str) -> Operation {
    Operation::Change { sub: sub.to_owned() }
}

fn withdraw(sub: &str) -> Operation {
    Operation::Withdraw { sub: sub.to_owned() }
}

fn batch(users: &[&str]) -> Recipients {
    Recipients::Batch(users.iter().map(|user| ((*user).to_owned(), shares("main", 1))).collect())
}

#[test]
fn users_come_change_and_go() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let send = |command: &Command| outcome(&proxy, &tenant, &tenant.sign(command));
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(1, "alice")), "applied");
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(2, "bob")), "applied");
    assert_eq!(send(&tenant.with_shares(3, change("alice"), for_user("alice"))), "applied");
    assert_eq!(send(&tenant.with_shares(4, Operation::Renew, batch(&["alice", "bob"]))), "applied");
    assert_eq!(send(&tenant.command(5, withdraw("alice"))), "applied");
    let status = proxy.status();
    assert_eq!(status.seq, 5);

    let before = place.store();
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(6, "alice")), "withdrawn");
    assert_eq!(send(&tenant.with_shares(6, change("alice"), for_user("alice"))), "withdrawn");
    assert_eq!(send(&tenant.command(6, withdraw("alice"))), "withdrawn");
    assert_eq!(send(&tenant.with_shares(6, Operation::Renew, batch(&["alice", "bob"]))), "withdrawn");
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(6, "bob")), "user");
    assert_eq!(send(&tenant.with_shares(6, change("carol"), for_user("carol"))), "user");
    for (other, code) in [("alice", "withdrawn"), ("bob", "user")] {
        let batch = batch(&["carol", other]);
        assert_eq!(send(&tenant.with_shares(6, Operation::AddBatch, batch)), code);
    }
    assert!(place.store() == before);
    drop(proxy);
    assert_eq!(outcome(&place.start(), &tenant, &tenant.add(6, "carol")), "applied");
}

#[test]
fn several_users_come_at_once_and_a_renewal_brings_those_that_were_lost() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let send = |command: &Command| outcome(&proxy, &tenant, &tenant.sign(command));
    let batched = |seq, op, users: &[&str]| tenant.with_shares(seq, op, batch(users));
    assert_eq!(send(&batched(1, Operation::AddBatch, &["alice", "bob"])), "applied");
    assert_eq!(send(&batched(2, Operation::AddBatch, &["bob", "carol"])), "user");
    assert_eq!(send(&batched(2, Operation::Renew, &["alice", "bob", "carol"])), "applied");
    assert_eq!(send(&tenant.with_shares(3, change("carol"), for_user("carol"))), "applied");
    // A withdrawal counts even if its user was lost before.
    assert_eq!(send(&tenant.command(4, withdraw("dora"))), "applied");
    assert_eq!(send(&batched(5, Operation::Renew, &["alice", "dora"])), "withdrawn");
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(5, "dora")), "withdrawn");
}

#[test]
fn a_repeated_command_gets_the_same_receipt_and_an_older_one_changes_nothing() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let sent = tenant.add(1, "alice");
    let post =
        |proxy: &Proxy<'_>, jws: &str| proxy.post("/v1/commands", jws).unwrap().text().unwrap().to_owned();
    let first = post(&proxy, &sent);
    let gone = tenant.sign(&tenant.command(2, withdraw("alice")));
    assert_eq!(outcome(&proxy, &tenant, &gone), "applied");
    let before = place.store();
    assert_eq!(post(&proxy, &sent), first);
    // The same number, another command.
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(1, "bob")), "seq");
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(2, "bob")), "seq");
    // Too early.
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(4, "bob")), "seq");
    assert!(place.store() == before);
    drop(proxy);
    let proxy = place.start();
    assert_eq!(post(&proxy, &sent), first);
    let status = proxy.status();
    assert_eq!((status.seq, status.last_command_sha256), (2, Some(signing::hash(&gone))));
}

#[test]
fn what_is_not_the_tenants_own_decides_nothing() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let good = tenant.with_shares(1, add("alice"), for_user("alice"));
    let jws = tenant.sign(&good);
    let before = place.store();
    let forged = SigningKey::generate().unwrap().sign(&good).unwrap();
    let other = tenant.sign(&Command { tenant: "other".to_owned(), ..good.clone() });
    let mut altered = jws.clone().into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    let swapped = {
        let later = tenant.add(2, "bob");
        let [one, two] = [&jws, &later].map(|jws| jws.split('.').collect::<Vec<_>>());
        [one[0], two[1], one[2]].join(".")
    };
    for (body, expected) in [
        (forged.into_bytes(), (403, "signature")),
        (other.into_bytes(), (403, "tenant")),
        (altered, (403, "signature")),
        (swapped.into_bytes(), (403, "signature")),
        (jws[..jws.len() - 10].into(), (403, "signature")),
        (jws[..100].into(), (403, "signature")),
        (Vec::new(), (403, "signature")),
        (vec![0xff; 10], (400, "malformed")),
        (vec![b'a'; 4 << 20], (413, "too-large")),
    ] {
        let (status, code) = code(proxy.post("/v1/commands", body));
        assert_eq!((status, code.as_str()), expected);
    }
    assert!(place.store() == before);
    assert_eq!(outcome(&proxy, &tenant, &jws), "applied");
}

#[test]
fn what_is_not_in_order_is_refused_with_a_receipt() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let before = place.store();
    let foreign =
        EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../../keys/tests/vectors/key-4096.pem"));
    let foreign = foreign.unwrap();
    let good = tenant.with_shares(1, add("alice"), for_user("alice"));
    let tkp = good.tkp.clone().unwrap();
    let with = |tkp: String| Command { tkp: Some(tkp), ..good.clone() };
    let altered = {
        let (head, tag) = tkp.rsplit_once('.').unwrap();
        format!("{head}.{}", tag.chars().rev().collect::<String>())
    };
    let user = |tkp| Recipients::User { sub: "alice".to_owned(), tkp };
    for (what, command, expected) in [
        ("expired", Command { iat: now() - 20, exp: now() - 10, ..good.clone() }, "expired"),
        ("future", Command { iat: now() + 600, exp: now() + 1200, ..good.clone() }, "future"),
        ("swapped", tenant.with_shares(1, add("alice"), for_user("bob")), "subject"),
        ("a batch for one", tenant.with_shares(1, add("alice"), batch(&["alice"])), "subject"),
        ("one for a batch", tenant.with_shares(1, Operation::Renew, for_user("alice")), "subject"),
        (
            "another proxy's",
            tenant.sealed_to(foreign.public_key(), 1, add("alice"), for_user("alice")),
            "key",
        ),
        ("no shares at all", with("e30.e30".to_owned()), "key"),
        ("altered", with(altered), "share"),
        ("keyspace", tenant.with_shares(1, add("alice"), user(shares("secret", 1))), "keyspace"),
        ("epoch", tenant.with_shares(1, add("alice"), user(shares("billing", 2))), "keyspace"),
    ] {
        assert_eq!(outcome(&proxy, &tenant, &tenant.sign(&command)), expected, "{what}");
    }
    assert!(place.store() == before);
    assert_eq!(outcome(&proxy, &tenant, &tenant.sign(&good)), "applied");
    let log = place.log();
    assert!(log.contains("alice") && log.contains("subject") && !log.contains(&tkp[..20]));
}

#[test]
fn a_keyspace_is_added_once_and_serves_from_then_on() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let check = CheckValue { epoch: 1, value: vec![7; 17] };
    let new = |seq, name: &str| {
        let op = Operation::AddKeyspace { name: name.to_owned(), check: check.clone() };
        tenant.sign(&tenant.command(seq, op))
    };
    let grant = |seq| {
        let recipients = Recipients::Batch([("alice".to_owned(), shares("finance", 1))].into());
        tenant.sign(&tenant.with_shares(seq, Operation::Renew, recipients))
    };
    assert_eq!(outcome(&proxy, &tenant, &grant(1)), "keyspace");
    let before = place.store();
    assert_eq!(outcome(&proxy, &tenant, &new(1, "main")), "exists");
    assert!(place.store() == before);
    assert_eq!(outcome(&proxy, &tenant, &new(1, "finance")), "applied");
    assert_eq!(outcome(&proxy, &tenant, &new(2, "finance")), "exists");
    drop(proxy);
    let proxy = place.start();
    assert_eq!(proxy.status().keyspaces["finance"], 1);
    assert_eq!(outcome(&proxy, &tenant, &grant(2)), "applied");
}

#[test]
fn a_new_key_opens_beside_the_former_until_that_retires() {
    let place = Place::ready();
    let tenant = Tenant::of(&place);
    let proxy = place.start();
    let rotate = |seq, overlap| tenant.sign(&tenant.command(seq, Operation::RotateKey { overlap }));
    let jws = rotate(1, 3600);
    let keys = receipt(&tenant, &jws, proxy.post("/v1/commands", jws.as_str())).envelope_keys.unwrap();
    assert_eq!((keys.len(), &keys[1]), (2, &tenant.0.envelope_keys[0]));
    assert_eq!(proxy.status().envelope_keys, keys);
    let add_by = |seq, key: usize, user: &str| {
        tenant.sign(&tenant.sealed_to(&keys[key], seq, add(user), for_user(user)))
    };
    assert_eq!(outcome(&proxy, &tenant, &add_by(2, 0, "alice")), "applied");
    assert_eq!(outcome(&proxy, &tenant, &add_by(3, 1, "bob")), "applied");
    drop(proxy);

    let proxy = place.start();
    assert_eq!(proxy.status().envelope_keys, keys);
    let at_once = rotate(4, 0);
    let receipt = receipt(&tenant, &at_once, proxy.post("/v1/commands", at_once.as_str()));
    assert_eq!((receipt.outcome, receipt.envelope_keys.unwrap().len()), (Outcome::Applied, 1));
    for key in [0, 1] {
        assert_eq!(outcome(&proxy, &tenant, &add_by(5, key, "carol")), "key");
    }
    let current = &proxy.status().envelope_keys[0];
    let command = tenant.sealed_to(current, 5, add("carol"), for_user("carol"));
    assert_eq!(outcome(&proxy, &tenant, &tenant.sign(&command)), "applied");
}
