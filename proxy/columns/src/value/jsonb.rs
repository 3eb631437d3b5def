//! `jsonb`: the version byte of its binary form, then the text exactly as PostgreSQL's `jsonb` shows
//! it: keys by length, then bytes, the last of equal ones; numbers as `numeric` keeps them.

use super::{numeric, refusal};
use crate::error::ClientError;
use crate::policy::LogicalType;
use std::ops::Range;

const TYPE: LogicalType = LogicalType::Jsonb;
/// First byte of the binary form.
pub(super) const VERSION: u8 = 1;
/// Nesting is followed by recursion. PostgreSQL's bound depends on its stack and is some thousands.
const MAX_DEPTH: usize = 1_000;
/// `1e131071` is eight bytes that are shown as 131,072: what is written is bounded, not what is read.
const MAX_SIZE: usize = 64 << 20;

/// Reads JSON text (RFC 8259) into the canonical form.
pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let mut reader = Reader { text, at: 0, buffer: Vec::new() };
    reader.skip_space();
    let value = reader.value(MAX_DEPTH)?;
    reader.skip_space();
    if reader.at != text.len() {
        return Err(refusal::syntax(&TYPE));
    }
    out.push(VERSION);
    let start = out.len();
    write(&value, &reader.buffer, start, out)
}

/// Scalars are ranges of the reader's buffer.
enum Value {
    /// Shown as it is: a number, `true`, `false`, `null`.
    Plain(Range<usize>),
    /// A string's content, unescaped.
    String(Range<usize>),
    Array(Vec<Value>),
    Object(Vec<(Range<usize>, Value)>),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, ClientError> {
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, ClientError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.skip(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            if self.skip(b']') {
                return Ok(Value::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ClientError> {
        self.at += 1;
        let mut members: Vec<(Range<usize>, Value)> = Vec::new();
        self.skip_space();
        if !self.skip(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(refusal::syntax(&TYPE));
                }
                let key = self.string()?;
                self.skip_space();
                self.expect(b':')?;
                self.skip_space();
                members.push((key, self.value(depth)?));
                self.skip_space();
                if self.skip(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        let key = |range: &Range<usize>| (range.len(), self.buffer.get(range.clone()));
        // Stable: of equal keys the last one given is the first after this, and stays.
        members.reverse();
        members.sort_by(|(a, _), (b, _)| key(a).cmp(&key(b)));
        members.dedup_by(|(later, _), (kept, _)| key(later) == key(kept));
        Ok(Value::Object(members))
    }

    fn string(&mut self) -> Result<Range<usize>, ClientError> {
        self.at += 1;
        let start = self.buffer.len();
        loop {
            let rest = self.rest();
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
                .ok_or_else(|| refusal::syntax(&TYPE))?;
            let (content, rest) = rest.split_at(plain);
            self.buffer.extend_from_slice(content);
            self.at += plain + 1;
            match rest {
                [b'"', ..] => return Ok(start..self.buffer.len()),
                [b'\\', ..] => self.escape()?,
                _ => return Err(refusal::syntax(&TYPE)),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<(), ClientError> {
        let byte = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let c = self.unicode()?;
                self.buffer.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(refusal::syntax(&TYPE)),
        };
        self.at += 1;
        self.buffer.push(byte);
        Ok(())
    }

    /// What follows `\u`: one code unit, or a surrogate pair of two.
    fn unicode(&mut self) -> Result<char, ClientError> {
        let unit = self.code_unit()?;
        let code = match unit {
            0 => {
                return Err(ClientError::new("22P05", "unsupported Unicode escape sequence", ""));
            }
            0xD800..=0xDBFF => {
                self.expect(b'\\')?;
                self.expect(b'u')?;
                let low = self.code_unit()?;
                if !matches!(low, 0xDC00..=0xDFFF) {
                    return Err(refusal::syntax(&TYPE));
                }
                0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => unit,
        };
        char::from_u32(code).ok_or_else(|| refusal::syntax(&TYPE))
    }

    fn code_unit(&mut self) -> Result<u32, ClientError> {
        let digits = self.rest().first_chunk::<4>().ok_or_else(|| refusal::syntax(&TYPE))?;
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | u32::from(super::hex_digit(*digit).ok_or_else(|| refusal::syntax(&TYPE))?);
        }
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value, ClientError> {
        let end = self
            .rest()
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .map_or(self.text.len(), |length| self.at + length);
        let text = self.text.get(self.at..end).filter(|text| is_json_number(text.as_bytes()));
        let start = self.buffer.len();
        numeric::normalize(text.ok_or_else(|| refusal::syntax(&TYPE))?, &mut self.buffer)?;
        if self.buffer.len() > MAX_SIZE {
            return Err(refusal::too_large(&TYPE));
        }
        self.at = end;
        Ok(Value::Plain(start..self.buffer.len()))
    }

    fn word(&mut self) -> Result<Value, ClientError> {
        let word = ["true", "false", "null"]
            .into_iter()
            .find(|word| self.rest().starts_with(word.as_bytes()))
            .ok_or_else(|| refusal::syntax(&TYPE))?;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(word.as_bytes());
        self.at += word.len();
        Ok(Value::Plain(start..self.buffer.len()))
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), ClientError> {
        if self.skip(byte) { Ok(()) } else { Err(refusal::syntax(&TYPE)) }
    }

    fn skip_space(&mut self) {
        let spaces = self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        self.at += spaces.count();
    }
}

/// `-`, an integer without leading zeros, a fraction, an exponent.
fn is_json_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.starts_with(b"0")) {
        return false;
    }
    let mut rest = text.get(whole..).unwrap_or_default();
    if let [b'.', fraction @ ..] = rest {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

fn write(value: &Value, buffer: &[u8], start: usize, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let content = |range: &Range<usize>| buffer.get(range.clone()).unwrap_or_default();
    match value {
        Value::Plain(range) => out.extend_from_slice(content(range)),
        Value::String(range) => write_string(content(range), out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write(item, buffer, start, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(content(key), out);
                out.extend_from_slice(b": ");
                write(value, buffer, start, out)?;
            }
            out.push(b'}');
        }
    }
    if out.len() - start > MAX_SIZE { Err(refusal::too_large(&TYPE)) } else { Ok(()) }
}

fn write_string(content: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in content {
        let escaped = match byte {
            b'"' | b'\\' => byte,
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                super::push_hex(byte, out);
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
    out.push(b'"');
}

fn too_deep() -> ClientError {
    ClientError::new(
        crate::error::sqlstate::STATEMENT_TOO_COMPLEX,
        "jsonb value is nested too deeply",
        "Values nested more than 1000 levels deep are not supported.",
    )
}
