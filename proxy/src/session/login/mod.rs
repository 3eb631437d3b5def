//! From the StartupMessage to AuthenticationOk: the client is asked for what the rules say, and the proxy
//! logs in at the database by itself. Both, or there is no session: nothing of a client goes to the
//! database before, and never as another user than the one that was authenticated.

mod client;
mod passthrough;
mod server;
#[cfg(test)]
mod tests;

use super::socket::Side;
use super::startup::Begin;
use super::trail::shown;
use super::{Caller, Environment};
use crate::authentication::{Binding, ClientCertificate, Connection, Credential, Method, Rule, Tries};
use crate::error::{ClientError, sqlstate};
use crate::wire::Malformed;
use crate::wire::authentication::Request;
use serde::Serialize;
use server::{Attempt, Password};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::{Instant, sleep_until, timeout_at};
use trefoil_link::{Offer, Stream, Subject, network};

/// Longest name in PostgreSQL (`NAMEDATALEN - 1`). It cuts longer ones, and then they are another's.
const MAX_NAME: usize = 63;

/// Class of the SQLSTATEs for who is not let in.
const AUTHORIZATION: &str = "28";
/// PostgreSQL's SQLSTATE `invalid_password`.
const INVALID_PASSWORD: &str = "28P01";

/// What is known of the client by its connection.
pub(super) struct Link {
    address: Option<IpAddr>,
    tls: bool,
    private: bool,
    /// Whether it has shown a certificate of an authority that is trusted.
    certified: bool,
    subject: Option<Subject>,
    binding: Binding,
}

impl Link {
    /// `address` as it was when the client was accepted: of a connection that was reset nobody can tell it.
    pub(super) fn of(stream: &Stream, address: Option<IpAddr>, offer: Option<&Offer>) -> Self {
        let certificate = stream.peer_certificate();
        let end_point = offer.and_then(|offer| offer.end_point.clone());
        Self {
            address,
            tls: stream.tls().is_some(),
            private: stream.is_private(),
            certified: certificate.is_some(),
            subject: certificate.and_then(Subject::read),
            binding: end_point.map_or(Binding::None, Binding::EndPoint),
        }
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client has left.
    Left,
    /// The client is to be told this.
    Refused(ClientError),
    /// The database has refused, and the client was told so.
    ByServer {
        /// SQLSTATE.
        sqlstate: String,
    },
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Self::Refused(error)
    }
}

impl From<Malformed> for Ended {
    fn from(malformed: Malformed) -> Self {
        Self::Refused(ClientError::new(sqlstate::PROTOCOL_VIOLATION, malformed.to_string(), ""))
    }
}

/// Does this, unless the client leaves meanwhile.
async fn unless_left<T>(client: &mut Side, doing: impl Future<Output = T>) -> Result<T, Ended> {
    tokio::select! {
        biased;
        done = doing => Ok(done),
        () = client.left() => Err(Ended::Left),
    }
}

/// Logs a client in. Every login, well or not, is logged here.
pub(super) async fn log_in(
    client: &mut Side,
    link: &Link,
    begin: &Begin,
    environment: &Environment,
    deadline: Instant,
) -> Result<Login, Ended> {
    let (tries, network) = (&environment.authentication.tries, link.address.map(network));
    let guess = Guess { tries, network, user: &begin.user, judged: AtomicBool::new(false) };
    let attempt = timeout_at(deadline, attempt(client, link, begin, environment, &guess));
    let outcome = attempt.await.unwrap_or_else(|_| Err(late().into()));
    match &outcome {
        Ok(_) => tries.succeeded(network, &begin.user),
        Err(error) if guess.has_failed(error) => {
            tries.failed(network, &begin.user, Instant::now().into_std());
        }
        Err(_) => {}
    }
    log(begin, &outcome);
    outcome
}

/// A password that a client gives, or proves that it has.
struct Guess<'a> {
    tries: &'a Tries,
    network: Option<IpAddr>,
    user: &'a [u8],
    /// Whether it was, or may have been.
    judged: AtomicBool,
}

impl Guess<'_> {
    /// Waits until it may be judged.
    async fn wait(&self, client: &mut Side) -> Result<(), Ended> {
        let turn = self.turn()?;
        unless_left(client, sleep_until(turn)).await
    }

    /// When it may be judged.
    fn turn(&self) -> Result<Instant, ClientError> {
        let turn = self.tries.turn(self.network, self.user, Instant::now().into_std());
        turn.map(Instant::from).ok_or_else(|| too_often(self.user))
    }

    fn has_failed(&self, error: &Ended) -> bool {
        match error {
            // Who does not wait for the answer may know it by how long that takes.
            Ended::Left => self.judged.load(Ordering::Relaxed),
            Ended::Refused(error) => error.sqlstate == INVALID_PASSWORD,
            Ended::ByServer { sqlstate } => sqlstate.starts_with(AUTHORIZATION),
        }
    }
}

/// A client that is logged in.
pub(super) struct Login {
    /// The connection to the database, on which what follows AuthenticationOk comes.
    pub(super) server: Side,
    method: Method,
    /// As whom the proxy has logged in.
    pub(super) role: Vec<u8>,
}

/// What the audit log gets of a login.
#[derive(Serialize)]
pub(super) struct Record {
    session: u64,
    client: String,
    tls: bool,
    database: String,
    login: String,
    role: String,
    method: Method,
}

pub(super) fn record(begin: &Begin, caller: &Caller, link: &Link, login: &Login) -> Record {
    let name = |bytes: &[u8]| shown(&String::from_utf8_lossy(bytes)).to_owned();
    Record {
        session: caller.number,
        client: caller.address.clone(),
        tls: link.tls,
        database: name(&begin.database),
        login: name(&begin.user),
        role: name(&login.role),
        method: login.method,
    }
}

