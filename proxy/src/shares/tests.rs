//! Every rejection beside its success.

use super::*;
use crate::error::{Code, sqlstate};
use crate::policy::{Policy, ProtectedColumn};
use std::sync::LazyLock;
use trefoil_keys::bundle::{self, IssuedShare};
use trefoil_keys::check;
use trefoil_keys::envelope::{EnvelopePrivateKey, EpochShare, Scope, UserEnvelope};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::share::{self, Triple};
use zeroize::Zeroizing;

mod granted;

const NOW: u64 = 1_800_000_000;
const LIMITS: Limits = Limits { max_validity: Duration::from_secs(60), clock_skew: Duration::from_secs(5) };

/// Making an RSA key takes seconds: one for all tests, and one that is not the proxy's.
static KEYS: LazyLock<[Zeroizing<String>; 2]> = LazyLock::new(|| {
    std::array::from_fn(|_| EnvelopePrivateKey::generate().unwrap().to_pkcs8_pem().unwrap())
});

/// One user, `alice`, with the keyspaces `main` and `billing`, and the application `clinic`.
struct Tenant {
    main: Triple,
    billing: Triple,
    check_values: BTreeMap<String, CheckValue>,
}

impl Tenant {
    fn new() -> Self {
        let tenant_keys = [TenantKey::generate(), TenantKey::generate()];
        let [main, billing] = &tenant_keys;
        let check = |tk: &TenantKey, name: &str| {
            (name.to_owned(), CheckValue { epoch: 1, value: check::value(tk, name, 1) })
        };
        Self {
            main: share::split(main),
            billing: share::split(billing),
            check_values: [check(main, "main"), check(billing, "billing")].into(),
        }
    }

    fn keyring(&self) -> Keyring {
        Keyring {
            closed: None,
            applications: ["clinic".to_owned()].into(),
            keys: vec![key(0, None)],
            check_values: self.check_values.clone(),
        }
    }

    /// Alice's TKp's.
    fn held(&self) -> bundle::Shares {
        let issued = |share: &Share| IssuedShare { epoch: 1, share: share.duplicate() };
        let (main, billing) = (issued(&self.main.proxy), issued(&self.billing.proxy));
        [("main".to_owned(), main), ("billing".to_owned(), billing)].into()
    }

    fn shares(&self) -> Shares {
        let shares = Shares::started(self.keyring(), LIMITS, NOW - 6);
        shares.set_user("alice", Some(self.held()));
        shares.set_user("carol", None);
        shares
    }

    fn application(&self) -> Arc<ApplicationShare> {
        Arc::new(ApplicationShare(
            [
                ("main".to_owned(), self.main.application.duplicate()),
                ("billing".to_owned(), self.billing.application.duplicate()),
            ]
            .into(),
        ))
    }

    fn claims(&self) -> UserEnvelope {
        let share = EpochShare { epoch: 1, share: self.main.user.duplicate() };
        UserEnvelope {
            sub: "alice".to_owned(),
            iat: NOW,
            exp: NOW + 30,
            jti: "1".to_owned(),
            aud: "clinic".to_owned(),
            scope: Scope::Write,
            max_uses: None,
            tables: None,
            shares: [("main".to_owned(), share)].into(),
        }
    }

    /// What becomes of alice's envelope, changed in one way, at `now`.
    fn outcome(&self, now: u64, change: impl FnOnce(&mut UserEnvelope)) -> Result<(), Rejection> {
        let mut claims = self.claims();
        change(&mut claims);
        checked(&self.shares(), "alice", &seal(&claims), &self.application(), now).map(drop)
    }
}

fn key(which: usize, retires: Option<u64>) -> EnvelopeKey {
    EnvelopeKey { key: Arc::new(EnvelopePrivateKey::from_pkcs8_pem(&KEYS[which]).unwrap()), retires }
}

