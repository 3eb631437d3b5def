//! Killed at each point, the proxy comes back to where the same client can go on, and no further.

use crate::process::{Place, code};
use crate::tenant::{CLAIM, Tenant, claim, confirm, outcome, receipt};
use trefoil_keys::receipt::Outcome;
use trefoil_keys::signing;
use trefoil_keys::status::State;

/// What the client does: asks for the status, and goes on from there until it is done.
fn bootstrapped_over_a_crash_at(point: &str) {
    let place = Place::open();
    let mut proxy = place.start_to_be_killed_at(point);
    let first = claim(&proxy, place.password(), CLAIM).map(|answer| Tenant::claimed(Some(answer)));
    if let Some(tenant) = &first {
        assert!(confirm(&proxy, CLAIM, &tenant.check_values()).is_none());
    }
    assert!(proxy.was_killed());

    let proxy = place.start();
    let status = proxy.status();
    let tenant = match (status.state, first) {
        // The confirmation was stored and its answer was lost: the status shows it.
        (State::Ready, Some(tenant)) => tenant,
        (State::Open | State::Claimed, None) => {
            let tenant = Tenant::claimed(claim(&proxy, place.password(), CLAIM));
            assert_eq!(confirm(&proxy, CLAIM, &tenant.check_values()).unwrap().status.as_u16(), 200);
            tenant
        }
        (state, _) => panic!("{point}: {state:?}"),
    };
    let status = proxy.status();
    assert_eq!((status.state, status.claim_sha256), (State::Ready, Some(signing::hash(CLAIM))), "{point}");
    assert_eq!(status.tenant_key.as_ref(), Some(tenant.0.signing_key.verifying_key()), "{point}");
    assert_eq!(code(claim(&proxy, place.password(), CLAIM)), (410, "closed".to_owned()), "{point}");
    assert_eq!(outcome(&proxy, &tenant, &tenant.add(1, "alice")), "applied", "{point}");
}

#[test]
fn a_bootstrap_ends_in_exactly_one_tenant_key() {
    for point in ["bootstrap.claiming", "bootstrap.claimed", "bootstrap.confirmed"] {
        bootstrapped_over_a_crash_at(point);
    }
}

#[test]
fn a_command_is_applied_once_or_not_at_all() {
    for (point, stored) in [("command.checked", 0), ("command.stored", 1), ("command.applied", 1)] {
        let place = Place::ready();
        let tenant = Tenant::of(&place);
        let sent = tenant.add(1, "alice");
        let mut proxy = place.start_to_be_killed_at(point);
        assert!(proxy.post("/v1/commands", sent.as_str()).is_none());
        assert!(proxy.was_killed());

        let proxy = place.start();
        assert_eq!(proxy.status().seq, stored, "{point}");
        for _ in 0..2 {
            let receipt = receipt(&tenant, &sent, proxy.post("/v1/commands", sent.as_str()));
            assert_eq!(receipt.outcome, Outcome::Applied, "{point}");
        }
        assert_eq!(proxy.status().seq, 1, "{point}");
        // A copy of the same order under the next number finds the user there.
        assert_eq!(outcome(&proxy, &tenant, &tenant.add(2, "alice")), "user", "{point}");
    }
}

#[test]
fn an_interrupted_init_can_be_repeated() {
    let place = Place::empty();
    let arguments = ["init", "--config", "proxy.toml", "--tenant", "t", "--application", "a"];
    let killed = place.command().args(arguments).env("TREFOIL_KILL_AT", "init.made").output().unwrap();
    assert!(!killed.status.success() && killed.stdout.is_empty());
    assert!(!place.command().args(["--config", "proxy.toml"]).output().unwrap().status.success());
    assert!(place.init(&[]).status.success());
}
