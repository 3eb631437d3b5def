//! Commands: what the tenant admin orders, checked in full before anything changes, carried out in one
//! transaction with its receipt.
//!
//! Invariant: a command that is refused changes nothing and its number stays free; one that was applied
//! is answered with the same receipt however often it comes.

use crate::audit::Audit;
use crate::shares::EnvelopeKey;
use crate::state::{Bootstrap, Sequence, State, StateError, now};
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use trefoil_https::Problem;
use trefoil_keys::bundle::{CheckValue, Shares};
use trefoil_keys::command::{Command, Operation};
use trefoil_keys::envelope::{self, EnvelopePrivateKey};
use trefoil_keys::kill_point;
use trefoil_keys::proxy_share::{ProxyShares, Recipients};
use trefoil_keys::receipt::{Outcome, Receipt};
use trefoil_keys::signing;

/// How far the tenant admin's clock may be ahead, in seconds.
const SKEW: u64 = 60;
/// Keys for envelopes at a time: each is tried for each envelope.
const MAX_KEYS: usize = 8;

const NOT_READY: Problem = Problem::new(
    StatusCode::CONFLICT,
    "not-ready",
    "the bootstrap is not finished",
    "finish it with trefoil-admin bootstrap, then send the command again",
);
const SIGNATURE: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "signature",
    "the command is not signed by this proxy's tenant, or was altered",
    "send it to the proxy that it was made for, as trefoil-admin wrote it",
);
const TENANT: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "tenant",
    "the command is another tenant's",
    "send it to the proxy that it was made for",
);

/// What became of a command: the signed receipt.
pub(super) enum Answer {
    /// It is in force, now or since it came first.
    Applied(String),
    /// Nothing has changed.
    Refused(String),
}

/// Why a command is refused, as its receipt says it.
struct Refusal {
    code: &'static str,
    message: String,
    /// Who was withdrawn before.
    user: Option<String>,
}

fn refusal(code: &'static str, message: impl Into<String>) -> Decided {
    Decided::Refused(Refusal { code, message: message.into(), user: None })
}

/// Why a command is not applied.
enum Decided {
    Refused(Refusal),
    Failed(StateError),
}

impl<E: Into<StateError>> From<E> for Decided {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What a command changes.
enum Step {
    /// Users get these shares, or are withdrawn.
    Users(BTreeMap<String, Option<Shares>>),
    /// This keyspace is there, known by this.
    Keyspace(String, CheckValue),
    /// These keys open envelopes.
    Keys(Vec<EnvelopeKey>),
}

/// Carries commands out, one at a time.
pub(super) struct Commands {
    state: Arc<State>,
    audit: Option<Arc<Audit>>,
    turn: Mutex<()>,
}

impl Commands {
    pub(super) fn new(state: Arc<State>, audit: Option<Arc<Audit>>) -> Self {
        Self { state, audit, turn: Mutex::default() }
    }

    /// Records a command that was not understood as the tenant's.
    fn foreign(&self, jws: &str, problem: &Problem) {
        if let Some(audit) = &self.audit {
            let record =
                Record { op: None, user: None, seq: None, command: digest(jws), outcome: &problem.code };
            audit.record("command", &record);
        }
    }

    fn log(&self, command: &Command, jws: &str, outcome: &str) {
        let user = command.op.sub().map(shown);
        tracing::info!(op = command.op.name(), user, seq = command.seq, outcome, "command");
        if let Some(audit) = &self.audit {
            let (op, seq, command) = (Some(command.op.name()), Some(command.seq), digest(jws));
            audit.record("command", &Record { op, user, seq, command, outcome });
        }
    }