fn seal(claims: &UserEnvelope) -> String {
    let key = EnvelopePrivateKey::from_pkcs8_pem(&KEYS[0]).unwrap();
    envelope::seal(claims, key.public_key()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn columns() -> Vec<Arc<ProtectedColumn>> {
    let text = r#"
        [tables."public.t"]
        a = { type = "text", mode = "deterministic" }
        b = { type = "text", mode = "randomized", keyspace = "billing" }
    "#;
    Policy::parse(text).unwrap().columns().to_vec()
}

fn admit(
    shares: &Shares,
    user: &str,
    envelope: &str,
    application: &Arc<ApplicationShare>,
    now: SystemTime,
) -> Result<Arc<LiveEnvelope>, ClientError> {
    shares.admit(user, &Envelope::new(envelope), application, now).map(|burst| Arc::clone(burst.live()))
}

fn checked(
    shares: &Shares,
    user: &str,
    envelope: &str,
    application: &ApplicationShare,
    now: u64,
) -> Result<Arc<LiveEnvelope>, Rejection> {
    shares
        .checked(&shares.keyring.load(), user, &Envelope::new(envelope), application, now)
        .map(|(live, _)| live)
}

#[test]
fn a_check_is_no_use() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&UserEnvelope { max_uses: Some(1), ..tenant.claims() });
    let check = || shares.check("alice", &Envelope::new(&*envelope), &application, at(NOW));
    assert!(check().unwrap().is_limited());
    let live = check().unwrap();
    assert_eq!(live.issued(), tenant.claims().iat);
    let used = admit(&shares, "alice", &envelope, &application, at(NOW)).unwrap();
    assert!(Arc::ptr_eq(&live, &used));
    // Spent, it is no good.
    assert_eq!(check().err().unwrap().code, Some(Code::ShareRejected));
    let unlimited = seal(&tenant.claims());
    assert!(!shares.check("alice", &Envelope::new(&*unlimited), &application, at(NOW)).unwrap().is_limited());
    assert!(shares.check("bob", &Envelope::new(&*unlimited), &application, at(NOW)).is_err());
}

#[test]
fn one_envelope_serves_until_it_expires() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&tenant.claims());
    let live = admit(&shares, "alice", &envelope, &application, at(NOW)).unwrap();
    assert_eq!(live.user(), "alice");
    assert!(live.may_write());
    assert_eq!(live.expires(), at(NOW + 30));
    let again = admit(&shares, "alice", &envelope, &application, at(NOW + 29)).unwrap();
    assert!(Arc::ptr_eq(&live, &again));
    let error = admit(&shares, "alice", &envelope, &application, at(NOW + 30)).err().unwrap();
    assert_eq!((error.sqlstate, error.message.as_str()), (sqlstate::INVALID_AUTHORIZATION, "share expired"));
}

#[test]
fn scope_and_validity_are_bounded() {
    let tenant = Tenant::new();
    let claims = UserEnvelope { scope: Scope::Read, exp: NOW + 3600, ..tenant.claims() };
    let live = admit(&tenant.shares(), "alice", &seal(&claims), &tenant.application(), at(NOW)).unwrap();
    assert!(!live.may_write());
    assert_eq!(live.expires(), at(NOW + 60));
}

#[test]
fn each_claim_is_checked() {
    let tenant = Tenant::new();
    assert_eq!(tenant.outcome(NOW, |_| ()), Ok(()));
    assert_eq!(tenant.outcome(NOW, |e| e.sub = "bob".to_owned()), Err(Rejection::Subject));
    assert_eq!(tenant.outcome(NOW, |e| e.aud = "other".to_owned()), Err(Rejection::Audience));
    assert_eq!(tenant.outcome(NOW - 5, |_| ()), Ok(()));
    assert_eq!(tenant.outcome(NOW - 6, |_| ()), Err(Rejection::Future));
    assert_eq!(tenant.outcome(NOW + 29, |_| ()), Ok(()));
    assert_eq!(tenant.outcome(NOW + 30, |_| ()), Err(Rejection::Expired));
    let long = |e: &mut UserEnvelope| e.exp = NOW + 3600;
    assert_eq!(tenant.outcome(NOW + 59, long), Ok(()));
    assert_eq!(tenant.outcome(NOW + 60, long), Err(Rejection::Expired));
    let epoch = |e: &mut UserEnvelope| e.shares.values_mut().for_each(|share| share.epoch = 2);
    assert_eq!(tenant.outcome(NOW, epoch), Err(Rejection::Keyspace));
    let share = |e: &mut UserEnvelope| e.shares.values_mut().for_each(|of| of.share = Share::random());
    assert_eq!(tenant.outcome(NOW, share), Err(Rejection::CheckValue));
    let keyspace = |e: &mut UserEnvelope| {
        e.shares.insert("more".to_owned(), EpochShare { epoch: 1, share: Share::random() });
    };
    assert_eq!(tenant.outcome(NOW, keyspace), Ok(()), "of a grant that was taken back");
}

