//! The proxy's receipts, and what follows from them: a command is out of the outbox, held, or undone.

use super::super::history::{Digest, Event, UserOp};
use super::super::{Tenant, TenantError};
use super::{Former, Pending, Work};
use serde::{Deserialize, Serialize};
use trefoil_keys::envelope::EnvelopePublicKey;
use trefoil_keys::receipt::{Outcome, Receipt};
use trefoil_keys::signing;

/// Refusals by which a command is not at fault: signed anew, or in its turn, it may still be applied.
const NOT_FINAL: [&str; 4] = ["seq", "expired", "future", "key"];

/// The code of a refusal for a user who is there already, or is not.
const USER: &str = "user";
/// The code of a refusal for a keyspace that is there already.
const EXISTS: &str = "exists";
/// The code of a command that this vault undid, for its shares were in a keyspace that was refused.
const KEYSPACE: &str = "keyspace";
/// The code of a refusal for a user who was withdrawn by a newer copy of this vault, which has learned of it.
pub(crate) const WITHDRAWN: &str = "withdrawn";

/// A command that the proxy refused: it is undone in the vault.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// The command in words.
    pub(crate) command: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What a receipt meant.
pub(crate) enum Received {
    /// The command was applied, and is out of the outbox.
    Applied,
    /// The same receipt, or another one of the same command, was here before.
    KnownBefore { seq: u64 },
    /// This command was refused for good and is undone; those behind it moved up.
    Refused(Refusal),
    /// Not applied for its time or number alone, or because it was perhaps applied in an earlier form: it
    /// stays in the outbox, to be sent again.
    NotYet { seq: u64, code: String },
}

impl Tenant {
    /// Commands that the proxy refused, oldest first.
    pub(crate) fn refused(&self) -> &[Refusal] {
        &self.outbox.refused
    }

    /// Takes a receipt of the first pair.
    #[cfg(test)]
    pub(crate) fn receive(&mut self, jws: &str, now: u64) -> Result<Received, TenantError> {
        self.receive_from(super::super::pairs::MAIN, jws, now)
    }

    /// Takes a receipt, in compact form, and does what follows from it. The pair decides for all.
    pub(crate) fn receive_from(&mut self, pair: &str, jws: &str, now: u64) -> Result<Received, TenantError> {
        let receipt: Receipt = self.proxy.receipt_key.verify(jws).map_err(|_| TenantError::ReceiptForged)?;
        let (seq, hash) = (receipt.seq, receipt.command_sha256);
        if receipt.tenant != self.name {
            return Err(TenantError::ReceiptForged);
        }
        let place = self.outbox.pending.iter().position(|pending| pending.was_signed_as(seq, &hash));
        let Some(place) = place else {
            return if self.was_decided(Digest(hash)) {
                Ok(Received::KnownBefore { seq })
            } else {
                Err(TenantError::ReceiptUnknown { seq })
            };
        };
        let (command, receipt_hash) = (Digest(hash), Digest(signing::hash(jws)));
        match receipt.outcome {
            Outcome::Applied => {
                self.learn_keys(place, receipt.envelope_keys, receipt.at)?;
                if let Some(pending) = self.outbox.pending.remove(place) {
                    self.hand_on(pair, seq, pending);
                }
                self.record(now, Event::Applied { seq, command, receipt: receipt_hash });
                Ok(Received::Applied)
            }
            Outcome::Refused { code, .. } if NOT_FINAL.contains(&code.as_str()) => {
                Ok(Received::NotYet { seq, code })
            }
            // Perhaps it is refused because an earlier form of it was applied.
            Outcome::Refused { code, .. }
                if [USER, WITHDRAWN, EXISTS].contains(&code.as_str())
                    && self.may_be_applied_before(place, seq) =>
            {
                Ok(Received::NotYet { seq, code })
            }
            Outcome::Refused { code, message, user } => {
                self.record(now, Event::Refused { seq, command, receipt: receipt_hash, code: code.clone() });
                let mut refusal = self.undo(place, code, message, now)?;
                let learned = user.is_some_and(|user| self.learn_withdrawal(&user, now));
                if refusal.code == WITHDRAWN && !learned {
                    refusal.code = USER.to_owned();
                }
                Ok(Received::Refused(refusal))
            }
        }
    }

    fn may_be_applied_before(&self, place: usize, seq: u64) -> bool {
        let pending = self.outbox.pending.get(place);
        pending.is_some_and(|pending| pending.perhaps_applied(seq.saturating_sub(1)).next().is_some())
    }

    fn was_decided(&self, hash: Digest) -> bool {
        self.history().entries().iter().any(|entry| match &entry.event {
            Event::Applied { command, .. } | Event::Refused { command, .. } => *command == hash,
            _ => false,
        })
    }

