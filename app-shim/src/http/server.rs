//! The listener: HTTP/1.1 and HTTP/2, by ALPN over TLS and by prior knowledge over cleartext. Heads are
//! bounded in size and time, and connections in number.

use super::{Form, MAX_HEAD, answer};
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use trefoil_https::Problem;
use trefoil_link::ServedTls;

/// How long TLS, and then a request's head, may take; also how long a connection may be idle.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(60);
/// Connections at a time: each has one to the origin beside it, and a process has 1,024 descriptors by
/// default.
const CONNECTIONS: usize = 400;
const STREAMS: u32 = 128;
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Whether this peer is served at all.
    fn admits(&self, _peer: SocketAddr) -> bool {
        true
    }

    /// The answer to a request of this peer.
    fn handle(&self, request: Request<Body>, peer: SocketAddr) -> impl Future<Output = Response> + Send;
}

/// A connection's place among all; a tunnel holds it on.
#[derive(Clone)]
pub(super) struct Place(#[expect(dead_code, reason = "held until dropped")] Arc<OwnedSemaphorePermit>);

/// Serves until dropped, each connection under what `tls` offers when it comes.
pub(crate) async fn serve<H: Handler>(listener: TcpListener, tls: Option<Arc<ServedTls>>, handler: Arc<H>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Whoever comes when all are taken waits in the listener's queue.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = Place(Arc::new(place));
                let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(tls.offer().config.clone()));
                tokio::spawn(accept(stream, acceptor, handler.clone(), peer, place));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of descriptors: let some connections end.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn accept<H: Handler>(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    handler: Arc<H>,
    peer: SocketAddr,
    place: Place,
) {
    if !handler.admits(peer) {
        return;
    }
    // Without it the last piece of an answer waits for the peer's acknowledgement.
    drop(stream.set_nodelay(true));
    let Some(acceptor) = acceptor else {
        return connection(stream, handler, peer, place).await;
    };
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, handler, peer, place).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
        Err(_) => tracing::debug!("no TLS handshake in time"),
    }
}

async fn connection<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: Arc<H>,
    peer: SocketAddr,
    place: Place,
) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(KEEP_ALIVE)
        .adaptive_window(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let (handler, place) = (handler.clone(), place.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(place);
            let form = Form::of(request.headers());
            let answered = AssertUnwindSafe(handler.handle(request, peer)).catch_unwind().await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| answer(Problem::INTERNAL, form)))
        }
    });
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection broke off");
    }
}
