//! The two sockets of a session and their buffers. One read and one write each per turn.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use trefoil_keys::memory::wipe;

/// What is read at once while little comes.
const SMALL: usize = 8 * 1024;
/// What is read at once while much comes.
const LARGE: usize = 64 * 1024;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp(String, u16),
    /// A socket file.
    Unix(PathBuf),
}

impl Address {
    /// From a host as libpq takes it: one that begins with `/` is the directory of the socket.
    pub fn new(host: &str, port: u16) -> Self {
        if host.starts_with('/') {
            Self::Unix(PathBuf::from(format!("{host}/.s.PGSQL.{port}")))
        } else {
            Self::Tcp(host.to_owned(), port)
        }
    }
}

/// A connected socket.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to the server.
    pub(super) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(into)).poll(context),
            Self::Unix(stream) => pin!(stream.read_buf(into)).poll(context),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
        }
    }
}

/// A socket with what was received and not treated yet, and what is to be sent.
pub(super) struct Side {
    stream: Stream,
    received: Vec<u8>,
    /// How much of `received` is done with.
    done: usize,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is sent.
    sent: usize,
    read_size: usize,
    /// Nothing more will be received.
    pub(super) ended: bool,
    /// Nothing more can be sent.
    pub(super) gone: bool,
}

impl Side {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            done: 0,
            outgoing: Vec::new(),
            sent: 0,
            read_size: SMALL,
            ended: false,
            gone: false,
        }
    }

    /// What was received and is not treated yet.
    pub(super) fn received(&self) -> &[u8] {
        self.received.get(self.done..).unwrap_or_default()
    }

    /// What is to be sent, to append to.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// How much waits to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Marks received bytes as treated; `wiped` when they held a share.
    pub(super) fn consume(&mut self, count: usize, wiped: bool) {
        let end = self.received.len().min(self.done + count);
        if wiped && let Some(treated) = self.received.get_mut(self.done..end) {
            wipe(treated);
        }
        self.done = end;
        if self.done == self.received.len() {
            self.received.clear();
            self.done = 0;
        }
    }

    /// Reads what is there, once. `Ready` says that something changed.
    pub(super) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.make_room();
        let room = self.received.capacity() - self.received.len();
        match self.stream.poll_read(context, &mut self.received) {
            Poll::Pending => {
                if self.received.is_empty() {
                    self.shrink();
                }
                return Poll::Pending;
            }
            Poll::Ready(Ok(count)) if count > 0 => {
                self.read_size = if count == room { LARGE } else { self.read_size };
            }
            Poll::Ready(_) => self.ended = true,
        }
        Poll::Ready(())
    }

    /// Sends what waits, once. `Ready` says that something changed.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waiting = self.outgoing.get(self.sent..).unwrap_or_default();
        if waiting.is_empty() {
            return Poll::Pending;
        }
        match self.stream.poll_write(context, waiting) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(count)) if count > 0 => self.sent += count,
            Poll::Ready(_) => {
                self.gone = true;
                self.sent = self.outgoing.len();
            }
        }
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        } else if self.sent >= LARGE {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
        Poll::Ready(())
    }

    /// Throws away what was to be sent.
    pub(super) fn discard(&mut self) {
        self.outgoing.clear();
        self.sent = 0;
    }

    /// Tells the other end that nothing more will come.
    pub(super) async fn shutdown(&mut self) {
        if self.stream.shutdown().await.is_err() {
            self.gone = true;
        }
    }

    /// Room for a read. A buffer that has to grow is wiped where it was: it may hold a share.
    fn make_room(&mut self) {
        let kept = self.received.len() - self.done;
        if self.received.capacity() - self.received.len() >= self.read_size {
            return;
        }
        if self.received.capacity() >= kept + self.read_size {
            self.received.copy_within(self.done.., 0);
            if let Some(moved) = self.received.get_mut(kept..) {
                wipe(moved);
            }
            self.received.truncate(kept);
        } else {
            let mut larger = Vec::with_capacity((2 * kept).max(kept + self.read_size));
            larger.extend_from_slice(self.received());
            wipe(&mut self.received);
            self.received = larger;
        }
        self.done = 0;
    }

    /// An idle session keeps little.
    fn shrink(&mut self) {
        if self.read_size > SMALL || self.received.capacity() > SMALL {
            self.read_size = SMALL;
            self.received = Vec::with_capacity(SMALL);
        }
        if self.outgoing.is_empty() && self.outgoing.capacity() > SMALL {
            self.outgoing = Vec::new();
        }
    }
}
