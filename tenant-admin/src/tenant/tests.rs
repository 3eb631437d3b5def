//! A tenant against a proxy that is played here.

use super::grants::Grants;
use super::history::Event;
use super::outbox::Pending;
use super::*;
use std::collections::BTreeMap;
use trefoil_keys::bundle::{Shares, Version};
use trefoil_keys::command::{Command, Delivery, Operation};
use trefoil_keys::envelope::{EnvelopePrivateKey, EnvelopePublicKey};
use trefoil_keys::handover::KeyspaceKey;
use trefoil_keys::proxy_share::{ProxyShares, Recipients};
use trefoil_keys::receipt::{Outcome, Receipt};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::status::Status;
use trefoil_keys::{check, share};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

/// Signs receipts, and opens what is sealed to it.
struct Proxy {
    key: SigningKey,
    envelope: EnvelopePrivateKey,
}

fn envelope_key() -> EnvelopePrivateKey {
    const PEM: &str = include_str!("../../../keys/tests/vectors/proxy-key.pem");
    EnvelopePrivateKey::from_pkcs8_pem(PEM).unwrap()
}

fn envelope_key_2048() -> EnvelopePrivateKey {
    const PEM: &str = include_str!("../../../keys/tests/vectors/key-2048.pem");
    EnvelopePrivateKey::from_pkcs8_pem(PEM).unwrap()
}

fn other_envelope_key() -> EnvelopePublicKey {
    envelope_key_2048().public_key().clone()
}

mod granted;

/// Of the tenant's both keyspaces.
fn everything() -> Grants {
    Grants { keyspaces: ["main", "billing"].map(str::to_owned).into(), ..Grants::default() }
}

/// A tenant with two keyspaces, and its proxy.
fn tenant() -> (Tenant, Proxy) {
    let proxy = Proxy { key: SigningKey::generate().unwrap(), envelope: envelope_key() };
    let key = || KeyspaceKey { epoch: 1, key: TenantKey::generate() };
    let tenant = Tenant::from_handover(Handover {
        version: Version,
        tenant: "clinic".to_owned(),
        application: "app".to_owned(),
        keyspaces: [("main".to_owned(), key()), ("billing".to_owned(), key())].into(),
        signing_key: SigningKey::generate().unwrap(),
        receipt_key: proxy.key.verifying_key().clone(),
        envelope_keys: vec![proxy.envelope.public_key().clone()],
    });
    (tenant, proxy)
}

impl Proxy {
    fn receipt(&self, jws: &str, command: &Command, outcome: Outcome) -> String {
        let rotated = outcome == Outcome::Applied && matches!(command.op, Operation::RotateKey { .. });
        self.key
            .sign(&Receipt {
                tenant: command.tenant.clone(),
                seq: command.seq,
                command_sha256: trefoil_keys::command::hash(jws),
                at: NOW,
                outcome,
                envelope_keys: rotated
                    .then(|| vec![other_envelope_key(), self.envelope.public_key().clone()]),
            })
            .unwrap()
    }

    fn applies(&self, tenant: &Tenant, delivery: &Delivery) -> String {
        let command = delivery.open(tenant.signing_key.verifying_key()).unwrap();
        self.receipt(&delivery.command, &command, Outcome::Applied)
    }

    fn refuses(&self, tenant: &Tenant, delivery: &Delivery, code: &str) -> String {
        let command = delivery.open(tenant.signing_key.verifying_key()).unwrap();
        let outcome = Outcome::Refused { code: code.to_owned(), message: "no".to_owned(), user: None };
        self.receipt(&delivery.command, &command, outcome)
    }

    fn shares(&self, command: &Command) -> ProxyShares {
        self.envelope.open(command.tkp.as_ref().unwrap()).unwrap()
    }
}

fn first(tenant: &Tenant) -> Delivery {
    tenant.first_pending().unwrap().delivery()
}

fn opened(tenant: &Tenant, delivery: &Delivery) -> Command {
    delivery.open(tenant.signing_key.verifying_key()).unwrap()
}

fn confirm_all(tenant: &mut Tenant, proxy: &Proxy) {
    while tenant.first_pending().is_some() {
        let receipt = proxy.applies(tenant, &first(tenant));
        assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Applied));
    }
}

