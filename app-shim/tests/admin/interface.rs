//! The interface itself: TLS, paths, limits, announcements, and that no share comes out of it.

use crate::peer::Proxy;
use crate::sidecar::Sidecar;
use crate::tenant::{Client, Tenant, add};
use reqwest::Method;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use trefoil_keys::status::Status;
use trefoil_keys::tls;

fn parties() -> (Tenant, Proxy, Sidecar, Client) {
    let tenant = Tenant::new();
    let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
    let sidecar = Sidecar::start(&proxy);
    let client = Client::new(&sidecar);
    (tenant, proxy, sidecar, client)
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let (_, _proxy, _sidecar, client) = parties();
    client.get("/v1/shares").is(404, "not-found");
    client.get("/").is(404, "not-found");
    client.send(Method::DELETE, "/v1/users", b"").is(405, "method");
    client.get("/v1/AddUser").is(405, "method");
    for path in ["/v1/status", "/v1/status?nonce=", "/v1/status?nonce=a%20b", "/v1/status?x=1&nonce=a"] {
        client.get(path).is(400, "nonce");
    }
    client.get(&format!("/v1/status?nonce={}", "a".repeat(65))).is(400, "nonce");
}

#[test]
fn bodies_that_are_no_deliveries() {
    let (tenant, proxy, _sidecar, client) = parties();
    let post = |body: &[u8]| client.send(Method::POST, "/v1/AddUser", body);
    post(b"").is(400, "delivery");
    post(b"{\"version\":1}").is(400, "delivery");
    let mut json: serde_json::Value =
        serde_json::from_slice(&tenant.delivery(1, add("alice"), 1).to_json().unwrap()).unwrap();
    json["more"] = 1.into();
    post(json.to_string().as_bytes()).is(400, "delivery");
    post(&vec![b' '; (4 << 20) + 1]).is(413, "too-large");
    assert_eq!(proxy.inside().asked, 0);
    assert_eq!(client.users(), [""; 0]);
}

#[test]
fn a_hangup_ends_nothing() {
    let (_, _proxy, sidecar, client) = parties();
    sidecar.signal("HUP");
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn the_proxys_status_comes_through() {
    let (_, mut proxy, _sidecar, client) = parties();
    let answer = client.get("/v1/status?nonce=of_this-call");
    let status = Status::introduce(&answer.text).unwrap();
    assert_eq!((answer.status, status.nonce.as_str()), (200, "of_this-call"));
    proxy.pause();
    client.get("/v1/status?nonce=n").is(503, "no-proxy");
}

#[test]
fn no_answer_and_no_log_holds_a_share() {
    let (tenant, _proxy, sidecar, client) = parties();
    let op = add("alice");
    let added = client.deliver(&tenant.delivery(1, op.clone(), 7), &op);
    assert_eq!(added.status, 200);
    let users = client.get("/v1/users");
    assert_eq!(users.json(), serde_json::json!({"users": {"alice": {"main": 1}}}));
    let share = trefoil_keys::secret::Share::from_bytes([7; 32]).to_base64url();
    let log = sidecar.output();
    for text in [&added.text, &users.text, &client.get("/health").text, &log] {
        assert!(!text.contains(share.as_str()) && !text.contains(&sidecar.password), "{text}");
    }
}

#[test]
fn client_certificates_are_required_when_an_authority_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["admin".to_owned()];
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key).unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let issuer = rcgen::Issuer::from_params(&parameters, &key);
    let own_key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(names.to_vec()).unwrap().signed_by(&own_key, &issuer).unwrap();
    let identity = (vec![own.der().clone()], PrivatePkcs8KeyDer::from(own_key.serialize_der()).into());

    let proxy = Proxy::start(Some(Tenant::new().key.verifying_key().clone()));
    let sidecar = Sidecar::start_with(&proxy, &format!("client_ca = '{}'", file.display()));
    let stranger = tls::SelfSigned::generate(&names).unwrap().identity();
    for refused in [None, Some(stranger)] {
        assert!(Client::with(&sidecar, refused).try_send(Method::GET, "/health", Vec::new()).is_none());
    }
    let client = Client::with(&sidecar, Some(identity));
    assert_eq!(client.get("/v1/users").status, 200);
}

#[test]
fn tls_1_2_and_plain_http_are_refused() {
    let (_, _proxy, sidecar, client) = parties();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut outcomes = Vec::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(sidecar.admin).unwrap();
        let error = rustls::Stream::new(&mut connection, &mut stream).write_all(b"x").unwrap_err();
        outcomes.push(error.to_string());
    }
    assert!(outcomes[0].contains("ProtocolVersion"), "{outcomes:?}");
    // Far enough to see a certificate that nobody vouches for.
    assert!(outcomes[1].contains("UnknownIssuer"), "{outcomes:?}");

    let mut plain = TcpStream::connect(sidecar.admin).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert, or a reset.
    drop(plain.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(client.get("/health").json(), serde_json::json!({"status": "ok", "reasons": [], "panics": 0}));
}

#[test]
fn the_sidecar_leaves_no_core_files() {
    let (_, _proxy, sidecar, _client) = parties();
    let limits = std::fs::read_to_string(sidecar.proc("limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "soft and hard");
    // The files of an undumpable process are root's.
    assert_eq!(std::fs::metadata(sidecar.proc("environ")).unwrap().uid(), 0);
}
