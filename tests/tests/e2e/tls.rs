//! The proxy's side towards clients: TLS as real clients ask for it, sockets, certificates, cancel requests.

use crate::scripts::{node, output, python};
use crate::shared::{POLICY, cluster};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use trefoil_keys::tls::Fingerprint;
use trefoil_link::{Address, ClientTls, Trust, connect};
use trefoil_tests::cluster::free_port;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::stack::{Ordered, Part, ProxyOptions};

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority of the test, and what it has certified, as files.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let dir = tempfile::tempdir().unwrap();
        // Two of one name would be taken for one another, until a signature fails.
        params.distinguished_name.push(DnType::CommonName, dir.path().display().to_string());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Certificate and key for a name, as `file.crt` and `file.key`.
    pub(crate) fn certify(&self, name: &str, file: &str) -> Fingerprint {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{file}.crt")), certificate.pem()).unwrap();
        let path = self.file(&format!("{file}.key"));
        drop(fs::remove_file(&path));
        trefoil_tests::tenant::write_private(&path, &key.serialize_pem()).unwrap();
        Fingerprint::of(certificate.der())
    }
}

/// A proxy with a certificate of an authority, in front of the cluster of all.
pub(crate) struct Front {
    pub(crate) proxy: Part,
    pub(crate) database: Endpoint,
    pub(crate) authority: Authority,
    pub(crate) served: Fingerprint,
    directory: TempDir,
}

impl Front {
    /// With these further lines of configuration, and these of its section `[tls]`.
    pub(crate) fn start(lines: &str, tls: &str) -> Self {
        let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
        let served = authority.certify("localhost", "server");
        let database = cluster().endpoint();
        let configuration = format!(
            "{lines}\n[tls]\ncertificate = {:?}\nkey = {:?}\n{tls}\n",
            authority.file("server.crt"),
            authority.file("server.key"),
        );
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "front",
            database,
            recorder: None,
            configuration: &configuration,
        };
        let proxy = Ordered::proxy(directory.path(), &options).unwrap().start().unwrap();
        let database = database.through(proxy.port());
        Self { proxy, database, authority, served, directory }
    }

    pub(crate) fn log(&self) -> String {
        self.proxy.process().output()
    }

    fn conninfo(&self, settings: &str) -> String {
        let Endpoint { port, user, password, database, .. } = &self.database;
        let ca = self.authority.file("ca.pem");
        format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user={user} password={password} dbname={database} \
             sslrootcert={} {settings}",
            ca.display()
        )
    }

    /// What psql says of the connection that it gets, or of why it gets none. Later settings win.
    fn psql(&self, settings: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command.args([
            "-X",
            "-At",
            "-d",
            &self.conninfo(settings),
            "-c",
            "\\conninfo",
            "-c",
            "SELECT 40 + 2",
        ]);
        let done = command.env("LC_ALL", "C.UTF-8").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
    }

    #[track_caller]
    fn under_tls(&self, settings: &str) {
        let said = self.psql(settings).unwrap();
        assert!(said.contains("SSL connection (protocol: TLSv1.") && said.ends_with("\n42\n"), "{said}");
    }

    #[track_caller]
    fn refused(&self, settings: &str, reason: &str) {
        let said = self.psql(settings).expect_err(settings);
        assert!(said.contains(reason), "{said}");
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.proxy.port()), "-CAfile"]);
        command.arg(self.authority.file("ca.pem")).args(["-verify_hostname", "localhost"]).args(arguments);
        let done = command.stdin(Stdio::null()).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    }

    /// A client of our own, which accepts what is trusted so.
    pub(crate) async fn client(&self, trust: &Trust) -> Result<tokio_postgres::Client, String> {
        let tls = ClientTls::new("localhost", trust, None, false).unwrap();
        let address = Address::Tcp("127.0.0.1".to_owned(), self.proxy.port());
        let stream = connect(&address, Some(&tls)).await.map_err(|error| error.to_string())?;
        let mut config = tokio_postgres::Config::new();
        config.user(&self.database.user).password(&self.database.password).dbname(&self.database.database);
        let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|error| {
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.code().code().to_owned())
        })?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

