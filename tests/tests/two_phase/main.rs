//! Proxy and sidecar change together: the real programs, a tenant admin who is played here and can
//! therefore do wrong, and a power failure at every point of the exchange. The judge is keyed traffic:
//! only with shares that fit together is there a row to read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "these are tests")]

mod parties;
mod tenant;

use parties::{Killed, Parties};
use serde_json::Value;
use trefoil_keys::command::{Delivery, Operation};

fn add(user: &str) -> Operation {
    Operation::Add { sub: user.to_owned() }
}

fn withdraw(user: &str) -> Operation {
    Operation::Withdraw { sub: user.to_owned() }
}

#[test]
fn what_is_forged_replayed_swapped_or_out_of_order_changes_nothing() {
    let mut parties = Parties::start();
    let first = parties.tenant.delivery(Operation::Renew);
    assert_eq!(parties.deliver(&first, &Operation::Renew).status, 200);
    parties.tenant.applied();
    parties.apply(Operation::Renew);
    assert!(parties.reads_as_alice());

    // An older command once more: its old receipt, and nothing else.
    let again = parties.deliver(&first, &Operation::Renew);
    assert_eq!(again.status, 200);
    // Another proxy share under the user's name, which the proxy alone can see.
    let op = Operation::Change { sub: "alice".to_owned() };
    let swapped = parties.tenant.delivery_sealed_for("bob", op.clone());
    let refused = parties.deliver(&swapped, &op);
    assert_eq!((refused.status, refused.refusal().as_str()), (422, "subject"));
    let known = parties.tenant.delivery(add("alice"));
    let refused = parties.deliver(&known, &add("alice"));
    assert_eq!((refused.status, refused.refusal().as_str()), (422, "user"));
    // All of a batch, or nothing.
    let known = parties.tenant.delivery(Operation::AddBatch);
    assert_eq!(parties.deliver(&known, &Operation::AddBatch).refusal(), "user");
    let unknown = Operation::Change { sub: "carol".to_owned() };
    let delivery = parties.tenant.delivery(unknown.clone());
    assert_eq!(parties.deliver(&delivery, &unknown).refusal(), "user");
    let early = parties.tenant.delivery_numbered(parties.tenant.next() + 1, withdraw("bob"));
    let refused = parties.deliver(&early, &withdraw("bob"));
    assert_eq!(refused.status, 409);
    assert!(
        refused.text.contains(&format!("command {} comes first", parties.tenant.next())),
        "{}",
        refused.text
    );
    let mut forged = parties.tenant.delivery(Operation::Renew);
    forged.tka.values_mut().next().unwrap().remove("main");
    assert_eq!(parties.deliver(&forged, &Operation::Renew).status, 400);
    assert!(parties.reads_as_alice());
    assert_eq!(parties.get("/v1/pending")["pending"], Value::Null);
    assert_eq!(parties.users(), ["alice", "bob"]);

    parties.apply(Operation::RotateKey { overlap: 3600 });
    parties.apply(withdraw("bob"));
    assert_eq!(parties.users(), ["alice"]);
    assert!(parties.reads_as_alice());
    parties.apply(withdraw("alice"));
    assert!(!parties.reads_as_alice());
}

