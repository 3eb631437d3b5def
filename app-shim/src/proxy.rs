//! The proxy's admin port, as the sidecar speaks to it: over TLS pinned to one certificate, and
//! believing only what the proxy has signed.

use crate::config::ProxyAdmin;
use crate::state::KnownProxy;
use bytes::Bytes;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use trefoil_https::client::{self, Answer, ClientError};
use trefoil_keys::envelope::Scope;
use trefoil_keys::receipt::Receipt;
use trefoil_keys::signing::{Claims as _, SigningError};
use trefoil_keys::status::Status;
use trefoil_keys::tls::{self, TlsError};
use zeroize::Zeroizing;

/// For a whole request. A new RSA pair takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the proxy's admin port is, and the means to speak to it.
pub(crate) struct Proxy {
    client: Client,
    url: String,
}

/// Why the proxy's answer is of no use. Each message is whole, and has no source that would repeat it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// There is no TLS configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It says why it has decided nothing.
    #[error("the proxy has decided nothing ({status}): {message}; {hint}")]
    Undecided {
        /// HTTP status.
        status: StatusCode,
        /// The proxy's.
        message: String,
        /// The proxy's.
        hint: String,
    },
    /// Not signed by the proxy that is known.
    #[error("what answers at the proxy's admin port has not the key of the proxy that is known: {0}")]
    Signature(SigningError),
    /// The envelope has expired.
    #[error("share expired")]
    ShareExpired,
    /// The envelope is no good for the user beside it.
    #[error("share rejected")]
    ShareRejected,
    /// The answer to something else.
    #[error("the proxy's admin port answers something that was not asked")]
    Mismatch,
}

impl Proxy {
    /// A client for this proxy.
    pub(crate) fn new(config: &ProxyAdmin) -> Result<Self, ProxyError> {
        let tls = tls::pinned_client_config(config.fingerprint, None)?;
        Ok(Self { client: client::client(tls, PATIENCE)?, url: config.url.clone() })
    }

    /// The signed status for a nonce of 1 to 64 characters that may stand in a URL; not verified.
    pub(crate) async fn status(&self, nonce: &str) -> Result<String, ProxyError> {
        let request = self.client.get(format!("{}/v1/status?nonce={nonce}", self.url));
        let answer = client::send(request, Status::MAX_LENGTH).await?;
        match answer.text() {
            Some(status) if answer.status == StatusCode::OK => Ok(status.to_owned()),
            _ => Err(undecided(&answer)),
        }
    }

    /// What the proxy says about itself now, and the number of the last command that it has applied:
    /// signed with the key that is known, or with the one that it names at first contact.
    pub(crate) async fn introduce(
        &self,
        known: Option<&KnownProxy>,
    ) -> Result<(KnownProxy, u64), ProxyError> {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let jws = self.status(&nonce).await?;
        let status: Status = match known {
            Some(known) => known.receipt_key.verify(&jws),
            None => Status::introduce(&jws),
        }
        .map_err(ProxyError::Signature)?;
        if status.nonce != nonce {
            return Err(ProxyError::Mismatch);
        }
        let found = KnownProxy {
            tenant: status.tenant,
            application: status.application,
            receipt_key: status.receipt_key,
            tenant_key: status.tenant_key,
        };
        match known {
            Some(known) if !continues(known, &found) => Err(ProxyError::Mismatch),
            _ => Ok((found, status.seq)),
        }
    }

    /// Sends a command; the receipt in its signed form and opened, verified with the proxy's key.
    pub(crate) async fn command(
        &self,
        jws: &str,
        known: &KnownProxy,
    ) -> Result<(String, Receipt), ProxyError> {
        let request = self.client.post(format!("{}/v1/commands", self.url)).body(jws.to_owned());
        let answer = client::send(request, Receipt::MAX_LENGTH).await?;
        match answer.text() {
            Some(receipt) if matches!(answer.status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY) => {
                let opened = known.receipt_key.verify(receipt).map_err(ProxyError::Signature)?;
                Ok((receipt.to_owned(), opened))
            }
            _ => Err(undecided(&answer)),
        }
    }
}

/// An answer is below this.
const MAX_FOUND: usize = 4096;

/// What the proxy finds an envelope to be.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    /// What it allows.
    pub(crate) scope: Scope,
    /// When it was issued, in seconds since 1970.
    pub(crate) issued: u64,
    /// For how many seconds it holds.
    pub(crate) expires_in: u64,
    /// Whether its uses, or the tables, are limited beside.
    pub(crate) limited: bool,
}

#[derive(Serialize)]
struct Question<'a> {
    user: &'a str,
    envelope: &'a str,
    app_share: &'a str,
}

impl Proxy {
    /// Asks whether an envelope is good for this user, without using it.
    pub(crate) async fn check_envelope(
        &self,
        user: &str,
        envelope: &str,
        app_share: &str,
    ) -> Result<Found, ProxyError> {
        // Of a size that does not grow, so that no copy of the share is left behind.
        let room = 2 * (user.len() + envelope.len() + app_share.len()) + 100;
        let mut question = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *question, &Question { user, envelope, app_share })
            .map_err(|_| ProxyError::Mismatch)?;
        let request = self.client.post(format!("{}/v1/envelopes/check", self.url));
        let answer = client::send(request.body(Bytes::from_owner(question)), MAX_FOUND).await?;
        match (answer.status, answer.problem()) {
            (StatusCode::OK, _) => serde_json::from_slice(&answer.body).map_err(|_| ProxyError::Mismatch),
            (StatusCode::UNAUTHORIZED, Some(said)) if said.code == "share-expired" => {
                Err(ProxyError::ShareExpired)
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => Err(ProxyError::ShareRejected),
            _ => Err(undecided(&answer)),
        }
    }
}

/// Whether nothing has changed but that the tenant admin's key has become known.
fn continues(known: &KnownProxy, found: &KnownProxy) -> bool {
    let tenant_key = known.tenant_key.as_ref().or(found.tenant_key.as_ref());
    *found == KnownProxy { tenant_key: tenant_key.cloned(), ..known.clone() }
}

fn undecided(answer: &Answer) -> ProxyError {
    let status = answer.status;
    match answer.problem() {
        Some(said) => ProxyError::Undecided { status, message: said.message, hint: said.hint },
        None => ProxyError::Undecided {
            status,
            message: "it does not say why".to_owned(),
            hint: "is it the admin port of trefoil-proxy?".to_owned(),
        },
    }
}
