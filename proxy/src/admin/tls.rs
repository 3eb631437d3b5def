//! By which certificate the admin port is known: the store's own, or one from files.

use crate::state::{State, StateError};
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::{self, Fingerprint, TlsError};

/// Why the admin port has no certificate. The messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate's file.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The private key's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files' content.
    #[error("`admin.certificate` and `admin.key`: {0}")]
    Tls(TlsError),
}

impl From<TlsError> for TlsSetupError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

/// TLS for the admin port, with the fingerprint that its clients pin.
///
/// # Errors
/// [`TlsSetupError`].
pub fn server_config(
    state: &State,
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> Result<(ServerConfig, Fingerprint), TlsSetupError> {
    let (mut chain, mut private_key) = state.certificate()?.identity();
    if let Some(path) = certificate {
        let pem = std::fs::read(path)
            .map_err(|reason| TlsSetupError::Unreadable { path: path.to_owned(), reason })?;
        chain = tls::certificates_from_pem(&pem)?;
    }
    if let Some(path) = key {
        private_key = tls::private_key_from_pem(&private_file::read(path)?)?;
    }
    let fingerprint = Fingerprint::of(chain.first().map(AsRef::as_ref).unwrap_or_default());
    Ok((tls::server_config((chain, private_key), None)?, fingerprint))
}
