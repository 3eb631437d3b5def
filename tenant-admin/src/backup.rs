//! `vault backup | restore | history | passphrase`: the vault as a file.
//!
//! Invariant: nothing is overwritten that a backup does not have, unless that was asked for.

use crate::answer::{self, Answer};
use crate::commands::{CommandError, Session};
use crate::content::{Content, Stage};
use crate::tenant::Tenant;
use crate::tenant::history::{Digest, Entry, Event};
use crate::vault::{VaultError, VaultFile};
use clap::Subcommand;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use trefoil_keys::private_file;
use trefoil_passphrase::{Use, new_passphrase};

#[derive(Subcommand)]
pub(crate) enum VaultCommand {
    /// Write an exact copy, and see that it opens.
    Backup {
        /// The file for the copy; nothing is overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Put a backup in the vault's place.
    Restore {
        /// The backup.
        file: PathBuf,
        /// Although the vault has entries that the backup lacks: they are lost.
        #[arg(long)]
        replace: bool,
    },
    /// Show what was issued, confirmed and changed when, and verify that it is one unbroken chain.
    History {
        /// Only if the entry of this hash is still part of it: the last one that was noted down.
        #[arg(long, value_name = "HASH")]
        contains: Option<String>,
    },
    /// Encrypt the vault under another passphrase; older backups keep theirs.
    Passphrase {
        /// Read the new passphrase from this file descriptor, up to the end of the line.
        #[arg(long, value_name = "N")]
        new_passphrase_fd: Option<u32>,
    },
}

/// Why a backup is not made or not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("the copy {0} is not what the vault is; remove it, look after that disk, and try again")]
    Differs(PathBuf),
    #[error(
        "{file} is a backup of tenant {backup} and the vault of tenant {vault}; restore it to another --vault"
    )]
    OtherTenant { file: PathBuf, backup: String, vault: String },
    #[error(
        "the vault is newer than {file}: {count} entries of its history would be lost, {first} to {last}; nothing was changed. To lose them: --replace, after vault backup"
    )]
    Newer { file: PathBuf, count: usize, first: String, last: String },
    #[error(
        "the vault is in the middle of a bootstrap, or further than {0}; nothing was changed. To lose that: --replace, after vault backup"
    )]
    OtherStage(PathBuf),
    #[error(
        "the vault does not open ({0}), so that nobody knows what would be lost; move it away, or restore with --replace"
    )]
    Unreadable(Box<VaultError>),
    #[error(
        "the history has no entry {0}: the vault is an older copy than the one that this was noted from, or its history was cut"
    )]
    Cut(String),
}

pub(crate) fn run(session: &Session, command: VaultCommand) -> Result<Answer, CommandError> {
    match command {
        VaultCommand::Backup { out } => backup(session, out),
        VaultCommand::Restore { file, replace } => restore(session, file, replace),
        VaultCommand::History { contains } => history(session, contains),
        VaultCommand::Passphrase { new_passphrase_fd } => passphrase(session, new_passphrase_fd),
    }
}

fn backup(session: &Session, out: PathBuf) -> Result<Answer, CommandError> {
    session.vault.require()?;
    let passphrase = session.passphrase.obtain(Use::Existing)?;
    let sealed = private_file::read(session.vault.path()).map_err(VaultError::from)?;
    private_file::create(&out, &sealed).map_err(VaultError::from)?;
    // Read anew, from the copy: what was written is what counts.
    let copy = VaultFile::new(out.clone(), None);
    if private_file::read(copy.path()).map_err(VaultError::from)? != sealed {
        return Err(BackupError::Differs(out).into());
    }
    let content = copy.load(passphrase)?;
    Ok(Answer::new(&BackedUp { file: out, standing: Standing::of(&content) }))
}

