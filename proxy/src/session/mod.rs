//! One client's session, as one task without locks: two sockets, four bounded buffers, and the queue
//! of replies to come. Protocol 3.0 and its minor versions, PostgreSQL's "Message Flow".
//!
//! Nothing is read from one side while the other has not taken what waits for it. Messages are
//! treated synchronously, so no key lives across an await.

mod backend;
mod carriers;
mod copy;
mod extended;
mod fault;
mod frontend;
mod grants;
mod limits;
mod names;
mod parameters;
mod path;
mod pending;
mod plans;
mod results;
mod rewrite;
mod room;
mod schema;
mod socket;
mod splice;
mod startup;
mod state;
#[cfg(test)]
mod tests;
mod text;

pub use plans::{Analyze, Figures, Plans};

use crate::error::{ClientError, sqlstate};
use crate::shares::Shares;
use crate::upstream::Catalogs;
use crate::wire::Malformed;
use crate::wire::backend::Severity;
use crate::wire::frame;
use fault::Fault;
use futures_util::FutureExt;
use socket::Side;
use startup::{Begin, Wish};
use state::{BOUND, State, Turn};
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use trefoil_link::{AcceptError, Accepted, Address, ClientTls, ConnectError, Stream, accept, connect};

/// How long a client may take to say what it wants.
const STARTUP_TIME: Duration = Duration::from_secs(60);
/// How long the last words may take to be taken.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// What all sessions share.
pub struct Environment {
    /// Policy and plans.
    pub plans: Plans,
    /// The proxy's shares and the live envelopes.
    pub shares: Arc<Shares>,
    /// The databases' catalogs.
    pub catalogs: Arc<Catalogs>,
    /// Where the server is, and how it is spoken to.
    pub upstream: Upstream,
    /// The longest message, in bytes, that is held to be understood.
    pub max_message: usize,
    /// Named prepared statements that a session may have open at a time.
    pub max_statements: usize,
    /// Named portals and cursors that a session may have open at a time.
    pub max_portals: usize,
}

/// Where the server is, and how it is spoken to.
pub struct Upstream {
    /// Where it is.
    pub address: Address,
    /// TLS; none for Unix sockets.
    pub tls: Option<ClientTls>,
}

/// Why a session ended other than by either side's leave. Fit for a log.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The client got no further than its first bytes.
    #[error("{0}")]
    Accept(AcceptError),
    /// A cancel request could not be forwarded.
    #[error("cancel request not forwarded: {0}")]
    Cancel(ConnectError),
    /// The client was told this, as FATAL.
    #[error("{0:?}")]
    Fatal(ClientError),
}

/// Tells a client that no more sessions can be served.
pub async fn turn_away(client: Stream) {
    let error = ClientError::new("53300", "the proxy serves as many sessions as it may", "Try again later.");
    farewell(&mut Side::new(client), Fault::Fatal(error)).await.ok();
}

