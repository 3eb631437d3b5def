//! Shares from a bundle file, as tenants had them before the proxy kept a store of its own.

use super::keyring::{EnvelopeKey, Keyring};
use super::{Limits, Shares};
use std::path::Path;
use std::sync::Arc;
use trefoil_keys::bundle::{self, BundleError, ProxyBundle};
use trefoil_keys::envelope::{EnvelopeError, EnvelopePrivateKey};

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

impl Shares {
    /// Takes over a bundle.
    pub fn from_bundle(bundle: ProxyBundle, limits: Limits) -> Result<Self, SharesError> {
        let shares = Self::new(Keyring::default(), limits);
        shares.replace(bundle)?;
        Ok(shares)
    }

    /// Reads the bundle at `path`.
    pub fn read(path: &Path, limits: Limits) -> Result<Self, SharesError> {
        Self::from_bundle(bundle::read(path)?, limits)
    }

    /// Reads the bundle at `path` in place of the one before: who is withdrawn in it is refused from
    /// the next burst on. Changes nothing if the bundle cannot be used.
    pub fn reread(&self, path: &Path) -> Result<(), SharesError> {
        self.replace(bundle::read(path)?)
    }

    /// Puts a bundle in place of the one before.
    pub fn replace(&self, bundle: ProxyBundle) -> Result<(), SharesError> {
        let keys: Vec<_> = bundle
            .envelope_keys
            .iter()
            .map(|pem| EnvelopePrivateKey::from_pkcs8_pem(pem.as_str()))
            .map(|key| key.map(|key| EnvelopeKey { key: Arc::new(key), retires: None }))
            .collect::<Result<_, _>>()
            .map_err(SharesError::Key)?;
        if keys.is_empty() {
            return Err(SharesError::NoKey);
        }
        let ProxyBundle { applications, check_values, mut users, withdrawn, .. } = bundle;
        for user in self.users.ids().iter().chain(&withdrawn) {
            if !users.contains_key(user) || withdrawn.contains(user) {
                users.remove(user);
                self.set_user(user, None);
            }
        }
        for (user, shares) in users {
            self.set_user(&user, Some(shares));
        }
        self.set_keyring(Keyring { closed: None, applications, keys, check_values });
        Ok(())
    }
}
