//! What is said at a login ("Start-up" in PostgreSQL's "Message Flow"): the requests for authentication,
//! and the answers, which share one type byte.

use super::reader::Reader;
use super::writer::{counted, message, string};
use super::{Malformed, writer};

/// Type byte of the requests.
pub const REQUEST: u8 = b'R';
/// Type byte of the answers.
pub const ANSWER: u8 = b'p';

/// A request for authentication, or its success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Done.
    Ok,
    /// The password as it is.
    CleartextPassword,
    /// Its hash with this salt.
    Md5Password([u8; 4]),
    /// SASL, by one of these mechanisms.
    Sasl(Mechanisms<'a>),
    /// What the mechanism says next.
    SaslContinue(&'a [u8]),
    /// What it says last.
    SaslFinal(&'a [u8]),
    /// GSSAPI, SSPI, or what nobody knows yet.
    Other(u32),
}

/// Names of mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms<'a>(&'a [u8]);

impl Mechanisms<'_> {
    /// Whether one is among them.
    pub fn offer(&self, name: &str) -> bool {
        self.0.split(|byte| *byte == 0).any(|offered| offered == name.as_bytes())
    }
}

impl<'a> Request<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.oid("authentication")?;
        let data = reader.rest();
        let empty = |request| if data.is_empty() { Ok(request) } else { Err(Malformed::Trailing) };
        match kind {
            0 => empty(Self::Ok),
            3 => empty(Self::CleartextPassword),
            5 => data.try_into().map(Self::Md5Password).map_err(|_| Malformed::Field("salt")),
            10 => Ok(Self::Sasl(Mechanisms(data))),
            11 => Ok(Self::SaslContinue(data)),
            12 => Ok(Self::SaslFinal(data)),
            other => Ok(Self::Other(other)),
        }
    }

    /// Appends it; mechanisms as they were read.
    pub fn encode(self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let salt;
        let (kind, data): (u32, &[u8]) = match self {
            Self::Ok => (0, b""),
            Self::CleartextPassword => (3, b""),
            Self::Md5Password(bytes) => {
                salt = bytes;
                (5, &salt)
            }
            Self::Sasl(Mechanisms(names)) => (10, names),
            Self::SaslContinue(data) => (11, data),
            Self::SaslFinal(data) => (12, data),
            Self::Other(kind) => (kind, b""),
        };
        message(out, REQUEST, |out| {
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(data);
            Ok(())
        })
    }
}

/// Appends a request for SASL by one of these mechanisms.
pub fn sasl<'a>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) -> Result<(), Malformed> {
    let mut list = Vec::new();
    names.into_iter().for_each(|name| string(&mut list, name.as_bytes()));
    list.push(0);
    Request::Sasl(Mechanisms(&list)).encode(out)
}

/// The password, or its hash, in an answer.
pub fn password(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let password = reader.string("password")?;
    reader.end()?;
    Ok(password)
}

/// Mechanism and first message in an answer; a client may send no first message.
pub fn sasl_initial_response(body: &[u8]) -> Result<(&[u8], Option<&[u8]>), Malformed> {
    let mut reader = Reader::new(body);
    let initial = (reader.string("mechanism")?, reader.value("SASL message")?);
    reader.end()?;
    Ok(initial)
}

/// Appends the answer with a password, or its hash.
pub fn password_message(out: &mut Vec<u8>, password: &[u8]) -> Result<(), Malformed> {
    message(out, ANSWER, |out| {
        string(out, password);
        Ok(())
    })
}

/// Appends the answer that begins SASL.
pub fn sasl_begin(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) -> Result<(), Malformed> {
    message(out, ANSWER, |out| {
        string(out, mechanism.as_bytes());
        writer::value(out, Some(data))
    })
}

/// Appends an answer within SASL.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) -> Result<(), Malformed> {
    out.push(ANSWER);
    counted(out, 4, |out| {
        out.extend_from_slice(data);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        for request in [
            Request::Ok,
            Request::CleartextPassword,
            Request::Md5Password([1, 2, 3, 4]),
            Request::SaslContinue(b"r=1"),
            Request::SaslFinal(b"v=1"),
            Request::Other(7),
        ] {
            let mut out = Vec::new();
            request.encode(&mut out).unwrap();
            assert_eq!(Request::decode(&out[5..]), Ok(request));
        }
        let mut out = Vec::new();
        sasl(&mut out, ["SCRAM-SHA-256-PLUS"]).unwrap();
        let Ok(Request::Sasl(offered)) = Request::decode(&out[5..]) else { panic!() };
        assert!(offered.offer("SCRAM-SHA-256-PLUS") && !offered.offer("SCRAM-SHA-256"));
        for malformed in [&b""[..], b"\0\0\0", b"\0\0\0\0x", b"\0\0\0\x05abc", b"\0\0\0\x05abcde"] {
            assert!(Request::decode(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        let mut out = Vec::new();
        password_message(&mut out, b"secret").unwrap();
        assert_eq!(password(&out[5..]), Ok(&b"secret"[..]));
        out.clear();
        sasl_begin(&mut out, "M", b"n,,").unwrap();
        assert_eq!(sasl_initial_response(&out[5..]), Ok((&b"M"[..], Some(&b"n,,"[..]))));
        assert!(password(b"no end").is_err() && password(b"a\0b").is_err());
        assert!(sasl_initial_response(b"M\0\x7f\xff\xff\xffx").is_err());
    }
}