#[test]
fn what_reached_the_proxy_past_the_sidecar_comes_to_the_sidecar_in_order() {
    let mut parties = Parties::start();
    let first = parties.tenant.delivery(add("carol"));
    parties.apply_past_the_sidecar(&first);
    let second = parties.tenant.delivery(add("dora"));
    parties.apply_past_the_sidecar(&second);

    let early = parties.deliver(&second, &add("dora"));
    assert_eq!(early.status, 409, "{}", early.text);
    assert!(
        early.text.contains("\"early\"") && early.text.contains("command 3 comes first"),
        "{}",
        early.text
    );
    assert_eq!(parties.users(), ["alice", "bob"]);
    for (delivery, op) in [(&first, add("carol")), (&second, add("dora"))] {
        let answer = parties.deliver(delivery, &op);
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(parties.users(), ["alice", "bob", "carol", "dora"]);
    parties.apply(Operation::Renew);
    assert!(parties.reads_as_alice());
}

#[test]
fn a_number_that_the_sidecar_has_passed_has_the_proxys_receipt_and_brings_nothing_old() {
    let mut parties = Parties::start();
    let old = parties.tenant.delivery(Operation::Renew);
    parties.apply_past_the_sidecar(&old);
    let withdrawal = parties.tenant.delivery(withdraw("bob"));
    parties.apply_past_the_sidecar(&withdrawal);
    let newest = parties.tenant.delivery(Operation::Change { sub: "alice".to_owned() });
    parties.apply_past_the_sidecar(&newest);
    parties.forget_receipts();
    let answer = parties.deliver(&newest, &Operation::Change { sub: "alice".to_owned() });
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(parties.users(), ["alice", "bob"]);
    for (delivery, op) in [(&old, Operation::Renew), (&withdrawal, withdraw("bob"))] {
        let answer = parties.deliver(delivery, &op);
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    // No old shares; but who was withdrawn is, however late the sidecar hears of it.
    assert_eq!(parties.users(), ["alice"]);
    // Of another command with such a number, the proxy says that it was not applied.
    let other = parties.tenant.delivery_numbered(3, Operation::Renew);
    assert_eq!(parties.deliver(&other, &Operation::Renew).refusal(), "seq");

    // A proxy that is away has no answer, and nothing is prepared.
    parties.stop_proxy();
    assert_eq!(parties.deliver(&old, &Operation::Renew).status, 503);
    assert_eq!(parties.get("/v1/pending")["pending"], Value::Null);
    parties.start_proxy(None);
    parties.apply(Operation::RotateKey { overlap: 3600 });
}

#[test]
fn a_proxy_that_was_away_gets_the_command_when_it_is_back() {
    let mut parties = Parties::start();
    parties.stop_proxy();
    let delivery = parties.tenant.delivery(Operation::Renew);
    let answer = parties.deliver(&delivery, &Operation::Renew);
    assert_eq!(answer.status, 202, "{}", answer.text);
    parties.start_proxy(None);
    parties.settled();
    assert!(parties.reads_as_alice());
    assert_eq!(parties.deliver(&delivery, &Operation::Renew).status, 200);
}

/// The command is in force at both, and what comes next is applied.
fn agree(parties: &mut Parties, delivery: &Delivery, place: &str) {
    parties.settled();
    assert!(parties.reads_as_alice(), "{place}");
    let answer = parties.deliver(delivery, &Operation::Renew);
    assert_eq!(answer.status, 200, "{place}: {}", answer.text);
    parties.tenant.applied();
    parties.apply(Operation::Renew);
    assert!(parties.reads_as_alice(), "{place}");
}

#[test]
fn a_sidecar_killed_anywhere_ends_with_what_the_proxy_has() {
    let mut parties = Parties::start();
    for point in ["sidecar.prepared", "sidecar.answered", "sidecar.committed"] {
        parties.restart_sidecar(Some(point));
        let delivery = parties.tenant.delivery(Operation::Renew);
        assert!(parties.try_deliver(&delivery, &Operation::Renew).is_none(), "{point}");
        parties.has_died(Killed::Sidecar, point);
        parties.restart_sidecar(None);
        agree(&mut parties, &delivery, point);
    }
}

#[test]
fn a_proxy_killed_anywhere_ends_with_what_the_sidecar_has() {
    let mut parties = Parties::start();
    for point in ["command.checked", "command.stored", "command.applied"] {
        parties.stop_proxy();
        parties.start_proxy(Some(point));
        let delivery = parties.tenant.delivery(Operation::Renew);
        let answer = parties.deliver(&delivery, &Operation::Renew);
        assert_eq!(answer.status, 202, "{point}: {}", answer.text);
        parties.has_died(Killed::Proxy, point);
        parties.start_proxy(None);
        agree(&mut parties, &delivery, point);
    }
}

#[test]
fn both_killed_end_with_the_same() {
    let mut parties = Parties::start();
    for (proxy, sidecar) in [
        ("command.checked", "sidecar.prepared"),
        ("command.stored", "sidecar.prepared"),
        ("command.applied", "sidecar.answered"),
    ] {
        // The proxy dies over the command; the sidecar, while it asks again.
        parties.stop_proxy();
        parties.start_proxy(Some(proxy));
        let delivery = parties.tenant.delivery(Operation::Renew);
        assert_eq!(parties.deliver(&delivery, &Operation::Renew).status, 202);
        parties.has_died(Killed::Proxy, proxy);
        parties.restart_sidecar(Some(sidecar));
        parties.start_proxy(None);
        if sidecar == "sidecar.answered" {
            parties.has_died(Killed::Sidecar, sidecar);
        }
        parties.restart_sidecar(None);
        agree(&mut parties, &delivery, &format!("{proxy}, {sidecar}"));
    }
}
