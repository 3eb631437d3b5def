//! What a client says: views of the messages that the session reads, and the messages that it sends
//! in their place.

use super::reader::Reader;
use super::writer::{count, message, string};
use super::{Malformed, writer};

/// The name that no statement, portal or column has: what a refused message asks for upstream.
pub const REFUSED: &[u8] = b"trefoil_refused";

/// `Flush`.
pub const FLUSH: &[u8] = b"H\0\0\0\x04";

/// `CopyDone`.
pub const COPY_DONE: &[u8] = b"c\0\0\0\x04";

/// Appends a CopyFail that says nothing of its reason.
pub fn copy_fail(out: &mut Vec<u8>) -> Result<(), Malformed> {
    message(out, b'f', |out| {
        string(out, REFUSED);
        Ok(())
    })
}

/// A Parse.
#[derive(Clone, Copy)]
pub struct Parse<'a> {
    /// Statement; empty for the unnamed one.
    pub name: &'a [u8],
    /// Text, in the client's encoding.
    pub text: &'a [u8],
    /// Declared parameter types as they stand in the message, four bytes each.
    types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let name = reader.string("statement name")?;
        let text = reader.string("statement text")?;
        let number = reader.count("parameter count")?;
        let types = reader.bytes(number * 4, "parameter types")?;
        reader.end()?;
        Ok(Self { name, text, types })
    }

    /// The declared parameter types; 0 where the client leaves it to the server.
    pub fn types(&self) -> impl ExactSizeIterator<Item = u32> {
        self.types.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}

/// Appends a Parse.
pub fn parse(
    out: &mut Vec<u8>,
    name: &[u8],
    text: &[u8],
    types: impl ExactSizeIterator<Item = u32>,
) -> Result<(), Malformed> {
    message(out, b'P', |out| {
        string(out, name);
        string(out, text);
        count(out, types.len(), "parameter count")?;
        types.for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
        Ok(())
    })
}

/// Appends a Query.
pub fn query(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Malformed> {
    message(out, b'Q', |out| {
        string(out, text);
        Ok(())
    })
}

/// The text of a Query.
pub fn query_text(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.string("statement text")?;
    reader.end()?;
    Ok(text)
}

/// What a Describe or Close names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// Reads the body of a Describe or a Close.
pub fn target(body: &[u8]) -> Result<Target<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let kind = reader.byte("kind")?;
    let name = reader.string("name")?;
    reader.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(Malformed::Field("kind")),
    }
}

/// Reads the portal of an Execute.
pub fn execute(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let portal = reader.string("portal name")?;
    reader.int32("row limit")?;
    reader.end()?;
    Ok(portal)
}

/// A message of a client that must fail at the server and carries nothing of the one it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// For a Query: a syntax error.
    Query,
    /// For a Parse: a syntax error. The statement's name decides whether one is dropped.
    Parse,
    /// For a Bind: of a statement that does not exist.
    Bind,
    /// For a Describe: of a statement that does not exist.
    Describe,
    /// For an Execute: of a portal that does not exist.
    Execute,
    /// For a FunctionCall: of function 0.
    FunctionCall,
}

/// Appends a message that must fail. `name` is the statement's for Parse and the portal's for Bind
/// (a failed message for the unnamed one drops it at the server), else not used.
pub fn stand_in(out: &mut Vec<u8>, kind: StandIn, name: &[u8]) -> Result<(), Malformed> {
    match kind {
        StandIn::Query => query(out, REFUSED),
        StandIn::Parse => parse(out, name, REFUSED, std::iter::empty()),
        StandIn::Bind => message(out, b'B', |out| {
            string(out, name);
            string(out, REFUSED);
            out.extend_from_slice(&[0; 6]);
            Ok(())
        }),
        StandIn::Describe => message(out, b'D', |out| {
            out.push(b'S');
            string(out, REFUSED);
            Ok(())
        }),
        StandIn::Execute => message(out, b'E', |out| {
            string(out, REFUSED);
            out.extend_from_slice(&[0; 4]);
            Ok(())
        }),
        StandIn::FunctionCall => writer::message(out, b'F', |out| {
            out.extend_from_slice(&[0; 10]);
            Ok::<(), Malformed>(())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_parse() {
        let mut out = Vec::new();
        parse(&mut out, b"s", b"SELECT \xff$1", [23, 0].into_iter()).unwrap();
        assert_eq!(out, b"P\0\0\0\x1bs\0SELECT \xff$1\0\0\x02\0\0\0\x17\0\0\0\0");
        let read = Parse::decode(&out[5..]).unwrap();
        assert_eq!((read.name, read.text), (&b"s"[..], &b"SELECT \xff$1"[..]));
        assert_eq!(read.types().collect::<Vec<_>>(), [23, 0]);
    }

    #[test]
    fn truncated_messages_are_errors() {
        let whole = b"s\0SELECT 1\0\0\x01\0\0\0\x17";
        for end in 0..whole.len() {
            assert!(Parse::decode(&whole[..end]).is_err());
        }
        assert_eq!(query_text(b"SELECT 1\0x"), Err(Malformed::Trailing));
        assert_eq!(target(b"Xs\0"), Err(Malformed::Field("kind")));
        assert_eq!(target(b"Ps\0"), Ok(Target::Portal(b"s")));
        assert_eq!(execute(b"p\0\0\0\0"), Err(Malformed::Short("row limit")));
    }
}
