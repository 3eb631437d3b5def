//! The certificates that the proxy shows, at the data port and at the admin port. They are read again on
//! SIGHUP; connections that exist keep what they began with.

use crate::config::Config;
use crate::state::{State, StateError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use trefoil_link::{Clients, ServedError, ServedTls, Source};

const DAY: u64 = 24 * 60 * 60;
/// So many days before its end a certificate is warned of.
const WARNED_OF: u64 = 14;

/// The certificates that the proxy shows.
pub struct Certificates {
    /// To clients of the database.
    pub data: Arc<ServedTls>,
    /// At the admin port.
    pub admin: Arc<ServedTls>,
}

/// Why there is none. The messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The files.
    #[error("`{section}`: {reason}")]
    Files {
        /// Of the configuration.
        section: &'static str,
        /// What is wrong.
        reason: ServedError,
    },
}

impl Certificates {
    /// As they are configured; the data port shows the admin port's where it has none of its own.
    ///
    /// # Errors
    /// [`CertificatesError`].
    pub fn new(config: &Config, state: &State) -> Result<Self, CertificatesError> {
        let (tls, store) = (&config.tls, &config.store);
        let own = tls.certificate.as_deref().map(|certificate| (certificate, tls.key.as_deref()));
        let admin = store.certificate.as_deref().map(|certificate| (certificate, store.key.as_deref()));
        let clients = tls.client_ca.clone().map(|authority| Clients { authority, required: false });
        let data = ServedTls::new(source(own.or(admin), state)?, clients, tls.tls12, &[b"postgresql"]);
        let admin = ServedTls::new(source(admin, state)?, None, false, &[b"http/1.1"]);
        Ok(Self {
            data: Arc::new(data.map_err(|reason| CertificatesError::Files { section: "tls", reason })?),
            admin: Arc::new(admin.map_err(|reason| CertificatesError::Files { section: "admin", reason })?),
        })
    }

    /// Reads all files again. What is no good changes nothing.
    pub fn reload(&self) {
        for (port, tls) in self.ports() {
            match tls.reload() {
                Ok(true) => tracing::info!("{port} port: new certificate {}", tls.offer().fingerprint),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "{port} port: certificates not read, the former ones stay");
                }
            }
        }
        self.warn_of_expiry();
    }

    /// Warns, once a day, of what is about to end. Has no end itself.
    pub async fn watch(&self) {
        let mut days = tokio::time::interval(Duration::from_secs(DAY));
        loop {
            days.tick().await;
            self.warn_of_expiry();
        }
    }

    fn warn_of_expiry(&self) {
        let now = SystemTime::now();
        for (port, tls) in self.ports() {
            match tls.offer().expiry.map(|end| end.duration_since(now)) {
                Some(Err(_)) => tracing::error!("{port} port: the certificate has expired, replace it"),
                Some(Ok(left)) if left.as_secs() < WARNED_OF * DAY => tracing::warn!(
                    "{port} port: the certificate expires in {} days, replace it and send SIGHUP",
                    left.as_secs() / DAY
                ),
                _ => {}
            }
        }
    }

    fn ports(&self) -> [(&'static str, &ServedTls); 2] {
        [("data", &self.data), ("admin", &self.admin)]
    }
}

/// A key of its own has a certificate only where it is configured; else it is the store's.
fn source(files: Option<(&Path, Option<&Path>)>, state: &State) -> Result<Source, StateError> {
    Ok(match files {
        None => Source::Own(state.certificate()?),
        Some((certificate, None)) => {
            Source::Certified { certificate: certificate.to_owned(), own: state.certificate()? }
        }
        Some((certificate, Some(key))) => {
            Source::Files { certificate: certificate.to_owned(), key: key.to_owned() }
        }
    })
}
