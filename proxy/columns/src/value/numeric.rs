//! `numeric(p,s)`: PostgreSQL's digits in base 10,000, without zeros at either end, the display scale
//! fixed by the column: equal values are equal bytes.

mod number;

use super::refusal;
use crate::error::ClientError;
use crate::policy::{LogicalType, Purpose};
use number::{Number, Sign, View};
use std::io::Write;

fn logical(precision: u16, scale: u16) -> LogicalType {
    LogicalType::Numeric { precision, scale }
}

/// White space around, a sign, decimal digits with a point, an exponent; or `NaN`, `Infinity`.
pub(super) fn from_text(
    precision: u16,
    scale: u16,
    text: &str,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    store(precision, scale, Number::parse(&logical(precision, scale), super::trim(text))?, purpose, out)
}

pub(super) fn from_binary(
    precision: u16,
    scale: u16,
    bytes: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    store(precision, scale, Number::receive(&logical(precision, scale), bytes)?, purpose, out)
}

pub(super) fn from_integer(
    precision: u16,
    scale: u16,
    value: i64,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let number = Number::parse(&logical(precision, scale), &value.to_string())?;
    store(precision, scale, number, purpose, out)
}

/// Decimal digits that a `double precision` always keeps (C's `DBL_DIG`).
const FLOAT_DIGITS: u16 = 15;

/// Assigned, a `double precision` is cast to `numeric`, which keeps 15 digits. Compared, the column is
/// cast to it: where the column has no more than 15 digits, the one value that is cast to the same
/// number is its shortest decimal form, if any is.
pub(super) fn from_float(
    precision: u16,
    scale: u16,
    value: f64,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let logical = &logical(precision, scale);
    let decimal = match purpose {
        Purpose::Assign => format!("{value:.*e}", usize::from(FLOAT_DIGITS - 1)),
        Purpose::Compare | Purpose::Flow if precision <= FLOAT_DIGITS => format!("{value:e}"),
        Purpose::Compare | Purpose::Flow => {
            return Err(refusal::unsupported(
                format!("comparing {logical} with a parameter of type double precision is not supported"),
                "Declare the parameter as numeric: several values of the column may equal one double.",
            ));
        }
    };
    store(precision, scale, Number::parse(logical, &decimal)?, purpose, out)
}

/// Assigned, a value is rounded to the column's scale and must fit its precision. Compared, it keeps
/// all its digits, so that one which the column cannot hold equals none that it holds.
fn store(
    precision: u16,
    scale: u16,
    mut number: Number,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let logical = &logical(precision, scale);
    if purpose == Purpose::Assign {
        number.round(i32::from(scale));
        if !number.fits(precision, scale) {
            return Err(ClientError::new(
                crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "numeric field overflow",
                "",
            ));
        }
    }
    number.write(i32::from(scale), out).ok_or_else(|| refusal::out_of_range(logical))
}

/// Reads the binary form of `numeric` for an integer column. Assigned, it is rounded; compared, a
/// value that the column cannot hold becomes bytes of a length that no stored value has.
pub(super) fn to_integer(
    logical: &LogicalType,
    bytes: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let mut number = Number::receive(logical, bytes)?;
    if purpose == Purpose::Assign {
        if !number.is_finite() {
            return Err(refusal::unsupported(
                format!("cannot convert NaN or infinity to {}", logical.base_name()),
                "",
            ));
        }
        number.round(0);
    }
    match number.to_i64() {
        Some(value) => super::integer::store(logical, value, purpose, out),
        None if purpose == Purpose::Assign => Err(refusal::out_of_range(logical)),
        None => {
            number.write(0, out).ok_or_else(|| refusal::out_of_range(logical))?;
            out.push(0);
            Ok(())
        }
    }
}

/// Reads the text form of `numeric` into its binary form, with its own scale.
pub(super) fn text_to_binary(
    logical: &LogicalType,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let number = Number::parse(logical, super::trim(text))?;
    number.write(number.scale(), out).ok_or_else(|| refusal::out_of_range(logical))
}

/// Reads the binary form of `numeric`, with its own scale.
pub(super) fn any_from_binary(
    logical: &LogicalType,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let number = Number::receive(logical, bytes)?;
    number.write(number.scale(), out).ok_or_else(|| refusal::out_of_range(logical))
}

/// Shows the binary form of any `numeric`.
pub(super) fn any_to_text(
    logical: &LogicalType,
    canonical: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    View::of(canonical).and_then(|view| show(&view, out)).ok_or_else(|| refusal::corrupted(logical))
}

/// Reads one number of a JSON text and appends it as PostgreSQL shows it, with its own scale.
pub(super) fn normalize(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let mut sent = Vec::new();
    text_to_binary(&LogicalType::Jsonb, text, &mut sent)?;
    View::of(&sent)
        .and_then(|view| show(&view, out))
        .ok_or_else(|| refusal::out_of_range(&LogicalType::Jsonb))
}

pub(super) fn to_text(
    precision: u16,
    scale: u16,
    canonical: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    View::of(canonical)
        .and_then(|view| show(&view, out))
        .ok_or_else(|| refusal::corrupted(&logical(precision, scale)))
}

fn show(view: &View<'_>, out: &mut Vec<u8>) -> Option<()> {
    match view.sign {
        Sign::Positive => {}
        Sign::Negative => out.push(b'-'),
        Sign::NotANumber => return out.write_all(b"NaN").ok(),
        Sign::Infinity => return out.write_all(b"Infinity").ok(),
        Sign::MinusInfinity => return out.write_all(b"-Infinity").ok(),
    }
    write!(out, "{}", view.digit(view.weight.max(0))).ok()?;
    for weight in (0..view.weight.max(0)).rev() {
        write!(out, "{:04}", view.digit(weight)).ok()?;
    }
    if view.scale > 0 {
        out.push(b'.');
        let end = out.len() + usize::try_from(view.scale).ok()?;
        let mut weight = -1;
        while out.len() < end {
            write!(out, "{:04}", view.digit(weight)).ok()?;
            weight -= 1;
        }
        out.truncate(end);
    }
    Some(())
}
