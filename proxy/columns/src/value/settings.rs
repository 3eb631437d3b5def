//! The session's settings that decide how values are read and shown.

use jiff::tz::{Offset, TimeZone};

/// What the session's ParameterStatus messages say, followed by [`Settings::set`]. The default is
/// `ISO, MDY`, `UTC` and `postgres`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) style: Option<Style>,
    pub(super) day_first: bool,
    /// [`TimeZone::unknown`] where the server's zone is not known here: values that depend on it
    /// are refused.
    pub(super) time_zone: TimeZone,
    /// `None` is one that PostgreSQL does not have.
    pub(super) interval_style: Option<IntervalStyle>,
}

/// `IntervalStyle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntervalStyle {
    Postgres,
    Verbose,
    SqlStandard,
    Iso8601,
}

/// The output half of `DateStyle`; `None` in [`Settings`] is one that PostgreSQL does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Iso,
    Sql,
    German,
    Postgres,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            style: Some(Style::Iso),
            day_first: false,
            time_zone: TimeZone::UTC,
            interval_style: Some(IntervalStyle::Postgres),
        }
    }
}

impl Settings {
    /// Takes over a setting that the server reported; those that are of no concern here are passed
    /// over.
    pub fn set(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("DateStyle") {
            let (style, order) = value.split_once(',').unwrap_or((value, ""));
            self.style = match style.trim().to_ascii_lowercase().as_str() {
                "iso" => Some(Style::Iso),
                "sql" => Some(Style::Sql),
                "german" => Some(Style::German),
                "postgres" => Some(Style::Postgres),
                _ => None,
            };
            self.day_first = order.trim().eq_ignore_ascii_case("DMY");
        } else if name.eq_ignore_ascii_case("TimeZone") {
            self.time_zone = resolve(value);
        } else if name.eq_ignore_ascii_case("IntervalStyle") {
            self.interval_style = match value.to_ascii_lowercase().as_str() {
                "postgres" => Some(IntervalStyle::Postgres),
                "postgres_verbose" => Some(IntervalStyle::Verbose),
                "sql_standard" => Some(IntervalStyle::SqlStandard),
                "iso_8601" => Some(IntervalStyle::Iso8601),
                _ => None,
            };
        }
    }
}

/// A zone of the time zone database in any case, else a POSIX form such as `<+03>-03`.
fn resolve(name: &str) -> TimeZone {
    TimeZone::get(name)
        .or_else(|_| TimeZone::posix(name))
        .ok()
        .or_else(|| numeric(name))
        .unwrap_or(TimeZone::unknown())
}

/// `<abbreviation>offset` where the abbreviation is the offset itself, as `SET TIME ZONE` makes it
/// of a number or interval. The sign is POSIX's: positive is west of Greenwich.
fn numeric(name: &str) -> Option<TimeZone> {
    let (abbreviation, offset) = name.strip_prefix('<')?.split_once('>')?;
    let (west, fields) = match offset.strip_prefix('-') {
        Some(fields) => (false, fields),
        None => (true, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let mut seconds = 0;
    for (field, unit) in fields.splitn(3, ':').zip([3600, 60, 1]) {
        if field.is_empty() || field.len() > 2 || !field.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += field.parse::<i32>().ok()? * unit;
    }
    let offset = Offset::from_seconds(if west { -seconds } else { seconds }).ok()?;
    (offset.to_string() == abbreviation).then(|| TimeZone::fixed(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_zones_as_the_server_names_them() {
        for (name, east) in [
            ("Etc/UTC", 0),
            ("etc/utc", 0),
            ("<+03>-03", 10_800),
            ("<-03:30>+03:30", -12_600),
            ("FOO-4:30", 16_200),
        ] {
            let zone = resolve(name);
            assert!(!zone.is_unknown(), "{name}");
            assert_eq!(zone.to_offset(jiff::Timestamp::UNIX_EPOCH).seconds(), east, "{name}");
        }
        // The server has a default rule for daylight saving that is left out.
        for name in ["", "Mars/Olympus", "XYZ5ABC", "localtime/", "<+03>-04:00:00:00", "Etc/Unknown"] {
            assert!(resolve(name).is_unknown(), "{name}");
        }
    }
}
