//! HTTPS to one peer, known by its certificate's fingerprint. Outbound only; no redirects, no proxies
//! from the environment.

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use std::io;
use std::time::Duration;
use tokio::runtime::Runtime;
use trefoil_https::client::{self, Answer, ClientError};
use trefoil_keys::secret::Share;
use trefoil_keys::signing::{Claims, SigningError, VerifyingKey};
use trefoil_keys::status::Status;
use trefoil_keys::tls::{self, Fingerprint, Identity, TlsError};
use zeroize::Zeroizing;

/// For one request: the proxy waits for its disk, and makes RSA keys.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer: a list of users is by far the longest.
const MAX_ANSWER: usize = 64 << 20;

const JSON: &str = "application/json";
const JOSE: &str = "application/jose";

/// Why there is no answer to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("{0}{remedy}", remedy = remedy(.0))]
    Client(#[from] ClientError),
    #[error("the client certificate or TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot start the client: {0}")]
    Runtime(io::Error),
    #[error(
        "{peer} refuses: {message}; {hint}{}",
        retry_after.map(|seconds| format!(" (Retry-After: {seconds} s)")).unwrap_or_default()
    )]
    Refused {
        peer: String,
        status: StatusCode,
        code: String,
        message: String,
        hint: String,
        /// Seconds.
        retry_after: Option<u64>,
    },
    #[error(
        "{peer} answers with status {status}, as no program of Trefoil does; is {peer} the right address?"
    )]
    Stranger { peer: String, status: StatusCode },
    #[error("{peer} answers what no {what} can be; use programs of one release")]
    Malformed { peer: String, what: &'static str },
    #[error(
        "the status that {peer} shows is not signed by this tenant's proxy, or was altered or is an old one; if the proxy was replaced, make the new one known: trefoil-admin proxy set"
    )]
    StatusForged { peer: String },
}

fn remedy(error: &ClientError) -> &'static str {
    match error {
        // It says so itself.
        ClientError::OtherCertificate { .. } => "",
        _ => "; nothing was confirmed: look at the address, and run the command again",
    }
}

impl NetworkError {
    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// `https://host[:port]` without path, query and user: what `--url` takes.
pub(crate) fn parse_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).map_err(|_| "not a URL; it looks like https://proxy.example:6434")?;
    let plain = url.scheme() == "https"
        && url.host().is_some()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain {
        Ok(url.origin().ascii_serialization())
    } else {
        Err("the URL must be https://host:port, and nothing behind it")
    }
}

/// A peer to speak to.
pub(crate) struct Peer {
    url: String,
    client: Client,
    runtime: Runtime,
    /// User name and password.
    login: Option<(String, Zeroizing<String>)>,
}

impl Peer {
    /// No connection is made yet.
    pub(crate) fn new(
        url: &str,
        fingerprint: Fingerprint,
        identity: Option<Identity>,
    ) -> Result<Self, NetworkError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            url: url.to_owned(),
            client: client::client(tls::pinned_client_config(fingerprint, identity)?, TIMEOUT)?,
            runtime: runtime.map_err(NetworkError::Runtime)?,
            login: None,
        })
    }

    /// Logs in with each request (HTTP Basic).
    pub(crate) fn with_login(mut self, user: &str, password: Zeroizing<String>) -> Self {
        self.login = Some((user.to_owned(), password));
        self
    }

    /// An answer with a status of success. Others are errors, but for 422 without a problem: a receipt.
    pub(crate) fn get(&self, path: &str) -> Result<Answer, NetworkError> {
        self.send(self.request(Method::GET, path))
    }

    /// The same, with a JSON body, which is wiped when it was sent.
    pub(crate) fn post(&self, path: &str, json: Zeroizing<Vec<u8>>) -> Result<Answer, NetworkError> {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, JSON);
        self.send(request.body(Bytes::from_owner(json)))
    }

    /// The same, for a signed text that is put in place of an older one.
    pub(crate) fn put(&self, path: &str, jws: String) -> Result<Answer, NetworkError> {
        self.send(self.request(Method::PUT, path).header(CONTENT_TYPE, JOSE).body(jws))
    }

    /// The proxy's status, asked for with a fresh nonce; from the proxy itself, or through the application.
    pub(crate) fn status(&self, key: &VerifyingKey) -> Result<Status, NetworkError> {
        self.signed_status(key).map(|(status, _)| status)
    }

    /// The same, and the JWS that says it.
    pub(crate) fn signed_status(&self, key: &VerifyingKey) -> Result<(Status, String), NetworkError> {
        self.fresh_status(|jws| key.verify(jws))
    }

    /// The same from a proxy whose key is not known yet, on the word of the pinned certificate.
    pub(crate) fn first_status(&self) -> Result<Status, NetworkError> {
        self.fresh_status(Status::introduce).map(|(status, _)| status)
    }

    fn fresh_status(
        &self,
        verify: impl FnOnce(&str) -> Result<Status, SigningError>,
    ) -> Result<(Status, String), NetworkError> {
        // 32 random bytes that are no secret here.
        let nonce = Share::random().to_base64url();
        let answer = self.get(&format!("/v1/status?nonce={}", nonce.as_str()))?;
        let jws = self.text(&answer, "status", Status::MAX_LENGTH)?;
        let status = verify(jws).ok().filter(|status| status.nonce == *nonce);
        let status = status.ok_or_else(|| NetworkError::StatusForged { peer: self.url.clone() })?;
        Ok((status, jws.to_owned()))
    }

    /// An answer's body as text of at most `limit` bytes.
    pub(crate) fn text<'a>(
        &self,
        answer: &'a Answer,
        what: &'static str,
        limit: usize,
    ) -> Result<&'a str, NetworkError> {
        answer.text().filter(|text| text.len() <= limit).ok_or_else(|| self.malformed(what))
    }

    /// For an answer that cannot be read.
    pub(crate) fn malformed(&self, what: &'static str) -> NetworkError {
        NetworkError::Malformed { peer: self.url.clone(), what }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password.as_str())),
            None => request,
        }
    }

    fn send(&self, request: RequestBuilder) -> Result<Answer, NetworkError> {
        let answer = self.runtime.block_on(client::send(request, MAX_ANSWER))?;
        let (peer, status) = (self.url.clone(), answer.status);
        if status.is_success() || (status == StatusCode::UNPROCESSABLE_ENTITY && answer.problem().is_none()) {
            return Ok(answer);
        }
        Err(match answer.problem() {
            Some(problem) => NetworkError::Refused {
                peer,
                status,
                code: printable(problem.code),
                message: printable(problem.message),
                hint: printable(problem.hint),
                retry_after: answer.retry_after,
            },
            None => NetworkError::Stranger { peer, status },
        })
    }
}

/// What a peer says goes to a terminal: without control characters.
fn printable(text: String) -> String {
    text.chars().filter(|character| !character.is_control()).take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn urls_of_admin_ports() {
        assert_eq!(parse_url("https://proxy.example:6434").unwrap(), "https://proxy.example:6434");
        assert_eq!(parse_url("https://[::1]:6434/").unwrap(), "https://[::1]:6434");
        for wrong in [
            "proxy.example:6434",
            "http://proxy.example:6434",
            "https://proxy.example/v1",
            "https://proxy.example/?x",
            "https://admin@proxy.example",
            "https://",
            "",
        ] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