fn restore(session: &Session, file: PathBuf, replace: bool) -> Result<Answer, CommandError> {
    let lock = session.vault.lock()?;
    let source = VaultFile::new(file.clone(), None);
    let passphrase = session.passphrase.obtain(Use::Existing)?;
    let sealed = private_file::read(source.path()).map_err(VaultError::from)?;
    let backup = source.load(passphrase)?;
    let mut lost = 0;
    if session.vault.path().exists() {
        match session.vault.load(passphrase) {
            Ok(current) => lost = compare(&current, &backup, &file, replace)?,
            Err(_) if replace => {}
            Err(error) => return Err(BackupError::Unreadable(Box::new(error)).into()),
        }
    }
    session.vault.replace(&lock, &sealed)?;
    let vault = session.vault.path().to_owned();
    Ok(Answer::new(&Restored { file, vault, lost, standing: Standing::of(&backup) }))
}

/// How many entries of the current history the backup lacks; an error unless there is none, or they may go.
fn compare(current: &Content, backup: &Content, file: &Path, replace: bool) -> Result<usize, BackupError> {
    let file = || file.to_owned();
    let (Stage::Ready(ours), Stage::Ready(theirs)) = (&current.stage, &backup.stage) else {
        return if replace { Ok(0) } else { Err(BackupError::OtherStage(file())) };
    };
    if ours.name != theirs.name {
        let (backup, vault) = (theirs.name.clone(), ours.name.clone());
        return Err(BackupError::OtherTenant { file: file(), backup, vault });
    }
    let (ours, theirs) = (ours.history().entries(), theirs.history().entries());
    let common = ours.iter().zip(theirs).take_while(|(one, other)| one.hash == other.hash).count();
    let lost = ours.get(common..).unwrap_or_default();
    match (lost.first(), lost.last()) {
        (Some(first), Some(last)) if !replace => Err(BackupError::Newer {
            file: file(),
            count: lost.len(),
            first: answer::time(first.at),
            last: answer::time(last.at),
        }),
        _ => Ok(lost.len()),
    }
}

fn history(session: &Session, contains: Option<String>) -> Result<Answer, CommandError> {
    // Reading has verified the chain: a vault with any other history does not open.
    let tenant = session.read()?;
    let entries = tenant.history().entries();
    if let Some(hash) = contains.filter(|hash| !entries.iter().any(|entry| entry.hash.to_string() == *hash)) {
        return Err(BackupError::Cut(hash).into());
    }
    Ok(Answer::new(&History { tenant: &tenant.name, head: tenant.history().head(), entries }))
}

fn passphrase(session: &Session, descriptor: Option<u32>) -> Result<Answer, CommandError> {
    let opened = session.open()?;
    let new = new_passphrase("the vault", descriptor)?;
    opened.store_under(&new)?;
    Ok(Answer::new(&PassphraseChanged { vault: session.vault.path().to_owned() }))
}

/// How far a vault is.
#[derive(Serialize)]
struct Standing {
    /// Missing before the end of the bootstrap.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    entries: usize,
    head: Digest,
}

impl Standing {
    fn of(content: &Content) -> Self {
        let tenant: Option<&Tenant> = match &content.stage {
            Stage::Ready(tenant) => Some(tenant),
            _ => None,
        };
        Self {
            tenant: tenant.map(|tenant| tenant.name.clone()),
            entries: tenant.map_or(0, |tenant| tenant.history().entries().len()),
            head: tenant.map(|tenant| tenant.history().head()).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => writeln!(f, "  tenant   {tenant}")?,
            None => writeln!(f, "  tenant   none yet: the bootstrap is not finished")?,
        }
        writeln!(f, "  history  {} entries up to {}", self.entries, self.head)
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "vault_backed_up")]
struct BackedUp {
    file: PathBuf,
    #[serde(flatten)]
    standing: Standing,
}

impl fmt::Display for BackedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} written: it opens under the vault's passphrase.", self.file.display())?;
        self.standing.fmt(f)
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "vault_restored")]
struct Restored {
    file: PathBuf,
    vault: PathBuf,
    /// Entries of the former vault that are gone.
    lost: usize,
    #[serde(flatten)]
    standing: Standing,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} restored from {}.", self.vault.display(), self.file.display())?;
        self.standing.fmt(f)?;
        if self.lost > 0 {
            writeln!(f, "  lost     {} entries of the former vault", self.lost)?;
        }
        writeln!(f, "Next: status, which tells whether the proxy is further than this vault.")
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "vault_passphrase_changed")]
struct PassphraseChanged {
    vault: PathBuf,
}

