//! `time`, with and without time zone: microseconds of the day up to 24:00; with one, seconds west of
//! UTC after them.

use super::calendar::{EPOCH_DAYS, SECONDS_PER_DAY};
use super::datetime_input::{Zone, parse_time};
use super::settings::Settings;
use super::timestamptz::{MICROS, known, offset_at, push_offset, push_time, rounded};
use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::{LogicalType, Precision, Purpose};

const DAY: i64 = SECONDS_PER_DAY * MICROS;
/// Offsets are less than 16 hours.
const MAX_OFFSET: i32 = 16 * 3600;

/// A zone is read and dropped, as PostgreSQL does.
pub(super) fn from_text(
    logical: &LogicalType,
    precision: Precision,
    text: &str,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let (micros, _) = parse_time(logical, text)?;
    out.extend_from_slice(&stored(precision, micros, purpose).to_be_bytes());
    Ok(())
}

pub(super) fn zoned_from_text(
    logical: &LogicalType,
    precision: Precision,
    text: &str,
    purpose: Purpose,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let (micros, zone) = parse_time(logical, text)?;
    let east = match zone {
        Zone::Offset(seconds) => seconds,
        Zone::Session | Zone::Named(_) => offset_today(logical, settings)?,
    };
    out.extend_from_slice(&stored(precision, micros, purpose).to_be_bytes());
    let west = i32::try_from(-east).map_err(|_| refusal::out_of_range(logical))?;
    out.extend_from_slice(&west.to_be_bytes());
    Ok(())
}

/// The offset of the session's zone, which is the server's today: refused where it changes within
/// days, for the server's clock is another.
fn offset_today(logical: &LogicalType, settings: &Settings) -> Result<i64, ClientError> {
    let zone = known(&settings.time_zone)?;
    let now = jiff::Timestamp::now().as_second() - EPOCH_DAYS * SECONDS_PER_DAY;
    let (before, _) = offset_at(zone, now - 3 * SECONDS_PER_DAY)?;
    let (after, _) = offset_at(zone, now + 3 * SECONDS_PER_DAY)?;
    if before == after {
        return Ok(before);
    }
    Err(refusal::unsupported(
        format!("a value of type {logical} without an offset is not supported while the clocks change"),
        "Write the offset, such as 12:00+02.",
    ))
}

fn stored(precision: Precision, micros: i64, purpose: Purpose) -> i64 {
    if purpose == Purpose::Assign { rounded(precision, micros) } else { micros }
}

pub(super) fn from_binary(
    logical: &LogicalType,
    precision: Precision,
    bytes: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let micros = checked(logical, i64::from_be_bytes(take(logical, bytes)?))?;
    out.extend_from_slice(&stored(precision, micros, purpose).to_be_bytes());
    Ok(())
}

pub(super) fn zoned_from_binary(
    logical: &LogicalType,
    precision: Precision,
    bytes: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let (micros, west) = halves(logical, bytes)?;
    let micros = checked(logical, micros)?;
    if west <= -MAX_OFFSET || west >= MAX_OFFSET {
        return Err(refusal::displacement());
    }
    out.extend_from_slice(&stored(precision, micros, purpose).to_be_bytes());
    out.extend_from_slice(&west.to_be_bytes());
    Ok(())
}

fn halves(logical: &LogicalType, bytes: &[u8]) -> Result<(i64, i32), ClientError> {
    let [micros @ .., a, b, c, d]: [u8; 12] = take(logical, bytes)?;
    Ok((i64::from_be_bytes(micros), i32::from_be_bytes([a, b, c, d])))
}

fn checked(logical: &LogicalType, micros: i64) -> Result<i64, ClientError> {
    if (0..=DAY).contains(&micros) { Ok(micros) } else { Err(refusal::out_of_range(logical)) }
}

pub(super) fn to_text(logical: &LogicalType, canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let corrupted = || refusal::corrupted(logical);
    let micros = i64::from_be_bytes(take(logical, canonical).map_err(|_| corrupted())?);
    push_time(micros.div_euclid(MICROS), micros.rem_euclid(MICROS), out);
    Ok(())
}

pub(super) fn zoned_to_text(
    logical: &LogicalType,
    canonical: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let (micros, west) = halves(logical, canonical).map_err(|_| refusal::corrupted(logical))?;
    push_time(micros.div_euclid(MICROS), micros.rem_euclid(MICROS), out);
    push_offset(-i64::from(west), out);
    Ok(())
}
