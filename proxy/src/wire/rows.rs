//! What describes and carries rows: ParameterDescription, RowDescription, DataRow.

use super::Malformed;
use super::bind::Format;
use super::reader::Reader;
use crate::hex;

/// One column as RowDescription shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name, in the client's encoding.
    pub name: &'a [u8],
    /// The table that it comes from; 0 if none.
    pub table: u32,
    /// The attribute number in that table; 0 if none.
    pub attribute: i16,
    /// Type.
    pub type_oid: u32,
    /// The type's size; negative if it varies.
    pub size: i16,
    /// The type's modifier; -1 if none.
    pub modifier: i32,
    /// The format's code.
    pub format: [u8; 2],
}

impl Field<'_> {
    /// Appends the field.
    pub fn encode(&self, out: &mut Vec<u8>) {
        super::writer::string(out, self.name);
        out.extend_from_slice(&self.table.to_be_bytes());
        out.extend_from_slice(&self.attribute.to_be_bytes());
        out.extend_from_slice(&self.type_oid.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.modifier.to_be_bytes());
        out.extend_from_slice(&self.format);
    }
}

/// Reads a RowDescription's fields; the first item that is an error is the last item.
pub struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// Reads the body's count.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let left = reader.count("column count")?;
        Ok(Self { reader, left })
    }

    /// How many fields are left.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether no field is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next field; at the end, refuses bytes that are left.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.left == 0 {
            self.reader.end()?;
            return Ok(None);
        }
        self.left -= 1;
        let reader = &mut self.reader;
        Ok(Some(Field {
            name: reader.string("column name")?,
            table: reader.oid("column table")?,
            attribute: reader.int16("column attribute")?,
            type_oid: reader.oid("column type")?,
            size: reader.int16("column type size")?,
            modifier: reader.int32("column type modifier")?,
            format: reader.int16("column format")?.to_be_bytes(),
        }))
    }
}

/// The types of a ParameterDescription.
pub fn parameter_types(body: &[u8]) -> Result<Vec<u32>, Malformed> {
    let mut reader = Reader::new(body);
    let number = reader.count("parameter count")?;
    let types = reader.bytes(number * 4, "parameter types")?;
    reader.end()?;
    Ok(types.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid)).collect())
}

/// Reads a DataRow's values.
pub struct Values<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Values<'a> {
    /// Reads the body's count.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let left = reader.count("column count")?;
        Ok(Self { reader, left })
    }

    /// How many values are left.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether no value is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next value.
    pub fn next_value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed::Short("column"))?;
        self.reader.value("column")
    }

    /// Refuses values and bytes that are left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.left == 0 { self.reader.end() } else { Err(Malformed::Trailing) }
    }
}

/// A bytea as a server shows it in a format, as bytes appended to `out`. Text is in hex (`\x…`) or
/// in the escape form; the answer is whether it was hex.
pub fn bytea(value: &[u8], format: Format, out: &mut Vec<u8>) -> Result<bool, Malformed> {
    const INVALID: Malformed = Malformed::Field("bytea");
    if format == Format::Binary {
        out.extend_from_slice(value);
        return Ok(true);
    }
    if let Some(digits) = value.strip_prefix(b"\\x") {
        return if hex::read(digits, out) { Ok(true) } else { Err(INVALID) };
    }
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, tail) = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => (b'\\', tail),
            (b'\\', [a, b, c, tail @ ..]) => {
                ((digit(*a, 4)? << 6) | (digit(*b, 8)? << 3) | digit(*c, 8)?, tail)
            }
            (b'\\', _) => return Err(INVALID),
            (byte, tail) => (byte, tail),
        };
        out.push(byte);
        rest = tail;
    }
    Ok(false)
}

fn digit(digit: u8, radix: u32) -> Result<u8, Malformed> {
    let value = char::from(digit).to_digit(radix).and_then(|value| u8::try_from(value).ok());
    value.ok_or(Malformed::Field("bytea"))
}

/// Appends bytes as a server shows a bytea in the escape form.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(&[
                b'\\',
                b'0' + (byte >> 6),
                b'0' + ((byte >> 3) & 7),
                b'0' + (byte & 7),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    #[test]
    fn reads_and_writes_fields() {
        let body = b"\0\x01id\0\0\0\x40\0\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01";
        let mut fields = Fields::decode(body).unwrap();
        let field = fields.next_field().unwrap().unwrap();
        assert_eq!((field.name, field.table, field.attribute), (&b"id"[..], 16384, 2));
        assert_eq!((field.type_oid, field.size, field.modifier, field.format), (23, 4, -1, [0, 1]));
        assert_eq!(fields.next_field(), Ok(None));
        let mut out = vec![0, 1];
        field.encode(&mut out);
        assert_eq!(out, body);
        for end in 2..body.len() {
            assert!(Fields::decode(&body[..end]).unwrap().next_field().is_err());
        }
    }

    #[test]
    fn reads_values() {
        let mut values = Values::decode(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff").unwrap();
        assert_eq!(values.next_value(), Ok(Some(&b"a"[..])));
        assert_eq!(values.next_value(), Ok(None));
        assert_eq!(values.next_value(), Err(Malformed::Short("column")));
        assert_eq!(parameter_types(b"\0\x01\0\0\0\x11"), Ok(vec![17]));
        assert!(parameter_types(b"\0\x02\0\0\0\x11").is_err());
    }

    #[test]
    fn reads_bytea() {
        let mut out = Vec::new();
        assert_eq!(bytea(b"\\x12Ab", Format::Text, &mut out), Ok(true));
        assert_eq!(bytea(b"a\\\\\\022", Format::Text, &mut out), Ok(false));
        assert_eq!(bytea(b"\\x", Format::Binary, &mut out), Ok(true));
        assert_eq!(out, b"\x12\xaba\\\x12\\x");
        for bad in [&b"\\x1"[..], b"\\xzz", b"\\1", b"\\999", b"\\477"] {
            assert!(bytea(bad, Format::Text, &mut out).is_err());
        }
    }

    proptest! {
        #[test]
        fn bytea_comes_back(bytes: Vec<u8>) {
            let (mut escaped, mut out) = (Vec::new(), Vec::new());
            escape(&bytes, &mut escaped);
            bytea(&escaped, Format::Text, &mut out).unwrap();
            assert_eq!(out, bytes);
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parameter_types(&bytes);
            let _ = bytea(&bytes, Format::Text, &mut Vec::new());
            if let Ok(mut fields) = Fields::decode(&bytes) {
                while let Ok(Some(_)) = fields.next_field() {}
            }
            if let Ok(mut values) = Values::decode(&bytes) {
                while !values.is_empty() && values.next_value().is_ok() {}
            }
        }
    }
}
