//! Keyspaces that users are granted and lose.

use super::super::grants::Regranted;
use super::*;
use std::collections::BTreeSet;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn keyspaces(of: &[&str]) -> Grants {
    Grants { keyspaces: names(of), ..Grants::default() }
}

fn roles(of: &[&str]) -> Grants {
    Grants { roles: names(of), ..Grants::default() }
}

/// What the command brings application and proxy for a user, by keyspace: both must be the same.
fn halves(tenant: &Tenant, proxy: &Proxy, uid: &str) -> (Shares, Shares) {
    let mut delivery = first(tenant);
    let command = opened(tenant, &delivery);
    let tkp = match proxy.shares(&command).recipients {
        Recipients::User { tkp, .. } => tkp,
        Recipients::Batch(mut users) => users.remove(uid).unwrap(),
    };
    let tka = delivery.tka.remove(uid).unwrap();
    assert!(tka.keys().eq(tkp.keys()));
    (tka, tkp)
}

/// Whether the shares give the tenant keys of exactly these keyspaces.
fn fit_for(tenant: &Tenant, of: &[&str], user: &Shares, (tka, tkp): &(Shares, Shares)) -> bool {
    let checks = tenant.check_values();
    names(of).iter().eq(tka.keys())
        && of.iter().all(|name| {
            let Some(user) = user.get(*name) else { return false };
            let key = share::combine(&user.share, &tka[*name].share, &tkp[*name].share);
            check::verify(&key, name, 1, &checks[*name].value)
        })
}

