//! The admin port: bootstrap, commands from the tenant admin through the application, status, health.
//! HTTPS with TLS 1.3 alone; who may do what is decided by password, signature and claim, not by the
//! connection.

mod commands;
mod envelopes;

use crate::audit::Audit;
use crate::bootstrap::{self, Claim, Confirmation};
use crate::state::{Bootstrap, State};
use crate::upstream::Catalogs;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use commands::{Answer, Commands};
use envelopes::Envelopes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trefoil_https::problem::{method_not_allowed, not_found};
use trefoil_https::server::Peer;
use trefoil_https::{Problem, body};
use trefoil_keys::command::Command;
use trefoil_keys::panics::{self, panic_point};
use trefoil_keys::signing::Claims;
use trefoil_keys::status::MAX_NONCE;
use zeroize::Zeroizing;

const MAX_CLAIM: usize = 4 * 1024;
const MAX_CONFIRMATION: usize = 64 * 1024;

const JOSE: &str = "application/jose";
const JSON: &str = "application/json";

const NONCE: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "nonce",
    "the status is asked for with ?nonce= and 1 to 64 characters of base64url",
    "send a fresh random nonce",
);
const MALFORMED: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "malformed",
    "the body is not of the expected form",
    "use trefoil-admin of the same release",
);

struct Admin {
    state: Arc<State>,
    catalogs: Arc<Catalogs>,
    commands: Commands,
    envelopes: Envelopes,
    audit: Option<Arc<Audit>>,
}

/// Every path of the admin port.
pub fn router(state: Arc<State>, catalogs: Arc<Catalogs>, audit: Option<Arc<Audit>>) -> Router {
    let commands = Commands::new(Arc::clone(&state), audit.clone());
    Router::new()
        .route("/health", get(health))
        .route("/v1/status", get(status))
        .route("/v1/bootstrap/claim", post(claim))
        .route("/v1/bootstrap/confirm", post(confirm))
        .route("/v1/commands", post(command))
        .route("/v1/envelopes/check", post(envelope))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(Admin { state, catalogs, commands, envelopes: Envelopes::default(), audit }))
}

impl Admin {
    fn record_bootstrap<T>(&self, step: &str, outcome: &Result<T, Problem>) {
        if let Some(audit) = &self.audit {
            let outcome = outcome.as_ref().err().map_or("ok", |problem| &*problem.code);
            audit.record("bootstrap", &serde_json::json!({ "step": step, "outcome": outcome }));
        }
    }
}

async fn claim(Shared(admin): Shared<Arc<Admin>>, body: Body) -> Result<Response, Problem> {
    let body = body::read(body, MAX_CLAIM).await?;
    let handover = blocking(move || {
        let outcome = parse::<Claim<'_>>(&body).and_then(|claim| bootstrap::claim(&admin.state, &claim));
        admin.record_bootstrap("claim", &outcome);
        outcome
    });
    let handover = handover.await?;
    // The buffer is wiped when it has been sent.
    Ok(answer(StatusCode::OK, JSON, Bytes::from_owner(handover)))
}

async fn confirm(Shared(admin): Shared<Arc<Admin>>, body: Body) -> Result<Response, Problem> {
    let body = body::read(body, MAX_CONFIRMATION).await?;
    blocking(move || {
        let confirmation = parse::<Confirmation<'_>>(&body);
        let outcome = confirmation.and_then(|confirmation| bootstrap::confirm(&admin.state, &confirmation));
        admin.record_bootstrap("confirm", &outcome);
        outcome
    })
    .await?;
    Ok(answer(StatusCode::OK, JSON, Bytes::from_static(br#"{"state":"ready"}"#)))
}

async fn command(
    Shared(admin): Shared<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::read(body, Command::MAX_LENGTH).await?;
    let outcome = blocking(move || {
        let jws = str::from_utf8(&body).map_err(|_| MALFORMED)?;
        admin.commands.carry_out(jws.trim_end(), || peer.keep())
    });
    Ok(match outcome.await? {
        Answer::Applied(receipt) => answer(StatusCode::OK, JOSE, receipt.into()),
        Answer::Refused(receipt) => answer(StatusCode::UNPROCESSABLE_ENTITY, JOSE, receipt.into()),
    })
}

async fn envelope(
    Shared(admin): Shared<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::read(body, envelopes::MAX_QUESTION).await?;
    panic_point("admin.envelope", &body);
    let _turn = admin.envelopes.turn().await?;
    let state = Arc::clone(&admin.state);
    let found = blocking(move || envelopes::check(&state, &parse(&body)?)).await?;
    peer.keep();
    Ok((StatusCode::OK, [(CACHE_CONTROL, "no-store")], Json(found)).into_response())
}

async fn status(Shared(admin): Shared<Arc<Admin>>, uri: Uri) -> Result<Response, Problem> {
    let nonce = uri.query().and_then(|query| query.strip_prefix("nonce=")).unwrap_or_default().to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !(1..=MAX_NONCE).contains(&nonce.len()) || !nonce.bytes().all(plain) {
        return Err(NONCE);
    }
    let status = blocking(move || {
        let head = admin.audit.as_ref().map(|audit| audit.head());
        bootstrap::settle(&admin.state).and_then(|()| admin.state.status(&nonce, head)).map_err(|error| {
            tracing::error!(%error, "status not told");
            Problem::INTERNAL
        })
    });
    Ok(answer(StatusCode::OK, JOSE, status.await?.into()))
}

/// Whether protected tables are served.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    reasons: Vec<String>,
    /// Defects of the program that showed since its start.
    panics: u64,
}

async fn health(Shared(admin): Shared<Arc<Admin>>) -> Result<Response, Problem> {
    let state = Arc::clone(&admin.state);
    let mut reasons = blocking(move || Ok(store_reasons(&state))).await?;
    reasons.extend(admin.catalogs.key_faults());
    // Where it does not block, protected tables are served all the same.
    let audit = admin.audit.as_ref().filter(|audit| audit.is_blocking()).and_then(|audit| audit.fault());
    reasons.extend(audit.map(|fault| {
        format!("statements that need keys are refused, as the audit log cannot be written: {fault}")
    }));
    let (code, status) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    Ok((code, Json(Health { status, reasons, panics: panics::count() })).into_response())
}

fn store_reasons(state: &State) -> Vec<String> {
    if let Some(fault) = state.fault() {
        return vec![format!("commands wait, as the store cannot be written: {fault}")];
    }
    match bootstrap::settle(state).and_then(|()| state.bootstrap()) {
        Ok(Bootstrap::Ready { .. }) => Vec::new(),
        Ok(Bootstrap::Open { .. }) => vec!["the tenant key has not been claimed yet".to_owned()],
        Ok(Bootstrap::Claimed { .. }) => {
            vec!["the tenant key's hand-over has not been confirmed yet".to_owned()]
        }
        Ok(Bootstrap::Burnt { reason }) => vec![format!("the bootstrap is burnt: {reason}")],
        Err(error) => {
            tracing::error!(%error, "the store cannot be read");
            vec!["the store cannot be read; the log says why".to_owned()]
        }
    }
}

/// Work that waits for the disk, or computes for long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::INTERNAL))
}

fn parse<'b, T: Deserialize<'b>>(body: &'b Zeroizing<Vec<u8>>) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|_| MALFORMED)
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    (status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], body).into_response()
}
