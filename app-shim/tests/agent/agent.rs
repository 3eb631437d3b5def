//! The real agent, for a user whose envelopes the tests can open.

use crate::origin::Origin;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trefoil_keys::bundle::{self, IssuedShare, UserBundle, Version};
use trefoil_keys::envelope::{EnvelopePrivateKey, UserEnvelope};
use trefoil_keys::secret::Share;
use trefoil_keys::signing::SigningKey;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) directory: TempDir,
    pub(crate) tenant_admin: SigningKey,
    process: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) fn key() -> EnvelopePrivateKey {
    EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../../keys/tests/vectors/key-2048.pem")).unwrap()
}

pub(crate) fn next_key() -> EnvelopePrivateKey {
    EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../../keys/tests/vectors/proxy-key.pem")).unwrap()
}

/// What the proxy would read.
#[track_caller]
pub(crate) fn open(envelope: &str) -> UserEnvelope {
    let Ok(envelope) = key().open(envelope) else { panic!("no envelope for the proxy") };
    envelope
}

/// A bundle of alice's, and who announces keys to her.
pub(crate) fn issue(path: &Path) -> SigningKey {
    let tenant_admin = SigningKey::generate().unwrap();
    let share = IssuedShare { epoch: 1, share: Share::from_bytes([7; 32]) };
    let bundle = UserBundle {
        version: Version,
        tenant: "clinic".to_owned(),
        user: "alice".to_owned(),
        audience: "clinic-app".to_owned(),
        envelope_key: key().public_key().to_jwk(),
        announcement_key: Some(tenant_admin.verifying_key().clone()),
        announcement_serial: 0,
        shares: [("main".to_owned(), share)].into(),
    };
    bundle::write(path, &bundle).unwrap();
    tenant_admin
}

impl Agent {
    pub(crate) fn start(origin: &Origin) -> Self {
        Self::start_with(origin, "")
    }

    /// With further lines in its configuration.
    pub(crate) fn start_with(origin: &Origin, more: &str) -> Self {
        let ca = origin.directory.path().join("ca.pem");
        let ca = if ca.exists() { format!("ca = '{}'\n", ca.display()) } else { String::new() };
        Self::start_before(&origin.url(), &format!("{ca}{more}"))
    }

    /// Before whatever answers at `url`.
    pub(crate) fn start_before(url: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tenant_admin = issue(&directory.path().join("alice.json"));
        let text = format!(
            "listen = '127.0.0.1:0'\norigin = '{url}'\nbundle = '{}/alice.json'\n{more}\n",
            directory.path().display(),
        );
        let file = directory.path().join("agent.toml");
        std::fs::write(&file, text).unwrap();
        let log = directory.path().join("log");
        let mut process = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"))
            .args(["agent", "--config"])
            .arg(file)
            .stderr(Stdio::from(File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        let end = Instant::now() + LIMIT;
        let address = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(address) = text
                .split_once(" listening on ")
                .and_then(|(_, rest)| rest.split_once(','))
                .and_then(|(address, _)| address.parse().ok())
            {
                break address;
            }
            assert!(process.try_wait().unwrap().is_none() && Instant::now() < end, "{text}");
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { address, directory, tenant_admin, process }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the log says so.
    pub(crate) fn says(&self, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "not in the log: {text}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The most memory that it has had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}
