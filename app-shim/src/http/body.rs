//! A request's body on its way: passed on as it comes, its trailers without the carriers, and noted when
//! it last moved and on whom it waits.

use super::fields::remove_carriers;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// When a request last moved.
pub(super) struct Progress(Mutex<(Instant, Awaited)>);

/// On whom a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The client has not sent its body yet.
    Client,
    /// The origin has not taken the body, or not answered yet.
    Origin,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Instant::now(), Awaited::Origin))))
    }

    fn note(&self, awaited: Awaited, moved: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if moved { Instant::now() } else { state.0 };
        *state = (since, awaited);
    }

    fn state(&self) -> (Instant, Awaited) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome, unless nothing moves for as long as `patience`: a long upload takes its time.
    pub(super) async fn guard<T>(
        &self,
        patience: Duration,
        outcome: impl Future<Output = T>,
    ) -> Result<T, Awaited> {
        tokio::pin!(outcome);
        loop {
            match timeout_at(self.state().0 + patience, &mut outcome).await {
                Ok(outcome) => return Ok(outcome),
                Err(_) => match self.state() {
                    (moved, awaited) if moved + patience <= Instant::now() => return Err(awaited),
                    _ => {}
                },
            }
        }
    }
}

/// The body of a request.
pub(super) struct Passing {
    inner: Body,
    progress: Arc<Progress>,
}

impl Passing {
    pub(super) fn new(inner: Body, progress: Arc<Progress>) -> Self {
        Self { inner, progress }
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            self.progress.note(Awaited::Client, false);
            return Poll::Pending;
        };
        self.progress.note(Awaited::Origin, true);
        Poll::Ready(frame.map(|frame| frame.map(without_carriers)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn without_carriers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            remove_carriers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}
