//! The shares of live requests: envelopes unwrapped once and kept masked, the proxy's own shares,
//! and the burst, the only place where a tenant key exists. Each change is seen by the next burst of
//! every open session.

mod burst;
mod keyring;
mod live;
mod rejection;
mod users;

pub use burst::{Burst, Sight, not_granted};
pub use keyring::{Closed, EnvelopeKey, Keyring};
pub use live::LiveEnvelope;

use crate::audit::Audit;
use crate::error::ClientError;
use arc_swap::ArcSwap;
use live::{Hash, LiveEnvelopes, Opened, Terms};
use rejection::Rejection;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use trefoil_keys::bundle::{self, CheckValue};
use trefoil_keys::envelope::{self, Reason};
use trefoil_keys::secret::Share;
use users::Users;

/// Live envelopes kept at most, below 1 KiB each.
const CAPACITY: usize = 65_536;

/// TKa as it arrives: one share for each keyspace granted to the user.
pub struct ApplicationShare(pub BTreeMap<String, Share>);

/// An envelope as it arrives, in compact form.
pub struct Envelope {
    text: String,
    /// Made once, however often it is presented.
    hash: OnceLock<Hash>,
}

impl Envelope {
    /// Of this text, whatever it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hash: OnceLock::new() }
    }

    fn hash(&self) -> &Hash {
        self.hash.get_or_init(|| envelope::hash(&self.text))
    }
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

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
    keyring: ArcSwap<Keyring>,
    users: Users,
    live: LiveEnvelopes,
    limits: Limits,
    /// Where rejections are recorded, if an audit log is kept.
    audit: OnceLock<Arc<Audit>>,
    /// When this began to count uses, in seconds since 1970.
    started: u64,
}

impl Shares {
    /// Without users.
    pub fn new(keyring: Keyring, limits: Limits) -> Self {
        Self::started(keyring, limits, keyring::seconds(SystemTime::now()))
    }

    fn started(keyring: Keyring, limits: Limits, started: u64) -> Self {
        Self {
            started,
            keyring: ArcSwap::from_pointee(keyring),
            users: Users::default(),
            live: LiveEnvelopes::new(CAPACITY),
            limits,
            audit: OnceLock::new(),
        }
    }

    /// Records from now on which shares are not accepted.
    pub fn record_rejections(&self, audit: Arc<Audit>) {
        self.audit.get_or_init(|| audit);
    }

    fn rejected(&self, rejection: Rejection, user: &str) -> ClientError {
        if let Some(audit) = self.audit.get() {
            audit.record("share", &rejection.record(user));
        }
        rejection.logged(user)
    }

    /// Puts keys, check values and applications in place of those before.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// Puts a user's TKp's in place of those before, or withdraws the user.
    pub fn set_user(&self, user: &str, shares: Option<bundle::Shares>) {
        let withdrawn = shares.is_none();
        self.users.set(user, shares);
        if withdrawn {
            self.live.forget(user);
        }
    }

    /// The check values by keyspace.
    pub fn check_values(&self) -> BTreeMap<String, CheckValue> {
        self.keyring.load().check_values.clone()
    }

    /// Refuses what touches protected tables while there is no tenant key.
    pub fn check_open(&self) -> Result<(), ClientError> {
        self.keyring.load().closed.map_or(Ok(()), |closed| Err(closed.into()))
    }

    /// Checks a presented envelope (in the key scheme's order), the first time by RSA unwrap (below 1 ms of
    /// CPU), afterwards by look-up of its hash, and begins the burst in which it was checked. To be called
    /// once for each request: it counts as one use.
    pub fn admit(
        &self,
        user: &str,
        envelope: &Envelope,
        application: &Arc<ApplicationShare>,
        now: SystemTime,
    ) -> Result<Burst, ClientError> {
        let keyring = self.keyring.load_full();
        self.checked(&keyring, user, envelope, application, keyring::seconds(now))
            .and_then(|(live, opened)| live.use_once().map(|()| (live, opened)))
            .map(|(live, opened)| Burst::new(keyring, live, Arc::clone(application), Some(opened)))
            .map_err(|rejection| self.rejected(rejection, user))
    }

    /// The same without a use: what a sidecar asks before it keeps an envelope. It is live from then on,
    /// so that its first request needs no unwrap.
    pub fn check(
        &self,
        user: &str,
        envelope: &Envelope,
        application: &ApplicationShare,
        now: SystemTime,
    ) -> Result<Arc<LiveEnvelope>, ClientError> {
        self.checked(&self.keyring.load(), user, envelope, application, keyring::seconds(now))
            .and_then(|(live, _)| if live.is_spent() { Err(Rejection::Used) } else { Ok(live) })
            .map_err(|rejection| self.rejected(rejection, user))
    }

    /// The same for a request that needs no keys and is held against the envelope's limits all the same:
    /// it counts as no use. `None` if the envelope cannot be used.
    pub fn look(
        &self,
        user: &str,
        envelope: &Envelope,
        application: &ApplicationShare,
        now: SystemTime,
    ) -> Option<Arc<LiveEnvelope>> {
        let checked = self.checked(&self.keyring.load(), user, envelope, application, keyring::seconds(now));
        checked.ok().map(|(live, _)| live)
    }

    fn checked(
        &self,
        keyring: &Keyring,
        user: &str,
        envelope: &Envelope,
        application: &ApplicationShare,
        now: u64,
    ) -> Result<(Arc<LiveEnvelope>, Opened), Rejection> {
        if envelope.text.len() > envelope::MAX_LENGTH {
            return Err(Rejection::Envelope(Reason::Size));
        }
        let hash = envelope.hash();
        Ok(match self.live.get(hash) {
            Some(live) => {
                keyring.validate(&live.terms, user, now, self.limits.clock_skew)?;
                if live.is_of_this_generation()? {
                    let checked = live.check_keys(keyring, application, || now)?;
                    (live, checked)
                } else {
                    // The user's TKa is another one than that which masks this.
                    let (opened, _) = keyring.open(&envelope.text, now)?;
                    let anew = live.mask_anew(&opened.shares, application)?;
                    let checked = anew.check_keys(keyring, application, || now)?;
                    (self.live.replace(anew), checked)
                }
            }
            None => {
                let (opened, kid) = keyring.open(&envelope.text, now)?;
                let terms = Terms::of(&opened, self.limits.max_validity, kid);
                keyring.validate(&terms, user, now, self.limits.clock_skew)?;
                // Its uses before the start are not known. The user's clock may be ahead of this one.
                if terms.is_counted() && terms.issued <= self.started + self.limits.clock_skew.as_secs() {
                    return Err(Rejection::Uncounted);
                }
                let holder = self.users.get(user)?;
                let live = LiveEnvelope::mask(terms, holder, &opened.shares, *hash, application)?;
                let checked = live.check_keys(keyring, application, || now)?;
                (self.live.insert(live, now)?, checked)
            }
        })
    }

    /// Opens a burst: no key is rebuilt before the first cell asks for one.
    pub fn burst(&self, live: &Arc<LiveEnvelope>, application: &Arc<ApplicationShare>) -> Burst {
        Burst::new(self.keyring.load_full(), Arc::clone(live), Arc::clone(application), None)
    }
}

#[cfg(test)]
mod tests;
