//! What a client says first, without a type byte: StartupMessage, or one of the requests.

use super::Malformed;
use super::reader::Reader;
use super::writer::{counted, string};

/// Longest first packet, as in PostgreSQL (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX: usize = 10_000;

/// `SSLRequest`, as its code.
const SSL: u32 = 80_877_103;
/// `GSSENCRequest`, as its code.
const GSS: u32 = 80_877_104;
/// `CancelRequest`, as its code.
const CANCEL: u32 = 80_877_102;

/// The size of a first packet, from its length; `None` if that has not arrived.
pub fn size(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Malformed::Length)?;
    if (8..=MAX).contains(&length) { Ok(Some(length)) } else { Err(Malformed::Length) }
}

/// A first packet.
#[derive(Clone, Copy)]
pub enum First<'a> {
    /// Asks for an encrypted connection, in either way.
    Encryption,
    /// Cancels another session's statement. To be forwarded as it is.
    Cancel,
    /// Starts a session.
    Start(Startup<'a>),
}

/// A StartupMessage.
#[derive(Clone, Copy)]
pub struct Startup<'a> {
    version: u32,
    parameters: &'a [u8],
}

impl<'a> First<'a> {
    /// Reads a whole packet, its length included.
    pub fn decode(packet: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(packet);
        reader.int32("length")?;
        let version = reader.oid("protocol version")?;
        match version {
            SSL | GSS => reader.end().map(|()| Self::Encryption),
            CANCEL => Ok(Self::Cancel),
            _ if version >> 16 == 3 => {
                let parameters = reader.rest();
                let startup = Startup { version, parameters };
                let mut names = startup.parameters();
                while names.next_pair()?.is_some() {}
                Ok(Self::Start(startup))
            }
            _ => Err(Malformed::Field("protocol version")),
        }
    }
}

/// Name and value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Reads the parameters in their order.
pub struct Parameters<'a>(Reader<'a>);

impl<'a> Parameters<'a> {
    /// The next name and value; at the end, refuses bytes that are left.
    pub fn next_pair(&mut self) -> Result<Option<Pair<'a>>, Malformed> {
        match self.0.string("startup parameter")? {
            b"" => self.0.end().map(|()| None),
            name => Ok(Some((name, self.0.string("startup parameter value")?))),
        }
    }
}

impl<'a> Startup<'a> {
    /// The parameters.
    pub fn parameters(&self) -> Parameters<'a> {
        Parameters(Reader::new(self.parameters))
    }

    /// Appends a StartupMessage of the same version with these parameters.
    pub fn encode<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        parameters: &[(N, V)],
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        counted(out, 4, |out| {
            out.extend_from_slice(&self.version.to_be_bytes());
            for (name, value) in parameters {
                string(out, name.as_ref());
                string(out, value.as_ref());
            }
            out.push(0);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = b"\0\0\0\x1c\0\x03\0\0user\0\xffx\0database\0d\0\0";

    #[test]
    fn keeps_parameters_in_order() {
        let First::Start(startup) = First::decode(START).unwrap() else { panic!() };
        let mut parameters = startup.parameters();
        let mut pairs = Vec::new();
        while let Some(pair) = parameters.next_pair().unwrap() {
            pairs.push(pair);
        }
        assert_eq!(pairs, [(&b"user"[..], &b"\xffx"[..]), (b"database", b"d")]);
        let mut out = Vec::new();
        startup.encode(&pairs, &mut out).unwrap();
        assert_eq!(out, START);
    }

    #[test]
    fn refuses_what_is_none() {
        for end in 0..START.len() {
            assert!(First::decode(&START[..end]).is_err());
        }
        assert!(size(b"\0\0\0\x07").is_err());
        assert!(size(b"\0\x01\0\0").is_err());
        assert!(size(b"GET ").is_err());
        assert_eq!(size(b"\0\0\0"), Ok(None));
        assert!(matches!(First::decode(b"\0\0\0\x08\x04\xd2\x16\x2f"), Ok(First::Encryption)));
        assert!(First::decode(b"\0\0\0\x08\0\x02\0\0").is_err());
    }
}
