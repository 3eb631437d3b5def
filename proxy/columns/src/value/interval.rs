//! `interval`: microseconds, days and months, each with a sign of its own. Read by `input`; shown in
//! each of PostgreSQL's four `IntervalStyle`s.

mod input;

use super::calendar::push_padded;
use super::settings::{IntervalStyle, Settings};
use super::timestamptz::rounded;
use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::{LogicalType, Precision};
use std::io::Write;

const TYPE: LogicalType = LogicalType::Interval(None);
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// An interval as it is stored.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Interval {
    micros: i64,
    days: i32,
    months: i32,
}

impl Interval {
    fn write(self, precision: Precision, out: &mut Vec<u8>) {
        out.extend_from_slice(&rounded(precision, self.micros).to_be_bytes());
        out.extend_from_slice(&self.days.to_be_bytes());
        out.extend_from_slice(&self.months.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Result<Self, ClientError> {
        let [micros @ .., a, b, c, d, e, f, g, h]: [u8; 16] = take(&TYPE, bytes)?;
        Ok(Self {
            micros: i64::from_be_bytes(micros),
            days: i32::from_be_bytes([a, b, c, d]),
            months: i32::from_be_bytes([e, f, g, h]),
        })
    }
}

pub(super) fn from_text(
    precision: Precision,
    text: &str,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    input::read(super::trim(text), settings)?.write(precision, out);
    Ok(())
}

/// What newer servers take for infinite is refused: older ones take it for a number.
pub(super) fn from_binary(precision: Precision, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let interval = Interval::read(bytes)?;
    let most = Interval { micros: i64::MAX, days: i32::MAX, months: i32::MAX };
    let least = Interval { micros: i64::MIN, days: i32::MIN, months: i32::MIN };
    if interval == most || interval == least {
        return Err(input::infinite());
    }
    interval.write(precision, out);
    Ok(())
}

/// The parts of an interval as they are shown. All of a part's numbers have the same sign.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
}

impl Parts {
    fn time(&self) -> [i64; 4] {
        [self.hour, self.minute, self.second, self.micros]
    }