#[test]
fn the_order_of_checks_tells_nothing_but_expiry() {
    let tenant = Tenant::new();
    let late = NOW + 3600;
    assert_eq!(tenant.outcome(late, |e| e.sub = "bob".to_owned()), Err(Rejection::Subject));
    assert_eq!(tenant.outcome(late, |e| e.aud = "other".to_owned()), Err(Rejection::Audience));
    let share = |e: &mut UserEnvelope| e.shares.values_mut().for_each(|of| of.share = Share::random());
    assert_eq!(tenant.outcome(late, share), Err(Rejection::Expired));

    let all = [
        Rejection::Envelope(Reason::Size),
        Rejection::Envelope(Reason::Unwrap),
        Rejection::Subject,
        Rejection::Audience,
        Rejection::Future,
        Rejection::User,
        Rejection::ApplicationShare,
        Rejection::Keyspace,
        Rejection::CheckValue,
        Rejection::Used,
        Rejection::Uncounted,
    ];
    assert!(all.iter().all(|r| ClientError::from(*r) == ClientError::from(Rejection::Subject)));
    assert_ne!(ClientError::from(Rejection::Expired), ClientError::from(Rejection::Subject));
}

#[test]
fn only_this_proxys_intact_envelopes_open() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let check = |envelope: &str| checked(&shares, "alice", envelope, &application, NOW).map(drop);
    let envelope = seal(&tenant.claims());
    assert_eq!(check(&envelope), Ok(()));

    let other = EnvelopePrivateKey::from_pkcs8_pem(&KEYS[1]).unwrap();
    let foreign = envelope::seal(&tenant.claims(), other.public_key()).unwrap();
    assert_eq!(check(&foreign), Err(Rejection::Envelope(Reason::Kid)));
    let both = tenant.shares();
    both.set_keyring(Keyring { keys: vec![key(1, None), key(0, None)], ..tenant.keyring() });
    assert!(checked(&both, "alice", &foreign, &application, NOW).is_ok());
    assert!(checked(&both, "alice", &envelope, &application, NOW).is_ok());

    let (head, tag) = envelope.rsplit_once('.').unwrap();
    let altered = format!("{head}.{}", tag.chars().rev().collect::<String>());
    assert!(matches!(check(&altered), Err(Rejection::Envelope(_))));
    assert_eq!(check(""), Err(Rejection::Envelope(Reason::Form)));
    assert_eq!(check(&"a".repeat(envelope::MAX_LENGTH + 1)), Err(Rejection::Envelope(Reason::Size)));
}

#[test]
fn another_user_or_application_share_cannot_ride_on_a_live_envelope() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&tenant.claims());
    let live = admit(&shares, "alice", &envelope, &application, at(NOW)).unwrap();
    let check =
        |user: &str, share: &ApplicationShare| checked(&shares, user, &envelope, share, NOW).map(drop);

    assert_eq!(check("bob", &application), Err(Rejection::Subject));
    let wrong = Arc::new(ApplicationShare([("main".to_owned(), Share::random())].into()));
    assert_eq!(check("alice", &wrong), Err(Rejection::CheckValue));
    let empty = Arc::new(ApplicationShare(BTreeMap::new()));
    assert_eq!(check("alice", &empty), Err(Rejection::ApplicationShare));
    assert_eq!(check("alice", &application), Ok(()));

    let error = shares.burst(&live, &wrong).seal(&columns()[0], b"x", &mut Vec::new()).err().unwrap();
    assert_eq!(error, ClientError::from(Rejection::CheckValue));
}

#[test]
fn a_wrong_application_share_does_not_spoil_the_envelope() {
    let tenant = Tenant::new();
    let shares = tenant.shares();
    let envelope = seal(&tenant.claims());
    let wrong = Arc::new(ApplicationShare([("main".to_owned(), Share::random())].into()));
    assert_eq!(checked(&shares, "alice", &envelope, &wrong, NOW).err(), Some(Rejection::CheckValue));
    assert!(checked(&shares, "alice", &envelope, &tenant.application(), NOW).is_ok());
}

