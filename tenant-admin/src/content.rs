//! What a vault holds, from the first step of the bootstrap on.
//!
//! Invariant: a vault in any stage but `ready` never issued anything; each step is stored before the next
//! one shows outside.

use crate::tenant::Tenant;
use serde::{Deserialize, Serialize};
use trefoil_keys::bundle::PrivateKeyPem;
use trefoil_keys::tls::Fingerprint;

/// Version of the vault's format.
pub(crate) const VERSION: u64 = 3;
/// The version before there were grants and marks of unknown shares: read, and written no more.
pub(crate) const WITHOUT_GRANTS: u64 = 2;

/// The whole content of a vault.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    version: u64,
    pub(crate) stage: Stage,
}

impl Content {
    pub(crate) fn new(stage: Stage) -> Self {
        Self { version: VERSION, stage }
    }

    /// The same in the present format, as it was read in the one before.
    pub(crate) fn with_grants(mut self) -> Self {
        self.version = VERSION;
        if let Stage::Ready(tenant) | Stage::Claimed(_, tenant) = &mut self.stage {
            tenant.grant_what_users_have();
        }
        self
    }
}

/// How far the bootstrap is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Stage {
    /// About to ask the proxy for the tenant key.
    Claiming(Claiming),
    /// The tenant key is here, but the proxy may not have been told yet.
    Claimed(Claiming, Tenant),
    /// Waiting for the file in which the proxy hands the tenant key over.
    Awaiting(Awaiting),
    /// Everyday life.
    Ready(Tenant),
}

/// A bootstrap over the network.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claiming {
    /// The proxy's admin port.
    pub(crate) url: String,
    /// Of the certificate there.
    pub(crate) fingerprint: Fingerprint,
    /// Says in a repeated claim that it is the same claimer: 32 random bytes as base64url.
    pub(crate) claim: String,
}

/// A hand-over by file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Awaiting {
    /// Opens the hand-over.
    pub(crate) key: PrivateKeyPem,
}
