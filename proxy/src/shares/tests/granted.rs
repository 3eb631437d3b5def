//! Keyspaces that a user has, has lost or has not got yet; and what is shown without one.

use super::*;

/// Alice's bundle with both keyspaces.
fn both(tenant: &Tenant) -> UserEnvelope {
    let mut claims = tenant.claims();
    let billing = EpochShare { epoch: 1, share: tenant.billing.user.duplicate() };
    claims.shares.insert("billing".to_owned(), billing);
    claims
}

/// The tenant's shares and the application's, after `billing` was taken from alice.
fn revoked(tenant: &Tenant, shares: &Shares) -> Arc<ApplicationShare> {
    let mut held = tenant.held();
    held.remove("billing");
    shares.set_user("alice", Some(held));
    Arc::new(ApplicationShare([("main".to_owned(), tenant.main.application.duplicate())].into()))
}

const MASKS: &str = r#"
    [tables."public.t"]
    a = { type = "text", mode = "deterministic" }
    refused = { type = "text", mode = "randomized", keyspace = "billing" }
    null = { type = "text", mode = "randomized", keyspace = "billing", denied = "null" }
    text = { type = "text", mode = "randomized", keyspace = "billing", denied = { text = "gone" } }
    last = { type = "text", mode = "deterministic", keyspace = "billing", denied = { last = 4 } }
"#;

fn column(name: &str) -> Arc<ProtectedColumn> {
    let policy = Policy::parse(MASKS).unwrap();
    policy.columns().iter().find(|column| column.name == name).unwrap().clone()
}

/// What a burst shows of a cell: the text, or NULL.
fn shown(burst: &mut Burst, name: &str, cell: &[u8]) -> Result<Option<String>, ClientError> {
    let mut out = Vec::new();
    match burst.show(&column(name), cell, &mut out)? {
        Sight::Null => Ok(None),
        Sight::Value => Ok(Some(String::from_utf8(out).unwrap())),
    }
}

fn sealed(burst: &mut Burst, name: &str) -> Vec<u8> {
    let mut cell = Vec::new();
    burst.seal(&column(name), b"078-05-1120", &mut cell).unwrap();
    cell
}

fn code<T>(result: Result<T, ClientError>) -> Option<Code> {
    result.err().and_then(|error| error.code)
}

#[test]
fn a_bundle_from_before_a_revoke_serves_what_is_left() {
    let tenant = Tenant::new();
    let (shares, before) = (tenant.shares(), tenant.application());
    let envelope = seal(&both(&tenant));
    let live = admit(&shares, "alice", &envelope, &before, at(NOW)).unwrap();
    let cell = sealed(&mut shares.burst(&live, &before), "refused");
    assert_eq!(shown(&mut shares.burst(&live, &before), "refused", &cell).unwrap().unwrap(), "078-05-1120");

    let after = revoked(&tenant, &shares);
    // At once, even for a request that was admitted before and has both of the old shares.
    for (live, application) in [
        (&live, &before),
        (&admit(&shares, "alice", &envelope, &after, at(NOW)).unwrap(), &after),
        (&admit(&shares, "alice", &seal(&both(&tenant)), &after, at(NOW)).unwrap(), &after),
    ] {
        let mut burst = shares.burst(live, application);
        assert_eq!(code(shown(&mut burst, "refused", &cell)), Some(Code::KeyspaceNotGranted));
        assert_eq!(shown(&mut burst, "null", &cell), Ok(None));
        let mut out = Vec::new();
        assert_eq!(code(burst.open(&column("null"), &cell, &mut out)), Some(Code::KeyspaceNotGranted));
        assert_eq!(code(burst.seal(&column("null"), b"x", &mut out)), Some(Code::KeyspaceNotGranted));
        assert!(out.is_empty());
        burst.seal(&column("a"), b"x", &mut out).unwrap();
        assert!(!live.grants("billing").unwrap() && live.grants("main").unwrap());
    }
    // An application that kept the old share gains nothing by sending it.
    let live = admit(&shares, "alice", &envelope, &before, at(NOW)).unwrap();
    assert_eq!(
        code(shown(&mut shares.burst(&live, &before), "refused", &cell)),
        Some(Code::KeyspaceNotGranted)
    );
}

