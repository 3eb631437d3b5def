//! A client that speaks to one peer, known by the fingerprint of its certificate: no redirects, no
//! proxies of the environment, no answer without a limit.

use crate::problem::ProblemBody;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use std::error::Error;
use std::io;
use std::time::Duration;
use trefoil_keys::tls::{Fingerprint, OtherCertificate};
use zeroize::Zeroizing;

const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no answer to go by. The texts hold no part of what was sent or received but a
/// [`ProblemBody`]'s.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Whatever [`Client`] could not be made of.
    #[error("no HTTPS client can be made: {0}")]
    Setup(reqwest::Error),
    /// Somebody else answers, or the fingerprint is wrong.
    #[error(
        "another certificate answers at {peer}: its SHA-256 is {found}, expected {expected}; nothing was \
         sent to it. Ask whoever runs that machine for its fingerprint, and on another way than this \
         network: if it is the expected one, somebody stands in between"
    )]
    OtherCertificate {
        /// Its address.
        peer: String,
        /// Of the certificate that was shown.
        found: Fingerprint,
        /// The pinned one.
        expected: Fingerprint,
    },
    /// No connection, or no answer.
    #[error("cannot reach {peer}: {reason}")]
    Unreachable {
        /// Its address.
        peer: String,
        /// What happened.
        reason: String,
    },
    /// An answer that is too long.
    #[error("{0} answers with more than is allowed; is it the right address?")]
    TooLong(String),
}

/// Makes a client. `timeout` is for the whole of a request.
///
/// # Errors
/// [`ClientError::Setup`].
pub fn client(tls: rustls::ClientConfig, timeout: Duration) -> Result<Client, ClientError> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(timeout)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(ClientError::Setup)
}

/// An answer, read as a whole.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Zeroizing<Vec<u8>>,
    /// For how many seconds the peer asks not to be asked again (`Retry-After`).
    pub retry_after: Option<u64>,
}

impl Answer {
    /// What the peer says is wrong, if it says it as [`crate::Problem`] does.
    pub fn problem(&self) -> Option<ProblemBody> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text, if it is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok().map(str::trim_end)
    }
}

/// Sends a request and reads an answer of at most `limit` bytes.
///
/// # Errors
/// [`ClientError::Unreachable`], [`ClientError::TooLong`].
pub async fn send(request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, ClientError> {
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    // Of fixed size: a buffer that grew would leave copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(limit).min(limit)));
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(ClientError::TooLong(host(&response)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body, retry_after })
}

fn host(response: &Response) -> String {
    response.url().origin().ascii_serialization()
}

/// With every cause, since reqwest's own text stops before the one that matters.
fn unreachable(error: reqwest::Error) -> ClientError {
    let peer = error.url().map_or_else(|| "the peer".to_owned(), |url| url.origin().ascii_serialization());
    let mut innermost: &(dyn Error + 'static) = &error;
    while let Some(source) = cause(innermost) {
        innermost = source;
    }
    let other = innermost.downcast_ref().and_then(OtherCertificate::in_error);
    if let Some(OtherCertificate { found, expected }) = other {
        return ClientError::OtherCertificate { peer, found, expected };
    }
    let reason = if error.is_timeout() { "no answer in time".to_owned() } else { innermost.to_string() };
    ClientError::Unreachable { peer, reason }
}

/// An I/O error's own source is that of what is in it, and not what is in it.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