/// Whether three halves give the tenant key of every keyspace.
fn fit(tenant: &Tenant, user: &Shares, application: &Shares, proxy: &Shares) -> bool {
    tenant.check_values().iter().all(|(name, expected)| {
        let key = share::combine(&user[name].share, &application[name].share, &proxy[name].share);
        check::verify(&key, name, expected.epoch, &expected.value)
    })
}

fn again(tenant: &Tenant) -> Tenant {
    let json = trefoil_keys::private_file::to_json(tenant).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn an_added_user_has_three_shares_that_fit() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    let tenant = &mut again(&tenant);
    let delivery = first(tenant);
    let command = opened(tenant, &delivery);
    assert_eq!((command.seq, command.iat, command.tenant.as_str()), (1, NOW, "clinic"));
    assert!(command.op == Operation::Add { sub: "alice".to_owned() });
    let Recipients::User { sub, tkp } = proxy.shares(&command).recipients else { panic!("one user") };
    assert_eq!(sub, "alice");
    let bundle = tenant.export_user("alice", false, NOW).unwrap();
    assert!(fit(tenant, &bundle.shares, &delivery.tka["alice"], &tkp));
    assert_eq!((bundle.audience.as_str(), bundle.user.as_str()), ("app", "alice"));
    assert!(bundle.announcement_key.as_ref() == Some(tenant.signing_key.verifying_key()));
}

#[test]
fn a_confirmed_command_leaves_no_share_of_application_and_proxy_behind() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    let delivery = first(&tenant);
    let text = |tenant: &Tenant| {
        String::from_utf8(trefoil_keys::private_file::to_json(tenant).unwrap().to_vec()).unwrap()
    };
    let tka = delivery.tka["alice"]["main"].share.to_base64url();
    assert!(text(&tenant).contains(tka.as_str()));
    confirm_all(&mut tenant, &proxy);
    assert!(!text(&tenant).contains(tka.as_str()));
    assert!(!text(&tenant).contains("\"proxy\": {\n          \"main\""));
    assert!(tenant.user("alice").unwrap().has_share());
}

#[test]
fn rekeying_gives_a_new_triple_and_a_free_export() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    let old = tenant.export_user("alice", false, NOW).unwrap().shares;
    assert!(matches!(tenant.export_user("alice", false, NOW), Err(TenantError::ExportedBefore(_))));
    assert!(tenant.export_user("alice", true, NOW).unwrap().shares["main"].share == old["main"].share);

    tenant.rekey_user("alice", NOW).unwrap();
    let delivery = first(&tenant);
    let Recipients::User { tkp, .. } = proxy.shares(&opened(&tenant, &delivery)).recipients else { panic!() };
    let new = tenant.export_user("alice", false, NOW).unwrap().shares;
    assert!(fit(&tenant, &new, &delivery.tka["alice"], &tkp));
    assert!(!fit(&tenant, &old, &delivery.tka["alice"], &tkp));
    assert!(matches!(tenant.export_user("alice", false, NOW), Err(TenantError::ExportedBefore(_))));
}

#[test]
fn a_withdrawn_user_gets_nothing_and_never_comes_back() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    tenant.withdraw_user("alice", NOW).unwrap();
    for _ in 0..2 {
        assert!(matches!(tenant.export_user("alice", true, NOW), Err(TenantError::UserWithdrawn(_))));
        assert!(matches!(tenant.rekey_user("alice", NOW), Err(TenantError::UserWithdrawn(_))));
        assert!(matches!(tenant.add_user("alice", &everything(), NOW), Err(TenantError::UidUsed(_))));
        assert!(matches!(tenant.withdraw_user("alice", NOW), Err(TenantError::AlreadyWithdrawn(_))));
        confirm_all(&mut tenant, &proxy);
    }
    assert!(!tenant.user("alice").unwrap().has_share());
}

#[test]
fn receipts_that_confirm_nothing() {
    let (mut tenant, proxy) = tenant();
    let (_, stranger) = self::tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    let delivery = first(&tenant);
    let right = proxy.applies(&tenant, &delivery);
    let command = opened(&tenant, &delivery);
    let forged = [
        stranger.applies(&tenant, &delivery),
        proxy.receipt(
            &delivery.command,
            &Command { tenant: "other".to_owned(), ..command.clone() },
            Outcome::Applied,
        ),
        right.replacen('.', "..", 1),
        right[..right.len() - 2].to_owned(),
        String::new(),
    ];
    for receipt in forged {
        assert!(matches!(tenant.receive(&receipt, NOW), Err(TenantError::ReceiptForged)));
    }
    let unknown = [
        proxy.receipt("another command", &command, Outcome::Applied),
        proxy.receipt(&delivery.command, &Command { seq: 2, ..command.clone() }, Outcome::Applied),
    ];
    for receipt in unknown {
        assert!(matches!(tenant.receive(&receipt, NOW), Err(TenantError::ReceiptUnknown { .. })));
    }
    assert_eq!(tenant.pending().count(), 1);
    assert!(matches!(tenant.receive(&right, NOW).unwrap(), Received::Applied));
    assert!(matches!(tenant.receive(&right, NOW).unwrap(), Received::KnownBefore { seq: 1 }));
    assert!(tenant.first_pending().is_none());
}

