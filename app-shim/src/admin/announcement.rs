//! The tenant admin's newest announcement of the proxy's keys, for whoever makes envelopes. It is
//! public: who reads it verifies its signature.

use super::Interface;
use super::commands::signed;
use crate::state::{KnownProxy, internal};
use crate::tenant_key;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;
use tokio::task::block_in_place;
use trefoil_https::{Problem, body};
use trefoil_keys::announcement::Announcement;
use trefoil_keys::signing::Claims as _;

const NONE: Problem = Problem::new(
    StatusCode::NOT_FOUND,
    "no-announcement",
    "the tenant admin has not announced anything yet",
    "the key of the user's bundle holds",
);
const REJECTED: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "signature",
    "this is not an announcement that this tenant's admin has signed",
    "send what trefoil-admin proxy-key announce has written",
);
const NOT_NEWER: Problem = Problem::new(
    StatusCode::CONFLICT,
    "serial",
    "there is a newer announcement, or another one with this serial number",
    "announce anew: trefoil-admin proxy-key announce",
);

/// The newest one.
pub(super) async fn get(State(interface): State<Arc<Interface>>) -> Result<Response, Problem> {
    let newest = block_in_place(|| interface.state.announcement()).map_err(internal)?;
    Ok(signed(StatusCode::OK, newest.ok_or(NONE)?))
}

/// Takes one that is newer.
pub(super) async fn put(State(interface): State<Arc<Interface>>, body: Body) -> Result<Response, Problem> {
    let body = body::read(body, Announcement::MAX_LENGTH).await?;
    let jws = std::str::from_utf8(&body).map_err(|_| REJECTED)?.trim_end();
    let known = tenant_key::with_tenant_key(&interface.state, &interface.proxy).await?;
    block_in_place(|| take(&interface, &known, jws))?;
    Ok(signed(StatusCode::OK, jws.to_owned()))
}

fn take(interface: &Interface, known: &KnownProxy, jws: &str) -> Result<(), Problem> {
    let verify = |jws: &str| known.tenant_key.as_ref()?.verify::<Announcement>(jws).ok();
    let new = verify(jws).filter(|new| new.tenant == known.tenant).ok_or(REJECTED)?;
    // Of two that come at once, the one with the higher serial stays: looked at and put in one transaction.
    let taken = interface.state.put_announcement(jws, |newest| {
        newest == jws || verify(newest).is_none_or(|newest| newest.serial < new.serial)
    });
    if !taken.map_err(internal)? {
        return Err(NOT_NEWER);
    }
    if let Some(act_for) = &interface.shares.act_for
        && let Err(error) = act_for.heed(jws)
    {
        tracing::warn!(%error, "the user to act for is of another tenant than the announcement");
    }
    Ok(())
}