/// Serves a client until it or the server leaves.
pub async fn serve(client: Stream, environment: Arc<Environment>) -> Result<(), SessionError> {
    let accepted = match tokio::time::timeout(STARTUP_TIME, accept(client, None)).await {
        Ok(accepted) => accepted,
        Err(_) => return Ok(()),
    };
    let Accepted { stream, packet, .. } = match accepted {
        Ok(accepted) => accepted,
        Err(AcceptError::Length(stream)) => {
            return farewell(&mut Side::new(*stream), Malformed::Length.into()).await;
        }
        // It left without a word.
        Err(AcceptError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => return Err(SessionError::Accept(error)),
    };
    let mut client = Side::new(stream);
    let begin = match startup::first(&packet) {
        Wish::Cancel(packet) => {
            return startup::cancel(&environment.upstream, &packet).await.map_err(SessionError::Cancel);
        }
        Wish::Session(begin) => begin,
        Wish::Refused(fault) => return farewell(&mut client, fault).await,
    };
    drop(packet);
    let Upstream { address, tls } = &environment.upstream;
    let server = match connect(address, tls.as_ref()).await {
        Ok(stream) => Side::new(stream),
        Err(error) => {
            tracing::warn!(%error, "no connection to the database");
            let message = "the database server cannot be reached";
            return farewell(
                &mut client,
                Fault::Fatal(ClientError::new("08006", message, "The proxy's log says why.")),
            )
            .await;
        }
    };
    let mut session = Session::new(client, server, environment, begin);
    // What a panic leaves of the session is dropped, and wiped with that; only the client hears of it.
    let ended =
        AssertUnwindSafe(session.run()).catch_unwind().await.unwrap_or_else(|_| Err(session.defect()));
    match ended {
        Ok(()) => Ok(()),
        Err(fault) => {
            if let Fault::Stale(_) = &fault
                && let Err(error) = session.state.environment.catalogs.reload(&session.database).await
            {
                tracing::warn!(%error, "catalog not reloaded");
            }
            if session.within_message {
                // The client would take the words for a part of the message.
                return Err(SessionError::Fatal(fault.into_client_error()));
            }
            farewell(&mut session.client, fault).await
        }
    }
}

/// Tells the client why its session ends.
async fn farewell(client: &mut Side, fault: Fault) -> Result<(), SessionError> {
    let error = fault.into_client_error();
    if backend::refused(&error, Severity::Fatal, client.outgoing()).is_ok() {
        let sent = async {
            while client.waiting() > 0 {
                poll_fn(|context| client.poll_send(context)).await;
            }
            client.shutdown().await;
        };
        // A client that does not read is not waited for.
        tokio::time::timeout(FAREWELL_TIME, sent).await.ok();
    }
    Err(SessionError::Fatal(error))
}

struct Session {
    client: Side,
    server: Side,
    state: State,
    database: String,
    /// The client has said goodbye, or left.
    leaving: bool,
    /// The server has been told so.
    told: bool,
    /// The last whole pass over what the server sent has let a part of a message through to the client.
    within_message: bool,
    /// What waited for the client when the pass began that runs, or that a panic has ended.
    before_pass: Option<usize>,
}

impl Session {
    fn new(client: Side, mut server: Side, environment: Arc<Environment>, begin: Begin) -> Self {
        server.outgoing().extend_from_slice(&begin.packet);
        let state = State::new(environment, begin.presented);
        Self {
            client,
            server,
            state,
            database: begin.database,
            leaving: false,
            told: false,
            within_message: false,
            before_pass: None,
        }
    }

    /// What the client is told of a panic. What the pass that it ended has written may be half a message.
    fn defect(&mut self) -> Fault {
        if let Some(length) = self.before_pass.take() {
            self.client.outgoing().truncate(length);
        }
        Fault::Fatal(ClientError::new(
            sqlstate::INTERNAL_ERROR,
            "the proxy has failed in itself, and the session ends",
            "Whether what was under way has happened is to be looked up. Please report it, with the proxy's log.",
        ))
    }

    async fn run(&mut self) -> Result<(), Fault> {
        loop {
            let from_server = self.treat_server().await?;
            let from_client = self.treat_client().await?;
            if self.client.gone {
                // The server finishes what it was asked for; nobody reads the replies.
                self.client.discard();
                self.leaving = true;
            }
            if self.leaving && !self.told && self.server.waiting() == 0 {
                self.server.shutdown().await;
                self.told = true;
            }
            if self.server.ended && self.client.waiting() == 0 {
                self.client.shutdown().await;
                return Ok(());
            }
            self.turn(
                from_client == Turn::More && !self.leaving,
                from_server == Turn::More && !self.server.ended,
            )
            .await;
        }
    }

    /// Treats what the client has sent.
    async fn treat_client(&mut self) -> Result<Turn, Fault> {
        loop {
            if self.leaving && self.client.received().is_empty() {
                return Ok(Turn::Terminated);
            }
            if self.server.waiting() >= BOUND {
                return Ok(Turn::Blocked);
            }
            let mut pass = || self.state.frontend(self.client.received(), self.server.outgoing());
            let (consumed, turn) = if is_large(self.client.received()) { alone(pass) } else { pass() };
            self.client.consume(consumed, std::mem::take(&mut self.state.wipe));
            match turn? {
                Turn::Reload => self.reload().await?,
                Turn::Terminated => {
                    self.leaving = true;
                    return Ok(Turn::Terminated);
                }
                Turn::More if self.client.ended => {
                    self.leaving = true;
                    return Ok(Turn::Terminated);
                }
                turn => return Ok(turn),
            }
        }
    }

    /// Treats what the server has sent.
    async fn treat_server(&mut self) -> Result<Turn, Fault> {
        loop {
            if self.client.waiting() >= BOUND {
                return Ok(Turn::Blocked);
            }
            self.before_pass = Some(self.client.outgoing().len());
            let (consumed, turn) = self.state.backend(self.server.received(), self.client.outgoing());
            self.before_pass = None;
            self.within_message = self.state.from_server.left > 0;
            self.server.consume(consumed, false);
            match turn? {
                Turn::Reload if self.state.begun => {
                    self.reload().await?;
                    self.state.schema.reloaded();
                }
                Turn::Reload => {
                    let catalogs = &self.state.environment.catalogs;
                    let cell = catalogs.get(&self.database).await.map_err(|error| unreadable(&error))?;
                    self.state.schema.open(cell);
                    self.state.begun = true;
                }
                turn => return Ok(turn),
            }
        }
    }

    async fn reload(&mut self) -> Result<(), Fault> {
        let catalogs = &self.state.environment.catalogs;
        catalogs.reload(&self.database).await.map_err(|error| unreadable(&error))
    }

    /// Waits until one of the sockets has done something, and does all that is possible at once.
    async fn turn(&mut self, read_client: bool, read_server: bool) {
        poll_fn(|context| {
            let mut changed = false;
            changed |= !self.server.gone && self.server.poll_send(context).is_ready();
            changed |= !self.client.gone && self.client.poll_send(context).is_ready();
            changed |= read_client && !self.client.ended && self.client.poll_receive(context).is_ready();
            changed |= read_server && self.server.poll_receive(context).is_ready();
            if changed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A message from this size on may take long to be analysed, and much memory.
const LARGE: usize = 512 * 1024;

/// Whether a large message waits, whole.
fn is_large(received: &[u8]) -> bool {
    received.len() >= LARGE
        && frame::head(received)
            .is_ok_and(|head| head.is_some_and(|head| (LARGE..=received.len()).contains(&head.size)))
}

/// One at a time in the whole program, while other tasks of this thread go on elsewhere.
fn alone<T>(pass: impl FnOnce() -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    tokio::task::block_in_place(|| {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        pass()
    })
}

/// The catalog cannot be read, so nothing can be analysed. The details are for the log alone.
fn unreadable(error: &dyn std::error::Error) -> Fault {
    tracing::error!(%error, "catalog not read");
    Fault::Fatal(ClientError::new(
        "08006",
        "the proxy cannot read the database's catalog",
        "The proxy's log says why.",
    ))
}
