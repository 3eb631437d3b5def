//! What a page of another site can have the user's browser send, and gets nothing by.

use crate::agent::{Agent, open};
use crate::curl::curl;
use crate::origin::Origin;
use std::process::Command;
use trefoil_keys::envelope::Scope;

#[test]
fn a_page_of_another_site_gets_no_envelope() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    let scope = |arguments: &[&str]| {
        let url = agent.url("/transfer");
        let answer = curl(&[&[url.as_str()], arguments].concat());
        assert_eq!(answer.status, 200);
        let seen = origin.last();
        assert_eq!(seen.field("trefoil-user").is_some(), seen.field("trefoil-envelope").is_some());
        // Nor is what it loads shown in a frame of it, where scripts of the application would go on.
        let frames = answer.field("content-security-policy") != Some("frame-ancestors 'self'");
        assert_eq!(frames, seen.field("trefoil-envelope").is_some());
        Some(open(seen.field("trefoil-envelope")?).scope)
    };
    let own = format!("-HOrigin: http://{}", agent.address);
    let other_port = format!("-HOrigin: http://127.0.0.1:{}", agent.address.port() ^ 1);
    let post = "-XPOST";
    // A program, and a page of the application.
    assert_eq!(scope(&[post]), Some(Scope::Write));
    assert_eq!(scope(&[post, &own]), Some(Scope::Write));
    assert_eq!(scope(&[post, &own, "-HSec-Fetch-Site: same-origin"]), Some(Scope::Write));
    // A form, a script or a picture on another site, or of another program on this machine.
    assert_eq!(scope(&[post, "-HOrigin: https://evil.example"]), None);
    assert_eq!(scope(&[post, "-HOrigin: null"]), None);
    assert_eq!(scope(&[post, &other_port, "-HSec-Fetch-Site: same-site"]), None);
    assert_eq!(scope(&[post, "-HSec-Fetch-Site: cross-site"]), None);
    assert_eq!(scope(&["-HSec-Fetch-Site: cross-site", "-HSec-Fetch-Mode: no-cors"]), None);
    // A link that the user follows, and the same in a frame.
    let link = ["-HSec-Fetch-Site: cross-site", "-HSec-Fetch-Mode: navigate"];
    assert_eq!(scope(&[&link[..], &["-HSec-Fetch-Dest: document"]].concat()), Some(Scope::Read));
    assert_eq!(scope(&[&link[..], &["-HSec-Fetch-Dest: iframe"]].concat()), None);
    assert_eq!(scope(&[&link[..], &["-HSec-Fetch-Dest: document", post]].concat()), None);
}

#[test]
fn nothing_goes_to_another_host() {
    let origin = Origin::start();
    let agent = Agent::start_with(&origin, "names = ['clinic.localhost']");
    let (port, address) = (agent.address.port(), agent.address.to_string());
    // A name that its owner lets point to this machine.
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let resolve = format!("evil.example:{port}:127.0.0.1");
        let url = format!("http://evil.example:{port}/");
        curl(&[version, "--resolve", &resolve, &url]).is_problem(421, "misdirected");
        curl(&[version, &agent.url("/"), "-HHost: 127.0.0.1"]).is_problem(421, "misdirected");
    }
    // As the browser's proxy.
    let proxy = ["--noproxy", "", "--proxy", &address];
    curl(&[&proxy[..], &["http://evil.example/"]].concat()).is_problem(421, "misdirected");
    curl(&[&proxy[..], &[&agent.url("/")]].concat()).is_problem(421, "misdirected");
    curl(&["--request-target", "evil.example:443", "-XCONNECT", &agent.url("/")]).is_problem(403, "connect");
    assert!(origin.seen().is_empty());
    // Its own names.
    for host in ["localhost", "clinic.localhost"] {
        assert_eq!(curl(&[&agent.url("/"), &format!("-HHost: {host}:{port}")]).status, 200);
    }
}

#[test]
fn the_application_and_the_browser_each_hear_of_their_own_address() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    curl(&[
        &agent.url("/"),
        &format!("-HOrigin: {}", agent.url("")),
        &format!("-HReferer: {}", agent.url("/page?a=b")),
    ]);
    let seen = origin.last();
    assert_eq!(seen.field("origin"), Some(origin.url().as_str()));
    assert_eq!(seen.field("referer"), Some(format!("{}/page?a=b", origin.url()).as_str()));
    let redirect = |to: &str| {
        let answer = curl(&[&agent.url(&format!("/redirect?{to}"))]);
        assert_eq!(answer.status, 302, "it is passed on");
        answer.field("location").unwrap().to_owned()
    };
    assert_eq!(redirect(&format!("{}/there?x", origin.url())), "/there?x");
    assert_eq!(redirect("https://login.example/there"), "https://login.example/there");
    assert_eq!(origin.seen().len(), 3, "and not followed");
}

#[test]
fn other_users_of_the_machine_are_not_served() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    assert_eq!(curl(&[&agent.url("/")]).body, "here");
    // Only root can be somebody else.
    if rustix::process::getuid().is_root() {
        let mut other = Command::new("setpriv");
        other.args(["--reuid=65534", "--clear-groups", "curl", "-sS", "--noproxy", "*", &agent.url("/")]);
        let output = other.output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        agent.says("refused a connection of another user of this machine, uid 65534");
        assert_eq!(origin.seen().len(), 1);
    }
}
