//! Reads an interval: numbers with units and a time of day (`1 year -2 days +04:05:06`, `@ 1 hour ago`),
//! or ISO 8601's designators (`P1Y2DT3H`). Other forms that PostgreSQL has are refused.

use super::super::datetime_input::micros_of_fraction;
use super::super::settings::{IntervalStyle, Settings};
use super::{HOUR, Interval, MINUTE, SECOND, TYPE, refusal};
use crate::error::ClientError;

const DAY: i64 = 24 * HOUR;
const INTERVAL_FIELD_OVERFLOW: &str = "22015";

/// What a unit stands for. Its bit says which units may stand once only.
#[derive(Clone, Copy)]
enum Unit {
    Months(i64, u16),
    Days(i64, u16),
    Micros(i64, u16),
}

const MONTH_BIT: u16 = 1;
const DAY_BIT: u16 = 2;
const HOUR_BIT: u16 = 4;
const MINUTE_BIT: u16 = 8;
const SECOND_BIT: u16 = 16;
const MILLI_BIT: u16 = 32;
const MICRO_BIT: u16 = 64;
const ALL_SECONDS: u16 = SECOND_BIT | MILLI_BIT | MICRO_BIT;

fn unit(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "useconds" | "microsecond" | "microseconds" => Unit::Micros(1, MICRO_BIT),
        "ms" | "msec" | "msecs" | "mseconds" | "millisecond" | "milliseconds" => {
            Unit::Micros(1_000, MILLI_BIT)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(SECOND, SECOND_BIT),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MINUTE, MINUTE_BIT),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(HOUR, HOUR_BIT),
        "d" | "day" | "days" => Unit::Days(1, DAY_BIT),
        "w" | "week" | "weeks" => Unit::Days(7, 128),
        "mon" | "mons" | "month" | "months" => Unit::Months(1, MONTH_BIT),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12, 256),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120, 512),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1_200, 1_024),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000, 2_048),
        _ => return None,
    })
}

pub(super) fn read(text: &str, settings: &Settings) -> Result<Interval, ClientError> {
    let bare = text.trim_start_matches(['+', '-']);
    if bare.eq_ignore_ascii_case("infinity") {
        return Err(infinite());
    }
    let mut sum = Sum::default();
    if let Some(fields) = text.strip_prefix('P') {
        sum.designated(fields)?;
        return sum.interval();
    }
    // Under sql_standard a sign at the start holds for all numbers, if it is the only one.
    sum.all_negative = settings.interval_style == Some(IntervalStyle::SqlStandard)
        && text.strip_prefix('-').is_some_and(|rest| !rest.contains(['+', '-']));
    if settings.interval_style.is_none() && text.contains(['+', '-']) {
        return Err(other_form());
    }
    sum.fields(text)?;
    sum.interval()
}

/// An infinite interval.
pub(super) fn infinite() -> ClientError {
    refusal::unsupported(
        "an infinite interval is not supported".to_owned(),
        "Use NULL, or a finite interval.",
    )
}

fn other_form() -> ClientError {
    refusal::unsupported(
        "this form of input for type interval is not supported".to_owned(),
        "Use a form such as '1 year 2 mons -3 days 04:05:06.789' or 'P1Y2M-3DT4H5M6.789S'.",
    )
}

fn overflow() -> ClientError {
    ClientError::new(INTERVAL_FIELD_OVERFLOW, "interval field value out of range", "")
}

#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
    seen: u16,
    all_negative: bool,
}

