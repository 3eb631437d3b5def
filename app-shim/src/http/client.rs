//! Passes requests on to the origin over pooled connections, and answers back. A WebSocket becomes a
//! tunnel of bytes when the origin agrees (RFC 6455, section 4); no other protocol does: what is said in
//! another one (`h2c`, above all) would go past everything that is looked at here.

use super::body::{Awaited, Passing, Progress};
use super::fields::{lists, remove_carriers, remove_hop_by_hop};
use super::server::Place;
use super::{MAX_HEAD, Origin};
use axum::body::{Body, HttpBody as _};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use axum::http::{Method, Request, StatusCode, Version};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, on};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use trefoil_https::Problem;

const CONNECT: Duration = Duration::from_secs(5);
/// Finds out that a peer is gone which sends nothing for long.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next request: less than the usual application servers keep it
/// (five seconds), since a request that meets the end of a connection is lost; more where a new connection
/// costs a handshake over the network.
const IDLE_CLEARTEXT: Duration = Duration::from_secs(4);
const IDLE_TLS: Duration = Duration::from_secs(50);
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

const UNREADABLE: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "request",
    "the request names no resource of the application",
    "send a path, and one host",
);
const SLOW_ORIGIN: Problem = Problem::new(
    StatusCode::GATEWAY_TIMEOUT,
    "origin-slow",
    "the application did not answer in time",
    "try again; if it needs longer, raise response_timeout",
);
const BROKEN_ORIGIN: Problem = Problem::new(
    StatusCode::BAD_GATEWAY,
    "origin-broken",
    "the application broke off, or answered with no proper HTTP",
    "try again; if it happens again, its log may say why",
);

type Pool = legacy::Client<HttpsConnector<HttpConnector>, Body>;

/// A client of one origin.
pub(crate) struct Client {
    origin: Origin,
    pool: Pool,
    /// For upgrades, which HTTP/2 does not have.
    http1: Pool,
    patience: Duration,
}

/// A request without all that does not go on as it came.
pub(crate) struct Onward {
    request: Request<Body>,
    /// The client's side of a WebSocket, and the place that its connection takes.
    upgrade: Option<(OnUpgrade, Option<Place>)>,
    progress: Arc<Progress>,
}

impl Onward {
    /// Takes out what ends here.
    pub(crate) fn new(mut request: Request<Body>) -> Self {
        let upgrade = is_websocket(&request).then(|| (on(&mut request), request.extensions_mut().remove()));
        let named = request.uri().authority().and_then(|named| named.as_str().parse().ok());
        let chunked = request.body().size_hint().exact().is_none();
        let headers = request.headers_mut();
        // Of two ways to say how long a body is, the one in use is said anew.
        if chunked {
            headers.remove(CONTENT_LENGTH);
        }
        // HTTP/2 names the host beside the fields, and so does the absolute form (RFC 9112, section 3.2.2).
        if let Some(named) = named {
            headers.insert(HOST, named);
        }
        remove_hop_by_hop(headers);
        remove_carriers(headers);
        let progress = Progress::new();
        let request = request.map(|body| Body::new(Passing::new(body, progress.clone())));
        Self { request, upgrade, progress }
    }

    /// What goes on.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }
}

impl Client {
    /// For this origin, whose certificate `tls` verifies; none for one in clear. An origin that neither
    /// takes nor sends anything for as long as `patience` has failed.
    ///
    /// # Errors
    /// Where there is no TLS at all.
    pub(crate) fn new(
        origin: Origin,
        tls: Option<ClientConfig>,
        patience: Duration,
    ) -> Result<Self, rustls::Error> {
        let tls = tls.map_or_else(nobody, Ok)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        let connector = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let any = connector().enable_all_versions().wrap_connector(tcp.clone());
        let http1 = connector().enable_http1().wrap_connector(tcp);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(if origin.is_encrypted() { IDLE_TLS } else { IDLE_CLEARTEXT })
            .http1_max_buf_size(MAX_HEAD)
            .http2_max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_adaptive_window(true);
        let http1 = builder.build(http1);
        let pool = builder.http2_only(origin.has_prior_knowledge()).build(any);
        Ok(Self { origin, pool, http1, patience })
    }

    /// Where requests go.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Passes a request on, and the answer back: its head, and the body as it comes.
    ///
    /// # Errors
    /// A [`Problem`] to answer with if the origin gives no answer.
    pub(crate) async fn send(&self, onward: Onward) -> Result<Response, Problem> {
        let Onward { mut request, upgrade, progress } = onward;
        let path = request.uri().path_and_query().cloned().ok_or(UNREADABLE)?;
        if request.headers().get_all(HOST).iter().count() > 1 {
            return Err(UNREADABLE);
        }
        *request.uri_mut() = self.origin.at(path).ok_or(UNREADABLE)?;
        *request.version_mut() = Version::HTTP_11;
        if self.origin.has_prior_knowledge() && upgrade.is_none() {
            // HTTP/2 has one name for the host, that of the origin (RFC 9113, section 8.3.1).
            if let Some(host) = request.headers_mut().remove(HOST) {
                request.headers_mut().insert(FORWARDED_HOST, host);
            }
        }
        let pool = if upgrade.is_some() { &self.http1 } else { &self.pool };
        if upgrade.is_some() {
            ask_for_websocket(request.headers_mut());
        }
        let response = progress.guard(self.patience, pool.request(request)).await.map_err(overdue)?;
        let mut response = response.map_err(|error| self.failure(&error))?;
        let origin_side = (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| on(&mut response));
        let agreed = lists(response.headers(), &UPGRADE, "websocket");
        let mut response = response.map(Body::new);
        remove_hop_by_hop(response.headers_mut());
        match (origin_side, upgrade) {
            (None, _) => Ok(response),
            (Some(origin), Some((client, place))) if agreed => {
                ask_for_websocket(response.headers_mut());
                tokio::spawn(tunnel(client, origin, place));
                Ok(response)
            }
            _ => Err(BROKEN_ORIGIN),
        }
    }

    fn failure(&self, error: &legacy::Error) -> Problem {
        let mut innermost: &(dyn Error + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        tracing::warn!("no answer of {}: {innermost}", self.origin);
        if !error.is_connect() {
            return BROKEN_ORIGIN;
        }
        Problem::new(
            StatusCode::BAD_GATEWAY,
            UNREACHABLE,
            "",
            "see whether the application runs and can be reached there, and its certificate is valid; then \
             try again",
        )
        .saying(format!("cannot reach the application at {}: {innermost}", self.origin))
    }
}

/// The code of the problem that the origin cannot be reached, which says where it is.
pub(crate) const UNREACHABLE: &str = "origin-unreachable";

/// For an origin in clear, which shows no certificate.
fn nobody() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn overdue(awaited: Awaited) -> Problem {
    match awaited {
        Awaited::Client => Problem::SLOW_BODY,
        Awaited::Origin => SLOW_ORIGIN,
    }
}

fn is_websocket<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && lists(request.headers(), &CONNECTION, "upgrade")
        && lists(request.headers(), &UPGRADE, "websocket")
}

fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Bytes from one side to the other until both have ended.
async fn tunnel(client: OnUpgrade, origin: OnUpgrade, place: Option<Place>) {
    let (Ok(client), Ok(origin)) = (client.await, origin.await) else {
        return tracing::debug!("a WebSocket ended before it began");
    };
    let outcome = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(origin)).await;
    if let Err(error) = outcome {
        tracing::debug!(kind = %error.kind(), "a WebSocket broke off");
    }
    drop(place);
}
