//! Where one message ends and the next begins: a type byte, an int32 length that counts itself.

use super::Malformed;

/// Bytes of type and length.
pub const HEAD: usize = 5;

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Type byte.
    pub tag: u8,
    /// Whole size: type, length and body.
    pub size: usize,
}

/// Reads the head at the beginning of `bytes`; `None` if there are not enough bytes yet.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    let length = i32::from_be_bytes([a, b, c, d]);
    let length = usize::try_from(length).ok().filter(|length| *length >= 4).ok_or(Malformed::Length)?;
    Ok(Some(Head { tag, size: length + 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_heads() {
        assert_eq!(head(b"S\0\0\0"), Ok(None));
        assert_eq!(head(b"S\0\0\0\x04"), Ok(Some(Head { tag: b'S', size: 5 })));
        assert_eq!(head(b"D\x7f\xff\xff\xffx"), Ok(Some(Head { tag: b'D', size: 0x8000_0000 })));
        assert_eq!(head(b"S\0\0\0\x03"), Err(Malformed::Length));
        assert_eq!(head(b"S\xff\xff\xff\xff"), Err(Malformed::Length));
    }
}
