//! What a delivery must be before it is prepared, and what it is answered with if it is not.

use crate::envelope::now;
use crate::state::{KnownProxy, State, internal};
use crate::tenant_key::NO_BOOTSTRAP;
use crate::tka;
use axum::http::StatusCode;
use trefoil_https::Problem;
use trefoil_keys::command::{Command, Delivery};
use trefoil_keys::receipt::Receipt;
use trefoil_keys::signing::{Reason, SigningError};

/// How far the tenant admin's clock may be ahead, in seconds. The proxy's own bound holds as well.
const SKEW: u64 = 60;

pub(super) const BUSY: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "busy",
    "too many deliveries wait for their turn",
    "send one after the other",
);
pub(super) const OTHER_IN_DOUBT: Problem = Problem::new(
    StatusCode::CONFLICT,
    "in-doubt",
    "another command waits for the proxy's answer",
    "send this one when that one is settled: GET /v1/pending shows it, the log says what it waits for",
);
const SIGNATURE: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "signature",
    "the command is not signed by the tenant admin, or not one",
    "sign it with the vault of this tenant",
);
const SHARES: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "shares",
    "the shares are not those that the command was signed for",
    "send the delivery as trefoil-admin wrote it",
);
const OPERATION: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "operation",
    "the command is another operation than this path is for",
    "send it to the path of its operation",
);
const TENANT: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "tenant",
    "the command is of another tenant",
    "send it to that tenant's sidecar",
);
const KEYSPACE: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "keyspace",
    "the shares cannot go with a request: too many keyspaces, or one whose name cannot stand there",
    "use keyspaces without comma, colon and control characters in their names",
);
const FUTURE: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "future",
    "the command is from the future",
    "set the clocks of both machines right",
);
const EXPIRED: Problem =
    Problem::new(StatusCode::BAD_REQUEST, "expired", "the command has expired", "have it signed anew");
const EARLY: Problem = Problem::new(
    StatusCode::CONFLICT,
    "early",
    "",
    "deliver that one first; if nobody has it any more, run trefoil-shim init --new-proxy, and have all \
     shares renewed",
);
const SEQUENCE: Problem = Problem::new(
    StatusCode::CONFLICT,
    "seq",
    "",
    "compare with the proxy by trefoil-admin status; if the proxy was put back to an older state, run \
     trefoil-shim init --new-proxy",
);

/// The command, if the tenant admin signed it for this tenant, operation and these shares.
pub(super) fn open(delivery: &Delivery, operation: &str, known: &KnownProxy) -> Result<Command, Problem> {
    let key = known.tenant_key.as_ref().ok_or(NO_BOOTSTRAP)?;
    let command = delivery.open(key).map_err(|error| match error {
        SigningError::Rejected(Reason::Shares) => SHARES,
        _ => SIGNATURE,
    })?;
    if command.tenant != known.tenant {
        return Err(TENANT);
    }
    if command.op.name() != operation {
        return Err(OPERATION);
    }
    if delivery.tka.values().any(|shares| tka::text(shares).is_err()) {
        return Err(KEYSPACE);
    }
    Ok(command)
}

/// Whether the command holds now.
pub(super) fn in_time(command: &Command) -> Result<(), Problem> {
    let now = now();
    if command.iat > now + SKEW {
        return Err(FUTURE);
    }
    if command.exp <= now { Err(EXPIRED) } else { Ok(()) }
}

/// Where a command stands among those that were settled.
pub(super) enum Turn {
    /// It was applied, with this receipt.
    Settled(String),
    /// Its number is passed, and here is no receipt of this very command: the proxy may have one.
    Passed,
    /// It is next. Where the state was made anew, so is the last one that the proxy has applied.
    Next,
}

/// Whose turn it is.
pub(super) fn turn(state: &State, known: &KnownProxy, command: &Command, jws: &str) -> Result<Turn, Problem> {
    let (seq, last) = (command.seq, state.last().map_err(internal)?);
    let next = last.saturating_add(1);
    if seq > next {
        return Err(EARLY.saying(format!("command {seq} is out of turn: command {next} comes first")));
    }
    if seq == next {
        return Ok(Turn::Next);
    }
    let answers = |receipt: &str| {
        known.receipt_key.verify::<Receipt>(receipt).is_ok_and(|receipt| receipt.answers(command, jws))
    };
    Ok(match state.receipt(seq).map_err(internal)? {
        Some(receipt) if answers(&receipt) => Turn::Settled(receipt),
        None if seq == last => Turn::Next,
        _ => Turn::Passed,
    })
}

/// The proxy has not come to a number that is passed here.
pub(super) fn proxy_behind(command: &Command) -> Problem {
    SEQUENCE.saying(format!("command {} is settled here, and the proxy has not come to it", command.seq))
}
