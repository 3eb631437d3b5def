//! The two sockets of a session and their buffers. One read and one write each per turn.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use trefoil_keys::memory::wipe;
use trefoil_link::Stream;

/// What is read at once while little comes.
const SMALL: usize = 8 * 1024;
/// What is read at once while much comes.
const LARGE: usize = 64 * 1024;

/// A socket with what was received and not treated yet, and what is to be sent.
pub(super) struct Side {
    stream: Stream,
    received: Vec<u8>,
    /// How much of `received` is done with.
    done: usize,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is sent.
    sent: usize,
    /// Under TLS, what is sent may still wait.
    unflushed: bool,
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
            unflushed: false,
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
        match pin!(self.stream.read_buf(&mut self.received)).poll(context) {
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
            return self.poll_flush(context);
        }
        match Pin::new(&mut self.stream).poll_write(context, waiting) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(count)) if count > 0 => {
                self.sent += count;
                self.unflushed = self.stream.tls().is_some();
            }
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

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.unflushed && !self.gone {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Pending => {}
                Poll::Ready(flushed) => {
                    self.unflushed = false;
                    self.gone = flushed.is_err();
                }
            }
        }
        Poll::Pending
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
