//! One client's session, as one task without locks: two sockets, four bounded buffers, and the queue
//! of replies to come. Protocol 3.0 and its minor versions, PostgreSQL's "Message Flow".
//!
//! Nothing is read from one side while the other has not taken what waits for it. Messages are
//! treated synchronously, so no key lives across an await.

mod backend;
mod carriers;
mod copy;
mod door;
mod extended;
mod fault;
mod frontend;
#[cfg(any(test, fuzzing, feature = "bench"))]
pub mod fuzzed;
mod grants;
mod limits;
mod login;
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
mod trail;

pub use door::Door;
pub use plans::{Analyze, Figures, Plans};

use crate::audit::Audit;
use crate::authentication::Authentication;
use crate::error::{ClientError, sqlstate};
use crate::shares::Shares;
use crate::upstream::{Catalogs, LoginError, Server};
use crate::wire::backend::Severity;
use crate::wire::frame;
use fault::Fault;
use futures_util::FutureExt;
use login::Ended;
use socket::Side;
use startup::Begin;
use state::{BOUND, State, Turn};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::{block_in_place, yield_now};
use tokio::time::Instant;
use trail::{Identity, Trail};
use trefoil_link::{AcceptError, Claim, Stream};

/// What all sessions share.
pub struct Environment {
    /// Policy and plans.
    pub plans: Plans,
    /// The proxy's shares and the live envelopes.
    pub shares: Arc<Shares>,
    /// The databases' catalogs.
    pub catalogs: Arc<Catalogs>,
    /// What a client meets before its session begins.
    pub door: Door,
    /// Where the server is, and how it is spoken to.
    pub server: Arc<Server>,
    /// Who may log in, and how.
    pub authentication: Arc<Authentication>,
    /// The longest message, in bytes, that is held to be understood.
    pub max_message: usize,
    /// Named prepared statements that a session may have open at a time.
    pub max_statements: usize,
    /// Named portals and cursors that a session may have open at a time.
    pub max_portals: usize,
    /// The audit log, if one is kept.
    pub audit: Option<Arc<Audit>>,
}

/// Who has connected.
pub struct Caller {
    /// The session's number in the logs.
    pub number: u64,
    /// Where the client is, in words.
    pub address: String,
    /// Its address, an IPv4 address as such; none by a Unix socket.
    pub peer: Option<IpAddr>,
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
    /// It did not say in time what it wants.
    #[error("nothing asked for in time")]
    Late,
    /// A cancel request could not be forwarded.
    #[error("cancel request not forwarded: {0}")]
    Cancel(LoginError),
    /// The client was told this, as FATAL.
    #[error("{0:?}")]
    Fatal(ClientError),
}

/// Begins a client's session; none if the client wants none, or gets none and has been told so. By its claim
/// it keeps its place once it has logged in.
pub async fn begin(
    client: Stream,
    caller: &Caller,
    claim: Claim,
    environment: Arc<Environment>,
) -> Result<Option<Session>, SessionError> {
    let deadline = Instant::now() + environment.door.patience;
    let Some((mut client, link, begin)) =
        door::enter(client, caller.peer, &claim, &environment, deadline).await?
    else {
        return Ok(None);
    };
    let login = login::log_in(&mut client, &link, &begin, &environment, deadline);
    let login = match login.await {
        Ok(login) => login,
        Err(Ended::Left) => return Ok(None),
        Err(Ended::Refused(error)) => return Err(farewell(&mut client, Fault::Fatal(error)).await),
        Err(Ended::ByServer { .. }) => {
            client.close().await;
            return Ok(None);
        }
    };
    if !claim.keep() {
        client.discard();
        return Err(farewell(&mut client, door::full()).await);
    }
    let trail = environment.audit.as_ref().map(|audit| {
        let [database, role] = [&begin.database, &login.role].map(|name| String::from_utf8_lossy(name));
        let identity = Identity {
            session: caller.number,
            client: &caller.address,
            database: &database,
            role: &role,
            application_name: &begin.application_name,
        };
        Trail::new(audit, &identity, login::record(&begin, caller, &link, &login))
    });
    Ok(Some(Session::new([client, login.server], environment, *begin, trail)))
}

