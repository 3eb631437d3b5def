//! The connection that tokio-postgres logs in by, which answers whatever a server asks for. Over a link that
//! is not private the server is heard here first: one that asks for what could be read on the way, or what
//! is not understood, before AuthenticationOk, is heard no further.

use crate::wire::authentication::{REQUEST, Request};
use crate::wire::{Malformed, frame};
use std::future::{self, Ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use trefoil_link::{Stream, end_point};

/// Longest message of a server before its AuthenticationOk, as in libpq.
const MAX_MESSAGE: usize = 30_000;

/// Why a server is heard no further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    /// What it asks for would be said in clear.
    #[error(
        "the server asks for a password, or its MD5 hash, over a connection in clear: reach it under TLS, or \
         have it ask for scram-sha-256"
    )]
    InClear,
    /// Something that nobody asks for here.
    #[error("the server asks for an authentication that is not spoken here")]
    Unknown,
    /// No login goes like this.
    #[error("the server does not log in as it should: {0}")]
    Malformed(#[from] Malformed),
}

/// Hands tokio-postgres a stream that is connected.
pub(super) struct Watch;

impl TlsConnect<Stream> for Watch {
    type Stream = Watched;
    type Error = io::Error;
    type Future = Ready<io::Result<Watched>>;

    fn connect(self, stream: Stream) -> Self::Future {
        let requests = (!stream.is_private()).then(Vec::new);
        future::ready(Ok(Watched { stream, requests }))
    }
}

/// A stream that knows what SCRAM is bound to.
pub(super) struct Watched {
    stream: Stream,
    /// What the server has said of a message that is not whole, as long as it is watched.
    requests: Option<Vec<u8>>,
}

impl Watched {
    fn watch(&mut self, heard: &[u8]) -> Result<(), Unfit> {
        let Some(requests) = &mut self.requests else { return Ok(()) };
        requests.extend_from_slice(heard);
        if !is_over(requests)? {
            return Ok(());
        }
        self.requests = None;
        Ok(())
    }
}

/// Takes off the messages that are whole; whether the last of them ends the login.
fn is_over(requests: &mut Vec<u8>) -> Result<bool, Unfit> {
    while let Some(head) = frame::head(requests)? {
        if head.size > MAX_MESSAGE {
            return Err(Malformed::TooLong.into());
        }
        let Some(body) = requests.get(frame::HEAD..head.size) else { break };
        match head.tag {
            REQUEST => match Request::decode(body)? {
                Request::Ok => return Ok(true),
                Request::Sasl(_) | Request::SaslContinue(_) | Request::SaslFinal(_) => {}
                Request::CleartextPassword | Request::Md5Password(_) => return Err(Unfit::InClear),
                Request::Other(_) => return Err(Unfit::Unknown),
            },
            b'E' | b'N' | b'v' => {}
            _ => return Err(Malformed::Field("type").into()),
        }
        requests.drain(..head.size);
    }
    Ok(false)
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        let end_point = self.stream.peer_certificate().and_then(end_point);
        end_point.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        let heard = into.filled().get(before..).unwrap_or_default();
        Poll::Ready(this.watch(heard).map_err(|unfit| {
            into.set_filled(before);
            io::Error::new(io::ErrorKind::PermissionDenied, unfit)
        }))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05abcd";
    const NOTICE: &[u8] = b"N\0\0\0\x05\0";

    /// What comes of these bytes, in pieces of this size.
    fn heard(said: &[u8], piece: usize) -> Result<bool, Unfit> {
        let mut requests = Vec::new();
        for piece in said.chunks(piece) {
            requests.extend_from_slice(piece);
            if is_over(&mut requests)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[test]
    fn a_request_for_a_password_is_found_wherever_it_stands_and_however_it_comes() {
        let gss: &[u8] = b"R\0\0\0\x08\0\0\0\x07";
        let ready: &[u8] = b"Z\0\0\0\x05I";
        for (said, outcome) in [
            (OK.to_vec(), Ok(true)),
            ([SASL, OK, CLEARTEXT].concat(), Ok(true)),
            ([NOTICE, SASL].concat(), Ok(false)),
            (CLEARTEXT.to_vec(), Err(Unfit::InClear)),
            (MD5.to_vec(), Err(Unfit::InClear)),
            ([NOTICE, CLEARTEXT].concat(), Err(Unfit::InClear)),
            ([SASL, MD5].concat(), Err(Unfit::InClear)),
            (gss.to_vec(), Err(Unfit::Unknown)),
            (ready.to_vec(), Err(Malformed::Field("type").into())),
            (b"R\0\0\0\x03".to_vec(), Err(Malformed::Length.into())),
            (b"N\0\x01\0\0".to_vec(), Err(Malformed::TooLong.into())),
        ] {
            for piece in [1, 2, 7, 9, said.len()] {
                assert_eq!(heard(&said, piece), outcome, "{} by {piece}", said.escape_ascii());
            }
        }
    }
}
