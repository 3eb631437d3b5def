//! Building messages at the end of a buffer.

use super::Malformed;

/// Appends a message whose body `body` writes. The buffer is as it was if that fails or the length
/// does not fit.
pub fn message<E: From<Malformed>>(
    out: &mut Vec<u8>,
    tag: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.push(tag);
    let result = counted(out, 4, body);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Appends an int32 length and what `body` writes; the length counts that and `own` bytes.
pub fn counted<E: From<Malformed>>(
    out: &mut Vec<u8>,
    own: usize,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out)?;
    let length = i32::try_from(out.len() - at - 4 + own).map_err(|_| Malformed::TooLong)?;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Appends a string and its NUL.
pub fn string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(string);
    out.push(0);
}

/// Appends an int16 count.
pub fn count(out: &mut Vec<u8>, count: usize, field: &'static str) -> Result<(), Malformed> {
    let count = u16::try_from(count).map_err(|_| Malformed::Field(field))?;
    out.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

/// Appends a value with its length, or the NULL.
pub fn value(out: &mut Vec<u8>, value: Option<&[u8]>) -> Result<(), Malformed> {
    match value {
        None => {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            Ok(())
        }
        Some(value) => counted(out, 0, |out| {
            out.extend_from_slice(value);
            Ok(())
        }),
    }
}
