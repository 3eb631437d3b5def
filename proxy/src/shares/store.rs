//! The proxy's bundle in memory: its private keys, its shares TKp, and by what it knows a tenant key.

use super::rejection::Rejection;
use super::{ApplicationShare, LiveEnvelope, live::Terms};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use trefoil_keys::bundle::{self, BundleError, CheckValue, ProxyBundle};
use trefoil_keys::check;
use trefoil_keys::envelope::{EnvelopeError, EnvelopePrivateKey, Reason, UserEnvelope};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::share;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// Unreadable, exposed to others, or malformed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// One of its keys cannot open envelopes.
    #[error("the proxy bundle: {0}; have it issued again by trefoil-admin bundle")]
    Key(EnvelopeError),
    /// It has no key at all.
    #[error("the proxy bundle holds no envelope key; have it issued again by trefoil-admin bundle")]
    NoKey,
}

/// One bundle, ready for use. Replaced as a whole.
pub(super) struct Store {
    applications: BTreeSet<String>,
    keys: Vec<EnvelopePrivateKey>,
    check_values: BTreeMap<String, CheckValue>,
    users: BTreeMap<String, bundle::Shares>,
    withdrawn: BTreeSet<String>,
}

impl Store {
    pub(super) fn new(bundle: ProxyBundle) -> Result<Self, SharesError> {
        let keys: Vec<_> = bundle
            .envelope_keys
            .iter()
            .map(|pem| EnvelopePrivateKey::from_pkcs8_pem(pem.as_str()))
            .collect::<Result<_, _>>()
            .map_err(SharesError::Key)?;
        if keys.is_empty() {
            return Err(SharesError::NoKey);
        }
        Ok(Self {
            applications: bundle.applications,
            keys,
            check_values: bundle.check_values,
            users: bundle.users,
            withdrawn: bundle.withdrawn,
        })
    }

    pub(super) fn check_values(&self) -> &BTreeMap<String, CheckValue> {
        &self.check_values
    }

    /// Size, header, unwrap, claims complete.
    pub(super) fn open(&self, envelope: &str) -> Result<UserEnvelope, Rejection> {
        for key in &self.keys {
            match key.open(envelope) {
                Err(EnvelopeError::Rejected(Reason::Kid)) => {}
                outcome => return Ok(outcome?),
            }
        }
        Err(Rejection::Envelope(Reason::Kid))
    }

    /// User, application, times, withdrawal. `now` is in seconds since 1970.
    pub(super) fn validate(
        &self,
        terms: &Terms,
        user: &str,
        now: u64,
        clock_skew: Duration,
    ) -> Result<(), Rejection> {
        if terms.user != user {
            return Err(Rejection::Subject);
        }
        if !self.applications.contains(&terms.application) {
            return Err(Rejection::Audience);
        }
        if terms.issued > now.saturating_add(clock_skew.as_secs()) {
            return Err(Rejection::Future);
        }
        if terms.expires <= now {
            return Err(Rejection::Expired);
        }
        self.shares_of(user).map(|_| ())
    }

    /// TK of one keyspace with its epoch, compared with the check value.
    pub(super) fn rebuild(
        &self,
        live: &LiveEnvelope,
        keyspace: &str,
        application: &ApplicationShare,
    ) -> Result<(u8, TenantKey), Rejection> {
        let proxy = self.shares_of(live.user())?.get(keyspace).ok_or(Rejection::Keyspace)?;
        let application = application.0.get(keyspace).ok_or(Rejection::ApplicationShare)?;
        let (epoch, user) = live.unmask(keyspace, application).ok_or(Rejection::Keyspace)?;
        let check = self.check_values.get(keyspace).ok_or(Rejection::Keyspace)?;
        if epoch != proxy.epoch || epoch != check.epoch {
            return Err(Rejection::Keyspace);
        }
        let tk = share::combine(&user, application, &proxy.share);
        if !check::verify(&tk, keyspace, epoch, &check.value) {
            return Err(Rejection::CheckValue);
        }
        Ok((epoch, tk))
    }

    fn shares_of(&self, user: &str) -> Result<&bundle::Shares, Rejection> {
        if self.withdrawn.contains(user) {
            return Err(Rejection::User);
        }
        self.users.get(user).ok_or(Rejection::User)
    }
}