    /// Carries a signed command out, or finds it carried out before; `known` as soon as the signature has
    /// been found to be the tenant's.
    ///
    /// # Errors
    /// Where nothing was decided.
    pub(super) fn carry_out(&self, jws: &str, known: impl FnOnce()) -> Result<Answer, Problem> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, now) = (&self.state, now());
        let Bootstrap::Ready { trust, .. } = state.bootstrap().map_err(internal)? else {
            return Err(NOT_READY);
        };
        let command: Command = trust.tenant_key.verify(jws).map_err(|error| {
            tracing::warn!(%error, "command refused: its signature does not fit");
            self.foreign(jws, &SIGNATURE);
            SIGNATURE
        })?;
        known();
        if command.tenant != state.identity().tenant {
            tracing::warn!("command refused: it is another tenant's");
            self.foreign(jws, &TENANT);
            return Err(TENANT);
        }
        let command_sha256 = signing::hash(jws);
        let outcome = match self.decide(&command, command_sha256, now) {
            Ok(Decision::Known(receipt)) => {
                self.log(&command, jws, "applied before");
                return Ok(Answer::Applied(receipt));
            }
            Ok(Decision::New(step)) => self.apply(&command, command_sha256, step, now),
            Err(decided) => Err(decided),
        };
        match outcome {
            Ok(receipt) => {
                self.log(&command, jws, "applied");
                Ok(Answer::Applied(receipt))
            }
            Err(Decided::Failed(error)) => {
                self.log(&command, jws, "failed");
                Err(internal(error))
            }
            Err(Decided::Refused(Refusal { code, message, user })) => {
                self.log(&command, jws, code);
                let outcome = Outcome::Refused { code: code.to_owned(), message, user };
                self.receipt(&command, command_sha256, now, outcome, None)
                    .map(Answer::Refused)
                    .map_err(internal)
            }
        }
    }

    fn decide(&self, command: &Command, command_sha256: [u8; 32], now: u64) -> Result<Decision, Decided> {
        let last = self.state.sequence()?.seq;
        if command.seq <= last
            && let Some(stored) = self.state.receipt(command.seq)?
            && stored.command_sha256 == command_sha256
        {
            return Ok(Decision::Known(stored.receipt));
        }
        if command.seq != last + 1 {
            let message = format!("the command has number {}, expected is {}", command.seq, last + 1);
            return Err(refusal("seq", message));
        }
        if command.iat > now.saturating_add(SKEW) {
            return Err(refusal("future", "the command is from the future; compare the clocks"));
        }
        if command.exp <= now {
            return Err(refusal("expired", "the command has expired; have it signed anew"));
        }
        Ok(Decision::New(match &command.op {
            Operation::Add { sub } => {
                let shares = self.shares_for(command, sub, now)?;
                self.check_user(sub, Expected::Unknown)?;
                Step::Users([(sub.clone(), Some(shares))].into())
            }
            Operation::AddBatch => Step::Users(self.batch(command, Expected::Unknown, now)?),
            Operation::Change { sub } => {
                let shares = self.shares_for(command, sub, now)?;
                self.check_user(sub, Expected::Active)?;
                Step::Users([(sub.clone(), Some(shares))].into())
            }
            Operation::Withdraw { sub } => {
                self.check_user(sub, Expected::NotWithdrawn)?;
                Step::Users([(sub.clone(), None)].into())
            }
            Operation::Renew => Step::Users(self.batch(command, Expected::NotWithdrawn, now)?),
            Operation::AddKeyspace { name, check } => {
                if self.state.shares().check_values().contains_key(name) {
                    return Err(refusal("exists", format!("the proxy has a keyspace {name} already")));
                }
                Step::Keyspace(name.clone(), check.clone())
            }
            Operation::RotateKey { overlap } => Step::Keys(self.rotated(*overlap, now)?),
        }))
    }

    fn batch(
        &self,
        command: &Command,
        expected: Expected,
        now: u64,
    ) -> Result<BTreeMap<String, Option<Shares>>, Decided> {
        let Recipients::Batch(users) = self.sealed(command, now)? else {
            return Err(refusal("subject", "the sealed shares are for one user, not for a batch"));
        };
        for user in users.keys() {
            self.check_user(user, expected)?;
        }
        Ok(users.into_iter().map(|(user, shares)| (user, Some(shares))).collect())
    }

    fn shares_for(&self, command: &Command, user: &str, now: u64) -> Result<Shares, Decided> {
        match self.sealed(command, now)? {
            Recipients::User { sub, tkp } if sub == user => Ok(tkp),
            _ => Err(refusal("subject", "the sealed shares are not for the user that the command names")),
        }
    }

    /// The sealed shares, of keyspaces and epochs that there are.
    fn sealed(&self, command: &Command, now: u64) -> Result<Recipients, Decided> {
        let sealed = command.tkp.as_deref().unwrap_or_default();
        let kid = envelope::kid_of(sealed).unwrap_or_default();
        let keys = self.state.envelope_keys()?;
        let key = keys.iter().find(|key| key.key.public_key().kid() == kid && key.is_current(|| now));
        let Some(key) = key else {
            return Err(refusal(
                "key",
                "the shares are sealed to a key that the proxy does not have, or not any more",
            ));
        };
        let ProxyShares { iat, recipients } =
            key.key.open(sealed).map_err(|_| refusal("share", "the sealed shares cannot be opened"))?;
        if iat > now.saturating_add(SKEW) {
            return Err(refusal("future", "the sealed shares are from the future; compare the clocks"));
        }
        let known = self.state.keyspaces();
        let fits =
            |shares: &Shares| shares.iter().all(|(name, issued)| known.get(name) == Some(&issued.epoch));
        let fit = match &recipients {
            Recipients::User { tkp, .. } => fits(tkp),
            Recipients::Batch(users) => users.values().all(fits),
        };
        if fit {
            Ok(recipients)
        } else {
            Err(refusal("keyspace", "a keyspace or epoch is none of the proxy's"))
        }
    }

    fn check_user(&self, user: &str, expected: Expected) -> Result<(), Decided> {
        let (held, shown) = (self.state.user(user)?, shown(user));
        match (held.map(|held| held.is_some()), expected) {
            (None, Expected::Unknown | Expected::NotWithdrawn)
            | (Some(true), Expected::Active | Expected::NotWithdrawn) => Ok(()),
            (Some(true), Expected::Unknown) => Err(refusal("user", format!("user {shown} is there already"))),
            // By name, so that a vault from before the withdrawal learns of it.
            (Some(false), _) => Err(Decided::Refused(Refusal {
                code: "withdrawn",
                message: format!("user {shown} was withdrawn, which is for good"),
                user: Some(user.to_owned()),
            })),
            (None, Expected::Active) => Err(refusal("user", format!("user {shown} is unknown"))),
        }
    }

    /// A new key in front of those before, which retire after `overlap` seconds at the latest.
    fn rotated(&self, overlap: u64, now: u64) -> Result<Vec<EnvelopeKey>, Decided> {
        let end = now.saturating_add(overlap);
        let former = self.state.envelope_keys()?.into_iter().filter_map(|EnvelopeKey { key, retires }| {
            let key = EnvelopeKey { key, retires: Some(retires.map_or(end, |retires| retires.min(end))) };
            key.is_current(|| now).then_some(key)
        });
        let mut keys: Vec<EnvelopeKey> = former.collect();
        if keys.len() >= MAX_KEYS {
            return Err(refusal("keys", "too many former keys have not retired yet; use a shorter overlap"));
        }
        keys.insert(0, EnvelopeKey { key: Arc::new(EnvelopePrivateKey::generate()?), retires: None });
        Ok(keys)
    }

    /// In force when this returns: durable, and seen by the next burst of every session.
    fn apply(
        &self,
        command: &Command,
        command_sha256: [u8; 32],
        step: Step,
        now: u64,
    ) -> Result<String, Decided> {
        let keys = match &step {
            Step::Users(_) | Step::Keyspace(..) => None,
            Step::Keys(keys) => Some(keys.iter().map(|key| key.key.public_key().clone()).collect()),
        };
        let receipt = self.receipt(command, command_sha256, now, Outcome::Applied, keys)?;
        kill_point("command.checked");
        self.state.write(|change| {
            match &step {
                Step::Users(users) => {
                    for (user, shares) in users {
                        change.put_user(user, shares.as_ref())?;
                    }
                }
                Step::Keyspace(name, check) => change.put_check_value(name, check)?,
                Step::Keys(keys) => change.put_envelope_keys(keys)?,
            }
            change.put_sequence(Sequence { seq: command.seq, command_sha256 }, &receipt)
        })?;
        kill_point("command.stored");
        match step {
            Step::Users(users) => {
                for (user, shares) in users {
                    self.state.shares().set_user(&user, shares);
                }
            }
            Step::Keyspace(..) | Step::Keys(_) => self.state.refresh_keyring()?,
        }
        kill_point("command.applied");
        Ok(receipt)
    }

    fn receipt(
        &self,
        command: &Command,
        command_sha256: [u8; 32],
        at: u64,
        outcome: Outcome,
        envelope_keys: Option<Vec<envelope::EnvelopePublicKey>>,
    ) -> Result<String, StateError> {
        let tenant = command.tenant.clone();
        self.state.sign(&Receipt { tenant, seq: command.seq, command_sha256, at, outcome, envelope_keys })
    }
}

enum Decision {
    /// It was applied before, with this receipt.
    Known(String),
    New(Step),
}

#[derive(Clone, Copy)]
enum Expected {
    Unknown,
    Active,
    /// Active or unknown: a proxy that took another's place gets its users by renewals, and may hear of
    /// the withdrawal of one that it never had.
    NotWithdrawn,
}

/// A UId for people: they are short, and nothing here relies on that.
fn shown(user: &str) -> String {
    user.chars().take(128).collect()
}

/// What the audit log gets of a command.
#[derive(Serialize)]
struct Record<'a> {
    op: Option<&'a str>,
    user: Option<String>,
    seq: Option<u64>,
    /// SHA-256 of the command, by which its receipt names it.
    command: String,
    outcome: &'a str,
}

fn digest(jws: &str) -> String {
    signing::hash(jws).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn internal(error: StateError) -> Problem {
    tracing::error!(%error, "command not carried out");
    match error {
        StateError::Store(error) if error.is_of_disk() => Problem::STORE,
        _ => Problem::INTERNAL,
    }
}
