//! `timestamp`, with and without time zone: microseconds from 2000-01-01 00:00 (UTC if with one), the
//! ends of `i64` for the infinities.

use super::calendar::{Day, EPOCH_DAYS, FIRST_DAY, SECONDS_PER_DAY, instant, offset_of_local, push_padded};
use super::date::{push_day, push_era, push_year, unknown_style};
use super::datetime_input::{Input, Zone, parse};
use super::settings::{Settings, Style};
use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::{LogicalType, Precision, Purpose};
use jiff::tz::TimeZone;

const TYPE: LogicalType = LogicalType::Timestamptz(None);
const LOCAL: LogicalType = LogicalType::Timestamp(None);
pub(super) const MICROS: i64 = 1_000_000;
/// The first moment in range: 4714-11-24 00:00 UTC BC.
const START: i64 = FIRST_DAY * SECONDS_PER_DAY * MICROS;
/// The first moment out of range: 294277-01-01 00:00 UTC.
const END: i64 = 9_223_371_331_200_000_000;
const WEEKDAYS: [&str; 7] = ["Sat", "Sun", "Mon", "Tue", "Wed", "Thu", "Fri"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// PostgreSQL cuts zone abbreviations here.
const MAX_ABBREVIATION: usize = 10;

pub(super) fn from_text(text: &str, settings: &Settings, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let moment = match parse(&TYPE, text)? {
        Input::Infinity => i64::MAX,
        Input::MinusInfinity => i64::MIN,
        Input::Moment { day, micros, zone } => {
            let local = local_seconds(day, micros);
            let offset = match zone {
                Zone::Offset(seconds) => seconds,
                Zone::Session => local_offset(known(&settings.time_zone)?, local)?,
                Zone::Named(name) => local_offset(&named_zone(name)?, local)?,
            };
            moment(local - offset, micros % MICROS)?
        }
    };
    out.extend_from_slice(&moment.to_be_bytes());
    Ok(())
}

/// Reads the text form of `timestamp without time zone`. A zone in it is read and dropped, as
/// PostgreSQL does.
pub(super) fn local_from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let local = match parse(&LOCAL, text)? {
        Input::Infinity => i64::MAX,
        Input::MinusInfinity => i64::MIN,
        Input::Moment { day, micros, zone } => {
            if let Zone::Named(name) = zone {
                named_zone(name)?;
            }
            moment(local_seconds(day, micros), micros % MICROS)?
        }
    };
    out.extend_from_slice(&local.to_be_bytes());
    Ok(())
}

/// Rounds what is assigned, and stands from `start` on, to the column's precision.
pub(super) fn round(
    precision: Precision,
    purpose: Purpose,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let Some(bytes) = out.get(start..).filter(|_| purpose == Purpose::Assign) else { return Ok(()) };
    let moment = i64::from_be_bytes(take(&TYPE, bytes)?);
    if matches!(moment, i64::MIN | i64::MAX) {
        return Ok(());
    }
    let moment = checked(rounded(precision, moment))?;
    out.truncate(start);
    out.extend_from_slice(&moment.to_be_bytes());
    Ok(())
}

/// Microseconds with as many digits of a second, half away from zero.
pub(super) fn rounded(precision: Precision, micros: i64) -> i64 {
    let Some(digits @ 0..6) = precision else { return micros };
    let unit = 10_i64.pow(6 - u32::from(digits));
    let magnitude = micros.saturating_abs().saturating_add(unit / 2) / unit * unit;
    if micros < 0 { -magnitude } else { magnitude }
}

