//! `agent`: beside the user, a proxy on a loopback address for the one origin of the application. It adds
//! `Trefoil-User` and `Trefoil-Envelope` to requests, as much as their path and method call for, in the
//! place of any that came in.
//!
//! Invariant: nothing goes to any other origin, and no page of another site gets an envelope attached to
//! what it sends.

mod announcements;
mod clock;
mod gate;
mod neighbours;
mod place;
mod refused;
mod rules;

use crate::config;
use crate::http::fields::{ENVELOPE, USER};
use crate::http::{Client, Form, Handler, Onward, Refusal, answer, serve};
use crate::issuer::Issuer;
use announcements::Announcements;
use anyhow::Context as _;
use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use clock::Clock;
use gate::{Gate, Visitor};
use place::Places;
use rules::Rules;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use trefoil_https::Problem;

const NO_ENVELOPE: Problem = Problem::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "envelope",
    "no envelope can be made of your share",
    "the agent's log says why",
);

const NO_FOREIGN_FRAMES: HeaderValue = HeaderValue::from_static("frame-ancestors 'self'");

/// An agent before it listens.
pub(crate) struct Agent {
    client: Arc<Client>,
    issuer: Arc<Issuer>,
    user: HeaderValue,
    rules: Rules,
}

/// An agent at work.
struct Serving {
    address: SocketAddr,
    client: Arc<Client>,
    issuer: Arc<Issuer>,
    user: HeaderValue,
    rules: Rules,
    gate: Gate,
    places: Places,
    clock: Clock,
    announcements: Announcements,
}

impl Agent {
    /// For the user of this bundle.
    pub(crate) fn new(config: &mut config::Agent, issuer: Issuer) -> anyhow::Result<Self> {
        let user = HeaderValue::from_bytes(issuer.bundle().user.as_bytes())
            .ok()
            .filter(|_| issuer.bundle().user.trim() == issuer.bundle().user)
            .context("the user's name cannot be in a field of HTTP: it begins or ends with a space, or has control characters")?;
        let encrypted = config.origin.is_encrypted();
        let tls = encrypted.then(|| config.trust.client_config(None, config.tls12)).transpose()?;
        let client = Arc::new(Client::new(config.origin.clone(), tls, config.response_timeout)?);
        let rules = Rules::new(std::mem::take(&mut config.rules));
        Ok(Self { client, issuer: Arc::new(issuer), user, rules })
    }

    /// Runs until SIGTERM or SIGINT; open connections are cut.
    pub(crate) async fn run(self, config: config::Agent) -> anyhow::Result<()> {
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("cannot listen on {}; choose another address by `listen`", config.listen)
        })?;
        let address = listener.local_addr()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let _ignored = signal(SignalKind::hangup())?;
        let Self { client, issuer, user, rules } = self;
        let announcements = Announcements::follow(client.clone(), issuer.clone(), config.bundle);
        let places = Places::new(address, &config.names, client.origin());
        tracing::info!("open {} in the browser, in the place of {}", places.preferred(), client.origin());
        tracing::info!("listening on {address}, for {}", issuer.bundle().user);
        let gate = Gate::new(places.clone());
        let agent = Serving {
            address,
            client,
            issuer,
            user,
            rules,
            gate,
            places,
            clock: Clock::new(),
            announcements,
        };
        tokio::select! {
            () = serve(listener, None, Arc::new(agent)) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopped");
        Ok(())
    }
}

impl Handler for Serving {
    fn admits(&self, peer: SocketAddr) -> bool {
        neighbours::is_own(peer, self.address, rustix::process::getuid().as_raw())
    }

    async fn handle(&self, request: Request<Body>, _: SocketAddr) -> Response {
        let form = Form::of(request.headers());
        self.pass(request).await.unwrap_or_else(|problem| answer(problem, form))
    }
}

impl Serving {
    async fn pass(&self, request: Request<Body>) -> Result<Response, Problem> {
        let form = Form::of(request.headers());
        let visitor = self.gate.admit(&request)?;
        let series = self.rules.series(request.method(), request.uri().path(), visitor);
        let envelope = match series {
            None => None,
            Some(series) => Some(series.envelope(&self.issuer).ok_or(NO_ENVELOPE)?),
        };
        let mut onward = Onward::new(request);
        let headers = onward.headers_mut();
        self.places.towards_origin(headers);
        if let Some(envelope) = &envelope {
            let mut envelope = HeaderValue::from_str(envelope).map_err(|_| NO_ENVELOPE)?;
            // Kept out of what is printed of the fields, and of the tables that compress them.
            envelope.set_sensitive(true);
            headers.insert(USER, self.user.clone());
            headers.insert(ENVELOPE, envelope);
        }
        let sent = SystemTime::now();
        let mut response = self.client.send(onward).await?;
        let error = self.clock.compare(response.headers(), sent, SystemTime::now());
        if let Some(refusal) = Refusal::of(&response).filter(|_| envelope.is_some()) {
            if refusal == Refusal::Rejected {
                self.announcements.ask();
            }
            return Ok(answer(refused::problem(refusal, error), form));
        }
        self.places.towards_browser(response.headers_mut());
        if visitor == Visitor::Stranger {
            // A page in a frame of another site is the application's to the browser, and what its scripts
            // send is the user's: it is not to be shown there.
            response.headers_mut().append(CONTENT_SECURITY_POLICY, NO_FOREIGN_FRAMES);
        }
        Ok(response)
    }
}
