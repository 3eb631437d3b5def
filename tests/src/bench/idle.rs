//! Sessions that do nothing: how many a proxy holds, and what memory each takes.

use super::process::resident;
use super::setup::SETTINGS;
use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::endpoint::Endpoint;
use crate::stack::{Ordered, ProxyOptions};
use crate::tenant::Tenant;
use crate::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is asked for; fewer where the machine has not the memory for the database's own side.
const SESSIONS: u64 = 5000;
/// What PostgreSQL's process for one session may take, in KiB.
const BACKEND: u64 = 2048;
const THREADS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Sessions held, and what each took.
pub(super) struct Idle {
    pub(super) sessions: u64,
    /// KiB of resident memory of the proxy for each, in clear.
    pub(super) clear: f64,
    /// The same under TLS.
    pub(super) tls: f64,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, clear, tls } = self;
        write!(f, "{sessions} idle sessions held: {clear:.1} KiB each in clear, {tls:.1} KiB under TLS.")
    }
}

impl Idle {
    /// Opens them all at a proxy of its own, in clear and then under TLS.
    pub(super) fn measure() -> Result<Self> {
        let sessions =
            SESSIONS.min(available()? / 4 * 3 / BACKEND).min(open_files()?.saturating_sub(200) / 2);
        let connections = (sessions + 20).to_string();
        let more = [("max_connections", connections.as_str()), ("shared_buffers", "32MB")];
        let cluster = Cluster::scratch_with(&[SETTINGS, &more].concat())?;
        cluster.trust()?;
        let dir = cluster.directory().join("parts");
        let authority = Authority::new(&dir.join("authority"))?;
        let certified = authority.certify(&["localhost"])?;
        let configuration = format!(
            "max_connections = 10000\ntls.certificate = {:?}\ntls.key = {:?}",
            certified.certificate, certified.key
        );
        let options = ProxyOptions {
            policy: super::data::POLICY,
            tenant: "idle",
            database: cluster.endpoint(),
            recorder: None,
            configuration: &configuration,
        };
        let mut proxy = Ordered::proxy(&dir.join("proxy"), &options)?.start()?;
        // It serves nobody before.
        Tenant::bootstrap(&dir.join("tenant"), &proxy)?;
        let mut each = [0.0; 2];
        for (each, tls) in each.iter_mut().zip([None, Some(trusting(&authority.file())?)]) {
            proxy.restart(&[])?;
            let (endpoint, pid) = (cluster.endpoint().through(proxy.port()), proxy.process().pid());
            // The first ones take along what all share.
            let first = open_all(&endpoint, tls.as_ref(), 8)?;
            let before = resident(pid)?;
            let held = open_all(&endpoint, tls.as_ref(), sessions)?;
            *each = resident(pid)?.saturating_sub(before) as f64 / held.len() as f64;
            drop((first, held));
        }
        let [clear, tls] = each;
        Ok(Self { sessions, clear, tls })
    }
}

trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

fn open_all(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    count: u64,
) -> Result<Vec<Box<dyn Socket>>> {
    let open = |part: u64| {
        (0..count)
            .filter(|number| number % THREADS == part)
            .map(|_| open(endpoint, tls))
            .collect::<Result<Vec<_>>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|part| scope.spawn(move || open(part))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

/// Logs in, where nobody asks for a password, and waits until the session is ready.
fn open(endpoint: &Endpoint, tls: Option<&Arc<ClientConfig>>) -> Result<Box<dyn Socket>> {
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut socket: Box<dyn Socket> = match tls {
        None => Box::new(stream),
        Some(config) => {
            stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f")?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            let name = ServerName::try_from("localhost").map_err(|error| Error::new(error.to_string()))?;
            let session = ClientConnection::new(Arc::clone(config), name)
                .map_err(|error| Error::new(error.to_string()))?;
            Box::new(StreamOwned::new(session, stream))
        }
    };
    let parameters = format!("user\0{}\0database\0{}\0\0", endpoint.user, endpoint.database);
    let length = u32::try_from(parameters.len() + 8).unwrap_or_default();
    socket.write_all(&[&length.to_be_bytes()[..], b"\0\x03\0\0", parameters.as_bytes()].concat())?;
    socket.flush()?;
    loop {
        let mut head = [0; 5];
        socket.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let body = u64::from(u32::from_be_bytes(length).saturating_sub(4));
        let mut said = Vec::new();
        Read::by_ref(&mut socket).take(body).read_to_end(&mut said)?;
        match kind {
            b'Z' => return Ok(socket),
            b'E' => return Err(Error::new(format!("no session: {}", String::from_utf8_lossy(&said)))),
            _ => {}
        }
    }
}

fn trusting(authority: &Path) -> Result<Arc<ClientConfig>> {
    let failed = |error: &dyn std::error::Error| Error::new(error.to_string());
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority).map_err(|error| failed(&error))?;
    roots.add(certificate).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Memory that may be used, in KiB.
fn available() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let amount = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    amount.ok_or_else(|| Error::new("/proc/meminfo: no MemAvailable"))
}

/// How many files a process may open.
fn open_files() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    limit.ok_or_else(|| Error::new("/proc/self/limits: no limit of open files"))
}
