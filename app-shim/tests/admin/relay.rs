//! The sidecar between an application and a recording peer, both played here byte by byte.

use crate::peer::Proxy;
use crate::sidecar::Sidecar;
use crate::tenant::{Client, Tenant, add, shares};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use trefoil_keys::bundle::{self, UserBundle, Version};
use trefoil_keys::envelope::{EnvelopePrivateKey, Scope, UserEnvelope};

/// 32 bytes of 7 in base64url.
pub(crate) const SHARE: &str = "main:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Shim {
    child: Child,
    pub(crate) address: SocketAddr,
    proxy: TcpListener,
    directory: TempDir,
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The directory of a sidecar of application `app`, in which alice and bob have shares of 7. It is made
/// once and copied: a store opens wherever it lies.
fn with_shares(directory: &Path) {
    static MADE: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    let files = MADE.get_or_init(|| {
        let tenant = Tenant::new();
        let proxy = Proxy::start(Some(tenant.key.verifying_key().clone()));
        let mut sidecar = Sidecar::start(&proxy);
        let client = Client::new(&sidecar);
        for (seq, user) in [(1, "alice"), (2, "bob")] {
            assert_eq!(client.deliver(&tenant.delivery(seq, add(user), 7), &add(user)).status, 200);
        }
        sidecar.kill();
        let read = |name| (name, fs::read(sidecar.directory.path().join(name)).unwrap());
        ["state/store.redb", "lock", "shim.toml"].map(read).into()
    });
    fs::create_dir(directory.join("state")).unwrap();
    fs::set_permissions(directory.join("state"), Permissions::from_mode(0o700)).unwrap();
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
}

/// The sidecar's program in a directory that [`with_shares`] has made.
fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"));
    command.args(["sidecar", "--config", "shim.toml"]).args(arguments);
    for (name, value) in [("STATE", "state"), ("LOCK_KEY_FILE", "lock"), ("LISTEN", "127.0.0.1:0")] {
        command.env(format!("TREFOIL_{name}"), value);
    }
    command.current_dir(directory);
    command
}

fn write_user_bundle(path: &Path, audience: &str) -> EnvelopePrivateKey {
    let key = EnvelopePrivateKey::generate().unwrap();
    let bundle = UserBundle {
        version: Version,
        tenant: "clinic".to_owned(),
        user: "alice".to_owned(),
        audience: audience.to_owned(),
        envelope_key: key.public_key().to_jwk(),
        announcement_key: None,
        announcement_serial: 0,
        shares: shares(7),
    };
    bundle::write(path, &bundle).unwrap();
    key
}

