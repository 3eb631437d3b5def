//! COPY's CSV format: fields between delimiters, in quotes where they need them.

use super::lines::bad;
use super::text::{extra, missing, replaced};
use super::{Column, Direction, Layout, Replace, Scratch};
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
    let mut rest = Some(line);
    while let Some(begin) = rest {
        scratch.value.clear();
        let field = field(layout, begin, &mut scratch.value)?;
        rest = field.rest;
        let Some((index, column)) = expected.next() else { return Err(extra()) };
        if index > 0 {
            out.push(layout.delimiter);
        }
        if !column.cell || stands_for_nothing(layout, direction, column, &field, &scratch.value) {
            out.extend_from_slice(field.raw);
            continue;
        }
        replaced(index, scratch, replace)?;
        if direction != Direction::Out {
            scratch.value.clear();
            scratch.value.extend_from_slice(b"\\x");
            hex::push(&scratch.shown, &mut scratch.value);
            quote(layout, &scratch.value, out);
            continue;
        }
        let shown = scratch.shown.as_slice();
        let special =
            |byte: &u8| matches!(byte, b'\n' | b'\r') || *byte == layout.delimiter || *byte == layout.quote;
        let quotes = column.force_quote
            || shown == layout.null
            || (layout.columns.len() == 1 && shown == b"\\.")
            || shown.iter().any(special);
        if quotes {
            quote(layout, shown, out);
        } else {
            out.extend_from_slice(shown);
        }
    }
    match expected.next() {
        Some((_, column)) => Err(missing(&column.name)),
        None => Ok(()),
    }
}

/// Whether a field of a protected column is NULL or DEFAULT, and passes as it is.
fn stands_for_nothing(
    layout: &Layout,
    direction: Direction,
    column: &Column,
    field: &Field<'_>,
    value: &[u8],
) -> bool {
    let null = !field.quoted && field.raw == layout.null;
    if direction == Direction::Out {
        return null;
    }
    if null {
        return !column.force_not_null;
    }
    layout.default.as_deref() == Some(field.raw) || (column.force_null && value == layout.null)
}

/// A line's values; `None` for NULL.
pub(super) fn values(layout: &Layout, line: &[u8]) -> Result<Vec<Option<Zeroizing<Vec<u8>>>>, ClientError> {
    let mut values = Vec::new();
    let mut rest = Some(line);
    while let Some(begin) = rest {
        let mut value = Zeroizing::default();
        let field = field(layout, begin, &mut value)?;
        rest = field.rest;
        values.push((field.quoted || field.raw != layout.null).then_some(value));
    }
    Ok(values)
}

struct Field<'l> {
    /// As it is written.
    raw: &'l [u8],
    quoted: bool,
    /// What follows the delimiter behind it; `None` if it is the last.
    rest: Option<&'l [u8]>,
}

/// Reads the field at the start of `line`, as `CopyReadAttributesCSV` does; appends its value.
fn field<'l>(layout: &Layout, line: &'l [u8], value: &mut Vec<u8>) -> Result<Field<'l>, ClientError> {
    let (mut in_quote, mut quoted) = (false, false);
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        if !in_quote {
            if byte == layout.delimiter {
                return Ok(Field {
                    raw: line.get(..at).unwrap_or_default(),
                    quoted,
                    rest: line.get(at + 1..),
                });
            }
            if byte == layout.quote {
                (in_quote, quoted) = (true, true);
            } else {
                value.push(byte);
            }
        } else if let Some(&escaped) = line
            .get(at + 1)
            .filter(|next| byte == layout.escape && (**next == layout.escape || **next == layout.quote))
        {
            value.push(escaped);
            at += 1;
        } else if byte == layout.quote {
            in_quote = false;
        } else {
            value.push(byte);
        }
        at += 1;
    }
    if in_quote {
        return Err(bad("unterminated CSV quoted field"));
    }
    Ok(Field { raw: line, quoted, rest: None })
}

/// Appends a value in quotes.
fn quote(layout: &Layout, value: &[u8], out: &mut Vec<u8>) {
    out.push(layout.quote);
    for &byte in value {
        if byte == layout.quote || byte == layout.escape {
            out.push(layout.escape);
        }
        out.push(byte);
    }
    out.push(layout.quote);
}
