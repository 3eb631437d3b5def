//! Makes user envelopes from a user bundle.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use trefoil_keys::bundle::UserBundle;
use trefoil_keys::envelope::{self, EnvelopeError, EnvelopePublicKey, EpochShare, Scope, UserEnvelope};

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What an envelope is limited to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// What it allows.
    pub(crate) scope: Scope,
    /// For how many seconds it holds.
    pub(crate) lifetime: u64,
    /// For how many requests it serves; for any number until it expires, if absent.
    pub(crate) max_uses: Option<u32>,
    /// The only tables that it is for, as `schema.table`; for all, if absent.
    pub(crate) tables: Option<BTreeSet<String>>,
    /// The application for which it is meant; that of the bundle, if absent.
    pub(crate) audience: Option<String>,
}

impl Limits {
    /// No limits but these two.
    pub(crate) fn new(scope: Scope, lifetime: u64) -> Self {
        Self { scope, lifetime, max_uses: None, tables: None, audience: None }
    }
}

/// Seals the user's shares; the envelope holds from `issued_at` on, within its limits.
pub(crate) fn make(
    bundle: &UserBundle,
    key: &EnvelopePublicKey,
    limits: &Limits,
    issued_at: u64,
) -> Result<String, EnvelopeError> {
    let shares = bundle.shares.iter().map(|(keyspace, issued)| {
        (keyspace.clone(), EpochShare { epoch: issued.epoch, share: issued.share.duplicate() })
    });
    let claims = UserEnvelope {
        sub: bundle.user.clone(),
        iat: issued_at,
        exp: issued_at.saturating_add(limits.lifetime),
        jti: format!("{:032x}", rand::random::<u128>()),
        aud: limits.audience.as_ref().unwrap_or(&bundle.audience).clone(),
        scope: limits.scope,
        max_uses: limits.max_uses,
        tables: limits.tables.clone(),
        shares: shares.collect(),
    };
    envelope::seal(&claims, key)
}
