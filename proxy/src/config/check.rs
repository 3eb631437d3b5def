//! Single values of the configuration, checked.

use super::ConfigError;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Value {
        key,
        problem: format!("`{text}` is not an address with a port"),
        remedy: "write it like 127.0.0.1:6432 or [::1]:6432",
    })
}

pub(super) fn filled(key: &'static str, text: String) -> Result<String, ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::Value { key, problem: "it is empty".to_owned(), remedy: "give it a value" });
    }
    Ok(text)
}

pub(super) fn seconds(
    key: &'static str,
    value: u64,
    range: RangeInclusive<u64>,
) -> Result<Duration, ConfigError> {
    within(key, value, range).map(Duration::from_secs)
}

pub(super) fn number(
    key: &'static str,
    value: u64,
    range: RangeInclusive<u64>,
) -> Result<usize, ConfigError> {
    within(key, value, range).map(|value| usize::try_from(value).unwrap_or(usize::MAX))
}

pub(super) fn within(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let problem = format!("{value} is not between {} and {}", range.start(), range.end());
    Err(ConfigError::Value { key, problem, remedy: "choose a value in this range" })
}
