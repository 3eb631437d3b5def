//! `date`: days from 2000-01-01, the ends of `i32` for the infinities.

use super::calendar::{Day, FIRST_DAY, push_padded};
use super::datetime_input::{Input, Zone, parse};
use super::settings::{Settings, Style};
use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::LogicalType;

const TYPE: LogicalType = LogicalType::Date;
/// The first day that is out of range: 5874898-01-01.
const END: i64 = 2_145_031_949;

/// A time of day or a zone is read and dropped, as PostgreSQL does.
pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let days = match parse(&TYPE, text)? {
        Input::Infinity => i32::MAX,
        Input::MinusInfinity => i32::MIN,
        Input::Moment { day, zone, .. } => {
            if let Zone::Named(name) = zone {
                super::timestamptz::named_zone(name)?;
            }
            checked(day.to_days())?
        }
    };
    out.extend_from_slice(&days.to_be_bytes());
    Ok(())
}

pub(super) fn from_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let days = i32::from_be_bytes(take(&TYPE, bytes)?);
    if !matches!(days, i32::MIN | i32::MAX) {
        checked(i64::from(days))?;
    }
    out.extend_from_slice(&days.to_be_bytes());
    Ok(())
}

fn checked(days: i64) -> Result<i32, ClientError> {
    match i32::try_from(days) {
        Ok(days) if (FIRST_DAY..END).contains(&i64::from(days)) => Ok(days),
        _ => Err(refusal::out_of_range(&TYPE)),
    }
}

pub(super) fn to_text(canonical: &[u8], settings: &Settings, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let style = settings.style.ok_or_else(|| unknown_style(&TYPE))?;
    match i32::from_be_bytes(take(&TYPE, canonical).map_err(|_| refusal::corrupted(&TYPE))?) {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        days => {
            let day = Day::from_days(i64::from(days));
            match style {
                Style::Postgres => push_with_year_last(day, settings.day_first, b'-', out),
                _ => push_day(day, style, settings.day_first, out),
            }
            push_era(day, out);
        }
    }
    Ok(())
}

/// Appends a day, but for its era, as the styles other than Postgres write it in dates and
/// timestamps alike.
pub(super) fn push_day(day: Day, style: Style, day_first: bool, out: &mut Vec<u8>) {
    match style {
        Style::Iso => {
            push_year(day, out);
            out.push(b'-');
            push_padded(day.month, 2, out);
            out.push(b'-');
            push_padded(day.day, 2, out);
        }
        Style::German => push_with_year_last(day, true, b'.', out),
        Style::Sql | Style::Postgres => push_with_year_last(day, day_first, b'/', out),
    }
}

fn push_with_year_last(day: Day, day_first: bool, separator: u8, out: &mut Vec<u8>) {
    let (first, second) = if day_first { (day.day, day.month) } else { (day.month, day.day) };
    push_padded(first, 2, out);
    out.push(separator);
    push_padded(second, 2, out);
    out.push(separator);
    push_year(day, out);
}

pub(super) fn push_year(day: Day, out: &mut Vec<u8>) {
    push_padded(if day.year > 0 { day.year } else { 1 - day.year }, 4, out);
}

pub(super) fn push_era(day: Day, out: &mut Vec<u8>) {
    if day.year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// PostgreSQL has no such `DateStyle`.
pub(super) fn unknown_style(logical: &LogicalType) -> ClientError {
    refusal::unsupported(
        format!("cannot show a value of type {logical}: the session's DateStyle is not known"),
        "Set DateStyle to ISO, SQL, German or Postgres.",
    )
}
