//! Two sidecars and two proxies behind load balancers serve one tenant: work goes on when one proxy is
//! gone, and what a pair has missed shows until it has caught up.

use crate::shared::{POLICY, cluster};
use serde_json::{Value, json};
use std::fs;
use trefoil_tests::balancer::Balancer;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::stack::{Part, ProxyOptions, Stack};

const QUESTION: &str = "SELECT ssn FROM patients WHERE id = 1";

/// The first pair is the stack's own.
struct Site {
    // Dropped in this order: whoever uses a part goes first.
    sidecar: Part,
    stack: Stack,
    proxy: Part,
    /// In front of the proxies, and of the sidecars.
    balancers: [Balancer; 2],
    database: Endpoint,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("first"), directory.path().join("second"));
        fs::create_dir(&first).unwrap();
        let database = cluster().create_database(name).unwrap();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: name,
            database: cluster().endpoint(),
            recorder: None,
            configuration: "",
        };
        let mut stack = Stack::start(&first, &options, &["alice", "bob"], 0).unwrap();
        let proxy = stack.proxy.copy(&second, &[]).unwrap();
        // Not in step with the other one: each sidecar comes to each proxy.
        let [one, other] = [stack.proxy.port(), proxy.port()];
        let proxies = Balancer::start(&[one, other, other, one]).unwrap();
        let line = |port: u16| format!("proxy = \"127.0.0.1:{port}\"");
        let balanced = (line(stack.proxy.port()), line(proxies.port()));
        let own_proxy = (stack.proxy.admin_url(), proxy.admin_url());
        stack.application.configure(&[balanced]).unwrap();
        let sidecar = stack.application.copy(&second, &[own_proxy]).unwrap();
        let sidecars = Balancer::start(&[stack.application.port(), sidecar.port()]).unwrap();
        let site =
            Self { sidecar, stack, proxy, balancers: [proxies, sidecars], database, _directory: directory };
        let (url, pin) = (site.sidecar.admin_url(), site.sidecar.fingerprint());
        let set = ["application", "set", "--name", "second", "--url", &url, "--fingerprint", pin];
        let set = [&set[..], &["--password-fd", "0"]].concat();
        site.stack.tenant.admin_with(site.sidecar.password(), &set).unwrap();
        site
    }

    fn admin(&self, arguments: &[&str]) -> Value {
        let printed = self.stack.tenant.admin(&[&["--json"], arguments].concat()).unwrap();
        serde_json::from_str(&printed).unwrap()
    }

    /// In a session of its own, which the balancers send where they like.
    fn ask(&self, user: &str, question: &str) -> Vec<Frame> {
        let mut client = Frontend::connect(&self.database.through(self.balancers[1].port()), &[]).unwrap();
        let envelope = self.stack.tenant.envelope(user, &[]).unwrap();
        client.query(&format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ {question}")).unwrap()
    }

    /// Through each sidecar to each proxy.
    fn states(&self, user: &str) -> Vec<Option<String>> {
        (0..4).map(|_| sqlstate(&self.ask(user, QUESTION))).collect()
    }

    /// Numbers of the last command and of those that lack, by pair.
    fn pairs(&self) -> Value {
        let status = self.admin(&["status"]);
        let pairs = status["pairs"].as_array().unwrap().iter();
        pairs.map(|pair| json!([pair["name"], pair["seq"], pair["lacks"]])).collect()
    }
}

const SERVED: [Option<String>; 4] = [const { None }; 4];

#[track_caller]
fn refused(states: &[Option<String>]) {
    assert!(states.iter().all(|state| state.as_deref() == Some("28000")), "{states:?}");
}

