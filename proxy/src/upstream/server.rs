//! Where the database server is, and how the proxy's connections reach it: under TLS, over a Unix socket,
//! or in clear where the configuration says so. What has to be private is never said before it is.

use super::watched::Watch;
use arc_swap::ArcSwapOption;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::config::{SslMode, SslNegotiation};
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::{self, Identity, TlsError};
use trefoil_link::{Address, ClientTls, ConnectError, Stream, Trust, TrustError, connect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS towards the server, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name that its certificate must be for.
    pub name: String,
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// The proxy's own certificate and key (PEM), for a server that asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether TLS 1.2 will do.
    pub tls12: bool,
}

/// Where the server is, and how it is spoken to.
pub struct Server {
    address: Address,
    tls: Option<Tls>,
    /// What `tls` comes to by the files as they were last read.
    current: ArcSwapOption<ClientTls>,
}

/// Why no TLS can be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Authorities, or the server's name.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The private key's file.
    #[error(transparent)]
    Key(#[from] FileError),
    /// The certificate's file.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: io::Error,
    },
    /// What is in one of them.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: String,
        /// Why.
        reason: TlsError,
    },
}

/// Why there is no session with the server. For the operator's log.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It cannot be reached as it has to be.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// No answer in time.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// The server refuses.
    #[error("{}", super::describe(.0))]
    Database(#[from] tokio_postgres::Error),
}

impl Server {
    /// A Unix socket needs no TLS, and has none.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn new(address: Address, tls: Option<Tls>) -> Result<Self, ServerError> {
        let tls = tls.filter(|_| matches!(address, Address::Tcp(..)));
        let server = Self { address, tls, current: ArcSwapOption::empty() };
        server.reload().map(|()| server)
    }

    /// Reads the files again; connections from then on are made by them. If they are no good, nothing changes.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn reload(&self) -> Result<(), ServerError> {
        let tls = self.tls.as_ref().map(client_tls).transpose()?;
        self.current.store(tls.map(Arc::new));
        Ok(())
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether what is sent may be read on a network.
    pub fn is_in_clear(&self) -> bool {
        self.tls.is_none() && !self.address.is_local()
    }

    /// Whether the server can know the proxy itself, by its certificate or by its user of the operating
    /// system: then a login without a password says nothing of who has asked for it.
    pub fn knows_the_proxy(&self) -> bool {
        matches!(self.address, Address::Unix(_))
            || self.tls.as_ref().is_some_and(|tls| tls.identity.is_some())
    }

    /// Connects, and shakes hands where there is TLS.
    ///
    /// # Errors
    /// [`LoginError::Connect`], [`LoginError::Timeout`].
    pub async fn connect(&self) -> Result<Stream, LoginError> {
        let tls = self.current.load_full();
        match tokio::time::timeout(CONNECT_TIMEOUT, connect(&self.address, tls.as_deref())).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(LoginError::Timeout),
        }
    }

    /// A session of the proxy's own. Under TLS its SCRAM is bound to the server's certificate where the
    /// server can do that. Over a link that is not private, a server that asks for a password as it is, or
    /// for its MD5 hash, gets none.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn log_in(&self, login: &tokio_postgres::Config) -> Result<Client, LoginError> {
        let stream = self.connect().await?;
        let mut login = login.clone();
        // The stream is what it has to be already: it passes for TLS that begins with the first byte.
        login.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let (client, connection) = login.connect_raw(stream, Watch).await?;
        tokio::spawn(async move {
            // What broke it shows on the client's side.
            let _ = connection.await;
        });
        Ok(client)
    }
}

fn client_tls(tls: &Tls) -> Result<ClientTls, ServerError> {
    let identity = tls.identity.as_ref().map(|(certificate, key)| identity(certificate, key)).transpose()?;
    Ok(ClientTls::new(&tls.name, &tls.trust, identity, tls.tls12)?)
}

fn identity(certificate: &PathBuf, key: &PathBuf) -> Result<Identity, ServerError> {
    let content = |path: &PathBuf| {
        let path = path.display().to_string();
        move |reason| ServerError::Content { path, reason }
    };
    let chain = std::fs::read(certificate)
        .map_err(|reason| ServerError::Unreadable { path: certificate.display().to_string(), reason })?;
    Ok((
        tls::certificates_from_pem(&chain).map_err(content(certificate))?,
        tls::private_key_from_pem(&private_file::read(key)?).map_err(content(key))?,
    ))
}
