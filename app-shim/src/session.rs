//! One application's connection: start-up, then a relay of both directions in one task with one
//! bounded buffer each way (but for a statement text, which is held until it is complete).

use crate::backend::Backend;
use crate::frontend::{BOUND, Frontend, Need};
use crate::settings::Beginning;
use crate::shares::Shares;
use crate::startup::{self, Fatal, MAX_PACKET, Packet};
use crate::user_from::UserFrom;
use bytes::{Buf as _, BytesMut};
use futures_util::FutureExt as _;
use std::io::{self, ErrorKind};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What every connection needs.
pub(crate) struct Shared {
    /// The proxy, `host:port`.
    pub(crate) proxy: String,
    /// All shares.
    pub(crate) shares: Arc<Shares>,
    /// How the application says whose shares a statement needs.
    pub(crate) user_from: Arc<UserFrom>,
    /// The longest statement, in bytes.
    pub(crate) max_message: usize,
}

const START_UP: Duration = Duration::from_secs(60);
const FAREWELL: Duration = Duration::from_secs(5);
/// Read at once.
const CHUNK: usize = 32 * 1024;

/// Serves one connection until it ends.
pub(crate) async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let outcome = match timeout(START_UP, start(&mut client, shared)).await {
        Ok(started) => started?,
        Err(_) => return Ok(()),
    };
    match outcome {
        Ok(Some((proxy, beginning))) => {
            let (shares, from) = (shared.shares.clone(), shared.user_from.clone());
            let frontend = Frontend::new(shares, from, beginning, shared.max_message);
            Relay::new(client, proxy, frontend).run().await
        }
        Ok(None) => Ok(()),
        Err(fatal) => farewell(&mut client, fatal).await,
    }
}

async fn farewell(client: &mut TcpStream, fatal: Fatal) -> io::Result<()> {
    tracing::info!(%fatal, "connection refused");
    let say = async {
        client.write_all(&fatal.to_bytes()).await?;
        client.shutdown().await?;
        // Closing with unread input would reset the connection and lose the error.
        tokio::io::copy(client, &mut tokio::io::sink()).await
    };
    timeout(FAREWELL, say).await.unwrap_or(Ok(0)).map(|_| ())
}

type Started = Result<Option<(TcpStream, Beginning)>, Fatal>;

/// Reads first packets until one asks for a session; cancel requests are done here.
async fn start(client: &mut TcpStream, shared: &Shared) -> io::Result<Started> {
    loop {
        let length = client.read_u32().await?;
        let Some(length) = usize::try_from(length).ok().filter(|length| (8..=MAX_PACKET).contains(length))
        else {
            return Ok(Err(Fatal::PROTOCOL));
        };
        let mut body = vec![0; length - 4];
        client.read_exact(&mut body).await?;
        let packet = match startup::read(&body, &shared.user_from) {
            Ok(packet) => packet,
            Err(fatal) => return Ok(Err(fatal)),
        };
        if matches!(packet, Packet::Encryption) {
            client.write_all(b"N").await?;
            continue;
        }
        let Ok(mut proxy) = TcpStream::connect(&shared.proxy).await else {
            tracing::warn!("the proxy cannot be reached");
            return Ok(Err(Fatal::NO_PROXY));
        };
        proxy.set_nodelay(true)?;
        if let Packet::Session(packet, beginning) = packet {
            proxy.write_all(&packet).await?;
            return Ok(Ok(Some((proxy, beginning))));
        }
        let length = u32::try_from(length).unwrap_or_default();
        proxy.write_all(&[&length.to_be_bytes(), body.as_slice()].concat()).await?;
        // The server closes once the request is dealt with, and the application waits for that.
        tokio::io::copy(&mut proxy, client).await?;
        return Ok(Ok(None));
    }
}

struct Relay {
    client: TcpStream,
    proxy: TcpStream,
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
}

