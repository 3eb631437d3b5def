//! Whose certificate a server may show.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_platform_verifier::Verifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trefoil_keys::tls::{self, Fingerprint, Identity, TlsError};

/// Whose certificate a server may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One in the server's name of an authority that the system trusts.
    System,
    /// One in the server's name of the authorities in this file (PEM) alone.
    Authority(PathBuf),
    /// This one, whatever is in it.
    Pinned(Fingerprint),
}

/// Why no certificates can be verified.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of the authorities.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// What is in it.
    #[error("{path}: {reason}")]
    Authority {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The system has no authorities.
    #[error(
        "the system's certificates cannot be used: {0}; install ca-certificates, or name a file of authorities"
    )]
    System(rustls::Error),
    /// No certificate can be for it.
    #[error("`{0}` is no name that a certificate can be for")]
    Name(String),
    /// The client's own certificate.
    #[error(transparent)]
    Identity(#[from] TlsError),
}

impl Trust {
    /// For clients, without ALPN.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn client_config(&self, identity: Option<Identity>, tls12: bool) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(default_provider());
        let versions: &[&SupportedProtocolVersion] = if tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Pinned(pin) => {
                let mut config = tls::pinned_client_config(*pin, identity)?;
                config.alpn_protocols.clear();
                return Ok(config);
            }
            Self::System => Arc::new(Verifier::new(Arc::clone(&provider)).map_err(TrustError::System)?),
            Self::Authority(path) => {
                let unusable = |reason: String| TrustError::Authority { path: shown(path), reason };
                let roots = tls::certificates_from_pem(&read(path)?)
                    .and_then(tls::client_authority)
                    .map_err(|error| unusable(error.to_string()))?;
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| unusable(error.to_string()))?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(TlsError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => {
                Ok(builder.with_client_auth_cert(chain, key).map_err(TlsError::Unusable)?)
            }
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    std::fs::read(path).map_err(|reason| TrustError::Unreadable { path: shown(path), reason })
}
