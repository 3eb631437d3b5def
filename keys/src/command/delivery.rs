//! What the tenant admin hands to the application: a command and the shares that are not the proxy's.

use super::{Command, MAX_BATCH, Operation, tka_digest};
use crate::bundle::{Bundle, Shares, Version};
use crate::json::unique_map;
use crate::private_file;
use crate::signing::{Reason, SigningError, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest delivery, as JSON, in bytes.
const MAX_LENGTH: usize = 4 << 20;

/// A command with the application's half. Travels by HTTPS, or as a file of mode 0600
/// ([`crate::bundle::read`], [`crate::bundle::write`]).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Of the format.
    pub version: Version,
    /// The signed [`Command`].
    pub command: String,
    /// TKa's by UId; empty if the command carries no shares.
    #[serde(with = "unique_map")]
    pub tka: BTreeMap<String, Shares>,
}

impl Bundle for Delivery {
    const KIND: &'static str = "command file";
}

impl Delivery {
    /// Longest delivery, as JSON, in bytes.
    pub const MAX_LENGTH: usize = MAX_LENGTH;

    /// As JSON.
    ///
    /// # Errors
    /// [`SigningError::Unsignable`] if it is too long.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, SigningError> {
        match private_file::to_json(self) {
            Ok(json) if json.len() <= MAX_LENGTH => Ok(json),
            _ => Err(SigningError::Unsignable),
        }
    }

    /// Reads JSON; the command in it remains to be opened.
    ///
    /// # Errors
    /// [`SigningError::Rejected`].
    pub fn from_json(json: &[u8]) -> Result<Self, SigningError> {
        if json.len() > MAX_LENGTH {
            return Err(SigningError::Rejected(Reason::Size));
        }
        serde_json::from_slice(json).map_err(|_| SigningError::Rejected(Reason::Claims))
    }

    /// The command, if `tenant_key` signed it and the shares here are those that it was signed for.
    /// Tenant, number and times remain to be checked.
    ///
    /// # Errors
    /// [`SigningError::Rejected`].
    pub fn open(&self, tenant_key: &VerifyingKey) -> Result<Command, SigningError> {
        let command: Command = tenant_key.verify(&self.command)?;
        if self.fits(&command) { Ok(command) } else { Err(SigningError::Rejected(Reason::Shares)) }
    }

    fn fits(&self, command: &Command) -> bool {
        let users = match &command.op {
            Operation::Add { sub } | Operation::Change { sub } => self.tka.keys().eq([sub]),
            Operation::Renew => (1..=MAX_BATCH).contains(&self.tka.len()),
            Operation::Withdraw { .. } | Operation::RotateKey { .. } => self.tka.is_empty(),
        };
        let named = self.tka.iter().all(|(uid, shares)| {
            !uid.is_empty() && !shares.is_empty() && shares.keys().all(|keyspace| !keyspace.is_empty())
        });
        let digest = command.tka_sha256.is_none_or(|digest| tka_digest(&self.tka).ct_eq(&digest).into());
        users && named && digest
    }
}