/// Tells the client why its session ends.
async fn farewell(client: &mut Side, fault: Fault) -> SessionError {
    let error = fault.into_client_error();
    if backend::refused(&error, Severity::Fatal, client.outgoing()).is_ok() {
        client.close().await;
    }
    SessionError::Fatal(error)
}

/// A session that has begun.
pub struct Session {
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
    /// Bytes treated since other sessions of this thread had their turn.
    treated: usize,
}

impl Session {
    fn new(sides: [Side; 2], environment: Arc<Environment>, begin: Begin, trail: Option<Trail>) -> Self {
        let state = State::new(environment, begin.presented, trail);
        Self { database: String::from_utf8_lossy(&begin.database).into_owned(), ..Self::over(sides, state) }
    }

    /// Over the sockets of client and server.
    fn over([client, server]: [Side; 2], state: State) -> Self {
        Self {
            client,
            server,
            state,
            database: String::new(),
            leaving: false,
            told: false,
            within_message: false,
            before_pass: None,
            treated: 0,
        }
    }

    /// Goes on until the client or the server leaves.
    pub async fn serve(mut self) -> Result<(), SessionError> {
        // What a panic leaves of the session is dropped, and wiped with that; only the client hears of it.
        let ended = AssertUnwindSafe(self.run()).catch_unwind().await.unwrap_or_else(|_| Err(self.defect()));
        let Err(fault) = ended else { return Ok(()) };
        self.state.ends(fault.error());
        if let Fault::Stale(_) = &fault
            && let Err(error) = self.state.environment.catalogs.reload(&self.database).await
        {
            tracing::warn!(%error, "catalog not reloaded");
        }
        if self.within_message {
            // The client would take the words for a part of the message.
            return Err(SessionError::Fatal(fault.into_client_error()));
        }
        Err(farewell(&mut self.client, fault).await)
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
                self.server.finish();
                self.told = true;
            }
            if self.server.ended && self.client.waiting() == 0 {
                self.client.close().await;
                return Ok(());
            }
            if self.treated >= SLICE {
                self.treated = 0;
                yield_now().await;
            }
            self.turn(
                from_client == Turn::More && !self.leaving,
                from_server == Turn::More && !self.server.ended,
                from_server == Turn::Recording,
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
            // Other tasks of this thread go on elsewhere meanwhile.
            let large = is_large(self.client.received());
            let (consumed, turn) = if large { block_in_place(pass) } else { pass() };
            self.client.consume(consumed, std::mem::take(&mut self.state.wipe));
            self.treated += consumed;
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
            self.treated += consumed;
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

    /// Waits until one of the sockets has done something, and does all that is possible at once; or, with
    /// `recording`, until the audit log has come further.
    async fn turn(&mut self, read_client: bool, read_server: bool, recording: bool) {
        let Self { client, server, state, .. } = self;
        let sockets = poll_fn(|context| {
            let mut changed = false;
            changed |= !server.gone && server.poll_send(context).is_ready();
            changed |= !client.gone && client.poll_send(context).is_ready();
            changed |= read_client && !client.ended && client.poll_receive(context).is_ready();
            changed |= read_server && server.poll_receive(context).is_ready();
            if changed { Poll::Ready(()) } else { Poll::Pending }
        });
        match state.trail.as_mut().filter(|_| recording) {
            None => sockets.await,
            Some(trail) => tokio::select! {
                () = sockets => {}
                () = trail.moves() => {}
            },
        }
    }
}

/// So many bytes are treated, some with a millisecond's work on their cells, before other sessions of the thread have
/// their turn.
const SLICE: usize = 16 * 1024;

/// A message from this size on may take long to be treated.
const LARGE: usize = 512 * 1024;

/// Whether a large message waits, whole.
fn is_large(received: &[u8]) -> bool {
    received.len() >= LARGE
        && frame::head(received)
            .is_ok_and(|head| head.is_some_and(|head| (LARGE..=received.len()).contains(&head.size)))
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