/// A number as it stands in the text.
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    /// A sign, digits, and digits after a point; one of the two must be there.
    fn take(text: &'a str) -> Option<(Self, &'a str)> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, mut rest) = digits(rest);
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            (fraction, rest) = digits(after);
        }
        (!whole.is_empty() || !fraction.is_empty()).then_some((Self { negative, whole, fraction }, rest))
    }

    fn whole(&self) -> Result<i64, ClientError> {
        let value: i64 =
            if self.whole.is_empty() { 0 } else { self.whole.parse().map_err(|_| overflow())? };
        Ok(if self.negative { -value } else { value })
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

impl Sum {
    fn fields(&mut self, text: &str) -> Result<(), ClientError> {
        let skip = |rest: &'_ str| -> usize {
            rest.len() - rest.trim_start_matches(|c| super::super::is_space(c) || c == ',').len()
        };
        let mut rest = text.strip_prefix('@').unwrap_or(text);
        let mut numbers = 0;
        loop {
            rest = rest.get(skip(rest)..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if numbers > 0 && rest.eq_ignore_ascii_case("ago") {
                let negated = |value: i64| value.checked_neg().ok_or_else(overflow);
                (self.months, self.days, self.micros) =
                    (negated(self.months)?, negated(self.days)?, negated(self.micros)?);
                break;
            }
            let Some((mut number, after)) = Number::take(rest) else {
                return Err(if rest.contains(|c: char| c.is_ascii_digit()) && numbers == 0 {
                    other_form()
                } else {
                    refusal::syntax(&TYPE)
                });
            };
            numbers += 1;
            number.negative |= self.all_negative;
            if let Some(minutes) = after.strip_prefix(':') {
                rest = self.clock(&number, minutes)?;
                continue;
            }
            let after = after.get(skip(after)..).unwrap_or_default();
            let (word, after) =
                after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
            if word.is_empty() {
                // A number alone is of seconds.
                if numbers > 1 || !after.is_empty() {
                    return Err(other_form());
                }
                self.add(&number, Unit::Micros(SECOND, SECOND_BIT))?;
                break;
            }
            if after.starts_with(|c: char| c.is_alphanumeric()) {
                return Err(refusal::syntax(&TYPE));
            }
            if after.starts_with(['+', '-', '.', '/', ':']) {
                return Err(other_form());
            }
            self.add(&number, unit(word).ok_or_else(|| refusal::syntax(&TYPE))?)?;
            rest = after;
        }
        if numbers == 0 { Err(refusal::syntax(&TYPE)) } else { Ok(()) }
    }

    /// `H:MM[:SS[.ffffff]]`, one sign before all of it.
    fn clock<'a>(&mut self, hours: &Number<'_>, text: &'a str) -> Result<&'a str, ClientError> {
        if !hours.fraction.is_empty() || hours.whole.is_empty() {
            return Err(other_form());
        }
        let (minutes, mut rest) = digits(text);
        let (mut seconds, mut fraction) = ("0", "");
        if let Some(after) = rest.strip_prefix(':') {
            (seconds, rest) = digits(after);
            if let Some(after) = rest.strip_prefix('.') {
                (fraction, rest) = digits(after);
            }
        }
        if !(1..=2).contains(&minutes.len()) || !(1..=2).contains(&seconds.len()) {
            return Err(other_form());
        }
        if rest.starts_with(|c: char| !super::super::is_space(c) && c != ',') {
            return Err(other_form());
        }
        self.once(HOUR_BIT | MINUTE_BIT | ALL_SECONDS)?;
        let number = |digits: &str| digits.parse::<i64>().map_err(|_| overflow());
        let (minutes, seconds) = (number(minutes)?, number(seconds)?);
        if minutes > 59 || seconds > 60 {
            return Err(overflow());
        }
        let within = (minutes * 60 + seconds) * SECOND + micros_of_fraction(fraction);
        let micros = number(hours.whole)?.checked_mul(HOUR).and_then(|hours| hours.checked_add(within));
        let micros = micros.ok_or_else(overflow)?;
        self.micros(if hours.negative { -micros } else { micros })?;
        Ok(rest)
    }

    /// `1Y2M3DT4H5M6.7S`, what follows `P`.
    fn designated(&mut self, text: &str) -> Result<(), ClientError> {
        let (mut rest, mut time) = (text, false);
        let mut numbers = 0;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('T').filter(|_| !time) {
                (rest, time) = (after, true);
                continue;
            }
            let (number, after) = Number::take(rest).ok_or_else(other_form)?;
            let mut after = after.chars();
            let unit = match (after.next(), time) {
                (Some('Y'), false) => Unit::Months(12, 0),
                (Some('M'), false) => Unit::Months(1, 0),
                (Some('W'), false) => Unit::Days(7, 0),
                (Some('D'), false) => Unit::Days(1, 0),
                (Some('H'), true) => Unit::Micros(HOUR, 0),
                (Some('M'), true) => Unit::Micros(MINUTE, 0),
                (Some('S'), true) => Unit::Micros(SECOND, 0),
                _ => return Err(other_form()),
            };
            self.add(&number, unit)?;
            rest = after.as_str();
            numbers += 1;
        }
        if numbers == 0 { Err(other_form()) } else { Ok(()) }
    }

    fn once(&mut self, bits: u16) -> Result<(), ClientError> {
        if self.seen & bits != 0 {
            return Err(refusal::syntax(&TYPE));
        }
        self.seen |= bits;
        Ok(())
    }

    fn add(&mut self, number: &Number<'_>, unit: Unit) -> Result<(), ClientError> {
        let whole = number.whole()?;
        let fractional = number.fraction.contains(|c| c != '0');
        match unit {
            Unit::Months(each, bit) => {
                if fractional {
                    return Err(other_form());
                }
                self.once(bit)?;
                let months = whole.checked_mul(each).and_then(|months| self.months.checked_add(months));
                self.months = months.ok_or_else(overflow)?;
            }
            Unit::Days(each, bit) => {
                if fractional && each != 1 {
                    return Err(other_form());
                }
                self.once(bit)?;
                let days = whole.checked_mul(each).and_then(|days| self.days.checked_add(days));
                self.days = days.filter(|days| i32::try_from(*days).is_ok()).ok_or_else(overflow)?;
                self.micros(part(number, DAY))?;
            }
            Unit::Micros(each, bit) => {
                self.once(if bit == SECOND_BIT && fractional { ALL_SECONDS } else { bit })?;
                self.micros(whole.checked_mul(each).ok_or_else(overflow)?)?;
                self.micros(part(number, each))?;
            }
        }
        Ok(())
    }

    fn micros(&mut self, more: i64) -> Result<(), ClientError> {
        self.micros = self.micros.checked_add(more).ok_or_else(overflow)?;
        Ok(())
    }

    fn interval(&self) -> Result<Interval, ClientError> {
        let days = i32::try_from(self.days).map_err(|_| overflow())?;
        let months = i32::try_from(self.months).map_err(|_| refusal::out_of_range(&TYPE))?;
        Ok(Interval { micros: self.micros, days, months })
    }
}

/// A fraction of a unit of so many microseconds, to the nearest microsecond, half towards zero: in
/// floating point, because PostgreSQL does.
fn part(number: &Number<'_>, each: i64) -> i64 {
    let unit = i32::try_from(each / 1_000_000).map_or(0.0, f64::from) * 1e6
        + i32::try_from(each % 1_000_000).map_or(0.0, f64::from);
    let exact = format!("0.{}", number.fraction).parse::<f64>().unwrap_or(0.0) * unit;
    let floor = exact.floor();
    let micros = if exact - floor > 0.5 { floor + 1.0 } else { floor };
    // At most a day's microseconds: exact in a double, and a whole number.
    let micros = format!("{micros:.0}").parse::<i64>().unwrap_or(0);
    if number.negative { -micros } else { micros }
}
