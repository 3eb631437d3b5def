//! From a connection to a StartupMessage: encryption, refusals, cancel requests, all within one limit in
//! time. Nobody here has shown who they are.

use super::fault::Fault;
use super::login::Link;
use super::socket::Side;
use super::startup::{self, Begin, Wish};
use super::{Environment, SessionError, farewell};
use crate::error::{ClientError, sqlstate};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};
use trefoil_link::{AcceptError, Accepted, Claim, ServedTls, Stream, accept};

/// What a client meets before its session begins.
pub struct Door {
    /// TLS, which every client may ask for.
    pub tls: Arc<ServedTls>,
    /// Whether sessions in clear are refused that come from another machine.
    pub tls_required: bool,
    /// From the connection to the end of the login.
    pub patience: Duration,
}

/// Whom nothing more has to be said to than that a session may begin; none if nothing is left to do.
pub(super) async fn enter(
    stream: Stream,
    peer: Option<IpAddr>,
    claim: &Claim,
    environment: &Environment,
    deadline: Instant,
) -> Result<Option<(Side, Link, Box<Begin>)>, SessionError> {
    let door = &environment.door;
    let accepted = match timeout_at(deadline, accept(stream, Some(door.tls.offer()))).await {
        Ok(accepted) => accepted,
        Err(_) => return Err(SessionError::Late),
    };
    let Accepted { mut stream, packet, tls } = match accepted {
        Ok(accepted) => accepted,
        Err(AcceptError::Length(stream)) => return refuse(*stream, length()).await,
        // It left without a word.
        Err(AcceptError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(SessionError::Accept(error)),
    };
    match startup::first(&packet) {
        Wish::Cancel(packet) => {
            let forwarded = startup::cancel(&environment.server, &packet).await;
            // A client takes the end for the answer, whatever has become of its request.
            timeout_at(deadline, stream.shutdown()).await.ok();
            forwarded.map(|()| None).map_err(SessionError::Cancel)
        }
        Wish::Refused(fault) => refuse(stream, fault).await,
        Wish::Session(_) if door.tls_required && !stream.is_private() => refuse(stream, in_clear()).await,
        Wish::Session(_) if !claim.has_room() => refuse(stream, full()).await,
        Wish::Session(begin) => {
            let link = Link::of(&stream, peer, tls.as_deref());
            Ok(Some((Side::new(stream), link, begin)))
        }
    }
}

async fn refuse<T>(stream: Stream, fault: Fault) -> Result<Option<T>, SessionError> {
    Err(farewell(&mut Side::new(stream), fault).await)
}

fn length() -> Fault {
    let message = "invalid length of startup packet";
    Fault::Fatal(ClientError::new(sqlstate::PROTOCOL_VIOLATION, message, ""))
}

fn in_clear() -> Fault {
    Fault::Fatal(ClientError::new(
        sqlstate::INVALID_AUTHORIZATION,
        "connections from other hosts are taken under TLS only",
        "Connect with sslmode=verify-full, or let the proxy take them in clear by tls.required = false.",
    ))
}

/// As many sessions as there may be, in all or from one address.
pub(super) fn full() -> Fault {
    let hint = "Try again later, or raise max_connections or max_connections_per_address of the proxy.";
    Fault::Fatal(ClientError::new("53300", "sorry, too many clients already", hint))
}
