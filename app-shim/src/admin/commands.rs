//! Deliveries: one path for each operation.

use super::Interface;
use crate::two_phase::{InDoubt, Outcome};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use trefoil_https::{Problem, body};
use trefoil_keys::command::Delivery;

/// The paths, and the operations as commands call them.
pub(super) const ROUTES: [(&str, &str); 7] = [
    ("/v1/AddUser", "add"),
    ("/v1/AddUsers", "add-batch"),
    ("/v1/ChangeKey", "change"),
    ("/v1/WithdrawUser", "withdraw"),
    ("/v1/RenewShares", "renew"),
    ("/v1/AddKeyspace", "add-keyspace"),
    ("/v1/RotateKey", "rotate-key"),
];

const MALFORMED: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "delivery",
    "the body is not a delivery",
    "send the delivery as trefoil-admin wrote it, and use programs of one release",
);

#[derive(Serialize)]
pub(super) struct Pending {
    pub(super) pending: Option<InDoubt>,
}

/// Carries out a delivery that must be this operation.
pub(super) async fn carry_out(
    operation: &'static str,
    State(interface): State<Arc<Interface>>,
    body: Body,
) -> Result<Response, Problem> {
    let json = body::read(body, Delivery::MAX_LENGTH).await?;
    let delivery = Delivery::from_json(&json).map_err(|_| MALFORMED)?;
    drop(json);
    Ok(match interface.coordinator.carry_out(operation, delivery).await? {
        Outcome::Applied(receipt) => signed(StatusCode::OK, receipt),
        Outcome::Refused(receipt) => signed(StatusCode::UNPROCESSABLE_ENTITY, receipt),
        Outcome::InDoubt(command) => {
            (StatusCode::ACCEPTED, Json(Pending { pending: Some(command) })).into_response()
        }
    })
}

/// An answer in JWS compact form.
pub(super) fn signed(status: StatusCode, jws: String) -> Response {
    (status, [(CONTENT_TYPE, "application/jose")], jws).into_response()
}
