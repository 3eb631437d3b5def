//! What a sidecar asks before it keeps an envelope.

use crate::process::{Place, code};
use crate::tenant::{Tenant, now, outcome};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trefoil_keys::bundle::IssuedShare;
use trefoil_keys::carrier::app_share;
use trefoil_keys::command::Operation;
use trefoil_keys::envelope::{self, EpochShare, Scope, UserEnvelope};
use trefoil_keys::proxy_share::Recipients;
use trefoil_keys::share;

const PATH: &str = "/v1/envelopes/check";

#[test]
fn a_good_envelope_is_told_from_others() {
    let place = Place::ready();
    let proxy = place.start();
    let tenant = Tenant::of(&place);
    let triple = share::split(&tenant.0.keyspaces["main"].key);
    let tkp = [("main".to_owned(), IssuedShare { epoch: 1, share: triple.proxy })].into();
    let recipients = Recipients::User { sub: "alice".to_owned(), tkp };
    let add = tenant.with_shares(1, Operation::Add { sub: "alice".to_owned() }, recipients);
    assert_eq!(outcome(&proxy, &tenant, &tenant.sign(&add)), "applied");
    let app_share = app_share::format([("main", &triple.application)]).unwrap();
    let seal = |issued: u64, max_uses| {
        let share = EpochShare { epoch: 1, share: triple.user.duplicate() };
        let claims = UserEnvelope {
            sub: "alice".to_owned(),
            iat: issued,
            exp: issued + 60,
            jti: format!("{issued}{max_uses:?}"),
            aud: "app".to_owned(),
            scope: Scope::Read,
            max_uses,
            tables: None,
            shares: [("main".to_owned(), share)].into(),
        };
        envelope::seal(&claims, &tenant.0.envelope_keys[0]).unwrap()
    };
    let ask = |user: &str, envelope: &str, app_share: &str| {
        let question = json!({ "user": user, "envelope": envelope, "app_share": app_share });
        proxy.post(PATH, question.to_string())
    };
    // A limited one counts from when the clocks agree that it was made after the proxy's start.
    let limited = || ask("alice", &seal(now() + 4, Some(1)), &app_share).unwrap().status.as_u16();
    let end = Instant::now() + Duration::from_secs(10);
    while limited() != 200 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(100));
    }
    let issued = now() + 4;
    let good = seal(issued, None);
    for (envelope, limited) in [(&good, false), (&seal(issued, Some(1)), true), (&good, false)] {
        let answer = ask("alice", envelope, &app_share).unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{:?}", answer.problem());
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&found["scope"], &found["issued"]), (&json!("read"), &json!(issued)));
        assert!((50..=64).contains(&found["expires_in"].as_u64().unwrap()), "{found}");
        assert_eq!(found["limited"], json!(limited));
    }
    let rejected = (401, "share-rejected".to_owned());
    assert_eq!(code(ask("bob", &good, &app_share)), rejected);
    assert_eq!(code(ask("alice", "x", &app_share)), rejected);
    assert_eq!(code(ask("alice", &good, "")), rejected);
    assert_eq!(code(ask("alice", &good, "main")), rejected);
    let other = app_share::format([("main", &triple.user)]).unwrap();
    assert_eq!(code(ask("alice", &good, &other)), rejected);
    assert_eq!(code(ask("alice", &seal(issued - 100, None), &app_share)), (401, "share-expired".to_owned()));
    assert_eq!(code(proxy.post(PATH, "{}")), (400, "malformed".to_owned()));
    assert_eq!(code(proxy.post(PATH, vec![b'x'; 100_000])), (413, "too-large".to_owned()));
    assert!(!place.log().contains(&good[..20]));
}

#[test]
fn before_the_bootstrap_there_is_no_good_one() {
    let place = Place::open();
    let question = json!({ "user": "alice", "envelope": "x", "app_share": "x" });
    assert_eq!(code(place.start().post(PATH, question.to_string())), (409, "not-ready".to_owned()));
}
