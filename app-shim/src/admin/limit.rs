//! Guesses at the password: after five failures in a row an address waits, and twice as long after each
//! further one, from a minute up to an hour.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

const FREE: u32 = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// `MINUTE << 6` is more than an hour.
const DOUBLINGS: u32 = 6;
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// Addresses that are remembered. When all places are taken, whoever fails for the first time waits.
const ADDRESSES: usize = 4096;

/// Failures by address.
#[derive(Default)]
pub(super) struct Limit(HashMap<IpAddr, Failures>);

struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// How long after the last failure the address waits.
    fn wait(&self) -> Duration {
        match self.count.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(more) => (MINUTE * (1 << more.min(DOUBLINGS))).min(LONGEST),
        }
    }

    /// Forgotten a minute after the address need not wait any more.
    fn is_past(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= self.wait() + MINUTE
    }
}

impl Limit {
    /// How long this address must wait before it is heard; zero if it is heard now.
    pub(super) fn wait(&mut self, address: IpAddr, now: Instant) -> Duration {
        let address = network(address);
        if self.0.get(&address).is_some_and(|failures| failures.is_past(now)) {
            self.0.remove(&address);
        }
        if let Some(failures) = self.0.get(&address) {
            return failures.wait().saturating_sub(now.saturating_duration_since(failures.last));
        }
        if self.is_full(now) { MINUTE } else { Duration::ZERO }
    }

    /// This address has failed once more.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        let failures = self.0.entry(network(address)).or_insert(Failures { count: 0, last: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// This address knows the password.
    pub(super) fn succeeded(&mut self, address: IpAddr) {
        self.0.remove(&network(address));
    }

    fn is_full(&mut self, now: Instant) -> bool {
        if self.0.len() >= ADDRESSES {
            self.0.retain(|_, failures| !failures.is_past(now));
        }
        self.0.len() >= ADDRESSES
    }
}

/// Whoever has one address of IPv6 has the other 2^64 of its network as well.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn five_guesses_then_longer_and_longer_waits() {
        let mut limit = Limit::default();
        let mut now = Instant::now();
        for _ in 0..FREE {
            assert_eq!(limit.wait(ADDRESS, now), Duration::ZERO);
            limit.failed(ADDRESS, now);
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = limit.wait(ADDRESS, now);
            assert!(limit.wait(ADDRESS, now + wait - Duration::from_secs(1)) > Duration::ZERO);
            now += wait;
            assert_eq!(limit.wait(ADDRESS, now), Duration::ZERO);
            limit.failed(ADDRESS, now);
            waits.push(wait.as_secs() / 60);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(limit.wait("127.0.0.2".parse().unwrap(), now), Duration::ZERO, "others do not wait");
        limit.succeeded(ADDRESS);
        assert_eq!(limit.wait(ADDRESS, now), Duration::ZERO);
    }

    #[test]
    fn a_minute_without_a_failure_forgets_a_few() {
        let mut limit = Limit::default();
        let now = Instant::now();
        for _ in 1..FREE {
            limit.failed(ADDRESS, now);
        }
        let later = now + MINUTE;
        limit.wait(ADDRESS, later);
        limit.failed(ADDRESS, later);
        assert_eq!(limit.wait(ADDRESS, later), Duration::ZERO);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_as_one() {
        let mut limit = Limit::default();
        let now = Instant::now();
        for n in 0..FREE {
            limit.failed(format!("2001:db8::{n}").parse().unwrap(), now);
        }
        assert!(limit.wait("2001:db8::ffff".parse().unwrap(), now) > Duration::ZERO);
        assert_eq!(limit.wait("2001:db8:0:1::1".parse().unwrap(), now), Duration::ZERO);
    }

    #[test]
    fn the_memory_for_addresses_is_bounded() {
        let mut limit = Limit::default();
        let now = Instant::now();
        for n in 0..u32::try_from(ADDRESSES).unwrap() {
            limit.failed(IpAddr::V4(n.into()), now);
        }
        let other = "192.0.2.1".parse().unwrap();
        assert_eq!(limit.wait(other, now), MINUTE);
        assert_eq!(limit.wait(other, now + MINUTE), Duration::ZERO);
    }
}