/// Appends the local time of the session's zone at an instant, as the cast to `timestamp` does.
pub(super) fn to_local(bytes: &[u8], settings: &Settings, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let moment = i64::from_be_bytes(take(&LOCAL, bytes)?);
    if matches!(moment, i64::MIN | i64::MAX) {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let offset = offset_at(known(&settings.time_zone)?, checked(moment)?.div_euclid(MICROS))?.0;
    out.extend_from_slice(&checked(moment + offset * MICROS)?.to_be_bytes());
    Ok(())
}

/// Appends midnight of a day, given in the binary form of `date`, as the cast to `timestamp` does.
pub(super) fn midnight(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let midnight = match i32::from_be_bytes(take(&LogicalType::Date, bytes)?) {
        i32::MAX => i64::MAX,
        i32::MIN => i64::MIN,
        days => moment(i64::from(days) * SECONDS_PER_DAY, 0)?,
    };
    out.extend_from_slice(&midnight.to_be_bytes());
    Ok(())
}

/// Reads the binary form of `timestamp without time zone` as a time of the session's zone.
pub(super) fn from_local_binary(
    bytes: &[u8],
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let local = i64::from_be_bytes(take(&TYPE, bytes)?);
    if matches!(local, i64::MIN | i64::MAX) {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let seconds = checked(local)?.div_euclid(MICROS);
    let offset = local_offset(known(&settings.time_zone)?, seconds)?;
    out.extend_from_slice(&moment(seconds - offset, local.rem_euclid(MICROS))?.to_be_bytes());
    Ok(())
}

fn local_seconds(day: Day, micros_of_day: i64) -> i64 {
    day.to_days() * SECONDS_PER_DAY + micros_of_day / MICROS
}

fn moment(seconds: i64, micros: i64) -> Result<i64, ClientError> {
    let moment = seconds.checked_mul(MICROS).and_then(|moment| moment.checked_add(micros));
    checked(moment.ok_or_else(|| refusal::out_of_range(&TYPE))?)
}

/// Seconds east of UTC in `zone` at a local time in seconds from 2000-01-01.
pub(super) fn local_offset(zone: &TimeZone, local: i64) -> Result<i64, ClientError> {
    offset_of_local(zone, local + EPOCH_DAYS * SECONDS_PER_DAY).ok_or_else(|| refusal::out_of_range(&TYPE))
}

/// A zone that the text names.
pub(super) fn named_zone(name: &str) -> Result<TimeZone, ClientError> {
    match TimeZone::get(name) {
        Ok(zone) if !zone.is_unknown() => Ok(zone),
        // PostgreSQL may read it as a POSIX form.
        _ if name.bytes().any(|byte| byte.is_ascii_digit()) => Err(refusal::unsupported(
            format!("this form of time zone in input for type {TYPE} is not supported"),
            "Use an offset such as +01:00, or a name of the IANA time zone database.",
        )),
        _ => Err(ClientError::new("22023", "time zone not recognized", "")),
    }
}

pub(super) fn known(zone: &TimeZone) -> Result<&TimeZone, ClientError> {
    if zone.is_unknown() {
        return Err(refusal::unsupported(
            format!("a value of type {TYPE} depends on the session's TimeZone, which is not known here"),
            "Set TimeZone to a name of the IANA time zone database, such as Europe/Berlin.",
        ));
    }
    Ok(zone)
}

pub(super) fn from_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let moment = i64::from_be_bytes(take(&TYPE, bytes)?);
    if !matches!(moment, i64::MIN | i64::MAX) {
        checked(moment)?;
    }
    out.extend_from_slice(&moment.to_be_bytes());
    Ok(())
}

fn checked(moment: i64) -> Result<i64, ClientError> {
    if (START..END).contains(&moment) { Ok(moment) } else { Err(refusal::out_of_range(&TYPE)) }
}

/// Seconds east of UTC at an instant, in seconds from 2000-01-01, and the zone's abbreviation then.
pub(super) fn offset_at(zone: &TimeZone, utc: i64) -> Result<(i64, String), ClientError> {
    let instant = instant(utc + EPOCH_DAYS * SECONDS_PER_DAY).ok_or_else(|| refusal::out_of_range(&TYPE))?;
    let info = zone.to_offset_info(instant);
    let abbreviation = info.abbreviation().chars().take(MAX_ABBREVIATION).collect();
    Ok((i64::from(info.offset().seconds()), abbreviation))
}

/// With `zoned`, as the session's zone shows an instant; else as it is.
pub(super) fn to_text(
    logical: &LogicalType,
    zoned: bool,
    canonical: &[u8],
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let corrupted = || refusal::corrupted(logical);
    let moment = match i64::from_be_bytes(take(logical, canonical).map_err(|_| corrupted())?) {
        infinite @ (i64::MAX | i64::MIN) => {
            out.extend_from_slice(if infinite > 0 { &b"infinity"[..] } else { b"-infinity" });
            return Ok(());
        }
        moment => checked(moment).map_err(|_| corrupted())?,
    };
    let style = settings.style.ok_or_else(|| unknown_style(logical))?;
    let (utc, micros) = (moment.div_euclid(MICROS), moment.rem_euclid(MICROS));
    let zone = if zoned { Some(offset_at(known(&settings.time_zone)?, utc)?) } else { None };
    let offset = zone.as_ref().map_or(0, |(offset, _)| *offset);
    let local = utc + offset;
    let (days, second) = (local.div_euclid(SECONDS_PER_DAY), local.rem_euclid(SECONDS_PER_DAY));
    let day = Day::from_days(days);

    if style == Style::Postgres {
        let weekday = usize::try_from(days.rem_euclid(7)).ok().and_then(|i| WEEKDAYS.get(i));
        let month = usize::try_from(day.month - 1).ok().and_then(|i| MONTHS.get(i));
        out.extend_from_slice(weekday.copied().unwrap_or_default().as_bytes());
        out.push(b' ');
        let month = month.copied().unwrap_or_default().as_bytes();
        if settings.day_first {
            push_padded(day.day, 2, out);
            out.push(b' ');
            out.extend_from_slice(month);
        } else {
            out.extend_from_slice(month);
            out.push(b' ');
            push_padded(day.day, 2, out);
        }
    } else {
        push_day(day, style, settings.day_first, out);
    }
    out.push(b' ');
    push_time(second, micros, out);
    if style == Style::Postgres {
        out.push(b' ');
        push_year(day, out);
    }
    match zone {
        Some((offset, _)) if style == Style::Iso => push_offset(offset, out),
        Some((_, abbreviation)) => {
            out.push(b' ');
            out.extend_from_slice(abbreviation.as_bytes());
        }
        None => {}
    }
    push_era(day, out);
    Ok(())
}

pub(super) fn push_time(second: i64, micros: i64, out: &mut Vec<u8>) {
    push_padded(second / 3600, 2, out);
    out.push(b':');
    push_padded(second / 60 % 60, 2, out);
    out.push(b':');
    push_padded(second % 60, 2, out);
    if micros != 0 {
        out.push(b'.');
        push_padded(micros, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Minutes and seconds only where they are not zero.
pub(super) fn push_offset(offset: i64, out: &mut Vec<u8>) {
    out.push(if offset < 0 { b'-' } else { b'+' });
    let (minute, second) = (offset.abs() / 60 % 60, offset.abs() % 60);
    push_padded(offset.abs() / 3600, 2, out);
    if minute != 0 || second != 0 {
        out.push(b':');
        push_padded(minute, 2, out);
    }
    if second != 0 {
        out.push(b':');
        push_padded(second, 2, out);
    }
}
