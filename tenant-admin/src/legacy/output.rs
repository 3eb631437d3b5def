//! What the commands answer: for people, or as one JSON object for programs. No type here has room for
//! a key or a share.

use super::tenant::{BundleKind, Entry, Event, State};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The result of a command.
#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum Outcome {
    TenantCreated {
        tenant: String,
        application: String,
        keyspaces: BTreeMap<String, u8>,
        envelope_key_id: String,
        vault: PathBuf,
    },
    UserAdded {
        user: String,
        keyspaces: BTreeMap<String, u8>,
    },
    UserWithdrawn {
        user: String,
    },
    Users {
        tenant: String,
        application: String,
        users: Vec<UserView>,
    },
    BundleWritten {
        kind: BundleKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        file: PathBuf,
    },
}

/// What is shown of a user.
#[derive(Serialize)]
pub(crate) struct UserView {
    pub(crate) user: String,
    pub(crate) state: State,
    pub(crate) keyspaces: BTreeMap<String, u8>,
    pub(crate) history: Vec<HistoryView>,
}

/// One thing that happened to a user.
#[derive(Serialize)]
pub(crate) struct HistoryView {
    /// RFC 3339, UTC.
    at: String,
    event: &'static str,
}

impl From<&Entry> for HistoryView {
    fn from(entry: &Entry) -> Self {
        let event = match &entry.event {
            Event::TenantCreated => "tenant created",
            Event::UserAdded { .. } => "added",
            Event::UserWithdrawn { .. } => "withdrawn",
            Event::BundleIssued { kind, .. } => match kind {
                BundleKind::User => "user bundle issued",
                BundleKind::Application => "application bundle issued",
                BundleKind::Proxy => "proxy bundle issued",
            },
        };
        let time = i64::try_from(entry.at).ok().and_then(|at| Timestamp::from_second(at).ok());
        Self { at: time.unwrap_or(Timestamp::MAX).to_string(), event }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TenantCreated { tenant, application, keyspaces, envelope_key_id, vault } => {
                writeln!(f, "Tenant {tenant} created for application {application}.")?;
                writeln!(f, "  keyspaces     {}", Keyspaces(keyspaces))?;
                writeln!(f, "  envelope key  {envelope_key_id}")?;
                writeln!(f, "  vault         {}", vault.display())?;
                writeln!(
                    f,
                    "Without the vault or its passphrase the tenant's data is lost: keep a copy of both."
                )
            }
            Self::UserAdded { user, keyspaces } => {
                writeln!(f, "User {user} added; keyspaces {}.", Keyspaces(keyspaces))?;
                writeln!(f, "Next: bundle user {user}, and new bundles for application and proxy.")
            }
            Self::UserWithdrawn { user } => {
                writeln!(f, "User {user} withdrawn.")?;
                writeln!(
                    f,
                    "It keeps its access until the proxy has read a new bundle: bundle proxy, then bundle application."
                )
            }
            Self::Users { tenant, application, users } => {
                writeln!(f, "Tenant {tenant}, application {application}")?;
                users.iter().try_for_each(|user| user.fmt(f))
            }
            Self::BundleWritten { kind: BundleKind::User, file, .. } => {
                writeln!(f, "{} written: hand it to the user's agent and keep no copy.", file.display())
            }
            Self::BundleWritten { kind: BundleKind::Application, file, .. } => {
                writeln!(f, "{} written: hand it to the application's shim and keep no copy.", file.display())
            }
            Self::BundleWritten { kind: BundleKind::Proxy, file, .. } => {
                writeln!(f, "{} written: hand it to the proxy and keep no copy.", file.display())
            }
        }
    }
}

impl fmt::Display for UserView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Active => "active",
            State::Withdrawn => "withdrawn",
        };
        writeln!(f, "{}  {state}  {}", self.user, Keyspaces(&self.keyspaces))?;
        self.history.iter().try_for_each(|entry| writeln!(f, "  {}  {}", entry.at, entry.event))
    }
}

struct Keyspaces<'a>(&'a BTreeMap<String, u8>);

impl fmt::Display for Keyspaces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, epoch) in self.0 {
            write!(f, "{separator}{name} (epoch {epoch})")?;
            separator = ", ";
        }
        Ok(())
    }
}
