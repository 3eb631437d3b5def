//! Makes user envelopes from a user bundle.

use std::time::{SystemTime, UNIX_EPOCH};
use trefoil_keys::bundle::UserBundle;
use trefoil_keys::envelope::{self, EnvelopeError, EnvelopePublicKey, EpochShare, Scope, UserEnvelope};

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Seals the user's shares; the envelope holds from `issued_at` for `lifetime` seconds.
pub(crate) fn make(
    bundle: &UserBundle,
    key: &EnvelopePublicKey,
    scope: Scope,
    issued_at: u64,
    lifetime: u64,
) -> Result<String, EnvelopeError> {
    let shares = bundle.shares.iter().map(|(keyspace, issued)| {
        (keyspace.clone(), EpochShare { epoch: issued.epoch, share: issued.share.duplicate() })
    });
    let claims = UserEnvelope {
        sub: bundle.user.clone(),
        iat: issued_at,
        exp: issued_at.saturating_add(lifetime),
        jti: format!("{:032x}", rand::random::<u128>()),
        aud: bundle.audience.clone(),
        scope,
        max_uses: None,
        shares: shares.collect(),
    };
    envelope::seal(&claims, key)
}
