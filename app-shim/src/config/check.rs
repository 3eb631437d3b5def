//! Single values of the configuration, checked.

use super::ConfigError;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

pub(super) fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Value {
        key,
        problem: format!("`{text}` is not an address with a port"),
        remedy: "write it like 127.0.0.1:6433 or [::1]:6433",
    })
}

/// Two keys of which both are there, or neither.
pub(super) fn both<T>(
    key: &'static str,
    one: Option<T>,
    other: Option<T>,
    remedy: &'static str,
) -> Result<Option<(T, T)>, ConfigError> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        _ => {
            let problem = "only one of `certificate` and `key` is there".to_owned();
            Err(ConfigError::Value { key, problem, remedy })
        }
    }
}

pub(super) fn within(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let problem = format!("{value} is not between {} and {}", range.start(), range.end());
    Err(ConfigError::Value { key, problem, remedy: "choose a value in this range" })
}
