//! Envelopes that the shim makes itself when it acts for one user.

use crate::envelope::Limits;
use crate::issuer::{Issuer, Series};
use std::path::Path;
use std::sync::Arc;
use trefoil_keys::bundle;
use trefoil_keys::envelope::Scope;
use trefoil_keys::signing::SigningError;

/// One user to act for.
pub(crate) struct ActFor {
    issuer: Issuer,
    series: Series,
}

impl ActFor {
    /// Reads the user's bundle.
    pub(crate) fn read(path: &Path, lifetime: u64) -> anyhow::Result<Self> {
        let issuer = Issuer::new(bundle::read(path)?)?;
        Ok(Self { issuer, series: Series::new(Limits::new(Scope::Write, lifetime)) })
    }

    /// The user.
    pub(crate) fn user(&self) -> &str {
        &self.issuer.bundle().user
    }

    /// Id of the application that the user's envelopes are meant for.
    pub(crate) fn audience(&self) -> &str {
        &self.issuer.bundle().audience
    }

    /// Heeds an announcement, as [`Issuer::heed`].
    ///
    /// # Errors
    /// If the user's tenant admin has not signed it.
    pub(crate) fn heed(&self, jws: &str) -> Result<(), SigningError> {
        self.issuer.heed(jws)
    }

    /// An envelope with at least half of its life left.
    pub(crate) fn envelope(&self) -> Option<Arc<str>> {
        self.series.envelope(&self.issuer)
    }
}
