//! One application's connection: start-up, then the relay. Sessions in clear come from this machine.

use crate::data_port::{self, DataPort};
use crate::frontend::Frontend;
use crate::relay::{Relay, Until};
use crate::settings::Beginning;
use crate::shares::Shares;
use crate::startup::{self, Fatal, Packet};
use crate::user_from::UserFrom;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use trefoil_link::{AcceptError, Accepted, Claim, ServedTls, Stream, accept};

/// What every connection needs.
pub(crate) struct Shared {
    /// TLS as it is offered.
    pub(crate) tls: Option<Arc<ServedTls>>,
    /// Whether over TCP a client certificate is required, which only TLS can show.
    pub(crate) clients_must: bool,
    /// From the connection to the end of the login.
    pub(crate) authentication: Duration,
    /// The proxy.
    pub(crate) proxy: Arc<DataPort>,
    /// All shares.
    pub(crate) shares: Arc<Shares>,
    /// How the application says whose shares a statement needs.
    pub(crate) user_from: Arc<UserFrom>,
    /// The longest statement, in bytes.
    pub(crate) max_message: usize,
}

/// How long the last words may take to be taken.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Why a connection broke off, or got no further than its first bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// A socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No TLS, or no first packet.
    #[error("{0}")]
    Accept(#[from] AcceptError),
    /// The application is to be told this.
    #[error("{0}")]
    Fatal(#[from] Fatal),
}

/// Serves one connection until the server has let the application in; then it keeps its place. None if it ends
/// before.
pub(crate) async fn log_in(
    stream: Stream,
    shared: &Shared,
    claim: &Claim,
) -> Result<Option<Relay>, SessionError> {
    let end = Instant::now() + shared.authentication;
    let begun = match timeout_at(end, begin(stream, shared, claim)).await {
        Ok(begun) => begun?,
        Err(_) => return Ok(None),
    };
    let Some((client, proxy, beginning)) = begun else { return Ok(None) };
    let (shares, from) = (shared.shares.clone(), shared.user_from.clone());
    let frontend = Frontend::new(shares, from, beginning, shared.max_message);
    let mut relay = Relay::new(client, proxy, frontend);
    let ended = match timeout_at(end, relay.run(Until::LoggedIn)).await {
        Ok(until) => until? == Until::Ended,
        Err(_) => {
            relay.fail(Fatal::TOO_SLOW).await?;
            return Ok(None);
        }
    };
    if ended {
        return Ok(None);
    }
    if !claim.keep() {
        relay.fail(Fatal::TOO_MANY).await?;
        return Ok(None);
    }
    Ok(Some(relay))
}

/// Tells an application why its connection ends.
pub(crate) async fn farewell(client: &mut Stream, fatal: Fatal) -> io::Result<()> {
    tracing::info!(%fatal, "connection refused");
    let say = async {
        client.write_all(&fatal.to_bytes()).await?;
        client.shutdown().await?;
        // Closing with unread input would reset the connection and lose the error.
        tokio::io::copy(client, &mut tokio::io::sink()).await
    };
    timeout(FAREWELL, say).await.unwrap_or(Ok(0)).map(|_| ())
}

type Begun = Option<(Stream, Stream, Beginning)>;

/// Reads what the client wants, and asks the proxy for a session; cancel requests are done here.
async fn begin(stream: Stream, shared: &Shared, claim: &Claim) -> Result<Begun, SessionError> {
    let offer = shared.tls.as_ref().map(|tls| tls.offer());
    let Accepted { mut stream, packet, .. } = match accept(stream, offer).await {
        Ok(accepted) => accepted,
        Err(AcceptError::Length(mut stream)) => {
            farewell(&mut stream, Fatal::PROTOCOL).await?;
            return Ok(None);
        }
        // It left without a word.
        Err(AcceptError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match open(&mut stream, &packet, shared, claim).await {
        Ok(begun) => Ok(begun.map(|(proxy, beginning)| (stream, proxy, beginning))),
        Err(SessionError::Fatal(fatal)) => {
            farewell(&mut stream, fatal).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn open(
    client: &mut Stream,
    packet: &[u8],
    shared: &Shared,
    claim: &Claim,
) -> Result<Option<(Stream, Beginning)>, SessionError> {
    let body = packet.get(4..).unwrap_or_default();
    let wish = startup::read(body, &shared.user_from)?;
    if matches!(wish, Packet::Session(..)) {
        admit(client, shared, claim)?;
    }
    let mut proxy = shared.proxy.connect().await?;
    let packet = match &wish {
        Packet::Session(packet, _) => packet.as_slice(),
        Packet::Cancel => packet,
    };
    let said = async {
        proxy.write_all(packet).await?;
        proxy.flush().await
    };
    said.await.map_err(|error| data_port::broken_off(&error))?;
    match wish {
        Packet::Session(_, beginning) => Ok(Some((proxy, beginning))),
        Packet::Cancel => {
            // The server closes once the request is dealt with, and the application waits for that.
            drop(proxy.read(&mut [0]).await);
            client.shutdown().await?;
            Ok(None)
        }
    }
}

/// Whether a session may begin. Cancel requests always may: clients of before PostgreSQL 17 send them in
/// clear, and without a certificate.
fn admit(client: &Stream, shared: &Shared, claim: &Claim) -> Result<(), Fatal> {
    match client {
        _ if !client.is_private() => Err(Fatal::IN_CLEAR),
        Stream::Tcp(_) if shared.clients_must => Err(Fatal::NO_CERTIFICATE),
        _ if !claim.has_room() => Err(Fatal::TOO_MANY),
        _ => Ok(()),
    }
}
