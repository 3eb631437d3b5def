//! `text` and `varchar(n)`: UTF-8 without NUL.

use crate::error::{ClientError, sqlstate};
use crate::policy::{LogicalType, Purpose, oid};

/// Cuts trailing spaces that exceed `varchar(n)` on assignment, and refuses anything else that does.
pub(super) fn from_text(
    logical: &LogicalType,
    text: &str,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let kept = match (logical, purpose) {
        (LogicalType::Varchar(Some(limit)), Purpose::Assign) => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            let end = if text.len() <= limit {
                text.len()
            } else {
                text.char_indices().nth(limit).map_or(text.len(), |(end, _)| end)
            };
            let (kept, excess) = text.split_at(end);
            if excess.bytes().any(|byte| byte != b' ') {
                return Err(ClientError::new(
                    sqlstate::STRING_DATA_RIGHT_TRUNCATION,
                    format!("value too long for type {logical}"),
                    "",
                ));
            }
            kept
        }
        _ => text,
    };
    out.extend_from_slice(kept.as_bytes());
    Ok(())
}

/// As [`from_text`]; a `character(n)` loses its trailing spaces, as PostgreSQL's cast does.
pub(super) fn from_binary(
    logical: &LogicalType,
    declared: u32,
    bytes: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let text = super::checked_text(bytes)?;
    let text = if declared == oid::BPCHAR { text.trim_end_matches(' ') } else { text };
    from_text(logical, text, purpose, out)
}
