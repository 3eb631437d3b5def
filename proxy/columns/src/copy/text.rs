//! COPY's text format: fields between delimiters, with backslash escapes.

use super::lines::bad;
use super::{Direction, Layout, Replace, Scratch};
use crate::error::ClientError;
use crate::hex;
use zeroize::Zeroizing;

/// Appends a line with its cells replaced.
pub(super) fn row(
    layout: &Layout,
    direction: Direction,
    line: &[u8],
    scratch: &mut Scratch,
    replace: &mut Replace<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    if layout.columns.is_empty() && line.is_empty() {
        return Ok(());
    }
    let mut expected = layout.columns.iter().enumerate();
    let fields = Fields { rest: Some(line), delimiter: layout.delimiter };
    for raw in fields {
        let Some((index, column)) = expected.next() else { return Err(extra()) };
        if index > 0 {
            out.push(layout.delimiter);
        }
        if !column.cell || raw == layout.null || layout.default.as_deref() == Some(raw) {
            out.extend_from_slice(raw);
            continue;
        }
        scratch.value.clear();
        unescape(raw, &mut scratch.value);
        replaced(index, scratch, replace)?;
        match direction {
            Direction::Out => escape(&scratch.shown, layout.delimiter, out),
            // No digit is a delimiter.
            Direction::In { .. } => {
                out.extend_from_slice(b"\\\\x");
                hex::push(&scratch.shown, out);
            }
        }
    }
    match expected.next() {
        Some((_, column)) => Err(missing(&column.name)),
        None => Ok(()),
    }
}

/// Puts into `scratch.shown` what stands for `scratch.value`: another value, or the bytes of a cell.
pub(super) fn replaced(
    index: usize,
    scratch: &mut Scratch,
    replace: &mut Replace<'_>,
) -> Result<(), ClientError> {
    scratch.shown.clear();
    scratch.column = Some(index);
    replace(index, &scratch.value, &mut scratch.shown)?;
    scratch.column = None;
    Ok(())
}

/// A line's values; `None` for NULL.
pub(super) fn values(layout: &Layout, line: &[u8]) -> Vec<Option<Zeroizing<Vec<u8>>>> {
    let fields = Fields { rest: Some(line), delimiter: layout.delimiter };
    let value = |raw: &[u8]| {
        let mut value = Zeroizing::default();
        unescape(raw, &mut value);
        (raw != layout.null).then_some(value)
    };
    fields.map(value).collect()
}

pub(super) fn extra() -> ClientError {
    bad("extra data after last expected column")
}

pub(super) fn missing(column: &str) -> ClientError {
    bad(&format!("missing data for column \"{column}\""))
}

/// The fields of a line as they are written.
struct Fields<'l> {
    rest: Option<&'l [u8]>,
    delimiter: u8,
}

impl<'l> Iterator for Fields<'l> {
    type Item = &'l [u8];

    fn next(&mut self) -> Option<&'l [u8]> {
        let rest = self.rest?;
        let mut at = 0;
        while let Some(found) = rest.get(at..).and_then(|rest| memchr::memchr2(self.delimiter, b'\\', rest)) {
            at += found;
            if rest.get(at) == Some(&self.delimiter) {
                self.rest = rest.get(at + 1..);
                return rest.get(..at);
            }
            at += 2;
        }
        self.rest = None;
        Some(rest)
    }
}

/// Appends what a field stands for.
fn unescape(mut raw: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', raw) {
        let (plain, rest) = raw.split_at(at);
        out.extend_from_slice(plain);
        let Some((&escaped, rest)) = rest.get(1..).and_then(<[u8]>::split_first) else { return };
        raw = rest;
        let (radix, most, digits) = match escaped {
            b'0'..=b'7' => (8, 2, u32::from(escaped - b'0')),
            b'x' if raw.first().is_some_and(u8::is_ascii_hexdigit) => (16, 2, 0),
            b'b' => {
                out.push(8);
                continue;
            }
            b'f' => {
                out.push(12);
                continue;
            }
            b'n' => {
                out.push(b'\n');
                continue;
            }
            b'r' => {
                out.push(b'\r');
                continue;
            }
            b't' => {
                out.push(b'\t');
                continue;
            }
            b'v' => {
                out.push(11);
                continue;
            }
            other => {
                out.push(other);
                continue;
            }
        };
        let mut value = digits;
        for _ in 0..most {
            let Some((digit, rest)) =
                raw.split_first().and_then(|(digit, rest)| Some((char::from(*digit).to_digit(radix)?, rest)))
            else {
                break;
            };
            value = value * radix + digit;
            raw = rest;
        }
        out.push(u8::try_from(value & 0xff).unwrap_or_default());
    }
    out.extend_from_slice(raw);
}

/// Appends a field as PostgreSQL writes it.
fn escape(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |byte: u8| byte < b' ' || byte == delimiter || byte == b'\\';
    if !value.iter().any(|byte| special(*byte)) {
        return out.extend_from_slice(value);
    }
    for &byte in value {
        let letter = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            _ if byte == delimiter || byte == b'\\' => byte,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    fn unescaped(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        unescape(raw, &mut out);
        out
    }

    #[test]
    fn escapes_are_read_as_postgresql_reads_them() {
        for (raw, value) in [
            (&b"a\\tb\\nc"[..], &b"a\tb\nc"[..]),
            (b"\\b\\f\\r\\v\\\\\\.", b"\x08\x0c\r\x0b\\."),
            (b"\\101\\7x\\0\\777", b"A\x07x\0\xff"),
            (b"\\x41\\x4Gz\\xz\\x", b"A\x04Gzxzx"),
            (b"end\\", b"end"),
            (b"\\1018", b"A8"),
        ] {
            assert_eq!(unescaped(raw), value, "{}", String::from_utf8_lossy(raw));
        }
    }

    proptest! {
        #[test]
        fn fields_come_back(value: Vec<u8>, delimiter in proptest::sample::select(vec![b'\t', b'|', b',', b' '])) {
            let mut raw = Vec::new();
            escape(&value, delimiter, &mut raw);
            assert!(!raw.contains(&b'\n') && !raw.contains(&b'\r'));
            let mut fields = Fields { rest: Some(&raw), delimiter };
            assert_eq!(fields.next().map(unescaped), Some(value));
            assert_eq!(fields.next(), None);
        }
    }
}
