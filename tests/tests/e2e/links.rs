//! Real clients, a sidecar and a proxy with TLS on each link between them.

use crate::scripts::{java, node, output, python};
use crate::shared::{POLICY, assert_same, cluster, create_schema};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::leak::{Marker, Search};
use trefoil_tests::recorder::Recorder;
use trefoil_tests::stack::{ProxyOptions, Stack};

/// A sidecar that acts for alice, under TLS on both sides, and a relay between it and the proxy.
struct Site {
    stack: Stack,
    recorder: Recorder,
    directory: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "links",
            database: cluster().endpoint(),
            recorder: None,
            configuration: "",
        };
        let mut stack = Stack::start(&dir.join("parts"), &options, &["alice"], 1).unwrap();
        certify(dir);
        let recorder = Recorder::start(stack.proxy.port()).unwrap();
        let port = stack.acting[0].port();
        let at = |port: u16| format!("\"127.0.0.1:{port}\"");
        let socket = dir.join(format!(".s.PGSQL.{port}"));
        let sections = format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n\n[proxy_tls]\nmode = \"require\"\n\n[proxy_admin]",
            dir.join("server.crt"),
            dir.join("server.key"),
        );
        let changes = [
            (at(stack.proxy.port()), at(recorder.port())),
            (at(port), format!("[{}, \"[::1]:{port}\"]\nunix_socket = {socket:?}", at(port))),
            ("[proxy_admin]".to_owned(), sections),
        ];
        stack.acting[0].configure(&changes).unwrap();
        Self { stack, recorder, directory }
    }

    /// One test's database, through the sidecar.
    fn database(&self, name: &str) -> Endpoint {
        cluster().create_database(name).unwrap().through(self.stack.acting[0].port())
    }

    fn secure(&self, endpoint: &Endpoint) -> String {
        let ca = self.directory.path().join("ca.pem");
        format!("{}?sslmode=verify-full&sslrootcert={}", endpoint.url(), ca.display())
    }

    /// Nothing of this was seen between sidecar and proxy.
    fn hides(&self, mark: &str) {
        let sent = self.recorder.sent();
        let search = Search::new([&Marker::text(mark)], 4).unwrap();
        let leaks: Vec<_> = sent.iter().flat_map(|bytes| search.leaks(bytes)).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
        for bytes in sent.iter().filter(|bytes| !bytes.is_empty()) {
            // SSLRequest, and then TLS alone: a handshake's record.
            assert!(bytes.starts_with(b"\0\0\0\x08\x04\xd2\x16\x2f"), "{}", bytes.escape_ascii());
            assert!(bytes.get(8).is_none_or(|kind| *kind == 0x16));
            for word in [b"_pq_.trefoil".as_slice(), b"alice", b"main:", b"eyJ"] {
                assert!(memchr::memmem::find(bytes, word).is_none(), "{}", word.escape_ascii());
            }
        }
        assert!(sent.iter().any(|bytes| bytes.len() > 1000), "nothing was sent");
    }
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(Site::start)
}

/// An authority in `ca.pem`, and what it certifies for this machine in `server.crt` and `server.key`.
fn certify(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Of the same name as what it certifies, it would pass for self-signed.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.join("server.crt"), params.signed_by(&key, &authority).unwrap().pem()).unwrap();
    trefoil_tests::tenant::write_private(&dir.join("server.key"), &key.serialize_pem()).unwrap();
}

/// What psql prints, errors included.
fn psql(arguments: &[&str]) -> String {
    let output = Command::new("psql").args(["-X", "-At"]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn psql_verifies_the_sidecar_and_a_recorder_behind_it_sees_nothing() {
    let site = site();
    let database = site.database("links_psql");
    create_schema(&database);
    let secure = site.secure(&database);
    let write = "UPDATE patients SET name = 'QJLINKSQZ' WHERE ssn = 'SEED-001' RETURNING ssn, name";
    let seen = psql(&["-d", &secure, "-c", "\\conninfo", "-c", write]);
    assert!(seen.contains("TLSv1.3") && seen.contains("SEED-001|QJLINKSQZ"), "{seen}");
    site.hides("QJLINKSQZ");
    // The password's login is SCRAM or the proxy's; neither binds to a channel that ends here.
    let bound = psql(&["-d", &format!("{secure}&channel_binding=require"), "-c", "SELECT 1"]);
    assert!(bound.contains("channel binding"), "{bound}");
    let other = secure.replace("@127.0.0.1", "@other.example") + "&hostaddr=127.0.0.1";
    let other = psql(&["-d", &other, "-c", "SELECT 1"]);
    assert!(other.contains("does not match host name"), "{other}");
    // By IPv6, and by the socket's directory.
    let six =
        psql(&["-d", &(secure.replace("@127.0.0.1", "@localhost") + "&hostaddr=::1"), "-c", "SELECT 6"]);
    assert_eq!(six, "6\n");
    let directory = site.directory.path().display().to_string();
    let by_socket = database.url().replace("@127.0.0.1", "@") + &format!("?host={directory}");
    let name = psql(&["-d", &by_socket, "-c", "SELECT name FROM patients WHERE ssn = 'SEED-001'"]);
    assert_eq!(name, "QJLINKSQZ\n");
}

#[test]
fn drivers_work_under_tls() {
    let site = site();
    let mark = "QJDRIVERSQZ";
    for (name, application, more) in [
        ("node", &mut node("tests/node/with_pg.js"), ""),
        ("jdbc", &mut java("WithJdbc"), ""),
        ("psycopg", python("tests/python/with_sqlalchemy.py").arg("psycopg"), "&sslnegotiation=direct"),
    ] {
        let plain = cluster().create_database(&format!("links_plain_{name}")).unwrap();
        let expected = output(application, &[("URL", &plain.url()), ("MARK", mark)]);
        assert!(expected.lines().count() > 100 && !expected.contains("FAILED"), "{expected}");
        let secure = site.secure(&site.database(&format!("links_{name}"))) + more;
        assert_same(&output(application, &[("URL", &secure), ("MARK", mark)]), &expected);
    }
    site.hides(mark);
}

#[test]
fn direct_tls_and_cancel_requests_of_either_protocol() {
    let site = site();
    let secure = site.secure(&site.database("links_cancel"));
    let seen = output(&mut python("tests/python/with_tls.py"), &[("URL", &secure)]);
    assert!(seen.ends_with("done\n"), "{seen}");
}
