//! `outbox`, `outbox write`, `receipt`: commands on their way to the proxy, carried by hand.

use crate::answer::{self, Answer};
use crate::commands::{CommandError, Session, now};
use crate::tenant::{Received, Refusal, Tenant, WITHDRAWN};
use clap::{Args, Subcommand};
use serde::Serialize;
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
    },
    /// Forget the refused commands.
    Clear,
}

#[derive(Args)]
pub(crate) struct ReceiptArguments {
    /// Files with one receipt each.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
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
        Some(OutboxCommand::Write { dir }) => write(session, dir),
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

fn write(session: &Session, dir: PathBuf) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let tenant = opened.tenant()?;
    if tenant.sign_expired(now()?)? > 0 {
        opened.store()?;
    }
    fs::create_dir_all(&dir).map_err(|source| OutboxError::Directory { path: dir.clone(), source })?;
    let mut files = Vec::new();
    for pending in opened.tenant()?.pending() {
        let file = dir.join(format!("command-{:08}.json", pending.seq()));
        bundle::write(&file, &pending.delivery()).map_err(OutboxError::Write)?;
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
            .and_then(|receipt| Ok(opened.tenant()?.receive(&receipt, now)?))
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
    outcome.left = opened.tenant()?.pending().count();
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
        Self {
            unconfirmed: unconfirmed.collect(),
            refused: tenant.refused().iter().map(RefusalView::from).collect(),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unconfirmed.is_empty() {
            writeln!(f, "Every command is confirmed.")?;
        } else {
            writeln!(f, "Not confirmed by the proxy:")?;
        }
        for PendingView { seq, command, since, age_seconds, .. } in &self.unconfirmed {
            writeln!(f, "  {seq}  {command}  since {since} ({})", answer::age(*age_seconds))?;
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
    pub(crate) refused: Vec<RefusalView>,
    /// Numbers of commands that are to be sent again.
    pub(crate) not_yet: Vec<u64>,
    /// Commands that are still without receipt.
    pub(crate) left: usize,
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

    /// These, and later ones.
    pub(crate) fn join(&mut self, later: Self) {
        self.applied += later.applied;
        self.known_before += later.known_before;
        self.refused.extend(later.refused);
        self.not_yet.extend(later.not_yet);
        self.left = later.left;
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
        writeln!(f, "{} confirmed; {} in the outbox.", answer::count(self.applied, "command"), self.left)?;
        self.refused.iter().try_for_each(|refusal| refusal.fmt(f))?;
        for seq in &self.not_yet {
            writeln!(f, "Command {seq} was out of turn or out of time: write or push it again.")?;
        }
        Ok(())
    }
}
