//! What a client's first packet asks for: a session with its parameters, or a cancel request.

use super::carriers::Presented;
use super::fault::Fault;
use super::trail::shown;
use crate::error::{ClientError, Code, sqlstate};
use crate::upstream::{LoginError, Server};
use crate::wire::Malformed;
use crate::wire::startup::{self, First, Startup};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trefoil_keys::carrier::{Carriers, MalformedCarrier, message, options};
use trefoil_link::ConnectError;
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
    Session(Box<Begin>),
    /// What it wants cannot be had.
    Refused(Fault),
}

/// How a session begins.
pub(super) struct Begin {
    /// The user, exactly as it was sent.
    pub(super) user: Vec<u8>,
    /// The database, likewise; the user's, where none was named.
    pub(super) database: Vec<u8>,
    /// What the client calls itself, in part.
    pub(super) application_name: String,
    /// What the client brought.
    pub(super) presented: Presented,
    version: u32,
    /// The other parameters for the server.
    parameters: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Begin {
    /// The StartupMessage for the server, in which this role is the only user.
    pub(super) fn packet(&self, role: &[u8]) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let named = [(&b"user"[..], role), (b"database", &self.database)];
        let others = self.parameters.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let mut packet = Zeroizing::new(Vec::new());
        startup::encode(self.version, named.into_iter().chain(others), &mut packet)?;
        Ok(packet)
    }
}

/// What a whole first packet asks for.
pub(super) fn first(packet: &[u8]) -> Wish {
    match First::decode(packet) {
        Ok(First::Cancel) => Wish::Cancel(packet.to_vec()),
        Ok(First::Unsupported(major, minor)) => Wish::Refused(unsupported(major, minor)),
        Ok(First::Start(startup)) => begin(&startup).map(Box::new).map_or_else(Wish::Refused, Wish::Session),
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
    let (mut user, mut database, mut application_name) = (None, None, None);
    let mut kept = Vec::new();
    let mut parameters = startup.parameters();
    while let Some((name, value)) = parameters.next_pair()? {
        match name {
            // The last one counts, as in PostgreSQL, and none but that one goes on.
            b"user" => {
                user = Some(value);
                continue;
            }
            b"database" => {
                database = Some(value);
                continue;
            }
            b"application_name" => application_name = Some(value),
            b"replication" if !matches!(value, b"false" | b"off" | b"no" | b"0") => {
                return Err(Fault::Fatal(ClientError::refused(
                    Code::Replication,
                    "replication connections are not supported",
                    "Connect to the database directly: protected columns are replicated encrypted.",
                )));
            }
            b"options" => {
                let left = options::take(value, &mut carriers).map_err(malformed)?;
                kept.push((name.to_vec(), Zeroizing::new(left)));
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
        kept.push((name.to_vec(), Zeroizing::new(value.to_vec())));
    }
    let database = database.filter(|name| !name.is_empty()).or(user).unwrap_or_default();
    Ok(Begin {
        user: user.unwrap_or_default().to_vec(),
        database: database.to_vec(),
        application_name: shown(&String::from_utf8_lossy(application_name.unwrap_or_default())).to_owned(),
        presented: Presented::new(extension, carriers),
        version: startup.version(),
        parameters: kept,
    })
}

/// Forwards a cancel request, byte for byte, and waits until the server has closed.
pub(super) async fn cancel(server: &Server, packet: &[u8]) -> Result<(), LoginError> {
    let late = || ConnectError::Io(io::ErrorKind::TimedOut.into());
    let forwarded = async {
        let _turn = CANCELS.acquire().await;
        let mut stream = server.connect().await?;
        let sent = async {
            stream.write_all(packet).await?;
            stream.flush().await?;
            // The server answers by closing; whatever it says is not for the client.
            stream.read(&mut [0; 1]).await.map(drop)
        };
        Ok(sent.await.map_err(ConnectError::Io)?)
    };
    timeout(CANCEL_TIME, forwarded).await.map_err(|_| late())?
}
