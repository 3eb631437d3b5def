//! Commands from their signing until the proxy's receipt.
//!
//! A command keeps its number (`seq`) and its shares however often it is signed anew, and all that was ever
//! signed for it is remembered: whichever copy arrives first, its receipt confirms the command. With the
//! receipt TKa and TKp leave the vault.

mod receipts;

pub(crate) use receipts::{Received, Refusal, WITHDRAWN};

use super::grants::Grants;
use super::history::{Digest, Event, UserOp};
use super::pairs::Applied;
use super::users::duplicate;
use super::{Tenant, TenantError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use trefoil_keys::announcement::Announcement;
use trefoil_keys::bundle::{CheckValue, Shares, Version};
use trefoil_keys::command::{self, Command, Delivery, Operation};
use trefoil_keys::envelope::{self, EnvelopePublicKey};
use trefoil_keys::proxy_share::{ProxyShares, Recipients};

/// How long a signed command is good: time for somebody to carry it, and not much more.
const VALIDITY: u64 = 7 * 24 * 3600;
/// A command this close to its end is signed anew before it is sent.
const MARGIN: u64 = 15 * 60;

/// The code of a command that this vault itself undid.
const OUTDATED: &str = "outdated";
const OUTDATED_SHARE: &str = "a newer copy of this vault may have given these users other shares since, and other keyspaces; user rekey them, or grant them all that they are to have";

/// Commands in the order of their numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outbox {
    next_seq: u64,
    pending: VecDeque<Pending>,
    refused: Vec<Refusal>,
    /// By number: what one pair has applied and others lack.
    #[serde(default)]
    pub(super) applied: BTreeMap<u64, Applied>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { next_seq: 1, pending: VecDeque::new(), refused: Vec::new(), applied: BTreeMap::new() }
    }
}

impl Outbox {
    /// Puts what some pair has applied in front of what none has.
    pub(super) fn decide_again(&mut self) {
        for (_, applied) in std::mem::take(&mut self.applied).into_iter().rev() {
            self.pending.push_front(applied.pending);
        }
    }
}

/// A command without receipt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    /// Seconds since 1970.
    pub(crate) since: u64,
    pub(crate) work: Work,
    shares: BTreeMap<String, Halves>,
    /// The newest last; never empty.
    signed: Vec<Signed>,
}

/// What a command does.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Work {
    User {
        op: UserOp,
        uid: String,
        /// What the user had before: it gets it back if the command is refused.
        former: Option<Former>,
    },
    /// Adds the users that it has shares of.
    AddBatch {
        first: String,
        last: String,
        count: usize,
    },
    Renew {
        first: String,
        last: String,
        count: usize,
    },
    /// Other keyspaces for the users that it has shares of.
    Grants {
        /// What each had before.
        formers: BTreeMap<String, Former>,
    },
    AddKeyspace {
        name: String,
        check: CheckValue,
    },
    RotateKey {
        /// Seconds.
        overlap: u64,
    },
}

/// TKu's of a user before a command.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Former {
    pub(super) shares: Shares,
    pub(super) exports: u32,
    #[serde(default)]
    pub(super) grants: Grants,
    #[serde(default)]
    pub(super) outdated: bool,
}

/// TKa's and TKp's of one user.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Halves {
    pub(super) application: Shares,
    pub(super) proxy: Shares,
}

/// A command as it was signed once.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    seq: u64,
    exp: u64,
    jws: String,
    /// The proxy has applied something else under its number: this will never be applied.
    #[serde(default)]
    passed_over: bool,
}

/// A signed form of which the proxy may have a receipt.
pub(crate) struct PerhapsApplied {
    pub(crate) seq: u64,
    pub(crate) operation: Operation,
    pub(crate) delivery: Delivery,
}

impl Work {
    fn operation(&self) -> Operation {
        match self {
            Self::User { op, uid, .. } => {
                let sub = uid.clone();
                match op {
                    UserOp::Add => Operation::Add { sub },
                    UserOp::Change => Operation::Change { sub },
                    UserOp::Withdraw => Operation::Withdraw { sub },
                }
            }
            Self::AddBatch { .. } => Operation::AddBatch,
            Self::Renew { .. } | Self::Grants { .. } => Operation::Renew,
            Self::AddKeyspace { name, check } => {
                Operation::AddKeyspace { name: name.clone(), check: check.clone() }
            }
            Self::RotateKey { overlap } => Operation::RotateKey { overlap: *overlap },
        }
    }

    /// How many users' shares it renews.
    pub(crate) fn renewed(&self) -> usize {
        match self {
            Self::Renew { count, .. } => *count,
            _ => 0,
        }
    }

    /// The user that it is about, if it is about one.
    fn user(&self) -> Option<&str> {
        match self {
            Self::User { uid, .. } => Some(uid),
            _ => None,
        }
    }

