//! Reads date and time in ISO 8601's order, the one order that no `DateStyle` reads differently.
//! What else PostgreSQL may accept is refused as not supported: a guess could store another day.

use super::calendar::Day;
use super::refusal;
use crate::error::{ClientError, sqlstate};
use crate::policy::LogicalType;

/// What a text says.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// `infinity`
    Infinity,
    /// `-infinity`
    MinusInfinity,
    /// A day, with midnight where no time is given.
    Moment {
        day: Day,
        /// Up to and including 24:00:00 and a leap second.
        micros: i64,
        zone: Zone<'a>,
    },
}

/// The zone that the text names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Zone<'a> {
    /// None: the session's.
    Session,
    /// Seconds east of UTC.
    Offset(i64),
    /// A name of the time zone database, with a `/` in it.
    Named(&'a str),
}

/// Words that stand for a moment of their own.
const SPECIAL: [&str; 7] = ["now", "today", "tomorrow", "yesterday", "epoch", "allballs", "infinity"];

/// Reads `YYYY-MM-DD`, then optionally a time `HH:MM[:SS[.ffffff]]` after white space or `T`, and in
/// either order a zone (`Z`, `UTC`, `±HH[:MM[:SS]]`, `±HHMM`, `Area/City`) and `BC` or `AD`.
pub(super) fn parse<'a>(logical: &'a LogicalType, text: &'a str) -> Result<Input<'a>, ClientError> {
    let text = super::trim(text);
    match text {
        _ if text.eq_ignore_ascii_case("infinity") => return Ok(Input::Infinity),
        _ if text.eq_ignore_ascii_case("-infinity") => return Ok(Input::MinusInfinity),
        _ => {}
    }
    Reader { logical, rest: text }.moment().map_err(|failure| match failure {
        Failure::Refused(refused) => refused,
        Failure::NotIso if means_nothing(text) => refusal::syntax(logical),
        Failure::NotIso => refusal::unsupported(
            format!("this form of input for type {logical} is not supported"),
            "Use the ISO form, such as 2024-01-31 or 2024-01-31 23:59:59.999999+00.",
        ),
    })
}

/// Reads a time of day `HH:MM[:SS[.ffffff]]` and a zone as [`parse`] does. Returns microseconds.
pub(super) fn parse_time<'a>(
    logical: &'a LogicalType,
    text: &'a str,
) -> Result<(i64, Zone<'a>), ClientError> {
    let text = super::trim(text);
    Reader { logical, rest: text }.time_of_day().map_err(|failure| match failure {
        Failure::Refused(refused) => refused,
        Failure::NotIso if means_nothing(text) => refusal::syntax(logical),
        Failure::NotIso => refusal::unsupported(
            format!("this form of input for type {logical} is not supported"),
            "Use the ISO form, such as 23:59:59.999999 or 23:59:59+01.",
        ),
    })
}

/// No form of date is without a digit but for the special words.
fn means_nothing(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_digit())
        && !text
            .split(|c: char| !c.is_ascii_alphabetic())
            .any(|word| SPECIAL.iter().any(|special| special.eq_ignore_ascii_case(word)))
}

enum Failure {
    /// PostgreSQL refuses it too.
    Refused(ClientError),
    /// Not a form that is read here.
    NotIso,
}

