//! Enum types: the label itself.

use super::refusal;
use crate::error::ClientError;
use crate::policy::types::Enum;

pub(super) fn read(own: &Enum, text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    if !own.labels.iter().any(|label| label == text) {
        return Err(refusal::not_a_label(&own.name.name));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
