//! `bytea`: the bytes themselves.

use super::refusal;
use crate::error::ClientError;
use crate::policy::LogicalType;

const TYPE: LogicalType = LogicalType::Bytea;
const INVALID_PARAMETER_VALUE: &str = "22023";

/// The hex form `\x…`, or else the escape form.
pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    match text.as_bytes() {
        [b'\\', b'x', hex @ ..] => from_hex(hex, out),
        escaped => from_escape(escaped, out).ok_or_else(|| refusal::syntax(&TYPE)),
    }
}

/// White space may stand between pairs of digits, not within one.
fn from_hex(mut hex: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let invalid = |message| ClientError::new(INVALID_PARAMETER_VALUE, message, "");
    if crate::hex::read(hex, out) {
        return Ok(());
    }
    while let Some((&first, rest)) = hex.split_first() {
        hex = rest;
        if matches!(first, b' ' | b'\n' | b'\t' | b'\r') {
            continue;
        }
        let high = super::hex_digit(first).ok_or_else(|| invalid("invalid hexadecimal digit"))?;
        let (&second, rest) =
            hex.split_first().ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits"))?;
        let low = super::hex_digit(second).ok_or_else(|| invalid("invalid hexadecimal digit"))?;
        out.push((high << 4) | low);
        hex = rest;
    }
    Ok(())
}

/// `\\` is a backslash, `\ooo` the byte of three octal digits, anything else itself.
fn from_escape(mut text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match *text {
            [b'\\', ref rest @ ..] => {
                out.push(b'\\');
                text = rest;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ref rest @ ..] => {
                out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                text = rest;
            }
            _ => return None,
        }
    }
    Some(())
}

pub(super) fn to_text(canonical: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    crate::hex::push(canonical, out);
}

/// The escape form, of sessions that ask for it.
pub(super) fn to_escaped(canonical: &[u8], out: &mut Vec<u8>) {
    for &byte in canonical {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            _ => {
                out.push(b'\\');
                out.extend([byte >> 6, (byte >> 3) & 7, byte & 7].map(|digit| b'0' + digit));
            }
        }
    }
}
