//! A connection to a server of PostgreSQL's protocol. Where TLS is wanted and the server has none, the
//! connection ends: nothing is said in clear.

use crate::accept::ALPN;
use crate::address::Address;
use crate::stream::Stream;
use crate::trust::{Trust, TrustError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use trefoil_keys::tls::Identity;

/// `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// TLS towards one server.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server answers SSLRequest by no.
    #[error("the server has no TLS, and TLS is required")]
    NoTls,
    /// No handshake: often a certificate that is not trusted or is another host's.
    #[error("no TLS handshake: {0}")]
    Handshake(io::Error),
}

impl ClientTls {
    /// TLS 1.3 (and 1.2 with `tls12`) with a server of this name, DNS name or address, whose certificate
    /// is trusted as `trust` says; `identity` is shown where the server asks for a certificate.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn new(
        name: &str,
        trust: &Trust,
        identity: Option<Identity>,
        tls12: bool,
    ) -> Result<Self, TrustError> {
        let mut config = trust.client_config(identity, tls12)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TrustError::Name(name.to_owned()))?;
        Ok(Self { config: Arc::new(config), name })
    }
}

/// Connects, and under `tls` shakes hands. A Unix socket has no TLS, as in PostgreSQL.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(address: &Address, tls: Option<&ClientTls>) -> Result<Stream, ConnectError> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
        Address::Tcp(host, port) => (host.as_str(), *port),
    };
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(ClientTls { config, name }) = tls else { return Ok(Stream::Tcp(stream)) };
    stream.write_all(&SSL_REQUEST).await?;
    // One byte and no more: what follows in clear must not be taken for what is said under TLS.
    if stream.read_u8().await? != b'S' {
        return Err(ConnectError::NoTls);
    }
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name.clone(), stream).await.map_err(ConnectError::Handshake)?;
    Ok(Stream::Client(Box::new(stream)))
}
