//! How often a password is tried: who has failed some times, by name and address, waits before the next one is
//! judged. Others from the same address do not, and whether a user exists makes no difference.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures that nobody has to wait for.
const FREE: u32 = 5;
/// From then on, the time between two tries.
const BETWEEN: Duration = Duration::from_secs(1);
/// Whose turn is later than this is not kept waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After so long without a failure the former ones are forgotten.
const MEMORY: Duration = Duration::from_secs(60);
/// How many pairs of name and address are remembered.
const PAIRS: usize = 10_000;

/// Who tries: the network (none: the Unix socket), and the name.
type Who = (Option<IpAddr>, Box<[u8]>);

/// The failures of late.
#[derive(Default)]
pub struct Tries(Mutex<HashMap<Who, Failures>>);

struct Failures {
    number: u32,
    last: Instant,
    /// When the next one may be judged.
    next: Instant,
}

impl Tries {
    /// When a password may be judged; none if that is too far off.
    pub fn turn(&self, network: Option<IpAddr>, user: &[u8], now: Instant) -> Option<Instant> {
        let mut pairs = self.pairs();
        let failures = pairs.get_mut(&(network, user.into())).filter(|failures| failures.are_fresh(now));
        let Some(failures) = failures.filter(|failures| failures.number >= FREE) else { return Some(now) };
        let turn = failures.next.max(now);
        if turn > now + LONGEST_WAIT {
            return None;
        }
        failures.next = turn + BETWEEN;
        Some(turn)
    }

    /// A try has failed.
    pub fn failed(&self, network: Option<IpAddr>, user: &[u8], now: Instant) {
        let mut pairs = self.pairs();
        if pairs.len() >= PAIRS {
            pairs.retain(|_, failures| failures.are_fresh(now));
        }
        let who = (network, user.into());
        if pairs.len() >= PAIRS && !pairs.contains_key(&who) {
            // Names that were made up to fill this have failed less often than one that is guessed at.
            let least = pairs.iter().min_by_key(|(_, failures)| (failures.number, failures.last));
            if let Some(least) = least.map(|(who, _)| who.clone()) {
                pairs.remove(&least);
            }
        }
        let failures = pairs.entry(who).or_insert(Failures { number: 0, last: now, next: now });
        let before = if failures.are_fresh(now) { failures.number } else { 0 };
        (failures.number, failures.last) = (before + 1, now);
    }

    /// A try was good.
    pub fn succeeded(&self, network: Option<IpAddr>, user: &[u8]) {
        self.pairs().remove(&(network, user.into()));
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<Who, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    fn are_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn who_fails_waits_longer_and_longer_and_nobody_else_does() {
        let tries = Tries::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let network = |last| Some(Ipv4Addr::new(10, 0, 0, last).into());
        for _ in 0..FREE {
            assert_eq!(tries.turn(network(1), b"alice", start), Some(start));
            tries.failed(network(1), b"alice", start);
        }
        let turns: Vec<_> = (0..12).map(|_| tries.turn(network(1), b"alice", start)).collect();
        let expected: Vec<_> = (0..12).map(|turn| (turn < 11).then(|| start + turn * second)).collect();
        assert_eq!(turns, expected);
        for (network, user) in [(network(1), &b"bob"[..]), (network(2), b"alice"), (None, b"alice")] {
            assert_eq!(tries.turn(network, user, start), Some(start));
        }
        // Nobody is kept out for long, and a good password ends it at once.
        assert_eq!(tries.turn(network(1), b"alice", start + 12 * second), Some(start + 12 * second));
        assert_eq!(tries.turn(network(1), b"alice", start + MEMORY), Some(start + MEMORY));
        tries.succeeded(network(1), b"alice");
        assert_eq!(tries.turn(network(1), b"alice", start), Some(start));
        assert!(tries.pairs().is_empty());
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let (tries, start) = (Tries::default(), Instant::now());
        for _ in 0..FREE {
            tries.failed(None, b"alice", start);
        }
        for name in 0..PAIRS + 100 {
            tries.failed(None, name.to_string().as_bytes(), start + Duration::from_millis(1));
        }
        assert_eq!(tries.pairs().len(), PAIRS);
        // Who floods the memory makes nobody forgotten who is guessed at, neither before nor meanwhile.
        let second = Duration::from_secs(1);
        for user in [&b"alice"[..], b"bob"] {
            for _ in 0..FREE {
                tries.failed(None, user, start + second);
            }
            tries.turn(None, user, start + second);
            assert_eq!(tries.turn(None, user, start + second), Some(start + 2 * second));
        }
        tries.failed(None, b"late", start + second + MEMORY);
        assert_eq!(tries.pairs().len(), 1);
    }
}
