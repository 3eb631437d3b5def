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