#[test]
fn an_expired_command_is_signed_again_with_its_number_and_any_copy_confirms_it() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    tenant.add_user("bob", &everything(), NOW + 7 * DAY).unwrap();
    let old = first(&tenant);
    assert_eq!(tenant.sign_expired(NOW + DAY).unwrap(), 0);
    assert_eq!(tenant.sign_expired(NOW + 8 * DAY).unwrap(), 1);
    let mut tenant = again(&tenant);
    let new = first(&tenant);
    assert_ne!(new.command, old.command);
    let (before, after) = (opened(&tenant, &old), opened(&tenant, &new));
    assert_eq!((after.seq, after.iat), (before.seq, NOW + 8 * DAY));
    assert!(after.tka_sha256 == before.tka_sha256);
    assert!(tenant.perhaps_applied(0).is_empty());
    let forms: Vec<_> = tenant.perhaps_applied(1).into_iter().map(|form| form.delivery.command).collect();
    assert_eq!(forms, [new.command, old.command.clone()]);
    let receipt = proxy.applies(&tenant, &old);
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Applied));
    assert_eq!(opened(&tenant, &first(&tenant)).seq, 2);
}

#[test]
fn a_refused_command_is_undone_and_the_others_move_up() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    let share = |tenant: &Tenant| *tenant.user("alice").unwrap().shares["main"].share.as_bytes();
    let before = share(&tenant);
    tenant.add_user("bob", &everything(), NOW).unwrap();
    tenant.rekey_user("bob", NOW).unwrap();
    tenant.rekey_user("alice", NOW).unwrap();
    tenant.withdraw_user("alice", NOW).unwrap();

    let receipt = proxy.refuses(&tenant, &first(&tenant), "user");
    let Received::Refused(refusal) = tenant.receive(&receipt, NOW).unwrap() else { panic!("refused") };
    assert_eq!((refusal.command.as_str(), refusal.code.as_str()), ("user add bob", "user"));
    assert!(tenant.user("bob").is_err(), "and its rekeying with it");
    let numbers: Vec<u64> =
        tenant.pending().map(|pending| opened(&tenant, &pending.delivery()).seq).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(tenant.next_seq(), 4);

    // The rekeying refused, the withdrawal refused: alice is where she was.
    for _ in 0..2 {
        let receipt = proxy.refuses(&tenant, &first(&tenant), "share");
        assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Refused(_)));
    }
    assert_eq!(tenant.user("alice").unwrap().state, State::Active);
    assert!(share(&tenant) == before);
    assert_eq!((tenant.next_seq(), tenant.refused().len()), (2, 3));
    assert_eq!(tenant.forget_refused(), 3);
}

#[test]
fn out_of_turn_or_time_is_no_refusal() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    for code in ["seq", "expired", "future", "key"] {
        let receipt = proxy.refuses(&tenant, &first(&tenant), code);
        assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::NotYet { seq: 1, .. }));
    }
    assert_eq!((tenant.pending().count(), tenant.refused().len()), (1, 0));
}

#[test]
fn numbers_of_the_proxy_are_taken_over() {
    let (mut tenant, _) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    tenant.add_user("bob", &everything(), NOW).unwrap();
    assert_eq!(tenant.renumber(41, NOW).unwrap(), 2);
    let numbers: Vec<u64> =
        tenant.pending().map(|pending| opened(&tenant, &pending.delivery()).seq).collect();
    assert_eq!((numbers, tenant.next_seq()), (vec![41, 42], 43));
    assert_eq!(tenant.perhaps_applied(40).len(), 2, "under their former numbers");
}

