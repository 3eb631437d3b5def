//! Checked reads from a message body. Each names the field that it reads for.

use super::Malformed;

/// What is left of a body.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `body` from its beginning.
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Short(field))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short(field))?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// One byte.
    pub fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array(field)?))
    }

    /// An int16.
    pub fn int16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    /// An int32.
    pub fn int32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    /// An object id.
    pub fn oid(&mut self, field: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    /// An int16 that counts what follows. PostgreSQL reads it without a sign, so up to 65,535.
    pub fn count(&mut self, field: &'static str) -> Result<usize, Malformed> {
        Ok(usize::from(u16::from_be_bytes(self.array(field)?)))
    }

    /// An int32 length, then that many bytes; `None` for -1, the NULL.
    pub fn value(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        match self.int32(field)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed::Field(field))?;
                self.bytes(length, field).map(Some)
            }
        }
    }

    /// Bytes up to a NUL, which is read too.
    pub fn string(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.rest).ok_or(Malformed::Short(field))?;
        let (string, rest) = self.rest.split_at_checked(end).ok_or(Malformed::Short(field))?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(string)
    }

    /// Refuses bytes behind the last field.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_names_what_is_missing() {
        let mut reader = Reader::new(b"a\0\xff\xfe\x00\x01\0\0\0\x02hi\xff\xff\xff\xff");
        assert_eq!(reader.string("name"), Ok(&b"a"[..]));
        assert_eq!(reader.int16("x"), Ok(-2));
        assert_eq!(reader.count("n"), Ok(1));
        assert_eq!(reader.value("v"), Ok(Some(&b"hi"[..])));
        assert_eq!(reader.value("v"), Ok(None));
        assert_eq!(reader.byte("b"), Err(Malformed::Short("b")));
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(Reader::new(b"\xff\xff\xff\xfe").value("v"), Err(Malformed::Field("v")));
        assert_eq!(Reader::new(b"\x7f\xff\xff\xff12").value("v"), Err(Malformed::Short("v")));
        assert_eq!(Reader::new(b"no end").string("s"), Err(Malformed::Short("s")));
        assert_eq!(Reader::new(b"1").end(), Err(Malformed::Trailing));
    }
}