#[test]
fn psql_gets_what_its_sslmode_asks_for() {
    let front = Front::start("", "");
    for mode in ["verify-full", "verify-ca", "require", "prefer"] {
        front.under_tls(&format!("sslmode={mode}"));
    }
    assert!(!front.psql("sslmode=disable").unwrap().contains("SSL"));
    // A certificate for another name, and one of another authority.
    front.refused("host=other.example sslmode=verify-full", "does not match host name");
    front.under_tls("host=other.example sslmode=verify-ca");
    let other = Authority::new().dir.keep().join("ca.pem");
    for mode in ["verify-full", "verify-ca"] {
        let settings = format!("sslmode={mode} sslrootcert={}", other.display());
        front.refused(&settings, "certificate verify failed");
    }
    front.refused("sslmode=require password=wrong", "password authentication failed");
    fs::remove_dir_all(other.parent().unwrap()).unwrap();
}

#[test]
fn openssl_finds_tls_behind_the_request_and_from_the_first_byte() {
    let front = Front::start("", "");
    let said = front.openssl(&["-starttls", "postgres", "-tls1_3"]);
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("TLSv1.3"), "{said}");
    let said = front.openssl(&["-alpn", "postgresql"]);
    assert!(said.contains("ALPN protocol: postgresql") && said.contains("Verify return code: 0"), "{said}");
    for arguments in [&[][..], &["-alpn", "http/1.1"], &["-starttls", "postgres", "-tls1_2"]] {
        let said = front.openssl(arguments);
        assert!(!said.contains("ALPN protocol: postgresql"), "{said}");
    }
    let said = front.openssl(&["-starttls", "postgres", "-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
    let log = front.log();
    assert!(log.contains("TLS from the first byte without the protocol `postgresql`"), "{log}");
    assert!(!log.contains("panic"), "{log}");

    let older = Front::start("", "min_version = \"1.2\"");
    let said = older.openssl(&["-starttls", "postgres", "-tls1_2"]);
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("TLSv1.2"), "{said}");
    older.under_tls("sslmode=verify-full ssl_max_protocol_version=TLSv1.2");
}

#[test]
fn a_newer_libpq_negotiates_directly_and_cancels_under_tls_and_in_clear() {
    let front = Front::start("", "");
    for (settings, cancels, seen) in [
        ("sslmode=verify-full sslnegotiation=direct", "safe", "tls\n42\ncanceled\n"),
        ("sslmode=verify-full max_protocol_version=3.2", "safe,clear", "tls\n42\ncanceled\ncanceled\n"),
        ("sslmode=disable max_protocol_version=latest", "safe", "clear\n42\ncanceled\n"),
    ] {
        let conninfo = front.conninfo(settings);
        let variables = [("CONNINFO", conninfo.as_str()), ("CANCELS", cancels)];
        assert_eq!(output(&mut python("tests/python/tls.py"), &variables), seen, "{settings}");
    }
}

#[test]
fn node_postgres_speaks_tls() {
    let front = Front::start("", "");
    let ca = front.authority.file("ca.pem").display().to_string();
    let seen = output(&mut node("tests/node/tls.js"), &[("URL", &front.database.url()), ("CA", &ca)]);
    assert_eq!(seen, "TLSv1.3\n42\n");
}

#[test]
fn clients_may_show_certificates_of_one_authority_only() {
    let authority = Authority::new();
    authority.certify("alice", "alice");
    let client_ca = format!("client_ca = {:?}", authority.file("ca.pem"));
    let front = Front::start("", &client_ca);
    let shown = |authority: &Authority, name: &str| {
        let [certificate, key] = ["crt", "key"].map(|kind| authority.file(&format!("{name}.{kind}")));
        format!("sslmode=verify-full sslcert={} sslkey={}", certificate.display(), key.display())
    };
    front.under_tls(&shown(&authority, "alice"));
    front.under_tls("sslmode=verify-full");
    let stranger = Authority::new();
    stranger.certify("alice", "alice");
    front.refused(&shown(&stranger, "alice"), "alert");
}