    fn all(&self) -> [i64; 7] {
        [self.year, self.month, self.day, self.hour, self.minute, self.second, self.micros]
    }
}

fn negative(parts: &[i64]) -> bool {
    parts.iter().any(|part| *part < 0)
}

pub(super) fn to_text(canonical: &[u8], settings: &Settings, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let interval = Interval::read(canonical).map_err(|_| refusal::corrupted(&TYPE))?;
    let parts = Parts {
        year: i64::from(interval.months / 12),
        month: i64::from(interval.months % 12),
        day: i64::from(interval.days),
        hour: interval.micros / HOUR,
        minute: interval.micros % HOUR / MINUTE,
        second: interval.micros % MINUTE / SECOND,
        micros: interval.micros % SECOND,
    };
    let written = match settings.interval_style {
        Some(IntervalStyle::Postgres) => postgres(&parts, out),
        Some(IntervalStyle::Verbose) => verbose(&parts, out),
        Some(IntervalStyle::SqlStandard) => sql_standard(&parts, out),
        Some(IntervalStyle::Iso8601) => iso_8601(&parts, out),
        None => {
            return Err(refusal::unsupported(
                "cannot show a value of type interval: the session's IntervalStyle is not known".to_owned(),
                "Set IntervalStyle to postgres, postgres_verbose, sql_standard or iso_8601.",
            ));
        }
    };
    written.map_err(|_| refusal::too_large(&TYPE))
}

fn postgres(parts: &Parts, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (mut empty, mut after_negative) = (true, false);
    for (value, unit) in [(parts.year, "year"), (parts.month, "mon"), (parts.day, "day")] {
        if value == 0 {
            continue;
        }
        let space = if empty { "" } else { " " };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, "{space}{plus}{value} {unit}{plural}")?;
        (empty, after_negative) = (false, value < 0);
    }
    if empty || parts.time() != [0; 4] {
        let space = if empty { "" } else { " " };
        let sign = match (negative(&parts.time()), after_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        write!(out, "{space}{sign}")?;
        clock(parts, 2, out);
    }
    Ok(())
}

fn verbose(parts: &Parts, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (mut empty, mut ago) = (true, false);
    out.push(b'@');
    for (value, unit) in [
        (parts.year, "year"),
        (parts.month, "mon"),
        (parts.day, "day"),
        (parts.hour, "hour"),
        (parts.minute, "min"),
    ] {
        if value == 0 {
            continue;
        }
        ago = if empty { value < 0 } else { ago };
        let value = if ago { -value } else { value };
        write!(out, " {value} {unit}{}", if value == 1 { "" } else { "s" })?;
        empty = false;
    }
    if parts.second != 0 || parts.micros != 0 {
        out.push(b' ');
        let minus = parts.second < 0 || parts.micros < 0;
        if empty {
            ago = minus;
        } else if minus != ago {
            out.push(b'-');
        }
        seconds(parts, 1, out);
        let single = parts.second.abs() == 1 && parts.micros == 0;
        out.extend_from_slice(if single { b" sec" } else { b" secs" });
        empty = false;
    }
    if empty {
        out.extend_from_slice(b" 0");
    }
    if ago {
        out.extend_from_slice(b" ago");
    }
    Ok(())
}

fn sql_standard(parts: &Parts, out: &mut Vec<u8>) -> std::io::Result<()> {
    let all = parts.all();
    let (has_negative, has_positive) = (negative(&all), all.iter().any(|part| *part > 0));
    let months = parts.year != 0 || parts.month != 0;
    let day_time = parts.day != 0 || parts.time() != [0; 4];
    if !has_negative && !has_positive {
        out.push(b'0');
        return Ok(());
    }
    if (has_negative && has_positive) || (months && day_time) {
        let sign = |parts: &[i64]| if negative(parts) { '-' } else { '+' };
        let (year, month, day) = (parts.year.abs(), parts.month.abs(), parts.day.abs());
        let (months_sign, day_sign) = (sign(&[parts.year, parts.month]), sign(&[parts.day]));
        write!(out, "{months_sign}{year}-{month} {day_sign}{day} {}", sign(&parts.time()))?;
        clock(parts, 1, out);
        return Ok(());
    }
    if has_negative {
        out.push(b'-');
    }
    if months {
        return write!(out, "{}-{}", parts.year.abs(), parts.month.abs());
    }
    if parts.day != 0 {
        write!(out, "{} ", parts.day.abs())?;
    }
    clock(parts, 1, out);
    Ok(())
}

fn iso_8601(parts: &Parts, out: &mut Vec<u8>) -> std::io::Result<()> {
    if parts.all() == [0; 7] {
        return out.write_all(b"PT0S");
    }
    let write = |fields: &[(i64, char)], out: &mut Vec<u8>| {
        fields
            .iter()
            .filter(|(value, _)| *value != 0)
            .try_for_each(|(value, unit)| write!(out, "{value}{unit}"))
    };
    out.push(b'P');
    write(&[(parts.year, 'Y'), (parts.month, 'M'), (parts.day, 'D')], out)?;
    if parts.time() != [0; 4] {
        out.push(b'T');
        write(&[(parts.hour, 'H'), (parts.minute, 'M')], out)?;
    }
    if parts.second != 0 || parts.micros != 0 {
        if parts.second < 0 || parts.micros < 0 {
            out.push(b'-');
        }
        seconds(parts, 1, out);
        out.push(b'S');
    }
    Ok(())
}

/// `H:MM:SS[.ffffff]` without sign.
fn clock(parts: &Parts, hour_width: usize, out: &mut Vec<u8>) {
    push_padded(parts.hour, hour_width, out);
    out.push(b':');
    push_padded(parts.minute, 2, out);
    out.push(b':');
    seconds(parts, 2, out);
}

fn seconds(parts: &Parts, width: usize, out: &mut Vec<u8>) {
    push_padded(parts.second, width, out);
    if parts.micros != 0 {
        out.push(b'.');
        push_padded(parts.micros, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}
