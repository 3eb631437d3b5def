//! `json`: the text as it was given, once it is known to be JSON (RFC 8259).

use super::refusal;
use crate::error::{ClientError, sqlstate};
use crate::policy::LogicalType;

const TYPE: LogicalType = LogicalType::Json;
/// As deep as `jsonb` is read.
const MAX_DEPTH: usize = 1_000;

pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    reader.document()?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

fn syntax() -> ClientError {
    refusal::syntax(&TYPE)
}

impl Reader<'_> {
    /// Nesting is kept on a stack of its own: whether each open level is an object.
    fn document(&mut self) -> Result<(), ClientError> {
        let mut levels: Vec<bool> = Vec::new();
        loop {
            // A value, or what opens one.
            self.skip_space();
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    if levels.len() == MAX_DEPTH {
                        return Err(ClientError::new(
                            sqlstate::STATEMENT_TOO_COMPLEX,
                            "JSON is nested too deeply",
                            "",
                        ));
                    }
                    levels.push(open == b'{');
                    self.skip_space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek() != Some(close) {
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => self.word()?,
            }
            // What follows a value: the end of levels, or the next value.
            loop {
                self.skip_space();
                let Some(&object) = levels.last() else {
                    return if self.at == self.text.len() { Ok(()) } else { Err(syntax()) };
                };
                match (self.peek(), object) {
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        levels.pop();
                    }
                    (Some(b','), _) => {
                        self.at += 1;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    _ => return Err(syntax()),
                }
            }
        }
    }

    fn key(&mut self) -> Result<(), ClientError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(syntax());
        }
        self.string()?;
        self.skip_space();
        self.expect(b':')
    }

    fn string(&mut self) -> Result<(), ClientError> {
        self.at += 1;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                0..0x20 => return Err(syntax()),
                b'\\' => match self.next()? {
                    b'u' => {
                        for _ in 0..4 {
                            super::hex_digit(self.next()?).ok_or_else(syntax)?;
                        }
                    }
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    _ => return Err(syntax()),
                },
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Result<(), ClientError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.peek() {
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => Err(syntax()),
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> Result<(), ClientError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(syntax()) } else { Ok(()) }
    }

    fn word(&mut self) -> Result<(), ClientError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let words = [&b"true"[..], b"false", b"null"];
        let word = words.into_iter().find(|word| rest.starts_with(word)).ok_or_else(syntax)?;
        self.at += word.len();
        match self.peek() {
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => Err(syntax()),
            _ => Ok(()),
        }
    }

    fn next(&mut self) -> Result<u8, ClientError> {
        let byte = self.peek().ok_or_else(syntax)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), ClientError> {
        if self.next()? == byte { Ok(()) } else { Err(syntax()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }
}
