//! A frontend that sees raw messages: for pipelines, half-read replies, and byte for byte comparison.

use crate::endpoint::Endpoint;
use crate::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One backend message.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type byte.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", char::from(self.tag), self.body.escape_ascii())
    }
}

impl Frame {
    /// In a RowDescription, blanks out what differs from database to database: the OIDs of tables, and of
    /// types that are not PostgreSQL's own.
    pub fn hide_own_oids(&mut self) {
        const FIRST_OWN: [u8; 4] = 16_384_u32.to_be_bytes();
        let mut at = 2;
        while let Some(end) = self.body.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) {
            let fields = at + end + 1;
            if let Some(table) = self.body.get_mut(fields..fields + 4) {
                table.fill(0);
            }
            if let Some(type_oid) = self.body.get_mut(fields + 6..fields + 10)
                && *type_oid >= FIRST_OWN[..]
            {
                type_oid.fill(0xff);
            }
            at = fields + 18;
        }
    }
    /// A field of an ErrorResponse or NoticeResponse, by its code (`C` SQLSTATE, `M` message, …).
    pub fn field(&self, code: u8) -> Option<String> {
        let mut fields = self.body.split(|byte| *byte == 0);
        let field = fields.find(|field| field.first() == Some(&code))?;
        Some(String::from_utf8_lossy(field.get(1..)?).into_owned())
    }

    /// Whether it is an error after which the server closes the connection.
    fn ends_the_session(&self) -> bool {
        self.tag == b'E'
            && self.field(b'S').is_some_and(|severity| severity == "FATAL" || severity == "PANIC")
    }

    /// The columns of a DataRow.
    pub fn columns(&self) -> Vec<Option<Vec<u8>>> {
        let mut columns = Vec::new();
        let mut rest = self.body.get(2..).unwrap_or_default();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            columns.push(length.and_then(|length| tail.get(..length)).map(<[u8]>::to_vec));
            rest = tail.get(length.unwrap_or(0)..).unwrap_or_default();
        }
        columns
    }
}

/// The SQLSTATE of the first ErrorResponse among the messages.
pub fn sqlstate(frames: &[Frame]) -> Option<String> {
    frames.iter().find(|frame| frame.tag == b'E').and_then(|frame| frame.field(b'C'))
}

/// A connection. It reads nothing that nobody asks for.
pub struct Frontend {
    input: BufReader<TcpStream>,
    output: TcpStream,
    /// Of the server process, for a cancel request.
    pub process_id: i32,
    /// The key that goes with it.
    pub secret_key: i32,
    /// The transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    pub status: u8,
}

