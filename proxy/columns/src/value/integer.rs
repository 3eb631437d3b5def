//! `smallint`, `integer`, `bigint`: two's complement, big-endian, in the type's own width.

use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::{LogicalType, Purpose, oid};
use std::io::Write;

/// White space around, an optional sign, decimal digits.
pub(super) fn from_text(logical: &LogicalType, text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let value = parse(logical, super::trim(text).as_bytes())?;
    store(logical, value, Purpose::Assign, out)
}

fn parse(logical: &LogicalType, text: &[u8]) -> Result<i64, ClientError> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(refusal::syntax(logical));
    }
    // Counted downwards, since the smallest number has no positive counterpart.
    let mut value = 0_i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(refusal::syntax(logical));
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(byte - b'0')))
            .ok_or_else(|| refusal::out_of_range(logical))?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or_else(|| refusal::out_of_range(logical)) }
}

/// Appends `value` in the type's width. A value that the column cannot hold is an error to assign;
/// compared, it is appended in eight bytes, which equal no stored value.
pub(super) fn store(
    logical: &LogicalType,
    value: i64,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    match (logical, i16::try_from(value), i32::try_from(value)) {
        (LogicalType::Int2, Ok(value), _) => out.extend_from_slice(&value.to_be_bytes()),
        (LogicalType::Int4, _, Ok(value)) => out.extend_from_slice(&value.to_be_bytes()),
        (LogicalType::Int2 | LogicalType::Int4, ..) if purpose == Purpose::Assign => {
            return Err(refusal::out_of_range(logical));
        }
        _ => out.extend_from_slice(&value.to_be_bytes()),
    }
    Ok(())
}

/// Reads the binary form of the integer type with this OID.
pub(super) fn read(logical: &LogicalType, declared: u32, bytes: &[u8]) -> Result<i64, ClientError> {
    Ok(match declared {
        oid::INT2 => i64::from(i16::from_be_bytes(take(logical, bytes)?)),
        oid::INT4 => i64::from(i32::from_be_bytes(take(logical, bytes)?)),
        _ => i64::from_be_bytes(take(logical, bytes)?),
    })
}

pub(super) fn to_text(logical: &LogicalType, canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let value = read(logical, logical.oid(), canonical).map_err(|_| refusal::corrupted(logical))?;
    write!(out, "{value}").map_err(|_| refusal::too_large(logical))
}