#[test]
fn a_renumbered_command_is_not_undone_while_an_earlier_form_of_it_may_have_been_applied() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    let earlier = first(&tenant);
    tenant.renumber(3, NOW).unwrap();
    let mut tenant = again(&tenant);
    let refusal = proxy.refuses(&tenant, &first(&tenant), "user");
    assert!(matches!(tenant.receive(&refusal, NOW).unwrap(), Received::NotYet { seq: 3, .. }));
    let mut confirmed = again(&tenant);
    let receipt = proxy.applies(&confirmed, &earlier);
    assert!(matches!(confirmed.receive(&receipt, NOW).unwrap(), Received::Applied));
    assert_eq!(confirmed.user("alice").unwrap().state, State::Active);

    // The proxy has applied something else under that number.
    let hash = trefoil_keys::command::hash(&earlier.command);
    tenant.pass_over(1, |other| other == hash);
    let mut tenant = again(&tenant);
    assert!(matches!(tenant.receive(&refusal, NOW).unwrap(), Received::Refused(_)));
    assert!(tenant.user("alice").is_err());
}

#[test]
fn renewal_in_batches_keeps_every_users_share() {
    let (mut tenant, proxy) = tenant();
    for uid in ["alice", "bob", "carol", "dora", "emil"] {
        tenant.add_user(uid, &everything(), NOW).unwrap();
    }
    tenant.withdraw_user("dora", NOW).unwrap();
    tenant.find_user("zoe", NOW);
    confirm_all(&mut tenant, &proxy);
    tenant.begin_renewal(NOW);
    assert_eq!(tenant.left_to_renew(), 4);
    let mut renewed = BTreeMap::new();
    while tenant.renew_next(3, NOW).unwrap().is_some() {
        tenant = again(&tenant);
        let delivery = first(&tenant);
        let command = opened(&tenant, &delivery);
        assert!(command.op == Operation::Renew);
        let Recipients::Batch(tkp) = proxy.shares(&command).recipients else { panic!("a batch") };
        for (uid, proxy) in tkp {
            let user = &tenant.user(&uid).unwrap().shares;
            assert!(fit(&tenant, user, &delivery.tka[&uid], &proxy));
            assert!(renewed.insert(uid, ()).is_none());
        }
        confirm_all(&mut tenant, &proxy);
    }
    assert_eq!(renewed.into_keys().collect::<Vec<_>>(), ["alice", "bob", "carol", "emil"]);
    assert!(tenant.renewal().is_none());
    assert_eq!(tenant.without_share().collect::<Vec<_>>(), ["zoe"]);
}

#[test]
fn a_refused_batch_is_renewed_again() {
    let (mut tenant, proxy) = tenant();
    for uid in ["alice", "bob", "carol"] {
        tenant.add_user(uid, &everything(), NOW).unwrap();
    }
    confirm_all(&mut tenant, &proxy);
    tenant.begin_renewal(NOW);
    for _ in 0..3 {
        assert_eq!(tenant.renew_next(1, NOW).unwrap(), Some(1));
    }
    assert_eq!(tenant.renew_next(1, NOW).unwrap(), None);
    let receipt = proxy.applies(&tenant, &first(&tenant));
    tenant.receive(&receipt, NOW).unwrap();
    let receipt = proxy.refuses(&tenant, &first(&tenant), "user");
    tenant.receive(&receipt, NOW).unwrap();
    assert_eq!(tenant.renewal().unwrap().after.as_deref(), Some("alice"));
    assert_eq!(tenant.left_to_renew(), 2);
}

#[test]
fn a_key_rotation_is_known_from_its_receipt_and_announced() {
    let (mut tenant, proxy) = tenant();
    let old = tenant.envelope_key().unwrap().kid().to_owned();
    tenant.rotate_proxy_key(30 * DAY, NOW).unwrap();
    assert_eq!(tenant.envelope_key().unwrap().kid(), old);
    confirm_all(&mut tenant, &proxy);
    assert_eq!(tenant.envelope_key().unwrap().kid(), other_envelope_key().kid());
    let (announcement, jws) = tenant.announce(NOW + DAY).unwrap();
    let read: trefoil_keys::announcement::Announcement =
        tenant.signing_key.verifying_key().verify(&jws).unwrap();
    assert_eq!(read, announcement);
    assert_eq!((read.serial, read.envelope_keys.len()), (1, 2));
    assert_eq!(read.retires, BTreeMap::from([(old, NOW + 30 * DAY)]));
    let (later, _) = tenant.announce(NOW + 31 * DAY).unwrap();
    assert_eq!((later.serial, later.envelope_keys.len(), later.retires.len()), (2, 1, 0));
    // Announcements before a bundle are no news to it.
    tenant.add_user("alice", &everything(), NOW + 31 * DAY).unwrap();
    let bundle = tenant.export_user("alice", false, NOW + 31 * DAY).unwrap();
    assert_eq!(bundle.announcement_serial, 2);
    assert_eq!(bundle.envelope_key, other_envelope_key().to_jwk());
}

