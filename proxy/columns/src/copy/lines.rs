//! Where a line of COPY data ends, as PostgreSQL's `CopyReadLineText` decides it: the first line says
//! which newline is used, and another one in the data is an error.

use super::{Format, Layout};
use crate::error::ClientError;

/// Data that is not in its format.
pub(super) fn bad(message: &str) -> ClientError {
    ClientError::new("22P04", message, "")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Newline {
    Unknown,
    Lf,
    Cr,
    CrLf,
}

/// What was found.
pub(super) enum Unit {
    /// The line's end has not arrived.
    More,
    /// A line of `length` bytes; the next one begins at `next`.
    Line { length: usize, next: usize },
    /// The end marker of text, with its newline.
    Marker { next: usize },
}

/// Finds lines; keeps how far it has looked.
pub(super) struct Lines {
    /// Quote and escape of CSV; no escape if it is the quote.
    quotes: Option<(u8, Option<u8>)>,
    newline: Newline,
    /// How much of the line was looked at.
    at: usize,
    in_quote: bool,
    escaped: bool,
}

impl Lines {
    pub(super) fn new(layout: &Layout) -> Self {
        let escape = Some(layout.escape).filter(|escape| *escape != layout.quote);
        let quotes = (layout.format == Format::Csv).then_some((layout.quote, escape));
        Self { quotes, newline: Newline::Unknown, at: 0, in_quote: false, escaped: false }
    }

    /// The line at the start of `bytes`, where the last call's answer for them was [`Unit::More`] or
    /// they begin a line. `last` says that nothing follows them.
    pub(super) fn next(&mut self, bytes: &[u8], last: bool) -> Result<Unit, ClientError> {
        while let Some(byte) = self.seek(bytes) {
            let after = bytes.get(self.at + 1).copied();
            match byte {
                b'\n' if !self.in_quote => {
                    if matches!(self.newline, Newline::Cr | Newline::CrLf) {
                        return Err(self.stray("newline"));
                    }
                    self.newline = Newline::Lf;
                    return Ok(self.line(1));
                }
                b'\r' if !self.in_quote => match (self.newline, after) {
                    (Newline::Lf, _) => return Err(self.stray("carriage return")),
                    (Newline::Cr, _) => return Ok(self.line(1)),
                    (_, None) if !last => return Ok(Unit::More),
                    (_, Some(b'\n')) => {
                        self.newline = Newline::CrLf;
                        return Ok(self.line(2));
                    }
                    (Newline::CrLf, _) => return Err(self.stray("carriage return")),
                    (Newline::Unknown, _) => {
                        self.newline = Newline::Cr;
                        return Ok(self.line(1));
                    }
                },
                b'\\' if self.quotes.is_none() => match after {
                    None if last => self.at += 1,
                    None => return Ok(Unit::More),
                    Some(b'.') => return self.marker(bytes, last),
                    Some(_) => self.at += 2,
                },
                _ => self.at += 1,
            }
        }
        Ok(if last && !bytes.is_empty() { self.line(0) } else { Unit::More })
    }

    /// Moves to the next byte that may mean something.
    fn seek(&mut self, bytes: &[u8]) -> Option<u8> {
        let rest = bytes.get(self.at..)?;
        let Some((quote, escape)) = self.quotes else {
            let found = memchr::memchr3(b'\n', b'\r', b'\\', rest);
            self.at += found.unwrap_or(rest.len());
            return bytes.get(self.at).copied();
        };
        for &byte in rest {
            if self.in_quote && Some(byte) == escape {
                self.escaped = !self.escaped;
            }
            if byte == quote && !self.escaped {
                self.in_quote = !self.in_quote;
            }
            if Some(byte) != escape {
                self.escaped = false;
            }
            if matches!(byte, b'\n' | b'\r') && !self.in_quote {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn line(&mut self, newline: usize) -> Unit {
        let length = std::mem::take(&mut self.at);
        Unit::Line { length, next: length + newline }
    }

    /// `\.` in text.
    fn marker(&mut self, bytes: &[u8], last: bool) -> Result<Unit, ClientError> {
        if self.at > 0 {
            return Err(bad("end-of-copy marker is not alone on its line"));
        }
        let next = match (self.newline, bytes.get(2), bytes.get(3)) {
            (_, None, _) if last => 2,
            (_, None, _) => return Ok(Unit::More),
            (Newline::Lf | Newline::Unknown, Some(b'\n'), _) => 3,
            (Newline::Cr | Newline::Unknown, Some(b'\r'), _) => 3,
            (Newline::CrLf, Some(b'\r'), Some(b'\n')) => 4,
            (Newline::CrLf, Some(b'\r'), None) if last => 3,
            (Newline::CrLf, Some(b'\r'), None) => return Ok(Unit::More),
            (_, Some(b'\r' | b'\n'), _) => {
                return Err(bad("end-of-copy marker does not match previous newline style"));
            }
            _ => return Err(bad("end-of-copy marker corrupt")),
        };
        Ok(Unit::Marker { next })
    }

    fn stray(&self, what: &str) -> ClientError {
        let kind = if self.quotes.is_some() { "unquoted" } else { "literal" };
        bad(&format!("{kind} {what} found in data"))
    }
}
