//! `real` and `double precision` (IEEE 754), shown with the fewest digits that give the number back:
//! PostgreSQL's form while `extra_float_digits` is above 0.

use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::{LogicalType, oid};

/// White space around a decimal number, `NaN` or infinity.
pub(super) fn from_text(logical: &LogicalType, text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let text = super::trim(text);
    if *logical == LogicalType::Float4 {
        let value: f32 = text.parse().map_err(|_| not_read(logical, text))?;
        check(logical, text, value.is_infinite(), value == 0.0)?;
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.extend_from_slice(&double(logical, text)?.to_be_bytes());
    }
    Ok(())
}

/// Reads the text form of `double precision`.
pub(super) fn double(logical: &LogicalType, text: &str) -> Result<f64, ClientError> {
    let text = super::trim(text);
    let value: f64 = text.parse().map_err(|_| not_read(&LogicalType::Float8, text))?;
    check(logical, text, value.is_infinite(), value == 0.0)?;
    Ok(value)
}

/// A number given in digits is neither infinite nor, unless its digits are 0, zero.
fn check(logical: &LogicalType, text: &str, infinite: bool, zero: bool) -> Result<(), ClientError> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let overflow = infinite && text.contains(|c: char| c.is_ascii_digit());
    let underflow = zero && mantissa.contains(|c: char| matches!(c, '1'..='9'));
    if overflow || underflow { Err(refusal::out_of_range(logical)) } else { Ok(()) }
}

/// C's hexadecimal form and NaNs with a payload are read by the server, by way of its `strtod`.
fn not_read(logical: &LogicalType, text: &str) -> ClientError {
    let digits = text.trim_start_matches(['+', '-']);
    let starts = |prefix: &str| digits.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
    if starts("0x") || starts("nan(") || digits.eq_ignore_ascii_case("nan") {
        return refusal::unsupported(
            format!("this form of input for type {logical} is not supported"),
            "Write the number in decimal digits.",
        );
    }
    refusal::syntax(logical)
}

/// Reads the binary form of the type with this OID, which PostgreSQL converts by assignment.
pub(super) fn from_binary(
    logical: &LogicalType,
    declared: u32,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    if oid::is_integer(declared) {
        let value = super::integer::read(logical, declared, bytes)?;
        return from_text(logical, &value.to_string(), out);
    }
    if declared == oid::NUMERIC {
        let mut shown = Vec::new();
        super::numeric::any_to_text(logical, bytes, &mut shown)?;
        let text = str::from_utf8(&shown).map_err(|_| refusal::malformed(logical))?;
        return from_text(logical, text, out);
    }
    match (logical, declared) {
        (LogicalType::Float4, oid::FLOAT8) => {
            let value = f64::from_be_bytes(take(logical, bytes)?);
            #[expect(clippy::cast_possible_truncation, reason = "it rounds, as PostgreSQL's cast does")]
            let single = value as f32;
            if (single.is_infinite() && value.is_finite()) || (single == 0.0 && value != 0.0) {
                return Err(refusal::out_of_range(logical));
            }
            out.extend_from_slice(&single.to_be_bytes());
        }
        (LogicalType::Float4, _) => out.extend_from_slice(&take::<4>(logical, bytes)?),
        (_, oid::FLOAT4) => {
            let value = f64::from(f32::from_be_bytes(take(logical, bytes)?));
            out.extend_from_slice(&value.to_be_bytes());
        }
        _ => out.extend_from_slice(&take::<8>(logical, bytes)?),
    }
    Ok(())
}

pub(super) fn to_text(logical: &LogicalType, canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let corrupted = |_| refusal::corrupted(logical);
    let (number, limit) = if *logical == LogicalType::Float4 {
        let value = f32::from_be_bytes(take(logical, canonical).map_err(corrupted)?);
        let ends = [value.next_down(), value.next_up()].map(f64::from);
        let number = |digits: Option<usize>| match digits {
            None => format!("{value:e}"),
            Some(digits) => format!("{value:.digits$e}"),
        };
        (shortest(f64::from(value), ends, number), 6)
    } else {
        let value = f64::from_be_bytes(take(logical, canonical).map_err(corrupted)?);
        let number = |digits: Option<usize>| match digits {
            None => format!("{value:e}"),
            Some(digits) => format!("{value:.digits$e}"),
        };
        (shortest(value, [value.next_down(), value.next_up()], number), 15)
    };
    match number.as_str() {
        "NaN" => out.extend_from_slice(b"NaN"),
        "inf" => out.extend_from_slice(b"Infinity"),
        "-inf" => out.extend_from_slice(b"-Infinity"),
        number => push(number, limit, out).ok_or_else(|| refusal::corrupted(logical))?,
    }
    Ok(())
}

/// The shortest decimal that is nearer to the value than to its neighbours: not half way, where Rust
/// stops, since it reads that as the even one of the two.
fn shortest(value: f64, ends: [f64; 2], number: impl Fn(Option<usize>) -> String) -> String {
    let mut found = number(None);
    let mut digits = found.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count();
    while digits < 20 && on_border(&found, value, ends) {
        found = number(Some(digits));
        digits += 1;
    }
    found
}

/// Whether the decimal number lies exactly half way to the next number. Among numbers of so few digits
/// only integers do.
fn on_border(scientific: &str, value: f64, [below, above]: [f64; 2]) -> bool {
    let integer = |value: f64| format!("{:.0}", value.abs()).parse::<u128>().ok();
    if !(8e6..1e36).contains(&value.abs()) {
        return false;
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let zeros = exponent.parse::<usize>().ok().and_then(|exponent| exponent.checked_sub(fraction));
    let decimal = zeros.and_then(|zeros| {
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        format!("{digits}{}", "0".repeat(zeros)).parse::<u128>().ok()
    });
    let (Some(decimal), Some(value)) = (decimal, integer(value)) else { return false };
    decimal != value
        && [below, above].into_iter().filter_map(integer).any(|next| {
            (next > value) == (decimal > value) && decimal.abs_diff(value) * 2 == next.abs_diff(value)
        })
}

/// Writes `-d.ddde±x` as C's `%g` would: an exponent below -4 or from `limit` on stays, with two digits
/// at least.
fn push(scientific: &str, limit: i32, out: &mut Vec<u8>) -> Option<()> {
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    out.extend_from_slice(sign.as_bytes());
    if !(-4..limit).contains(&exponent) {
        out.extend_from_slice(mantissa.as_bytes());
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        super::calendar::push_padded(i64::from(exponent), 2, out);
        return Some(());
    }
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let (whole, fraction) = digits.split_at_checked(exponent + 1).unwrap_or((&digits, ""));
            out.extend_from_slice(whole.as_bytes());
            out.extend(std::iter::repeat_n(b'0', exponent + 1 - whole.len()));
            if !fraction.is_empty() {
                out.push(b'.');
                out.extend_from_slice(fraction.as_bytes());
            }
        }
        Err(_) => {
            out.extend_from_slice(b"0.");
            let zeros = usize::try_from(-1 - exponent).ok()?;
            out.extend(std::iter::repeat_n(b'0', zeros));
            out.extend_from_slice(digits.as_bytes());
        }
    }
    Some(())
}