fn with_alice(grants: &Grants) -> (Tenant, Proxy, Shares) {
    let (mut tenant, proxy) = tenant();
    tenant.add_user("alice", grants, NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    let bundle = tenant.export_user("alice", false, NOW).unwrap();
    (tenant, proxy, bundle.shares)
}

#[test]
fn a_new_user_gets_what_is_said_and_main_where_nothing_is() {
    let (tenant, _) = tenant();
    assert_eq!(tenant.default_grants().unwrap(), keyspaces(&["main"]));
    let asked = tenant.known_grants(&["billing".to_owned()], &[]).unwrap();
    assert_eq!(asked, keyspaces(&["billing"]));
    let unknown = tenant.known_grants(&["secrets".to_owned()], &[]).unwrap_err().to_string();
    assert!(unknown.contains("secrets; the tenant has billing, main"), "{unknown}");
    assert!(matches!(tenant.known_grants(&[], &["x".to_owned()]), Err(TenantError::RoleUnknown(_))));

    let (mut tenant, _, bundle) = with_alice(&keyspaces(&["billing"]));
    assert!(bundle.keys().eq(["billing"]));
    // Without main, nobody guesses.
    tenant.keyspaces.remove("main");
    assert_eq!(tenant.default_grants().unwrap(), keyspaces(&["billing"]));
    let more = Keyspace { epoch: 1, tenant_key: TenantKey::generate() };
    tenant.keyspaces.insert("more".to_owned(), more);
    assert!(matches!(tenant.default_grants(), Err(TenantError::GrantsNeeded)));
}

#[test]
fn a_grant_adds_a_share_and_leaves_the_others_of_the_user_as_they_are() {
    let (mut tenant, proxy, before) = with_alice(&keyspaces(&["main"]));
    let changed = tenant.grant("alice", &keyspaces(&["billing"]), NOW).unwrap();
    let expected = Regranted {
        user: "alice".to_owned(),
        keyspaces: names(&["billing", "main"]),
        gained: names(&["billing"]),
        lost: names(&[]),
    };
    assert_eq!(changed, [expected]);
    let tenant = &mut again(&tenant);
    let half = halves(tenant, &proxy, "alice");
    // The bundle from before goes on working, for what it has.
    assert!(half.0.keys().eq(["billing", "main"]));
    let key = share::combine(&before["main"].share, &half.0["main"].share, &half.1["main"].share);
    assert!(check::verify(&key, "main", 1, &tenant.check_values()["main"].value));
    // A new one is exported without being asked whether the old one is lost.
    let after = tenant.export_user("alice", false, NOW).unwrap().shares;
    assert!(fit_for(tenant, &["billing", "main"], &after, &half));
    assert!(after["main"].share == before["main"].share);
    assert!(tenant.grant("alice", &keyspaces(&["billing"]), NOW).unwrap().is_empty(), "nothing is new");
}

#[test]
fn a_revoked_share_is_in_no_half_any_more_and_comes_back_as_another() {
    let (mut tenant, proxy, before) = with_alice(&everything());
    let changed = tenant.revoke("alice", &keyspaces(&["billing"]), NOW).unwrap();
    assert_eq!((&changed[0].lost, &changed[0].gained), (&names(&["billing"]), &names(&[])));
    assert!(fit_for(&tenant, &["main"], &before, &halves(&tenant, &proxy, "alice")));
    assert!(tenant.user("alice").unwrap().shares.keys().eq(["main"]));
    // Exported as before: nothing in the bundle is new.
    assert!(matches!(tenant.export_user("alice", false, NOW), Err(TenantError::ExportedBefore(_))));
    confirm_all(&mut tenant, &proxy);

    tenant.grant("alice", &keyspaces(&["billing"]), NOW).unwrap();
    let half = halves(&tenant, &proxy, "alice");
    assert!(!fit_for(&tenant, &["billing", "main"], &before, &half), "the old share stays dead");
    let after = tenant.export_user("alice", false, NOW).unwrap().shares;
    assert!(fit_for(&tenant, &["billing", "main"], &after, &half));
}

#[test]
fn what_cannot_be_revoked() {
    let (mut tenant, _, _) = with_alice(&keyspaces(&["main"]));
    tenant.set_role("finance", &["billing".to_owned()], NOW).unwrap();
    let billing = keyspaces(&["billing"]);
    assert!(matches!(tenant.revoke("alice", &billing, NOW), Err(TenantError::NotGranted { .. })));
    let last = tenant.revoke("alice", &keyspaces(&["main"]), NOW).unwrap_err();
    assert!(matches!(&last, TenantError::LeftWithNothing(uid) if uid == "alice"), "{last}");
    tenant.grant("alice", &roles(&["finance"]), NOW).unwrap();
    let by_role = tenant.revoke("alice", &billing, NOW).unwrap_err().to_string();
    assert!(by_role.contains("revoke alice --role finance"), "{by_role}");
    assert!(matches!(tenant.revoke("alice", &roles(&["x"]), NOW), Err(TenantError::NotGranted { .. })));
    assert!(tenant.revoke("alice", &roles(&["finance"]), NOW).is_ok());
    tenant.withdraw_user("alice", NOW).unwrap();
    assert!(matches!(tenant.grant("alice", &billing, NOW), Err(TenantError::UserWithdrawn(_))));
    assert!(matches!(tenant.grant("bob", &billing, NOW), Err(TenantError::UserUnknown(_))));
}

#[test]
fn changing_a_role_changes_all_that_have_it_by_one_command() {
    let (mut tenant, proxy) = tenant();
    tenant.set_role("doctor", &["main".to_owned()], NOW).unwrap();
    tenant.add_users(&["a", "b", "c"].map(str::to_owned), &roles(&["doctor"]), NOW).unwrap();
    tenant.add_user("clerk", &keyspaces(&["main"]), NOW).unwrap();
    // Who has the keyspace anyway gets no command.
    tenant.grant("c", &keyspaces(&["billing"]), NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    let both = ["main", "billing"].map(str::to_owned);
    let changed = tenant.set_role("doctor", &both, NOW).unwrap();
    assert_eq!(changed.iter().map(|of| of.user.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let tenant = &mut again(&tenant);
    assert_eq!(tenant.pending().count(), 1);
    let delivery = first(tenant);
    assert!(opened(tenant, &delivery).op == Operation::Renew);
    assert!(delivery.tka.keys().eq(["a", "b"]));
    for uid in ["a", "b"] {
        let bundle = tenant.export_user(uid, false, NOW).unwrap().shares;
        assert!(fit_for(tenant, &["billing", "main"], &bundle, &halves(tenant, &proxy, uid)));
    }
    let by_role = tenant.by_role(tenant.user("a").unwrap());
    assert_eq!(by_role["billing"], ["doctor"]);
    assert!(tenant.history_of("b").any(|entry| matches!(entry.event, Event::GrantsChanged { .. })));
    assert!(matches!(tenant.remove_role("doctor", NOW), Err(TenantError::RoleInUse { count: 3, .. })));
    for uid in ["a", "b", "c"] {
        tenant.grant(uid, &keyspaces(&["main"]), NOW).unwrap();
        tenant.revoke(uid, &roles(&["doctor"]), NOW).unwrap();
    }
    tenant.remove_role("doctor", NOW).unwrap();
    assert!(tenant.roles().is_empty());
}

#[test]
fn a_refused_change_is_undone() {
    let (mut tenant, proxy, before) = with_alice(&keyspaces(&["main"]));
    tenant.set_role("finance", &["billing".to_owned()], NOW).unwrap();
    tenant.grant("alice", &roles(&["finance"]), NOW).unwrap();
    let receipt = proxy.refuses(&tenant, &first(&tenant), "keyspace");
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Refused(_)));
    let alice = tenant.user("alice").unwrap();
    assert!(alice.grants == keyspaces(&["main"]) && alice.shares["main"].share == before["main"].share);
    assert!(alice.shares.keys().eq(["main"]));
    assert!(tenant.refused()[0].command.contains("other keyspaces for alice"));
}

#[test]
fn a_user_who_was_refused_is_left_out_of_later_changes() {
    let (mut tenant, proxy) = tenant();
    tenant.set_role("doctor", &["main".to_owned()], NOW).unwrap();
    tenant.add_user("b", &roles(&["doctor"]), NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    tenant.add_user("a", &roles(&["doctor"]), NOW).unwrap();
    tenant.set_role("doctor", &["main", "billing"].map(str::to_owned), NOW).unwrap();
    let receipt = proxy.refuses(&tenant, &first(&tenant), "user");
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Refused(_)));
    assert!(first(&tenant).tka.keys().eq(["b"]));
    let receipt = proxy.refuses(&tenant, &first(&tenant), "keyspace");
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Refused(_)));
    assert!(tenant.user("a").is_err());
    assert!(tenant.user("b").unwrap().shares.keys().eq(["main"]));
}