#[test]
fn a_bundle_from_before_a_grant_serves_what_it_has() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let live = admit(&shares, "alice", &seal(&tenant.claims()), &application, at(NOW)).unwrap();
    let mut burst = shares.burst(&live, &application);
    burst.seal(&column("a"), b"x", &mut Vec::new()).unwrap();
    assert_eq!(code(burst.seal(&column("null"), b"x", &mut Vec::new())), Some(Code::KeyspaceNotGranted));
    assert_eq!(shown(&mut burst, "null", b"whatever"), Ok(None));
}

#[test]
fn a_share_from_before_a_grant_was_taken_back_and_given_anew_is_an_error_and_no_mask() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let mut claims = both(&tenant);
    claims.shares.insert("billing".to_owned(), EpochShare { epoch: 1, share: Share::random() });
    let live = admit(&shares, "alice", &seal(&claims), &application, at(NOW)).unwrap();
    let mut burst = shares.burst(&live, &application);
    burst.seal(&column("a"), b"x", &mut Vec::new()).unwrap();
    assert_eq!(code(shown(&mut burst, "null", b"whatever")), Some(Code::ShareRejected));
}

/// Anybody can seal an envelope to the proxy: one that shows no share of the user's shows nothing.
#[test]
fn an_envelope_without_one_fitting_share_is_nobodys() {
    let tenant = Tenant::new();
    let shares = tenant.shares();
    let application = revoked(&tenant, &shares);
    let forged = |keyspace: &str, share: Share| {
        let shares = [(keyspace.to_owned(), EpochShare { epoch: 1, share })].into();
        seal(&UserEnvelope { shares, ..tenant.claims() })
    };
    let check = |envelope: &str| checked(&shares, "alice", envelope, &application, NOW).map(drop);
    assert_eq!(check(&forged("billing", tenant.billing.user.duplicate())), Err(Rejection::Keyspace));
    assert_eq!(check(&forged("unheard of", Share::random())), Err(Rejection::Keyspace));
    assert_eq!(check(&forged("main", Share::random())), Err(Rejection::CheckValue));
    assert_eq!(check(&seal(&tenant.claims())), Ok(()));
}

#[test]
fn masks_show_what_the_policy_says_and_only_by_the_keys_for_it() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let all = admit(&shares, "alice", &seal(&both(&tenant)), &application, at(NOW)).unwrap();
    let main = admit(&shares, "alice", &seal(&tenant.claims()), &application, at(NOW)).unwrap();
    let mut billing_only = both(&tenant);
    billing_only.shares.remove("main");
    let billing = admit(&shares, "alice", &seal(&billing_only), &application, at(NOW)).unwrap();
    let expected = [("null", None), ("text", Some("gone")), ("last", Some("****1120"))];
    for (name, masked) in expected {
        let cell = sealed(&mut shares.burst(&all, &application), name);
        let seen = |live| shown(&mut shares.burst(live, &application), name, &cell);
        assert_eq!(seen(&all).unwrap().as_deref(), Some("078-05-1120"));
        assert_eq!(seen(&billing).unwrap().as_deref(), Some("078-05-1120"), "the mask's key is not needed");
        assert_eq!(seen(&main).unwrap().as_deref(), masked);
    }
    // A writer needs the mask's key, too; and a mask that fails its check is an error.
    let seal_last = |live| shares.burst(live, &application).seal(&column("last"), b"x", &mut Vec::new());
    assert_eq!(seal_last(&all), Ok(()));
    for live in [&main, &billing] {
        assert_eq!(code(seal_last(live)), Some(Code::KeyspaceNotGranted));
    }
    let mut cell = sealed(&mut shares.burst(&all, &application), "last");
    assert_eq!(cell, sealed(&mut shares.burst(&all, &application), "last"), "deterministic");
    *cell.last_mut().unwrap() ^= 1;
    assert_eq!(code(shown(&mut shares.burst(&main, &application), "last", &cell)), Some(Code::Corrupted));
}

#[test]
fn a_withdrawn_user_is_shown_an_error_and_no_mask() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let live = admit(&shares, "alice", &seal(&tenant.claims()), &application, at(NOW)).unwrap();
    shares.set_user("alice", None);
    let mut burst = shares.burst(&live, &application);
    for name in ["null", "text", "last"] {
        assert_eq!(code(shown(&mut burst, name, b"whatever")), Some(Code::ShareRejected));
    }
    assert!(live.grants("main").is_err());
}
