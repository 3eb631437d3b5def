//! The server: TLS, then one HTTP/1.1 request on each connection. A connection has an end however
//! slowly its peer reads and writes, and there are never more than [`Bounds::connections`] of them. No
//! peer without credentials keeps others out: its connections are the first to give way.

use crate::problem::Problem;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures_util::FutureExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use trefoil_link::{Capacity, Claim, Place, Places, ServedTls};

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the request's head, from the end of the handshake.
    pub header: Duration,
    /// For the connection as a whole: request, work and answer.
    pub connection: Duration,
    /// Connections at a time.
    pub connections: usize,
    /// Of them, from one address (IPv6: from one /64).
    pub from_one_network: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            connection: Duration::from_secs(120),
            connections: 128,
            from_one_network: 32,
        }
    }
}

/// From where a request comes, as an extension of it.
#[derive(Clone)]
pub struct Peer {
    /// The address at the other end.
    pub address: SocketAddr,
    claim: Claim,
}

impl Peer {
    /// The request has shown credentials: its connection does not give way to others any more.
    pub fn keep(&self) {
        self.claim.keep();
    }
}

/// How many connections give way at once when descriptors run out.
const RELIEF: usize = 8;
const MAX_HEAD: usize = 16 * 1024;

/// Serves `app` until dropped, each connection under what `tls` offers when it comes. Requests carry a
/// [`Peer`].
pub async fn serve(listener: TcpListener, tls: Arc<ServedTls>, app: Router, bounds: Bounds) {
    let capacity = Capacity { in_all: bounds.connections, in_one_network: bounds.from_one_network };
    let places = Places::new(capacity, capacity);
    let app = app.layer(from_fn(answer_of_a_panic));
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(place) = places.take(Some(address.ip())) else {
                    tracing::debug!(%address, "no place for a connection");
                    continue;
                };
                let peer = Peer { address, claim: place.claim() };
                let app = app.clone().layer(Extension(peer));
                let acceptor = TlsAcceptor::from(Arc::clone(&tls.offer().config));
                tokio::spawn(hold(place, connection(stream, acceptor, app, bounds), bounds.connection));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of descriptors: let some connections end.
                places.relieve(RELIEF);
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A panic ends the request that it happened in, and is told by the program's hook.
async fn answer_of_a_panic(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| Problem::INTERNAL.into_response())
}

