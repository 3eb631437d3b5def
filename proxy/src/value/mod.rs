//! Logical types: text and binary forms as PostgreSQL reads and writes them <-> canonical bytes
//! (the binary send format, normalised so that equal values are equal bytes). No I/O, no keys.

pub mod array;
mod boolean;
mod bytes;
mod calendar;
mod date;
mod datetime_input;
mod declared;
mod integer;
mod jsonb;
mod numeric;
mod refusal;
mod settings;
mod string;
mod timestamptz;
mod uuid;

pub use settings::Settings;

use crate::error::ClientError;
use crate::policy::{LogicalType, Purpose, oid};

/// Reads a value in text form (a literal, or a parameter in format 0) into `out` as canonical bytes.
/// The error names the type, never the value.
pub fn from_text(
    logical: &LogicalType,
    text: &[u8],
    purpose: Purpose,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    if purpose == Purpose::Flow {
        return either_way(logical, out, |purpose, out| from_text(logical, text, purpose, settings, out));
    }
    let text = checked_text(text)?;
    match logical {
        LogicalType::Text | LogicalType::Varchar(_) => string::from_text(logical, text, purpose, out),
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => integer::from_text(logical, text, out),
        LogicalType::Bool => boolean::from_text(text, out),
        LogicalType::Date => date::from_text(text, out),
        LogicalType::Timestamptz => timestamptz::from_text(text, settings, out),
        LogicalType::Uuid => uuid::from_text(text, out),
        LogicalType::Bytea => bytes::from_text(text, out),
        &LogicalType::Numeric { precision, scale } => {
            numeric::from_text(precision, scale, text, purpose, out)
        }
        LogicalType::Jsonb => jsonb::from_text(text, out),
    }
}

/// Reads a parameter in text form (format 0) whose type the client declared in Parse, 0 where it left
/// that to the server: as PostgreSQL reads the declared type, then converts it to the column's.
pub fn from_declared_text(
    logical: &LogicalType,
    declared: u32,
    text: &[u8],
    purpose: Purpose,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    if purpose == Purpose::Flow {
        return either_way(logical, out, |purpose, out| {
            from_declared_text(logical, declared, text, purpose, settings, out)
        });
    }
    if declared::is_own(logical, declared) {
        return from_text(logical, text, purpose, settings, out);
    }
    declared::check(logical, declared, purpose)?;
    let number = |logical, out: &mut Vec<u8>| integer::from_text(logical, checked_text(text)?, out);
    let mut sent = Vec::new();
    match declared {
        oid::INT2 => number(&LogicalType::Int2, &mut sent)?,
        oid::INT4 => number(&LogicalType::Int4, &mut sent)?,
        oid::INT8 => number(&LogicalType::Int8, &mut sent)?,
        oid::NUMERIC => numeric::text_to_binary(logical, checked_text(text)?, &mut sent)?,
        oid::FLOAT8 => {
            sent.extend_from_slice(&numeric::parse_float(logical, checked_text(text)?)?.to_be_bytes());
        }
        oid::TIMESTAMP => timestamptz::local_from_text(checked_text(text)?, &mut sent)?,
        // The binary form of the others is their text.
        _ => return from_binary(logical, declared, text, purpose, settings, out),
    }
    from_binary(logical, declared, &sent, purpose, settings, out)
}

