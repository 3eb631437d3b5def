//! `uuid`: sixteen bytes.

use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::LogicalType;

const TYPE: LogicalType = LogicalType::Uuid;

/// Hex digits, a hyphen allowed after each group of four, braces allowed around all.
pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let uuid = parse(text.as_bytes()).ok_or_else(|| refusal::syntax(&TYPE))?;
    out.extend_from_slice(&uuid);
    Ok(())
}

fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    for (i, byte) in uuid.iter_mut().enumerate() {
        let (&[high, low], after) = rest.split_first_chunk()?;
        *byte = (super::hex_digit(high)? << 4) | super::hex_digit(low)?;
        rest = match after {
            [b'-', after @ ..] if i % 2 == 1 && i < 15 => after,
            _ => after,
        };
    }
    rest.is_empty().then_some(uuid)
}

pub(super) fn from_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let uuid: [u8; 16] = take(&TYPE, bytes)?;
    out.extend_from_slice(&uuid);
    Ok(())
}

pub(super) fn to_text(canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    if canonical.len() != 16 {
        return Err(refusal::corrupted(&TYPE));
    }
    for (i, &byte) in canonical.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        super::push_hex(byte, out);
    }
    Ok(())
}
