//! What happens before a session: requests for encryption, a cancel request, or the parameters.

use super::carriers::Presented;
use super::fault::Fault;
use super::socket::{Address, Stream};
use crate::error::{ClientError, Code, sqlstate};
use crate::wire::startup::{self, First, Startup};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trefoil_keys::carrier::{Carriers, MalformedCarrier, message, options};
use zeroize::Zeroizing;

/// What a client wants.
pub(super) enum Wish {
    /// It left without a word, or was served.
    Nothing,
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

/// Reads first packets until it is known what the client wants.
pub(super) async fn first(client: &mut TcpStream) -> io::Result<Wish> {
    // A share may be in it.
    let mut packet = Zeroizing::new(Vec::with_capacity(startup::MAX));
    loop {
        packet.clear();
        let size = loop {
            match startup::size(&packet) {
                Ok(Some(size)) if packet.len() >= size => break size,
                Ok(size) => {
                    let missing = size.unwrap_or(4).saturating_sub(packet.len());
                    let missing = u64::try_from(missing).unwrap_or_default();
                    if (&mut *client).take(missing).read_buf(&mut *packet).await? == 0 {
                        return Ok(Wish::Nothing);
                    }
                }
                Err(malformed) => return Ok(Wish::Refused(malformed.into())),
            }
        };
        let Some(whole) = packet.get(..size) else { return Ok(Wish::Nothing) };
        match First::decode(whole) {
            Ok(First::Encryption) => client.write_all(b"N").await?,
            Ok(First::Cancel) => return Ok(Wish::Cancel(whole.to_vec())),
            Ok(First::Start(startup)) => {
                return Ok(begin(&startup).map_or_else(Wish::Refused, Wish::Session));
            }
            Err(malformed) => return Ok(Wish::Refused(malformed.into())),
        }
    }
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
pub(super) async fn cancel(address: &Address, packet: &[u8]) -> io::Result<()> {
    match Stream::connect(address).await? {
        Stream::Tcp(mut stream) => forward(&mut stream, packet).await,
        Stream::Unix(mut stream) => forward(&mut stream, packet).await,
    }
}

async fn forward<S>(stream: &mut S, packet: &[u8]) -> io::Result<()>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream.write_all(packet).await?;
    // The server answers by closing; whatever it says is not for the client.
    stream.read(&mut [0; 1]).await.map(|_| ())
}