fn log(begin: &Begin, outcome: &Result<Login, Ended>) {
    let name = |bytes: &[u8]| shown(&String::from_utf8_lossy(bytes)).to_owned();
    let (user, database) = (name(&begin.user), name(&begin.database));
    match outcome {
        Ok(Login { method, role, .. }) => {
            tracing::info!(?user, ?database, ?method, role = ?name(role), "logged in");
        }
        Err(Ended::Left) => tracing::debug!(?user, ?database, "left before it was logged in"),
        Err(Ended::Refused(error)) => tracing::warn!(?user, ?database, ?error, "login refused"),
        // Its words are for the client: who was sent a password might repeat it.
        Err(Ended::ByServer { sqlstate }) => {
            tracing::warn!(?user, ?database, ?sqlstate, "login refused by the database");
        }
    }
}

async fn attempt(
    client: &mut Side,
    link: &Link,
    begin: &Begin,
    environment: &Environment,
    guess: &Guess<'_>,
) -> Result<Login, Ended> {
    check_names(begin)?;
    let rules = environment.authentication.rules();
    let connection =
        Connection { address: link.address, tls: link.tls, database: &begin.database, user: &begin.user };
    let rule = match rules.rule(&connection) {
        None => None,
        Some(Some(rule)) if rule.method != Method::Reject => Some(rule),
        Some(found) => return Err(turned_away(link, begin, found.is_some()).into()),
    };
    if let Some(rule) = rule {
        check_certificate(rule, link, |name| rules.owns(rule, name, &begin.user), begin)?;
    }
    let method = rule.map_or(Method::Passthrough, |rule| rule.method);
    if method == Method::Passthrough {
        if !link.private {
            return Err(in_clear().into());
        }
        let server = passthrough::log_in(client, begin, &environment.server, guess).await?;
        Request::Ok.encode(client.outgoing())?;
        return Ok(Login { server, method, role: begin.user.clone() });
    }
    if method == Method::Scram {
        let binding = match (&link.binding, begin.presented.extension) {
            // A sidecar ends its application's TLS. Whether it is one, the rule must say.
            (Binding::EndPoint(_), true) if rule.is_some_and(|rule| rule.unbound) => Binding::None,
            (Binding::EndPoint(_), true) => Binding::Withheld,
            (binding, _) => binding.clone(),
        };
        let scram = environment.authentication.scram(&rules, &begin.user, binding);
        client::scram(client, scram, guess).await?;
    }
    let Credential { role, password } = rules.credential(&begin.user);
    let mut server = server::connect(&environment.server, begin, &role, client).await?;
    let attempt = Attempt {
        role: &role,
        password: Password::Configured(password),
        user: &begin.user,
        knows_the_proxy: environment.server.knows_the_proxy(),
        judged: &guess.judged,
    };
    server::log_in(&mut server, client, &attempt).await?;
    Request::Ok.encode(client.outgoing())?;
    Ok(Login { server, method, role })
}

fn check_names(begin: &Begin) -> Result<(), ClientError> {
    let refused = |message: &str| Err(ClientError::new(sqlstate::INVALID_AUTHORIZATION, message, ""));
    if begin.user.is_empty() {
        return refused("no PostgreSQL user name specified in startup packet");
    }
    if begin.user.len() > MAX_NAME || begin.database.len() > MAX_NAME {
        return refused("the name of the user or the database is longer than 63 bytes");
    }
    Ok(())
}

fn check_certificate(
    rule: &Rule,
    link: &Link,
    owns: impl FnOnce(&str) -> bool,
    begin: &Begin,
) -> Result<(), ClientError> {
    let needed = rule.method == Method::Cert || rule.client_certificate.is_some();
    if needed && !link.certified {
        return Err(ClientError::new(
            sqlstate::INVALID_AUTHORIZATION,
            "connection requires a valid client certificate",
            "",
        ));
    }
    let users = rule.method == Method::Cert || rule.client_certificate == Some(ClientCertificate::VerifyFull);
    if users && !link.subject.as_ref().is_some_and(|subject| owns(&subject.common_name)) {
        let user = String::from_utf8_lossy(&begin.user);
        let message = format!("certificate authentication failed for user \"{user}\"");
        return Err(ClientError::new(sqlstate::INVALID_AUTHORIZATION, message, ""));
    }
    Ok(())
}

/// In PostgreSQL's words, with the file's name here.
fn turned_away(link: &Link, begin: &Begin, by_rule: bool) -> ClientError {
    let host = link.address.map_or_else(|| "[local]".to_owned(), |address| address.to_string());
    let encryption = if link.tls { "SSL encryption" } else { "no encryption" };
    let begins = if by_rule { "hba_file rejects connection" } else { "no entry in hba_file" };
    let [user, database] = [&begin.user, &begin.database].map(|name| String::from_utf8_lossy(name));
    let message =
        format!("{begins} for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}");
    ClientError::new(sqlstate::INVALID_AUTHORIZATION, message, "")
}

fn too_often(user: &[u8]) -> ClientError {
    let user = String::from_utf8_lossy(user);
    ClientError::new(
        sqlstate::INVALID_AUTHORIZATION,
        format!("too many failed logins from this address for user \"{user}\""),
        "Try again in some seconds.",
    )
}

fn in_clear() -> ClientError {
    ClientError::new(
        sqlstate::INVALID_AUTHORIZATION,
        "the proxy asks for no password over a connection in clear",
        "Connect under TLS (sslmode=verify-full), or let hba_file say scram for this client.",
    )
}

/// The login took too long; in PostgreSQL's words.
fn late() -> ClientError {
    ClientError::new("57014", "canceling authentication due to timeout", "")
}