#[test]
fn without_a_certificate_of_its_own_the_data_port_shows_the_admin_ports() {
    let (directory, database) = (tempfile::tempdir().unwrap(), cluster().endpoint());
    let options = ProxyOptions { policy: POLICY, tenant: "own", database, recorder: None, configuration: "" };
    let proxy = Ordered::proxy(directory.path(), &options).unwrap().start().unwrap();
    let trust = Trust::Pinned(proxy.fingerprint().parse().unwrap());
    let tls = ClientTls::new("localhost", &trust, None, false).unwrap();
    let address = Address::Tcp("127.0.0.1".to_owned(), proxy.port());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(connect(&address, Some(&tls))).unwrap();
    let log = proxy.process().output();
    assert!(log.contains(&format!("data port: certificate {}", proxy.fingerprint())), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_under_open_sessions() {
    let mut front = Front::start("", "");
    let trust = Trust::Authority(front.authority.file("ca.pem"));
    let open = front.client(&trust).await.unwrap();
    open.batch_execute("CREATE TEMP TABLE kept (id int)").await.unwrap();

    let next = front.authority.certify("localhost", "server");
    front.proxy.process().signal("HUP").unwrap();
    let line = format!("new certificate {next}");
    front.proxy.process_mut().wait_for(&line, PATIENCE).unwrap();
    assert!(front.client(&Trust::Pinned(front.served)).await.is_err(), "the former one is still shown");
    front.client(&Trust::Pinned(next)).await.unwrap();

    fs::write(front.authority.file("server.crt"), "nothing").unwrap();
    front.proxy.process().signal("HUP").unwrap();
    front.proxy.process_mut().wait_for("certificates not read, the former ones stay", PATIENCE).unwrap();
    front.client(&Trust::Pinned(next)).await.unwrap();
    open.batch_execute("SELECT * FROM kept").await.unwrap();
}

/// An address of this machine that is none of loopback, if it has one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses where it would be sent from.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn sessions_in_clear_are_for_this_machine_alone() {
    let Some(outer) = outer_address() else { return eprintln!("no address but loopback: not tried") };
    let mut front = Front::start("", "");
    let port = front.proxy.port();
    let both = format!("[\"127.0.0.1:{port}\", \"{outer}:{port}\"]");
    front.proxy.configure(&[(format!("\"127.0.0.1:{port}\""), both)]).unwrap();
    let from_outside = format!("hostaddr={outer}");
    front.refused(&format!("{from_outside} sslmode=disable"), "other hosts are taken under TLS only");
    front.under_tls(&format!("{from_outside} sslmode=verify-full"));
    front.psql("sslmode=disable").unwrap();
    front.proxy.configure(&[("[tls]\n".to_owned(), "[tls]\nrequired = false\n".to_owned())]).unwrap();
    front.psql(&format!("{from_outside} sslmode=disable")).unwrap();
    assert!(front.log().contains("connections in clear are taken from other hosts"), "{}", front.log());
}

#[test]
fn psql_finds_the_unix_socket_by_its_directory() {
    let sockets = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let path = sockets.path().join(format!(".s.PGSQL.{port}"));
    // Of a proxy that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut front = Front::start(&format!("unix_socket = {path:?}"), "");
    let said = front.psql(&format!("host={} hostaddr='' port={port}", sockets.path().display())).unwrap();
    assert!(said.contains("via socket in") && !said.contains("SSL"), "{said}");
    front.proxy.process_mut().stop();
    assert!(!Path::new(&path).exists());
    assert!(front.directory.path().exists());
}