impl fmt::Display for PassphraseChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} has the new passphrase. Older backups still open under the old one.",
            self.vault.display()
        )
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "history")]
struct History<'a> {
    tenant: &'a str,
    head: Digest,
    entries: &'a [Entry],
}

impl fmt::Display for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Tenant {}: {} entries, one unbroken chain.", self.tenant, self.entries.len())?;
        for entry in self.entries {
            writeln!(f, "  {}  {}", answer::time(entry.at), describe(&entry.event))?;
        }
        writeln!(f, "Newest: {}. Noted down elsewhere, it shows a history that was cut:", self.head)?;
        writeln!(f, "  vault history --contains {}", self.head)
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Bootstrapped { url, .. } => format!("tenant key fetched from {url}"),
        Event::HandoverAccepted => "tenant key taken from a hand-over".to_owned(),
        Event::EscrowSplit { set, threshold, sheets } => {
            format!("escrow set {set} made, {threshold} of {sheets} sheets")
        }
        Event::EscrowRecovered { set } => format!("recovered from escrow set {set}"),
        Event::ApplicationSet { url, .. } => format!("application set to {url}"),
        Event::ApplicationRemoved { url } => format!("application at {url} gets commands no more"),
        Event::UserCommand { op, user, seq, .. } => {
            let done = match op {
                crate::tenant::history::UserOp::Add => "added",
                crate::tenant::history::UserOp::Change => "given a new share",
                crate::tenant::history::UserOp::Withdraw => "withdrawn",
            };
            format!("command {seq}: user {user} {done}")
        }
        Event::UsersAdded { seq, users, .. } => format!("command {seq}: {} users added", users.len()),
        Event::GrantsChanged { seq, users } => match users.first_key_value() {
            Some((user, _)) if users.len() == 1 => format!("command {seq}: user {user} other keyspaces"),
            _ => format!("command {seq}: {} users other keyspaces", users.len()),
        },
        Event::KeyspaceAdded { seq, keyspace } => format!("command {seq}: keyspace {keyspace} added"),
        Event::RoleSet { role, .. } => format!("role {role} set"),
        Event::RoleRemoved { role } => format!("role {role} removed"),
        Event::ProxyAppointed { .. } => "appointment for a new proxy signed".to_owned(),
        Event::ProxySet { url, .. } => format!("proxy set to {url}"),
        Event::ProxyReplaced { url, .. } => format!("another proxy, at {url}, in the place of the former"),
        Event::UserExported { user, again: false } => format!("share of user {user} exported"),
        Event::UserExported { user, again: true } => format!("share of user {user} exported again"),
        Event::UserFound { user } => format!("user {user} found at the application"),
        Event::WithdrawalFound { user } => format!("user {user} found withdrawn at the proxy"),
        Event::NumbersTaken { last, users } => format!(
            "commands up to {last} of a newer vault met at the proxy: the shares of {users} users are unknown"
        ),
        Event::SharesRenewed { seq, first, last, count } => {
            format!("command {seq}: shares renewed of {count} users, {first} to {last}")
        }
        Event::KeyRotation { seq, overlap } => {
            format!("command {seq}: new key of the proxy, overlap {}", answer::age(*overlap))
        }
        Event::Announced { serial, .. } => format!("announcement {serial} of the proxy's keys signed"),
        Event::SignedAgain { seq, .. } => format!("command {seq} signed anew"),
        Event::Applied { seq, .. } => format!("command {seq} applied by the proxy"),
        Event::Followed { seq, pair } => format!("command {seq} applied by pair {pair} as well"),
        Event::Refused { seq, code, .. } => format!("command {seq} refused by the proxy: {code}"),
    }
}
