//! `boolean`: one byte, 0 or 1.

use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::LogicalType;

const TYPE: LogicalType = LogicalType::Bool;

/// Unique prefixes of true, false, yes, no, on, off, and 1 and 0, in any case.
pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let word = super::trim(text);
    let prefix_of = |name: &str, shortest: usize| {
        word.len() >= shortest
            && name.get(..word.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(word))
    };
    let value = if prefix_of("true", 1) || prefix_of("yes", 1) || prefix_of("on", 2) || word == "1" {
        1
    } else if prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) || word == "0" {
        0
    } else {
        return Err(refusal::syntax(&TYPE));
    };
    out.push(value);
    Ok(())
}

/// Any byte but 0 is true, as in PostgreSQL.
pub(super) fn from_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let [byte] = take(&TYPE, bytes)?;
    out.push(u8::from(byte != 0));
    Ok(())
}

pub(super) fn to_text(canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    out.push(match canonical {
        [0] => b'f',
        [1] => b't',
        _ => return Err(refusal::corrupted(&TYPE)),
    });
    Ok(())
}
