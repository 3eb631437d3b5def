//! Logical types: text and binary forms as PostgreSQL reads and writes them <-> canonical bytes
//! (the binary send format, normalised so that equal values are equal bytes). No I/O, no keys.

pub mod array;
mod boolean;
mod bytes;
mod calendar;
mod date;
mod datetime_input;
mod declared;
mod float;
mod integer;
mod interval;
mod json;
mod jsonb;
mod label;
mod network;
mod numeric;
mod refusal;
mod settings;
mod string;
mod time;
mod timestamptz;
mod uuid;

pub use settings::Settings;

use crate::error::{ClientError, sqlstate};
use crate::policy::{LogicalType, Purpose, oid};
use array::Array;

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
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => {
            string::from_text(logical, text, purpose, out)
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => integer::from_text(logical, text, out),
        LogicalType::Bool => boolean::from_text(text, out),
        LogicalType::Date => date::from_text(text, out),
        LogicalType::Time(precision) => time::from_text(logical, *precision, text, purpose, out),
        LogicalType::Timetz(precision) => {
            time::zoned_from_text(logical, *precision, text, purpose, settings, out)
        }
        LogicalType::Timestamp(precision) => {
            let start = out.len();
            timestamptz::local_from_text(text, out)?;
            timestamptz::round(*precision, purpose, start, out)
        }
        LogicalType::Timestamptz(precision) => {
            let start = out.len();
            timestamptz::from_text(text, settings, out)?;
            timestamptz::round(*precision, purpose, start, out)
        }
        LogicalType::Interval(precision) => interval::from_text(*precision, text, settings, out),
        LogicalType::Float4 | LogicalType::Float8 => float::from_text(logical, text, out),
        LogicalType::Uuid => uuid::from_text(text, out),
        LogicalType::Bytea => bytes::from_text(text, out),
        &LogicalType::Numeric { precision, scale } => {
            numeric::from_text(precision, scale, text, purpose, out)
        }
        LogicalType::UnboundedNumeric => numeric::text_to_binary(logical, text, out),
        LogicalType::Inet | LogicalType::Cidr => network::from_text(logical, text, purpose, out),
        LogicalType::Macaddr => network::mac_from_text(text, out),
        LogicalType::Json => json::from_text(text, out),
        LogicalType::Jsonb => jsonb::from_text(text, out),
        LogicalType::Array(element) => array_from_text(element, 0, text, purpose, settings, out),
        LogicalType::Enum(own) => label::read(own, text, out),
        LogicalType::Domain(domain) => {
            if domain.checked && purpose == Purpose::Assign {
                return Err(refusal::checked_domain(&domain.name.name));
            }
            from_text(&domain.base, text.as_bytes(), purpose, settings, out)
        }
        LogicalType::Named(_) => Err(refusal::unresolved(logical)),
    }
}

/// Reads an array in text form whose elements the client declared with this type.
fn array_from_text(
    element: &LogicalType,
    declared: u32,
    text: &str,
    purpose: Purpose,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let array = Array::from_text(text)?;
    array_from(element, &array, out, |value, out| {
        from_declared_text(element, declared, value, purpose, settings, out)
    })
}

