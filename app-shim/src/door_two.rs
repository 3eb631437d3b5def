//! The second door: a reverse proxy in front of the application that takes user and envelope off each
//! request. The application never sees an envelope; a request without one passes, and gets no protected
//! data.

use crate::config::Http;
use crate::envelopes::{Envelopes, OfferError};
use crate::http::fields::{ANNOUNCEMENT_PATH, ANNOUNCEMENT_TYPE, ENVELOPE, USER};
use crate::http::{Client, Form, Handler, Onward, Refusal, UNREACHABLE, answer, serve};
use crate::state::{State, internal};
use anyhow::Context as _;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::block_in_place;
use trefoil_https::Problem;
use trefoil_link::ServedTls;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const NO_TUNNEL: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "connect",
    "connections to other hosts are not made here",
    "ask for a path of the application",
);
const NO_PAIR: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "share-headers",
    "Trefoil-User and Trefoil-Envelope must both be there, once each, or neither",
    "send them as trefoil-shim agent does, or as trefoil-shim envelope --header prints them",
);
const EXPIRED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "share-expired",
    "the user's envelope has expired",
    "send one that was made now; if it was, set the clock of the user's computer right",
);
const REJECTED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "share-rejected",
    "the user's envelope was not accepted",
    "the user may have been withdrawn or have got another share: ask the tenant admin; a clock that is ahead \
     has the same effect",
);
const UNAVAILABLE: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "proxy-unavailable",
    "whether the user's envelope holds cannot be found out now",
    "try again; if it happens again, see whether trefoil-proxy runs",
);
/// Where the application is and why it does not answer is for the log alone.
const NO_APPLICATION: Problem = Problem::new(
    StatusCode::BAD_GATEWAY,
    UNREACHABLE,
    "the application cannot be reached",
    "try again; if it happens again, whoever runs the application finds the reason in the sidecar's log",
);
const NO_ANNOUNCEMENT: Problem = Problem::new(
    StatusCode::NOT_FOUND,
    "no-announcement",
    "the tenant admin has not announced anything yet",
    "the key of the user's bundle holds",
);

/// The door.
struct DoorTwo {
    application: Client,
    encrypted: bool,
    envelopes: Arc<Envelopes>,
    state: Arc<State>,
}

/// Serves until dropped.
pub(crate) async fn run(
    config: &Http,
    tls: Option<Arc<ServedTls>>,
    envelopes: Arc<Envelopes>,
    state: Arc<State>,
) -> anyhow::Result<()> {
    let application = Client::new(config.application.clone(), None, config.response_timeout)?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address by `http.listen`", config.listen)
    })?;
    tracing::info!("application's users on {}", listener.local_addr()?);
    let door = DoorTwo { application, encrypted: tls.is_some(), envelopes, state };
    serve(listener, tls, Arc::new(door)).await;
    Ok(())
}

impl Handler for DoorTwo {
    async fn handle(&self, request: Request<Body>, peer: SocketAddr) -> Response {
        let form = Form::of(request.headers());
        match self.pass(request, peer).await {
            Ok(response) => response,
            Err((problem, refusal)) => {
                let mut response = answer(problem, form);
                if let Some(refusal) = refusal {
                    refusal.mark(&mut response);
                }
                response
            }
        }
    }
}

impl DoorTwo {
    async fn pass(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
    ) -> Result<Response, (Problem, Option<Refusal>)> {
        let plain = |problem| (problem, None);
        if request.method() == Method::CONNECT {
            return Err(plain(NO_TUNNEL));
        }
        if request.uri().path() == ANNOUNCEMENT_PATH {
            return self.announcement(request.method()).map_err(plain);
        }
        if let Some((user, envelope)) = carried(request.headers()).map_err(plain)? {
            self.envelopes.offer(user, envelope).await.map_err(|error| match error {
                OfferError::Expired => (EXPIRED, Some(Refusal::Expired)),
                OfferError::Rejected => (REJECTED, Some(Refusal::Rejected)),
                OfferError::Unavailable => plain(UNAVAILABLE),
            })?;
        }
        let mut onward = Onward::new(request);
        self.say_from_where(onward.headers_mut(), peer);
        let answered = self.application.send(onward).await;
        answered.map_err(|problem| plain(if problem.code == UNREACHABLE { NO_APPLICATION } else { problem }))
    }

    /// Public: whoever reads it verifies its signature.
    fn announcement(&self, method: &Method) -> Result<Response, Problem> {
        if method != Method::GET {
            return Err(Problem::METHOD);
        }
        let newest =
            block_in_place(|| self.state.announcement()).map_err(internal)?.ok_or(NO_ANNOUNCEMENT)?;
        Ok(([(CONTENT_TYPE, ANNOUNCEMENT_TYPE)], newest).into_response())
    }

    /// The peer behind those that are named already.
    fn say_from_where(&self, headers: &mut HeaderMap, peer: SocketAddr) {
        let address = peer.ip().to_canonical().to_string();
        let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<&str> = before.chain([address.as_str()]).collect();
        if let Ok(value) = HeaderValue::try_from(all.join(", ")) {
            headers.insert(FORWARDED_FOR, value);
        }
        if self.encrypted {
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        }
    }
}

/// User and envelope of a request, if it has them.
fn carried(headers: &HeaderMap) -> Result<Option<(&str, &str)>, Problem> {
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => std::str::from_utf8(value.as_bytes()).map(Some).map_err(|_| NO_PAIR),
            (None, _) => Ok(None),
            _ => Err(NO_PAIR),
        }
    };
    match (only(USER)?, only(ENVELOPE)?) {
        (None, None) => Ok(None),
        (Some(user), Some(envelope)) if !user.is_empty() && !envelope.is_empty() => {
            Ok(Some((user, envelope)))
        }
        _ => Err(NO_PAIR),
    }
}
