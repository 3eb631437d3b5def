//! A client's connection up to the first packet that asks for something else than encryption
//! (PostgreSQL's protocol, "SSL Session Encryption"): SSLRequest, GSSENCRequest, and TLS from the first
//! byte as PostgreSQL 17 has it, with ALPN.
//!
//! Never more is read than the packet has: what a stranger sends ahead of the handshake is no part of
//! what is said under TLS.

use crate::served::Offer;
use crate::stream::Stream;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Longest first packet, as in PostgreSQL (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_PACKET: usize = 10_000;

/// How PostgreSQL's protocol is called in ALPN.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// First byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// `SSLRequest`, as its code.
const SSL: [u8; 4] = 80_877_103_u32.to_be_bytes();
/// `GSSENCRequest`, as its code.
const GSS: [u8; 4] = 80_877_104_u32.to_be_bytes();

/// A client that has said what it wants.
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// The whole packet, its length included: StartupMessage, CancelRequest, or none of these. A share
    /// may be in it.
    pub packet: Zeroizing<Vec<u8>>,
    /// What was offered, where the connection is under TLS.
    pub tls: Option<Arc<Offer>>,
}

/// Why a client got no further.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It left, or the socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No handshake.
    #[error("no TLS handshake: {0}")]
    Handshake(io::Error),
    /// TLS from the first byte needs ALPN, lest another protocol's requests be taken for ours.
    #[error("TLS from the first byte without the protocol `postgresql` in ALPN")]
    Alpn,
    /// A length that no first packet has; the connection is there to say so.
    #[error("invalid length of the first packet")]
    Length(Box<Stream>),
}

/// Reads until it is known what the client wants. Without `tls` it gets none. Has no end in time by itself.
///
/// # Errors
/// [`AcceptError`].
pub async fn accept(mut stream: Stream, tls: Option<Arc<Offer>>) -> Result<Accepted, AcceptError> {
    if let Stream::Tcp(tcp) = stream {
        let mut first = [0];
        if tcp.peek(&mut first).await? == 1 && first == [HANDSHAKE] {
            let Some(offer) = &tls else {
                return Err(AcceptError::Handshake(io::ErrorKind::Unsupported.into()));
            };
            let mut encrypted = handshake(tcp, offer).await?;
            if encrypted.tls().and_then(|tls| tls.alpn_protocol()) != Some(ALPN) {
                encrypted.shutdown().await?;
                return Err(AcceptError::Alpn);
            }
            stream = encrypted;
        } else {
            stream = Stream::Tcp(tcp);
        }
    }
    // Each request for encryption is answered once; a second one is the caller's to refuse.
    let mut asked = Vec::new();
    loop {
        let length = stream.read_u32().await?;
        let Some(size) = usize::try_from(length).ok().filter(|size| (8..=MAX_PACKET).contains(size)) else {
            return Err(AcceptError::Length(Box::new(stream)));
        };
        let mut packet = Zeroizing::new(vec![0; size]);
        let (head, body) = packet.split_at_mut(4);
        head.copy_from_slice(&length.to_be_bytes());
        stream.read_exact(body).await?;
        stream = match (stream, &tls) {
            // PostgreSQL, too, offers no TLS on Unix sockets, and none within TLS.
            (Stream::Tcp(mut tcp), Some(offer)) if *body == SSL => {
                tcp.write_all(b"S").await?;
                handshake(tcp, offer).await?
            }
            (mut stream, _) if stream.tls().is_none() && refusable(body, &asked) => {
                asked.extend_from_slice(body);
                stream.write_all(b"N").await?;
                stream
            }
            (stream, tls) => {
                let tls = tls.clone().filter(|_| stream.tls().is_some());
                return Ok(Accepted { stream, packet, tls });
            }
        };
    }
}

/// Whether this asks for encryption, and for the first time.
fn refusable(body: &[u8], asked: &[u8]) -> bool {
    (*body == SSL || *body == GSS) && !asked.chunks(body.len()).any(|former| former == body)
}

async fn handshake(stream: TcpStream, offer: &Offer) -> Result<Stream, AcceptError> {
    let stream =
        TlsAcceptor::from(Arc::clone(&offer.config)).accept(stream).await.map_err(AcceptError::Handshake)?;
    Ok(Stream::Server(Box::new(stream)))
}
