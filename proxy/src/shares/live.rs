//! Envelopes that were validated once and have not expired: what they allow, and TKu masked under
//! TKa, which is not kept. Bounded: an envelope of limited use must not be forgotten before it
//! expires, so what does not fit is refused and nothing is put out early.

use super::ApplicationShare;
use super::keyring::Keyring;
use super::rejection::Rejection;
use super::users::User;
use crate::error::ClientError;
use crate::policy::QualifiedName;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use trefoil_keys::check;
use trefoil_keys::envelope::{EpochShare, Scope, UserEnvelope};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::share::{self, MaskedShare};

/// SHA-256 of an envelope's compact form.
pub(super) type Hash = [u8; 32];

/// What an envelope says beside its shares. Times are seconds since 1970.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) user: String,
    pub(super) application: String,
    pub(super) issued: u64,
    /// The envelope's own expiry, or the proxy's `max_validity` if that ends earlier.
    pub(super) expires: u64,
    scope: Scope,
    max_uses: Option<u32>,
    /// Sorted.
    tables: Option<Box<[QualifiedName]>>,
    /// The key to which it was sealed.
    kid: Arc<str>,
}

impl Terms {
    pub(super) fn of(envelope: &UserEnvelope, max_validity: Duration, kid: Arc<str>) -> Self {
        Self {
            kid,
            user: envelope.sub.clone(),
            application: envelope.aud.clone(),
            issued: envelope.iat,
            expires: envelope.exp.min(envelope.iat.saturating_add(max_validity.as_secs())),
            scope: envelope.scope,
            max_uses: envelope.max_uses,
            tables: envelope.tables.as_ref().map(|tables| {
                // One that could not be read would be one table less.
                let mut tables: Vec<_> =
                    tables.iter().filter_map(|name| QualifiedName::parse(name)).collect();
                tables.sort_unstable();
                tables.into()
            }),
        }
    }
}

impl Terms {
    /// Whether its uses are counted.
    pub(super) fn is_counted(&self) -> bool {
        self.max_uses.is_some()
    }
}

/// A validated envelope, shared by all sessions that present it. Holds TKu masked under TKa.
pub struct LiveEnvelope {
    pub(super) terms: Terms,
    holder: Arc<User>,
    /// Of the shares that were the user's when this was masked.
    generation: u64,
    hash: Hash,
    masked: BTreeMap<String, (u8, MaskedShare)>,
    /// Counted together with what masks the same envelope under another TKa.
    uses: Arc<AtomicU32>,
}

impl LiveEnvelope {
    /// Masks the envelope's shares of the keyspaces that the proxy holds of the user; the application's must
    /// be there for each. An envelope may carry others: of a bundle from before they were revoked.
    pub(super) fn mask(
        terms: Terms,
        holder: Arc<User>,
        shares: &BTreeMap<String, EpochShare>,
        hash: Hash,
        application: &ApplicationShare,
    ) -> Result<Self, Rejection> {
        let (generation, masked) = {
            let look = holder.look();
            let held = look.held()?;
            let granted = shares.iter().filter(|(keyspace, _)| held.shares.contains_key(*keyspace));
            let masked = granted.map(|(keyspace, user)| {
                let application = application.0.get(keyspace).ok_or(Rejection::ApplicationShare)?;
                let masked = MaskedShare::mask(&user.share, application, &hash, keyspace)?;
                Ok((keyspace.clone(), (user.epoch, masked)))
            });
            (held.generation, masked.collect::<Result<_, Rejection>>()?)
        };
        Ok(Self { terms, holder, generation, hash, masked, uses: Arc::default() })
    }

    /// The same envelope, masked under another TKa.
    pub(super) fn mask_anew(
        &self,
        shares: &BTreeMap<String, EpochShare>,
        application: &ApplicationShare,
    ) -> Result<Self, Rejection> {
        let holder = Arc::clone(&self.holder);
        let anew = Self::mask(self.terms.clone(), holder, shares, self.hash, application)?;
        Ok(Self { uses: Arc::clone(&self.uses), ..anew })
    }

