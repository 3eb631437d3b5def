//! An origin that is slow, dead or not who it should be.

use crate::agent::{Agent, issue};
use crate::curl::curl;
use crate::origin::Origin;
use std::process::Command;

#[test]
fn an_origin_that_does_not_answer_is_told_from_one_that_is_not_there() {
    let mut origin = Origin::start();
    let agent = Agent::start_with(&origin, "response_timeout = 1");
    curl(&[&agent.url("/slow")]).is_problem(504, "origin-slow");
    curl(&["-XPOST", "--data", "abc", &agent.url("/slow")]).is_problem(504, "origin-slow");
    // A client that does not go on is not the origin's fault, and one that is slow is nobody's.
    let stuck = format!("(printf a; sleep 4) | curl -sS -i -T - --noproxy '*' {}", agent.url("/stuck"));
    let output = Command::new("sh").arg("-c").arg(stuck).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("slow-body"), "{output:?}");
    let slow = format!(
        "(for i in 1 2 3 4 5; do printf a; sleep 0.5; done) | curl -sS -T - --noproxy '*' {}",
        agent.url("/slowly")
    );
    let output = Command::new("sh").arg("-c").arg(slow).output().unwrap();
    assert_eq!((output.stdout.as_slice(), origin.last().body), (b"here".as_slice(), 5));
    origin.stop();
    let answer = curl(&[&agent.url("/")]);
    answer.is_problem(502, "origin-unreachable");
    assert!(answer.body.contains(&origin.url()), "{}", answer.body);
    let page = curl(&["-HAccept: text/html", &agent.url("/")]);
    assert!(page.status == 502 && page.body.starts_with("<!doctype html>"), "{page:?}");
}

#[test]
fn a_certificate_of_somebody_else_is_none() {
    let (origin, other) = (Origin::start_as("https"), Origin::start_as("https"));
    let agent = Agent::start(&origin);
    assert_eq!(curl(&[&agent.url("/")]).status, 200);
    std::fs::copy(other.directory.path().join("ca.pem"), origin.directory.path().join("ca.pem")).unwrap();
    let agent = Agent::start(&origin);
    let answer = curl(&[&agent.url("/")]);
    answer.is_problem(502, "origin-unreachable");
    assert!(answer.body.contains("certificate"), "{}", answer.body);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn tls_1_2_is_spoken_where_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (key, certificate) = (path("key.pem"), path("ca.pem"));
    let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE -keyout";
    let made =
        Command::new("openssl").args(make.split_whitespace()).args([&key, "-out", &certificate]).output();
    assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-tls1_2",
            "-www",
            "-accept",
            &port,
            "-cert",
            &certificate,
            "-key",
            &key,
            "-quiet",
        ])
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (url, ca) = (format!("https://localhost:{port}"), format!("ca = '{certificate}'\n"));
    curl(&[&Agent::start_before(&url, &ca).url("/")]).is_problem(502, "origin-unreachable");
    let agent = Agent::start_before(&url, &format!("{ca}min_version = '1.2'"));
    let answer = curl(&["--http1.1", &agent.url("/")]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.status == 200 && answer.body.contains("TLSv1.2"), "{answer:?}");
}

#[test]
fn heads_have_a_limit() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    let field = |length| format!("-HX-Long: {}", "x".repeat(length));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&[version, &agent.url("/"), &field(30_000)]).status, 200);
    }
    let seen = origin.seen().len();
    assert_eq!(curl(&[&agent.url("/"), &field(100_000)]).status, 431);
    // Over HTTP/2 a client may keep to the limit that it was told, or is cut off.
    let mut over_http2 = Command::new("curl");
    over_http2.args(["-sS", "--noproxy", "*", "--http2-prior-knowledge", &agent.url("/"), &field(100_000)]);
    assert!(over_http2.output().unwrap().stdout.is_empty());
    assert_eq!(origin.seen().len(), seen);
}

#[test]
fn cleartext_over_a_network_must_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("alice.json");
    issue(&bundle);
    let check = |origin: &str, more: &str| {
        let file = directory.path().join("agent.toml");
        std::fs::write(&file, format!("origin = '{origin}'\nbundle = '{}'\n{more}", bundle.display()))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"));
        let output = command.args(["agent", "--check", "--config"]).arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(check("http://127.0.0.1:1", "").0);
    let (started, said) = check("http://app.example", "");
    assert!(!started && said.contains("in clear"), "{said}");
    assert!(check("http://app.example", "allow_cleartext = true").0);
    let (started, said) = check("https://app.example", "ca = '/nonexistent'");
    assert!(!started && said.contains("/nonexistent"), "{said}");
}
