//! The real sidecar: `init`, the process, its end and its restart; and what it attaches to requests.

use crate::peer::Proxy;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trefoil_keys::secret::Share;
use trefoil_keys::tls::Fingerprint;

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Sidecar {
    pub(crate) directory: TempDir,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) password: String,
    /// Of the interface.
    pub(crate) admin: SocketAddr,
    listen: SocketAddr,
    upstream: TcpListener,
    process: Option<Child>,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Sidecar {
    pub(crate) fn start(proxy: &Proxy) -> Self {
        Self::start_with(proxy, "")
    }

    /// With further lines in the section `[admin]`.
    pub(crate) fn start_with(proxy: &Proxy, admin: &str) -> Self {
        let mut sidecar = Self::new(proxy, admin);
        sidecar.run(&[]);
        sidecar
    }

    /// Set up and not running.
    pub(crate) fn new(proxy: &Proxy, admin: &str) -> Self {
        Self::new_in(tempfile::tempdir().unwrap(), proxy, "", admin)
    }

    /// In this directory, with further lines before the sections.
    pub(crate) fn new_in(directory: TempDir, proxy: &Proxy, more: &str, admin: &str) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "listen = '127.0.0.1:0'\nproxy = '{}'\nstate = '{dir}/state'\n{more}\n\
             [lock]\nkey_file = '{dir}/lock'\n[admin]\nlisten = '127.0.0.1:0'\n{admin}\n\
             [proxy_admin]\nurl = '{}'\nfingerprint = '{}'\n",
            upstream.local_addr().unwrap(),
            proxy.url(),
            proxy.fingerprint,
            dir = directory.path().display(),
        );
        std::fs::write(directory.path().join("shim.toml"), text).unwrap();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let made = json(&init(directory.path(), &["--json"]));
        Self {
            fingerprint: made["fingerprint"].as_str().unwrap().parse().unwrap(),
            password: made["password"].as_str().unwrap().to_owned(),
            admin: nowhere,
            listen: nowhere,
            upstream,
            process: None,
            directory,
        }
    }

    pub(crate) fn init(&self, flags: &[&str]) -> Output {
        init(self.directory.path(), flags)
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    /// Starts the process, which must be ready; a kill point may end it later.
    pub(crate) fn run(&mut self, environment: &[(&str, &str)]) {
        self.spawn(environment);
        let process = self.process.as_mut().unwrap();
        let log = self.directory.path().join("log");
        let address = |text: &str, before: &str| {
            let (_, after) = text.rsplit_once(before)?;
            after.split_once('\n')?.0.parse().ok()
        };
        let end = Instant::now() + LIMIT;
        (self.listen, self.admin) = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            let found = (address(&text, " listening on "), address(&text, "admin port at "));
            if let (Some(listen), Some(admin)) = found {
                break (listen, admin);
            }
            assert!(process.try_wait().unwrap().is_none() && Instant::now() < end, "{text}");
            std::thread::sleep(Duration::from_millis(10));
        };
    }

    /// Starts the process, whatever becomes of it.
    pub(crate) fn spawn(&mut self, environment: &[(&str, &str)]) {
        // A file that is too large ends the program by a signal, where a full disk is an error alone.
        let process = Command::new("env")
            .args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_trefoil-shim"), "sidecar", "--config"])
            .arg(self.directory.path().join("shim.toml"))
            .env_remove("TREFOIL_KILL_AT")
            .envs(environment.iter().copied())
            .stderr(Stdio::from(File::create(self.log()).unwrap()))
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// As a power failure would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// From now on no file of the sidecar may get larger than this, as if its disk were full.
    pub(crate) fn leave_room(&self, bytes: Option<u64>) {
        let id = self.process.as_ref().unwrap().id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    }

    /// What the kernel says of the process, in a file of its directory.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.process.as_ref().unwrap().id().to_string()).join(file)
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) {
        let end = Instant::now() + LIMIT;
        let mut process = self.process.take().unwrap();
        while process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.run(&[]);
    }

    /// The share that goes with a request of this user, as 32 equal bytes; `None` if none goes.
    pub(crate) fn share_of(&self, user: &str) -> Option<u8> {
        let parameters = format!("trefoil.user\0{user}\0trefoil.envelope\0e\0");
        let [_, _, share] = self.request(&parameters);
        let share = Share::from_base64url(share.strip_prefix("main:")?).unwrap();
        assert!(share.as_bytes().iter().all(|byte| *byte == share.as_bytes()[0]));
        Some(share.as_bytes()[0])
    }

    /// User, envelope and application's share that go with a request in a session of these parameters.
    pub(crate) fn request(&self, parameters: &str) -> [String; 3] {
        let mut client = TcpStream::connect(self.listen).unwrap();
        let packet = format!("\0\x03\0\0{parameters}user\0app\0\0");
        let length = u32::try_from(packet.len() + 4).unwrap().to_be_bytes();
        client.write_all(&[&length, packet.as_bytes()].concat()).unwrap();
        let (mut peer, _) = self.upstream.accept().unwrap();
        peer.set_read_timeout(Some(LIMIT)).unwrap();
        read(&mut peer);
        peer.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
        client.write_all(b"Q\0\0\0\x0dSELECT 1\0").unwrap();
        let mut kind = [0];
        peer.read_exact(&mut kind).unwrap();
        assert_eq!(kind, *b"K");
        let body = read(&mut peer);
        let mut rest = body.as_slice();
        [(); 3].map(|()| {
            let (length, after) = rest.split_first_chunk::<2>().unwrap();
            let (text, after) = after.split_at(u16::from_be_bytes(*length).into());
            rest = after;
            String::from_utf8(text.to_vec()).unwrap()
        })
    }
}

/// The rest of a message, from its length on.
fn read(peer: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    peer.read_exact(&mut length).unwrap();
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    peer.read_exact(&mut body).unwrap();
    body
}

fn init(directory: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trefoil-shim"))
        .args(["init", "--config"])
        .arg(directory.join("shim.toml"))
        .args(flags)
        .output()
        .unwrap()
}

#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