    /// Whether the user's shares are still those beside which this was masked.
    pub(super) fn is_of_this_generation(&self) -> Result<bool, Rejection> {
        Ok(self.holder.look().held()?.generation == self.generation)
    }

    /// Whether the three shares give TK, in one keyspace at least: that alone shows that the envelope is
    /// the user's, for anybody can seal one. Another one's share may be of a grant that was taken back and
    /// given anew: what needs that keyspace is rejected when it is needed.
    pub(super) fn check_keys(
        &self,
        keyring: &Keyring,
        application: &ApplicationShare,
        now: impl Fn() -> u64,
    ) -> Result<Opened, Rejection> {
        let mut outcome = Err(Rejection::Keyspace);
        for keyspace in self.masked.keys() {
            outcome = self.rebuild(keyring, keyspace, application, &now);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// TK of one keyspace, compared with the check value.
    pub(super) fn rebuild(
        &self,
        keyring: &Keyring,
        keyspace: &str,
        application: &ApplicationShare,
        now: impl FnOnce() -> u64,
    ) -> Result<Opened, Rejection> {
        keyring.accepts(&self.terms.kid, now)?;
        let look = self.holder.look();
        let proxy = look.held()?.shares.get(keyspace).ok_or(Rejection::Keyspace)?;
        let application = application.0.get(keyspace).ok_or(Rejection::ApplicationShare)?;
        let (epoch, masked) = self.masked.get(keyspace).ok_or(Rejection::Keyspace)?;
        let check = keyring.check_values.get(keyspace).ok_or(Rejection::Keyspace)?;
        if *epoch != proxy.epoch || *epoch != check.epoch {
            return Err(Rejection::Keyspace);
        }
        let user = masked.unmask(application, &self.hash, keyspace);
        let tk = share::combine(&user, application, &proxy.share);
        if !check::verify(&tk, keyspace, *epoch, &check.value) {
            return Err(Rejection::CheckValue);
        }
        Ok(Opened { keyspace: keyspace.to_owned(), epoch: *epoch, tk })
    }

    /// The user (UId).
    pub fn user(&self) -> &str {
        &self.terms.user
    }

    /// The application that it is for (`aud`).
    pub fn application(&self) -> &str {
        &self.terms.application
    }

    /// Whether statements that write may run under it (`scope`).
    pub fn may_write(&self) -> bool {
        self.terms.scope == Scope::Write
    }

    /// The only tables that statements under it may touch, sorted (`tables`); all, if `None`.
    pub fn tables(&self) -> Option<&[QualifiedName]> {
        self.terms.tables.as_deref()
    }

    /// When it expires: checked by the session at each request.
    pub fn expires(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.terms.expires)
    }

    /// When it was issued, in seconds since 1970.
    pub fn issued(&self) -> u64 {
        self.terms.issued
    }

    /// Whether it serves fewer statements than its scope says.
    pub fn is_limited(&self) -> bool {
        self.terms.max_uses.is_some() || self.terms.tables.is_some()
    }

    /// Whether it has been used as often as it may.
    pub(super) fn is_spent(&self) -> bool {
        self.terms.max_uses.is_some_and(|limit| self.uses.load(Ordering::Acquire) >= limit)
    }

    /// Whether user and proxy both have a share in the keyspace, as things are now. Whether these fit is
    /// found when TK is rebuilt. An error if the user is withdrawn.
    pub fn grants(&self, keyspace: &str) -> Result<bool, ClientError> {
        let look = self.holder.look();
        let held = look.held().map_err(|rejection| rejection.logged(self.user()))?;
        Ok(self.masked.contains_key(keyspace) && held.shares.contains_key(keyspace))
    }

    /// Counts one use.
    pub(super) fn use_once(&self) -> Result<(), Rejection> {
        let Some(limit) = self.terms.max_uses else { return Ok(()) };
        self.uses
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |uses| (uses < limit).then(|| uses + 1))
            .map(|_| ())
            .map_err(|_| Rejection::Used)
    }
}