/// Serves a connection as long as it has its place.
async fn hold(mut place: Place, connection: impl Future<Output = ()>, longest: Duration) {
    tokio::select! {
        () = connection => {}
        () = sleep(longest) => tracing::debug!("connection took too long"),
        () = place.lost() => tracing::debug!("connection gave way to another one"),
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, app: Router, bounds: Bounds) {
    let stream = match timeout(bounds.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "no TLS handshake"),
        Err(_) => return tracing::debug!("no TLS handshake in time"),
    };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await {
        tracing::debug!(%error, "connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;
    use axum::routing::get;
    use std::net::Ipv4Addr;
    use std::sync::LazyLock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::sync::watch;
    use trefoil_keys::tls::{SelfSigned, pinned_client_config};
    use trefoil_link::Source;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// How many have asked for `/known`; at three they are answered.
    static KNOWN: LazyLock<watch::Sender<u8>> = LazyLock::new(|| watch::Sender::new(0));

    async fn known(Extension(peer): Extension<Peer>) -> &'static str {
        peer.keep();
        KNOWN.send_modify(|count| *count += 1);
        KNOWN.subscribe().wait_for(|count| *count >= 3).await.unwrap();
        "known"
    }

    /// A server with these bounds, and a client that knows its certificate.
    async fn start(bounds: Bounds) -> (SocketAddr, reqwest::Client, Arc<rustls::ClientConfig>) {
        let identity = SelfSigned::generate(&["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fingerprint = identity.fingerprint();
        let tls = ServedTls::new(Source::Own(identity), None, false, &[b"http/1.1"]).unwrap();
        let wait = || async { std::future::pending::<()>().await };
        let app = Router::new().route("/", get(async || "here")).route("/wait", get(wait));
        let app = app.route("/known", get(known));
        tokio::spawn(serve(listener, Arc::new(tls), app, bounds));
        let tls = pinned_client_config(fingerprint, None).unwrap();
        (address, client::client(tls.clone(), LONG).unwrap(), Arc::new(tls))
    }

    async fn ask(client: &reqwest::Client, address: SocketAddr, path: &str) -> Option<String> {
        let request = client.get(format!("https://{address}{path}"));
        Some(client::send(request, 100).await.ok()?.text()?.to_owned())
    }

    #[tokio::test]
    async fn whoever_does_not_begin_a_handshake_is_cut_off() {
        let (address, client, _) = start(Bounds { handshake: SHORT, ..Bounds::default() }).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(timeout(LONG, silent.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
        assert_eq!(ask(&client, address, "/").await.as_deref(), Some("here"));
    }

    #[tokio::test]
    async fn whoever_does_not_finish_a_head_is_cut_off() {
        let (address, _, tls) = start(Bounds { header: SHORT, ..Bounds::default() }).await;
        let connector = tokio_rustls::TlsConnector::from(tls);
        let stream = TcpStream::connect(address).await.unwrap();
        let mut slow = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        let mut answer = Vec::new();
        drop(timeout(LONG, slow.read_to_end(&mut answer)).await.unwrap());
        assert!(!answer.ends_with(b"here"));
    }

    #[tokio::test]
    async fn a_connection_has_an_end() {
        let (address, client, _) = start(Bounds { connection: SHORT, ..Bounds::default() }).await;
        assert_eq!(timeout(LONG, ask(&client, address, "/wait")).await.unwrap(), None);
    }

    /// A connection from 127.0.0.`host` that says nothing.
    async fn silent(host: u8, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    async fn is_cut_off(stream: &mut TcpStream) -> bool {
        timeout(LONG, stream.read(&mut [0])).await.unwrap().unwrap_or(0) == 0
    }

    fn patient(connections: usize, from_one_network: usize) -> Bounds {
        Bounds { handshake: LONG, header: LONG, connection: LONG, connections, from_one_network }
    }

    #[tokio::test]
    async fn one_address_with_many_connections_keeps_nobody_out() {
        let (address, client, _) = start(patient(4, 2)).await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(silent(2, address).await);
        }
        assert!(is_cut_off(&mut flood[17]).await, "one address has more places than it may");
        assert_eq!(timeout(LONG, ask(&client, address, "/")).await.unwrap().as_deref(), Some("here"));
        let (_other, _another) = (silent(3, address).await, silent(4, address).await);
        assert_eq!(timeout(LONG, ask(&client, address, "/")).await.unwrap().as_deref(), Some("here"));
        assert!(is_cut_off(&mut flood[18]).await, "another one than the most crowded address gave way");
        let mut byte = [0];
        assert!(timeout(SHORT, flood[19].read(&mut byte)).await.is_err(), "nobody needed its place");
    }

    #[tokio::test]
    async fn whoever_has_shown_credentials_does_not_give_way() {
        let (address, client, _) = start(patient(2, 2)).await;
        let (kept, mut known) = (client.clone(), KNOWN.subscribe());
        let kept = tokio::spawn(async move { ask(&kept, address, "/known").await });
        known.wait_for(|count| *count == 1).await.unwrap();
        for host in 2..10 {
            drop(silent(host, address).await);
            drop(silent(1, address).await);
        }
        let other = client.clone();
        let other = tokio::spawn(async move { ask(&other, address, "/known").await });
        known.wait_for(|count| *count == 2).await.unwrap();
        assert!(is_cut_off(&mut silent(2, address).await).await, "there are two places");
        KNOWN.send_replace(3);
        for kept in [kept, other] {
            assert_eq!(timeout(LONG, kept).await.unwrap().unwrap().as_deref(), Some("known"));
        }
    }

    #[tokio::test]
    async fn answers_have_a_limit_and_another_certificate_is_no_peer() {
        let (address, client, _) = start(Bounds::default()).await;
        let request = || client.get(format!("https://{address}/"));
        assert!(client::send(request(), 4).await.is_ok());
        assert!(matches!(client::send(request(), 3).await, Err(client::ClientError::TooLong(_))));
        let other = SelfSigned::generate(&["localhost".to_owned()]).unwrap().fingerprint();
        let stranger = client::client(pinned_client_config(other, None).unwrap(), LONG).unwrap();
        let refused = client::send(stranger.get(format!("https://{address}/")), 100).await.err().unwrap();
        let says = refused.to_string();
        assert!(matches!(refused, client::ClientError::OtherCertificate { .. }), "{says}");
        assert!(says.contains(&format!("at https://{address}: its SHA-256 is ")), "{says}");
        assert!(says.contains(&format!("expected {other}; nothing was sent")), "{says}");
    }
}
