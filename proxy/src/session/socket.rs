//! The two sockets of a session and their buffers. One read and one write each per turn.

use crate::wire::{Malformed, frame};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use trefoil_keys::memory::wipe;
use trefoil_link::{Stream, end_point};
use zeroize::Zeroizing;

/// What is read at once while little comes.
const SMALL: usize = 8 * 1024;
/// What is read at once while much comes.
const LARGE: usize = 64 * 1024;

/// How long the last words may take to be taken.
const FAREWELL_TIME: Duration = Duration::from_secs(5);
/// How long a client is read on that has been told its end.
const LINGER: Duration = Duration::from_secs(1);

/// The end of what is sent: half of a connection is closed by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    /// There is more to come.
    Open,
    /// To be said when nothing waits any more.
    Due,
    /// Said.
    Said,
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
    /// Under TLS, what is sent may still wait.
    unflushed: bool,
    goodbye: Goodbye,
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
            goodbye: Goodbye::Open,
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
            return self.poll_settle(context);
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

    /// When nothing waits: the flush that TLS needs, or the goodbye. `Ready` says that something changed.
    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.gone {
            return Poll::Pending;
        }
        let stream = Pin::new(&mut self.stream);
        let settled = match self.goodbye {
            Goodbye::Due => stream.poll_shutdown(context),
            Goodbye::Open if self.unflushed => stream.poll_flush(context),
            _ => return Poll::Pending,
        };
        self.gone = ready!(settled).is_err();
        self.unflushed = false;
        if self.goodbye == Goodbye::Due {
            self.goodbye = Goodbye::Said;
            return Poll::Ready(());
        }
        if self.gone { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether nobody on a network can read or change what is sent.
    pub(super) fn is_private(&self) -> bool {
        self.stream.is_private()
    }

    /// What SCRAM can be bound to, by the peer's certificate.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        self.stream.peer_certificate().and_then(end_point)
    }

    /// The next whole message, of at most `limit` bytes, as its type and body; none if there will be no more.
    /// It is wiped where it was.
    pub(super) async fn message(
        &mut self,
        limit: usize,
    ) -> Result<Option<(u8, Zeroizing<Vec<u8>>)>, Malformed> {
        loop {
            if let Some(head) = frame::head(self.received())? {
                if head.size > limit {
                    return Err(Malformed::TooLong);
                }
                if let Some(body) = self.received().get(frame::HEAD..head.size) {
                    let body = Zeroizing::new(body.to_vec());
                    self.consume(head.size, true);
                    return Ok(Some((head.tag, body)));
                }
            }
            if self.ended {
                return Ok(None);
            }
            poll_fn(|context| self.poll_receive(context)).await;
        }
    }

    /// Ends when nothing more will be received. What comes meanwhile is kept, and read no further from a
    /// little on.
    pub(super) async fn left(&mut self) {
        let left = poll_fn(|context| {
            while !self.ended && self.received().len() < SMALL {
                ready!(self.poll_receive(context));
            }
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        });
        left.await;
    }

    /// Sends what waits.
    pub(super) async fn flush(&mut self) {
        while self.waiting() > 0 {
            poll_fn(|context| self.poll_send(context)).await;
        }
        self.unflushed = false;
        if !self.gone && self.stream.flush().await.is_err() {
            self.gone = true;
        }
    }

    /// Sends what waits, and then this, of which nothing is kept.
    pub(super) async fn send(&mut self, secret: &[u8]) {
        self.flush().await;
        if !self.gone && !secret.is_empty() {
            self.gone = self.stream.write_all(secret).await.is_err() || self.stream.flush().await.is_err();
        }
    }

    /// Throws away what was to be sent.
    pub(super) fn discard(&mut self) {
        self.outgoing.clear();
        self.sent = 0;
    }

    /// Tells the other end, when it has taken all, that nothing more will come.
    pub(super) fn finish(&mut self) {
        if self.goodbye == Goodbye::Open {
            self.goodbye = Goodbye::Due;
        }
    }

    /// Sends what waits, says goodbye, and reads on for a moment: a connection that is closed over unread
    /// data is reset, and what was said last may be lost. Who does not take it is not waited for.
    pub(super) async fn close(&mut self) {
        self.finish();
        let said = poll_fn(|context| {
            while !self.gone && self.goodbye != Goodbye::Said {
                ready!(self.poll_send(context));
            }
            Poll::Ready(())
        });
        if timeout(FAREWELL_TIME, said).await.is_err() || self.gone {
            return;
        }
        let left = poll_fn(|context| {
            while !self.ended {
                self.consume(self.received().len(), true);
                ready!(self.poll_receive(context));
            }
            Poll::Ready(())
        });
        timeout(LINGER, left).await.ok();
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
