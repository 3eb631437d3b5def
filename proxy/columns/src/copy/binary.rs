//! COPY's binary format: a header, tuples of counted fields, a trailer.

use super::lines::bad;
use super::{Replace, Stream};
use crate::error::ClientError;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of the extension.
const HEADER: usize = 19;

/// Where in the data a stream is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Binary {
    #[default]
    Header,
    /// So many bytes of the header's extension are to be passed over.
    Extension(usize),
    Tuples,
}

impl Stream {
    /// Treats the header or a tuple; returns its length, or 0 if its end is not there.
    pub(super) fn tuple(
        &mut self,
        rest: &[u8],
        last: bool,
        replace: &mut Replace<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, ClientError> {
        if rest.is_empty() {
            return Ok(0);
        }
        if self.ended {
            return Err(bad("received copy data after EOF marker"));
        }
        match self.binary {
            Binary::Header => {
                let Some(header) = rest.get(..HEADER) else {
                    return more(last, "COPY file signature not recognized");
                };
                self.binary = Binary::Extension(extension(header)?);
                // The extension is for programs that know it; the server passes over it, and this does.
                out.extend_from_slice(header.get(..HEADER - 4).unwrap_or_default());
                out.extend_from_slice(&[0; 4]);
                Ok(HEADER)
            }
            Binary::Extension(0) => {
                self.binary = Binary::Tuples;
                self.tuple(rest, last, replace, out)
            }
            Binary::Extension(left) => {
                let taken = left.min(rest.len());
                self.binary = Binary::Extension(left - taken);
                Ok(taken)
            }
            Binary::Tuples => {
                let Some(length) = whole(rest)? else { return more(last, "unexpected EOF in COPY data") };
                self.rows += 1;
                self.fields(rest.get(..length).unwrap_or_default(), replace, out)?;
                Ok(length)
            }
        }
    }

    fn fields(
        &mut self,
        tuple: &[u8],
        replace: &mut Replace<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let Some((head, mut rest)) = tuple.split_first_chunk::<2>() else { return Err(corrupt()) };
        let number = i16::from_be_bytes(*head);
        out.extend_from_slice(head);
        if number == -1 {
            self.ended = true;
            return Ok(());
        }
        if usize::try_from(number).ok() != Some(self.layout.columns.len()) {
            let expected = self.layout.columns.len();
            return Err(bad(&format!("row field count is {number}, expected {expected}")));
        }
        for (index, column) in self.layout.columns.iter().enumerate() {
            let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
            let (value, tail) = match size(*length)? {
                None => (None, tail),
                Some(size) => {
                    let (value, tail) = tail.split_at_checked(size).ok_or_else(corrupt)?;
                    (Some(value), tail)
                }
            };
            rest = tail;
            match value {
                Some(value) if column.cell => {
                    self.scratch.shown.clear();
                    self.scratch.column = Some(index);
                    replace(index, value, &mut self.scratch.shown)?;
                    self.scratch.column = None;
                    let length = i32::try_from(self.scratch.shown.len()).map_err(|_| corrupt())?;
                    out.extend_from_slice(&length.to_be_bytes());
                    out.extend_from_slice(&self.scratch.shown);
                }
                value => {
                    out.extend_from_slice(length);
                    out.extend_from_slice(value.unwrap_or_default());
                }
            }
        }
        Ok(())
    }
}

fn corrupt() -> ClientError {
    bad("invalid field size")
}

fn more(last: bool, message: &str) -> Result<usize, ClientError> {
    if last { Err(bad(message)) } else { Ok(0) }
}

/// Checks a header; returns the length of the extension behind it.
fn extension(header: &[u8]) -> Result<usize, ClientError> {
    let Some((flags, length)) = header
        .strip_prefix(SIGNATURE)
        .and_then(|rest| rest.split_first_chunk::<4>())
        .and_then(|(flags, rest)| Some((u32::from_be_bytes(*flags), rest.first_chunk::<4>()?)))
    else {
        return Err(bad("COPY file signature not recognized"));
    };
    if flags >> 16 != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    size(*length).ok().flatten().ok_or_else(|| bad("invalid COPY file header (missing length)"))
}

/// A field's length; `None` for NULL.
fn size(length: [u8; 4]) -> Result<Option<usize>, ClientError> {
    match i32::from_be_bytes(length) {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| corrupt()),
    }
}

/// The length of the tuple at the start of `bytes`, if all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<usize>, ClientError> {
    let Some((number, _)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    let mut at = 2_usize;
    for _ in 0..i16::from_be_bytes(*number).max(0) {
        let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
        at = at.saturating_add(4).saturating_add(size(*length)?.unwrap_or(0));
    }
    Ok((at <= bytes.len()).then_some(at))
}
