//! Receipts: what the proxy signs about a command, so that the tenant admin sees what became of it even
//! if the application in between would rather have dropped or delayed it.

use crate::command::Command;
use crate::envelope::{EnvelopePublicKey, all_different};
use crate::json::digest;
use crate::signing::{self, Claims};
use serde::{Deserialize, Serialize};

/// What the proxy says about one command. Only what was decided for good gets a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Tenant's name.
    pub tenant: String,
    /// The command's number.
    pub seq: u64,
    /// [`signing::hash`] of the command.
    #[serde(with = "digest")]
    pub command_sha256: [u8; 32],
    /// When it was decided, in seconds since 1970.
    pub at: u64,
    /// What was decided.
    pub outcome: Outcome,
    /// The proxy's keys for envelopes, the current one first, if the command made a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_keys: Option<Vec<EnvelopePublicKey>>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// It is in force.
    Applied,
    /// Nothing has changed and the command's number is free.
    Refused {
        /// Why, for programs.
        code: String,
        /// Why, for people. Holds nothing of a share.
        message: String,
    },
}

impl Receipt {
    /// Whether this is about this command, `jws` being the signed form of `command`.
    pub fn answers(&self, command: &Command, jws: &str) -> bool {
        self.tenant == command.tenant && self.seq == command.seq && self.command_sha256 == signing::hash(jws)
    }
}

impl Claims for Receipt {
    const TYP: &'static str = "trefoil-receipt+jws";
    const MAX_LENGTH: usize = 16 * 1024;

    fn is_complete(&self) -> bool {
        let outcome = match &self.outcome {
            Outcome::Applied => true,
            Outcome::Refused { code, message } => {
                !code.is_empty() && !message.is_empty() && self.envelope_keys.is_none()
            }
        };
        outcome
            && !self.tenant.is_empty()
            && self.seq > 0
            && self.envelope_keys.as_deref().is_none_or(|keys| !keys.is_empty() && all_different(keys))
    }
}