#[test]
fn the_history_tells_what_was_issued_and_confirmed() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    tenant.export_user("alice", false, NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    let tenant = again(&tenant);
    let entries = tenant.history().entries();
    assert_eq!(entries.len(), 3);
    assert!(matches!(entries[2].event, Event::Applied { seq: 1, .. }));
    assert_eq!(tenant.history_of("alice").count(), 2);
}

#[test]
fn several_users_are_added_by_one_command_all_or_none() {
    let (mut tenant, proxy) = tenant();
    let uids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    tenant.add_users(&uids(&["bob", "alice"]), &everything(), NOW).unwrap();
    let mut tenant = again(&tenant);
    assert_eq!(tenant.pending().count(), 1);
    let delivery = first(&tenant);
    let command = opened(&tenant, &delivery);
    assert!(command.op == Operation::AddBatch);
    let Recipients::Batch(tkp) = proxy.shares(&command).recipients else { panic!("a batch") };
    for uid in ["alice", "bob"] {
        let user = &tenant.user(uid).unwrap().shares;
        assert!(fit(&tenant, user, &delivery.tka[uid], &tkp[uid]));
        assert_eq!(tenant.history_of(uid).count(), 1);
        assert!(tenant.first_pending().unwrap().is_about(uid));
    }
    confirm_all(&mut tenant, &proxy);
    for (wrong, name) in [(["carol", "carol"], "carol"), (["dora", "alice"], "alice")] {
        let mut copy = again(&tenant);
        let refused = copy.add_users(&uids(&wrong), &everything(), NOW);
        assert!(matches!(refused, Err(TenantError::UserExists(user)) if user == name));
    }
    // What the proxy refuses is undone, and what was to follow for those users.
    tenant.add_users(&uids(&["emil", "fred"]), &everything(), NOW).unwrap();
    tenant.rekey_user("emil", NOW).unwrap();
    tenant.begin_renewal(NOW);
    tenant.renew_next(10, NOW).unwrap();
    let receipt = proxy.refuses(&tenant, &first(&tenant), "user");
    tenant.receive(&receipt, NOW).unwrap();
    assert!(tenant.user("emil").is_err() && tenant.user("fred").is_err());
    let renewal = first(&tenant);
    assert_eq!(renewal.tka.keys().collect::<Vec<_>>(), ["alice", "bob"]);
    assert_eq!((opened(&tenant, &renewal).seq, tenant.pending().count()), (2, 1));
}

#[test]
fn a_batch_stays_within_what_a_command_can_carry() {
    let (mut tenant, _) = tenant();
    let long: Vec<String> = (0..2500).map(|n| format!("{n:0>255}")).collect();
    tenant.add_users(&long, &everything(), NOW).unwrap();
    assert!(tenant.pending().count() > 1);
    let counts: usize = tenant.pending().map(|pending| pending.delivery().tka.len()).sum();
    assert_eq!(counts, long.len());
    assert!(tenant.pending().all(|pending| pending.delivery().to_json().is_ok()));
}

/// What a proxy says of itself that the tenant's appointment has made.
fn appointed(tenant: &mut Tenant, key: &SigningKey) -> Status {
    let (appointment, jws) = tenant.appoint(NOW).unwrap();
    Status {
        tenant: appointment.tenant,
        application: appointment.application,
        nonce: "n".to_owned(),
        at: NOW,
        state: trefoil_keys::status::State::Ready,
        claim_sha256: None,
        seq: appointment.seq,
        last_command_sha256: Some(trefoil_keys::signing::hash(&jws)),
        envelope_keys: vec![other_envelope_key()],
        receipt_key: key.verifying_key().clone(),
        tenant_key: Some(appointment.tenant_key),
        keyspaces: appointment.keyspaces.iter().map(|(name, check)| (name.clone(), check.epoch)).collect(),
        audit: None,
    }
}

const URL: &str = "https://proxy.example:6434";

fn pin() -> trefoil_keys::tls::Fingerprint {
    "11".repeat(32).parse().unwrap()
}