/// Reads a parameter in binary form (format 1) into `out` as canonical bytes. `declared` is the type
/// OID that the client declared in Parse, 0 where it left that to the server (then it has been told
/// the logical type's).
pub fn from_binary(
    logical: &LogicalType,
    declared: u32,
    bytes: &[u8],
    purpose: Purpose,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    if purpose == Purpose::Flow {
        return either_way(logical, out, |purpose, out| {
            from_binary(logical, declared, bytes, purpose, settings, out)
        });
    }
    declared::check(logical, declared, purpose)?;
    let declared = if declared::is_own(logical, declared) { logical.oid() } else { declared };
    match logical {
        LogicalType::Text | LogicalType::Varchar(_) => {
            string::from_binary(logical, declared, bytes, purpose, out)
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
            if declared == oid::NUMERIC {
                return numeric::to_integer(logical, bytes, purpose, out);
            }
            integer::store(logical, integer::read(logical, declared, bytes)?, purpose, out)
        }
        &LogicalType::Numeric { precision, scale } => {
            if oid::is_integer(declared) {
                return numeric::from_integer(
                    precision,
                    scale,
                    integer::read(logical, declared, bytes)?,
                    purpose,
                    out,
                );
            }
            if declared == oid::FLOAT8 {
                let value = f64::from_be_bytes(take(logical, bytes)?);
                return numeric::from_float(precision, scale, value, purpose, out);
            }
            numeric::from_binary(precision, scale, bytes, purpose, out)
        }
        LogicalType::Bool => boolean::from_binary(bytes, out),
        LogicalType::Date => date::from_binary(bytes, out),
        LogicalType::Timestamptz if declared == oid::TIMESTAMP => {
            timestamptz::from_local_binary(bytes, settings, out)
        }
        LogicalType::Timestamptz => timestamptz::from_binary(bytes, out),
        LogicalType::Uuid => uuid::from_binary(bytes, out),
        LogicalType::Bytea => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        LogicalType::Jsonb if declared == oid::JSON => from_text(logical, bytes, purpose, settings, out),
        LogicalType::Jsonb => match bytes {
            [jsonb::VERSION, text @ ..] => from_text(logical, text, purpose, settings, out),
            _ => Err(refusal::malformed(logical)),
        },
    }
}

/// A value that may be stored or compared: refused if the two are not the same, because the type would
/// round or cut it on its way into the column.
fn either_way(
    logical: &LogicalType,
    out: &mut Vec<u8>,
    read: impl Fn(Purpose, &mut Vec<u8>) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let start = out.len();
    read(Purpose::Assign, out)?;
    let mut compared = zeroize::Zeroizing::new(Vec::new());
    read(Purpose::Compare, &mut compared)?;
    if out.get(start..) == Some(compared.as_slice()) {
        return Ok(());
    }
    out.truncate(start);
    Err(refusal::unsupported(
        format!("a value that {logical} rounds or cuts is not supported in COALESCE, CASE, UNION or VALUES"),
        "Give a value that fits the type.",
    ))
}

/// Appends the text form of canonical bytes to `out`, as PostgreSQL would show it in the session.
/// `bytea` is always shown in hex here.
pub fn to_text(
    logical: &LogicalType,
    canonical: &[u8],
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    match logical {
        LogicalType::Text | LogicalType::Varchar(_) => {
            out.extend_from_slice(canonical);
            Ok(())
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
            integer::to_text(logical, canonical, out)
        }
        LogicalType::Bool => boolean::to_text(canonical, out),
        LogicalType::Date => date::to_text(canonical, settings, out),
        LogicalType::Timestamptz => timestamptz::to_text(canonical, settings, out),
        LogicalType::Uuid => uuid::to_text(canonical, out),
        LogicalType::Bytea => {
            bytes::to_text(canonical, out);
            Ok(())
        }
        &LogicalType::Numeric { precision, scale } => numeric::to_text(precision, scale, canonical, out),
        LogicalType::Jsonb => match canonical {
            [jsonb::VERSION, text @ ..] => {
                out.extend_from_slice(text);
                Ok(())
            }
            _ => Err(refusal::corrupted(logical)),
        },
    }
}

/// Appends the binary form of canonical bytes to `out`.
pub fn to_binary(logical: &LogicalType, canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    // A client reads as many bytes as the type has: another number would be another value.
    if usize::try_from(logical.size()).is_ok_and(|size| size != canonical.len()) {
        return Err(refusal::corrupted(logical));
    }
    out.extend_from_slice(canonical);
    Ok(())
}

/// Text as PostgreSQL takes it: UTF-8 without NUL.
fn checked_text(bytes: &[u8]) -> Result<&str, ClientError> {
    if memchr::memchr(0, bytes).is_some() {
        return Err(refusal::not_text());
    }
    std::str::from_utf8(bytes).map_err(|_| refusal::not_text())
}

/// Exactly `N` bytes.
fn take<const N: usize>(logical: &LogicalType, bytes: &[u8]) -> Result<[u8; N], ClientError> {
    match bytes.split_first_chunk() {
        Some((chunk, [])) => Ok(*chunk),
        Some(_) => Err(refusal::malformed(logical)),
        None => Err(refusal::truncated()),
    }
}

/// Cuts what C's `isspace` calls white space.
fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    for nibble in [byte >> 4, byte & 15] {
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
