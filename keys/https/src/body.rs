//! Bodies, read up to a limit into a buffer that is wiped. The buffers of TLS and HTTP below it are
//! not ours to wipe: the programs' allocator does it.

use crate::Problem;
use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

/// How much of a body that is refused is read on, and for how long, so that its sender gets to read why:
/// a connection that is closed over unread data is reset.
const DRAINED: usize = 64 << 20;
const DRAINING: Duration = Duration::from_secs(5);
const FIRST: usize = 16 * 1024;
/// How long a body may take, and how many bytes of it prolong this by a second.
const PATIENCE: Duration = Duration::from_secs(10);
const RATE: usize = 32 * 1024;

/// The whole body, of at most `limit` bytes.
///
/// # Errors
/// [`Problem::TOO_LARGE`], [`Problem::BROKEN_BODY`], [`Problem::SLOW_BODY`].
pub async fn read(body: Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    read_within(body, limit, PATIENCE).await
}

async fn read_within(
    mut body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Zeroizing::new(Vec::with_capacity(announced.clamp(FIRST.min(limit), limit)));
    let start = Instant::now();
    loop {
        let deadline = start + patience + prolonged(whole.len());
        let Ok(frame) = timeout_at(deadline, next(&mut body)).await else { return Err(Problem::SLOW_BODY) };
        let Some(frame) = frame else { return Ok(whole) };
        let Ok(data) = frame.map_err(|_| Problem::BROKEN_BODY)?.into_data() else { continue };
        if whole.len().saturating_add(data.len()) > limit {
            drop(whole);
            discard(body).await;
            return Err(Problem::TOO_LARGE);
        }
        append(&mut whole, &data, limit);
    }
}

/// What a body gained by arriving so far.
fn prolonged(length: usize) -> Duration {
    Duration::from_secs(u64::try_from(length / RATE).unwrap_or(0))
}

/// Reads a body to its end, within bounds, for an answer that does not depend on it.
pub async fn discard(mut body: Body) {
    let mut length = 0_usize;
    let drain = async {
        while let Some(Ok(frame)) = next(&mut body).await
            && length < DRAINED
        {
            length += frame.into_data().map_or(0, |data| data.len());
        }
    };
    // Whoever takes longer gets no answer.
    drop(timeout(DRAINING, drain).await);
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// Appends; where the buffer must grow, the place that it leaves is wiped.
fn append(whole: &mut Zeroizing<Vec<u8>>, data: &[u8], limit: usize) {
    let needed = whole.len() + data.len();
    if needed > whole.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity((needed * 2).min(limit)));
        larger.extend_from_slice(whole);
        *whole = larger;
    }
    whole.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    /// A body that arrives in pieces, without an announced length.
    struct Pieces(Vec<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            std::task::Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[test]
    fn whole_bodies_up_to_the_limit() {
        for length in [0, 1, FIRST, FIRST + 1, 100_000] {
            let content: Vec<u8> = (0..=255).cycle().take(length).collect();
            let read_whole = run(read(Body::from(content.clone()), length));
            assert!(*read_whole.unwrap() == content);
            let pieces = content.chunks(777).rev().map(Bytes::copy_from_slice).collect();
            assert!(*run(read(Body::new(Pieces(pieces)), length)).unwrap() == content, "{length}");
            if length > 0 {
                let refused = run(read(Body::from(content), length - 1));
                assert_eq!(refused.err(), Some(Problem::TOO_LARGE));
            }
        }
    }

    /// A body whose rest never comes.
    struct Stuck(Option<Bytes>);

    impl HttpBody for Stuck {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            match self.0.take() {
                Some(piece) => std::task::Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => std::task::Poll::Pending,
            }
        }
    }

    #[test]
    fn a_body_that_does_not_come_is_not_waited_for() {
        for first in [None, Some(Bytes::from_static(b"{"))] {
            let outcome = run(read_within(Body::new(Stuck(first)), 1000, Duration::from_millis(1)));
            assert_eq!(outcome.err(), Some(Problem::SLOW_BODY));
        }
        assert_eq!(prolonged(RATE - 1), Duration::ZERO);
        assert_eq!(prolonged(64 * RATE), Duration::from_secs(64));
    }
}
