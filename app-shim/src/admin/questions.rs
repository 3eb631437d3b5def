//! What the tenant admin may ask, and whoever watches over the sidecar.

use super::Interface;
use super::commands::{Pending, signed};
use crate::state::internal;
use crate::tenant_key::NO_PROXY;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::block_in_place;
use trefoil_https::Problem;
use trefoil_keys::panics;
use trefoil_keys::status::MAX_NONCE;

const NONCE: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "nonce",
    "there is no nonce of 1 to 64 letters, digits, `-` and `_`",
    "ask with ?nonce= and a value that was never used before",
);
#[derive(Serialize)]
pub(super) struct Users {
    /// Epochs by keyspace by UId.
    users: BTreeMap<String, BTreeMap<String, u8>>,
}

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    reasons: Vec<String>,
    /// Defects of the program that showed since its start.
    panics: u64,
}

/// Which users there are, with the epochs of their shares.
pub(super) async fn users(State(interface): State<Arc<Interface>>) -> Result<Json<Users>, Problem> {
    let users = block_in_place(|| interface.state.epochs()).map_err(internal)?;
    Ok(Json(Users { users }))
}

/// The command that is in doubt.
pub(super) async fn pending(State(interface): State<Arc<Interface>>) -> Json<Pending> {
    Json(Pending { pending: interface.in_doubt.borrow().clone() })
}

/// The proxy's signed status, which is the asker's to verify.
pub(super) async fn status(State(interface): State<Arc<Interface>>, uri: Uri) -> Result<Response, Problem> {
    let nonce = uri.query().and_then(|query| query.strip_prefix("nonce=")).filter(|nonce| is_nonce(nonce));
    let status = interface.proxy.status(nonce.ok_or(NONCE)?).await.map_err(|error| {
        tracing::warn!("{error}");
        NO_PROXY
    })?;
    Ok(signed(StatusCode::OK, status))
}

/// Whether the sidecar can do its work.
pub(super) async fn health(
    State(interface): State<Arc<Interface>>,
) -> Result<(StatusCode, Json<Health>), Problem> {
    let panics = panics::count();
    if let Some(fault) = block_in_place(|| interface.state.fault()) {
        let reasons = vec![format!("commands wait, as the store cannot be written: {fault}")];
        return Ok((
            StatusCode::SERVICE_UNAVAILABLE,
            Json(Health { status: "unavailable", reasons, panics }),
        ));
    }
    let mut reasons = Vec::new();
    if interface.in_doubt.borrow().is_some() {
        reasons.push("a command waits for the proxy's answer".to_owned());
    }
    let known = block_in_place(|| interface.state.proxy()).map_err(internal)?;
    if known.tenant_key.is_none() {
        reasons.push(
            "the tenant admin's key is not known yet: the first command after the proxy's bootstrap fetches it"
                .to_owned(),
        );
    }
    // Its work for the application goes on meanwhile, so neither is a reason to put it out of service.
    Ok((StatusCode::OK, Json(Health { status: "ok", reasons, panics })))
}

fn is_nonce(nonce: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_NONCE).contains(&nonce.len()) && nonce.bytes().all(allowed)
}