    /// In words, as the command line has them.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::User { op: UserOp::Add, uid, .. } => format!("user add {uid}"),
            Self::User { op: UserOp::Change, uid, .. } => format!("user rekey {uid}"),
            Self::User { op: UserOp::Withdraw, uid, .. } => format!("user withdraw {uid}"),
            Self::AddBatch { first, last, count } => format!("user add of {count} users, {first} to {last}"),
            Self::Renew { first, last, count } => format!("renew-shares of {count} users, {first} to {last}"),
            Self::Grants { formers } => match (formers.first_key_value(), formers.last_key_value()) {
                (Some((first, _)), Some((last, _))) if first != last => {
                    format!("other keyspaces for {} users, {first} to {last}", formers.len())
                }
                (first, _) => {
                    format!("other keyspaces for {}", first.map_or("", |(first, _)| first.as_str()))
                }
            },
            Self::AddKeyspace { name, .. } => format!("keyspace add {name}"),
            Self::RotateKey { .. } => "proxy-key rotate".to_owned(),
        }
    }
}

impl Pending {
    /// The users whose own shares, or whose access, it changes.
    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        let batch =
            matches!(self.work, Work::AddBatch { .. } | Work::Grants { .. }).then(|| self.shares.keys());
        self.work.user().into_iter().chain(batch.into_iter().flatten().map(String::as_str))
    }

    /// Whether this user is one of them.
    pub(crate) fn is_about(&self, uid: &str) -> bool {
        match self.work {
            Work::AddBatch { .. } | Work::Grants { .. } => self.shares.contains_key(uid),
            _ => self.work.user() == Some(uid),
        }
    }

    fn newest(&self) -> Option<&Signed> {
        self.signed.last()
    }

    /// Its number.
    pub(crate) fn seq(&self) -> u64 {
        self.newest().map_or(0, |signed| signed.seq)
    }

    /// Until when its newest signed form is good; seconds since 1970.
    pub(crate) fn expires(&self) -> u64 {
        self.newest().map_or(0, |signed| signed.exp)
    }

    /// The route of the application's interface that takes it.
    pub(crate) fn operation(&self) -> Operation {
        self.work.operation()
    }

    /// What goes to the application, in its newest signed form.
    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery_of(self.newest())
    }

    /// The forms with numbers up to `last` that may have been applied, the newest first.
    fn perhaps_applied(&self, last: u64) -> impl Iterator<Item = &Signed> {
        self.signed.iter().rev().filter(move |signed| signed.seq <= last && !signed.passed_over)
    }

    /// The deliveries with this number, the newest form first.
    pub(super) fn forms(&self, seq: u64) -> Vec<Delivery> {
        let forms = self.signed.iter().rev().filter(|signed| signed.seq == seq);
        forms.map(|signed| self.delivery_of(Some(signed))).collect()
    }

    fn delivery_of(&self, signed: Option<&Signed>) -> Delivery {
        let tka = self.shares.iter().map(|(uid, halves)| (uid.clone(), duplicate(&halves.application)));
        Delivery {
            version: Version,
            command: signed.map(|signed| signed.jws.clone()).unwrap_or_default(),
            tka: tka.collect(),
        }
    }

    fn was_signed_as(&self, seq: u64, hash: &[u8; 32]) -> bool {
        self.signed.iter().any(|signed| signed.seq == seq && command::hash(&signed.jws) == *hash)
    }

    fn sealed_shares(&self, key: &EnvelopePublicKey, now: u64) -> Result<Option<String>, TenantError> {
        let tkp = |halves: &Halves| duplicate(&halves.proxy);
        let recipients = match (&self.work, self.shares.first_key_value()) {
            (_, None) => return Ok(None),
            (Work::User { .. }, Some((uid, halves))) => {
                Recipients::User { sub: uid.clone(), tkp: tkp(halves) }
            }
            _ => {
                let users = self.shares.iter().map(|(uid, halves)| (uid.clone(), tkp(halves)));
                Recipients::Batch(users.collect())
            }
        };
        Ok(Some(envelope::seal(&ProxyShares { iat: now, recipients }, key)?))
    }
}

