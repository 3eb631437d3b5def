//! Commands that are in doubt: the proxy does not answer, or somebody is killed between the two halves.

use crate::peer::{Manner, Proxy};
use crate::sidecar::{Sidecar, json};
use crate::tenant::{Client, Tenant, add, change, path, withdraw};
use reqwest::Method;
use std::time::{Duration, Instant};
use trefoil_keys::command::Operation;

struct Parties {
    tenant: Tenant,
    proxy: Proxy,
    sidecar: Sidecar,
    client: Client,
}

/// Alice has shares of 1, bob of 2.
fn parties() -> Parties {
    let tenant = Tenant::new();
    let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let sidecar = Sidecar::start(&proxy);
    let client = Client::new(&sidecar);
    for (seq, user, byte) in [(1, "alice", 1), (2, "bob", 2)] {
        let delivery = tenant.delivery(seq, add(user), byte);
        assert_eq!(client.deliver(&delivery, &add(user)).status, 200);
    }
    Parties { tenant, proxy, sidecar, client }
}

impl Parties {
    fn run(&mut self, environment: &[(&str, &str)]) {
        self.sidecar.run(environment);
        self.client = Client::new(&self.sidecar);
    }

    /// Waits until nothing is in doubt any more.
    #[track_caller]
    fn settled(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.client.pending().is_null() {
            assert!(Instant::now() < end, "{}", self.sidecar.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn shares(&self) -> [Option<u8>; 2] {
        ["alice", "bob"].map(|user| self.sidecar.share_of(user))
    }
}

#[test]
fn a_proxy_out_of_reach_gets_the_command_later_without_the_tenant_admin() {
    let mut parties = parties();
    parties.proxy.pause();
    let third = parties.tenant.delivery(3, change("alice"), 3);
    let answer = parties.client.deliver(&third, &change("alice"));
    assert_eq!(answer.status, 202);
    let doubt = answer.json()["pending"].clone();
    assert_eq!((&doubt["seq"], &doubt["op"], &doubt["sub"]), (&3.into(), &"change".into(), &"alice".into()));
    assert_eq!(parties.client.pending(), doubt);
    assert_eq!(parties.client.get("/health").json()["reasons"].as_array().unwrap().len(), 1);
    // The same again is still in doubt; another one has to wait; a forged one is told so.
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 202);
    let fourth = parties.tenant.delivery(4, withdraw("bob"), 0);
    parties.client.deliver(&fourth, &withdraw("bob")).is(409, "in-doubt");
    parties
        .client
        .deliver(&Tenant::new().delivery(3, change("alice"), 9), &change("alice"))
        .is(403, "signature");
    assert_eq!(parties.shares(), [Some(1), Some(2)]);
    parties.proxy.resume();
    parties.settled();
    assert_eq!(parties.shares(), [Some(3), Some(2)]);
    assert_eq!(parties.proxy.inside().applied.last(), Some(&third.command));
    assert_eq!(parties.client.deliver(&fourth, &withdraw("bob")).status, 200);
}

#[test]
fn no_answer_of_doubtful_origin_settles_a_command() {
    let parties = parties();
    let third = parties.tenant.delivery(3, change("alice"), 3);
    for manner in [Manner::Undecided, Manner::OtherReceipt, Manner::OtherKey, Manner::Lost] {
        parties.proxy.behave(manner);
        assert_eq!(parties.client.deliver(&third, &change("alice")).status, 202, "{manner:?}");
        assert_eq!(parties.client.pending()["seq"], 3);
        assert_eq!(parties.shares(), [Some(1), Some(2)], "{manner:?}");
    }
    parties.proxy.behave(Manner::Right);
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 200);
    assert_eq!(parties.shares(), [Some(3), Some(2)]);
    assert_eq!(parties.proxy.inside().applied.len(), 3);
}

#[test]
fn a_late_refusal_undoes() {
    let mut parties = parties();
    parties.proxy.pause();
    let third = parties.tenant.delivery(3, withdraw("alice"), 0);
    assert_eq!(parties.client.deliver(&third, &withdraw("alice")).status, 202);
    parties.proxy.behave(Manner::Refuse);
    parties.proxy.resume();
    parties.settled();
    assert_eq!(parties.shares(), [Some(1), Some(2)]);
}

/// Kills the sidecar at `point` while it carries out `op`, and starts it again.
fn killed_at(point: &str, op: &Operation, manner: Manner) -> Parties {
    let mut parties = parties();
    parties.sidecar.kill();
    parties.run(&[("TREFOIL_KILL_AT", point)]);
    parties.proxy.behave(manner);
    let body = parties.tenant.delivery(3, op.clone(), 3).to_json().unwrap().to_vec();
    assert!(parties.client.try_send(Method::POST, path(op), body).is_none(), "{point}: alive");
    parties.sidecar.wait();
    parties.run(&[]);
    parties.settled();
    parties
}

#[test]
fn killed_anywhere_the_sidecar_completes_what_the_proxy_applies() {
    for point in ["sidecar.prepared", "sidecar.answered", "sidecar.committed"] {
        for (op, expected) in [
            (change("alice"), [Some(3), Some(2)]),
            (withdraw("alice"), [None, Some(2)]),
            (Operation::Renew, [Some(3), Some(3)]),
        ] {
            let parties = killed_at(point, &op, Manner::Right);
            assert_eq!(parties.shares(), expected, "{point}, {op:?}");
            assert_eq!(parties.proxy.inside().applied.len(), 3, "{point}, {op:?}");
            // The tenant admin, who never got an answer, gets it now.
            let applied = parties.proxy.inside().applied[2].clone();
            let mut again = parties.tenant.delivery(3, op.clone(), 3);
            again.command = applied;
            assert_eq!(parties.client.deliver(&again, &op).status, 200, "{point}, {op:?}");
        }
    }
}

#[test]
fn killed_anywhere_the_sidecar_undoes_what_the_proxy_refuses() {
    for point in ["sidecar.prepared", "sidecar.answered", "sidecar.aborted"] {
        let parties = killed_at(point, &change("alice"), Manner::Refuse);
        assert_eq!(parties.shares(), [Some(1), Some(2)], "{point}");
        parties.proxy.behave(Manner::Right);
        let delivery = parties.tenant.delivery(3, withdraw("bob"), 0);
        assert_eq!(parties.client.deliver(&delivery, &withdraw("bob")).status, 200, "{point}");
    }
}

#[test]
fn a_proxy_made_anew_is_taken_only_on_purpose() {
    let mut parties = parties();
    parties.proxy.pause();
    let third = parties.tenant.delivery(3, change("alice"), 3);
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 202);
    parties.sidecar.kill();