/// Appends an array's canonical bytes, each element read by `read`.
fn array_from(
    element: &LogicalType,
    array: &Array,
    out: &mut Vec<u8>,
    read: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    if let LogicalType::Domain(domain) = element
        && domain.not_null
        && array.elements().any(|element| element.is_none())
    {
        return Err(refusal::null_in_domain(&domain.name.name));
    }
    array.map(read)?.to_binary(element.own_oid(), out)
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
    if let Some((element, declared)) = declared::element(logical, declared) {
        return array_from_text(element, declared, checked_text(text)?, purpose, settings, out);
    }
    if let LogicalType::Domain(domain) = logical {
        if domain.checked && purpose == Purpose::Assign {
            return Err(refusal::checked_domain(&domain.name.name));
        }
        return from_declared_text(&domain.base, declared, text, purpose, settings, out);
    }
    let number = |logical, out: &mut Vec<u8>| integer::from_text(logical, checked_text(text)?, out);
    let mut sent = Vec::new();
    match declared {
        oid::INT2 => number(&LogicalType::Int2, &mut sent)?,
        oid::INT4 => number(&LogicalType::Int4, &mut sent)?,
        oid::INT8 => number(&LogicalType::Int8, &mut sent)?,
        oid::NUMERIC => numeric::text_to_binary(logical, checked_text(text)?, &mut sent)?,
        oid::FLOAT8 => {
            sent.extend_from_slice(&float::double(logical, checked_text(text)?)?.to_be_bytes());
        }
        oid::FLOAT4 => float::from_text(&LogicalType::Float4, checked_text(text)?, &mut sent)?,
        oid::DATE => date::from_text(checked_text(text)?, &mut sent)?,
        oid::TIMESTAMP => timestamptz::local_from_text(checked_text(text)?, &mut sent)?,
        oid::TIMESTAMPTZ => timestamptz::from_text(checked_text(text)?, settings, &mut sent)?,
        oid::INET => network::from_text(&LogicalType::Inet, checked_text(text)?, purpose, &mut sent)?,
        oid::CIDR => network::from_text(&LogicalType::Cidr, checked_text(text)?, Purpose::Assign, &mut sent)?,
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
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => {
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
                let value = integer::read(logical, declared, bytes)?;
                return numeric::from_integer(precision, scale, value, purpose, out);
            }
            if declared == oid::FLOAT8 {
                let value = f64::from_be_bytes(take(logical, bytes)?);
                return numeric::from_float(precision, scale, value, purpose, out);
            }
            numeric::from_binary(precision, scale, bytes, purpose, out)
        }
        LogicalType::UnboundedNumeric => {
            if oid::is_integer(declared) {
                let value = integer::read(logical, declared, bytes)?;
                return numeric::text_to_binary(logical, &value.to_string(), out);
            }
            numeric::any_from_binary(logical, bytes, out)
        }
        LogicalType::Float4 | LogicalType::Float8 => float::from_binary(logical, declared, bytes, out),
        LogicalType::Bool => boolean::from_binary(bytes, out),
        LogicalType::Date => date::from_binary(bytes, out),
        LogicalType::Time(precision) => time::from_binary(logical, *precision, bytes, purpose, out),
        LogicalType::Timetz(precision) => time::zoned_from_binary(logical, *precision, bytes, purpose, out),
        LogicalType::Timestamp(precision) => {
            let start = out.len();
            match declared {
                oid::DATE => timestamptz::midnight(bytes, out)?,
                oid::TIMESTAMPTZ => timestamptz::to_local(bytes, settings, out)?,
                _ => timestamptz::from_binary(bytes, out)?,
            }
            timestamptz::round(*precision, purpose, start, out)
        }
        LogicalType::Timestamptz(precision) => {
            let start = out.len();
            match declared {
                oid::DATE => {
                    let mut midnight = Vec::new();
                    timestamptz::midnight(bytes, &mut midnight)?;
                    timestamptz::from_local_binary(&midnight, settings, out)?;
                }
                oid::TIMESTAMP => timestamptz::from_local_binary(bytes, settings, out)?,
                _ => timestamptz::from_binary(bytes, out)?,
            }
            timestamptz::round(*precision, purpose, start, out)
        }
        LogicalType::Interval(precision) => interval::from_binary(*precision, bytes, out),
        LogicalType::Uuid => uuid::from_binary(bytes, out),
        LogicalType::Bytea => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        LogicalType::Inet | LogicalType::Cidr => network::from_binary(logical, bytes, purpose, out),
        LogicalType::Macaddr => network::mac_from_binary(bytes, out),
        LogicalType::Json => from_text(logical, bytes, purpose, settings, out),
        LogicalType::Jsonb if declared == oid::JSON => from_text(logical, bytes, purpose, settings, out),
        LogicalType::Jsonb => match bytes {
            [jsonb::VERSION, text @ ..] => from_text(logical, text, purpose, settings, out),
            _ => Err(refusal::malformed(logical)),
        },
        LogicalType::Array(element) => {
            let (array, sent) = Array::from_binary(bytes)?;
            let declared = match declared::element(logical, declared) {
                Some((_, declared)) if declared != 0 => declared,
                _ => element.own_oid(),
            };
            if sent != declared {
                return Err(refusal::other_elements(element));
            }
            array_from(element, &array, out, |value, out| {
                from_binary(element, declared, value, purpose, settings, out)
            })
        }
        LogicalType::Enum(own) => label::read(own, checked_text(bytes)?, out),
        LogicalType::Domain(domain) => {
            if domain.checked && purpose == Purpose::Assign {
                return Err(refusal::checked_domain(&domain.name.name));
            }
            from_binary(&domain.base, declared, bytes, purpose, settings, out)
        }
        LogicalType::Named(_) => Err(refusal::unresolved(logical)),
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
    let cut = |error: ClientError| match error.sqlstate {
        sqlstate::STRING_DATA_RIGHT_TRUNCATION => does_not_fit(logical),
        _ => error,
    };
    read(Purpose::Assign, out).map_err(cut)?;
    let mut compared = zeroize::Zeroizing::new(Vec::new());
    read(Purpose::Compare, &mut compared)?;
    if out.get(start..) == Some(compared.as_slice()) {
        return Ok(());
    }
    out.truncate(start);
    Err(does_not_fit(logical))
}

