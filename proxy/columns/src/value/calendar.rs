//! The proleptic Gregorian calendar and offsets from UTC over PostgreSQL's whole range of years,
//! which is wider than the time zone library's.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
pub(super) const EPOCH_DAYS: i64 = 10_957;
pub(super) const SECONDS_PER_DAY: i64 = 86_400;
/// 4714-11-24 BC, in days from 2000-01-01.
pub(super) const FIRST_DAY: i64 = -2_451_545;

/// After 400 years the calendar repeats, days of the week included, and so do rules of zones.
const CYCLE_SECONDS: i64 = 146_097 * SECONDS_PER_DAY;
/// 9999-01-01 in seconds from 1970-01-01: later times are moved back by whole cycles.
const LAST_YEAR: i64 = 253_370_764_800;

/// A day: year (0 is 1 BC, -1 is 2 BC), month and day of the month, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Day {
    /// Whether the calendar has this day.
    pub(super) fn exists(self) -> bool {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let length = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        (1..=length).contains(&self.day)
    }

    /// Days from 2000-01-01. Years are counted from March, so that the leap day ends one.
    pub(super) fn to_days(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (self.month + 9) % 12;
        let in_year = (153 * from_march + 2) / 5 + self.day - 1;
        era * 146_097 + year * 365 + year / 4 - year / 100 + in_year - 719_468 - EPOCH_DAYS
    }

    /// The inverse of [`Day::to_days`].
    pub(super) fn from_days(days: i64) -> Self {
        let shifted = days + EPOCH_DAYS + 719_468;
        let (era, in_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * in_year + 2) / 153;
        let day = in_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self { year: era * 400 + year + i64::from(month <= 2), month, day }
    }
}

/// The instant, given in seconds from 1970-01-01 UTC, as the zone library takes it.
pub(super) fn instant(unix_seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(within_library(unix_seconds)).ok()
}

/// Seconds east of UTC for a local time, given in seconds from 1970-01-01 as if it were UTC. A time
/// that the zone skips is read with the offset before the change, one that it repeats with the offset
/// after it, as PostgreSQL does.
pub(super) fn offset_of_local(zone: &TimeZone, local_seconds: i64) -> Option<i64> {
    let local = within_library(local_seconds);
    let (days, second) = (local.div_euclid(SECONDS_PER_DAY), local.rem_euclid(SECONDS_PER_DAY));
    let day = Day::from_days(days - EPOCH_DAYS);
    let small = |value: i64| i8::try_from(value).ok();
    let local = DateTime::new(
        i16::try_from(day.year).ok()?,
        small(day.month)?,
        small(day.day)?,
        small(second / 3600)?,
        small(second / 60 % 60)?,
        small(second % 60)?,
        0,
    )
    .ok()?;
    let offset = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } => before,
        AmbiguousOffset::Fold { after, .. } => after,
    };
    Some(i64::from(offset.seconds()))
}

fn within_library(seconds: i64) -> i64 {
    if seconds < LAST_YEAR {
        return seconds;
    }
    seconds - ((seconds - LAST_YEAR) / CYCLE_SECONDS + 1) * CYCLE_SECONDS
}

/// Appends `value` in decimal, with leading zeros to at least `width` digits.
pub(super) fn push_padded(value: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = value.unsigned_abs();
    while rest > 0 || out.len() - start < width {
        out.push(u8::try_from(rest % 10).map_or(b'0', |digit| b'0' + digit));
        rest /= 10;
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_from_2000() {
        assert_eq!(Day { year: 2000, month: 1, day: 1 }.to_days(), 0);
        assert_eq!(Day { year: -4713, month: 11, day: 24 }.to_days(), FIRST_DAY);
        assert_eq!(Day { year: 9999, month: 1, day: 1 }.to_days(), LAST_YEAR / SECONDS_PER_DAY - EPOCH_DAYS);
        assert!(!Day { year: 1900, month: 2, day: 29 }.exists());
        assert!(Day { year: 0, month: 2, day: 29 }.exists());
    }

    proptest! {
        #[test]
        fn days_round_trip(days in -2_451_545_i64..2_145_031_949) {
            let day = Day::from_days(days);
            prop_assert!(day.exists());
            prop_assert_eq!(day.to_days(), days);
        }
    }
}
