//! Wrong logins: after five in a row an address is told to wait, and twice as long after each further
//! one, from a minute up to an hour. The right login is heard all the same, at worst after others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use trefoil_link::network;

const FREE: u32 = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// `MINUTE << 6` is more than an hour.
const DOUBLINGS: u32 = 6;
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// Addresses that are remembered: those that failed last.
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
    /// How long this address should wait after what it sent; zero if it has not failed often.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Duration {
        let failures = self.0.get(&network(address));
        failures.map_or(Duration::ZERO, |failures| {
            failures.wait().saturating_sub(now.saturating_duration_since(failures.last))
        })
    }

    /// This address has failed once more. If it should have waited, this does not count, and the answer is
    /// for how long still.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) -> Duration {
        let wait = self.wait(address, now);
        if wait.is_zero() {
            let network = network(address);
            self.make_room(network, now);
            let failures = self.0.entry(network).or_insert(Failures { count: 0, last: now });
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
        wait
    }

    /// This address knows the password.
    pub(super) fn succeeded(&mut self, address: IpAddr) {
        self.0.remove(&network(address));
    }

    /// Forgets what is past, and if that is not enough the address that has not failed for longest.
    fn make_room(&mut self, network: IpAddr, now: Instant) {
        if self.0.get(&network).is_some_and(|failures| failures.is_past(now)) {
            self.0.remove(&network);
        }
        if self.0.len() < ADDRESSES || self.0.contains_key(&network) {
            return;
        }
        self.0.retain(|_, failures| !failures.is_past(now));
        let oldest = self.0.iter().min_by_key(|(_, failures)| failures.last);
        if self.0.len() >= ADDRESSES
            && let Some(oldest) = oldest.map(|(network, _)| *network)
        {
            self.0.remove(&oldest);
        }
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
            assert_eq!(
                limit.failed(ADDRESS, now),
                wait,
                "what comes too early is told so and does not count"
            );
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
    fn the_memory_for_addresses_is_bounded_and_makes_nobody_wait() {
        let mut limit = Limit::default();
        let mut now = Instant::now();
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 100 {
            for _ in 0..FREE {
                assert_eq!(limit.failed(IpAddr::V4(n.into()), now), Duration::ZERO);
            }
            now += Duration::from_millis(1);
        }
        assert_eq!(limit.0.len(), ADDRESSES);
        assert_eq!(limit.wait("192.0.2.1".parse().unwrap(), now), Duration::ZERO);
        assert_eq!(limit.wait(IpAddr::V4(99.into()), now), Duration::ZERO, "the oldest are forgotten");
        assert!(limit.wait(IpAddr::V4(100.into()), now) > Duration::ZERO, "and no others");
    }
}
