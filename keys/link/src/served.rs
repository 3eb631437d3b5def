//! TLS as a server offers it, from a certificate that can be replaced while it serves: connections that
//! exist keep the one that they began with.

use crate::certificate::{end_point, expiry};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::{self, Fingerprint, Identity, SelfSigned, Serving, TlsError};

/// Where certificate and private key come from.
pub enum Source {
    /// Files (PEM): the chain, the end entity's first, and the key. Read again at each reload.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The private key, which only its owner may read.
        key: PathBuf,
    },
    /// A file (PEM) of a chain for the program's own key. Read again at each reload.
    Certified {
        /// The chain.
        certificate: PathBuf,
        /// Whose key it is for.
        own: SelfSigned,
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
    alpn: &'static [&'static [u8]],
    current: ArcSwap<Offer>,
}

/// What it offers to the connections that begin now.
pub struct Offer {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// By which clients may know the certificate.
    pub fingerprint: Fingerprint,
    /// When the certificate ends.
    pub expiry: Option<SystemTime>,
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
    /// TLS 1.3, and 1.2 with `tls12`, for protocols by their names in ALPN.
    ///
    /// # Errors
    /// [`ServedError`].
    pub fn new(
        source: Source,
        clients: Option<Clients>,
        tls12: bool,
        alpn: &'static [&'static [u8]],
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

fn offer(
    source: &Source,
    clients: Option<&Clients>,
    tls12: bool,
    alpn: &[&[u8]],
) -> Result<Offer, ServedError> {
    let (file, (chain, key)) = match source {
        Source::Own(own) => (Path::new("the program's own certificate"), own.identity()),
        Source::Certified { certificate, own } => {
            (certificate.as_path(), (certificates(certificate)?, own.identity().1))
        }
        Source::Files { certificate, key } => (certificate.as_path(), identity(certificate, key)?),
    };
    let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let (fingerprint, expiry, end_point) = (Fingerprint::of(first), expiry(first), end_point(first));
    let roots = clients.map(|Clients { authority, .. }| {
        certificates(authority)
            .and_then(|found| tls::client_authority(found).map_err(|error| content(authority, error)))
    });
    let options = Serving {
        clients: roots.transpose()?,
        clients_optional: clients.is_some_and(|clients| !clients.required),
        tls12,
        alpn,
    };
    let config = tls::server_config((chain, key), options).map_err(|error| match (error, clients) {
        (error @ TlsError::ClientAuthority(_), Some(clients)) => content(&clients.authority, error),
        (error, _) => content(file, error),
    })?;
    Ok(Offer { config: Arc::new(config), fingerprint, expiry, end_point })
}

/// A certificate chain and its private key in files (PEM), the key's for its owner alone.
///
/// # Errors
/// [`ServedError`].
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, ServedError> {
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
