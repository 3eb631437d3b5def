//! `outbox`, `outbox write`, `receipt`: commands on their way to the proxy, carried by hand.

use crate::answer::{self, Answer};
use crate::commands::{CommandError, Session, now};
use crate::tenant::{MAIN, Received, Refusal, Tenant, WITHDRAWN};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::{self, BundleError};

#[derive(Args)]
pub(crate) struct OutboxArguments {
    #[command(subcommand)]
    command: Option<OutboxCommand>,
}

#[derive(Subcommand)]
enum OutboxCommand {
    /// Write the commands to files that somebody carries to `trefoil-admin deliver`.
    Write {
        /// The directory; made if it is missing.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// For this pair of sidecar and proxy, with what others have applied and it lacks.
        #[arg(long, value_name = "NAME", default_value = MAIN)]
        pair: String,
    },
    /// Forget the refused commands.
    Clear,
}

#[derive(Args)]
pub(crate) struct ReceiptArguments {
    /// Files with one receipt each.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The pair of sidecar and proxy that they come from.
    #[arg(long, value_name = "NAME", default_value = MAIN)]
    pair: String,
}

/// What is wrong with files of commands and receipts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("cannot make the directory {path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("the command was not written: {0}")]
    Write(#[from] BundleError),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Receipt { path: PathBuf, source: Box<CommandError> },
}

pub(crate) fn run(session: &Session, arguments: OutboxArguments) -> Result<Answer, CommandError> {
    match arguments.command {
        None => list(session),
        Some(OutboxCommand::Write { dir, pair }) => write(session, dir, &pair),
        Some(OutboxCommand::Clear) => {
            session.change(|tenant, _| Ok::<_, CommandError>(tenant.forget_refused()))?;
            list(session)
        }
    }
}

fn list(session: &Session) -> Result<Answer, CommandError> {
    let now = now()?;
    let tenant = session.read()?;
    Ok(Answer::new(&Listing::of(&tenant, now)))
}

fn write(session: &Session, dir: PathBuf, pair: &str) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let tenant = opened.tenant()?;
    tenant.require_pair(pair)?;
    if tenant.sign_expired(now()?)? > 0 {
        opened.store()?;
    }
    fs::create_dir_all(&dir).map_err(|source| OutboxError::Directory { path: dir.clone(), source })?;
    let mut files = Vec::new();
    let tenant = opened.tenant()?;
    let lacked = tenant.lacked_by(pair).map(|(seq, pending)| (seq, pending.delivery()));
    for (seq, delivery) in lacked.chain(tenant.pending().map(|pending| (pending.seq(), pending.delivery()))) {
        let file = dir.join(format!("command-{seq:08}.json"));
        bundle::write(&file, &delivery).map_err(OutboxError::Write)?;
        files.push(file);
    }
    Ok(Answer::new(&Written { files }))
}

/// Takes carried receipts; those before a bad one count.
pub(crate) fn receive(session: &Session, arguments: &ReceiptArguments) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let now = now()?;
    let mut outcome = Receipts::default();
    let mut failed = None;
    for path in &arguments.files {
        let taken = read_receipt(path)
            .and_then(|receipt| Ok(opened.tenant()?.take_receipt(&arguments.pair, &receipt, now)?))
            .map_err(|source| OutboxError::Receipt { path: path.clone(), source: Box::new(source) });
        match taken {
            Ok(received) => outcome.add(received),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    opened.store()?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let tenant = opened.tenant()?;
    outcome.left = tenant.pending().count().saturating_add(tenant.partly_applied().count());
    let unconfirmed = !outcome.refused.is_empty() || !outcome.not_yet.is_empty();
    Ok(Answer::new(&outcome).unconfirmed(unconfirmed))
}

fn read_receipt(path: &Path) -> Result<String, CommandError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| OutboxError::Read { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// What is on its way, and what came back.
#[derive(Serialize)]
#[serde(tag = "result", rename = "outbox")]
struct Listing {
    unconfirmed: Vec<PendingView>,
    /// Applied by one pair, and lacked by others.
    lacked: Vec<LackedView>,
    refused: Vec<RefusalView>,
}

#[derive(Serialize)]
struct PendingView {
    seq: u64,
    command: String,
    since: String,
    age_seconds: u64,
    expires: String,
}

#[derive(Serialize)]
struct LackedView {
    seq: u64,
    command: String,
    since: String,
    age_seconds: u64,
    /// Names of pairs.
    lacking: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct RefusalView {
    at: String,
    command: String,
    code: String,
    message: String,
}

impl From<&Refusal> for RefusalView {
    fn from(refusal: &Refusal) -> Self {
        let Refusal { at, command, code, message } = refusal.clone();
        Self { at: answer::time(at), command, code, message }
    }
}

impl RefusalView {
    /// Whether the vault has learned by it that a user was withdrawn: one user less each time.
    pub(crate) fn has_taught(&self) -> bool {
        self.code == WITHDRAWN
    }
}

impl fmt::Display for RefusalView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "refused: {}: {} ({})", self.command, self.message, self.code)
    }
}