#[test]
fn a_new_share_is_for_what_the_user_is_granted() {
    let (mut tenant, proxy, _) = with_alice(&keyspaces(&["billing"]));
    tenant.rekey_user("alice", NOW).unwrap();
    let bundle = tenant.export_user("alice", false, NOW).unwrap().shares;
    assert!(fit_for(&tenant, &["billing"], &bundle, &halves(&tenant, &proxy, "alice")));
    confirm_all(&mut tenant, &proxy);
    tenant.begin_renewal(NOW);
    tenant.renew_next(10, NOW).unwrap();
    assert!(fit_for(&tenant, &["billing"], &bundle, &halves(&tenant, &proxy, "alice")));
}

#[test]
fn a_recovered_vault_asks_what_a_user_is_granted() {
    let (mut tenant, proxy) = tenant();
    assert!(tenant.find_user("alice", NOW));
    assert!(matches!(tenant.rekey_user("alice", NOW), Err(TenantError::GrantsUnknown(_))));
    tenant.grant("alice", &keyspaces(&["billing"]), NOW).unwrap();
    let bundle = tenant.export_user("alice", false, NOW).unwrap().shares;
    assert!(fit_for(&tenant, &["billing"], &bundle, &halves(&tenant, &proxy, "alice")));
    assert!(tenant.rekey_user("alice", NOW).is_ok());
}

