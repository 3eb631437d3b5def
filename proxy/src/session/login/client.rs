//! What the client is asked for.

use super::{Ended, Guess, INVALID_PASSWORD};
use crate::authentication::{ScramError, ScramServer};
use crate::error::{ClientError, sqlstate};
use crate::session::socket::Side;
use crate::wire::authentication::{self, ANSWER, Request};
use zeroize::Zeroizing;

/// Longest answer: as PostgreSQL has it for passwords (`PG_MAX_AUTH_TOKEN_LENGTH`), with its head.
const MAX_ANSWER: usize = 65_535 + 5;

/// Asks for the password as it is. The link must be private.
pub(super) async fn ask(client: &mut Side) -> Result<(), Ended> {
    Request::CleartextPassword.encode(client.outgoing())?;
    client.flush().await;
    Ok(())
}

/// The password that it was asked for. May be waited for again.
pub(super) async fn password(client: &mut Side) -> Result<Zeroizing<Vec<u8>>, Ended> {
    let answer = answer(client).await?;
    let password = Zeroizing::new(authentication::password(&answer)?.to_vec());
    if password.is_empty() {
        return Err(ClientError::new(INVALID_PASSWORD, "empty password returned by client", "").into());
    }
    Ok(password)
}

/// SCRAM, up to the message that proves the server.
pub(super) async fn scram(client: &mut Side, scram: ScramServer, guess: &Guess<'_>) -> Result<(), Ended> {
    let user = guess.user;
    let mechanisms = scram.mechanisms().iter().map(|mechanism| mechanism.name());
    authentication::sasl(client.outgoing(), mechanisms)?;
    let first = answer(client).await?;
    let (mechanism, message) = authentication::sasl_initial_response(&first)?;
    let message = message.ok_or(ScramError::Malformed("no first message"));
    let (challenged, challenge) =
        message.and_then(|message| scram.first(mechanism, message)).map_err(|error| refused(error, user))?;
    Request::SaslContinue(challenge.as_bytes()).encode(client.outgoing())?;
    let last = answer(client).await?;
    guess.wait(client).await?;
    let proof = challenged.last(&last).map_err(|error| refused(error, user))?;
    Ok(Request::SaslFinal(proof.as_bytes()).encode(client.outgoing())?)
}

/// The client's answer to what waits for it.
async fn answer(client: &mut Side) -> Result<Zeroizing<Vec<u8>>, Ended> {
    client.flush().await;
    match client.message(MAX_ANSWER).await? {
        None | Some((b'X', _)) => Err(Ended::Left),
        Some((ANSWER, body)) => Ok(body),
        Some((tag, _)) => {
            let message = format!("expected authentication response, got message type {tag}");
            Err(ClientError::new(sqlstate::PROTOCOL_VIOLATION, message, "").into())
        }
    }
}

/// In PostgreSQL's words.
fn refused(error: ScramError, user: &[u8]) -> ClientError {
    match error {
        ScramError::Proof => {
            let user = String::from_utf8_lossy(user);
            ClientError::new(
                INVALID_PASSWORD,
                format!("password authentication failed for user \"{user}\""),
                "",
            )
        }
        ScramError::Binding(_) => ClientError::new(
            sqlstate::INVALID_AUTHORIZATION,
            error.to_string(),
            "Somebody may stand between: the client and the proxy do not see the same TLS.",
        ),
        ScramError::Malformed(_) | ScramError::Unsupported(_) => {
            ClientError::new(sqlstate::PROTOCOL_VIOLATION, error.to_string(), "")
        }
    }
}
