//! What the agent adds: to which requests, and in the place of what.

use crate::agent::{Agent, LIMIT, next_key, open};
use crate::curl::curl;
use crate::origin::{Origin, Seen};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trefoil_keys::announcement::Announcement;
use trefoil_keys::envelope::{Scope, UserEnvelope};
use trefoil_keys::signing::SigningKey;

#[track_caller]
fn envelope(seen: &Seen) -> UserEnvelope {
    assert_eq!(seen.field("trefoil-user"), Some("alice"));
    open(seen.field("trefoil-envelope").unwrap())
}

#[test]
fn safe_methods_read_and_the_others_write_over_either_version() {
    for scheme in ["http", "h2c", "https"] {
        let origin = Origin::start_as(scheme);
        let agent = Agent::start(&origin);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            for (method, scope) in [
                ("GET", Scope::Read),
                ("OPTIONS", Scope::Read),
                ("POST", Scope::Write),
                ("PUT", Scope::Write),
                ("DELETE", Scope::Write),
                ("PATCH", Scope::Write),
            ] {
                let answer = curl(&[version, "-X", method, &agent.url("/path?query")]);
                assert_eq!((answer.status, answer.body.as_str()), (200, "here"), "{scheme} {version}");
                assert_eq!(answer.http2, version != "--http1.1");
                let seen = origin.last();
                assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, "/path?query"));
                assert_eq!(seen.http2, scheme != "http");
                assert_eq!(envelope(&seen).scope, scope);
                let host = seen.field("host").map_or_else(|| origin.url(), str::to_owned);
                assert!(origin.url().ends_with(&host), "{host}");
            }
            let head = curl(&[version, "--head", &agent.url("/")]);
            assert_eq!((head.status, head.body.as_str()), (200, ""));
            assert_eq!(envelope(&origin.last()).scope, Scope::Read);
        }
        curl(&["-X", "TRACE", &agent.url("/")]);
        assert_eq!(origin.last().field("trefoil-envelope"), None, "what is traced is repeated");
    }
}

#[test]
fn whatever_comes_in_under_their_names_is_replaced() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        curl(&[
            version,
            &agent.url("/"),
            "-HTrefoil-User: mallory",
            "-Htrefoil-user: mallory",
            "-HTREFOIL-ENVELOPE: forged",
            "-HTrefoil_Envelope: forged",
            "-HTrefoil_User: mallory",
            "-HX-Kept: yes",
        ]);
        let seen = origin.last();
        assert_eq!(envelope(&seen).sub, "alice");
        assert_eq!(seen.field("x-kept"), Some("yes"));
        assert!(!seen.headers.contains_key("trefoil_user") && !seen.headers.contains_key("trefoil_envelope"));
    }
    // What is named there is for this connection alone, and that is not for the client to say.
    curl(&[&agent.url("/"), "-HConnection: close, Trefoil-Envelope, X-Hop", "-HX-Hop: 1", "-HKeep-Alive: 5"]);
    let seen = origin.last();
    assert_eq!(envelope(&seen).sub, "alice");
    assert!(!["x-hop", "keep-alive", "connection"].iter().any(|name| seen.headers.contains_key(*name)));
    let answer = curl(&[&agent.url("/hops")]);
    assert_eq!(
        (answer.field("x-hop"), answer.field("keep-alive"), answer.field("x-end")),
        (None, None, Some("1"))
    );
    assert!(answer.head.contains("set-cookie: a=1\nset-cookie: b=2\n"), "{}", answer.head);
}

#[test]
fn an_envelope_is_used_for_half_of_its_life_and_no_longer() {
    let origin = Origin::start();
    let agent = Agent::start_with(&origin, "envelope_lifetime = 4");
    let sent = |path| {
        curl(&[&agent.url(path)]);
        origin.last().field("trefoil-envelope").unwrap().to_owned()
    };
    let first = sent("/");
    assert_eq!(sent("/another"), first);
    std::thread::sleep(Duration::from_millis(3100));
    let second = sent("/");
    assert_ne!(second, first);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let UserEnvelope { iat, exp, .. } = open(&second);
    assert!(exp - iat == 4 && exp >= now + 2, "{iat} {exp} {now}");
}

#[test]
fn rules_narrow_what_a_request_gets() {
    let origin = Origin::start();
    let rules = "[[rule]]\npath = '/static/**'\nscope = 'none'\n\
        [[rule]]\npath = '/pay/*'\nmethods = ['POST']\nmax_uses = 1\nlifetime = 7\naudience = 'bank'\n\
        tables = ['public.payments']\n\
        [[rule]]\npath = '/socket'\nscope = 'write'\n[[rule]]\npath = '/**'\nscope = 'read'\n";
    let agent = Agent::start_with(&origin, rules);
    let sent = |method, path| {
        curl(&["--path-as-is", "-X", method, &agent.url(path)]);
        origin.last()
    };
    assert_eq!(sent("POST", "/static/a/b.css").field("trefoil-user"), None);
    assert_eq!(sent("POST", "/x/../%73tatic/a").field("trefoil-user"), None, "another spelling");
    let [first, second] = [(); 2].map(|()| envelope(&sent("POST", "/pay/now")));
    assert_ne!(first.jti, second.jti, "each request has one of its own");
    let limits = |envelope: &UserEnvelope| {
        (envelope.max_uses, envelope.exp - envelope.iat, envelope.aud.clone(), envelope.scope)
    };
    assert_eq!(limits(&first), (Some(1), 7, "bank".to_owned(), Scope::Write));
    assert_eq!(first.tables, Some(["public.payments".to_owned()].into()));
    assert_eq!(limits(&envelope(&sent("GET", "/socket"))).3, Scope::Write);
    assert_eq!(limits(&envelope(&sent("POST", "/"))), (None, 60, "clinic-app".to_owned(), Scope::Read));
}

fn announcement(signed_by: &SigningKey) -> String {
    let envelope_keys = vec![next_key().public_key().clone()];
    let (tenant, retires) = ("clinic".to_owned(), [].into());
    signed_by.sign(&Announcement { tenant, serial: 1, iat: 1000, envelope_keys, retires }).unwrap()
}

#[test]
fn the_key_that_the_tenant_admin_announces_is_sealed_to() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    let news = announcement(&agent.tenant_admin);
    curl(&[&agent.url("/")]);
    assert_eq!(envelope(&origin.last()).sub, "alice");
    // Asked for when the proxy does not know the key any more.
    origin.behave(|manners| {
        manners.announcement = Some(news);
        manners.challenge = Some("Trefoil error=\"share-rejected\"");
    });
    curl(&[&agent.url("/")]);
    origin.behave(|manners| manners.challenge = None);
    let end = Instant::now() + LIMIT;
    loop {
        curl(&[&agent.url("/")]);
        let seen = origin.last();
        if next_key().open::<UserEnvelope>(seen.field("trefoil-envelope").unwrap()).is_ok() {
            break;
        }
        assert!(Instant::now() < end, "{}", agent.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(agent.path("alice.json.announcement").exists(), "kept for the next start");
    assert!(!agent.log().contains("eyJ"), "no envelope is logged");
}

#[test]
fn an_announcement_that_somebody_else_has_signed_is_not_heeded() {
    let origin = Origin::start();
    let news = announcement(&SigningKey::generate().unwrap());
    origin.behave(|manners| manners.announcement = Some(news));
    let agent = Agent::start(&origin);
    agent.says("the announcement was rejected");
    curl(&[&agent.url("/")]);
    assert_eq!(envelope(&origin.last()).sub, "alice");
    assert!(!agent.path("alice.json.announcement").exists());
}