fn does_not_fit(logical: &LogicalType) -> ClientError {
    refusal::unsupported(
        format!("a value that {logical} rounds or cuts is not supported in COALESCE, CASE, UNION or VALUES"),
        "Give a value that fits the type.",
    )
}

/// Appends the text form of canonical bytes to `out`, as PostgreSQL would show it in the session.
/// `bytea` is shown in hex here.
pub fn to_text(
    logical: &LogicalType,
    canonical: &[u8],
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    shown(logical, canonical, settings, true, out)
}

/// As [`to_text`], with `bytea` in the escape form: for sessions whose `bytea_output` is `escape`.
pub fn to_escaped_text(
    logical: &LogicalType,
    canonical: &[u8],
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    shown(logical, canonical, settings, false, out)
}

fn shown(
    logical: &LogicalType,
    canonical: &[u8],
    settings: &Settings,
    hex: bool,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    match logical {
        LogicalType::Text
        | LogicalType::Varchar(_)
        | LogicalType::Char(_)
        | LogicalType::Json
        | LogicalType::Enum(_) => {
            out.extend_from_slice(canonical);
            Ok(())
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
            integer::to_text(logical, canonical, out)
        }
        LogicalType::Bool => boolean::to_text(canonical, out),
        LogicalType::Date => date::to_text(canonical, settings, out),
        LogicalType::Time(_) => time::to_text(logical, canonical, out),
        LogicalType::Timetz(_) => time::zoned_to_text(logical, canonical, out),
        LogicalType::Timestamp(_) => timestamptz::to_text(logical, false, canonical, settings, out),
        LogicalType::Timestamptz(_) => timestamptz::to_text(logical, true, canonical, settings, out),
        LogicalType::Interval(_) => interval::to_text(canonical, settings, out),
        LogicalType::Float4 | LogicalType::Float8 => float::to_text(logical, canonical, out),
        LogicalType::UnboundedNumeric => numeric::any_to_text(logical, canonical, out),
        LogicalType::Inet | LogicalType::Cidr => network::to_text(logical, canonical, out),
        LogicalType::Macaddr => network::mac_to_text(canonical, out),
        LogicalType::Domain(domain) => shown(&domain.base, canonical, settings, hex, out),
        LogicalType::Array(element) => {
            let (array, _) = Array::from_binary(canonical).map_err(|_| refusal::corrupted(logical))?;
            array.to_text(out, |value, out| shown(element, value, settings, hex, out))
        }
        LogicalType::Named(_) => Err(refusal::unresolved(logical)),
        LogicalType::Uuid => uuid::to_text(canonical, out),
        LogicalType::Bytea => {
            if hex {
                bytes::to_text(canonical, out)
            } else {
                bytes::to_escaped(canonical, out)
            }
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
    let label = matches!(logical, LogicalType::Enum(_));
    if let LogicalType::Domain(domain) = logical {
        return to_binary(&domain.base, canonical, out);
    }
    if !label && usize::try_from(logical.size()).is_ok_and(|size| size != canonical.len()) {
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
