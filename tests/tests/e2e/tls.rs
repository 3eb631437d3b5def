//! The proxy's side towards clients: TLS as real clients ask for it, sockets, certificates, cancel requests.

use crate::scripts::{go, java, node, output, python};
use crate::shared::{POLICY, cluster};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use tokio_postgres::NoTls;
use trefoil_keys::tls::Fingerprint;
use trefoil_link::{Address, ClientTls, Stream, Trust, connect};
use trefoil_tests::cluster::free_port;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::stack::{Ordered, Part, ProxyOptions};

const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority of the test, and what it has certified, as files.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

/// A directory that goes with the cluster.
fn directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("front_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let directory = cluster().directory().join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// What all tests share that need nothing of their own.
fn shared() -> &'static Front {
    static SHARED: OnceLock<Front> = OnceLock::new();
    SHARED.get_or_init(|| Front::start("", ""))
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let dir = directory();
        // Two of one name would be taken for one another, until a signature fails.
        params.distinguished_name.push(DnType::CommonName, dir.display().to_string());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Certificate and key for a name, as `file.crt` and `file.key`.
    pub(crate) fn certify(&self, name: &str, file: &str) -> Fingerprint {
        self.certify_until(SystemTime::now() + 400 * DAY, name, file)
    }

    fn certify_until(&self, end: SystemTime, name: &str, file: &str) -> Fingerprint {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = end.into();
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
}

impl Front {
    /// With these further lines of configuration, and these of its section `[tls]`.
    pub(crate) fn start(lines: &str, tls: &str) -> Self {
        Self::before(cluster().endpoint(), lines, tls)
    }

    /// The same in front of another database.
    pub(crate) fn before(database: &Endpoint, lines: &str, tls: &str) -> Self {
        let authority = Authority::new();
        let served = authority.certify("localhost", "server");
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
        let proxy = Ordered::proxy(&directory(), &options).unwrap().start().unwrap();
        let database = database.through(proxy.port());
        Self { proxy, database, authority, served }
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

    /// A connection under TLS, if the certificate is trusted.
    pub(crate) async fn stream(&self, trust: &Trust) -> Result<Stream, String> {
        let tls = ClientTls::new("localhost", trust, None, false).unwrap();
        let address = Address::Tcp("127.0.0.1".to_owned(), self.proxy.port());
        connect(&address, Some(&tls)).await.map_err(|error| error.to_string())
    }

    /// A client of our own.
    pub(crate) async fn client(&self, trust: &Trust) -> Result<tokio_postgres::Client, String> {
        let stream = self.stream(trust).await?;
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
    let front = shared();
    for mode in ["verify-full", "verify-ca", "require", "prefer"] {
        front.under_tls(&format!("sslmode={mode}"));
    }
    assert!(!front.psql("sslmode=disable").unwrap().contains("SSL"));
    // A certificate for another name, and one of another authority.
    front.refused("host=other.example sslmode=verify-full", "does not match host name");
    front.under_tls("host=other.example sslmode=verify-ca");
    let other = Authority::new().file("ca.pem");
    for mode in ["verify-full", "verify-ca"] {
        let settings = format!("sslmode={mode} sslrootcert={}", other.display());
        front.refused(&settings, "certificate verify failed");
    }
    front.refused("sslmode=require password=wrong", "password authentication failed");
}

#[test]
fn openssl_finds_tls_behind_the_request_and_from_the_first_byte() {
    let front = shared();
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
    let front = shared();
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
    let front = shared();
    let ca = front.authority.file("ca.pem").display().to_string();
    let seen = output(&mut node("tests/node/tls.js"), &[("URL", &front.database.url()), ("CA", &ca)]);
    assert_eq!(seen, "TLSv1.3\n42\n");
}

#[test]
fn jdbc_verifies_the_proxy_and_cancels() {
    let front = shared();
    let ca = front.authority.file("ca.pem").display().to_string();
    let seen = output(&mut java("OverTls"), &[("URL", &front.database.url()), ("CA", &ca)]);
    assert_eq!(seen, "42\n57014\n");
}

#[test]
fn pgx_verifies_the_proxy_recovers_and_cancels() {
    let front = shared();
    let ca = front.authority.file("ca.pem").display().to_string();
    let seen = output(go().arg("tls"), &[("URL", &front.database.url()), ("CA", &ca)]);
    assert_eq!(seen, "42\nERROR 22012  \nERROR 57014  \n");
    let stranger = Authority::new().file("ca.pem").display().to_string();
    let seen = output(go().arg("tls"), &[("URL", &front.database.url()), ("CA", &stranger)]);
    assert!(seen.contains("certificate signed by unknown authority"), "{seen}");
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
    let database = cluster().endpoint();
    let options = ProxyOptions { policy: POLICY, tenant: "own", database, recorder: None, configuration: "" };
    let proxy = Ordered::proxy(&directory(), &options).unwrap().start().unwrap();
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

#[test]
fn the_admin_ports_certificate_is_replaced_and_what_ends_is_warned_of() {
    let mut front = Front::start("", "");
    let files = ["crt", "key"].map(|kind| front.authority.file(&format!("admin.{kind}")));
    front.authority.certify("localhost", "admin");
    let section = format!("[admin]\ncertificate = {:?}\nkey = {:?}\n", files[0], files[1]);
    front.proxy.configure(&[("[admin]\n".to_owned(), section)]).unwrap();
    let next = front.authority.certify_until(SystemTime::now() + 5 * DAY, "localhost", "admin");
    front.authority.certify_until(SystemTime::now() - DAY, "localhost", "server");
    front.proxy.process().signal("HUP").unwrap();
    let proxy = front.proxy.process_mut();
    proxy.wait_for(&format!("admin port: new certificate {next}"), PATIENCE).unwrap();
    proxy.wait_for("data port: the certificate has expired", PATIENCE).unwrap();
    proxy.wait_for("admin port: the certificate expires in 4 days", PATIENCE).unwrap();
    let tls = trefoil_keys::tls::pinned_client_config(next, None).unwrap();
    let client = trefoil_https::client::client(tls, PATIENCE).unwrap();
    let request = client.get(format!("{}/health", front.proxy.admin_url()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(trefoil_https::client::send(request, 10_000)).unwrap();
}

/// An address of this machine that is none of loopback, if it has one.
pub(crate) fn outer_address() -> Option<IpAddr> {
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
    // Not even then a password, by passthrough.
    front.refused(&format!("{from_outside} sslmode=disable"), "no password over a connection in clear");
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
}
