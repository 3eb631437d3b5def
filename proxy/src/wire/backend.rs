//! What the server says: views of what the session reads, and the messages that the proxy says
//! itself.

use super::reader::Reader;
use super::writer::{message, string};
use super::{Malformed, writer};

/// Severity of an ErrorResponse, as its field `V` says it in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
}

impl Severity {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Error => b"ERROR",
            Self::Fatal => b"FATAL",
        }
    }
}

/// Whether an ErrorResponse's body ends the session.
pub fn severity(body: &[u8]) -> Result<Severity, Malformed> {
    let mut reader = Reader::new(body);
    loop {
        match reader.byte("error field")? {
            0 => return Ok(Severity::Error),
            field => {
                let value = reader.string("error field")?;
                if field == b'V' {
                    let fatal = matches!(value, b"FATAL" | b"PANIC");
                    return Ok(if fatal { Severity::Fatal } else { Severity::Error });
                }
            }
        }
    }
}

/// A field of an ErrorResponse's or a NoticeResponse's body, by its code.
pub fn error_field(body: &[u8], code: u8) -> Option<&[u8]> {
    let mut fields = body.split(|byte| *byte == 0);
    fields.find_map(|field| field.split_first().filter(|(found, _)| **found == code)).map(|(_, value)| value)
}

/// What a client is told of a failure.
#[derive(Clone, Copy)]
pub struct Failure<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// SQLSTATE.
    pub code: &'a str,
    /// Message.
    pub message: &'a str,
    /// Detail; none if empty.
    pub detail: &'a str,
    /// Hint; none if empty.
    pub hint: &'a str,
    /// Position in the statement, in characters from 1.
    pub position: Option<usize>,
    /// PostgreSQL's routine that reports such an error, by which some drivers know it; none if empty.
    pub routine: &'a str,
}

/// Appends an ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, failure: &Failure<'_>) -> Result<(), Malformed> {
    message(out, b'E', |out| {
        let mut field = |field: u8, value: &[u8]| {
            out.push(field);
            // A NUL would end the field: names that come from elsewhere are cut there.
            string(out, value.split(|byte| *byte == 0).next().unwrap_or_default());
        };
        field(b'S', failure.severity.name());
        field(b'V', failure.severity.name());
        field(b'C', failure.code.as_bytes());
        field(b'M', failure.message.as_bytes());
        if !failure.detail.is_empty() {
            field(b'D', failure.detail.as_bytes());
        }
        if !failure.hint.is_empty() {
            field(b'H', failure.hint.as_bytes());
        }
        if let Some(position) = failure.position {
            field(b'P', position.to_string().as_bytes());
        }
        if !failure.routine.is_empty() {
            field(b'R', failure.routine.as_bytes());
        }
        out.push(0);
        Ok(())
    })
}

/// Name and value of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let pair = (reader.string("parameter name")?, reader.string("parameter value")?);
    reader.end()?;
    Ok(pair)
}

/// Where the transaction stands, as ReadyForQuery says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// None is open.
    Idle,
    /// One is open.
    Open,
    /// One has failed and waits for its end.
    Failed,
}

/// Reads a ReadyForQuery.
pub fn ready_for_query(body: &[u8]) -> Result<Transaction, Malformed> {
    match body {
        b"I" => Ok(Transaction::Idle),
        b"T" => Ok(Transaction::Open),
        b"E" => Ok(Transaction::Failed),
        _ => Err(Malformed::Field("transaction status")),
    }
}

/// The tag of a CommandComplete.
pub fn command_tag(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let tag = reader.string("command tag")?;
    reader.end()?;
    Ok(tag)
}

/// How many rows a command tag speaks of, where it does.
pub fn tag_rows(tag: &[u8]) -> Option<u64> {
    let last = tag.rsplit(|byte| *byte == b' ').next()?;
    str::from_utf8(last).ok()?.parse().ok()
}

/// Appends a ParameterDescription.
pub fn parameter_description(
    out: &mut Vec<u8>,
    types: impl ExactSizeIterator<Item = u32>,
) -> Result<(), Malformed> {
    message(out, b't', |out| {
        writer::count(out, types.len(), "parameter count")?;
        types.for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgwire::messages::{DecodeContext, PgWireBackendMessage, ProtocolVersion};

    #[test]
    fn writes_errors_that_others_read() {
        let failure = Failure {
            detail: "",
            routine: "",
            severity: Severity::Fatal,
            code: "08P01",
            message: "wrong\0hidden",
            hint: "",
            position: Some(7),
        };
        let mut out = Vec::new();
        error_response(&mut out, &failure).unwrap();
        assert_eq!(out, b"E\0\0\0\x24SFATAL\0VFATAL\0C08P01\0Mwrong\0P7\0\0");
        assert_eq!(severity(&out[5..]), Ok(Severity::Fatal));
        let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        let read = PgWireBackendMessage::decode(&mut (&out[..]).into(), &context).unwrap().unwrap();
        assert!(matches!(read, PgWireBackendMessage::ErrorResponse(read) if read.fields.len() == 5));
    }

    #[test]
    fn reads_replies() {
        assert_eq!(severity(b"SFEHLER\0VERROR\0\0"), Ok(Severity::Error));
        assert_eq!(error_field(b"SFEHLER\0C28000\0\0", b'C'), Some(&b"28000"[..]));
        assert_eq!(error_field(b"SFEHLER\0\0", b'C'), None);
        assert_eq!(severity(b"SFEHLER\0"), Err(Malformed::Short("error field")));
        assert_eq!(parameter_status(b"TimeZone\0UTC\0"), Ok((&b"TimeZone"[..], &b"UTC"[..])));
        assert_eq!(ready_for_query(b"T"), Ok(Transaction::Open));
        assert!(ready_for_query(b"").is_err());
        assert_eq!(command_tag(b"INSERT 0 1\0"), Ok(&b"INSERT 0 1"[..]));
        assert_eq!([&b"INSERT 0 12"[..], b"SELECT 3", b"BEGIN"].map(tag_rows), [Some(12), Some(3), None]);
    }
}