#[test]
fn withdrawal_takes_effect_at_once() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&tenant.claims());
    let live = admit(&shares, "alice", &envelope, &application, at(NOW)).unwrap();
    let column = &columns()[0];
    let mut before = shares.burst(&live, &application);
    before.seal(column, b"x", &mut Vec::new()).unwrap();
    drop(before);

    shares.set_user("alice", None);
    let error = shares.burst(&live, &application).seal(column, b"x", &mut Vec::new()).err().unwrap();
    assert_eq!(error, ClientError::from(Rejection::User));
    for envelope in [&envelope, &seal(&tenant.claims())] {
        assert_eq!(checked(&shares, "alice", envelope, &application, NOW).err(), Some(Rejection::User));
    }
}

#[test]
fn uses_are_counted_over_all_requests() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&UserEnvelope { max_uses: Some(2), ..tenant.claims() });
    let use_it = || checked(&shares, "alice", &envelope, &application, NOW)?.use_once();
    assert_eq!((use_it(), use_it(), use_it()), (Ok(()), Ok(()), Err(Rejection::Used)));
    // What needs no keys uses nothing up, and is limited all the same.
    assert!(shares.look("alice", &Envelope::new(&*envelope), &application, at(NOW)).is_some());
}

#[test]
fn an_envelope_of_limited_use_from_before_the_start_is_refused() {
    let tenant = Tenant::new();
    let once = |iat| UserEnvelope { max_uses: Some(1), iat, ..tenant.claims() };
    let outcome = |claims: &UserEnvelope| {
        let shares = Shares::started(tenant.keyring(), LIMITS, NOW - 6);
        shares.set_user("alice", Some(tenant.held()));
        checked(&shares, "alice", &seal(claims), &tenant.application(), NOW).map(drop)
    };
    // The skew counts: the user's clock may be ahead.
    assert_eq!(outcome(&once(NOW)), Ok(()));
    assert_eq!(outcome(&once(NOW - 1)), Err(Rejection::Uncounted));
    assert_eq!(outcome(&once(NOW - 7)), Err(Rejection::Uncounted));
    assert_eq!(outcome(&UserEnvelope { iat: NOW - 7, ..tenant.claims() }), Ok(()));
}

#[test]
fn uses_are_remembered_beyond_a_change_of_the_proxys_key() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&UserEnvelope { max_uses: Some(1), ..tenant.claims() });
    let use_it = || checked(&shares, "alice", &envelope, &application, NOW)?.use_once();
    assert_eq!(use_it(), Ok(()));
    shares.set_keyring(Keyring { keys: vec![key(1, None), key(0, Some(NOW + 60))], ..tenant.keyring() });
    assert_eq!(use_it(), Err(Rejection::Used));
}

#[test]
fn cells_come_back_and_only_in_their_column() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let mut claims = tenant.claims();
    let billing = EpochShare { epoch: 1, share: tenant.billing.user.duplicate() };
    claims.shares.insert("billing".to_owned(), billing);
    let live = admit(&shares, "alice", &seal(&claims), &application, at(NOW)).unwrap();
    let columns = columns();
    let mut cells = Vec::new();
    let mut burst = shares.burst(&live, &application);
    for column in &columns {
        let mut cell = Vec::new();
        burst.seal(column, b"value", &mut cell).unwrap();
        cells.push(cell);
    }
    drop(burst);
    let mut burst = shares.burst(&live, &application);
    for (column, cell) in columns.iter().zip(&cells) {
        let mut out = b"kept ".to_vec();
        burst.open(column, cell, &mut out).unwrap();
        assert_eq!(out, b"kept value");
    }
    let error = burst.open(&columns[0], &cells[1], &mut Vec::new()).err().unwrap();
    assert_eq!(error.sqlstate, sqlstate::DATA_CORRUPTED);
    assert!(error.message.contains("\"a\" of table \"public.t\""), "{error}");

    let only_main = admit(&shares, "alice", &seal(&tenant.claims()), &application, at(NOW)).unwrap();
    let error =
        shares.burst(&only_main, &application).open(&columns[1], &cells[1], &mut Vec::new()).err().unwrap();
    assert_eq!(error.sqlstate, sqlstate::INSUFFICIENT_PRIVILEGE);
    assert!(error.message.contains("billing"));
}