    /// After a key rotation: the proxy's keys, and until when the former ones are good.
    fn learn_keys(
        &mut self,
        place: usize,
        keys: Option<Vec<EnvelopePublicKey>>,
        at: u64,
    ) -> Result<(), TenantError> {
        let Some(Work::RotateKey { overlap }) = self.outbox.pending.get(place).map(|pending| &pending.work)
        else {
            return Ok(());
        };
        let until = at.saturating_add(*overlap);
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or(TenantError::ReceiptWithoutKeys)?;
        if let Some(former) = self.proxy.envelope_keys.first() {
            self.proxy.retires.insert(former.kid().to_owned(), until);
        }
        self.proxy.retires.retain(|kid, _| keys.iter().skip(1).any(|key| key.kid() == kid));
        self.proxy.envelope_keys = keys;
        Ok(())
    }

    /// Takes a refused command out, undoes it, and moves those behind it up: a refusal uses up no number.
    pub(super) fn undo(
        &mut self,
        place: usize,
        code: String,
        message: String,
        now: u64,
    ) -> Result<Refusal, TenantError> {
        let first = self.outbox.pending.front().map_or(self.outbox.next_seq, Pending::seq);
        let (work, shares) =
            self.outbox.pending.remove(place).map(|pending| (pending.work, pending.shares)).unzip();
        let command = work.as_ref().map(Work::describe).unwrap_or_default();
        let mut keyspace = None;
        match work {
            Some(Work::AddBatch { .. }) => {
                for uid in shares.unwrap_or_default().keys() {
                    self.undo_user(place, UserOp::Add, uid, None);
                }
            }
            Some(Work::User { op, uid, former }) => self.undo_user(place, op, &uid, former),
            Some(Work::Grants { formers }) => {
                for (uid, former) in formers {
                    self.undo_user(place, UserOp::Change, &uid, Some(former));
                }
            }
            Some(Work::Renew { first, count, .. }) => self.renew_again_from(&first, count, now),
            // Another copy of this vault has made one of this name: this copy's key is nobody's.
            Some(Work::AddKeyspace { name, .. }) => {
                self.keyspaces.remove(&name);
                keyspace = Some(name);
            }
            Some(Work::RotateKey { .. }) | None => {}
        }
        let refusal = Refusal { at: now, command, code, message };
        self.outbox.refused.push(refusal.clone());
        self.renumber(first, now)?;
        if let Some(keyspace) = keyspace {
            self.undo_shares_in(&keyspace, now)?;
        }
        Ok(refusal)
    }

    /// Undoes what came behind a keyspace that is none: shares in it would be of a key that nobody knows,
    /// and no renewal could carry them.
    fn undo_shares_in(&mut self, keyspace: &str, now: u64) -> Result<(), TenantError> {
        let has_shares = |pending: &Pending| {
            pending.shares.values().any(|halves| halves.application.contains_key(keyspace))
        };
        while let Some(place) = self.outbox.pending.iter().position(has_shares) {
            let message = format!("it gives shares in keyspace {keyspace}, which was refused");
            self.undo(place, KEYSPACE.to_owned(), message, now)?;
        }
        self.leave_out_of_roles(keyspace, now);
        Ok(())
    }

    fn undo_user(&mut self, place: usize, op: UserOp, uid: &str, former: Option<Former>) {
        if op == UserOp::Add {
            // What the proxy does not know it is not to change, nor to get by a renewal.
            let mut at = 0;
            self.outbox.pending.retain_mut(|pending| {
                at += 1;
                if at <= place {
                    return true;
                }
                match &mut pending.work {
                    Work::Renew { .. } => {}
                    Work::Grants { formers } => drop(formers.remove(uid)),
                    _ => return !pending.is_about(uid),
                }
                pending.shares.remove(uid);
                !pending.shares.is_empty()
            });
        }
        // What a later command of the same user would give back is not what the refused one had made.
        let later = self.outbox.pending.iter_mut().skip(place).find_map(|pending| match &mut pending.work {
            Work::User { uid: own, former: Some(later), .. } if own == uid => Some(later),
            Work::Grants { formers } => formers.get_mut(uid),
            _ => None,
        });
        match (later, former) {
            (Some(later), Some(former)) => *later = former,
            (_, former) => self.revert_user(op, uid, former),
        }
    }

    /// For a vault from before there were grants.
    pub(in crate::tenant) fn formers_are_granted_what_they_had(&mut self) {
        for pending in &mut self.outbox.pending {
            if let Work::User { former: Some(former), .. } = &mut pending.work {
                former.grants.keyspaces = former.shares.keys().cloned().collect();
            }
        }
    }

    /// Forgets the refused commands, once somebody has seen them.
    pub(crate) fn forget_refused(&mut self) -> usize {
        std::mem::take(&mut self.outbox.refused).len()
    }
}
