//! The relay of one connection's both directions, in one task with one bounded buffer each way (but for a
//! statement text, which is held until it is complete).

use crate::backend::Backend;
use crate::data_port::broken_off;
use crate::frontend::{BOUND, Frontend, Need};
use crate::session::{FAREWELL, farewell};
use crate::socket::Socket;
use crate::startup::Fatal;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use trefoil_link::Stream;

/// A session's two ends, and what is on its way between them.
pub(crate) struct Relay {
    client: Socket,
    proxy: Socket,
    frontend: Frontend,
    backend: Backend,
    from_client: BytesMut,
    to_proxy: BytesMut,
    to_client: BytesMut,
    /// How much of `to_client` may be sent.
    released: usize,
    /// Whether that ends with a whole message.
    whole: bool,
    client_ended: bool,
    proxy_ended: bool,
    /// Nothing can be sent to the proxy.
    proxy_gone: bool,
    /// The proxy has been told that nothing more will come.
    told: bool,
    /// Why nothing more comes from the proxy, where it is not by its leave.
    failure: Option<io::Error>,
}

/// Until when a relay runs, and why it stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The server is ready for the first request.
    LoggedIn,
    /// The connection is over.
    Ended,
}

impl Relay {
    pub(crate) fn new(client: Stream, proxy: Stream, frontend: Frontend) -> Self {
        Self {
            client: Socket::new(client),
            proxy: Socket::new(proxy),
            frontend,
            backend: Backend::default(),
            from_client: BytesMut::new(),
            to_proxy: BytesMut::new(),
            to_client: BytesMut::new(),
            released: 0,
            whole: true,
            client_ended: false,
            proxy_ended: false,
            proxy_gone: false,
            told: false,
            failure: None,
        }
    }

    /// Runs, and may be dropped and run again.
    pub(crate) async fn run(&mut self, until: Until) -> io::Result<Until> {
        // What a panic leaves of the relay is dropped; only the client hears of it.
        let fatal = match AssertUnwindSafe(self.relay(until)).catch_unwind().await {
            Ok(Ok(Ok(reached))) => return Ok(reached),
            Ok(Ok(Err(fatal))) => fatal,
            Ok(Err(error)) => return Err(error),
            Err(_) => Fatal::DEFECT,
        };
        self.fail(fatal).await?;
        Ok(Until::Ended)
    }

    async fn relay(&mut self, until: Until) -> io::Result<Result<Until, Fatal>> {
        loop {
            let need = match self.treat() {
                Ok(need) => need,
                Err(fatal) => return Ok(Err(fatal)),
            };
            if self.client_ended && !self.backend.has_started() {
                // It has left before it was logged in: nobody is to wait for it.
                return Ok(Ok(Until::Ended));
            }
            if !self.backend.has_started() && need != Need::Input && self.from_client.len() >= BOUND {
                // No login needs that much, and behind it its leave could not be seen.
                return Ok(Err(Fatal::PROTOCOL));
            }
            if self.proxy_ended && self.released == 0 {
                if let Some(error) = self.failure.take().filter(|_| !self.backend.has_started()) {
                    return Ok(Err(broken_off(&error)));
                }
                // A client that does not read is not waited for.
                let close = poll_fn(|context| self.client.poll_shutdown(context));
                return timeout(FAREWELL, close).await.unwrap_or(Ok(())).map(|()| Ok(Until::Ended));
            }
            if until == Until::LoggedIn && self.backend.has_started() {
                self.forget_login();
                return Ok(Ok(until));
            }
            poll_fn(|context| self.poll_turn(context, need)).await?;
        }
    }

    /// A password may stand in what was sent and received: buffers that were used are freed, and so wiped.
    fn forget_login(&mut self) {
        for buffer in [&mut self.from_client, &mut self.to_proxy] {
            *buffer = BytesMut::from(buffer.as_ref());
        }
    }

    /// Does all that can be done without the sockets.
    fn treat(&mut self) -> Result<Need, Fatal> {
        let arrived = self.to_client.get(self.released..).unwrap_or_default();
        self.released += self.backend.scan(arrived, &mut self.frontend)?;
        self.whole = self.backend.between_messages();
        self.frontend.process(&mut self.from_client, &mut self.to_proxy)
    }

    /// Lets each socket do what it can, once. Ready where something has changed.
    fn poll_turn(&mut self, context: &mut Context<'_>, need: Need) -> Poll<io::Result<()>> {
        let mut changed = self.poll_proxy(context, need).is_ready();
        if let Poll::Ready(sent) = self.client.poll_send(context, &mut self.to_client, self.released) {
            self.released -= sent?;
            changed = true;
        }
        // Before the login what comes too early waits, and whether the client leaves is seen all the same.
        let early = !self.backend.has_started() && self.from_client.len() < BOUND;
        if (need == Need::Input || early)
            && !self.client_ended
            && let Poll::Ready(more) = self.client.poll_receive(context, &mut self.from_client)
        {
            self.client_ended = !more?;
            changed = true;
        }
        if self.to_client.len() < BOUND
            && !self.proxy_ended
            && let Poll::Ready(more) = self.proxy.poll_receive(context, &mut self.to_client)
        {
            match more {
                Ok(more) => self.proxy_ended = !more,
                Err(error) => {
                    self.proxy_ended = true;
                    self.failure = Some(error);
                }
            }
            changed = true;
        }
        if changed { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// What goes to the proxy, and at last that nothing more does.
    fn poll_proxy(&mut self, context: &mut Context<'_>, need: Need) -> Poll<()> {
        if self.proxy_ended || self.proxy_gone {
            return Poll::Pending;
        }
        let all = self.to_proxy.len();
        if all == 0 && self.client_ended && need == Need::Input {
            if !self.told && self.proxy.poll_shutdown(context).is_ready() {
                // An error means that it has closed already.
                self.told = true;
            }
            return Poll::Pending;
        }
        self.proxy.poll_send(context, &mut self.to_proxy, all).map(|sent| {
            if sent.is_err() {
                // What the proxy said last, and why it closed, is still to be read.
                self.to_proxy.clear();
                self.client_ended = true;
                self.proxy_gone = true;
            }
        })
    }

    /// Ends the connection with this error.
    pub(crate) async fn fail(&mut self, fatal: Fatal) -> io::Result<()> {
        self.to_client.truncate(self.released);
        let client = self.client.stream();
        timeout(FAREWELL, client.write_all(&self.to_client)).await.unwrap_or(Ok(()))?;
        if self.whole { farewell(client, fatal).await } else { Ok(()) }
    }
}
