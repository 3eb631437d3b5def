//! By what the proxy opens envelopes and knows a tenant key: its private keys, the tenant's check
//! values, the applications it serves. Replaced as a whole; the users are beside it.

use super::live::Terms;
use super::rejection::Rejection;
use crate::error::{ClientError, Code};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use trefoil_keys::bundle::CheckValue;
use trefoil_keys::envelope::{EnvelopeError, EnvelopePrivateKey, Reason, UserEnvelope};
use trefoil_keys::secret::wipe_deep_stack;

/// One of the proxy's private keys.
#[derive(Clone)]
pub struct EnvelopeKey {
    /// The key.
    pub key: Arc<EnvelopePrivateKey>,
    /// From when on (seconds since 1970) nothing that was sealed to it is taken; never, if absent.
    pub retires: Option<u64>,
}

impl EnvelopeKey {
    /// Whether it counts at `now`, in seconds since 1970. A key without an end asks no clock.
    pub fn is_current(&self, now: impl FnOnce() -> u64) -> bool {
        self.retires.is_none_or(|retires| now() < retires)
    }
}

/// Why the proxy serves no protected table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The tenant admin has not fetched TK yet.
    NotBootstrapped,
    /// The bootstrap was burnt.
    Burnt,
}

impl From<Closed> for ClientError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::NotBootstrapped => Self::refused(
                Code::NotBootstrapped,
                "the proxy has no tenant key yet: its bootstrap is not finished",
                "The tenant admin finishes it with trefoil-admin bootstrap.",
            ),
            Closed::Burnt => Self::refused(
                Code::BootstrapBurnt,
                "the proxy has no tenant key: its bootstrap was burnt",
                "Make the proxy anew with trefoil-proxy init --anew, and bootstrap it again.",
            ),
        }
    }
}

/// Keys, check values and applications.
#[derive(Default)]
pub struct Keyring {
    /// Why nothing can be opened, if so.
    pub closed: Option<Closed>,
    /// Ids of the applications that the proxy serves.
    pub applications: BTreeSet<String>,
    /// Its private keys, the current one first.
    pub keys: Vec<EnvelopeKey>,
    /// Check values by keyspace.
    pub check_values: BTreeMap<String, CheckValue>,
}

impl Keyring {
    /// Opens nothing.
    pub fn closed(reason: Closed) -> Self {
        Self { closed: Some(reason), ..Self::default() }
    }

    /// Size, header, unwrap, claims complete; with the `kid` to which it was sealed.
    pub(super) fn open(&self, envelope: &str, now: u64) -> Result<(UserEnvelope, Arc<str>), Rejection> {
        for EnvelopeKey { key, .. } in self.keys.iter().filter(|key| key.is_current(|| now)) {
            let opened = key.open(envelope);
            wipe_deep_stack();
            match opened {
                Err(EnvelopeError::Rejected(Reason::Kid)) => {}
                Err(error) => return Err(error.into()),
                Ok(opened) => return Ok((opened, key.public_key().kid().into())),
            }
        }
        Err(Rejection::Envelope(Reason::Kid))
    }

    /// User, application, times. `now` is in seconds since 1970.
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
        Ok(())
    }

    /// Whether what was sealed to this key still counts.
    pub(super) fn accepts(&self, kid: &str, now: impl FnOnce() -> u64) -> Result<(), Rejection> {
        let known = self.keys.iter().find(|known| known.key.public_key().kid() == kid);
        match known {
            Some(key) if key.is_current(now) => Ok(()),
            _ => Err(Rejection::Envelope(Reason::Kid)),
        }
    }
}

/// Seconds since 1970. A clock before that makes every envelope one from the future.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
