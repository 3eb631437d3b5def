//! What the commands about users answer.

use crate::answer::{self, Keyspaces};
use crate::outbox::Receipts;
use crate::tenant::State;
use crate::tenant::history::{Entry, Event, UserOp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// More users than these are only counted in text.
const SHOWN: usize = 20;

#[derive(Serialize)]
#[serde(tag = "result", rename = "users_changed")]
pub(super) struct Changed {
    pub(super) op: UserOp,
    pub(super) users: Vec<String>,
    /// What the proxy said, if it was asked at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receipts: Option<Receipts>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.op {
            UserOp::Add => "added",
            UserOp::Change => "given a new share",
            UserOp::Withdraw => "withdrawn",
        };
        match self.users.len() {
            0..=SHOWN => self.users.iter().try_for_each(|user| writeln!(f, "User {user} {done}."))?,
            count => writeln!(f, "{count} users {done}.")?,
        }
        match &self.receipts {
            Some(receipts) => receipts.fmt(f),
            None => {
                writeln!(
                    f,
                    "It takes effect when the proxy has the command: trefoil-admin push, or outbox write."
                )
            }
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "users_synced")]
pub(super) struct Synced {
    /// The application knows them and the vault did not.
    pub(super) found: Vec<String>,
    /// The vault has them and the application does not.
    pub(super) missing: Vec<String>,
}

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for uid in &self.found {
            writeln!(f, "{uid}  found; its share is unknown: user rekey {uid}, then user export {uid}")?;
        }
        for uid in &self.missing {
            writeln!(f, "{uid}  is not at the application: look at the outbox")?;
        }
        writeln!(f, "{} users found.", self.found.len())
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "user_exported")]
pub(super) struct Exported {
    pub(super) user: String,
    pub(super) file: PathBuf,
    /// The proxy has not confirmed this share yet.
    pub(super) pending: bool,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} written: hand it to the agent of {} and keep no copy.",
            self.file.display(),
            self.user
        )?;
        if self.pending {
            writeln!(
                f,
                "It is good once the proxy has confirmed the user's last command: trefoil-admin push."
            )?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "users")]
pub(super) struct Users<'a> {
    pub(super) tenant: &'a str,
    pub(super) application: &'a str,
    pub(super) users: Vec<UserView>,
}

#[derive(Serialize)]
pub(super) struct UserView {
    pub(super) user: String,
    pub(super) state: State,
    pub(super) keyspaces: BTreeMap<String, u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<String>,
    /// Keyspaces that are not the user's own grants, with the roles that bring them.
    #[serde(skip)]
    pub(super) by_role: BTreeMap<String, Vec<String>>,
    /// The share that counts is not in this vault, or not for certain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) share_unknown: bool,
    /// Number of the user's last command, if the proxy has not confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unconfirmed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<Vec<HistoryView>>,
}

#[derive(Serialize)]
pub(super) struct HistoryView {
    /// RFC 3339, UTC.
    pub(super) at: String,
    pub(super) event: &'static str,
}

impl From<&Entry> for HistoryView {
    fn from(entry: &Entry) -> Self {
        let event = match &entry.event {
            Event::UserCommand { op: UserOp::Add, .. } | Event::UsersAdded { .. } => "added",
            Event::UserCommand { op: UserOp::Change, .. } => "given a new share",
            Event::UserCommand { op: UserOp::Withdraw, .. } => "withdrawn",
            Event::UserExported { again: false, .. } => "exported",
            Event::UserExported { again: true, .. } => "exported again",
            Event::UserFound { .. } => "found at the application",
            Event::WithdrawalFound { .. } => "found withdrawn at the proxy",
            Event::GrantsChanged { .. } => "given other keyspaces",
            Event::SharesRenewed { .. } => "shares of application and proxy renewed",
            _ => "of the tenant",
        };
        Self { at: answer::time(entry.at), event }
    }
}

impl fmt::Display for Users<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Tenant {}, application {}", self.tenant, self.application)?;
        self.users.iter().try_for_each(|user| user.fmt(f))
    }
}

impl fmt::Display for UserView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Active => "active",
            State::Withdrawn => "withdrawn",
        };
        write!(
            f,
            "{}  {state}  {}",
            self.user,
            Keyspaces { of: &self.keyspaces, by_role: Some(&self.by_role) }
        )?;
        if self.share_unknown {
            let gap = if self.keyspaces.is_empty() { "" } else { "  " };
            write!(f, "{gap}share unknown: user rekey {}", self.user)?;
        }
        if let Some(seq) = self.unconfirmed {
            write!(f, "  (command {seq} not confirmed)")?;
        }
        writeln!(f)?;
        for entry in self.history.iter().flatten() {
            writeln!(f, "  {}  {}", entry.at, entry.event)?;
        }
        Ok(())
    }
}
