//! Who has not logged in at the proxy: slow, silent, many, or not speaking the protocol at all. Each ends in
//! a closed connection, and keeps nobody else out.

use crate::tls::Front;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use trefoil_link::Trust;
use trefoil_tests::cluster::Cluster;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::Frontend;

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends this, and reads until the connection ends.
fn ask(front: &Front, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", front.proxy.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(sent).unwrap_or_default();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(!ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it is not closed");
    answer
}

fn sockets(front: &Front) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", front.proxy.process().pid())).unwrap();
    let targets = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Nothing is left of former connections, and nothing has panicked.
#[track_caller]
fn clean(front: &Front, before: usize) {
    let end = Instant::now() + PATIENCE;
    while sockets(front) > before {
        assert!(Instant::now() < end, "{} sockets, {before} before", sockets(front));
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = front.log();
    assert!(!log.contains("panic") && !log.contains("defect"), "{log}");
}

#[test]
fn what_is_not_the_protocol_ends_in_an_error_and_a_closed_connection() {
    let front = Front::start("", "");
    let before = sockets(&front);
    let has = |answer: &[u8], text: &str| String::from_utf8_lossy(answer).contains(text);
    for (sent, state, message) in [
        (
            &b"\0\0\0\x08\0\x02\0\0"[..],
            "C0A000\0",
            "unsupported frontend protocol 2.0: server supports 3.0 to 3.2",
        ),
        (b"\0\0\0\x08\0\x04\0\0", "C0A000\0", "unsupported frontend protocol 4.0"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "C08P01\0", "invalid length of startup packet"),
        (b"\0\0\0\x04", "C08P01\0", "invalid length of startup packet"),
        (b"\xff\xff\xff\xff", "C08P01\0", "invalid length of startup packet"),
        (b"\0\0\x27\x11\0\x03\0\0", "C08P01\0", "invalid length of startup packet"),
        (b"\0\0\0\x0e\0\x03\0\0user\0x", "C08P01\0", "startup parameter"),
    ] {
        let answer = ask(&front, sent);
        assert!(
            has(&answer, "SFATAL\0") && has(&answer, state) && has(&answer, message),
            "{}",
            answer.escape_ascii()
        );
    }
    // Encryption asked for twice, by either request, and once more inside of TLS: see link's tests for that.
    let answer = ask(&front, &[GSS, GSS].concat());
    assert!(answer.starts_with(b"N") && has(&answer, "unsupported frontend protocol 1234.5680"));
    // What comes ahead of the handshake is never taken for what is said under TLS.
    for ahead in [&b"\0\0\0\x0e\0\x03\0\0user\0x"[..], SSL, GSS, b"GET / HTTP/1.1\r\n\r\n"] {
        let answer = ask(&front, &[SSL, ahead].concat());
        assert!(answer.starts_with(b"S") && !has(&answer, "FATAL"), "{}", answer.escape_ascii());
    }
    let answer = ask(&front, &[GSS, SSL, b"\x16\x03\x01\xff\xff"].concat());
    assert!(answer.starts_with(b"NS"), "{}", answer.escape_ascii());
    // A cancel request of a length that no key has is not forwarded, one for nobody is, and says nothing.
    assert!(has(&ask(&front, b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\x01"), "C08P01\0"));
    assert_eq!(ask(&front, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02"), b"");
    // Bytes of any kind.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..60 {
        let mut bytes = vec![0; 64];
        for byte in &mut bytes {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            *byte = seed.to_le_bytes()[3];
        }
        bytes[..3].copy_from_slice(&[0, 0, 0]);
        bytes[3] = bytes[3].clamp(8, 64);
        bytes.truncate(usize::from(bytes[3]));
        ask(&front, &bytes);
        ask(&front, &[SSL, &bytes].concat());
        ask(&front, &[&b"\x16\x03\x01"[..], &bytes].concat());
    }
    clean(&front, before);
    drop(Frontend::connect(&front.database, &[]).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_under_tls() {
    let front = tokio::task::spawn_blocking(|| Front::start("", "")).await.unwrap();
    let before = sockets(&front);
    let trust = Trust::Pinned(front.served);
    for (sent, says) in [
        (SSL, "unsupported frontend protocol 1234.5679"),
        (GSS, "unsupported frontend protocol 1234.5680"),
        (b"\xff\xff\xff\xff", "invalid length of startup packet"),
        (b"\0\0\0\x09\0\x03\0\0\x01", "startup parameter"),
        (b"\0\0\0\x09\0\x03", ""),
        (b"", ""),
    ] {
        let mut stream = front.stream(&trust).await.unwrap();
        stream.write_all(sent).await.unwrap();
        // The end of what is said; the answer may still come.
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        assert!(if says.is_empty() { answer.is_empty() } else { answer.contains(says) }, "{answer}");
    }
    clean(&front, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_that_run_out_are_given_back_by_who_has_not_logged_in() {
    let front = tokio::task::spawn_blocking(|| Front::start("", "")).await.unwrap();
    let pid = front.proxy.process().pid().to_string();
    let to = SocketAddr::from(([127, 0, 0, 1], front.proxy.port()));
    let mut flood = Vec::new();
    // Where the limit ends a batch of strangers, the client's own connection to the database is the next.
    for limit in 90..100 {
        let limit = format!("--nofile={limit}:100");
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
        for _ in 0..200 {
            flood.push(silent(2, to).await);
        }
        let client = front.client(&Trust::Pinned(front.served)).await.unwrap();
        client.batch_execute("SELECT 1").await.unwrap();
    }
    let log = front.log();
    assert!(log.contains("gave way"), "{log}");
    let times = log.matches("cannot accept").count();
    assert!(times < 60, "{times} times in some seconds");
}

#[test]
fn whoever_is_slow_or_silent_is_cut_off_in_time() {
    let front = Front::start("authentication_timeout = 1\n", "");
    let before = sockets(&front);
    let user = front.database.user.as_bytes();
    let body = [&b"\0\x03\0\0user\0"[..], user, b"\0\0"].concat();
    let start = [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat();
    // Silence, after each of these; and the same byte by byte.
    let stages =
        [&b""[..], &start[..7], SSL, &[SSL, b"\x16\x03\x01\x02\0\x01"].concat(), b"\x16\x03\x01", &start];
    std::thread::scope(|scope| {
        for stage in stages {
            scope.spawn(|| {
                let began = Instant::now();
                ask(&front, stage);
                assert!(began.elapsed() < Duration::from_secs(8), "{}", stage.escape_ascii());
            });
        }
        scope.spawn(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", front.proxy.port())).unwrap();
            let began = Instant::now();
            for byte in [SSL, &[0x16, 3, 1, 2, 0][..], &[0; 200]].concat() {
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(began.elapsed() < Duration::from_secs(8), "a byte at a time prolongs it");
        });
    });
    clean(&front, before);
    let log = front.log();
    let late = log.lines().find(|line| line.contains("canceling authentication due to timeout"));
    assert!(late.is_some_and(|line| line.contains(&front.database.user)), "{log}");
    // A session is none of these.
    let mut session = Frontend::connect(&front.database, &[]).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    session.query("SELECT 1").unwrap();
}

/// A connection from 127.0.0.`host` that says nothing.
async fn silent(host: u8, to: SocketAddr) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_have_a_limit_that_is_said_and_a_flood_keeps_nobody_out() {
    let front = tokio::task::spawn_blocking(|| Front::start("max_connections = 3\n", "")).await.unwrap();
    let before = sockets(&front);
    let trust = Trust::Authority(front.authority.file("ca.pem"));
    let to = SocketAddr::from(([127, 0, 0, 1], front.proxy.port()));
    let first = front.client(&trust).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(silent(2, to).await);
    }
    let second = front.client(&trust).await.unwrap();
    let third = front.client(&trust).await.unwrap();
    assert_eq!(front.client(&trust).await.err().as_deref(), Some("53300"));
    let in_clear = tokio::task::spawn_blocking({
        let database = front.database.clone();
        move || Frontend::connect(&database, &[]).err().unwrap().to_string()
    });
    assert!(in_clear.await.unwrap().contains("too many clients already"));
    for client in [&first, &second, &third] {
        client.batch_execute("SELECT 1").await.unwrap();
    }
    drop(second);
    let end = Instant::now() + PATIENCE;
    while front.client(&trust).await.is_err() {
        assert!(Instant::now() < end, "a place that was left is not given away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((first, third, flood));
    clean(&front, before);
}

/// A client that has named a user, was asked for the password, and says nothing.
fn asked(front: &Front, user: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", front.proxy.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = format!("\0\x03\0\0user\0{user}\0database\0postgres\0\0");
    let length = u32::try_from(body.len() + 4).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], body.as_bytes()].concat()).unwrap();
    let mut request = [0; 9];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"R\0\0\0\x08\0\0\0\x03");
    stream
}

#[test]
fn who_is_asked_for_a_password_holds_no_connection_to_the_database() {
    let cluster = Cluster::scratch_with(&[("max_connections", "22")]).unwrap();
    cluster.endpoint().run("CREATE ROLE guest LOGIN PASSWORD 'QZguest1'").unwrap();
    let front = Front::before(cluster.endpoint(), "", "");
    let guest = Endpoint {
        user: "guest".to_owned(),
        password: "QZguest1".to_owned(),
        database: "postgres".to_owned(),
        ..front.database.clone()
    };
    let before = sockets(&front);
    let mut flood: Vec<_> = (0..60).map(|_| asked(&front, "guest")).collect();
    // Ordinary roles, by the proxy and past it, while strangers wait.
    let mut session = Frontend::connect(&guest, &[]).unwrap();
    session.query("SELECT 1").unwrap();
    drop(Frontend::connect(&Endpoint { port: cluster.endpoint().port, ..guest.clone() }, &[]).unwrap());
    let end = Instant::now() + PATIENCE;
    // The session, with the catalog's.
    while sockets(&front) > before + flood.len() + 3 {
        assert!(Instant::now() < end, "{} sockets, {before} before", sockets(&front));
        std::thread::sleep(Duration::from_millis(20));
    }
    // Whoever takes time gets in all the same, and without the password does not.
    for (password, answer) in [("QZguest1", &b"R\0\0\0\x08\0\0\0\0"[..]), ("wrong", b"E")] {
        let mut late = flood.pop().unwrap();
        let length = u32::try_from(password.len() + 5).unwrap();
        late.write_all(&[b"p", &length.to_be_bytes()[..], password.as_bytes(), b"\0"].concat()).unwrap();
        let mut said = vec![0; answer.len()];
        late.read_exact(&mut said).unwrap();
        assert_eq!(said, answer, "{password}");
    }
    assert!(!front.log().contains("53300"), "{}", front.log());
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_its_own_limit() {
    let lines = "max_connections_per_address = 1\n";
    let front = tokio::task::spawn_blocking(|| Front::start(lines, "")).await.unwrap();
    let trust = Trust::Authority(front.authority.file("ca.pem"));
    let _first = front.client(&trust).await.unwrap();
    assert_eq!(front.client(&trust).await.err().as_deref(), Some("53300"));
    // Whoever comes by another address is served.
    let stream = silent(3, SocketAddr::from(([127, 0, 0, 1], front.proxy.port()))).await;
    let mut config = tokio_postgres::Config::new();
    config.user(&front.database.user).password(&front.database.password).dbname(&front.database.database);
    assert!(config.connect_raw(stream, tokio_postgres::NoTls).await.is_ok());
}
