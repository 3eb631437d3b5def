//! What is presented, and for how long.

use super::*;
use crate::policy::Policy;
use crate::shares::{EnvelopeKey, Keyring};
use crate::sql::Plan;
use std::collections::BTreeMap;
use std::time::Duration;
use trefoil_keys::bundle::{self, CheckValue, IssuedShare};
use trefoil_keys::check;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EpochShare, Scope, UserEnvelope};
use trefoil_keys::secret::{Share, TenantKey};
use trefoil_keys::share::{self, Triple};

/// One user, `alice`, with one keyspace.
struct Tenant {
    triple: Triple,
    shares: Shares,
    key: Arc<EnvelopePrivateKey>,
}

impl Tenant {
    fn new() -> Self {
        let pem = include_str!("../../../../keys/tests/vectors/proxy-key.pem");
        let key = Arc::new(EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap());
        let tk = TenantKey::generate();
        let check = CheckValue { epoch: 1, value: check::value(&tk, "main", 1) };
        let keyring = Keyring {
            closed: None,
            applications: ["clinic".to_owned()].into(),
            keys: vec![EnvelopeKey { key: Arc::clone(&key), retires: None }],
            check_values: [("main".to_owned(), check)].into(),
        };
        let minute = Duration::from_secs(60);
        let limits = crate::shares::Limits { max_validity: minute, clock_skew: minute };
        Self { triple: share::split(&tk), shares: Shares::new(keyring, limits), key }
    }

    fn know_alice(&self, known: bool) {
        let share = IssuedShare { epoch: 1, share: self.triple.proxy.duplicate() };
        let held: bundle::Shares = [("main".to_owned(), share)].into();
        self.shares.set_user("alice", known.then_some(held));
    }

    fn carriers(&self, jti: &str, scope: Scope) -> Carriers {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let share = EpochShare { epoch: 1, share: self.triple.user.duplicate() };
        let claims = UserEnvelope {
            sub: "alice".to_owned(),
            iat: now,
            exp: now + 50,
            jti: jti.to_owned(),
            aud: "clinic".to_owned(),
            scope,
            max_uses: None,
            tables: None,
            shares: BTreeMap::from([("main".to_owned(), share)]),
        };
        Carriers {
            user: Some("alice".to_owned()),
            envelope: Some(envelope::seal(&claims, self.key.public_key()).unwrap()),
            app_share: Some(app_share::format([("main", &self.triple.application)]).unwrap()),
        }
    }
}

fn again(carriers: &Carriers) -> Carriers {
    let Carriers { user, envelope, app_share } = carriers;
    Carriers { user: user.clone(), envelope: envelope.clone(), app_share: app_share.clone() }
}

/// Whether a statement that writes to plain tables may run in a request of its own.
fn may_write(presented: &mut Presented, tenant: &Tenant, carriers: Option<&Carriers>) -> bool {
    if let Some(carriers) = carriers {
        presented.comment(again(carriers));
    }
    let plan = Plan { writes: true, ..Plan::default() };
    let outcome = presented.may_run(&tenant.shares, &Demand::of(&plan));
    presented.request_ended();
    outcome.map_err(|error| assert_eq!(error.code, Some(Code::ReadScope))).is_ok()
}

#[test]
fn an_envelope_limits_plain_statements_for_as_long_as_it_is_presented_and_is_looked_at_once() {
    let (tenant, mut presented) = (Tenant::new(), Presented::default());
    let [reading, writing] =
        [("1", Scope::Read), ("2", Scope::Write)].map(|(jti, scope)| tenant.carriers(jti, scope));
    // It cannot be used before the user is known, and limits from then on.
    assert!(may_write(&mut presented, &tenant, Some(&reading)));
    tenant.know_alice(true);
    for _ in 0..3 {
        assert!(!may_write(&mut presented, &tenant, Some(&reading)));
        assert!(may_write(&mut presented, &tenant, None), "it is for its request alone");
    }
    assert!(may_write(&mut presented, &tenant, Some(&writing)), "another one, with limits of its own");
    assert!(!may_write(&mut presented, &tenant, Some(&reading)));
    // No more than once: a look would find by now that it cannot be used.
    tenant.know_alice(false);
    assert!(!may_write(&mut presented, &tenant, Some(&reading)));
    // Nor does it limit what another user, or nobody, presents.
    let other = Carriers { user: Some("bob".to_owned()), ..again(&reading) };
    assert!(may_write(&mut presented, &tenant, Some(&other)));
    assert!(may_write(&mut presented, &tenant, None));
    assert!(may_write(&mut presented, &tenant, Some(&reading)), "looked at again after another one");
}

#[test]
fn a_burst_serves_no_other_requests_keys() {
    let tenant = Tenant::new();
    tenant.know_alice(true);
    let policy =
        Policy::parse("[tables.\"public.t\"]\nc = { type = \"text\", mode = \"deterministic\" }").unwrap();
    let column = &policy.columns()[0];
    let mut presented = Presented::default();
    presented.comment(tenant.carriers("1", Scope::Write));
    let plan = Plan::default();
    let mut burst = None;
    let keys = presented.keys(&tenant.shares, &Demand::of(&plan), &mut burst).unwrap();
    assert!(
        burst.as_ref().is_some_and(|burst| burst.is_of(&keys.live, &keys.application)),
        "it was checked so"
    );
    keys.burst(&tenant.shares, &mut burst).seal(column, b"x", &mut Vec::new()).unwrap();

    let wrong = ApplicationShare([("main".to_owned(), Share::random())].into());
    let others = Keys { live: Arc::clone(&keys.live), application: Arc::new(wrong) };
    let error = others.burst(&tenant.shares, &mut burst).seal(column, b"x", &mut Vec::new()).unwrap_err();
    assert_eq!(error.code, Some(Code::ShareRejected));

    presented.request_ended();
    let refused = presented.keys(&tenant.shares, &Demand::of(&plan), &mut burst).err();
    assert_eq!(refused.and_then(|error| error.code), Some(Code::NoShare), "the burst admits nobody");
}
