//! The proxy's data port. Where TLS is configured, nothing is sent before the certificate is verified.

use crate::config::{self, ProxyTls};
use crate::startup::Fatal;
use arc_swap::ArcSwap;
use std::io;
use trefoil_link::{Address, ClientTls, ConnectError, ServedError, Stream, TrustError, connect, identity};

/// Where it is, and how it is spoken to.
pub(crate) struct DataPort {
    address: Address,
    tls: Option<Tls>,
}

struct Tls {
    config: ProxyTls,
    current: ArcSwap<ClientTls>,
}

/// Why there is no TLS towards the proxy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataPortError {
    /// Whose certificate it may show.
    #[error("[proxy_tls]: {0}")]
    Trust(#[from] TrustError),
    /// The sidecar's own certificate.
    #[error("[proxy_tls]: {0}")]
    Identity(#[from] ServedError),
}

impl DataPort {
    /// With the files of its configuration.
    pub(crate) fn new(config: &config::DataPort) -> Result<Self, DataPortError> {
        let tls = config.tls.clone().map(|config| {
            let current = ArcSwap::from_pointee(client_tls(&config)?);
            Ok::<_, DataPortError>(Tls { config, current })
        });
        Ok(Self { address: config.address.clone(), tls: tls.transpose()? })
    }

    /// Reads the files again; if they are no good, what was read before stays.
    pub(crate) fn reload(&self) -> Result<(), DataPortError> {
        if let Some(Tls { config, current }) = &self.tls {
            current.store(client_tls(config)?.into());
        }
        Ok(())
    }

    /// A connection, under TLS where that is configured.
    pub(crate) async fn connect(&self) -> Result<Stream, Fatal> {
        let tls = self.tls.as_ref().map(|tls| tls.current.load_full());
        connect(&self.address, tls.as_deref()).await.map_err(|error| {
            tracing::warn!(proxy = %self.address, %error, "no connection to the proxy");
            match error {
                ConnectError::Io(_) => Fatal::NO_PROXY,
                ConnectError::NoTls => Fatal::NO_TLS,
                ConnectError::Handshake(_) => Fatal::NO_TRUST,
            }
        })
    }
}

/// The proxy has ended a connection before the login was done.
pub(crate) fn broken_off(error: &io::Error) -> Fatal {
    // Under TLS 1.3 it is only here that the server says no to a client's certificate.
    tracing::warn!(%error, "the proxy has broken off the login");
    Fatal::BROKEN_OFF
}

fn client_tls(config: &ProxyTls) -> Result<ClientTls, DataPortError> {
    let identity = config.certificate.as_ref().map(|(certificate, key)| identity(certificate, key));
    Ok(ClientTls::new(&config.name, &config.trust, identity.transpose()?, false)?)
}
