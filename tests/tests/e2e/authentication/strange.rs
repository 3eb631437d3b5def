//! Servers that are none, or not the one: what they do not get.

use super::{Options, PASSWORD, Proxy, explain, setting, tls};
use crate::shared::cluster;
use crate::tls::outer_address;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use trefoil_tests::recorder::Recorder;

const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const SCRAM: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";

/// A server that says these, each after it was told something, and what it was told.
fn server(says: &'static [&'static [u8]]) -> (u16, Receiver<Vec<u8>>) {
    changing(vec![says])
}

/// The same, with something else for each connection, and for those after these as for the last.
fn changing(turns: Vec<&'static [&'static [u8]]>) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for (turn, mut stream) in listener.incoming().flatten().enumerate() {
            told.send(talk(&mut stream, turns[turn.min(turns.len() - 1)])).ok();
        }
    });
    (port, heard)
}

fn talk(stream: &mut TcpStream, says: &[&[u8]]) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    let mut hear = |stream: &mut TcpStream| {
        let count = stream.read(&mut buffer).unwrap_or(0);
        all.extend_from_slice(&buffer[..count]);
        count > 0
    };
    for line in says {
        if !hear(stream) || stream.write_all(line).is_err() {
            return all;
        }
    }
    while hear(stream) {}
    all
}

#[test]
fn a_server_without_tls_is_left_before_anything_is_said() {
    let (port, heard) = server(&[b"N"]);
    let upstream = tls(&setting().authority.file());
    let proxy = Proxy::start(&Options { upstream: Some(&upstream), port: Some(port), ..Options::default() });
    let refused = proxy.role("auth_scram", PASSWORD).unwrap_err();
    assert!(refused.contains("the database server cannot be reached"), "{refused}");
    assert!(proxy.log().contains("the server has no TLS, and TLS is required"), "{}", proxy.log());
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)).unwrap(), [0, 0, 0, 8, 4, 210, 22, 47]);
}

#[test]
fn a_server_that_does_not_keep_to_its_method_gets_neither_password_nor_session() {
    let asks_twice: &[&[u8]] = &[SCRAM, CLEARTEXT];
    let skips_the_end: &[&[u8]] = &[SCRAM, OK, READY];
    let gss: &[&[u8]] = &[b"R\0\0\0\x08\0\0\0\x07"];
    let unknown: &[&[u8]] = &[b"R\0\0\0\x08\0\0\0\x2a"];
    let other_mechanism: &[&[u8]] = &[b"R\0\0\0\x12\0\0\0\x0aOAUTHBEAR\0"];
    let at_once: &[&[u8]] = &[READY];
    let endless: &[&[u8]] = &[b"R\x7f\0\0\0"];
    for says in [asks_twice, skips_the_end, gss, unknown, other_mechanism, at_once, endless] {
        let (port, heard) = server(says);
        let proxy = Proxy::start(&Options { port: Some(port), ..Options::default() });
        let refused = proxy.role("auth_scram", PASSWORD).unwrap_err();
        assert!(refused.contains("did not log the proxy in as it should"), "{says:?}: {refused}");
        while let Ok(told) = heard.recv_timeout(Duration::from_millis(300)) {
            assert!(memchr::memmem::find(&told, PASSWORD.as_bytes()).is_none(), "{says:?}");
        }
    }
}

#[test]
fn over_a_link_in_clear_no_password_and_no_hash_of_it_is_said() {
    let Some(outer) = outer_address() else { return eprintln!("no address but loopback: not tried") };
    let remote = Recorder::start_at(outer, cluster().endpoint().port).unwrap();
    let mut proxy = Proxy::start(&Options::default());
    let local = format!("host = \"127.0.0.1\"\nport = {}", proxy.recorder.port());
    let changes = [(local, format!("host = \"{outer}\"\nport = {}", remote.port()))];
    // Its own login is by SCRAM.
    proxy.part.configure(&changes).unwrap();
    let url = |user| format!("postgresql://{user}@{outer}:{}/postgres?sslmode=disable", remote.port());
    assert_eq!(proxy.role("auth_scram", PASSWORD).unwrap(), "auth_scram");
    assert!(!explain(&url("auth_scram"), &[]).contains("error"));
    for user in ["auth_password", "auth_md5"] {
        remote.clear();
        let says = proxy.role(user, PASSWORD).unwrap_err();
        assert!(says.contains("did not log the proxy in as it should"), "{says}");
        // As the proxy logs in for its catalogs.
        let says = explain(&url(user), &[]);
        assert!(says.contains("asks for a password, or its MD5 hash, over a connection in clear"), "{says}");
        let told = remote.sent().into_iter();
        let told: Vec<_> =
            told.filter(|told| memchr::memmem::find(told, user.as_bytes()).is_some()).collect();
        assert_eq!(told.len(), 2);
        for told in told {
            assert!(told.ends_with(b"\0\0"), "more than the start is said: {}", told.escape_ascii());
        }
    }
    assert!(proxy.log().contains("it asks for a password, or its MD5 hash, in clear"), "{}", proxy.log());
}

#[test]
fn a_client_that_leaves_is_not_waited_for_at_the_database() {
    let silent: &[&[u8]] = &[];
    let within: &[&[u8]] = &[SCRAM];
    for says in [silent, within] {
        let (port, heard) = server(says);
        let proxy = Proxy::start(&Options { port: Some(port), ..Options::default() });
        let mut client = TcpStream::connect(("127.0.0.1", proxy.part.port())).unwrap();
        let start = b"\0\0\0\x19\0\x03\0\0user\0auth_scram\0\0";
        client.write_all(start).unwrap();
        if !says.is_empty() {
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.read_exact(&mut [0; 9]).unwrap();
            client.write_all(b"p\0\0\0\x10QZpass8Word\0").unwrap();
        }
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while proxy.recorder.sent().first().is_none_or(|sent| sent.len() <= start.len() * (1 + says.len())) {
            assert!(std::time::Instant::now() < end, "nothing is said to the database");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(heard.recv_timeout(Duration::from_millis(300)).is_err(), "it is waited for");
        drop(client);
        let let_go = heard.recv_timeout(Duration::from_secs(2)).is_ok();
        // A password that the database has is judged, whoever waits for that.
        assert_eq!(let_go, says.is_empty());
    }
}

#[test]
fn a_server_that_asks_otherwise_on_the_second_connection_gets_neither_password_nor_session() {
    let (scram, cleartext): (&[&[u8]], &[&[u8]]) = (&[SCRAM], &[CLEARTEXT, OK, READY]);
    let at_once: &[&[u8]] = &[OK, READY];
    for second in [cleartext, at_once] {
        let (port, heard) = changing(vec![scram, second]);
        let proxy = Proxy::start(&Options { port: Some(port), ..Options::default() });
        let mut client = TcpStream::connect(("127.0.0.1", proxy.part.port())).unwrap();
        client.write_all(b"\0\0\0\x19\0\x03\0\0user\0auth_scram\0\0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.read_exact(&mut [0; 9]).unwrap();
        // Later than the first connection is kept.
        heard.recv_timeout(Duration::from_secs(10)).unwrap();
        client.write_all(b"p\0\0\0\x10QZpass8Word\0").unwrap();
        let mut says = Vec::new();
        client.read_to_end(&mut says).unwrap();
        assert!(says.starts_with(b"E") && !says.contains(&b'Z'), "{}", says.escape_ascii());
        let told = heard.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(memchr::memmem::find(&told, b"QZpass8Word").is_none());
    }
}