#[test]
fn a_new_proxy_gets_all_users_by_a_renewal_and_withdrawals_anew() {
    let (mut tenant, proxy) = tenant();
    for uid in ["alice", "bob", "carol"] {
        tenant.add_user(uid, &everything(), NOW).unwrap();
    }
    confirm_all(&mut tenant, &proxy);
    tenant.begin_renewal(NOW);
    tenant.renew_next(1, NOW).unwrap();
    tenant.add_user("dora", &everything(), NOW).unwrap();
    tenant.rekey_user("alice", NOW).unwrap();
    tenant.withdraw_user("carol", NOW).unwrap();
    let old = proxy.applies(&tenant, &first(&tenant));
    let key = SigningKey::generate().unwrap();
    let status = appointed(&mut tenant, &key);
    assert_eq!(status.seq, 7, "all numbers that were ever used");
    let taken = tenant.take_proxy(status, URL, pin(), NOW).unwrap();
    assert!(matches!(taken, Taken::Replaced { given_up: 3 }));
    let mut tenant = again(&tenant);

    assert!(matches!(tenant.receive(&old, NOW), Err(TenantError::ReceiptForged)));
    let withdrawal = opened(&tenant, &first(&tenant));
    assert_eq!((withdrawal.seq, tenant.pending().count()), (8, 1));
    assert!(withdrawal.op == Operation::Withdraw { sub: "carol".to_owned() });
    let new = Proxy { key, envelope: envelope_key_2048() };
    confirm_all(&mut tenant, &new);
    assert_eq!(tenant.renew_next(10, NOW).unwrap(), Some(3));
    let delivery = first(&tenant);
    let Recipients::Batch(tkp) = new.shares(&opened(&tenant, &delivery)).recipients else {
        panic!("a batch")
    };
    assert_eq!(tkp.keys().collect::<Vec<_>>(), ["alice", "bob", "dora"]);
    for (uid, tkp) in &tkp {
        assert!(fit(&tenant, &tenant.user(uid).unwrap().shares, &delivery.tka[uid], tkp));
    }
}

#[test]
fn only_a_proxy_of_this_tenant_key_that_is_not_behind_is_taken() {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    let key = SigningKey::generate().unwrap();
    confirm_all(&mut tenant, &proxy);
    let good = appointed(&mut tenant, &key);
    let early = Status { seq: 0, last_command_sha256: None, ..good.clone() };
    let other = SigningKey::generate().unwrap().verifying_key().clone();
    let epochs: BTreeMap<String, u8> = good.keyspaces.keys().map(|name| (name.clone(), 2)).collect();
    type Expected = fn(&TenantError) -> bool;
    let cases: [(Status, Expected); 7] = [
        (Status { tenant: "other".into(), ..good.clone() }, |e| matches!(e, TenantError::OtherTenant { .. })),
        (Status { application: "x".into(), ..good.clone() }, |e| {
            matches!(e, TenantError::OtherTenant { .. })
        }),
        (Status { state: trefoil_keys::status::State::Open, tenant_key: None, ..good.clone() }, |e| {
            matches!(e, TenantError::ProxyNotReady)
        }),
        (Status { tenant_key: Some(other), ..good.clone() }, |e| matches!(e, TenantError::ProxyOfAnotherKey)),
        (Status { keyspaces: epochs, ..good.clone() }, |e| matches!(e, TenantError::ProxyOfOtherKeyspaces)),
        (early, |e| matches!(e, TenantError::ProxyBehind { applied: 0, ours: 1 })),
        // The one that is known, set back.
        (Status { seq: 0, receipt_key: proxy.key.verifying_key().clone(), ..good.clone() }, |e| {
            matches!(e, TenantError::ProxyBehind { applied: 0, ours: 1 })
        }),
    ];
    for (status, expected) in cases {
        let refused = tenant.take_proxy(status, URL, pin(), NOW).err().unwrap();
        assert!(expected(&refused), "{refused}");
    }
    let known = Status { receipt_key: proxy.key.verifying_key().clone(), ..good.clone() };
    assert!(matches!(tenant.take_proxy(known, URL, pin(), NOW).unwrap(), Taken::Same));
    assert_eq!(tenant.envelope_key().unwrap().kid(), proxy.envelope.public_key().kid());
    assert!(tenant.renewal().is_none());
    assert!(matches!(tenant.take_proxy(good, URL, pin(), NOW).unwrap(), Taken::Replaced { given_up: 0 }));
    assert_eq!(tenant.announce(NOW).unwrap().0.current(), Some(&other_envelope_key()));
}

