//! The server: TLS, then one HTTP/1.1 request on each connection. A connection has an end however
//! slowly its peer reads and writes, and there are never more than [`Bounds::connections`] of them.

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the request's head, from the end of the handshake.
    pub header: Duration,
    /// For the connection as a whole: request, work and answer.
    pub connection: Duration,
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            connection: Duration::from_secs(120),
            connections: 128,
        }
    }
}

/// From where a request comes, as an extension of it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

const MAX_HEAD: usize = 16 * 1024;

/// Serves `app` until dropped. Requests carry a [`Peer`].
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, app: Router, bounds: Bounds) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let acceptor = TlsAcceptor::from(tls);
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let app = app.clone().layer(Extension(Peer(peer)));
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let connection = connection(stream, acceptor, app, bounds);
                    if timeout(bounds.connection, connection).await.is_err() {
                        tracing::debug!(%peer, "connection took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of descriptors: let some connections end.
                sleep(Duration::from_millis(100)).await;
            }
        }
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use trefoil_keys::tls::{SelfSigned, pinned_client_config, server_config};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// A server with these bounds, and a client that knows its certificate.
    async fn start(bounds: Bounds) -> (SocketAddr, reqwest::Client, Arc<rustls::ClientConfig>) {
        let identity = SelfSigned::generate(&["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = server_config(identity.identity(), None).unwrap();
        let wait = || async { std::future::pending::<()>().await };
        let app = Router::new().route("/", get(async || "here")).route("/wait", get(wait));
        tokio::spawn(serve(listener, Arc::new(tls), app, bounds));
        let tls = pinned_client_config(identity.fingerprint(), None).unwrap();
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

    #[tokio::test]
    async fn further_connections_wait_for_a_place() {
        let bounds = Bounds { connections: 1, handshake: LONG, ..Bounds::default() };
        let (address, client, _) = start(bounds).await;
        let holding = TcpStream::connect(address).await.unwrap();
        let waiting = timeout(SHORT, ask(&client, address, "/"));
        assert!(waiting.await.is_err(), "served beside the one that is allowed");
        drop(holding);
        let served = timeout(LONG, ask(&client, address, "/")).await.unwrap();
        assert_eq!(served.as_deref(), Some("here"));
    }

    #[tokio::test]
    async fn answers_have_a_limit_and_another_certificate_is_no_peer() {
        let (address, client, _) = start(Bounds::default()).await;
        let request = || client.get(format!("https://{address}/"));
        assert!(client::send(request(), 4).await.is_ok());
        assert!(matches!(client::send(request(), 3).await, Err(client::ClientError::TooLong(_))));
        let other = SelfSigned::generate(&["localhost".to_owned()]).unwrap().fingerprint();
        let stranger = client::client(pinned_client_config(other, None).unwrap(), LONG).unwrap();
        assert_eq!(ask(&stranger, address, "/").await, None);
    }
}
