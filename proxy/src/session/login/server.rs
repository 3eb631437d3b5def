//! The proxy's login at the database, by whatever method that asks for. A method is followed to its end, one
//! alone: a server that changes its mind could have the password for nothing.

use super::{AUTHORIZATION, Begin, Ended, client, unless_left};
use crate::error::{ClientError, sqlstate};
use crate::session::socket::Side;
use crate::upstream::Server;
use crate::wire::authentication::{self, REQUEST, Request};
use crate::wire::backend;
use crate::wire::writer::message;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Longest message of a server before its AuthenticationOk, as in libpq.
const MAX_MESSAGE: usize = 30_000;

/// Where the password comes from.
pub(super) enum Password {
    /// The client is asked for it, if the server asks, which waits for the answer no longer than this.
    OfClient(Duration),
    /// The client has been asked for it, because the server asked so, on another connection.
    Answered(Zeroizing<Vec<u8>>, Asked),
    /// The configuration; none if there is none.
    Configured(Option<Zeroizing<String>>),
}

/// As whom the proxy logs in.
pub(super) struct Attempt<'a> {
    /// The role.
    pub(super) role: &'a [u8],
    /// Its password.
    pub(super) password: Password,
    /// For whom: what the client calls itself.
    pub(super) user: &'a [u8],
    /// Whether the server can know the proxy itself.
    pub(super) knows_the_proxy: bool,
    /// Set when the server gets to judge what a client has given.
    pub(super) judged: &'a AtomicBool,
}

/// How far a login has come.
pub(super) enum Outcome {
    /// To its end.
    Done,
    /// The client is asked for the password, and has not answered in time.
    Asked(Asked),
}

/// How a server asks for a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Cleartext,
    Md5,
    Sasl,
}

impl Asked {
    fn of(request: &Request<'_>) -> Option<Self> {
        match request {
            Request::CleartextPassword => Some(Self::Cleartext),
            Request::Md5Password(_) => Some(Self::Md5),
            Request::Sasl(_) => Some(Self::Sasl),
            _ => None,
        }
    }
}

/// How far the method has got.
enum Step {
    /// The server has asked for nothing.
    Begun,
    /// It has what it has asked for.
    Answered,
    /// SCRAM is under way.
    Scram(Box<ScramSha256>),
    /// The same, and the proof is sent.
    Proved(Box<ScramSha256>),
}

/// Connects to the server, for a session as this role that is to begin. Why it cannot is for the log.
pub(super) async fn connect(
    server: &Server,
    begin: &Begin,
    role: &[u8],
    client: &mut Side,
) -> Result<Side, Ended> {
    let connected = unless_left(client, server.connect()).await?;
    let mut side = connected.map(Side::new).map_err(|error| {
        tracing::warn!(%error, "no connection to the database");
        ClientError::new(
            "08006",
            "the database server cannot be reached as the proxy has to reach it",
            "The proxy's log says why.",
        )
    })?;
    side.outgoing().extend_from_slice(&begin.packet(role)?);
    Ok(side)
}

