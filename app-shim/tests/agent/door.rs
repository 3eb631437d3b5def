//! The application's second door: takes user and envelope off, whatever they look like.

use crate::agent::{Agent, LIMIT, issue};
use crate::curl::curl;
use crate::origin::Origin;
use crate::peer::Proxy;
use crate::sidecar::Sidecar;
use crate::tenant::{Client, Tenant, add};
use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trefoil_keys::tls::SelfSigned;

pub(crate) struct Door {
    sidecar: Sidecar,
    proxy: Proxy,
    pub(crate) url: String,
}

impl Door {
    pub(crate) fn open(origin: &Origin) -> Self {
        Self::open_with(origin, "http", "")
    }

    fn open_with(origin: &Origin, scheme: &str, more: &str) -> Self {
        let tenant = Tenant::new();
        let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
        let http = format!("[http]\nlisten = '127.0.0.1:0'\napplication = '{}'\n{more}", origin.url());
        let sidecar = Sidecar::start_with(&proxy, &http);
        let delivered = Client::new(&sidecar).deliver(&tenant.delivery(1, add("alice"), 7), &add("alice"));
        assert_eq!(delivered.status, 200);
        let end = Instant::now() + LIMIT;
        let url = loop {
            let log = sidecar.output();
            if let Some((_, rest)) = log.split_once("application's users on ")
                && let Some((address, _)) = rest.split_once('\n')
            {
                break format!("{scheme}://{address}");
            }
            assert!(Instant::now() < end, "{log}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        Self { sidecar, proxy, url }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

const USER: &str = "-HTrefoil-User: alice";

/// An envelope of alice's as a field.
fn envelope(options: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("alice.json");
    issue(&bundle);
    let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"));
    let output = command.args(["envelope", "--bundle"]).arg(bundle).args(options).output().unwrap();
    format!("-HTrefoil-Envelope: {}", String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn the_application_never_sees_an_envelope() {
    let envelope = envelope(&[]);
    for scheme in ["http", "h2c"] {
        let origin = Origin::start_as(scheme);
        let door = Door::open(&origin);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let spellings = ["-Htrefoil_user: alice", "-HTREFOIL_ENVELOPE: x", "-HConnection: trefoil-user"];
            for arguments in [
                &[USER, envelope.as_str()][..],
                &[USER, envelope.as_str(), spellings[0], spellings[1], spellings[2]],
                &[],
            ] {
                let answer =
                    curl(&[&[version, "-XPOST", "-dabc", &door.at("/path?query")], arguments].concat());
                assert_eq!((answer.status, answer.body.as_str()), (200, "here"));
                let seen = origin.last();
                assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.body), ("POST", "/path?query", 3));
                assert!(
                    !format!("{:?}", seen.headers).to_lowercase().contains("trefoil"),
                    "{:?}",
                    seen.headers
                );
                assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
            }
        }
        assert!(!door.sidecar.output().contains("eyJ"), "no envelope is logged");
    }
}

#[test]
fn the_host_that_was_asked_for_is_the_applications_to_know() {
    let origin = Origin::start();
    let door = Door::open(&origin);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        curl(&[version, &door.at("/"), "-HHost: app.example", "-HX-Forwarded-For: 192.0.2.1"]);
        let seen = origin.last();
        assert_eq!(seen.field("host"), Some("app.example"));
        assert_eq!(seen.field("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    }
    let seen = origin.seen().len();
    let two = raw(&door.url, "GET / HTTP/1.1\r\nHost: app.example\r\nHost: other.example\r\n\r\n");
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
    assert_eq!(origin.seen().len(), seen);
}

/// What a request as it stands is answered with.
fn raw(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

#[test]
fn a_body_has_one_length() {
    let origin = Origin::start();
    let door = Door::open(&origin);
    for [first, second] in [
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 3"],
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{first}\r\n{second}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let answer = raw(&door.url, &request);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here"), "{answer}");
        let seen = origin.last();
        assert_eq!((seen.body, seen.field("content-length")), (5, None), "{first}");
    }
    let two = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello";
    assert!(raw(&door.url, two).starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_user_without_an_envelope_and_two_of_either_are_refused() {
    let origin = Origin::start();
    let door = Door::open(&origin);
    let envelope = envelope(&[]);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for arguments in [
            &[USER][..],
            &[envelope.as_str()],
            &[USER, USER, envelope.as_str()],
            &[USER, "-Htrefoil-USER: bob", envelope.as_str()],
            &[USER, envelope.as_str(), envelope.as_str()],
            &["-HTrefoil-User;", envelope.as_str()],
            &[USER, "-HTrefoil-Envelope;"],
            &["-HTrefoil-User: \u{ff}\u{ff}", "-HTrefoil_Envelope: x"],
        ] {
            let answer = curl(&[&[version, &door.at("/")], arguments].concat());
            answer.is_problem(400, "share-headers");
            assert!(!answer.body.contains("alice") && !answer.body.contains("eyJ"));
        }
    }
    assert!(origin.seen().is_empty());
    curl(&["-XCONNECT", "--request-target", "a:1", &door.at("/")]).is_problem(403, "connect");
    curl(&[&door.at("/.well-known/trefoil/announcement")]).is_problem(404, "no-announcement");
}

#[test]
fn an_envelope_that_does_not_hold_is_refused_and_says_why() {
    let origin = Origin::start();
    let door = Door::open(&origin);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let issued = |at: u64| envelope(&["--issued-at", &at.to_string()]);
    for (user, envelope, code) in [
        (USER, issued(now - 100), "share-expired"),
        (USER, issued(now + 100), "share-rejected"),
        ("-HTrefoil-User: bob", issued(now), "share-rejected"),
        ("-HTrefoil-User: Zo\u{eb}", issued(now), "share-rejected"),
        (USER, "-HTrefoil-Envelope: eyJ.made.up".to_owned(), "share-rejected"),
        (USER, "-HTrefoil-Envelope: a b".to_owned(), "share-rejected"),
    ] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let answer = curl(&[version, &door.at("/"), user, &envelope]);
            answer.is_problem(401, code);
            assert_eq!(answer.field("www-authenticate"), Some(format!("Trefoil error=\"{code}\"").as_str()));
            assert!(!answer.body.contains("alice") && !answer.body.contains("eyJ"));
            let page = curl(&[version, &door.at("/"), user, &envelope, "-HAccept: text/html"]);
            assert!(page.status == 401 && page.body.contains("<html"), "{page:?}");
        }
    }
    assert!(origin.seen().is_empty());
    assert_eq!(curl(&[&door.at("/"), USER, &issued(now)]).status, 200);
    assert!(!door.sidecar.output().contains("eyJ"), "no envelope is logged");
}

#[test]
fn a_proxy_that_cannot_be_asked_is_no_refusal() {
    let origin = Origin::start();
    let mut door = Door::open(&origin);
    door.proxy.pause();
    let answer = curl(&[&door.at("/"), USER, &envelope(&[])]);
    answer.is_problem(503, "proxy-unavailable");
    assert_eq!(answer.field("www-authenticate"), None);
    assert_eq!(curl(&[&door.at("/")]).status, 200);
    door.proxy.resume();
    assert_eq!(curl(&[&door.at("/"), USER, &envelope(&[])]).status, 200);
}

#[test]
fn where_an_application_that_is_away_should_be_is_for_the_log_alone() {
    let mut origin = Origin::start();
    let (door, place) = (Door::open(&origin), origin.url().replace("http://", ""));
    origin.stop();
    let answer = curl(&[&door.at("/")]);
    answer.is_problem(502, "origin-unreachable");
    assert!(!answer.body.contains(&place) && !answer.body.contains("os error"), "{}", answer.body);
    assert!(door.sidecar.output().contains(&place));
}

#[test]
fn agent_and_door_stand_one_behind_the_other() {
    let origin = Origin::start();
    let door = Door::open(&origin);
    let agent = Agent::start_before(&door.url, "");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&[version, "-XPUT", "-dabc", &agent.url("/x")]).body, "here");
        let seen = origin.last();
        assert_eq!((seen.method.as_str(), seen.body), ("PUT", 3));
        assert!(!format!("{:?}", seen.headers).contains("trefoil"));
    }
}

#[test]
fn over_a_network_it_speaks_tls() {
    let origin = Origin::start();
    let pem = |what: &str, der: &[u8]| {
        format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", crate::origin::base64(der))
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let renew = || {
        let identity = SelfSigned::generate(&["localhost".to_owned()]).unwrap();
        std::fs::write(path("ca.pem"), pem("CERTIFICATE", &identity.certificate)).unwrap();
        std::fs::write(path("key.pem"), pem("PRIVATE KEY", &identity.private_key)).unwrap();
        std::fs::set_permissions(path("key.pem"), Permissions::from_mode(0o600)).unwrap();
    };
    renew();
    let files = format!("certificate = '{}'\nkey = '{}'", path("ca.pem"), path("key.pem"));
    let door = Door::open_with(&origin, "https", &files);
    let url = door.at("/").replace("127.0.0.1", "localhost");
    let envelope = envelope(&[]);
    for (version, http2) in [("--http1.1", false), ("--http2", true)] {
        let answer = curl(&["--cacert", &path("ca.pem"), version, USER, envelope.as_str(), &url]);
        assert_eq!((answer.body.as_str(), answer.http2), ("here", http2));
        assert_eq!(origin.last().field("x-forwarded-proto"), Some("https"));
    }
    let old = Command::new("curl")
        .args(["-sS", "--cacert", &path("ca.pem"), "--tls-max", "1.2", &url])
        .output()
        .unwrap();
    assert!(!old.status.success());
    renew();
    door.sidecar.signal("HUP");
    while !door.sidecar.output().contains("were read again") {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(curl(&["--cacert", &path("ca.pem"), &url]).body, "here");
}

#[test]
fn in_clear_it_listens_on_loopback_before_an_application_beside_it() {
    let proxy = Proxy::start(None);
    let check = |http: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "listen = '127.0.0.1:0'\nstate = '{dir}/state'\n[lock]\nkey_file = '{dir}/lock'\n[proxy_admin]\nurl = \
             '{}'\nfingerprint = '{}'\n[http]\n{http}",
            proxy.url(),
            proxy.fingerprint,
            dir = directory.path().display()
        );
        let file = directory.path().join("shim.toml");
        std::fs::write(&file, text).unwrap();
        let run = |arguments: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_trefoil-shim"))
                .args(arguments)
                .arg("--config")
                .arg(&file)
                .output()
                .unwrap()
        };
        let made = run(&["init"]);
        let output = if made.status.success() { run(&["sidecar", "--check"]) } else { made };
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(check("listen = '127.0.0.1:0'\napplication = 'http://127.0.0.1:1'").0);
    for (http, reason) in [
        ("listen = '0.0.0.0:0'\napplication = 'http://127.0.0.1:1'", "in clear"),
        ("listen = '127.0.0.1:0'\napplication = 'http://app.example'", "beside the sidecar"),
        ("listen = '127.0.0.1:0'\napplication = 'https://127.0.0.1'", "beside the sidecar"),
        ("listen = '127.0.0.1:0'\napplication = 'http://127.0.0.1:1'\nkey = 'k'", "only one of"),
        ("listen = '127.0.0.1:0'", "application"),
    ] {
        let (started, said) = check(http);
        assert!(!started && said.contains(reason), "{said}");
    }
}
