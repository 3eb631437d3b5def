//! A sidecar's question whether an envelope is good, before it keeps it for later statements: it cannot
//! open one itself. Checked as by a request's own, and not counted as a use.
//!
//! Whoever reaches the port may ask, and an unwrap costs most of a millisecond: so few are made at a time,
//! off the threads that serve sessions, and whoever has shown no good envelope gives way to others.

use crate::error::{ClientError, Code};
use crate::shares::{ApplicationShare, Envelope};
use crate::state::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use trefoil_https::Problem;
use trefoil_keys::carrier::{MAX_VALUE, app_share};

/// The three values with room for their names.
pub(super) const MAX_QUESTION: usize = 4 * MAX_VALUE;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

const BUSY: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "busy",
    "too many envelopes wait to be checked",
    "send this again in a moment",
);
const REJECTED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "share-rejected",
    "share rejected",
    "send the user, a fresh user envelope and the application's share that belong together",
);
const EXPIRED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "share-expired",
    "share expired",
    "send a new user envelope; the user's agent makes one",
);
const CLOSED: Problem = Problem::new(
    StatusCode::CONFLICT,
    "not-ready",
    "the bootstrap is not finished",
    "finish it with trefoil-admin bootstrap",
);
const FULL: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "full",
    "too many live user envelopes",
    "send this again when some have expired; let agents reuse an envelope until it expires",
);

/// The question. Nothing of it is logged but the user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question<'b> {
    user: &'b str,
    envelope: &'b str,
    app_share: &'b str,
}

/// What the envelope allows.
#[derive(Serialize)]
pub(super) struct Found {
    scope: &'static str,
    /// Seconds since 1970, to tell the newer of two.
    issued: u64,
    /// Seconds from now: clocks may differ.
    expires_in: u64,
    /// Whether the number of uses or something else is limited beside.
    limited: bool,
}

/// Whose turn it is.
pub(super) struct Envelopes(Semaphore);

impl Default for Envelopes {
    fn default() -> Self {
        Self(Semaphore::new(available_parallelism().map_or(1, usize::from)))
    }
}

impl Envelopes {
    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match timeout(PATIENCE, self.0.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(BUSY),
        }
    }
}

/// Answers the question.
pub(super) fn check(state: &State, question: &Question<'_>) -> Result<Found, Problem> {
    let Question { user, envelope, app_share } = question;
    let shares = state.shares();
    shares.check_open().map_err(problem)?;
    let application = ApplicationShare(app_share::parse(app_share).map_err(|_| REJECTED)?);
    let now = SystemTime::now();
    let live = shares.check(user, &Envelope::new(*envelope), &application, now).map_err(problem)?;
    Ok(Found {
        scope: if live.may_write() { "write" } else { "read" },
        issued: live.issued(),
        expires_in: live.expires().duration_since(now).map_or(0, |left| left.as_secs()),
        limited: live.is_limited(),
    })
}

fn problem(error: ClientError) -> Problem {
    match error.code {
        Some(Code::ShareExpired) => EXPIRED,
        Some(Code::NotBootstrapped | Code::BootstrapBurnt) => CLOSED,
        Some(_) => REJECTED,
        None => FULL,
    }
}