impl Relay {
    fn new(client: TcpStream, proxy: TcpStream, frontend: Frontend) -> Self {
        Self {
            client,
            proxy,
            frontend,
            backend: Backend::default(),
            from_client: BytesMut::new(),
            to_proxy: BytesMut::new(),
            to_client: BytesMut::new(),
            released: 0,
            whole: true,
            client_ended: false,
            proxy_ended: false,
        }
    }

    async fn run(mut self) -> io::Result<()> {
        // What a panic leaves of the relay is dropped; only the client hears of it.
        match AssertUnwindSafe(self.relay()).catch_unwind().await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(fatal))) => self.fail(fatal).await,
            Ok(Err(error)) => Err(error),
            Err(_) => self.fail(Fatal::DEFECT).await,
        }
    }

    async fn relay(&mut self) -> io::Result<Result<(), Fatal>> {
        let mut told = false;
        loop {
            let need = match self.step()? {
                Ok(need) => need,
                Err(fatal) => return Ok(Err(fatal)),
            };
            if self.proxy_ended && self.released == 0 {
                return Ok(Ok(()));
            }
            if self.client_ended && need == Need::Input && self.to_proxy.is_empty() && !told {
                told = true;
                // An error here means that it has closed already.
                self.proxy.shutdown().await.unwrap_or_default();
            }
            tokio::select! {
                ready = self.client.readable(), if need == Need::Input && !self.client_ended => {
                    ready?;
                    self.client_ended = read(&self.client, &mut self.from_client)?;
                }
                ready = self.proxy.readable(), if self.to_client.len() < BOUND && !self.proxy_ended => {
                    ready?;
                    self.proxy_ended = read(&self.proxy, &mut self.to_client).unwrap_or(true);
                }
                ready = self.proxy.writable(), if !self.to_proxy.is_empty() && !self.proxy_ended => ready?,
                ready = self.client.writable(), if self.released > 0 => ready?,
            }
        }
    }

    /// Does all that can be done without waiting.
    fn step(&mut self) -> io::Result<Result<Need, Fatal>> {
        let arrived = self.to_client.get(self.released..).unwrap_or_default();
        match self.backend.scan(arrived, &mut self.frontend) {
            Ok(scanned) => self.released += scanned,
            Err(fatal) => return Ok(Err(fatal)),
        }
        self.whole = self.backend.between_messages();
        self.released -= write(&self.client, &mut self.to_client, self.released)?;
        loop {
            let need = match self.frontend.process(&mut self.from_client, &mut self.to_proxy) {
                Ok(need) => need,
                Err(fatal) => return Ok(Err(fatal)),
            };
            let all = self.to_proxy.len();
            if write(&self.proxy, &mut self.to_proxy, all).is_err() {
                // What the proxy said last, and why it closed, is still to be read.
                self.to_proxy.clear();
                self.client_ended = true;
            }
            if need != Need::Output || self.to_proxy.len() >= BOUND {
                return Ok(Ok(need));
            }
        }
    }

    async fn fail(mut self, fatal: Fatal) -> io::Result<()> {
        self.to_client.truncate(self.released);
        let rest = self.client.write_all(&self.to_client);
        timeout(FAREWELL, rest).await.unwrap_or(Ok(()))?;
        if self.whole { farewell(&mut self.client, fatal).await } else { Ok(()) }
    }
}

/// Reads what is there; true at the end.
fn read(from: &TcpStream, into: &mut BytesMut) -> io::Result<bool> {
    into.reserve(CHUNK);
    match from.try_read_buf(into) {
        Ok(length) => Ok(length == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes what can be written of the first `length` bytes, and takes it off the buffer.
fn write(to: &TcpStream, from: &mut BytesMut, length: usize) -> io::Result<usize> {
    let mut written = 0;
    while written < length {
        match to.try_write(from.get(..length - written).unwrap_or_default()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                from.advance(count);
                written += count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    if from.is_empty() && from.capacity() > 4 * BOUND {
        *from = BytesMut::new();
    }
    Ok(written)
}
