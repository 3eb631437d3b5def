//! What is remembered of users: the newest envelope of each kind, until it expires.
//!
//! Which one goes with a statement: the newest that may write without a limit, if there is one. Else a
//! statement that plainly reads takes one that reads, so that no limited use is spent on it; every other
//! statement takes one that may write. Where there is none of these, whichever there is: the proxy says
//! what it does not allow.

use crate::proxy::Found;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use trefoil_keys::envelope::Scope;

/// Users at a time.
const MAX_USERS: usize = 65_536;
/// Bytes of all envelopes.
const MAX_BYTES: usize = 128 << 20;
/// Envelopes of one user that are known to be good, though a newer one is kept: of several devices.
const MAX_KNOWN: usize = 32;
/// How often those that have expired are put out.
const SWEEP: Duration = Duration::from_secs(10);

/// SHA-256 of an envelope's compact form.
type Hash = [u8; 32];

/// All users' envelopes.
pub(crate) struct Memory {
    max_users: usize,
    max_bytes: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    users: HashMap<String, User>,
    bytes: usize,
    swept: Instant,
}

#[derive(Default)]
struct User {
    kept: [Option<Kept>; 4],
    known: Vec<(Hash, Instant)>,
}

struct Kept {
    envelope: Arc<str>,
    issued: u64,
    expires: Instant,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The four kinds, by their places.
const WRITE: usize = 0;
const WRITE_LIMITED: usize = 1;
const READ: usize = 2;
const READ_LIMITED: usize = 3;

fn kind(found: &Found) -> usize {
    match (found.scope, found.limited) {
        (Scope::Write, false) => WRITE,
        (Scope::Write, true) => WRITE_LIMITED,
        (Scope::Read, false) => READ,
        (Scope::Read, true) => READ_LIMITED,
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::bounded(MAX_USERS, MAX_BYTES)
    }
}

impl Memory {
    fn bounded(max_users: usize, max_bytes: usize) -> Self {
        let inner = Inner { users: HashMap::new(), bytes: 0, swept: Instant::now() };
        Self { max_users, max_bytes, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the envelope with this hash was found good for this user, and has not expired.
    pub(crate) fn knows(&self, user: &str, hash: &Hash, now: Instant) -> bool {
        let inner = self.inner();
        let known = inner.users.get(user).map(|user| user.known.as_slice()).unwrap_or_default();
        known.iter().any(|(known, expires)| known == hash && now < *expires)
    }

    /// Keeps an envelope that was found good at `asked`, unless the one of its kind is newer.
    pub(crate) fn put(
        &self,
        user: &str,
        envelope: &str,
        hash: Hash,
        found: &Found,
        asked: Instant,
    ) -> Result<(), Full> {
        let now = Instant::now();
        let Some(expires) = asked.checked_add(Duration::from_secs(found.expires_in)) else { return Ok(()) };
        let mut inner = self.inner();
        if now.saturating_duration_since(inner.swept) >= SWEEP || inner.is_full(self, user, envelope) {
            inner.sweep(now);
        }
        if inner.is_full(self, user, envelope) {
            return Err(Full);
        }
        let Inner { users, bytes, .. } = &mut *inner;
        let user = users.entry(user.to_owned()).or_default();
        user.known.retain(|(_, expires)| now < *expires);
        if user.known.len() >= MAX_KNOWN {
            user.known.remove(0);
        }
        user.known.push((hash, expires));
        let Some(place) = user.kept.get_mut(kind(found)) else { return Ok(()) };
        let newer = place.as_ref().is_some_and(|kept| now < kept.expires && kept.issued > found.issued);
        if !newer {
            *bytes -= place.as_ref().map_or(0, |kept| kept.envelope.len());
            *bytes += envelope.len();
            *place = Some(Kept { envelope: envelope.into(), issued: found.issued, expires });
        }
        Ok(())
    }

    /// The envelope for a statement of this user.
    pub(crate) fn choose(&self, user: &str, plainly_reads: bool, now: Instant) -> Option<Arc<str>> {
        let order = match plainly_reads {
            true => [WRITE, READ, READ_LIMITED, WRITE_LIMITED],
            false => [WRITE, WRITE_LIMITED, READ, READ_LIMITED],
        };
        let inner = self.inner();
        let user = inner.users.get(user)?;
        let live = |kind: &usize| user.kept.get(*kind)?.as_ref().filter(|kept| now < kept.expires);
        order.iter().find_map(live).map(|kept| Arc::clone(&kept.envelope))
    }

    /// Forgets a user's.
    pub(crate) fn forget(&self, user: &str) {
        let mut inner = self.inner();
        if let Some(user) = inner.users.remove(user) {
            inner.bytes -= user.bytes();
        }
    }
}

impl Inner {
    fn is_full(&self, bounds: &Memory, user: &str, envelope: &str) -> bool {
        let one_more = !self.users.contains_key(user) && self.users.len() >= bounds.max_users;
        one_more || self.bytes.saturating_add(envelope.len()) > bounds.max_bytes
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        self.users.retain(|_, user| {
            user.known.retain(|(_, expires)| now < *expires);
            for place in &mut user.kept {
                place.take_if(|kept| kept.expires <= now);
            }
            !user.known.is_empty() || user.kept.iter().any(Option::is_some)
        });
        self.bytes = self.users.values().map(User::bytes).sum();
    }
}

impl User {
    fn bytes(&self) -> usize {
        self.kept.iter().flatten().map(|kept| kept.envelope.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: bool = true;

    fn found(scope: Scope, issued: u64, limited: bool) -> Found {
        Found { scope, issued, expires_in: 60, limited }
    }

    fn put(memory: &Memory, user: &str, envelope: &str, found: &Found) -> Result<(), Full> {
        memory.put(user, envelope, trefoil_keys::envelope::hash(envelope), found, Instant::now())
    }

    fn choice(memory: &Memory, user: &str, reads: bool) -> Option<String> {
        memory.choose(user, reads, Instant::now()).map(|envelope| envelope.to_string())
    }

    #[test]
    fn an_unlimited_one_that_may_write_serves_all_statements() {
        let memory = Memory::default();
        put(&memory, "alice", "read", &found(Scope::Read, 2, false)).unwrap();
        put(&memory, "alice", "once", &found(Scope::Write, 3, true)).unwrap();
        put(&memory, "alice", "write", &found(Scope::Write, 1, false)).unwrap();
        for reads in [READS, !READS] {
            assert_eq!(choice(&memory, "alice", reads).as_deref(), Some("write"));
            assert_eq!(choice(&memory, "bob", reads), None);
        }
    }

    #[test]
    fn plain_reads_do_not_spend_what_is_limited() {
        let memory = Memory::default();
        put(&memory, "alice", "once", &found(Scope::Write, 1, true)).unwrap();
        assert_eq!(choice(&memory, "alice", READS).as_deref(), Some("once"));
        put(&memory, "alice", "read", &found(Scope::Read, 1, false)).unwrap();
        assert_eq!(choice(&memory, "alice", READS).as_deref(), Some("read"));
        assert_eq!(choice(&memory, "alice", !READS).as_deref(), Some("once"));
    }

    #[test]
    fn the_newest_is_kept_in_whatever_order_they_come() {
        let memory = Memory::default();
        for (envelope, issued) in [("first", 5), ("third", 7), ("second", 6)] {
            put(&memory, "alice", envelope, &found(Scope::Read, issued, false)).unwrap();
            assert!(memory.knows("alice", &trefoil_keys::envelope::hash(envelope), Instant::now()));
            assert!(!memory.knows("bob", &trefoil_keys::envelope::hash(envelope), Instant::now()));
        }
        assert_eq!(choice(&memory, "alice", READS).as_deref(), Some("third"));
    }

    #[test]
    fn what_has_expired_is_not_used_and_makes_room() {
        let memory = Memory::bounded(1, 100);
        let (now, soon) = (Instant::now(), Found { expires_in: 0, ..found(Scope::Read, 1, false) });
        put(&memory, "alice", "a", &soon).unwrap();
        assert_eq!(choice(&memory, "alice", READS), None);
        assert!(!memory.knows("alice", &trefoil_keys::envelope::hash("a"), Instant::now()));
        put(&memory, "bob", "b", &found(Scope::Read, 1, false)).unwrap();
        assert_eq!(put(&memory, "carol", "c", &found(Scope::Read, 1, false)), Err(Full));
        assert_eq!(put(&memory, "bob", &"b".repeat(100), &found(Scope::Read, 1, true)), Err(Full));
        assert_eq!(memory.choose("bob", READS, now + Duration::from_secs(59)).as_deref(), Some("b"));
        assert_eq!(memory.choose("bob", READS, now + Duration::from_secs(61)), None);
    }

    #[test]
    fn a_withdrawn_users_are_forgotten() {
        let memory = Memory::bounded(1, 1);
        put(&memory, "alice", "a", &found(Scope::Write, 1, false)).unwrap();
        memory.forget("alice");
        assert_eq!(choice(&memory, "alice", READS), None);
        put(&memory, "bob", "b", &found(Scope::Write, 1, false)).unwrap();
    }
}
