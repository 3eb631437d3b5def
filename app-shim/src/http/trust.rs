//! Whose certificates an origin may show: TLS 1.3 (RFC 8446) with names checked, against the authorities
//! that the system trusts, or those of a file alone.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::path::Path;
use std::sync::Arc;
use trefoil_keys::tls;

/// Why no certificates can be verified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
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
    #[error("the system's certificates cannot be used: {0}; install ca-certificates, or name a file by `ca`")]
    System(rustls::Error),
}

/// For connections to an origin.
pub(crate) fn client_config(authority: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match authority {
        None => Arc::new(Verifier::new(provider.clone()).map_err(TrustError::System)?),
        Some(path) => {
            let name = || path.display().to_string();
            let pem =
                std::fs::read(path).map_err(|reason| TrustError::Unreadable { path: name(), reason })?;
            let unusable = |reason: String| TrustError::Authority { path: name(), reason };
            let roots = tls::certificates_from_pem(&pem)
                .and_then(tls::client_authority)
                .map_err(|error| unusable(error.to_string()))?;
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| unusable(error.to_string()))?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TrustError::System)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// For connections in clear, where no certificate is ever shown.
pub(crate) fn no_one() -> Result<ClientConfig, TrustError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(TrustError::System)?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
