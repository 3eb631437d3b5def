//! A connected socket, in clear or under TLS.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

/// A connected socket. TCP without delay (`TCP_NODELAY`) is for its maker to set.
pub enum Stream {
    /// TCP in clear.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP, as the server.
    Server(Box<server::TlsStream<TcpStream>>),
    /// TLS over TCP, as the client.
    Client(Box<client::TlsStream<TcpStream>>),
}

impl Stream {
    /// The TLS session, where there is one.
    pub fn tls(&self) -> Option<&rustls::CommonState> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Server(stream) => Some(stream.get_ref().1),
            Self::Client(stream) => Some(stream.get_ref().1),
        }
    }

    /// The peer's certificate in DER, where it has shown one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.tls()?.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Whether nobody on a network can read or change what is sent.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
            Self::Unix(_) | Self::Server(_) | Self::Client(_) => true,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Unix(_) => "Unix",
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

macro_rules! each {
    ($stream:expr, $inner:ident => $does:expr) => {
        match $stream {
            Stream::Tcp($inner) => $does,
            Stream::Unix($inner) => $does,
            Stream::Server($inner) => $does,
            Stream::Client($inner) => $does,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(context, into))
    }
}

/// Under TLS what was written may wait until it is flushed.
impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}