/// Logs in; the StartupMessage waits to be sent. What the server says to the client goes to it, once.
pub(super) async fn log_in(
    server: &mut Side,
    client: &mut Side,
    attempt: &Attempt<'_>,
) -> Result<Outcome, Ended> {
    let Attempt { role, password, user, knows_the_proxy, judged } = attempt;
    let mut step = Step::Begun;
    let mut reply = Zeroizing::new(Vec::new());
    loop {
        judged.fetch_or(!reply.is_empty(), Ordering::Relaxed);
        server.send(&reply).await;
        reply.clear();
        let (tag, body) = match unless_left(client, server.message(MAX_MESSAGE)).await? {
            Ok(Some(message)) => message,
            Ok(None) => return Err(unexpected("it has closed the connection").into()),
            Err(malformed) => return Err(unexpected(&malformed.to_string()).into()),
        };
        match tag {
            REQUEST => {}
            // What the server says of the protocol's version has to come before AuthenticationOk.
            b'N' | b'v' => {
                if !matches!(password, Password::Answered(..)) {
                    pass(tag, &body, client)?;
                    client.flush().await;
                }
                continue;
            }
            b'E' => {
                let sqlstate = sqlstate_of(&body);
                if matches!(password, Password::Configured(_)) && sqlstate.starts_with(AUTHORIZATION) {
                    return Err(not_let_in(role, user, &sqlstate).into());
                }
                pass(tag, &body, client)?;
                client.flush().await;
                return Err(Ended::ByServer { sqlstate });
            }
            _ => return Err(unexpected("a message before the login has ended").into()),
        }
        let request = Request::decode(&body).map_err(|malformed| unexpected(&malformed.to_string()))?;
        let asked = Asked::of(&request);
        if let (Step::Begun, Password::Answered(_, before)) = (&step, password)
            && asked != Some(*before)
        {
            return Err(unexpected("it asks otherwise than a moment ago").into());
        }
        step = match (request, step) {
            (Request::Ok, Step::Answered) => return Ok(Outcome::Done),
            (Request::Ok, Step::Begun) if !knows_the_proxy || matches!(password, Password::Configured(_)) => {
                return Ok(Outcome::Done);
            }
            (Request::Ok, Step::Begun) => return Err(unasked().into()),
            (Request::CleartextPassword | Request::Md5Password(_), Step::Begun) if !server.is_private() => {
                return Err(unexpected("it asks for a password, or its MD5 hash, in clear").into());
            }
            (Request::CleartextPassword, Step::Begun) => {
                let Some(password) = obtain(password, client).await? else {
                    return Ok(Outcome::Asked(Asked::Cleartext));
                };
                authentication::password_message(&mut reply, &password)?;
                Step::Answered
            }
            (Request::Md5Password(salt), Step::Begun) => {
                warn_of_md5();
                let Some(password) = obtain(password, client).await? else {
                    return Ok(Outcome::Asked(Asked::Md5));
                };
                let hash = Zeroizing::new(md5_hash(role, &password, salt));
                authentication::password_message(&mut reply, hash.as_bytes())?;
                Step::Answered
            }
            (Request::Sasl(offered), Step::Begun) => {
                let (mechanism, binding) = match server.end_point() {
                    Some(end_point) if offered.offer(SCRAM_SHA_256_PLUS) => {
                        (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(end_point))
                    }
                    _ if !offered.offer(SCRAM_SHA_256) => {
                        return Err(unexpected("it offers no SCRAM-SHA-256").into());
                    }
                    // The server is told that binding was possible, so that it sees a downgrade.
                    Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
                    None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
                };
                let Some(password) = obtain(password, client).await? else {
                    return Ok(Outcome::Asked(Asked::Sasl));
                };
                let scram = ScramSha256::new(&password, binding);
                authentication::sasl_begin(&mut reply, mechanism, scram.message())?;
                Step::Scram(Box::new(scram))
            }
            (Request::SaslContinue(data), Step::Scram(mut scram)) => {
                scram.update(data).map_err(|error| unexpected(&error.to_string()))?;
                authentication::sasl_response(&mut reply, scram.message())?;
                Step::Proved(scram)
            }
            (Request::SaslFinal(data), Step::Proved(mut scram)) => {
                scram.finish(data).map_err(|error| unexpected(&error.to_string()))?;
                Step::Answered
            }
            (Request::Other(kind), _) => {
                return Err(unexpected(&format!("it asks for authentication {kind}")).into());
            }
            _ => return Err(unexpected("it does not keep to the method that it has begun").into()),
        };
    }
}

/// None if the client does not answer in time.
async fn obtain(password: &Password, client: &mut Side) -> Result<Option<Zeroizing<Vec<u8>>>, Ended> {
    match password {
        Password::OfClient(patience) => {
            client::ask(client).await?;
            match timeout(*patience, client::password(client)).await {
                Ok(answer) => answer.map(Some),
                Err(_) => Ok(None),
            }
        }
        Password::Answered(password, _) => Ok(Some(password.clone())),
        Password::Configured(Some(password)) => Ok(Some(Zeroizing::new(password.as_bytes().to_vec()))),
        Password::Configured(None) => Err(ClientError::new(
            sqlstate::INVALID_AUTHORIZATION,
            "the database asks for a password, and the proxy has none for this user",
            "Give the user one in users_file, or let the database know the proxy's certificate.",
        )
        .into()),
    }
}

fn pass(tag: u8, body: &[u8], client: &mut Side) -> Result<(), Ended> {
    Ok(message(client.outgoing(), tag, |out| {
        out.extend_from_slice(body);
        Ok::<_, crate::wire::Malformed>(())
    })?)
}

fn sqlstate_of(body: &[u8]) -> String {
    let code = backend::error_field(body, b'C').map(String::from_utf8_lossy).unwrap_or_default();
    code.chars().take(5).collect()
}

/// The configuration's credential is no good. Its role is no business of the client's.
fn not_let_in(role: &[u8], user: &[u8], sqlstate: &str) -> ClientError {
    let [role, user] = [role, user].map(String::from_utf8_lossy);
    tracing::error!(
        ?role,
        ?sqlstate,
        "the database refuses this role to the proxy: users_file has the wrong password, or pg_hba.conf is \
         against it"
    );
    ClientError::new(
        sqlstate::INVALID_AUTHORIZATION,
        format!("the database did not let the proxy in for user \"{user}\""),
        "The proxy's log says why.",
    )
}

/// The database does what it must not. The client learns that, the log why.
fn unexpected(what: &str) -> ClientError {
    tracing::error!(what, "the database server does not let the proxy log in as it should");
    ClientError::new(
        "08006",
        "the database server did not log the proxy in as it should",
        "The proxy's log says why.",
    )
}

/// The database has let in whom it takes for the proxy, whoever has asked.
fn unasked() -> ClientError {
    ClientError::new(
        sqlstate::INVALID_AUTHORIZATION,
        "the database asked for no password, so it is the proxy that it has let in",
        "Let the database ask this user for a password, or use the method scram or cert in hba_file.",
    )
}

fn warn_of_md5() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "the database asks for MD5 hashes of passwords, which are easily broken: use scram-sha-256"
        );
    });
}