    let tenant = Tenant::new();
    let anew = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let file = parties.sidecar.directory.path().join("shim.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let config = config
        .replace(&parties.proxy.url(), &anew.url())
        .replace(&parties.proxy.fingerprint.to_string(), &anew.fingerprint.to_string());
    std::fs::write(&file, config).unwrap();
    parties.run(&[]);
    let first = tenant.delivery(1, change("alice"), 9);
    parties.client.deliver(&first, &change("alice")).is(403, "signature");
    assert_eq!(parties.client.pending()["seq"], 3);
    assert_eq!(anew.inside().applied.len(), 0);
    parties.sidecar.kill();

    assert!(json(&parties.sidecar.init(&["--new-proxy", "--json"]))["password"].is_null());
    parties.run(&[]);
    assert!(parties.client.pending().is_null());
    assert_eq!(parties.shares(), [Some(1), Some(2)]);
    assert_eq!(parties.client.deliver(&first, &change("alice")).status, 200);
    assert_eq!(parties.shares(), [Some(9), Some(2)]);
}

#[test]
fn a_sidecar_made_anew_takes_up_where_the_proxy_is() {
    let mut parties = parties();
    let first = parties.tenant.delivery(1, add("alice"), 9);
    let third = parties.tenant.delivery(3, change("alice"), 3);
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 200);
    parties.sidecar.kill();
    let made = json(&parties.sidecar.init(&["--anew", "--json"]));
    parties.sidecar.password = made["password"].as_str().unwrap().to_owned();
    parties.sidecar.fingerprint = made["fingerprint"].as_str().unwrap().parse().unwrap();
    parties.run(&[]);
    assert_eq!(parties.shares(), [None, None]);
    // An older command that was not applied is none for it, the last one is, and so is the next one.
    assert_eq!(parties.client.deliver(&first, &add("alice")).status, 422);
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 200);
    assert_eq!(parties.shares(), [Some(3), None]);
    let all = parties.tenant.delivery(4, Operation::Renew, 4);
    assert_eq!(parties.client.deliver(&all, &Operation::Renew).status, 200);
    assert_eq!(parties.shares(), [Some(4), Some(4)]);
    assert_eq!(parties.proxy.inside().applied.len(), 4);
}

