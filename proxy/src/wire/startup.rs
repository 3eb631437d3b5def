//! The first packet, without a type byte, of a client that asks for no (further) encryption: a
//! StartupMessage or a CancelRequest.

use super::Malformed;
use super::reader::Reader;
use super::writer::{counted, string};

/// `CancelRequest`, as its code.
const CANCEL: u32 = 80_877_102;
/// Length of the process identifier in a CancelRequest, before the key.
const PROCESS_ID: usize = 4;
/// How long the key may be: four bytes in protocol 3.0, up to 256 in 3.2.
const CANCEL_KEY: std::ops::RangeInclusive<usize> = 1..=256;

/// A first packet.
#[derive(Clone, Copy)]
pub enum First<'a> {
    /// Cancels another session's statement. To be forwarded as it is.
    Cancel,
    /// Of a protocol that is not spoken: its major and minor version.
    Unsupported(u32, u32),
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
            CANCEL if CANCEL_KEY.contains(&reader.rest().len().saturating_sub(PROCESS_ID)) => {
                Ok(Self::Cancel)
            }
            CANCEL => Err(Malformed::Length),
            _ if version >> 16 == 3 => {
                let parameters = reader.rest();
                let startup = Startup { version, parameters };
                let mut names = startup.parameters();
                while names.next_pair()?.is_some() {}
                Ok(Self::Start(startup))
            }
            _ => Ok(Self::Unsupported(version >> 16, version & 0xffff)),
        }
    }
}

/// Name and value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

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

    /// The protocol's version: the major one above the minor one.
    pub fn version(&self) -> u32 {
        self.version
    }
}

/// Appends a StartupMessage of this version with these parameters.
pub fn encode<'a>(
    version: u32,
    parameters: impl IntoIterator<Item = Pair<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    counted(out, 4, |out| {
        out.extend_from_slice(&version.to_be_bytes());
        for (name, value) in parameters {
            string(out, name);
            string(out, value);
        }
        out.push(0);
        Ok(())
    })
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
        encode(startup.version(), pairs, &mut out).unwrap();
        assert_eq!(out, START);
    }

    #[test]
    fn refuses_what_is_none() {
        for end in 0..START.len() {
            assert!(First::decode(&START[..end]).is_err());
        }
        let version = |packet: &[u8]| match First::decode(packet).unwrap() {
            First::Unsupported(major, minor) => (major, minor),
            _ => panic!("it is spoken"),
        };
        assert_eq!(version(b"\0\0\0\x08\x04\xd2\x16\x2f"), (1234, 5679));
        assert_eq!(version(b"\0\0\0\x08\0\x02\0\0"), (2, 0));
    }

    #[test]
    fn cancels_with_a_key_of_any_length_that_there_is() {
        for (length, good) in [(0, false), (4, true), (32, true), (256, true), (257, false)] {
            let size = u32::try_from(12 + length).unwrap().to_be_bytes();
            let packet = [&size[..], &CANCEL.to_be_bytes(), &[0; 4], &vec![7; length]].concat();
            assert_eq!(matches!(First::decode(&packet), Ok(First::Cancel)), good, "{length}");
        }
    }
}
