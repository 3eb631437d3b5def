//! A proxy in a directory of its own, started and killed as a test likes, and a client that pins it.

use memchr::memmem;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;
use trefoil_https::client::{self, Answer};
use trefoil_keys::status::Status;
use trefoil_keys::tls::{Fingerprint, pinned_client_config};

const CONFIG: &str = r#"
listen = "127.0.0.1:0"
policy = "policy.toml"
state = "state"
[lock]
key_file = "lock.key"
[admin]
listen = "127.0.0.1:0"
[upstream]
port = 1
tls = "disable"
[catalog]
user = "nobody"
"#;

/// What `init --json` prints.
#[derive(Clone, Deserialize)]
pub(crate) struct Report {
    pub(crate) fingerprint: String,
    pub(crate) password: Option<String>,
}

/// A directory with the configuration.
pub(crate) struct Place {
    dir: TempDir,
    report: Option<Report>,
}

/// Making keys takes seconds: one store that waits for its bootstrap, and one that is ready, for copies.
static OPEN: LazyLock<Place> = LazyLock::new(|| Place::made(&[]));
static READY: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::empty();
    fs::write(place.path("admin.jwk"), super::tenant::recipient().public_key().to_jwk()).unwrap();
    place.initialised(&["--seal-to", "admin.jwk", "--out", "handover.jwe", "--keyspace", "main", "billing"])
});

impl Place {
    /// Without a store.
    pub(crate) fn empty() -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("proxy.toml"), CONFIG).unwrap();
        fs::write(dir.path().join("policy.toml"), "").unwrap();
        Self { dir, report: None }
    }

    /// With a store of its own.
    pub(crate) fn made(more: &[&str]) -> Self {
        Self::empty().initialised(more)
    }

    /// A proxy that waits for its bootstrap.
    pub(crate) fn open() -> Self {
        OPEN.copy()
    }

    /// A proxy whose hand-over lies in `handover.jwe`.
    pub(crate) fn ready() -> Self {
        READY.copy()
    }

    fn initialised(mut self, more: &[&str]) -> Self {
        let output = self.init(more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.report = Some(serde_json::from_slice(&output.stdout).unwrap());
        self
    }

    fn copy(&self) -> Self {
        let other = Self::empty();
        fs::create_dir(other.path("state")).unwrap();
        fs::set_permissions(other.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
        for file in ["lock.key", "state/store.redb", "handover.jwe"] {
            if self.path(file).exists() {
                fs::copy(self.path(file), other.path(file)).unwrap();
            }
        }
        Self { report: self.report.clone(), ..other }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        // A file that is too large ends the program by a signal, where a full disk is an error alone.
        let mut command = Command::new("env");
        command.args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_trefoil-proxy")]);
        command.current_dir(self.dir.path()).env_remove("TREFOIL_CONFIG");
        command
    }

    /// Runs `init`.
    pub(crate) fn init(&self, more: &[&str]) -> Output {
        let arguments =
            ["init", "--config", "proxy.toml", "--json", "--tenant", "clinic", "--application", "app"];
        self.command().args(arguments).args(more).output().unwrap()
    }

    /// Adds a line to section `[admin]`.
    pub(crate) fn configure(&self, line: &str) {
        let config = CONFIG.replace("[admin]", &format!("[admin]\n{line}"));
        fs::write(self.path("proxy.toml"), config).unwrap();
    }

    /// Pins another certificate; gives the fingerprint of the one before.
    pub(crate) fn pin(&mut self, fingerprint: &str) -> String {
        std::mem::replace(&mut self.report.as_mut().unwrap().fingerprint, fingerprint.to_owned())
    }

    /// Pins the certificate of a store that was made by hand.
    pub(crate) fn pin_first(&mut self, fingerprint: &str) {
        self.report = Some(Report { fingerprint: fingerprint.to_owned(), password: None });
    }

    pub(crate) fn password(&self) -> &str {
        self.report.as_ref().unwrap().password.as_ref().unwrap()
    }

    /// The bytes of the store: the same as long as nothing is written.
    pub(crate) fn store(&self) -> Vec<u8> {
        fs::read(self.path("state/store.redb")).unwrap()
    }

    /// All that was ever logged here.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn start(&self) -> Proxy<'_> {
        self.start_to_be_killed_at("nowhere")
    }

    pub(crate) fn start_to_be_killed_at(&self, point: &str) -> Proxy<'_> {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = self
            .command()
            .args(["--config", "proxy.toml"])
            .env("TREFOIL_KILL_AT", point)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut port = None;
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the proxy ended: {}", self.log());
            write(&log, &line);
            if let Some((_, rest)) = line.split_once("admin port at 127.0.0.1:") {
                port = rest.split(',').next().unwrap().parse().ok();
            }
        }
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                write(&log, &format!("{line}\n"));
            }
        });
        Proxy { place: self, child, port: port.unwrap() }
    }
}

fn write(mut log: &File, line: &str) {
    std::io::Write::write_all(&mut log, line.as_bytes()).unwrap();
}

/// A running proxy; killed when dropped.
pub(crate) struct Proxy<'p> {
    pub(crate) place: &'p Place,
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Proxy<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Proxy<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From now on no file of the proxy may get larger than this, as if its disk were full.
    pub(crate) fn leave_room(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
    }

    /// Waits until it has ended by itself; whether by SIGKILL.
    pub(crate) fn was_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.child.wait().unwrap().signal() == Some(9)
    }

    /// None if there was no answer.
    pub(crate) fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Option<Answer> {
        let body = body.into();
        self.send(|client, url| client.post(format!("{url}{path}")).body(body))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(|client, url| client.get(format!("{url}{path}"))).unwrap()
    }

    /// The verified status.
    pub(crate) fn status(&self) -> Status {
        let answer = self.get("/v1/status?nonce=n-1");
        let status = Status::introduce(answer.text().unwrap()).unwrap();
        assert_eq!((answer.status.as_u16(), status.nonce.as_str()), (200, "n-1"));
        status
    }

    fn send<R>(&self, request: R) -> Option<Answer>
    where
        R: FnOnce(reqwest::Client, String) -> reqwest::RequestBuilder,
    {
        let pin: Fingerprint = self.place.report.as_ref().unwrap().fingerprint.parse().unwrap();
        let tls = pinned_client_config(pin, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = client::client(tls, Duration::from_secs(60)).unwrap();
            let request = request(client, format!("https://127.0.0.1:{}", self.port));
            client::send(request, 1 << 20).await.ok()
        })
    }
}

/// The code of a refusal without a receipt.
pub(crate) fn code(answer: Option<Answer>) -> (u16, String) {
    let answer = answer.unwrap();
    (answer.status.as_u16(), answer.problem().unwrap().code)
}

/// How often any of these bytes, or their base64url, stand in the writable memory of a process. `None`
/// if this user may not look, as an undumpable process only lets root.
pub(crate) fn in_memory(pid: u32, secrets: &[&[u8]]) -> Option<usize> {
    use std::os::unix::fs::FileExt;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("maps")).ok()?;
    let mut count = 0;
    for line in maps.lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next()?, words.next()?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-')?;
        let (mut at, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        let mut buffer = vec![0; 1 << 20];
        while at < end {
            let length = usize::try_from(end - at).unwrap().min(buffer.len());
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { break };
            for secret in secrets {
                count += memmem::find_iter(&buffer[..read], secret).count();
            }
            // Chunks overlap, so that no secret is cut in two.
            at += if read < 64 { break } else { u64::try_from(read - 63).unwrap() };
        }
    }
    Some(count)
}