/// The tenant key of one keyspace, rebuilt and compared with its check value.
pub(super) struct Opened {
    pub(super) keyspace: String,
    pub(super) epoch: u8,
    pub(super) tk: TenantKey,
}

/// All live envelopes.
pub(super) struct LiveEnvelopes {
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_hash: HashMap<Hash, Arc<LiveEnvelope>>,
    by_expiry: BTreeSet<(u64, Hash)>,
}

impl LiveEnvelopes {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<LiveEnvelope>> {
        self.entries().by_hash.get(hash).map(Arc::clone)
    }

    /// Keeps the envelope, and puts out those that expired by `now`. If a session was faster with the
    /// same one, gives that, so that uses are counted once.
    pub(super) fn insert(&self, live: LiveEnvelope, now: u64) -> Result<Arc<LiveEnvelope>, Rejection> {
        let mut entries = self.entries();
        while let Some((expires, hash)) = entries.by_expiry.first().copied()
            && expires <= now
        {
            entries.by_expiry.remove(&(expires, hash));
            entries.by_hash.remove(&hash);
        }
        if let Some(first) = entries.by_hash.get(&live.hash) {
            return Ok(Arc::clone(first));
        }
        if entries.by_hash.len() >= self.capacity {
            return Err(Rejection::Full);
        }
        entries.by_expiry.insert((live.terms.expires, live.hash));
        let live = Arc::new(live);
        entries.by_hash.insert(live.hash, Arc::clone(&live));
        Ok(live)
    }

    /// Puts the same envelope, masked anew, in the place of the one before.
    pub(super) fn replace(&self, live: LiveEnvelope) -> Arc<LiveEnvelope> {
        let mut entries = self.entries();
        let live = Arc::new(live);
        entries.by_expiry.insert((live.terms.expires, live.hash));
        entries.by_hash.insert(live.hash, Arc::clone(&live));
        live
    }

    /// Puts out all envelopes of a user, who can use none of them any more.
    pub(super) fn forget(&self, user: &str) {
        let Entries { by_hash, by_expiry } = &mut *self.entries();
        for (hash, live) in by_hash.extract_if(|_, live| live.user() == user) {
            by_expiry.remove(&(live.terms.expires, hash));
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::users::Users;

    fn live(hash: u8, expires: u64) -> LiveEnvelope {
        let terms = Terms {
            user: "u".to_owned(),
            application: "a".to_owned(),
            issued: 0,
            expires,
            scope: Scope::Read,
            max_uses: Some(2),
            tables: None,
            kid: "k".into(),
        };
        let users = Users::default();
        users.set("u", Some(BTreeMap::new()));
        let (holder, none) = (users.get("u").unwrap(), ApplicationShare(BTreeMap::new()));
        LiveEnvelope::mask(terms, holder, &BTreeMap::new(), [hash; 32], &none).unwrap()
    }

    #[test]
    fn keeps_until_expiry_and_refuses_what_does_not_fit() {
        let all = LiveEnvelopes::new(2);
        all.insert(live(1, 20), 0).unwrap();
        all.insert(live(2, 10), 0).unwrap();
        assert_eq!(all.insert(live(3, 30), 9).err(), Some(Rejection::Full));
        assert!(all.get(&[2; 32]).is_some());
        assert!(all.insert(live(3, 30), 10).is_ok());
        assert!(all.get(&[2; 32]).is_none() && all.get(&[1; 32]).is_some());
    }

    #[test]
    fn counts_the_uses_of_one_envelope_together() {
        let all = LiveEnvelopes::new(2);
        let first = all.insert(live(1, 20), 0).unwrap();
        let second = all.insert(live(1, 20), 0).unwrap();
        assert_eq!(first.use_once(), Ok(()));
        assert_eq!(second.use_once(), Ok(()));
        assert_eq!(first.use_once(), Err(Rejection::Used));
    }
}