#[test]
fn a_vault_from_before_there_were_grants_grants_what_users_have() {
    let (mut tenant, proxy, bundle) = with_alice(&everything());
    tenant.add_user("bob", &everything(), NOW).unwrap();
    confirm_all(&mut tenant, &proxy);
    tenant.withdraw_user("bob", NOW).unwrap();
    let mut json = serde_json::to_value(&tenant).unwrap();
    drop(json.as_object_mut().unwrap().remove("roles"));
    for user in json["users"].as_object_mut().unwrap().values_mut() {
        drop(user.as_object_mut().unwrap().remove("grants"));
    }
    let former = &mut json["outbox"]["pending"][0]["work"]["user"]["former"];
    drop(former.as_object_mut().unwrap().remove("grants").unwrap());
    let text = zeroize::Zeroizing::new(json.to_string());
    let mut read: Tenant = serde_json::from_str(&text).unwrap();
    read.grant_what_users_have();
    assert!(read.user("alice").unwrap().grants == everything());
    assert!(read.user("bob").unwrap().grants == Grants::default());
    let receipt = proxy.refuses(&read, &first(&read), "no");
    read.receive(&receipt, NOW).unwrap();
    assert!(read.user("bob").unwrap().grants == everything());
    assert!(read.user("alice").unwrap().shares["main"].share == bundle["main"].share);
}

#[test]
fn a_grant_brings_no_share_back_to_life_that_may_have_been_replaced() {
    let (mut tenant, proxy, old) = with_alice(&keyspaces(&["main"]));
    // A newer copy of the vault has sent commands since, perhaps a rekey of alice.
    tenant.take_numbers_over(5, NOW).unwrap();
    let changed = tenant.grant("alice", &keyspaces(&["billing", "main"]), NOW).unwrap();
    assert_eq!(changed[0].gained, names(&["billing", "main"]));
    assert!(!fit_for(&tenant, &["billing", "main"], &old, &halves(&tenant, &proxy, "alice")));
    let bundle = tenant.export_user("alice", false, NOW).unwrap();
    assert!(fit_for(&tenant, &["billing", "main"], &bundle.shares, &halves(&tenant, &proxy, "alice")));
    assert_ne!(bundle.shares["main"].share.to_base64url(), old["main"].share.to_base64url());
}

#[test]
fn a_new_keyspace_is_told_to_the_proxy_and_its_key_is_not() {
    let (mut tenant, proxy, _) = with_alice(&keyspaces(&["main"]));
    tenant.add_keyspace("finance", NOW).unwrap();
    let tenant = &mut again(&tenant);
    let delivery = first(tenant);
    let command = opened(tenant, &delivery);
    let Operation::AddKeyspace { name, check } = &command.op else { panic!() };
    assert_eq!((name.as_str(), Some(check)), ("finance", tenant.check_values().get("finance")));
    assert!(delivery.tka.is_empty() && command.tkp.is_none());
    assert!(matches!(tenant.add_keyspace("finance", NOW), Err(TenantError::KeyspaceExists(_))));
    for wrong in ["", "a b", "a:b", "ä", &"a".repeat(64)] {
        assert!(matches!(tenant.add_keyspace(wrong, NOW), Err(TenantError::KeyspaceName(_))), "{wrong}");
    }
    tenant.grant("alice", &keyspaces(&["finance"]), NOW).unwrap();
    confirm_all(tenant, &proxy);
    let bundle = tenant.export_user("alice", false, NOW).unwrap();
    assert!(bundle.shares.keys().eq(["finance", "main"]));
}

#[test]
fn a_keyspace_that_the_proxy_has_of_another_copy_is_given_up_unless_it_may_be_this_one() {
    let (mut tenant, proxy, _) = with_alice(&keyspaces(&["main"]));
    tenant.add_keyspace("finance", NOW).unwrap();
    let receipt = proxy.refuses(&tenant, &first(&tenant), "exists");
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Refused(_)));
    assert!(!tenant.keyspaces.contains_key("finance"));

    tenant.add_keyspace("finance", NOW).unwrap();
    let before = tenant.check_values();
    tenant.renumber(tenant.next_seq(), NOW).unwrap();
    let receipt = proxy.refuses(&tenant, &first(&tenant), "exists");
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::NotYet { .. }));
    assert_eq!(tenant.check_values(), before, "an earlier form of the command may have been applied");
}

