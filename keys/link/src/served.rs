//! TLS as a server offers it, from a certificate that can be replaced while it serves: connections that
//! exist keep the one that they began with.

use crate::certificate::end_point;
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::{self, Fingerprint, Identity, SelfSigned, TlsError};

/// Where certificate and private key come from.
pub enum Source {
    /// Files (PEM): the chain, the end entity's first, and the key. Read again at each reload.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The private key, which only its owner may read.
        key: PathBuf,
    },
    /// The program's own.
    Own(SelfSigned),
}

/// Whose certificates clients may show.
pub struct Clients {
    /// File (PEM) of the authorities. Read again at each reload.
    pub authority: PathBuf,
    /// Whether a client without a certificate gets no further.
    pub required: bool,
}

/// What a server offers.
pub struct ServedTls {
    source: Source,
    clients: Option<Clients>,
    tls12: bool,
    alpn: &'static [u8],
    current: ArcSwap<Offer>,
}

/// What it offers to the connections that begin now.
pub struct Offer {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// By which clients may know the certificate.
    pub fingerprint: Fingerprint,
    /// What SCRAM's channel binding `tls-server-end-point` (RFC 5929) binds to; none for certificates
    /// whose signature has no hash of its own.
    pub end_point: Option<Vec<u8>>,
}

/// Why nothing can be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    /// A file of certificates.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// The private key's file.
    #[error(transparent)]
    Key(#[from] FileError),
    /// What is in the files.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: String,
        /// Why.
        reason: TlsError,
    },
}

impl ServedTls {
    /// TLS 1.3, and 1.2 with `tls12`, for a protocol by its name in ALPN.
    ///
    /// # Errors
    /// [`ServedError`].
    pub fn new(
        source: Source,
        clients: Option<Clients>,
        tls12: bool,
        alpn: &'static [u8],
    ) -> Result<Self, ServedError> {
        let current = ArcSwap::from_pointee(offer(&source, clients.as_ref(), tls12, alpn)?);
        Ok(Self { source, clients, tls12, alpn, current })
    }

    /// For a connection that begins now.
    pub fn offer(&self) -> Arc<Offer> {
        self.current.load_full()
    }

    /// Reads the files again. What was offered before stays if they are no good. Returns whether the
    /// certificate is another one.
    ///
    /// # Errors
    /// [`ServedError`].
    pub fn reload(&self) -> Result<bool, ServedError> {
        let next = offer(&self.source, self.clients.as_ref(), self.tls12, self.alpn)?;
        let changed = next.fingerprint != self.current.load().fingerprint;
        self.current.store(Arc::new(next));
        Ok(changed)
    }
}

fn offer(source: &Source, clients: Option<&Clients>, tls12: bool, alpn: &[u8]) -> Result<Offer, ServedError> {
    let (file, (chain, key)) = match source {
        Source::Own(own) => (Path::new("the program's own certificate"), own.identity()),
        Source::Files { certificate, key } => (certificate.as_path(), files(certificate, key)?),
    };
    let unusable = |error| content(file, TlsError::Unusable(error));
    let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let (fingerprint, end_point) = (Fingerprint::of(first), end_point(first));
    let provider = Arc::new(default_provider());
    let versions: &[&SupportedProtocolVersion] = if tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(unusable)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(Clients { authority, required }) => {
            let roots = certificates(authority)
                .and_then(|found| tls::client_authority(found).map_err(|error| content(authority, error)))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
            let built = verifier.build().map_err(|error| TlsError::ClientAuthority(error.to_string()));
            builder.with_client_cert_verifier(built.map_err(|error| content(authority, error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    // Each connection shows its certificates anew; PostgreSQL's clients never resume.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Offer { config: Arc::new(config), fingerprint, end_point })
}

fn files(certificate: &Path, key: &Path) -> Result<Identity, ServedError> {
    let private_key = tls::private_key_from_pem(&private_file::read(key)?);
    Ok((certificates(certificate)?, private_key.map_err(|error| content(key, error))?))
}

fn certificates(path: &Path) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, ServedError> {
    let pem = std::fs::read(path)
        .map_err(|reason| ServedError::Unreadable { path: path.display().to_string(), reason })?;
    tls::certificates_from_pem(&pem).map_err(|error| content(path, error))
}

fn content(path: &Path, reason: TlsError) -> ServedError {
    ServedError::Content { path: path.display().to_string(), reason }
}
