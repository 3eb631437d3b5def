//! SCRAM towards a real client under TLS.

use super::{Guess, Link, client};
use crate::authentication::{Authentication, Binding, Files, Tries};
use crate::session::socket::Side;
use crate::upstream::{Server, Tls};
use crate::wire::authentication::Request;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::config::ChannelBinding;
use trefoil_keys::tls::SelfSigned;
use trefoil_link::{Accepted, Address, ServedTls, Source, Stream, Trust, accept};

/// What becomes of a client that asks for channel binding, or refuses it.
async fn log_in(password: &str, asks: ChannelBinding, instead: Option<Binding>) -> Result<(), String> {
    let users = tempfile::NamedTempFile::new().unwrap();
    let verifier = postgres_protocol::password::scram_sha_256(b"pencil");
    fs::write(users.path(), format!("[users.alice]\nverifier = {verifier:?}\n")).unwrap();
    let files = Files { users: Some(users.path().to_owned()), ..Files::default() };
    let authentication = Authentication::load(files).unwrap();
    let own = SelfSigned::generate(&["localhost".to_owned()]).unwrap();
    let served = Arc::new(ServedTls::new(Source::Own(own), None, false, &[b"postgresql"]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
    let trust = Trust::Pinned(served.offer().fingerprint);
    let proxy = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Accepted { stream, tls, .. } =
            accept(Stream::Tcp(stream), Some(served.offer())).await.ok().unwrap();
        let Link { binding, private, .. } = Link::of(&stream, None, tls.as_deref());
        assert!(private && binding != Binding::None);
        let binding = instead.unwrap_or(binding);
        let scram = authentication.scram(&authentication.rules(), b"alice", binding);
        let mut side = Side::new(stream);
        let tries = Tries::default();
        let guess = Guess { tries: &tries, network: None, user: b"alice", judged: AtomicBool::new(false) };
        let outcome = client::scram(&mut side, scram, &guess).await.map_err(|ended| format!("{ended:?}"));
        if outcome.is_ok() {
            Request::Ok.encode(side.outgoing()).unwrap();
            side.outgoing().extend_from_slice(b"Z\0\0\0\x05I");
            side.flush().await;
        }
        outcome
    });
    let tls = Tls { name: "localhost".to_owned(), trust, identity: None, tls12: false };
    let mut login = tokio_postgres::Config::new();
    login.user("alice").password(password).channel_binding(asks);
    let seen = Server::new(address, Some(tls)).unwrap().log_in(&login).await;
    let outcome = proxy.await.unwrap();
    assert_eq!(seen.is_ok(), outcome.is_ok());
    outcome
}

#[tokio::test]
async fn a_client_that_requires_channel_binding_gets_it() {
    log_in("pencil", ChannelBinding::Require, None).await.unwrap();
    log_in("pencil", ChannelBinding::Prefer, None).await.unwrap();
    log_in("pencil", ChannelBinding::Disable, None).await.unwrap();
    let refused = log_in("pen", ChannelBinding::Require, None).await.unwrap_err();
    assert!(refused.contains("28P01"), "{refused}");
}

#[tokio::test]
async fn whoever_claims_to_be_a_sidecar_gets_no_client_in_that_could_have_bound() {
    let withheld = || Some(Binding::Withheld);
    let refused = log_in("pencil", ChannelBinding::Prefer, withheld()).await.unwrap_err();
    assert!(refused.contains("negotiation error"), "{refused}");
    log_in("pencil", ChannelBinding::Disable, withheld()).await.unwrap();
}

#[tokio::test]
async fn a_sidecar_that_the_rule_trusts_is_offered_none() {
    log_in("pencil", ChannelBinding::Prefer, Some(Binding::None)).await.unwrap();
    let left = log_in("pencil", ChannelBinding::Require, Some(Binding::None)).await.unwrap_err();
    assert!(left.contains("Left"), "{left}");
}

/// A reset takes the address away from the socket; the rules are held against what it was.
#[tokio::test]
async fn a_client_that_resets_the_connection_stays_where_it_was() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    while stream.peer_addr().is_ok() {
        tokio::task::yield_now().await;
    }
    let link = Link::of(&Stream::Tcp(stream), Some(peer.ip()), None);
    assert_eq!((link.address, link.private), (Some(peer.ip()), false));
}