#[test]
fn a_wrong_lock_or_a_damaged_state_is_refused() {
    let mut parties = parties();
    parties.sidecar.kill();
    let directory = parties.sidecar.directory.path().to_owned();
    let refused = |parties: &mut Parties| {
        parties.sidecar.spawn(&[]);
        parties.sidecar.wait();
        parties.sidecar.output()
    };
    let lock = directory.join("lock");
    let key = std::fs::read(&lock).unwrap();
    std::fs::remove_file(&lock).unwrap();
    let none = refused(&mut parties);
    trefoil_keys::lock::Lock::create_key_file(&lock).unwrap();
    let wrong = refused(&mut parties);
    trefoil_keys::private_file::write(&lock, &key).unwrap();
    let store = directory.join("state/store.redb");
    let whole = std::fs::read(&store).unwrap();
    let mut damaged = whole.clone();
    damaged.truncate(whole.len() / 2);
    std::fs::write(&store, damaged).unwrap();
    let damaged = refused(&mut parties);
    for (text, expected) in [(&none, "lock"), (&wrong, "lock"), (&damaged, "store.redb")] {
        assert!(text.starts_with("trefoil-shim: ") && text.contains(expected), "{text}");
    }
    assert_ne!(none, wrong);
    std::fs::write(&store, whole).unwrap();
    parties.run(&[]);
    assert_eq!(parties.shares(), [Some(1), Some(2)]);
}

#[test]
fn a_full_disk_shows_in_health_and_the_command_is_completed_afterwards() {
    let parties = parties();
    let health = || parties.client.get("/health");
    assert_eq!(health().status, 200);
    parties.sidecar.leave_room(Some(0));
    let third = parties.tenant.delivery(3, withdraw("alice"), 0);
    parties.client.deliver(&third, &withdraw("alice")).is(503, "store");
    let told = health();
    assert_eq!((told.status, &told.json()["status"]), (503, &"unavailable".into()));
    assert!(told.json()["reasons"][0].as_str().unwrap().contains("File too large"));
    // What it has, it goes on giving to requests.
    assert_eq!(parties.shares(), [Some(1), Some(2)]);
    parties.sidecar.leave_room(None);
    let end = Instant::now() + Duration::from_secs(20);
    while health().status != 200 {
        assert!(Instant::now() < end, "{}", parties.sidecar.output());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(parties.client.deliver(&third, &withdraw("alice")).status, 200);
    assert_eq!(parties.shares(), [None, Some(2)]);
}

#[test]
fn commands_that_are_passed_bring_what_is_missing_and_nothing_else() {
    let mut parties = parties();
    let [first, second] = [(1, "alice", 1), (2, "bob", 2)].map(|(seq, user, byte)| {
        let mut delivery = parties.tenant.delivery(seq, add(user), byte);
        delivery.command = parties.proxy.inside().applied[usize::try_from(seq - 1).unwrap()].clone();
        delivery
    });
    let third = parties.tenant.delivery(3, change("alice"), 3);
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 200);
    let fourth = parties.tenant.delivery(4, withdraw("bob"), 0);
    assert_eq!(parties.client.deliver(&fourth, &withdraw("bob")).status, 200);
    let fifth = parties.tenant.delivery(5, add("carol"), 5);
    assert_eq!(parties.client.deliver(&fifth, &add("carol")).status, 200);
    parties.sidecar.kill();
    let made = json(&parties.sidecar.init(&["--anew", "--json"]));
    parties.sidecar.password = made["password"].as_str().unwrap().to_owned();
    parties.sidecar.fingerprint = made["fingerprint"].as_str().unwrap().parse().unwrap();
    parties.run(&[]);
    assert_eq!(parties.shares(), [None, None]);
    // The later share stays, whichever comes first; who was withdrawn does not come back.
    assert_eq!(parties.client.deliver(&third, &change("alice")).status, 200);
    assert_eq!(parties.client.deliver(&first, &add("alice")).status, 200);
    assert_eq!(parties.shares(), [Some(3), None]);
    assert_eq!(parties.client.deliver(&fourth, &withdraw("bob")).status, 200);
    assert_eq!(parties.client.deliver(&second, &add("bob")).status, 200);
    assert_eq!(parties.shares(), [Some(3), None]);
    let users = parties.client.get("/v1/users").json()["users"].clone();
    assert_eq!(users.as_object().unwrap().keys().collect::<Vec<_>>(), ["alice"]);
    parties.sidecar.kill();
    parties.run(&[]);
    assert_eq!(parties.shares(), [Some(3), None]);
}

#[test]
fn another_key_file_takes_the_place_of_the_lock() {
    let mut parties = parties();
    parties.sidecar.kill();
    let directory = parties.sidecar.directory.path().to_owned();
    let (lock, other) = (directory.join("lock"), directory.join("other"));
    let changed = std::process::Command::new(env!("CARGO_BIN_EXE_trefoil-shim"))
        .args(["change-lock", "--config"])
        .arg(directory.join("shim.toml"))
        .arg("--key-file")
        .arg(&other)
        .output()
        .unwrap();
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    parties.sidecar.spawn(&[]);
    parties.sidecar.wait();
    assert!(parties.sidecar.output().contains("wrong lock"));
    std::fs::rename(other, lock).unwrap();
    parties.run(&[]);
    assert_eq!(parties.shares(), [Some(1), Some(2)]);
}
