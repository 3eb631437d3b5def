//! How a delivery comes to the one worker, and what comes of it.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use trefoil_https::Problem;
use trefoil_keys::command::{Command, Delivery, hash};

use super::check;

/// Deliveries that may wait for their turn.
const WAITING: usize = 8;

/// One delivery, and who waits for the outcome.
pub(crate) struct Order {
    /// The operation that it must be.
    pub(super) operation: &'static str,
    pub(super) delivery: Delivery,
    pub(super) answer: oneshot::Sender<Result<Outcome, Problem>>,
}

/// What came of a delivery.
pub(crate) enum Outcome {
    /// Both halves are in force; the proxy's receipt.
    Applied(String),
    /// Nothing has changed; the proxy's receipt.
    Refused(String),
    /// The proxy has not answered yet.
    InDoubt(InDoubt),
}

/// A command of which it is not known what the proxy makes of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InDoubt {
    /// Its number.
    pub(crate) seq: u64,
    /// Its operation.
    pub(crate) op: &'static str,
    /// The user that it is about.
    pub(crate) sub: Option<String>,
    /// When it was signed, in seconds since 1970.
    pub(crate) iat: u64,
    /// When it expires.
    pub(crate) exp: u64,
    /// SHA-256 of its signed form, base64url.
    pub(crate) command_sha256: String,
}

impl InDoubt {
    pub(super) fn of(command: &Command, jws: &str) -> Self {
        Self {
            seq: command.seq,
            op: command.op.name(),
            sub: command.op.sub().map(str::to_owned),
            iat: command.iat,
            exp: command.exp,
            command_sha256: Base64UrlUnpadded::encode_string(&hash(jws)),
        }
    }
}

/// Hands deliveries to the worker.
#[derive(Clone)]
pub(crate) struct Coordinator(mpsc::Sender<Order>);

impl Coordinator {
    /// This, and what the worker receives.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Hands a delivery over, which must be this operation, and waits for what comes of it. Who stops
    /// waiting does not stop it.
    pub(crate) async fn carry_out(
        &self,
        operation: &'static str,
        delivery: Delivery,
    ) -> Result<Outcome, Problem> {
        let (answer, outcome) = oneshot::channel();
        self.0.try_send(Order { operation, delivery, answer }).map_err(|_| check::BUSY)?;
        outcome.await.unwrap_or(Err(Problem::INTERNAL))
    }
}