/// Of each user, whether the share is certain.
fn certain(tenant: &Tenant) -> Vec<bool> {
    tenant.users().map(|(_, user)| user.has_share()).collect()
}

#[test]
fn numbers_of_a_newer_vault_leave_no_share_certain_but_those_on_their_way() {
    let (mut tenant, proxy) = tenant();
    for uid in ["alice", "bob", "carol"] {
        tenant.add_user(uid, &everything(), NOW).unwrap();
    }
    confirm_all(&mut tenant, &proxy);
    tenant.rekey_user("bob", NOW).unwrap();
    tenant.add_user("dora", &everything(), NOW).unwrap();
    tenant.begin_renewal(NOW);
    tenant.renew_next(10, NOW).unwrap();
    // The newer one has sent commands 4 to 9.
    tenant.take_numbers_over(9, NOW).unwrap();
    let mut tenant = again(&tenant);
    assert_eq!(certain(&tenant), [false, true, false, true]);
    assert_eq!(tenant.pending().map(Pending::seq).collect::<Vec<_>>(), [10, 11]);
    assert!(tenant.renewal().is_some_and(|renewal| renewal.done == 0), "the renewal under way is given up");
    assert!(matches!(tenant.export_user("alice", false, NOW), Err(TenantError::ShareUnknown(_))));
    assert_eq!(tenant.without_share().collect::<Vec<_>>(), ["alice", "carol"]);

    // Refused, the new share of bob gives way to one that is not certain either.
    let refusal = proxy.refuses(&tenant, &first(&tenant), "subject");
    assert!(matches!(tenant.receive(&refusal, NOW).unwrap(), Received::Refused(_)));
    assert_eq!(certain(&tenant), [false, false, false, true]);
    // Nor is it certain which keyspaces they have: one may have been revoked.
    assert!(matches!(tenant.rekey_user("bob", NOW), Err(TenantError::GrantsUnknown(_))));
    tenant.grant("bob", &everything(), NOW).unwrap();
    tenant.grant("alice", &everything(), NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    let mut tenant = again(&tenant);
    assert_eq!(certain(&tenant), [true, true, false, true]);
    tenant.export_user("alice", false, NOW).unwrap();
    assert_eq!(tenant.renew_next(10, NOW).unwrap(), Some(3), "all but carol");
}

#[test]
fn a_vault_of_the_former_version_is_read() {
    let (mut tenant, _) = tenant();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    tenant.rekey_user("alice", NOW).unwrap();
    let json =
        String::from_utf8(trefoil_keys::private_file::to_compact_json(&tenant).unwrap().to_vec()).unwrap();
    assert_eq!(json.matches(",\"outdated\":false").count(), 2);
    let former: Tenant = serde_json::from_str(&json.replace(",\"outdated\":false", "")).unwrap();
    assert_eq!(certain(&former), [true]);
}

fn endpoint(url: &str) -> Endpoint {
    let fingerprint = "00".repeat(32).parse().unwrap();
    Endpoint { url: url.to_owned(), fingerprint, password: None, client: None }
}

/// The numbers of commands that a pair lacks.
fn lacks(tenant: &Tenant, pair: &str) -> Vec<u64> {
    tenant.lacked_by(pair).map(|(seq, _)| seq).collect()
}

#[test]
fn a_command_stays_until_every_pair_has_confirmed_it() {
    let (mut tenant, proxy) = tenant();
    for (name, url) in [(MAIN, "https://a"), ("second", "https://b"), ("third", "https://c")] {
        tenant.set_pair(name, endpoint(url), NOW).unwrap();
    }
    tenant.add_user("alice", &everything(), NOW).unwrap();
    let delivery = first(&tenant);
    let receipt = proxy.applies(&tenant, &delivery);
    assert!(matches!(tenant.receive_from("second", &receipt, NOW).unwrap(), Received::Applied));
    let mut tenant = again(&tenant);
    assert!(tenant.first_pending().is_none());
    assert_eq!([MAIN, "second", "third"].map(|pair| lacks(&tenant, pair)), [vec![1], vec![], vec![1]]);
    // The very same goes to the others, with its shares.
    let form = &tenant.forms_of(1)[0];
    assert_eq!((form.command == delivery.command, form.tka.contains_key("alice")), (true, true));

    let delivery = &tenant.forms_of(1)[0];
    let refusal = proxy.refuses(&tenant, delivery, "seq");
    let refused = tenant.follow("third", (1, delivery), &refusal, NOW).unwrap();
    assert!(matches!(refused, Followed::Refused { code } if code == "seq"));
    let receipt = proxy.applies(&tenant, delivery);
    assert!(matches!(tenant.take_receipt(MAIN, &receipt, NOW).unwrap(), Received::Applied));
    assert_eq!([MAIN, "third"].map(|pair| lacks(&tenant, pair)), [vec![], vec![1]]);
    // Another command's receipt is none.
    tenant.add_user("bob", &everything(), NOW).unwrap();
    let other = proxy.applies(&tenant, &first(&tenant));
    assert!(tenant.follow("third", (1, delivery), &other, NOW).is_err());
    tenant.remove_pair("third", NOW).unwrap();
    assert_eq!(tenant.partly_applied().count(), 0, "nobody else lacks it");
    assert!(matches!(tenant.remove_pair("third", NOW), Err(TenantError::PairUnknown(_))));
}

#[test]
fn what_only_pairs_had_that_are_gone_is_for_the_first_one_to_decide() {
    let (mut tenant, proxy) = tenant();
    for (name, url) in [(MAIN, "https://a"), ("second", "https://b"), ("third", "https://c")] {
        tenant.set_pair(name, endpoint(url), NOW).unwrap();
    }
    for uid in ["alice", "bob", "carol"] {
        tenant.add_user(uid, &everything(), NOW).unwrap();
    }
    for _ in 0..2 {
        let receipt = proxy.applies(&tenant, &first(&tenant));
        assert!(matches!(tenant.receive_from("second", &receipt, NOW).unwrap(), Received::Applied));
    }
    tenant.remove_pair("third", NOW).unwrap();
    assert_eq!(lacks(&tenant, MAIN), [1, 2], "the second has them");
    tenant.remove_pair("second", NOW).unwrap();
    let tenant = &mut again(&tenant);
    assert_eq!(tenant.partly_applied().count(), 0);
    assert!(tenant.pending().map(Pending::seq).eq([1, 2, 3]));
    // The first one has applied others under these numbers.
    assert!(tenant.take_numbers_over(2, NOW).unwrap().is_none());
    assert!(tenant.pending().map(Pending::seq).eq([3, 4, 5]));
    confirm_all(tenant, &proxy);
}

#[test]
fn what_a_pair_lacks_for_long_is_signed_anew_under_its_number() {
    let (mut tenant, proxy) = tenant();
    tenant.set_pair(MAIN, endpoint("https://a"), NOW).unwrap();
    tenant.set_pair("second", endpoint("https://b"), NOW).unwrap();
    tenant.add_user("alice", &everything(), NOW).unwrap();
    tenant.withdraw_user("alice", NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    assert_eq!(lacks(&tenant, "second"), [1, 2]);
    assert_eq!(tenant.sign_expired(NOW).unwrap(), 0);
    assert_eq!(tenant.sign_expired(NOW + 8 * DAY).unwrap(), 2);
    let mut tenant = again(&tenant);
    let forms = tenant.forms_of(2);
    assert_eq!(forms.len(), 2, "the former may have arrived");
    let newest = opened(&tenant, &forms[0]);
    assert_eq!((newest.seq, newest.iat), (2, NOW + 8 * DAY));
    let receipt = proxy.applies(&tenant, &forms[1]);
    assert!(matches!(tenant.take_receipt("second", &receipt, NOW).unwrap(), Received::Applied));
    assert_eq!(lacks(&tenant, "second"), [1]);
}

#[test]
fn several_proxies_are_not_told_to_make_keys_of_their_own() {
    let (mut tenant, _) = tenant();
    tenant.set_pair(MAIN, endpoint("https://a"), NOW).unwrap();
    tenant.set_pair("second", endpoint("https://b"), NOW).unwrap();
    assert!(matches!(tenant.rotate_proxy_key(DAY, NOW), Err(TenantError::RotationOfPairs)));
    tenant.remove_pair("second", NOW).unwrap();
    tenant.rotate_proxy_key(DAY, NOW).unwrap();
    let refused = tenant.set_pair("second", endpoint("https://b"), NOW);
    assert!(matches!(refused, Err(TenantError::RotationPending { seq: 1 })));
}