impl Listing {
    fn of(tenant: &Tenant, now: u64) -> Self {
        let unconfirmed = tenant.pending().map(|pending| PendingView {
            seq: pending.seq(),
            command: pending.work.describe(),
            since: answer::time(pending.since),
            age_seconds: now.saturating_sub(pending.since),
            expires: answer::time(pending.expires()),
        });
        let lacked = tenant.partly_applied().map(|(seq, applied)| LackedView {
            seq,
            command: applied.pending.work.describe(),
            since: answer::time(applied.pending.since),
            age_seconds: now.saturating_sub(applied.pending.since),
            lacking: applied.lacking.iter().cloned().collect(),
        });
        Self {
            unconfirmed: unconfirmed.collect(),
            lacked: lacked.collect(),
            refused: tenant.refused().iter().map(RefusalView::from).collect(),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.unconfirmed.is_empty(), self.lacked.is_empty()) {
            (true, true) => writeln!(f, "Every command is confirmed.")?,
            (true, false) => {}
            (false, _) => writeln!(f, "Not confirmed by the proxy:")?,
        }
        for PendingView { seq, command, since, age_seconds, .. } in &self.unconfirmed {
            writeln!(f, "  {seq}  {command}  since {since} ({})", answer::age(*age_seconds))?;
        }
        if !self.lacked.is_empty() {
            writeln!(f, "Confirmed, but not by every pair:")?;
        }
        for LackedView { seq, command, since, age_seconds, lacking } in &self.lacked {
            let (age, lacking) = (answer::age(*age_seconds), lacking.join(", "));
            writeln!(f, "  {seq}  {command}  since {since} ({age}), not by {lacking}")?;
        }
        self.refused.iter().try_for_each(|refusal| refusal.fmt(f))
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "commands_written")]
struct Written {
    files: Vec<PathBuf>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "{}", file.display())?;
        }
        if self.files.is_empty() {
            writeln!(f, "Every command is confirmed: there is nothing to carry.")
        } else {
            writeln!(
                f,
                "They hold shares of the application: carry them to trefoil-admin deliver, keep no copy, and bring the receipts back."
            )
        }
    }
}

/// What receipts said.
#[derive(Default, Serialize)]
#[serde(tag = "result", rename = "receipts")]
pub(crate) struct Receipts {
    pub(crate) applied: usize,
    pub(crate) known_before: usize,
    /// Taken by pairs after another one had decided.
    pub(crate) followed: usize,
    pub(crate) refused: Vec<RefusalView>,
    /// Numbers of commands that are to be sent again.
    pub(crate) not_yet: Vec<u64>,
    /// Commands that are still without receipt, of some pair at least.
    pub(crate) left: usize,
    /// Why a pair of several lacks commands, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lagging: BTreeMap<String, String>,
}

impl Receipts {
    /// As the answer of a command.
    pub(crate) fn answer(&self) -> Answer {
        Answer::new(self).unconfirmed(self.is_incomplete())
    }

    /// Whether something was sent that is not in force.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.left > 0 || !self.refused.is_empty()
    }

    /// A pair could not be given what it lacks.
    pub(crate) fn lag(&mut self, pair: &str, reason: String) {
        self.lagging.insert(pair.to_owned(), reason);
    }

    /// These, and later ones.
    pub(crate) fn join(&mut self, later: Self) {
        self.applied += later.applied;
        self.known_before += later.known_before;
        self.followed += later.followed;
        self.refused.extend(later.refused);
        self.not_yet.extend(later.not_yet);
        self.left = later.left;
        self.lagging = later.lagging;
    }

    /// One more.
    pub(crate) fn add(&mut self, received: Received) {
        match received {
            Received::Applied => self.applied += 1,
            Received::KnownBefore { .. } => self.known_before += 1,
            Received::Refused(refusal) => self.refused.push((&refusal).into()),
            Received::NotYet { seq, .. } => self.not_yet.push(seq),
        }
    }
}

impl fmt::Display for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, by) = match (self.applied, self.followed) {
            (0, 1..) => (self.followed, " by the pairs that lacked it"),
            (applied, _) => (applied, ""),
        };
        writeln!(f, "{} confirmed{by}; {} in the outbox.", answer::count(count, "command"), self.left)?;
        self.refused.iter().try_for_each(|refusal| refusal.fmt(f))?;
        for (pair, reason) in &self.lagging {
            writeln!(f, "Pair {pair} lacks commands: {reason}")?;
        }
        for seq in &self.not_yet {
            writeln!(f, "Command {seq} was out of turn or out of time: write or push it again.")?;
        }
        Ok(())
    }
}