#[test]
fn a_renewed_share_opens_the_same_envelope_and_the_old_ones_are_dead() {
    let mut tenant = Tenant::new();
    let (shares, before) = (tenant.shares(), tenant.application());
    let envelope = seal(&UserEnvelope { max_uses: Some(3), ..tenant.claims() });
    let live = admit(&shares, "alice", &envelope, &before, at(NOW)).unwrap();

    // TKa ⊕ TKp stays the same, so TKu and TK do.
    let flip = |share: &Share| Share::from_bytes(share.as_bytes().map(|byte| byte ^ 0x55));
    for triple in [&mut tenant.main, &mut tenant.billing] {
        (triple.application, triple.proxy) = (flip(&triple.application), flip(&triple.proxy));
    }
    shares.set_user("alice", Some(tenant.held()));
    let after = tenant.application();
    let check = |share: &ApplicationShare| checked(&shares, "alice", &envelope, share, NOW)?.use_once();
    assert_eq!(check(&before), Err(Rejection::CheckValue));
    let error = shares.burst(&live, &before).seal(&columns()[0], b"x", &mut Vec::new()).err().unwrap();
    assert_eq!(error, ClientError::from(Rejection::CheckValue));
    // One use was before the renewal.
    assert_eq!((check(&after), check(&after), check(&after)), (Ok(()), Ok(()), Err(Rejection::Used)));
}

#[test]
fn a_retired_key_opens_nothing_any_more() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    let envelope = seal(&tenant.claims());
    let live = admit(&shares, "alice", &envelope, &application, at(NOW)).unwrap();
    let keyring = |retires| Keyring { keys: vec![key(1, None), key(0, retires)], ..tenant.keyring() };
    shares.set_keyring(keyring(Some(NOW + 1)));
    assert!(checked(&shares, "alice", &envelope, &application, NOW).is_ok());
    let again = seal(&UserEnvelope { jti: "2".to_owned(), ..tenant.claims() });
    for late in [&envelope, &again] {
        let late = checked(&shares, "alice", late, &application, NOW + 1).err();
        assert_eq!(late, Some(Rejection::Envelope(Reason::Kid)));
    }
    // A burst goes by the real clock.
    shares.set_keyring(keyring(Some(u64::MAX)));
    assert!(shares.burst(&live, &application).seal(&columns()[0], b"x", &mut Vec::new()).is_ok());
    shares.set_keyring(keyring(Some(1)));
    let error = shares.burst(&live, &application).seal(&columns()[0], b"x", &mut Vec::new()).err().unwrap();
    assert_eq!(error, ClientError::from(Rejection::Envelope(Reason::Kid)));
}

#[test]
fn a_user_that_is_added_is_served_and_one_that_is_withdrawn_leaves_nothing_live() {
    let tenant = Tenant::new();
    let (shares, application) = (tenant.shares(), tenant.application());
    shares.set_user("bob", Some(tenant.held()));
    let envelope = seal(&UserEnvelope { sub: "bob".to_owned(), ..tenant.claims() });
    assert!(checked(&shares, "bob", &envelope, &application, NOW).is_ok());
    assert!(shares.live.get(&envelope::hash(&envelope)).is_some());
    shares.set_user("bob", None);
    assert!(shares.live.get(&envelope::hash(&envelope)).is_none());
    assert_eq!(checked(&shares, "bob", &envelope, &application, NOW).err(), Some(Rejection::User));
    assert!(checked(&shares, "alice", &seal(&tenant.claims()), &application, NOW).is_ok());
}

#[test]
fn without_a_tenant_key_nothing_is_open() {
    let tenant = Tenant::new();
    for (closed, code) in
        [(Closed::NotBootstrapped, Code::NotBootstrapped), (Closed::Burnt, Code::BootstrapBurnt)]
    {
        let shares = tenant.shares();
        assert_eq!(shares.check_open(), Ok(()));
        shares.set_keyring(Keyring::closed(closed));
        assert_eq!(shares.check_open().err().and_then(|error| error.code), Some(code));
        assert!(checked(&shares, "alice", &seal(&tenant.claims()), &tenant.application(), NOW).is_err());
    }
}
