//! Several pairs of a sidecar and a proxy that serve one tenant: the further pairs are copies of the first.
//!
//! One pair decides about a command; the others get the very same one, in the same order. Until each has
//! confirmed it, the command stays here with its shares. Invariant: a command leaves the vault only when no
//! pair lacks it.

use super::history::Event;
use super::outbox::{Pending, Received};
use super::{Endpoint, Tenant, TenantError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use trefoil_keys::command::{self, Delivery};
use trefoil_keys::receipt::{Outcome, Receipt};

/// The name of the first pair.
pub(crate) const MAIN: &str = "main";

/// A command that one pair has applied, and others lack.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Applied {
    pub(crate) pending: Pending,
    /// Names of pairs.
    pub(crate) lacking: BTreeSet<String>,
}

/// What a pair made of a command that another one has applied.
pub(crate) enum Followed {
    /// It has it now, or had it before.
    Applied,
    /// Not in this form.
    Refused { code: String },
}

impl Tenant {
    /// Names and endpoints, the first pair first.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Endpoint)> {
        let further = self.replicas.iter().map(|(name, endpoint)| (name.as_str(), endpoint));
        self.endpoint.iter().map(|endpoint| (MAIN, endpoint)).chain(further)
    }

    /// Makes a pair known, or where it is now.
    pub(crate) fn set_pair(&mut self, name: &str, endpoint: Endpoint, now: u64) -> Result<(), TenantError> {
        if name != MAIN {
            self.require_no_rotation()?;
        }
        let (url, fingerprint) = (endpoint.url.clone(), endpoint.fingerprint.to_string());
        if name == MAIN {
            self.endpoint = Some(endpoint);
        } else {
            self.replicas.insert(name.to_owned(), endpoint);
        }
        self.record(now, Event::ApplicationSet { url, fingerprint });
        Ok(())
    }

    /// Forgets a further pair, and what it lacks. What the first one lacks when it is the last to be left is
    /// without receipt again: it may have applied others under these numbers, of a newer copy of the vault.
    pub(crate) fn remove_pair(&mut self, name: &str, now: u64) -> Result<(), TenantError> {
        let pair = self.replicas.remove(name).ok_or_else(|| TenantError::PairUnknown(name.to_owned()))?;
        for applied in self.outbox.applied.values_mut() {
            applied.lacking.remove(name);
        }
        self.outbox.applied.retain(|_, applied| !applied.lacking.is_empty());
        // Who has applied them is gone: the first pair decides.
        if self.replicas.is_empty() {
            self.outbox.decide_again();
        }
        self.record(now, Event::ApplicationRemoved { url: pair.url });
        Ok(())
    }

    /// Commands that this pair lacks and another one has applied, in order, with their numbers.
    pub(crate) fn lacked_by(&self, pair: &str) -> impl Iterator<Item = (u64, &Pending)> {
        let lacked = self.outbox.applied.iter().filter(move |(_, applied)| applied.lacking.contains(pair));
        lacked.map(|(seq, applied)| (*seq, &applied.pending))
    }

    /// Commands that some pair has applied and some lack, by their numbers.
    pub(crate) fn partly_applied(&self) -> impl Iterator<Item = (u64, &Applied)> {
        self.outbox.applied.iter().map(|(seq, applied)| (*seq, applied))
    }

    /// The forms of a partly applied command, the newest first.
    pub(crate) fn forms_of(&self, seq: u64) -> Vec<Delivery> {
        self.outbox.applied.get(&seq).map(|applied| applied.pending.forms(seq)).unwrap_or_default()
    }

    /// Takes the receipt of a pair for a command that another one has applied.
    pub(crate) fn follow(
        &mut self,
        pair: &str,
        (seq, delivery): (u64, &Delivery),
        jws: &str,
        now: u64,
    ) -> Result<Followed, TenantError> {
        let receipt: Receipt = self.proxy.receipt_key.verify(jws).map_err(|_| TenantError::ReceiptForged)?;
        let answers = receipt.tenant == self.name
            && receipt.seq == seq
            && receipt.command_sha256 == command::hash(&delivery.command);
        match receipt.outcome {
            _ if !answers => Err(TenantError::ReceiptForged),
            Outcome::Refused { code, .. } => Ok(Followed::Refused { code }),
            Outcome::Applied => {
                if let Some(applied) = self.outbox.applied.get_mut(&seq) {
                    applied.lacking.remove(pair);
                }
                self.outbox.applied.retain(|_, applied| !applied.lacking.is_empty());
                self.record(now, Event::Followed { seq, pair: pair.to_owned() });
                Ok(Followed::Applied)
            }
        }
    }

    /// Takes a receipt of this pair, whatever it answers.
    pub(crate) fn take_receipt(&mut self, pair: &str, jws: &str, now: u64) -> Result<Received, TenantError> {
        self.require_pair(pair)?;
        let receipt: Receipt = self.proxy.receipt_key.verify(jws).map_err(|_| TenantError::ReceiptForged)?;
        let (seq, hash) = (receipt.seq, receipt.command_sha256);
        let lacks = self.lacked_by(pair).any(|(lacked, _)| lacked == seq);
        let form = self.forms_of(seq).into_iter().find(|form| command::hash(&form.command) == hash);
        match form.filter(|_| lacks) {
            None => self.receive_from(pair, jws, now),
            Some(form) => Ok(match self.follow(pair, (seq, &form), jws, now)? {
                Followed::Applied => Received::Applied,
                Followed::Refused { code } => Received::NotYet { seq, code },
            }),
        }
    }

    /// Makes sure that there is a pair of this name.
    pub(crate) fn require_pair(&self, name: &str) -> Result<(), TenantError> {
        let is_known = name == MAIN || self.replicas.contains_key(name);
        if is_known { Ok(()) } else { Err(TenantError::PairUnknown(name.to_owned())) }
    }

    /// After `pair` has applied a command: the others are to get it.
    pub(super) fn hand_on(&mut self, pair: &str, seq: u64, pending: Pending) {
        let lacking: BTreeSet<String> =
            self.pairs().map(|(name, _)| name).filter(|name| *name != pair).map(str::to_owned).collect();
        if !lacking.is_empty() {
            self.outbox.applied.insert(seq, Applied { pending, lacking });
        }
    }
}
