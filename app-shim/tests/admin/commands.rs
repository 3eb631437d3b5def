//! Deliveries that are carried out, and those that are not.

use crate::peer::{Manner, Proxy};
use crate::sidecar::Sidecar;
use crate::tenant::{Client, Tenant, add, change, now, path, shares, withdraw};
use reqwest::Method;
use std::collections::BTreeMap;
use trefoil_keys::command::{Delivery, MAX_BATCH, Operation};
use trefoil_keys::receipt::Outcome;

struct Parties {
    tenant: Tenant,
    proxy: Proxy,
    sidecar: Sidecar,
    client: Client,
}

fn parties() -> Parties {
    let tenant = Tenant::new();
    let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let sidecar = Sidecar::start(&proxy);
    let client = Client::new(&sidecar);
    Parties { tenant, proxy, sidecar, client }
}

impl Parties {
    #[track_caller]
    fn apply(&self, seq: u64, op: Operation, byte: u8) {
        let answer = self.client.deliver(&self.tenant.delivery(seq, op.clone(), byte), &op);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let receipt = self.client.receipt(&answer, &self.proxy);
        assert_eq!((receipt.seq, receipt.outcome), (seq, Outcome::Applied));
    }

    /// Alice has shares of 1, bob of 2, and two commands were applied.
    fn with_two_users() -> Self {
        let parties = parties();
        parties.apply(1, add("alice"), 1);
        parties.apply(2, add("bob"), 2);
        parties
    }

    /// As after [`Parties::with_two_users`], and nothing is in doubt.
    #[track_caller]
    fn nothing_has_changed(&self) {
        assert_eq!(self.client.users(), ["alice", "bob"]);
        assert_eq!((self.sidecar.share_of("alice"), self.sidecar.share_of("bob")), (Some(1), Some(2)));
        assert!(self.client.pending().is_null());
        assert_eq!(self.proxy.inside().applied.len(), 2);
    }
}

#[test]
fn every_operation_changes_what_goes_with_requests() {
    let mut parties = parties();
    assert_eq!(parties.sidecar.share_of("alice"), None);
    parties.apply(1, add("alice"), 1);
    assert_eq!(parties.sidecar.share_of("alice"), Some(1));
    parties.apply(2, add("bob"), 2);
    parties.apply(3, change("alice"), 3);
    assert_eq!((parties.sidecar.share_of("alice"), parties.sidecar.share_of("bob")), (Some(3), Some(2)));
    parties.apply(4, Operation::Renew, 4);
    assert_eq!((parties.sidecar.share_of("alice"), parties.sidecar.share_of("bob")), (Some(4), Some(4)));
    parties.apply(5, Operation::RotateKey { overlap: 60 }, 0);
    parties.apply(6, withdraw("bob"), 0);
    assert_eq!((parties.sidecar.share_of("alice"), parties.sidecar.share_of("bob")), (Some(4), None));
    assert_eq!(parties.client.users(), ["alice"]);
    parties.sidecar.restart();
    assert_eq!((parties.sidecar.share_of("alice"), parties.sidecar.share_of("bob")), (Some(4), None));
}

#[test]
fn what_the_tenant_admin_has_not_signed_is_never_forwarded() {
    let parties = Parties::with_two_users();
    let (tenant, client) = (&parties.tenant, &parties.client);
    let asked = parties.proxy.inside().asked;
    let op = change("alice");
    let deliver = |delivery: &Delivery| client.deliver(delivery, &op);

    let mut forged = tenant.delivery(3, op.clone(), 9);
    let altered = if forged.command.ends_with('A') { "Q" } else { "A" };
    forged.command.replace_range(forged.command.len() - 4..forged.command.len() - 3, altered);
    deliver(&forged).is(403, "signature");
    deliver(&Tenant::new().delivery(3, op.clone(), 9)).is(403, "signature");
    let truncated = tenant.delivery(3, op.clone(), 9);
    deliver(&Delivery { command: truncated.command[..truncated.command.len() / 2].to_owned(), ..truncated })
        .is(403, "signature");

    let mut other_share = tenant.delivery(3, op.clone(), 9);
    other_share.tka.insert("alice".to_owned(), shares(8));
    deliver(&other_share).is(400, "shares");
    let mut other_user = tenant.delivery(3, op.clone(), 9);
    other_user.tka = BTreeMap::from([("bob".to_owned(), shares(9))]);
    deliver(&other_user).is(400, "shares");
    let mut no_share = tenant.delivery(3, op.clone(), 9);
    no_share.tka.clear();
    deliver(&no_share).is(400, "shares");

    let mut bank = Tenant::new();
    bank.name = "bank".to_owned();
    bank.key = trefoil_keys::signing::SigningKey::from_seed((*tenant.key.seed()).into()).unwrap();
    deliver(&bank.delivery(3, op.clone(), 9)).is(403, "tenant");

    let user = || BTreeMap::from([("alice".to_owned(), shares(9))]);
    deliver(&tenant.sign(3, op.clone(), now() - 100, 99, user())).is(400, "expired");
    deliver(&tenant.sign(3, op.clone(), now() + 3600, 99, user())).is(400, "future");
    let mut keyspaces = user();
    let share = keyspaces.get_mut("alice").unwrap().remove("main").unwrap();
    keyspaces.get_mut("alice").unwrap().insert("a,b".to_owned(), share);
    deliver(&tenant.sign(3, op.clone(), now(), 99, keyspaces)).is(400, "keyspace");

    for other in [add("x"), withdraw("x"), Operation::Renew, Operation::RotateKey { overlap: 1 }] {
        let body = tenant.delivery(3, op.clone(), 9).to_json().unwrap();
        client.send(Method::POST, path(&other), &body).is(400, "operation");
    }
    assert_eq!(parties.proxy.inside().asked, asked);
    parties.nothing_has_changed();
}

