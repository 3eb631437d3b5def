//! Announcements: what the tenant admin signs about the proxy's keys, so that the users' agents learn of
//! a new one without trusting whoever brings the news.

use crate::envelope::{EnvelopePublicKey, all_different};
use crate::json::unique_map;
use crate::signing::Claims;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The keys that envelopes may be sealed to. Of two announcements the one with the higher serial holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Tenant's name.
    pub tenant: String,
    /// From 1 up.
    pub serial: u64,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
    /// The proxy's keys, the current one first.
    pub envelope_keys: Vec<EnvelopePublicKey>,
    /// Until when the proxy accepts a former key, by its `kid`, in seconds since 1970.
    #[serde(with = "unique_map")]
    pub retires: BTreeMap<String, u64>,
}

impl Announcement {
    /// The key to seal to from now on; there is one in all that were verified.
    pub fn current(&self) -> Option<&EnvelopePublicKey> {
        self.envelope_keys.first()
    }
}

impl Claims for Announcement {
    const TYP: &'static str = "trefoil-announcement+jws";
    const MAX_LENGTH: usize = 16 * 1024;

    fn is_complete(&self) -> bool {
        let Some((_, former)) = self.envelope_keys.split_first() else { return false };
        !self.tenant.is_empty()
            && self.serial > 0
            && all_different(&self.envelope_keys)
            && self.retires.keys().all(|kid| former.iter().any(|key| key.kid() == kid))
    }
}