impl Tenant {
    /// Commands without receipt, in order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.outbox.pending.iter()
    }

    /// The command that is to be applied next.
    pub(crate) fn first_pending(&self) -> Option<&Pending> {
        self.outbox.pending.front()
    }

    /// The number of the next command.
    pub(crate) fn next_seq(&self) -> u64 {
        self.outbox.next_seq
    }

    /// The key to which shares are sealed now.
    pub(crate) fn envelope_key(&self) -> Result<&EnvelopePublicKey, TenantError> {
        self.proxy.envelope_keys.first().ok_or(TenantError::NoEnvelopeKey)
    }

    /// Tells the proxy to make a new RSA pair, the old one being good for `overlap` seconds more.
    pub(crate) fn rotate_proxy_key(&mut self, overlap: u64, now: u64) -> Result<u64, TenantError> {
        if self.pairs().nth(1).is_some() {
            return Err(TenantError::RotationOfPairs);
        }
        // A second one would cut off whoever has only heard of the pair before the first.
        self.require_no_rotation()?;
        let seq = self.queue(Work::RotateKey { overlap }, BTreeMap::new(), now)?;
        self.record(now, Event::KeyRotation { seq, overlap });
        Ok(seq)
    }

    /// Makes sure that no key rotation waits.
    pub(super) fn require_no_rotation(&self) -> Result<(), TenantError> {
        let waiting = self.pending().find(|pending| matches!(pending.work, Work::RotateKey { .. }));
        waiting.map_or(Ok(()), |waiting| Err(TenantError::RotationPending { seq: waiting.seq() }))
    }

    /// Signs which keys the proxy has.
    pub(crate) fn announce(&mut self, now: u64) -> Result<(Announcement, String), TenantError> {
        let retired = |kid: &str| self.proxy.retires.get(kid).is_some_and(|until| *until <= now);
        let keys: Vec<_> =
            self.proxy.envelope_keys.iter().filter(|key| !retired(key.kid())).cloned().collect();
        let retires = self.proxy.retires.iter().filter(|(_, until)| **until > now);
        let announcement = Announcement {
            tenant: self.name.clone(),
            serial: self.announcements.saturating_add(1),
            iat: now,
            retires: retires.map(|(kid, until)| (kid.clone(), *until)).collect(),
            envelope_keys: keys,
        };
        let jws = self.signing_key.sign(&announcement)?;
        self.announcements = announcement.serial;
        let kids = announcement.envelope_keys.iter().map(|key| key.kid().to_owned()).collect();
        self.record(now, Event::Announced { serial: announcement.serial, kids });
        Ok((announcement, jws))
    }

    /// What a proxy that has applied commands up to `last` may have applied of those without receipt.
    pub(crate) fn perhaps_applied(&self, last: u64) -> Vec<PerhapsApplied> {
        let forms = |pending: &Pending| {
            let forms = pending.perhaps_applied(last).map(|signed| PerhapsApplied {
                seq: signed.seq,
                operation: pending.operation(),
                delivery: pending.delivery_of(Some(signed)),
            });
            forms.collect::<Vec<_>>()
        };
        self.pending().flat_map(forms).collect()
    }

    /// Notes that the forms with this number and these hashes were never applied, nor will be.
    pub(crate) fn pass_over(&mut self, seq: u64, hashes: impl Fn([u8; 32]) -> bool) {
        for signed in self.outbox.pending.iter_mut().flat_map(|pending| &mut pending.signed) {
            signed.passed_over |= signed.seq == seq && hashes(command::hash(&signed.jws));
        }
    }

    /// Signs a command and puts it last; its number.
    pub(super) fn queue(
        &mut self,
        work: Work,
        shares: BTreeMap<String, Halves>,
        now: u64,
    ) -> Result<u64, TenantError> {
        let seq = self.outbox.next_seq;
        let mut pending = Pending { since: now, work, shares, signed: Vec::new() };
        let signed = self.sign(&pending, seq, now)?;
        pending.signed.push(signed);
        self.outbox.pending.push_back(pending);
        self.outbox.next_seq = seq.saturating_add(1);
        Ok(seq)
    }

    fn sign(&self, pending: &Pending, seq: u64, now: u64) -> Result<Signed, TenantError> {
        let tkp = pending.sealed_shares(self.envelope_key()?, now)?;
        let tka = pending.delivery_of(None).tka;
        let exp = now.saturating_add(VALIDITY);
        let command = Command {
            tenant: self.name.clone(),
            seq,
            iat: now,
            exp,
            op: pending.operation(),
            tka_sha256: tkp.is_some().then(|| command::tka_digest(&tka)),
            tkp,
        };
        Ok(Signed { seq, exp, jws: self.signing_key.sign(&command)?, passed_over: false })
    }

    /// Signs anew what expires soon, with the same numbers. How many those were.
    pub(crate) fn sign_expired(&mut self, now: u64) -> Result<usize, TenantError> {
        let soon = now.saturating_add(MARGIN);
        let applied = self.sign_applied_again(soon, now)?;
        let count = self.sign_again(now, |pending, _| (pending.expires() <= soon).then(|| pending.seq()))?;
        Ok(count.saturating_add(applied))
    }

    /// The same for those that some pair has applied: whoever lacks one takes it in any form.
    fn sign_applied_again(&mut self, soon: u64, now: u64) -> Result<usize, TenantError> {
        let mut applied = std::mem::take(&mut self.outbox.applied);
        let due = applied.iter_mut().filter(|(_, applied)| applied.pending.expires() <= soon);
        let signed = due.map(|(seq, applied)| {
            let signed = self.sign(&applied.pending, *seq, now)?;
            applied.pending.signed.push(signed);
            Ok(())
        });
        let count = signed.collect::<Result<Vec<()>, TenantError>>().map(|signed| signed.len());
        self.outbox.applied = applied;
        count
    }

    /// Signs the first command anew although its time is not over: the proxy's clock sees that otherwise.
    pub(crate) fn sign_first(&mut self, now: u64) -> Result<usize, TenantError> {
        self.sign_again(now, |pending, place| (place == 0).then(|| pending.seq()))
    }

    /// Gives the commands the numbers from `first` on. How many were signed anew for that.
    pub(crate) fn renumber(&mut self, first: u64, now: u64) -> Result<usize, TenantError> {
        let number = |place: usize| first.saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
        let count =
            self.sign_again(now, |pending, place| Some(number(place)).filter(|seq| *seq != pending.seq()))?;
        self.outbox.next_seq = number(self.outbox.pending.len());
        Ok(count)
    }

    /// The proxy has applied commands up to `last` that this vault does not know: a newer copy of it has
    /// sent them, and perhaps given any user another share. A renewal beside an older one would make that
    /// valid again, so those under way are given up, and other keyspaces beside older ones are undone: the
    /// first of these. Numbers go on behind `last`.
    pub(crate) fn take_numbers_over(&mut self, last: u64, now: u64) -> Result<Option<Refusal>, TenantError> {
        let mut undone = None;
        // All shares are new where the former ones were none, or uncertain then.
        let is_beside = |pending: &Pending| match &pending.work {
            Work::Grants { formers } => {
                formers.values().any(|former| !former.shares.is_empty() && !former.outdated)
            }
            _ => false,
        };
        while let Some(place) = self.outbox.pending.iter().position(is_beside) {
            let refusal = self.undo(place, OUTDATED.to_owned(), OUTDATED_SHARE.to_owned(), now)?;
            undone.get_or_insert(refusal);
        }
        let before = self.outbox.pending.len();
        self.outbox.pending.retain(|pending| !matches!(pending.work, Work::Renew { .. }));
        if self.outbox.pending.len() < before {
            self.begin_renewal_again(now);
        }
        let one_keyspace = self.keyspaces.len() == 1;
        for pending in &mut self.outbox.pending {
            if let Work::User { former: Some(former), .. } = &mut pending.work {
                former.outdated = true;
                if !one_keyspace {
                    former.grants = Grants::default();
                }
            }
        }
        let issues = |pending: &Pending| !matches!(pending.work, Work::User { op: UserOp::Withdraw, .. });
        let fresh: BTreeSet<String> = self
            .pending()
            .filter(|pending| issues(pending))
            .flat_map(|pending| pending.users().map(str::to_owned))
            .collect();
        let users = self.doubt_shares(|uid| fresh.contains(uid));
        self.record(now, Event::NumbersTaken { last, users });
        self.renumber(last.saturating_add(1), now)?;
        Ok(undone)
    }

    /// For a proxy that takes another's place: what the former one was sent counts no more. Withdrawals
    /// stay, with numbers from `first` on, for the application has yet to hear of them; all other users
    /// come with the renewal that is due. How many commands that left out.
    pub(super) fn start_outbox_again(&mut self, first: u64, now: u64) -> Result<usize, TenantError> {
        let before = self.outbox.pending.len();
        let stays = |pending: &Pending| matches!(pending.work, Work::User { op: UserOp::Withdraw, .. });
        self.outbox.pending.retain(stays);
        for pending in &mut self.outbox.pending {
            pending.signed.clear();
        }
        self.outbox.applied.clear();
        self.renumber(first, now)?;
        Ok(before.saturating_sub(self.outbox.pending.len()))
    }

    /// Signs anew the commands for which `due` names a number, given them and their places.
    fn sign_again(
        &mut self,
        now: u64,
        due: impl Fn(&Pending, usize) -> Option<u64>,
    ) -> Result<usize, TenantError> {
        let mut signed = Vec::new();
        for (place, pending) in self.outbox.pending.iter().enumerate() {
            if let Some(seq) = due(pending, place) {
                signed.push((place, self.sign(pending, seq, now)?));
            }
        }
        let count = signed.len();
        for (place, signed) in signed {
            let event = Event::SignedAgain { seq: signed.seq, command: Digest(command::hash(&signed.jws)) };
            if let Some(pending) = self.outbox.pending.get_mut(place) {
                pending.signed.push(signed);
            }
            self.record(now, event);
        }
        Ok(count)
    }
}
