//! The sidecar's links under TLS, between an application and a proxy that are played here, with a relay
//! that keeps what passes.

use crate::pki::Authority;
use crate::relay::{SHARE, Shim, complete, join, key, message, query, ready, startup};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use trefoil_keys::tls::{Identity, SelfSigned};
use trefoil_link::{
    AcceptError, Accepted, Address, ClientTls, Clients, ServedTls, Source, Stream, Subject, Trust, accept,
    connect,
};

const LIMIT: Duration = Duration::from_secs(20);
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";

/// What is played as the proxy.
struct Played {
    listener: TcpListener,
    tls: Option<Arc<ServedTls>>,
}

impl Played {
    async fn new(tls: Option<ServedTls>) -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: tls.map(Arc::new) }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    async fn accept(&self) -> Result<Accepted, AcceptError> {
        let (stream, _) = timeout(LIMIT, self.listener.accept()).await.unwrap().unwrap();
        timeout(LIMIT, accept(Stream::Tcp(stream), self.tls.as_ref().map(|tls| tls.offer()))).await.unwrap()
    }
}

/// A relay to a port of this machine that keeps what passes, both ways.
async fn recorder(to: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            for (mut from, mut onto) in [(near_read, far_write), (far_read, near_write)] {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(count @ 1..) = from.read(&mut buffer).await {
                        kept.lock().unwrap().extend_from_slice(&buffer[..count]);
                        if onto.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    (port, seen)
}

/// The environment of a sidecar with this authority's certificate for `localhost`.
fn served(authority: &Authority) -> Vec<(&'static str, String)> {
    let (certificate, key) = authority.certify("localhost", "sidecar");
    vec![("TREFOIL_TLS_CERTIFICATE", shown(&certificate)), ("TREFOIL_TLS_KEY", shown(&key))]
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn start(proxy: &str, variables: &[(&'static str, String)]) -> Shim {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    outside(|| Shim::start_at(proxy, &variables))
}

/// On a thread of its own: what starts a sidecar has a runtime itself.
fn outside<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

async fn application(shim: &Shim, trust: Trust, identity: Option<Identity>) -> Stream {
    let tls = ClientTls::new("localhost", &trust, identity, false).unwrap();
    let address = Address::Tcp("localhost".to_owned(), shim.address.port());
    timeout(LIMIT, connect(&address, Some(&tls))).await.unwrap().unwrap()
}

async fn send(stream: &mut Stream, bytes: &[u8]) {
    timeout(LIMIT, stream.write_all(bytes)).await.unwrap().unwrap();
    stream.flush().await.unwrap();
}

async fn receive(stream: &mut Stream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    let read = timeout(LIMIT, stream.read_exact(&mut found)).await.unwrap();
    assert!(read.is_ok() && found == expected, "{}, not {}", found.escape_ascii(), expected.escape_ascii());
}

/// Everything until the end, which must come.
async fn rest(stream: &mut Stream) -> String {
    let mut all = Vec::new();
    drop(timeout(LIMIT, stream.read_to_end(&mut all)).await.unwrap());
    String::from_utf8_lossy(&all).into_owned()
}

/// Logs in and asks once, as alice, whose share goes with it.
async fn asks(client: &mut Stream, proxy: &Played) -> Stream {
    send(client, &startup(b"trefoil.user\0alice\0trefoil.envelope\0e1envelope\0user\0app\0")).await;
    let Accepted { stream: mut peer, packet, .. } = proxy.accept().await.ok().unwrap();
    assert_eq!(packet[..], startup(b"user\0app\0_pq_.trefoil\x001\0"));
    let login = join(&[OK, &ready(b'I')]);
    send(&mut peer, &login).await;
    receive(client, &login).await;
    goes_on(client, &mut peer, "e1envelope").await;
    peer
}

async fn goes_on(client: &mut Stream, peer: &mut Stream, envelope: &str) {
    let request = query("SELECT 'marker'");
    send(client, &request).await;
    receive(peer, &join(&[&key("alice", envelope, SHARE), &request])).await;
    let answer = join(&[&message(b'D', b"markedrow"), &complete("SELECT 1", b'I')]);
    send(peer, &answer).await;
    receive(client, &answer).await;
}

#[tokio::test]
async fn a_recorder_on_either_link_sees_neither_plaintext_nor_shares() {
    let authority = Authority::new();
    let proxy = Played::new(Some(authority.serves("proxy", None))).await;
    let (towards_proxy, beyond) = recorder(proxy.port()).await;
    let mut variables = served(&authority);
    variables.push(("TREFOIL_PROXY_TLS_CA", shown(&authority.file())));
    let shim = start(&format!("localhost:{towards_proxy}"), &variables);
    let (towards_shim, before) = recorder(shim.address.port()).await;
    let tls = ClientTls::new("localhost", &Trust::Authority(authority.file()), None, false).unwrap();
    let address = Address::Tcp("localhost".to_owned(), towards_shim);
    let mut client = connect(&address, Some(&tls)).await.unwrap();
    let mut peer = asks(&mut client, &proxy).await;
    drop(client);
    assert_eq!(rest(&mut peer).await, "");
    for seen in [beyond, before] {
        let seen = seen.lock().unwrap();
        assert!(seen.starts_with(b"\0\0\0\x08\x04\xd2\x16\x2fS"), "no TLS was asked for");
        let seen = String::from_utf8_lossy(&seen);
        for secret in ["marker", "markedrow", "alice", "app", "e1envelope", "BwcHBwcH"] {
            assert!(!seen.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn a_proxy_is_pinned_and_another_certificate_or_none_gets_nothing() {
    let (known, other) = (SelfSigned::generate(&["p".to_owned()]), SelfSigned::generate(&["p".to_owned()]));
    let (known, other) = (known.unwrap(), other.unwrap());
    let variables = [
        ("TREFOIL_PROXY_TLS_MODE", "require".to_owned()),
        ("TREFOIL_PROXY_ADMIN_FINGERPRINT", known.fingerprint().to_string()),
    ];
    let serves = |own| Some(ServedTls::new(Source::Own(own), None, false, &[b"postgresql"]).unwrap());
    let proxy = Played::new(serves(known)).await;
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    let mut client = in_clear(&shim).await;
    asks(&mut client, &proxy).await;

    let proxy = Played::new(serves(other)).await;
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    let mut client = in_clear(&shim).await;
    send(&mut client, &startup(b"trefoil.user\0alice\0user\0app\0")).await;
    assert!(matches!(proxy.accept().await, Err(AcceptError::Handshake(_))));
    let says = rest(&mut client).await;
    assert!(says.contains("C08001\0") && says.contains("certificate"), "{says}");

    let proxy = Played::new(None).await;
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    let mut client = in_clear(&shim).await;
    send(&mut client, &startup(b"trefoil.user\0alice\0user\0app\0")).await;
    let (mut stream, _) = proxy.listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
    stream.write_all(b"N").await.unwrap();
    let mut more = Vec::new();
    stream.read_to_end(&mut more).await.unwrap();
    assert_eq!(more, b"", "nothing is said in clear");
    let says = rest(&mut client).await;
    assert!(says.contains("C08001\0") && says.contains("no TLS"), "{says}");
}

async fn in_clear(shim: &Shim) -> Stream {
    Stream::Tcp(TcpStream::connect(shim.address).await.unwrap())
}

#[tokio::test]
async fn applications_and_sidecars_show_client_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let clients = Clients { authority: authority.file(), required: true };
    let proxy = Played::new(Some(authority.serves("proxy", Some(clients)))).await;
    let (certificate, key) = authority.certify("sidecar-one", "sidecar-one");
    let mut variables = served(&authority);
    variables.extend([
        ("TREFOIL_TLS_CLIENT_CA", shown(&authority.file())),
        ("TREFOIL_PROXY_TLS_CA", shown(&authority.file())),
        ("TREFOIL_PROXY_TLS_CERTIFICATE", shown(&certificate)),
        ("TREFOIL_PROXY_TLS_KEY", shown(&key)),
    ]);
    let at = format!("localhost:{}", proxy.port());
    let shim = start(&at, &variables);
    let trust = || Trust::Authority(authority.file());
    let mut client = application(&shim, trust(), Some(authority.identity("web"))).await;
    let peer = asks(&mut client, &proxy).await;
    let subject = peer.peer_certificate().and_then(Subject::read).unwrap();
    assert_eq!(subject.common_name, "sidecar-one");
    for identity in [None, Some(other.identity("web"))] {
        let mut refused = application(&shim, trust(), identity).await;
        refused.write_all(&startup(b"user\0app\0")).await.unwrap_or_default();
        assert_eq!(rest(&mut refused).await, "");
    }
    let mut refused = in_clear(&shim).await;
    send(&mut refused, &startup(b"user\0app\0")).await;
    assert!(rest(&mut refused).await.contains("requires a valid client certificate"));

    variables.push(("TREFOIL_TLS_CLIENT_CERTIFICATE", "optional".to_owned()));
    let shim = start(&at, &variables);
    let mut client = application(&shim, trust(), None).await;
    asks(&mut client, &proxy).await;
    let mut client = in_clear(&shim).await;
    asks(&mut client, &proxy).await;
    // A sidecar without a certificate is none of the proxy's.
    variables
        .retain(|(name, _)| !name.starts_with("TREFOIL_PROXY_TLS_CERT") && !name.ends_with("PROXY_TLS_KEY"));
    let shim = start(&at, &variables);
    let mut client = in_clear(&shim).await;
    send(&mut client, &startup(b"user\0app\0")).await;
    assert!(matches!(proxy.accept().await, Err(AcceptError::Handshake(_))));
    let says = rest(&mut client).await;
    assert!(says.contains("C08001\0") && says.contains("broken off"), "{says}");
}

#[tokio::test]
async fn certificates_are_read_again_and_sessions_go_on() {
    let authority = Authority::new();
    let clients = Clients { authority: authority.file(), required: true };
    let proxy = Played::new(Some(authority.serves("proxy", Some(clients)))).await;
    let (certificate, key) = authority.certify("first", "client");
    let mut variables = served(&authority);
    variables.extend([
        ("TREFOIL_PROXY_TLS_CA", shown(&authority.file())),
        ("TREFOIL_PROXY_TLS_CERTIFICATE", shown(&certificate)),
        ("TREFOIL_PROXY_TLS_KEY", shown(&key)),
    ]);
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    let trust = || Trust::Authority(authority.file());
    let mut first = application(&shim, trust(), None).await;
    let shown_first = first.peer_certificate().unwrap().to_vec();
    let mut first_peer = asks(&mut first, &proxy).await;

    authority.certify("localhost", "sidecar");
    authority.certify("second", "client");
    shim.hang_up("were read again");
    assert!(shim.log().contains("new certificate"));
    let mut second = application(&shim, trust(), None).await;
    assert_ne!(second.peer_certificate().unwrap(), shown_first);
    let second_peer = asks(&mut second, &proxy).await;
    let subject = second_peer.peer_certificate().and_then(Subject::read).unwrap();
    assert_eq!(subject.common_name, "second");
    goes_on(&mut first, &mut first_peer, "").await;

    fs::write(authority.path("sidecar.crt"), "nothing").unwrap();
    fs::write(authority.path("client.key"), "nothing").unwrap();
    shim.hang_up("were read again");
    assert!(shim.log().contains("the former one stays") && shim.log().contains("the former ones stay"));
    let mut third = application(&shim, trust(), None).await;
    assert_eq!(third.peer_certificate(), second.peer_certificate());
    asks(&mut third, &proxy).await;
    goes_on(&mut first, &mut first_peer, "").await;
}

#[tokio::test]
async fn much_passes_under_tls_whoever_reads_slowly() {
    let authority = Authority::new();
    let proxy = Played::new(Some(authority.serves("proxy", None))).await;
    let mut variables = served(&authority);
    variables.push(("TREFOIL_PROXY_TLS_CA", shown(&authority.file())));
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    let mut client = application(&shim, Trust::Authority(authority.file()), None).await;
    let peer = asks(&mut client, &proxy).await;
    const REQUESTS: usize = 3_000;
    let request = query("SELECT 1");
    let answer = join(&[&message(b'D', &[0xfe; 2000]), &complete("SELECT 1", b'I')]);
    let expected = join(&[&key("alice", "", SHARE), &request]);
    let (mut from_client, mut to_shim) = tokio::io::split(client);
    let (mut from_shim, mut to_client) = tokio::io::split(peer);
    let all = request.repeat(REQUESTS);
    let writer = tokio::spawn(async move {
        to_shim.write_all(&all).await.unwrap();
        to_shim.flush().await.unwrap();
        // The application leaves as soon as it has all answers: this end stays open until then.
        to_shim
    });
    let replied = answer.clone();
    let server = tokio::spawn(async move {
        let mut found = vec![0; expected.len()];
        for _ in 0..REQUESTS {
            from_shim.read_exact(&mut found).await.unwrap();
            assert_eq!(found, expected);
            to_client.write_all(&replied).await.unwrap();
        }
        to_client.flush().await.unwrap();
        (from_shim, to_client)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut found = vec![0; answer.len()];
    for _ in 0..REQUESTS {
        timeout(LIMIT, from_client.read_exact(&mut found)).await.unwrap().unwrap();
        assert_eq!(found, answer);
    }
    let _ends = (writer.await.unwrap(), server.await.unwrap());
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_answered_and_the_end_told() {
    let authority = Authority::new();
    let proxy = Played::new(Some(authority.serves("proxy", None))).await;
    let mut variables = served(&authority);
    variables.push(("TREFOIL_PROXY_TLS_CA", shown(&authority.file())));
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    let mut client = application(&shim, Trust::Authority(authority.file()), None).await;
    let mut peer = asks(&mut client, &proxy).await;
    let request = query("SELECT 1");
    send(&mut client, &request).await;
    client.shutdown().await.unwrap();
    receive(&mut peer, &join(&[&key("alice", "", SHARE), &request])).await;
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0, "the end comes through");
    send(&mut peer, &complete("SELECT 1", b'I')).await;
    peer.shutdown().await.unwrap();
    receive(&mut client, &complete("SELECT 1", b'I')).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "a farewell, and no truncation");
}

#[tokio::test]
async fn cancel_requests_of_any_length_are_forwarded_in_clear_and_under_tls() {
    let authority = Authority::new();
    let proxy = Played::new(Some(authority.serves("proxy", None))).await;
    let mut variables = served(&authority);
    variables.push(("TREFOIL_PROXY_TLS_CA", shown(&authority.file())));
    let shim = start(&format!("localhost:{}", proxy.port()), &variables);
    for secret in [4_usize, 32, 256] {
        let length = u32::try_from(12 + secret).unwrap().to_be_bytes();
        let request = join(&[&length, b"\x04\xd2\x16\x2e\0\0\0\x01", &vec![7; secret]]);
        for encrypted in [false, true] {
            let mut client = match encrypted {
                true => application(&shim, Trust::Authority(authority.file()), None).await,
                false => in_clear(&shim).await,
            };
            send(&mut client, &request).await;
            let Accepted { stream, packet, tls } = proxy.accept().await.ok().unwrap();
            assert_eq!((&packet[..], tls.is_some()), (&request[..], true));
            drop(stream);
            assert_eq!(rest(&mut client).await, "");
        }
    }
}

#[tokio::test]
async fn version_3_2_and_its_long_cancel_key_pass() {
    let proxy = Played::new(None).await;
    let shim = start(&format!("127.0.0.1:{}", proxy.port()), &[]);
    let mut client = in_clear(&shim).await;
    let mut packet = startup(b"user\0app\0");
    packet[7] = 2;
    send(&mut client, &packet).await;
    let Accepted { stream: mut peer, packet, .. } = proxy.accept().await.ok().unwrap();
    assert_eq!(packet[4..8], [0, 3, 0, 2]);
    let login = join(&[OK, &message(b'K', &[7; 260]), &ready(b'I')]);
    send(&mut peer, &login).await;
    receive(&mut client, &login).await;
}

#[tokio::test]
async fn unix_sockets_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let [socket, behind] = [".s.PGSQL.6433", ".s.PGSQL.6432"].map(|name| directory.path().join(name));
    // Of a sidecar that was killed.
    drop(UnixListener::bind(&socket).unwrap());
    let proxy = UnixListener::bind(&behind).unwrap();
    let variables = [("TREFOIL_UNIX_SOCKET", shown(&socket))];
    let shim = start(&shown(&behind), &variables);
    let mut client = Stream::Unix(UnixStream::connect(&socket).await.unwrap());
    send(&mut client, &startup(b"user\0app\0")).await;
    let (peer, _) = proxy.accept().await.unwrap();
    receive(&mut Stream::Unix(peer), &startup(b"user\0app\0_pq_.trefoil\x001\0")).await;
    // Nobody takes the place of one that runs.
    let says =
        outside(|| Shim::fails_at(&shown(&behind), &[("TREFOIL_UNIX_SOCKET", socket.to_str().unwrap())]));
    assert!(says.contains("another program listens there"), "{says}");
    drop(shim);
}

/// An address of this machine that is not loopback.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
async fn sessions_in_clear_from_elsewhere_are_refused() {
    let Some(address) = other_address() else { return eprintln!("this machine has no network") };
    let authority = Authority::new();
    let proxy = Played::new(None).await;
    let mut variables = served(&authority);
    variables.push(("TREFOIL_LISTEN", "0.0.0.0:0".to_owned()));
    let shim = start(&format!("127.0.0.1:{}", proxy.port()), &variables);
    let there = SocketAddr::new(address, shim.address.port());
    let mut client = Stream::Tcp(TcpStream::connect(there).await.unwrap());
    send(&mut client, &startup(b"user\0app\0")).await;
    let says = rest(&mut client).await;
    assert!(says.contains("C28000\0") && says.contains("must be encrypted"), "{says}");
    // As clients of before PostgreSQL 17 send it.
    let cancel = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
    let mut client = Stream::Tcp(TcpStream::connect(there).await.unwrap());
    send(&mut client, cancel).await;
    assert_eq!(proxy.accept().await.ok().unwrap().packet[..], cancel[..]);
    let tls = ClientTls::new("localhost", &Trust::Authority(authority.file()), None, false).unwrap();
    let mut client = connect(&Address::Tcp(address.to_string(), there.port()), Some(&tls)).await.unwrap();
    asks(&mut client, &proxy).await;
}

fn limits(variables: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[tokio::test]
async fn whoever_is_slow_to_log_in_is_dropped() {
    let proxy = Played::new(None).await;
    let variables = limits(&[("TREFOIL_AUTHENTICATION_TIMEOUT", "1")]);
    let shim = start(&format!("127.0.0.1:{}", proxy.port()), &variables);
    let mut silent = in_clear(&shim).await;
    let mut half = in_clear(&shim).await;
    send(&mut half, b"\0\0\0\x20\0\x03").await;
    let mut slow = in_clear(&shim).await;
    send(&mut slow, &startup(b"user\0app\0")).await;
    let mut peer = proxy.accept().await.ok().unwrap().stream;
    send(&mut peer, b"R\0\0\0\x08\0\0\0\x03").await;
    receive(&mut slow, b"R\0\0\0\x08\0\0\0\x03").await;
    assert_eq!((rest(&mut silent).await.as_str(), rest(&mut half).await.as_str()), ("", ""));
    let says = rest(&mut slow).await;
    assert!(says.contains("C57014\0"), "{says}");
    assert_eq!(rest(&mut peer).await, "");
    // Whoever has logged in stays.
    let mut client = in_clear(&shim).await;
    let mut peer = asks(&mut client, &proxy).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    goes_on(&mut client, &mut peer, "").await;
}

#[tokio::test]
async fn who_has_not_logged_in_gives_way_and_the_others_stay() {
    let proxy = Played::new(None).await;
    let shim = start(&format!("127.0.0.1:{}", proxy.port()), &limits(&[("TREFOIL_MAX_CONNECTIONS", "2")]));
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(in_clear(&shim).await);
    }
    let mut first = in_clear(&shim).await;
    let mut first_peer = asks(&mut first, &proxy).await;
    let mut second = in_clear(&shim).await;
    let second_peer = asks(&mut second, &proxy).await;
    assert_eq!(rest(&mut silent[0]).await, "");
    let mut third = in_clear(&shim).await;
    send(&mut third, &startup(b"user\0app\0")).await;
    let says = rest(&mut third).await;
    assert!(says.contains("C53300\0") && says.contains("too many clients"), "{says}");
    goes_on(&mut first, &mut first_peer, "").await;
    drop((second, second_peer));
    // Its place is free when the sidecar has noticed.
    for attempt in 0.. {
        let mut fourth = in_clear(&shim).await;
        send(&mut fourth, &startup(b"user\0app\0")).await;
        if timeout(Duration::from_millis(200), proxy.listener.accept()).await.is_ok() {
            break;
        }
        assert!(attempt < 50, "{}", rest(&mut fourth).await);
    }
}

#[tokio::test]
async fn bad_first_packets_end_cleanly() {
    let authority = Authority::new();
    let proxy = Played::new(None).await;
    let shim = start(&format!("127.0.0.1:{}", proxy.port()), &served(&authority));
    let ssl = b"\0\0\0\x08\x04\xd2\x16\x2f".as_slice();
    let garbage: Vec<u8> = (0..4096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let oversized = join(&[&10_001_u32.to_be_bytes(), &[b'x'; 10_000]]);
    for (sent, says) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "C08P01\0"),
        (oversized, "C08P01\0"),
        (b"\0\0\0\x07\0\x03\0".to_vec(), "C08P01\0"),
        (b"\0\0\0\x08\0\x02\0\0".to_vec(), "C08P01\0"),
        (startup(b"user"), "C08P01\0"),
        (join(&[ssl, &startup(b"user\0app\0")]), "S"),
        (join(&[b"\x16", &garbage]), ""),
        (garbage, ""),
        (b"\0".to_vec(), ""),
    ] {
        let mut client = in_clear(&shim).await;
        client.write_all(&sent).await.unwrap_or_default();
        client.shutdown().await.unwrap_or_default();
        let found = rest(&mut client).await;
        assert!(found.contains(says), "{} is answered by {found}", sent.escape_ascii());
    }
    // Encryption within encryption, and TLS from the first byte for something else.
    let mut twice = application(&shim, Trust::Authority(authority.file()), None).await;
    send(&mut twice, ssl).await;
    assert!(rest(&mut twice).await.contains("C08P01\0"));
    let mut client = in_clear(&shim).await;
    asks(&mut client, &proxy).await;
    let log = shim.log();
    assert!(!log.contains("panicked"), "{log}");
}
