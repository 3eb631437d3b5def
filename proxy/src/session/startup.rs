//! What a client's first packet asks for: a session with its parameters, or a cancel request.

use super::Upstream;
use super::carriers::Presented;
use super::fault::Fault;
use crate::error::{ClientError, Code, sqlstate};
use crate::wire::startup::{First, Startup};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trefoil_keys::carrier::{Carriers, MalformedCarrier, message, options};
use trefoil_link::{ConnectError, connect};
use zeroize::Zeroizing;

/// How long a cancel request may take to reach the server.
const CANCEL_TIME: Duration = Duration::from_secs(10);
/// How many are on their way at a time: nobody has to log in for one.
static CANCELS: Semaphore = Semaphore::const_new(32);

/// What a client wants.
pub(super) enum Wish {
    /// Another session's statement cancelled: this packet forwarded.
    Cancel(Vec<u8>),
    /// A session.
    Session(Begin),
    /// What it wants cannot be had.
    Refused(Fault),
}

/// How a session begins.
pub(super) struct Begin {
    /// The StartupMessage for the server.
    pub(super) packet: Vec<u8>,
    /// The database.
    pub(super) database: String,
    /// What the client brought.
    pub(super) presented: Presented,
}

/// What a whole first packet asks for.
pub(super) fn first(packet: &[u8]) -> Wish {
    match First::decode(packet) {
        Ok(First::Cancel) => Wish::Cancel(packet.to_vec()),
        Ok(First::Unsupported(major, minor)) => Wish::Refused(unsupported(major, minor)),
        Ok(First::Start(startup)) => begin(&startup).map_or_else(Wish::Refused, Wish::Session),
        Err(malformed) => Wish::Refused(malformed.into()),
    }
}

/// In PostgreSQL's words.
fn unsupported(major: u32, minor: u32) -> Fault {
    let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
    Fault::Fatal(ClientError::new(sqlstate::FEATURE_NOT_SUPPORTED, message, ""))
}

fn begin(startup: &Startup<'_>) -> Result<Begin, Fault> {
    let malformed =
        |error: MalformedCarrier| ClientError::new(sqlstate::INVALID_AUTHORIZATION, error.to_string(), "");
    let mut carriers = Carriers::default();
    let mut extension = false;
    let (mut user, mut database) = (None, None);
    let mut kept = Vec::new();
    let mut parameters = startup.parameters();
    while let Some((name, value)) = parameters.next_pair()? {
        match name {
            b"user" => user = Some(value),
            b"database" => database = Some(value),
            b"replication" if !matches!(value, b"false" | b"off" | b"no" | b"0") => {
                return Err(Fault::Fatal(ClientError::refused(
                    Code::Replication,
                    "replication connections are not supported",
                    "Connect to the database directly: protected columns are replicated encrypted.",
                )));
            }
            b"options" => {
                let left = options::take(value, &mut carriers).map_err(malformed)?;
                kept.push((name, Zeroizing::new(left)));
                continue;
            }
            name if name == message::PARAMETER.as_bytes() => {
                if value != message::VERSION.as_bytes() {
                    return Err(Fault::Fatal(ClientError::new(
                        sqlstate::PROTOCOL_VIOLATION,
                        "unknown version of the protocol extension trefoil",
                        "Use a shim and a proxy of the same version.",
                    )));
                }
                extension = true;
                continue;
            }
            name => {
                if let Ok(name) = str::from_utf8(name)
                    && carriers.set(name, value).map_err(malformed)?
                {
                    continue;
                }
            }
        }
        kept.push((name, Zeroizing::new(value.to_vec())));
    }
    let mut packet = Vec::new();
    startup.encode(&kept, &mut packet)?;
    let database = database.filter(|name| !name.is_empty()).or(user).unwrap_or_default();
    Ok(Begin {
        packet,
        database: String::from_utf8_lossy(database).into_owned(),
        presented: Presented::new(extension, carriers),
    })
}

/// Forwards a cancel request, byte for byte, and waits until the server has closed.
pub(super) async fn cancel(upstream: &Upstream, packet: &[u8]) -> Result<(), ConnectError> {
    let late = || ConnectError::Io(io::ErrorKind::TimedOut.into());
    let forwarded = async {
        let _turn = CANCELS.acquire().await;
        let mut stream = connect(&upstream.address, upstream.tls.as_ref()).await?;
        stream.write_all(packet).await?;
        stream.flush().await?;
        // The server answers by closing; whatever it says is not for the client.
        Ok(stream.read(&mut [0; 1]).await.map(drop)?)
    };
    timeout(CANCEL_TIME, forwarded).await.map_err(|_| late())?
}
