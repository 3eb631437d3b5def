//! Bind, the message with the parameters.

use super::Malformed;
use super::reader::Reader;

/// A format code: how a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// In the type's binary form.
    Binary,
}

impl Format {
    /// The code on the wire.
    pub fn code(self) -> [u8; 2] {
        match self {
            Self::Text => [0, 0],
            Self::Binary => [0, 1],
        }
    }
}

/// Format codes as messages carry them: none (all text), one for all, or one each.
#[derive(Clone, Copy, Debug)]
pub struct Formats<'a>(&'a [[u8; 2]]);

impl<'a> Formats<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let number = reader.count("format count")?;
        let codes = reader.bytes(number * 2, "format codes")?.as_chunks::<2>().0;
        Ok(Self(codes))
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: all text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The codes as they stand.
    pub fn codes(&self) -> impl Iterator<Item = [u8; 2]> {
        self.0.iter().copied()
    }

    /// The format of the value at `index`.
    pub fn of(&self, index: usize) -> Result<Format, Malformed> {
        let code = match self.0 {
            [] => return Ok(Format::Text),
            [all] => all,
            each => each.get(index).ok_or(Malformed::Field("format count"))?,
        };
        match code {
            [0, 0] => Ok(Format::Text),
            [0, 1] => Ok(Format::Binary),
            _ => Err(Malformed::Field("format code")),
        }
    }
}

/// The two names with which a Bind begins; `None` if they have not arrived whole.
pub fn names(prefix: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(prefix);
    Some((reader.string("portal name").ok()?, reader.string("statement name").ok()?))
}

/// A Bind.
#[derive(Clone, Copy)]
pub struct Bind<'a> {
    /// Portal; empty for the unnamed one.
    pub portal: &'a [u8],
    /// Statement; empty for the unnamed one.
    pub statement: &'a [u8],
    /// The parameters' formats.
    pub formats: Formats<'a>,
    /// How many parameters there are.
    pub number: usize,
    values: Reader<'a>,
    /// The formats asked for the result's columns.
    pub results: Formats<'a>,
}

impl<'a> Bind<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let portal = reader.string("portal name")?;
        let statement = reader.string("statement name")?;
        let formats = Formats::read(&mut reader)?;
        let number = reader.count("parameter count")?;
        let values = reader;
        for _ in 0..number {
            reader.value("parameter")?;
        }
        let results = Formats::read(&mut reader)?;
        reader.end()?;
        Ok(Self { portal, statement, formats, number, values, results })
    }

    /// The parameters' values.
    pub fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let mut reader = self.values;
        (0..self.number).map_while(move |_| reader.value("parameter").ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, proptest};

    const BIND: &[u8] = b"p\0s\0\0\x02\0\0\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";

    #[test]
    fn reads_bind() {
        let bind = Bind::decode(BIND).unwrap();
        assert_eq!((bind.portal, bind.statement, bind.number), (&b"p"[..], &b"s"[..], 2));
        assert_eq!(bind.formats.of(1), Ok(Format::Binary));
        assert!(bind.formats.of(2).is_err());
        assert_eq!(bind.values().collect::<Vec<_>>(), [Some(&b"x"[..]), None]);
        assert_eq!(bind.results.of(7), Ok(Format::Binary));
        for end in 0..BIND.len() {
            assert!(Bind::decode(&BIND[..end]).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn mutated_messages_never_panic(at in 0..BIND.len(), byte in any::<u8>(), end in 0..=BIND.len()) {
            let mut bytes = BIND.to_vec();
            bytes[at] = byte;
            if let Ok(bind) = Bind::decode(&bytes[..end]) {
                let _ = bind.values().count();
                let _ = bind.results.of(0);
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Bind::decode(&bytes);
            let _ = names(&bytes);
        }
    }
}