impl Frontend {
    /// Connects and authenticates; `parameters` are added to the startup message.
    pub fn connect(endpoint: &Endpoint, parameters: &[(&str, &str)]) -> Result<Self> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let input = BufReader::new(stream.try_clone()?);
        let mut connection = Self { input, output: stream, process_id: 0, secret_key: 0, status: 0 };
        let named = [("user", endpoint.user.as_str()), ("database", endpoint.database.as_str())];
        let all: Vec<_> = named.iter().chain(parameters).copied().collect();
        connection.send(|buffer| frontend::startup_message(all, buffer))?;
        connection.authenticate(&endpoint.password)?;
        for frame in connection.until_ready()? {
            if let (b'K', Some((process, secret))) = (frame.tag, frame.body.split_first_chunk::<4>()) {
                connection.process_id = i32::from_be_bytes(*process);
                connection.secret_key = secret.try_into().map(i32::from_be_bytes).unwrap_or_default();
            }
            if frame.tag == b'E' {
                return Err(Error::new(format!("startup: {}", frame.field(b'M').unwrap_or_default())));
            }
        }
        Ok(connection)
    }

    fn authenticate(&mut self, password: &str) -> Result<()> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let frame = self.read()?;
            if frame.tag == b'E' {
                return Err(Error::new(format!("startup: {}", frame.field(b'M').unwrap_or_default())));
            }
            let (kind, data) = match (frame.tag, frame.body.split_first_chunk::<4>()) {
                (b'R', Some((kind, data))) => (i32::from_be_bytes(*kind), data),
                _ => return Err(Error::new(format!("startup: unexpected {frame:?}"))),
            };
            match kind {
                0 => return Ok(()),
                3 => self.send(|buffer| frontend::password_message(password.as_bytes(), buffer))?,
                10 => {
                    let first = scram.message().to_vec();
                    self.send(|buffer| frontend::sasl_initial_response("SCRAM-SHA-256", &first, buffer))?;
                }
                11 => {
                    scram.update(data)?;
                    let second = scram.message().to_vec();
                    self.send(|buffer| frontend::sasl_response(&second, buffer))?;
                }
                12 => scram.finish(data)?,
                other => {
                    return Err(Error::new(format!("startup: authentication {other} is not spoken here")));
                }
            }
        }
    }

    /// Sends what `write` puts into the buffer.
    pub fn send<E: Into<Error>>(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> std::result::Result<(), E>,
    ) -> Result<()> {
        let mut buffer = BytesMut::new();
        write(&mut buffer).map_err(Into::into)?;
        self.send_bytes(&buffer)
    }

    /// Sends these bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.output.write_all(bytes)?)
    }

    /// A second handle for sending, for another thread.
    pub fn sender(&self) -> Result<TcpStream> {
        Ok(self.output.try_clone()?)
    }

    /// The next message.
    pub fn read(&mut self) -> Result<Frame> {
        let mut head = [0; 5];
        self.input.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length =
            u32::from_be_bytes(length).checked_sub(4).and_then(|length| usize::try_from(length).ok());
        let mut body = vec![0; length.ok_or_else(|| Error::new("a message shorter than its length"))?];
        self.input.read_exact(&mut body)?;
        if let (b'Z', Some(status)) = (tag, body.first()) {
            self.status = *status;
        }
        Ok(Frame { tag, body })
    }

    /// All messages up to ReadyForQuery, which is the last one returned, or to a FATAL error that ends
    /// the session. A COPY that asks for data fails.
    pub fn until_ready(&mut self) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|frame: &Frame| frame.tag != b'Z' && !frame.ends_the_session()) {
            frames.push(self.read()?);
            if frames.last().is_some_and(|frame| frame.tag == b'G') {
                self.send(|buffer| frontend::copy_fail("no data", buffer))?;
            }
        }
        Ok(frames)
    }

    /// A simple query, with all messages that answer it.
    pub fn query(&mut self, text: &str) -> Result<Vec<Frame>> {
        self.send(|buffer| frontend::query(text, buffer))?;
        self.until_ready()
    }

    /// Parse, Describe, Bind, Describe, Execute, Sync of an unnamed statement, with all messages that
    /// answer them; parameters in text, results in text or binary.
    pub fn extended(
        &mut self,
        text: &str,
        parameters: &[Option<&[u8]>],
        binary_results: bool,
    ) -> Result<Vec<Frame>> {
        self.send(|buffer| {
            frontend::parse("", text, [], buffer)?;
            frontend::describe(b'S', "", buffer)?;
            bind("", "", parameters, false, binary_results, buffer)?;
            frontend::describe(b'P', "", buffer)?;
            frontend::execute("", 0, buffer)?;
            frontend::sync(buffer);
            Ok::<_, Error>(())
        })?;
        self.until_ready()
    }
}

/// Writes a Bind with all parameters in one format and all results in one.
pub fn bind(
    portal: &str,
    statement: &str,
    parameters: &[Option<&[u8]>],
    binary_parameters: bool,
    binary_results: bool,
    buffer: &mut BytesMut,
) -> Result<()> {
    use postgres_protocol::IsNull;
    let written = frontend::bind(
        portal,
        statement,
        [i16::from(binary_parameters)],
        parameters,
        |parameter, buffer| match parameter {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        },
        [i16::from(binary_results)],
        buffer,
    );
    written.map_err(|_| Error::new("a Bind that is too long"))
}
