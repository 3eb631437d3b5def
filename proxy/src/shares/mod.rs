//! The shares of live requests: envelopes unwrapped once and kept masked, the proxy's own shares,
//! and the burst, the only place where a tenant key exists.

mod burst;
mod live;
mod rejection;
mod store;

pub use burst::Burst;
pub use live::LiveEnvelope;
pub use store::SharesError;

use crate::error::ClientError;
use arc_swap::ArcSwap;
use live::{LiveEnvelopes, Terms};
use rejection::Rejection;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::Store;
use trefoil_keys::bundle::{self, CheckValue, ProxyBundle};
use trefoil_keys::envelope::{self, Reason};
use trefoil_keys::secret::Share;

/// Live envelopes kept at most, below 1 KiB each.
const CAPACITY: usize = 65_536;

/// TKa as it arrives: one share for each keyspace granted to the user.
pub struct ApplicationShare(pub BTreeMap<String, Share>);

/// Bounds on the times of envelopes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest time from `iat` that an envelope is honoured.
    pub max_validity: Duration,
    /// How far `iat` may lie in the future.
    pub clock_skew: Duration,
}

/// The tenant's shares that this proxy holds, with the envelopes that are live.
pub struct Shares {
    store: ArcSwap<Store>,
    live: LiveEnvelopes,
    limits: Limits,
}

impl Shares {
    /// Takes over a bundle.
    pub fn new(bundle: ProxyBundle, limits: Limits) -> Result<Self, SharesError> {
        let store = ArcSwap::from_pointee(Store::new(bundle)?);
        Ok(Self { store, live: LiveEnvelopes::new(CAPACITY), limits })
    }

    /// Reads the bundle at `path`.
    pub fn read(path: &Path, limits: Limits) -> Result<Self, SharesError> {
        Self::new(bundle::read(path)?, limits)
    }

    /// Reads the bundle at `path` in place of the one before: who is withdrawn in it is refused from
    /// the next burst on. Changes nothing if the bundle cannot be used.
    pub fn reread(&self, path: &Path) -> Result<(), SharesError> {
        self.replace(bundle::read(path)?)
    }

    /// Puts a bundle in place of the one before.
    pub fn replace(&self, bundle: ProxyBundle) -> Result<(), SharesError> {
        self.store.store(Arc::new(Store::new(bundle)?));
        Ok(())
    }

    /// The check values by keyspace.
    pub fn check_values(&self) -> BTreeMap<String, CheckValue> {
        self.store.load().check_values().clone()
    }

    /// Checks a presented envelope (in the key scheme's order) and returns the live one: the first
    /// time by RSA unwrap (below 1 ms of CPU), afterwards by look-up of its hash. To be called once
    /// for each request: it counts as one use.
    pub fn admit(
        &self,
        user: &str,
        envelope: &str,
        application: &ApplicationShare,
        now: SystemTime,
    ) -> Result<Arc<LiveEnvelope>, ClientError> {
        // A clock before 1970 makes every envelope one from the future.
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.checked(user, envelope, application, now).map_err(|rejection| rejection.logged(user))
    }

    fn checked(
        &self,
        user: &str,
        envelope: &str,
        application: &ApplicationShare,
        now: u64,
    ) -> Result<Arc<LiveEnvelope>, Rejection> {
        if envelope.len() > envelope::MAX_LENGTH {
            return Err(Rejection::Envelope(Reason::Size));
        }
        let store = self.store.load();
        let hash = envelope::hash(envelope);
        let live = match self.live.get(&hash) {
            Some(live) => {
                store.validate(&live.terms, user, now, self.limits.clock_skew)?;
                check_keys(&store, &live, application)?;
                live
            }
            None => {
                let opened = store.open(envelope)?;
                let terms = Terms::of(&opened, self.limits.max_validity);
                store.validate(&terms, user, now, self.limits.clock_skew)?;
                let live = LiveEnvelope::mask(terms, &opened.shares, hash, application)?;
                check_keys(&store, &live, application)?;
                self.live.insert(live, now)?
            }
        };
        live.use_once()?;
        Ok(live)
    }

    /// Opens a burst: no key is rebuilt before the first cell asks for one.
    pub fn burst<'a>(&self, live: &'a LiveEnvelope, application: &'a ApplicationShare) -> Burst<'a> {
        Burst::new(self.store.load_full(), live, application)
    }
}

/// Whether the three shares give TK, in each keyspace of the envelope.
fn check_keys(store: &Store, live: &LiveEnvelope, application: &ApplicationShare) -> Result<(), Rejection> {
    live.keyspaces().try_for_each(|keyspace| store.rebuild(live, keyspace, application).map(drop))
}

#[cfg(test)]
mod tests;
