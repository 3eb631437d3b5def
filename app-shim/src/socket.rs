//! One end of a session, in clear or under TLS, as it is polled: one read and one write each time.

use bytes::{Buf as _, BytesMut};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use trefoil_link::Stream;

/// Read at once while little comes, and kept by an idle session.
const SMALL: usize = 8 * 1024;
/// Read at once while much comes.
const LARGE: usize = 64 * 1024;

/// A connected socket.
pub(crate) struct Socket {
    stream: Stream,
    /// Under TLS, what is written may still wait.
    unflushed: bool,
    read_size: usize,
}

impl Socket {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, unflushed: false, read_size: SMALL }
    }

    /// The connection itself, for what is said outside of a session.
    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Reads what is there; false at the end. A peer that is gone without a farewell has ended, too.
    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<bool>> {
        into.reserve(self.read_size);
        let room = into.capacity() - into.len();
        match pin!(self.stream.read_buf(into)).poll(context) {
            Poll::Ready(Ok(count)) => {
                if count == room {
                    self.read_size = LARGE;
                }
                Poll::Ready(Ok(count > 0))
            }
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(false)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if into.is_empty() && into.capacity() > SMALL {
                    self.read_size = SMALL;
                    *into = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    /// Writes of the first `length` bytes what can be written, and takes it off the buffer. Ready where
    /// that was something.
    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        from: &mut BytesMut,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let bytes = from.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            if self.unflushed {
                ready!(Pin::new(&mut self.stream).poll_flush(context))?;
                self.unflushed = false;
            }
            return Poll::Pending;
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        if count == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        from.advance(count);
        if from.is_empty() && from.capacity() > LARGE {
            *from = BytesMut::new();
        }
        self.unflushed = self.stream.tls().is_some();
        Poll::Ready(Ok(count))
    }

    /// Tells the other end that nothing more will come.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
