//! The proxy's login at the database, by whatever method that asks for. A method is followed to its end, one
//! alone: a server that changes its mind could have the password for nothing.

use super::{Ended, client};
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
use zeroize::Zeroizing;

/// Longest message of a server before its AuthenticationOk, as in libpq.
const MAX_MESSAGE: usize = 30_000;

/// Where the password comes from.
pub(super) enum Password {
    /// The client is asked for it, if the server asks.
    OfClient,
    /// The configuration; none if there is none.
    Known(Option<Zeroizing<String>>),
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

/// Connects to the server. Why it cannot is for the log.
pub(super) async fn connect(server: &Server) -> Result<Side, ClientError> {
    server.connect().await.map(Side::new).map_err(|error| {
        tracing::warn!(%error, "no connection to the database");
        ClientError::new(
            "08006",
            "the database server cannot be reached as the proxy has to reach it",
            "The proxy's log says why.",
        )
    })
}

/// Logs in as `role`; the StartupMessage waits to be sent. What the server says to the client goes to it.
pub(super) async fn log_in(
    server: &mut Side,
    client: &mut Side,
    role: &[u8],
    password: Password,
    knows_the_proxy: bool,
) -> Result<(), Ended> {
    let mut step = Step::Begun;
    let mut reply = Zeroizing::new(Vec::new());
    loop {
        server.send(&reply).await;
        reply.clear();
        let (tag, body) = match server.message(MAX_MESSAGE).await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(unexpected("it has closed the connection").into()),
            Err(malformed) => return Err(unexpected(&malformed.to_string()).into()),
        };
        match tag {
            REQUEST => {}
            // What the server says of the protocol's version has to come before AuthenticationOk.
            b'N' | b'v' => {
                pass(tag, &body, client)?;
                client.flush().await;
                continue;
            }
            b'E' => {
                pass(tag, &body, client)?;
                client.flush().await;
                return Err(refusal(&body));
            }
            _ => return Err(unexpected("a message before the login has ended").into()),
        }
        let request = Request::decode(&body).map_err(|malformed| unexpected(&malformed.to_string()))?;
        step = match (request, step) {
            (Request::Ok, Step::Answered) => return Ok(()),
            (Request::Ok, Step::Begun) if !(knows_the_proxy && matches!(password, Password::OfClient)) => {
                return Ok(());
            }
            (Request::Ok, Step::Begun) => return Err(unasked().into()),
            (Request::CleartextPassword, Step::Begun) if server.is_private() => {
                let password = obtain(&password, client).await?;
                authentication::password_message(&mut reply, &password)?;
                Step::Answered
            }
            (Request::CleartextPassword, Step::Begun) => {
                return Err(unexpected("it asks for the password as it is, in clear").into());
            }
            (Request::Md5Password(salt), Step::Begun) => {
                warn_of_md5();
                let password = obtain(&password, client).await?;
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
                let scram = ScramSha256::new(&obtain(&password, client).await?, binding);
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

async fn obtain(password: &Password, client: &mut Side) -> Result<Zeroizing<Vec<u8>>, Ended> {
    match password {
        Password::OfClient => client::password(client).await,
        Password::Known(Some(password)) => Ok(Zeroizing::new(password.as_bytes().to_vec())),
        Password::Known(None) => Err(ClientError::new(
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

/// What an ErrorResponse comes to.
fn refusal(body: &[u8]) -> Ended {
    let code = backend::error_field(body, b'C').map(String::from_utf8_lossy).unwrap_or_default();
    Ended::ByServer { sqlstate: code.chars().take(5).collect() }
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
