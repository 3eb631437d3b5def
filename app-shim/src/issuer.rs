//! A user's share at work: envelopes, sealed to the key that the tenant admin has announced last, or to
//! that of the user's bundle before any announcement.

use crate::envelope::{self, Limits};
use std::sync::{Arc, Mutex, PoisonError};
use trefoil_keys::announcement::Announcement;
use trefoil_keys::bundle::UserBundle;
use trefoil_keys::envelope::{EnvelopeError, EnvelopePublicKey, Scope};
use trefoil_keys::signing::SigningError;

/// Whoever makes envelopes for one user.
pub(crate) struct Issuer {
    bundle: UserBundle,
    sealing: Mutex<Sealing>,
}

#[derive(Clone)]
struct Sealing {
    key: EnvelopePublicKey,
    /// Of the announcement that the key is from, or of the one before the bundle.
    serial: u64,
}

/// Envelopes that are alike; each is used as long as half of its life is left, unless its uses are counted.
pub(crate) struct Series {
    limits: Limits,
    made: Mutex<Option<Made>>,
}

struct Made {
    envelope: Arc<str>,
    issued_at: u64,
    serial: u64,
}

impl Issuer {
    /// Takes the user's bundle over.
    ///
    /// # Errors
    /// If no envelope can be made of it: found out now rather than when the first one is needed.
    pub(crate) fn new(bundle: UserBundle) -> Result<Self, EnvelopeError> {
        let key = EnvelopePublicKey::from_jwk(&bundle.envelope_key)?;
        envelope::make(&bundle, &key, &Limits::new(Scope::Write, 1), envelope::now())?;
        let sealing = Sealing { key, serial: bundle.announcement_serial };
        Ok(Self { bundle, sealing: Mutex::new(sealing) })
    }

    /// What was issued to the user.
    pub(crate) fn bundle(&self) -> &UserBundle {
        &self.bundle
    }

    /// Heeds an announcement, if it is newer than the last one and of the user's tenant. A bundle that
    /// does not say who announces keys knows no other key than its own.
    ///
    /// # Errors
    /// If the user's tenant admin has not signed it.
    pub(crate) fn heed(&self, jws: &str) -> Result<(), SigningError> {
        let Some(key) = &self.bundle.announcement_key else { return Ok(()) };
        let announcement: Announcement = key.verify(jws)?;
        if announcement.tenant == self.bundle.tenant {
            self.seal_to(&announcement);
        }
        Ok(())
    }

    /// Seals to the announced key from now on, if it is newer. The announcement has been verified.
    pub(crate) fn seal_to(&self, announcement: &Announcement) {
        let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = announcement.serial > sealing.serial;
        if let Some(key) = announcement.current().filter(|_| newer) {
            *sealing = Sealing { key: key.clone(), serial: announcement.serial };
        }
    }

    fn sealing(&self) -> Sealing {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Series {
    /// Of envelopes with these limits.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, made: Mutex::new(None) }
    }

    /// An envelope with at least half of its life left; one of its own for each call if its uses are
    /// counted.
    pub(crate) fn envelope(&self, issuer: &Issuer) -> Option<Arc<str>> {
        let now = envelope::now();
        let Sealing { key, serial } = issuer.sealing();
        // Held while one is made, so that of many that come at once only one is.
        let mut last = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*last
            && self.limits.max_uses.is_none()
            && made.serial == serial
            && (made.issued_at..made.issued_at + self.limits.lifetime / 2).contains(&now)
        {
            return Some(made.envelope.clone());
        }
        match envelope::make(&issuer.bundle, &key, &self.limits, now) {
            Ok(envelope) => {
                let envelope: Arc<str> = envelope.into();
                *last = Some(Made { envelope: envelope.clone(), issued_at: now, serial });
                Some(envelope)
            }
            Err(error) => {
                tracing::error!(%error, "cannot make an envelope");
                None
            }
        }
    }
}