struct Reader<'a> {
    logical: &'a LogicalType,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn moment(mut self) -> Result<Input<'a>, Failure> {
        let mut day = self.day()?;
        let micros = self.time()?;
        let (mut zone, mut era) = (Zone::Session, None);
        loop {
            self.skip_space();
            if self.rest.is_empty() {
                break;
            }
            if self.rest.starts_with(['+', '-']) && zone == Zone::Session {
                zone = Zone::Offset(self.offset()?);
                continue;
            }
            let word = self.word()?;
            if word.contains('/') && zone == Zone::Session {
                zone = Zone::Named(word);
            } else if ["z", "utc", "gmt", "zulu"].iter().any(|utc| utc.eq_ignore_ascii_case(word))
                && zone == Zone::Session
            {
                zone = Zone::Offset(0);
            } else if word.eq_ignore_ascii_case("bc") && era.is_none() {
                era = Some(true);
            } else if word.eq_ignore_ascii_case("ad") && era.is_none() {
                era = Some(false);
            } else {
                return Err(Failure::NotIso);
            }
        }
        if day.year <= 0 {
            return Err(self.field_overflow());
        }
        if era == Some(true) {
            day.year = 1 - day.year;
        }
        if !day.exists() {
            return Err(self.field_overflow());
        }
        Ok(Input::Moment { day, micros: micros.unwrap_or(0), zone })
    }

    fn time_of_day(mut self) -> Result<(i64, Zone<'a>), Failure> {
        let micros = self.clock()?;
        let mut zone = Zone::Session;
        loop {
            self.skip_space();
            if self.rest.is_empty() {
                return Ok((micros, zone));
            }
            if zone != Zone::Session {
                return Err(Failure::NotIso);
            }
            zone = if self.rest.starts_with(['+', '-']) {
                Zone::Offset(self.offset()?)
            } else {
                let word = self.word()?;
                if !["z", "utc", "gmt", "zulu"].iter().any(|utc| utc.eq_ignore_ascii_case(word)) {
                    return Err(Failure::NotIso);
                }
                Zone::Offset(0)
            };
        }
    }

    /// A year of three digits or more comes first whatever the `DateStyle`.
    fn day(&mut self) -> Result<Day, Failure> {
        let year = self.digits(3..=usize::MAX)?;
        self.expect('-')?;
        let month = self.digits(1..=2)?;
        self.expect('-')?;
        let day = self.digits(1..=2)?;
        if self.rest.starts_with(['-', '/', '.', ':']) {
            return Err(Failure::NotIso);
        }
        let number = |digits: &str| match digits.parse::<i32>() {
            Ok(number) => Ok(i64::from(number)),
            Err(_) => Err(self.field_overflow()),
        };
        Ok(Day { year: number(year)?, month: number(month)?, day: number(day)? })
    }

    /// Microseconds of the day, if there is a time.
    fn time(&mut self) -> Result<Option<i64>, Failure> {
        let before = self.rest;
        let spaced = self.skip_space();
        let marked =
            self.rest.strip_prefix(['T', 't']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        match marked {
            Some(rest) => self.rest = rest,
            None if spaced && self.rest.starts_with(|c: char| c.is_ascii_digit()) => {}
            None => {
                self.rest = before;
                return Ok(None);
            }
        }
        self.clock().map(Some)
    }

    fn clock(&mut self) -> Result<i64, Failure> {
        let hour = self.small(1..=2)?;
        self.expect(':')?;
        let minute = self.small(1..=2)?;
        let (mut second, mut fraction) = (0, 0);
        if self.skip(':') {
            second = self.small(1..=2)?;
            if self.skip('.') {
                fraction = micros_of_fraction(self.digits(1..=usize::MAX)?);
            }
        } else if self.rest.starts_with('.') {
            return Err(Failure::NotIso);
        }
        let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction;
        if minute > 59 || second > 60 || micros > 86_400_000_000 {
            return Err(self.field_overflow());
        }
        Ok(micros)
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i64, Failure> {
        let west = self.skip('-');
        if !west {
            self.expect('+')?;
        }
        let hours = self.digits(1..=4)?;
        let number = |digits: &str| digits.parse::<i64>().map_err(|_| Failure::NotIso);
        let (hour, minute, second) = if hours.len() > 2 {
            let joined = number(hours)?;
            (joined / 100, joined % 100, 0)
        } else {
            let minute = if self.skip(':') { self.small(1..=2)? } else { 0 };
            let second = if self.skip(':') { self.small(1..=2)? } else { 0 };
            (number(hours)?, minute, second)
        };
        if self.rest.starts_with([':', '.', '-', '+']) {
            return Err(Failure::NotIso);
        }
        if hour > 15 || minute > 59 || second > 59 {
            return Err(Failure::Refused(refusal::displacement()));
        }
        let seconds = (hour * 60 + minute) * 60 + second;
        Ok(if west { -seconds } else { seconds })
    }

    /// Letters up to a `+`, or a zone name that starts with a letter.
    fn word(&mut self) -> Result<&'a str, Failure> {
        let ends = |in_word: fn(char) -> bool| self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
        let letters = ends(|c| c.is_ascii_alphabetic());
        let name = ends(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+'));
        let joined = self.rest.get(letters..).is_some_and(|rest| rest.starts_with('+'));
        let (word, rest) = self.rest.split_at(if joined { letters } else { name });
        if letters == 0 || (letters < word.len() && !word.contains('/')) {
            return Err(Failure::NotIso);
        }
        self.rest = rest;
        Ok(word)
    }

    fn small(&mut self, count: std::ops::RangeInclusive<usize>) -> Result<i64, Failure> {
        self.digits(count)?.parse().map_err(|_| Failure::NotIso)
    }

    fn digits(&mut self, count: std::ops::RangeInclusive<usize>) -> Result<&'a str, Failure> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        if !count.contains(&end) {
            return Err(Failure::NotIso);
        }
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(digits)
    }

    fn expect(&mut self, c: char) -> Result<(), Failure> {
        if self.skip(c) { Ok(()) } else { Err(Failure::NotIso) }
    }

    fn skip(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(super::is_space);
        let skipped = rest.len() < self.rest.len();
        self.rest = rest;
        skipped
    }

    fn field_overflow(&self) -> Failure {
        Failure::Refused(ClientError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range for type {}", self.logical),
            "",
        ))
    }
}

/// Rounds to microseconds in floating point, because PostgreSQL does.
pub(super) fn micros_of_fraction(digits: &str) -> i64 {
    let shown = digits.get(..6).unwrap_or(digits);
    let mut micros: i32 = shown.parse().unwrap_or(0);
    for _ in shown.len()..6 {
        micros *= 10;
    }
    if digits.len() > 6 {
        let exact = format!("0.{digits}").parse::<f64>().unwrap_or(0.0);
        if (exact * 1_000_000.0).round_ties_even() > f64::from(micros) {
            micros += 1;
        }
    }
    i64::from(micros)
}
