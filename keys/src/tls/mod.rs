//! TLS (RFC 8446; 1.2 only where asked for): configurations for a server that shows its own certificate,
//! and for a client that accepts exactly one.
//!
//! aws-lc-rs is given by name: nothing that another part of the process installs as its default changes
//! what is spoken here.

mod certificate;
mod pin;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;

pub use certificate::{SelfSigned, certificate_request};
pub use pin::{Fingerprint, MalformedFingerprint, OtherCertificate};

const HTTP_1_1: &[u8] = b"http/1.1";

/// A certificate chain, the end entity's first, and its private key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Errors of certificates, their keys and the configurations made of them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A name that no certificate can hold.
    #[error("no certificate can be made for these names: {0}")]
    Names(rcgen::Error),
    /// No key or certificate could be made.
    #[error("cannot make a key and certificate: {0}")]
    Generate(rcgen::Error),
    /// No certificates where there should be some.
    #[error("no certificates in PEM (-----BEGIN CERTIFICATE-----)")]
    Certificates,
    /// No private key where there should be one.
    #[error("no unencrypted private key in PEM (-----BEGIN PRIVATE KEY-----)")]
    PrivateKey,
    /// Certificate and key do not fit each other, or are of a kind that TLS does not know.
    #[error("certificate and private key cannot be used for TLS: {0}")]
    Unusable(rustls::Error),
    /// Not certificates that others can be verified with.
    #[error("not certificates of an authority that client certificates can be verified with: {0}")]
    ClientAuthority(String),
}

/// What a server speaks, and to whom: by default HTTP/1.1 over TLS 1.3, to everybody.
pub struct Serving<'a> {
    /// The authorities whose certificates clients show.
    pub clients: Option<RootCertStore>,
    /// Whether clients without a certificate get through, too.
    pub clients_optional: bool,
    /// Whether TLS 1.2 is spoken, too.
    pub tls12: bool,
    /// The protocols by their names in ALPN, the preferred one first.
    pub alpn: &'a [&'a [u8]],
}

impl Default for Serving<'_> {
    fn default() -> Self {
        Self { clients: None, clients_optional: false, tls12: false, alpn: &[HTTP_1_1] }
    }
}

/// For a server.
///
/// # Errors
/// [`TlsError`] if the certificates are not usable.
pub fn server_config((chain, key): Identity, serving: Serving<'_>) -> Result<ServerConfig, TlsError> {
    let versions: &[&SupportedProtocolVersion] = if serving.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(TlsError::Unusable)?;
    let builder = match serving.clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            let verifier = if serving.clients_optional { verifier.allow_unauthenticated() } else { verifier };
            let built = verifier.build().map_err(|error| TlsError::ClientAuthority(error.to_string()))?;
            builder.with_client_cert_verifier(built)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Unusable)?;
    config.alpn_protocols = serving.alpn.iter().map(|name| name.to_vec()).collect();
    // Each connection shows its certificates anew; PostgreSQL's clients never resume.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For a client that speaks only with the server whose certificate has this fingerprint, and shows its
/// own certificate if it is asked for one.
///
/// # Errors
/// [`TlsError::Unusable`] for the client's own certificate.
pub fn pinned_client_config(pin: Fingerprint, client: Option<Identity>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin::Verifier::new(pin, provider())));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(TlsError::Unusable)?,
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Connections are rare; each shows its certificate anew.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The certificates in PEM text, in their order; at least one.
///
/// # Errors
/// [`TlsError::Certificates`].
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::Certificates),
    }
}

/// The private key in PEM text: PKCS#8, PKCS#1 or SEC 1.
///
/// # Errors
/// [`TlsError::PrivateKey`].
pub fn private_key_from_pem(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::PrivateKey)
}

/// The authority, of one certificate or several, that client certificates are verified with.
///
/// # Errors
/// [`TlsError::ClientAuthority`].
pub fn client_authority(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| TlsError::ClientAuthority(error.to_string()))?;
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