#[test]
fn what_a_recovered_vault_grants_stays_when_the_proxys_numbers_are_taken_over() {
    let (mut tenant, proxy) = tenant();
    for uid in ["alice", "bob"] {
        assert!(tenant.find_user(uid, NOW));
    }
    tenant.grant("alice", &keyspaces(&["main"]), NOW).unwrap();
    assert!(tenant.take_numbers_over(7, NOW).unwrap().is_none());
    assert!(tenant.without_share().eq(["bob"]));
    assert_eq!((first(&tenant).tka.len(), tenant.next_seq()), (1, 9));
    let bundle = tenant.export_user("alice", false, NOW).unwrap();
    assert!(fit_for(&tenant, &["main"], &bundle.shares, &halves(&tenant, &proxy, "alice")));
}

#[test]
fn with_a_keyspace_that_is_refused_all_shares_in_it_are_undone() {
    let (mut tenant, proxy, before) = with_alice(&keyspaces(&["main"]));
    tenant.add_keyspace("finance", NOW).unwrap();
    tenant.set_role("clerk", &["finance".to_owned(), "main".to_owned()], NOW).unwrap();
    tenant.add_user("bob", &keyspaces(&["finance"]), NOW).unwrap();
    tenant.add_users(&["carl".to_owned(), "dora".to_owned()], &roles(&["clerk"]), NOW).unwrap();
    tenant.add_user("emma", &keyspaces(&["main"]), NOW).unwrap();
    tenant.grant("alice", &roles(&["clerk"]), NOW).unwrap();
    tenant.rekey_user("alice", NOW).unwrap();
    tenant.begin_renewal(NOW);
    tenant.renew_next(10, NOW).unwrap();

    let receipt = proxy.refuses(&tenant, &first(&tenant), "exists");
    assert!(matches!(tenant.receive(&receipt, NOW).unwrap(), Received::Refused(_)));
    let tenant = &mut again(&tenant);
    assert!(tenant.pending().map(|pending| pending.work.describe()).eq(["user add emma"]));
    assert!(tenant.users().map(|(uid, _)| uid).eq(["alice", "emma"]));
    assert_eq!(tenant.roles()["clerk"], names(&["main"]));
    let alice = tenant.user("alice").unwrap();
    assert_eq!(alice.grants, keyspaces(&["main"]));
    assert!(alice.shares.keys().eq(["main"]));
    assert_eq!(alice.shares["main"].share.to_base64url(), before["main"].share.to_base64url());

    // The renewal that was under way comes to all that are left.
    assert_eq!(tenant.renew_next(10, NOW).unwrap(), Some(2));
    confirm_all(tenant, &proxy);
}

#[test]
fn keyspaces_beside_a_share_that_a_newer_vault_may_have_replaced_are_undone() {
    let (mut tenant, _, before) = with_alice(&keyspaces(&["main"]));
    tenant.grant("alice", &keyspaces(&["billing"]), NOW).unwrap();
    // The share of main in this command is the one that was stolen, and rekeyed by the newer vault.
    let undone = tenant.take_numbers_over(7, NOW).unwrap().unwrap();
    assert!(undone.message.contains("user rekey"), "{}", undone.message);
    let mut tenant = again(&tenant);
    assert!(tenant.first_pending().is_none());
    assert_eq!((tenant.next_seq(), tenant.refused().len()), (8, 1));
    let alice = tenant.user("alice").unwrap();
    assert!(!alice.has_share() && alice.grants == Grants::default());
    // Granted once more, all of its shares are new.
    tenant.grant("alice", &keyspaces(&["billing", "main"]), NOW).unwrap();
    let alice = tenant.user("alice").unwrap();
    assert!(alice.has_share());
    assert!(alice.shares["main"].share.as_bytes() != before["main"].share.as_bytes());
}
