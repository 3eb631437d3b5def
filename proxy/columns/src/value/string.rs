//! `text`, `varchar(n)` and `char(n)`: UTF-8 without NUL; the last padded with spaces to its length.

use crate::error::{ClientError, sqlstate};
use crate::policy::{LogicalType, Purpose, oid};

/// Cuts trailing spaces that exceed `varchar(n)` or `char(n)` on assignment, and refuses anything else
/// that does. Compared, a `char(n)` is padded too, for spaces at the end do not count.
pub(super) fn from_text(
    logical: &LogicalType,
    text: &str,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let kept = match (logical, purpose) {
        (LogicalType::Char(_), Purpose::Compare | Purpose::Flow) => text.trim_end_matches(' '),
        (LogicalType::Varchar(Some(limit)) | LogicalType::Char(limit), Purpose::Assign) => {
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
    if let LogicalType::Char(length) = logical {
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        out.extend(std::iter::repeat_n(b' ', length.saturating_sub(kept.chars().count())));
    }
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
    let text = if declared == oid::BPCHAR && !matches!(logical, LogicalType::Char(_)) {
        text.trim_end_matches(' ')
    } else {
        text
    };
    // Compared with `text`, a `char(n)` has no spaces at its end, and the other's count.
    let counts = matches!(declared, oid::TEXT | oid::NAME) && matches!(logical, LogicalType::Char(_));
    if counts && purpose != Purpose::Assign && text.ends_with(' ') {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
        return Ok(());
    }
    from_text(logical, text, purpose, out)
}
