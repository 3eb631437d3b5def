//! The part of the configuration that bounds the application's connections.

use super::ConfigError;
use super::check::within;
use std::ops::RangeInclusive;
use std::time::Duration;

/// As in PostgreSQL.
const AUTHENTICATION: RangeInclusive<u64> = 1..=600;
/// PostgreSQL's own bound.
const CONNECTIONS: RangeInclusive<u64> = 1..=262_143;

/// How many connections the application may have, and how long they may take to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// At a time.
    pub(crate) in_all: usize,
    /// Of them, from one address (IPv6: from one /64).
    pub(crate) from_one_network: usize,
    /// From the connection to the end of the login.
    pub(crate) authentication: Duration,
}

impl ConnectionLimits {
    pub(super) fn check(
        in_all: u64,
        from_one: Option<u64>,
        authentication: u64,
    ) -> Result<Self, ConfigError> {
        let number = |key, value| Ok(usize::try_from(within(key, value, CONNECTIONS)?).unwrap_or(usize::MAX));
        let in_all = number("max_connections", in_all)?;
        let from_one = from_one.map(|value| number("max_connections_per_address", value)).transpose()?;
        let authentication = within("authentication_timeout", authentication, AUTHENTICATION)?;
        Ok(Self {
            in_all,
            from_one_network: from_one.unwrap_or(in_all),
            authentication: Duration::from_secs(authentication),
        })
    }
}