impl Shim {
    fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[(&str, &str)]) -> Self {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = proxy.local_addr().unwrap().to_string();
        Self::start_before(proxy, &at, more)
    }

    /// With a proxy that the test plays itself.
    pub(crate) fn start_at(proxy: &str, more: &[(&str, &str)]) -> Self {
        Self::start_before(TcpListener::bind("127.0.0.1:0").unwrap(), proxy, more)
    }

    /// What one says that does not start.
    pub(crate) fn fails_at(proxy: &str, more: &[(&str, &str)]) -> String {
        let directory = tempfile::tempdir().unwrap();
        with_shares(directory.path());
        let mut command = program(directory.path(), &["--proxy", proxy]);
        let output = command.envs(more.iter().copied()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Sends SIGHUP, and waits until that is said.
    pub(crate) fn hang_up(&self, says: &str) {
        let before = self.log().matches(says).count();
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        while self.log().matches(says).count() == before {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn start_before(proxy: TcpListener, at: &str, more: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        with_shares(directory.path());
        let log = directory.path().join("log");
        let mut child = program(directory.path(), &["--proxy", at])
            .envs(more.iter().copied())
            .stderr(Stdio::from(std::fs::File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        let address = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{text}");
            if let Some((_, after)) = text.split_once("listening on ")
                && let Some((address, _)) = after.split_once('\n')
            {
                break address.parse().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, address, proxy, directory }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    }

    fn peer(&self) -> TcpStream {
        let (peer, _) = self.proxy.accept().unwrap();
        peer.set_read_timeout(Some(LIMIT)).unwrap();
        peer
    }

    /// A session that was started with these parameters and is ready for its first request.
    pub(crate) fn session(&self, parameters: &[u8]) -> Session {
        let mut client = self.client();
        send(&mut client, &startup(parameters));
        let mut session = Session { client, peer: self.peer() };
        let all = [parameters, b"_pq_.trefoil\x001\0"].concat();
        let kept = all.strip_prefix(b"trefoil.user\0alice\0trefoil.envelope\0e1\0").unwrap_or(&all);
        session.up_is(&startup(kept));
        session.down_passes(&[&b"R\0\0\0\x08\0\0\0\0"[..], &ready(b'I')].concat());
        session
    }

    fn alice(&self) -> Session {
        self.session(b"trefoil.user\0alice\0trefoil.envelope\0e1\0user\0app\0")
    }
}

pub(crate) struct Session {
    pub(crate) client: TcpStream,
    peer: TcpStream,
}

impl Session {
    pub(crate) fn up_is(&mut self, expected: &[u8]) {
        receive(&mut self.peer, expected);
    }

    /// What the application sends arrives as `expected`.
    pub(crate) fn up(&mut self, sent: &[u8], expected: &[u8]) {
        send(&mut self.client, sent);
        self.up_is(expected);
    }

    pub(crate) fn down_passes(&mut self, bytes: &[u8]) {
        send(&mut self.peer, bytes);
        receive(&mut self.client, bytes);
    }

    pub(crate) fn nothing_up(&mut self) {
        self.peer.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let error = self.peer.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.peer.set_read_timeout(Some(LIMIT)).unwrap();
    }
}

pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

#[track_caller]
pub(crate) fn receive(stream: &mut TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    let mut filled = 0;
    while filled < received.len() {
        match stream.read(&mut received[filled..]) {
            Ok(count) if count > 0 => filled += count,
            end => {
                let seen = String::from_utf8_lossy(&received[..filled]).into_owned();
                panic!("{end:?} after {seen:?}, expected {:?}", String::from_utf8_lossy(expected));
            }
        }
    }
    let readable = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
    assert!(received == expected, "received {:?}, expected {:?}", readable(&received), readable(expected));
}

pub(crate) fn startup(parameters: &[u8]) -> Vec<u8> {
    let body = [b"\0\x03\0\0", parameters, b"\0"].concat();
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body.as_slice()].concat()
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

pub(crate) fn query(text: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'Q', &[text.as_ref(), b"\0"].concat())
}

pub(crate) fn parse(name: &str, text: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_ref(), b"\0\0\x01\0\0\0\x17"].concat())
}

fn bind(name: &str) -> Vec<u8> {
    message(b'B', &[b"\0", name.as_bytes(), b"\0\0\0\0\x01\0\0\0\x02\0'\0\0"].concat())
}

pub(crate) const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";
pub(crate) const SYNC: &[u8] = b"S\0\0\0\x04";
const FLUSH: &[u8] = b"H\0\0\0\x04";

pub(crate) fn key(user: &str, envelope: &str, app_share: &str) -> Vec<u8> {
    let field = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    message(b'K', &[field(user), field(envelope), field(app_share)].concat())
}

pub(crate) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

pub(crate) fn complete(tag: &str, status: u8) -> Vec<u8> {
    [message(b'C', &[tag.as_bytes(), b"\0"].concat()), ready(status)].concat()
}

pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn start_up_and_authentication() {
    let shim = Shim::start();
    let mut client = shim.client();
    send(&mut client, b"\0\0\0\x08\x04\xd2\x16\x2f");
    receive(&mut client, b"N");
    send(&mut client, b"\0\0\0\x08\x04\xd2\x16\x30");
    receive(&mut client, b"N");
    send(&mut client, &startup(b"user\0app\0options\0-c trefoil.user=alice -c x=\xff\0database\0d\0"));
    let mut session = Session { client, peer: shim.peer() };
    session.up_is(&startup(b"user\0app\0options\0 -c x=\xff\0database\0d\0_pq_.trefoil\x001\0"));
    session.down_passes(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    let secret = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,");
    session.up(&secret, &secret);
    session.down_passes(&join(&[
        b"R\0\0\0\x08\0\0\0\0",
        b"S\0\0\0\x09a\0\xfe\0\0",
        b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02",
    ]));
    // A request that comes too early waits.
    send(&mut session.client, &query("SELECT 1"));
    session.nothing_up();
    session.down_passes(&ready(b'I'));
    session.up_is(&join(&[&key("", "", ""), &query("SELECT 1")]));
}

#[test]
fn one_key_message_for_each_request() {
    let shim = Shim::start();
    let mut session = shim.alice();
    let plain = key("alice", "", SHARE);
    let text = query(b"SELECT '\xff\xfe', \"_\" /* trefoil */;");
    session.up(&text, &join(&[&key("alice", "e1", SHARE), &text]));
    session.up(&join(&[&text, &text]), &join(&[&plain, &text, &plain, &text]));
    let group = join(&[&parse("", "SELECT $1"), &bind(""), EXECUTE, FLUSH, &bind(""), EXECUTE, SYNC]);
    session.up(&join(&[&group, &group]), &join(&[&plain, &group, &plain, &group]));
    // A Sync alone needs none; Close and Describe begin a request like any other.
    let close = message(b'C', b"Sx\0");
    let describe = message(b'D', b"Sx\0");
    session.up(
        &join(&[SYNC, &close, SYNC, &describe, SYNC]),
        &join(&[SYNC, &plain, &close, SYNC, &plain, &describe, SYNC]),
    );
    let call = message(b'F', b"\0\0\0\x01\0\0\0\0\0\0");
    session.up(&join(&[&call, &text]), &join(&[&plain, &call, &plain, &text]));
    let end = message(b'X', b"");
    session.up(&end, &end);
    drop(session.client);
    assert_eq!(session.peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn copy_belongs_to_its_request() {
    let shim = Shim::start();
    let mut session = shim.alice();
    let copy = query("COPY t FROM STDIN");
    let data = message(b'd', b"1\t\xff\n");
    let done = message(b'c', b"");
    let plain = key("alice", "", SHARE);
    session.up(&copy, &join(&[&key("alice", "e1", SHARE), &copy]));
    session.down_passes(b"G\0\0\0\x07\0\0\0");
    let end = join(&[&data, &data, &done]);
    session.up(&end, &end);
    session.down_passes(&complete("COPY 2", b'I'));
    // In the extended protocol the first Sync is ignored by the server.
    let begin = join(&[&parse("", "COPY t FROM STDIN"), &bind(""), EXECUTE, SYNC]);
    session.up(&begin, &join(&[&plain, &begin]));
    let end = join(&[&data, &message(b'f', b"no\0"), SYNC]);
    session.up(&end, &end);
    session.down_passes(&join(&[&message(b'E', b"SERROR\0\0"), &ready(b'I')]));
    // The count of requests is right: nothing waits.
    let set = query("SET trefoil.\"user\" = 'bob'");
    session.up(&set, &join(&[&plain, &set]));
}

#[test]
fn comments() {
    let shim = Shim::start();
    let mut session = shim.alice();
    let comment = "/*trefoil_user='bob',trefoil_envelope='e%32',trefoil_app_share='x'*/";
    let text = |comment: &str| format!("SELECT 1 {comment};");
    let expected = join(&[&key("bob", "e2", SHARE), &query("SELECT 1 ;")]);
    session.up(&query(text(comment)), &expected);
    session.up(&query("SELECT 2"), &join(&[&key("alice", "e1", SHARE), &query("SELECT 2")]));
    // A prepared statement keeps its comment; another in the same request has none.
    let group = |comment: &str| [parse("s", text(comment)), parse("", "SELECT 2")];
    let [with, without] = group(comment);
    let [bare, _] = group("");
    let others = join(&[EXECUTE, &bind(""), EXECUTE, SYNC]);
    let bob = key("bob", "e2", SHARE);
    let alice = key("alice", "e1", SHARE);
    session.up(
        &join(&[&with, &without, &bind("s"), &others]),
        &join(&[&bob, &bare, &alice, &without, &bob, &bind("s"), EXECUTE, &alice, &bind(""), EXECUTE, SYNC]),
    );
    session.up(&join(&[&bind("s"), EXECUTE, SYNC]), &join(&[&bob, &bind("s"), EXECUTE, SYNC]));
    let close = message(b'C', b"Ss\0");
    session.up(&join(&[&close, SYNC]), &join(&[&alice, &close, SYNC]));
    // Closed it means nothing; until the server says so, it may mean what it did.
    session.up(&join(&[&bind("s"), SYNC]), &join(&[&key("", "", ""), &bind("s"), SYNC]));
    let [made, closed, ready] = [message(b'1', b""), message(b'3', b""), message(b'Z', b"I")];
    session.down_passes(&join(&[&ready, &ready, &made, &made, &ready, &ready, &closed, &ready, &ready]));
    session.up(&join(&[&bind("s"), SYNC]), &join(&[&key("alice", "", SHARE), &bind("s"), SYNC]));
    // What cannot be understood is the proxy's to refuse.
    let malformed = query("SELECT 1 /*trefoil_envelope='%'*/");
    session.up(&malformed, &join(&[&key("alice", "", SHARE), &malformed]));
}

#[test]
fn settings() {
    let shim = Shim::start();
    let mut session = shim.session(b"user\0app\0");
    let nobody = key("", "", "");
    let run = |session: &mut Session, text: &str, key: &[u8], upstream: &str, tag: &str, status| {
        session.up(&query(text), &join(&[key, &query(upstream)]));
        session.down_passes(&complete(tag, status));
    };
    run(&mut session, "SET trefoil.\"user\"='alice'", &nobody, "SET trefoil.\"user\"='alice'", "SET", b'I');
    run(
        &mut session,
        "SET trefoil.envelope = 'e1' ;",
        &nobody,
        "SET trefoil.envelope = 'set' ;",
        "SET",
        b'I',
    );
    run(&mut session, "BEGIN", &key("alice", "e1", SHARE), "BEGIN", "BEGIN", b'T');
    let plain = key("alice", "", SHARE);
    run(
        &mut session,
        "SET LOCAL trefoil.envelope='e2'",
        &plain,
        "SET LOCAL trefoil.envelope='set'",
        "SET",
        b'T',
    );
    run(&mut session, "SELECT 1", &key("alice", "e2", SHARE), "SELECT 1", "SELECT 1", b'T');
    // Nothing is guessed about the end of the transaction: the next request waits for the answer.
    send(&mut session.client, &join(&[&query("COMMIT"), &query("SELECT 2")]));
    session.up_is(&join(&[&plain, &query("COMMIT")]));
    session.nothing_up();
    session.down_passes(&complete("COMMIT", b'I'));
    session.up_is(&join(&[&key("alice", "e1", SHARE), &query("SELECT 2")]));
    session.down_passes(&complete("SELECT 1", b'I'));
    // A share in a setting is taken off too, and not kept.
    run(&mut session, "SET trefoil.app_share='x'", &plain, "SET trefoil.app_share='set'", "SET", b'I');
    run(&mut session, "DISCARD ALL", &plain, "DISCARD ALL", "DISCARD ALL", b'I');
    run(&mut session, "SELECT 3", &nobody, "SELECT 3", "SELECT 1", b'I');
}

#[test]
fn prepared_settings() {
    let shim = Shim::start();
    let mut session = shim.alice();
    let set = parse("s", "SET LOCAL trefoil.envelope = 'e2'");
    let upstream = parse("s", "SET LOCAL trefoil.envelope = 'set'");
    session.up(&join(&[&set, SYNC]), &join(&[&key("alice", "e1", SHARE), &upstream, SYNC]));
    session.down_passes(&join(&[b"1\0\0\0\x04", &ready(b'I')]));
    let plain = key("alice", "", SHARE);
    session.up(&query("BEGIN"), &join(&[&plain, &query("BEGIN")]));
    session.down_passes(&complete("BEGIN", b'T'));
    let select = parse("", "SELECT 1");
    session.up(
        &join(&[&bind("s"), EXECUTE, &select, SYNC]),
        &join(&[&plain, &bind("s"), EXECUTE, &key("alice", "e2", SHARE), &select, SYNC]),
    );
    session.down_passes(&complete("SET", b'T'));
    session.up(&query("ROLLBACK"), &join(&[&plain, &query("ROLLBACK")]));
    session.down_passes(&complete("ROLLBACK", b'I'));
    session.up(&query("SELECT 1"), &join(&[&key("alice", "e1", SHARE), &query("SELECT 1")]));
}

impl Session {
    /// The next message, which must be a `K`.
    pub(crate) fn key(&mut self) -> [String; 3] {
        read_key(&mut self.peer)
    }
}

/// Reads a `K` message; user, envelope and shares.
fn read_key(stream: &mut TcpStream) -> [String; 3] {
    let mut read = |length: usize| {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(read(5)[0], b'K');
    [(); 3].map(|()| {
        let length = u16::from_be_bytes(read(2).try_into().unwrap());
        String::from_utf8(read(length.into())).unwrap()
    })
}

#[test]
fn acting_for_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let user = directory.path().join("alice.json");
    let key = write_user_bundle(&user, "clinic-app");
    let variables = [("TREFOIL_ACT_FOR", user.to_str().unwrap()), ("TREFOIL_ENVELOPE_LIFETIME", "2")];
    let shim = Shim::start_with(&variables);
    let mut session = shim.session(b"user\0app\0");
    let select = query("SELECT 1");
    let request = |shim: &mut Session| {
        send(&mut shim.client, &select);
        let [user, envelope, app_share] = read_key(&mut shim.peer);
        shim.up_is(&select);
        assert_eq!((user.as_str(), app_share.as_str()), ("alice", SHARE));
        envelope
    };
    let first = request(&mut session);
    let opened: UserEnvelope = key.open(&first).unwrap();
    assert_eq!(
        (opened.sub.as_str(), opened.aud.as_str(), opened.exp - opened.iat),
        ("alice", "clinic-app", 2)
    );
    assert!(opened.scope == Scope::Write && opened.shares["main"].share.as_bytes() == &[7; 32]);
    // Renewed before it runs out.
    let renewed = loop {
        let envelope = request(&mut session);
        if !envelope.is_empty() {
            break envelope;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let renewed: UserEnvelope = key.open(&renewed).unwrap();
    assert!(renewed.iat > opened.iat && renewed.iat <= opened.exp && renewed.jti != opened.jti);
    // Another user has to bring an envelope: this one is not lent.
    let bob = query("SELECT 1/*trefoil_user='bob'*/");
    session.up(&bob, &join(&[&nobody(), &select]));
}

fn nobody() -> Vec<u8> {
    key("", "", "")
}

#[test]
fn envelope_command() {
    let directory = tempfile::tempdir().unwrap();
    let user = directory.path().join("alice.json");
    let key = write_user_bundle(&user, "clinic-app");
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"));
        let output = command.args(["envelope", "--bundle"]).arg(&user).args(more).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let opened: UserEnvelope =
        key.open(run(&["--scope", "read", "--issued-at", "1000", "--lifetime", "7"]).trim()).unwrap();
    assert!(opened.scope == Scope::Read && (opened.iat, opened.exp) == (1000, 1007));
    assert!(key.open::<UserEnvelope>(run(&[]).trim()).unwrap().scope == Scope::Write);
}

#[test]
fn check_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    with_shares(directory.path());
    write_user_bundle(&path("mine.json"), "clinic-app");
    write_user_bundle(&path("other.json"), "another");
    let check =
        |act_for: &str| program(directory.path(), &["--check", "--act-for", act_for]).output().unwrap();
    assert!(check("mine.json").status.success());
    assert!(!check("missing.json").status.success());
    let error = String::from_utf8(check("other.json").stderr).unwrap();
    assert!(error.contains("application another"), "{error}");
}

#[test]
fn large_messages_both_ways() {
    let shim = Shim::start();
    let mut session = shim.alice();
    let plain = key("alice", "", SHARE);
    let statement = query(vec![b'x'; 3_000_000]);
    let data = message(b'd', &vec![0xff; 5_000_000]);
    let mut client = session.client.try_clone().unwrap();
    let sent = join(&[&statement, &data, &statement]);
    let writer = std::thread::spawn(move || send(&mut client, &sent));
    session.up_is(&join(&[&key("alice", "e1", SHARE), &statement, &data, &plain, &statement]));
    writer.join().unwrap();
    let row = message(b'D', &vec![0xfe; 5_000_000]);
    let mut peer = session.peer.try_clone().unwrap();
    let rows = join(&[&row, &message(b'D', b"\0\0"), &row]);
    let sent = rows.clone();
    let writer = std::thread::spawn(move || send(&mut peer, &sent));
    receive(&mut session.client, &rows);
    writer.join().unwrap();
}

#[test]
fn byte_by_byte() {
    let shim = Shim::start();
    let mut session = shim.alice();
    let comment = query("SELECT 1 /*trefoil_user='bob'*/");
    let sent = join(&[&comment, &bind(""), EXECUTE, SYNC]);
    for byte in sent {
        send(&mut session.client, &[byte]);
    }
    let alice = key("alice", "", SHARE);
    session.up_is(&join(&[&key("bob", "e1", SHARE), &query("SELECT 1 "), &alice, &bind(""), EXECUTE, SYNC]));
    let answer = complete("SELECT 1", b'I');
    for byte in &answer {
        send(&mut session.peer, &[*byte]);
    }
    receive(&mut session.client, &answer);
}

#[test]
fn cancel_request() {
    let shim = Shim::start();
    let mut client = shim.client();
    let request = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
    send(&mut client, request);
    let mut peer = shim.peer();
    receive(&mut peer, request);
    drop(peer);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

fn fatal(client: &mut TcpStream) -> String {
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn errors_that_end_the_connection() {
    let shim = Shim::start();
    // The peer is not a Trefoil proxy.
    let mut client = shim.client();
    send(&mut client, &startup(b"user\0app\0"));
    let mut peer = shim.peer();
    send(&mut peer, &message(b'v', b"\0\x03\0\0\0\0\0\x01_pq_.trefoil\0"));
    send(&mut peer, b"R\0\0\0\x08\0\0\0\0");
    let error = fatal(&mut client);
    assert!(
        error.starts_with('E') && error.contains("C08P01\0") && error.contains("not a Trefoil proxy"),
        "{error}"
    );
    // Other options are the application's business.
    let mut session = shim.session(b"user\0app\0");
    session.down_passes(&message(b'v', b"\0\x03\0\0\0\0\0\x01_pq_.other\0"));
    // Malformed carriers.
    let mut client = shim.client();
    send(&mut client, &startup(b"trefoil.usr\0alice\0"));
    assert!(fatal(&mut client).contains("C28000\0"));
    // A length that cannot be.
    send(&mut session.client, b"Q\0\0\0\x03");
    assert!(fatal(&mut session.client).contains("C08P01\0"));
    // The proxy goes away.
    let mut session = shim.session(b"user\0app\0");
    session.down_passes(&message(b'E', b"SFATAL\0\0"));
    drop(session.peer);
    assert_eq!(fatal(&mut session.client), "");
}

#[test]
fn proxy_not_running() {
    let mut shim = Shim::start();
    shim.proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = shim.client();
    send(&mut client, &startup(b"user\0app\0"));
    assert!(fatal(&mut client).contains("C08001\0"));
}

#[test]
fn nothing_secret_in_the_log() {
    let shim = Shim::start();
    let mut session = shim.alice();
    send(&mut session.client, &query("SELECT 'marker' /*trefoil_user='bob'*/"));
    session.up_is(&join(&[&key("bob", "e1", SHARE), &query("SELECT 'marker' ")]));
    send(&mut session.client, b"Q\0\0\0\x00");
    fatal(&mut session.client);
    let log = std::fs::read_to_string(shim.directory.path().join("log")).unwrap();
    for secret in ["marker", "BwcH", "alice", "bob", "e1"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn pipelined_while_the_application_does_not_read() {
    const REQUESTS: usize = 20_000;
    let shim = Shim::start();
    let session = shim.alice();
    let (mut client, mut peer) = (session.client.try_clone().unwrap(), session.peer.try_clone().unwrap());
    let request = query("SELECT 1");
    let answer = [message(b'D', &[0xfe; 2000]), complete("SELECT 1", b'I')].concat();
    let (sent, replied) = (request.clone(), answer.clone());
    let writer = std::thread::spawn(move || send(&mut client, &sent.repeat(REQUESTS)));
    let server = std::thread::spawn(move || {
        for number in 0..REQUESTS {
            let envelope = if number == 0 { "e1" } else { "" };
            receive(&mut peer, &[key("alice", envelope, SHARE), request.clone()].concat());
            send(&mut peer, &replied);
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let mut client = session.client;
    for _ in 0..REQUESTS {
        receive(&mut client, &answer);
    }
    writer.join().unwrap();
    server.join().unwrap();
}
