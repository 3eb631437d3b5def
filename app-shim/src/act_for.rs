//! Envelopes that the shim makes itself when it acts for one user, sealed to the key that the tenant
//! admin has announced last, or to that of the user's bundle before any announcement.

use crate::envelope::{self, Limits};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use trefoil_keys::announcement::Announcement;
use trefoil_keys::bundle::{self, UserBundle};
use trefoil_keys::envelope::{EnvelopePublicKey, Scope};
use trefoil_keys::signing::SigningError;

/// One user to act for.
pub(crate) struct ActFor {
    bundle: UserBundle,
    limits: Limits,
    sealing: Mutex<Sealing>,
}

struct Sealing {
    key: EnvelopePublicKey,
    /// Of the announcement that the key is from, or of the one before the bundle.
    serial: u64,
    made: Option<Made>,
}

struct Made {
    envelope: Arc<str>,
    issued_at: u64,
}

impl ActFor {
    /// Reads the user's bundle.
    pub(crate) fn read(path: &Path, lifetime: u64) -> anyhow::Result<Self> {
        let bundle: UserBundle = bundle::read(path)?;
        let key = EnvelopePublicKey::from_jwk(&bundle.envelope_key)?;
        // Found out now rather than at the first statement.
        let limits = Limits::new(Scope::Write, lifetime);
        envelope::make(&bundle, &key, &limits, envelope::now())?;
        let sealing = Sealing { key, serial: bundle.announcement_serial, made: None };
        Ok(Self { bundle, limits, sealing: Mutex::new(sealing) })
    }

    /// The user.
    pub(crate) fn user(&self) -> &str {
        &self.bundle.user
    }

    /// Id of the application that the user's envelopes are meant for.
    pub(crate) fn audience(&self) -> &str {
        &self.bundle.audience
    }

    /// Heeds an announcement, if it is newer than the last one and of the user's tenant. A bundle that
    /// does not say who announces keys knows no other key than its own.
    ///
    /// # Errors
    /// If the user's tenant admin has not signed it.
    pub(crate) fn heed(&self, jws: &str) -> Result<(), SigningError> {
        let Some(key) = &self.bundle.announcement_key else { return Ok(()) };
        let announcement: Announcement = key.verify(jws)?;
        let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = announcement.serial > sealing.serial && announcement.tenant == self.bundle.tenant;
        if let Some(key) = announcement.current().filter(|_| newer) {
            *sealing = Sealing { key: key.clone(), serial: announcement.serial, made: None };
        }
        Ok(())
    }

    /// An envelope with at least half of its life left.
    pub(crate) fn envelope(&self) -> Option<Arc<str>> {
        let now = envelope::now();
        let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &sealing.made
            && (made.issued_at..made.issued_at + self.limits.lifetime / 2).contains(&now)
        {
            return Some(made.envelope.clone());
        }
        match envelope::make(&self.bundle, &sealing.key, &self.limits, now) {
            Ok(envelope) => {
                let envelope: Arc<str> = envelope.into();
                sealing.made = Some(Made { envelope: envelope.clone(), issued_at: now });
                Some(envelope)
            }
            Err(error) => {
                tracing::error!(%error, "cannot make an envelope");
                None
            }
        }
    }
}