#[test]
fn a_replayed_command_changes_nothing() {
    let parties = parties();
    let (tenant, client) = (&parties.tenant, &parties.client);
    let first = tenant.delivery(1, add("alice"), 1);
    let receipt = client.deliver(&first, &add("alice"));
    assert_eq!(receipt.status, 200);
    parties.apply(2, change("alice"), 2);
    // The very same: the receipt that there was. Another one of a former number: the proxy's refusal.
    let again = client.deliver(&first, &add("alice"));
    assert_eq!((again.status, again.text), (200, receipt.text));
    for seq in [1, 2] {
        let other = client.deliver(&tenant.delivery(seq, change("alice"), 3), &change("alice"));
        assert_eq!(other.status, 422, "{}", other.text);
    }
    assert_eq!(parties.proxy.inside().applied.len(), 2);
    assert_eq!(parties.sidecar.share_of("alice"), Some(2));
}

#[test]
fn a_command_out_of_order_is_refused_and_may_come_again() {
    let parties = Parties::with_two_users();
    let fourth = parties.tenant.delivery(4, change("alice"), 4);
    let asked = parties.proxy.inside().asked;
    parties.client.deliver(&fourth, &change("alice")).is(409, "early");
    assert_eq!(parties.proxy.inside().asked, asked);
    parties.nothing_has_changed();
    parties.apply(3, change("bob"), 3);
    assert_eq!(parties.client.deliver(&fourth, &change("alice")).status, 200);
    assert_eq!((parties.sidecar.share_of("alice"), parties.sidecar.share_of("bob")), (Some(4), Some(3)));
}

#[test]
fn what_the_proxy_refuses_is_undone_and_its_receipt_passed_on() {
    let parties = Parties::with_two_users();
    parties.proxy.behave(Manner::Refuse);
    for op in [change("alice"), withdraw("alice"), Operation::Renew, add("carol")] {
        let answer = parties.client.deliver(&parties.tenant.delivery(3, op.clone(), 9), &op);
        assert_eq!(answer.status, 422, "{}", answer.text);
        let receipt = parties.client.receipt(&answer, &parties.proxy);
        assert!(matches!(receipt.outcome, Outcome::Refused { code, .. } if code == "played"));
    }
    parties.nothing_has_changed();
}

#[test]
fn the_largest_batch_is_applied() {
    let parties = parties();
    let users = |byte| (0..MAX_BATCH).map(|n| (format!("{n:064}"), shares(byte))).collect();
    let delivery = parties.tenant.sign(1, Operation::Renew, now(), 3600, users(7));
    let answer = parties.client.deliver(&delivery, &Operation::Renew);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(parties.client.users().len(), MAX_BATCH);
    assert_eq!(parties.sidecar.share_of(&format!("{:064}", MAX_BATCH - 1)), Some(7));
}

#[test]
fn commands_wait_for_the_bootstrap() {
    let tenant = Tenant::new();
    let proxy = Proxy::start(None);
    let sidecar = Sidecar::start(&proxy);
    let client = Client::new(&sidecar);
    let delivery = tenant.delivery(1, add("alice"), 1);
    let health = client.get("/health").json();
    assert!(health["reasons"][0].as_str().unwrap().contains("not known yet"), "{health}");
    client.deliver(&delivery, &add("alice")).is(503, "no-bootstrap");
    proxy.inside().tenant_key = Some(tenant.key.verifying_key().clone());
    assert_eq!(client.deliver(&delivery, &add("alice")).status, 200);
    // From now on the key is what it is.
    let other = Tenant::new();
    proxy.inside().tenant_key = Some(other.key.verifying_key().clone());
    client.deliver(&other.delivery(2, change("alice"), 2), &change("alice")).is(403, "signature");
    assert_eq!(sidecar.share_of("alice"), Some(1));
}