#[test]
fn two_pairs_serve_one_tenant_and_a_lagging_one_is_shown_and_caught_up() {
    let mut site = Site::new("two_pairs");
    let table = "CREATE TABLE patients (id int PRIMARY KEY, name text, ssn text)";
    assert_eq!(sqlstate(&site.ask("alice", table)), None);
    assert_eq!(sqlstate(&site.ask("bob", "INSERT INTO patients (id, ssn) VALUES (1, 'x-1')")), None);
    for user in ["alice", "bob"] {
        assert_eq!(site.states(user), SERVED);
    }
    for balancer in &site.balancers {
        assert!(balancer.taken().iter().all(|taken| *taken > 1), "{:?}", balancer.taken());
    }
    // A new share is in force at both.
    site.admin(&["user", "rekey", "alice", "--push"]);
    refused(&site.states("alice"));
    site.stack.tenant.export("alice", &[]).unwrap();
    assert_eq!(site.states("alice"), SERVED);
    assert_eq!(site.pairs(), json!([["main", 2, 0], ["second", 2, 0]]));
    let told = site.stack.tenant.admin(&["proxy-key", "rotate", "--overlap", "1d"]).err().unwrap();
    assert!(told.to_string().contains("application remove"), "{told}");

    // One proxy is killed: work goes on, and a withdrawal is in force where there is work.
    site.stack.proxy.process_mut().stop();
    assert_eq!(site.states("bob"), SERVED);
    let withdrawal = ["user", "withdraw", "bob", "--push", "--wait", "0"];
    site.stack.tenant.admin(&withdrawal).expect_err("not everywhere");
    refused(&site.states("bob"));
    assert_eq!(site.states("alice"), SERVED);
    let outbox = site.admin(&["outbox"]);
    assert_eq!(outbox["unconfirmed"], json!([]));
    let lacked = &outbox["lacked"][0];
    assert_eq!((&lacked["command"], &lacked["lacking"]), (&"user withdraw bob".into(), &json!(["main"])));
    site.stack.tenant.admin(&["status"]).expect_err("a difference");

    // Back again, the pair gets what it lacks.
    site.stack.proxy.restart(&[]).unwrap();
    site.admin(&["push"]);
    assert_eq!(site.admin(&["outbox"])["lacked"], json!([]));
    assert_eq!(site.pairs(), json!([["main", 3, 0], ["second", 3, 0]]));
    let before = site.balancers[0].taken();
    refused(&site.states("bob"));
    assert_eq!(site.states("alice"), SERVED);
    let after = site.balancers[0].taken();
    assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{before:?} {after:?}");

    // The other pair is away as a whole.
    site.sidecar.process_mut().stop();
    site.proxy.process_mut().stop();
    let renewal = ["renew-shares", "--wait", "0"];
    site.stack.tenant.admin(&renewal).expect_err("not everywhere");
    assert_eq!(site.states("alice"), SERVED);
    assert_eq!(site.admin(&["outbox"])["lacked"][0]["lacking"], json!(["second"]));
    // Nor does what it lacks already hold the next renewal up.
    site.stack.tenant.admin(&renewal).expect_err("not everywhere");
    assert_eq!(site.admin(&["outbox"])["lacked"].as_array().unwrap().len(), 2);
    site.proxy.restart(&[]).unwrap();
    site.sidecar.restart(&[]).unwrap();
    site.admin(&["push"]);
    assert_eq!(site.states("alice"), SERVED);
    assert_eq!(site.pairs(), json!([["main", 5, 0], ["second", 5, 0]]));
}

#[test]
fn a_pair_that_was_set_back_shows_and_takes_nothing_until_it_is_a_copy_again() {
    let mut site = Site::new("pair_set_back");
    site.admin(&["user", "add", "carol", "--push"]);
    // Commands go past a pair of which the vault does not know.
    site.admin(&["application", "remove", "second"]);
    site.admin(&["user", "withdraw", "bob", "--push"]);
    let (url, pin) = (site.sidecar.admin_url(), site.sidecar.fingerprint().to_owned());
    let set = ["application", "set", "--name", "second", "--url", &url, "--fingerprint", &pin];
    let set = [&set[..], &["--password-fd", "0"]].concat();
    site.stack.tenant.admin_with(site.sidecar.password(), &set).unwrap();
    site.stack.tenant.admin(&["status"]).expect_err("a difference");
    site.stack.tenant.admin(&["user", "add", "dora", "--push"]).expect_err("not everywhere");
    let lacked = site.admin(&["outbox"])["lacked"].clone();
    assert_eq!((lacked.as_array().unwrap().len(), &lacked[0]["lacking"]), (1, &json!(["second"])));
    // Made anew from a copy, it has all.
    let Site { stack, sidecar, proxy, .. } = &mut site;
    for (part, copy) in [(&mut stack.proxy, proxy), (&mut stack.application, sidecar)] {
        copy.take_store_of(part).unwrap();
    }
    site.admin(&["push"]);
    assert_eq!(site.pairs(), json!([["main", 4, 0], ["second", 4, 0]]));
}
