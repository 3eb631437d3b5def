//! A tenant: its keys, its users with their TKu's, the commands that the proxy has not confirmed yet, and
//! what happened when. This is what the vault holds; nothing here reads or writes files or sockets.
//!
//! Invariants: TKa's and TKp's are in the outbox or nowhere; a withdrawn user's shares are issued to
//! nobody, and its UId never comes back.

pub(crate) mod grants;
pub(crate) mod history;
pub(crate) mod keyspace;
mod outbox;
mod pairs;
mod parties;
mod recovery;
mod renewal;
mod replacement;
mod users;

pub(crate) use outbox::{PerhapsApplied, Received, Refusal, WITHDRAWN};
pub(crate) use pairs::{Followed, MAIN};
pub(crate) use parties::{ClientCertificate, Endpoint, Password, Proxy};
pub(crate) use replacement::Taken;
pub(crate) use users::State;

use grants::Roles;
use history::{Event, History};
use keyspace::Keyspace;
use outbox::Outbox;
use renewal::Renewal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trefoil_keys::bundle::CheckValue;
use trefoil_keys::envelope::EnvelopeError;
use trefoil_keys::handover::Handover;
use trefoil_keys::secret::TenantKey;
use trefoil_keys::signing::{SigningError, SigningKey};
use users::User;

/// Names travel in settings, comments and messages with short length fields.
const MAX_NAME_BYTES: usize = 255;

/// Why the tenant cannot be changed so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TenantError {
    #[error(
        "user {0} exists already; its bundle is written by: trefoil-admin user export {0} --out FILE; for a new share: user rekey {0}"
    )]
    UserExists(String),
    #[error("user {0} was withdrawn, and a UId is never given out twice; add the person under another UId")]
    UidUsed(String),
    #[error("there is no user {0}; all users are shown by: trefoil-admin user show")]
    UserUnknown(String),
    #[error("user {0} was withdrawn; nothing is issued to it any more")]
    UserWithdrawn(String),
    #[error("user {0} is withdrawn already")]
    AlreadyWithdrawn(String),
    #[error(
        "the share of user {0} is unknown to this vault, which was recovered, or is an older copy of one that may have given out another; give it a new one with: trefoil-admin user rekey {0}"
    )]
    ShareUnknown(String),
    #[error(
        "this share of user {0} was written to a file before; if that file is lost say so with --confirm {0}; if somebody else may have it: trefoil-admin user rekey {0}"
    )]
    ExportedBefore(String),
    #[error(
        "what user {0} is granted is not in this vault, which was recovered; say it, which also gives a new share: trefoil-admin grant {0} KEYSPACE"
    )]
    GrantsUnknown(String),
    #[error(
        "the tenant has several keyspaces and none is called main; say which the user gets: --keyspace or --role"
    )]
    GrantsNeeded,
    #[error("there is no keyspace {name}; the tenant has {known}")]
    KeyspaceUnknown { name: String, known: String },
    #[error("{0} is no name for a keyspace: 1 to 63 ASCII letters, digits, _ and -")]
    KeyspaceName(String),
    #[error("there is a keyspace {0} already; all are shown by: trefoil-admin keyspace list")]
    KeyspaceExists(String),
    #[error("there is no role {0}; all are shown by: trefoil-admin role list")]
    RoleUnknown(String),
    #[error(
        "user {user} is not granted {what}; what it is granted is shown by: trefoil-admin user show {user}"
    )]
    NotGranted { user: String, what: String },
    #[error(
        "user {user} has keyspace {keyspace} by role {role}; take that away: trefoil-admin revoke {user} --role {role}"
    )]
    GrantedByRole { user: String, keyspace: String, role: String },
    #[error(
        "user {0} would be left without any keyspace; leave one, or take the access away for good: trefoil-admin user withdraw {0}"
    )]
    LeftWithNothing(String),
    #[error(
        "{count} user(s) have role {role}, {first} the first; take it from them: trefoil-admin revoke {first} --role {role}"
    )]
    RoleInUse { role: String, first: String, count: usize },
    #[error(
        "the receipt is not one of this tenant's proxy, or was altered; nothing was confirmed, get it from the application again"
    )]
    ReceiptForged,
    #[error(
        "the receipt answers command {seq} of this tenant, but not one that is in the outbox or was confirmed before; nothing was confirmed"
    )]
    ReceiptUnknown { seq: u64 },
    #[error(
        "the proxy applied the key rotation but names no key in its receipt; compare with: trefoil-admin status"
    )]
    ReceiptWithoutKeys,
    #[error(
        "this vault was recovered and does not know the proxy's key; fetch it first, with the users: trefoil-admin user sync"
    )]
    NoEnvelopeKey,
    #[error(
        "a key rotation waits in the outbox already, as command {seq}; send it first: trefoil-admin push"
    )]
    RotationPending { seq: u64 },
    #[error(
        "the proxies of several pairs would each make another key; nothing was changed: take the further pairs out (trefoil-admin application remove NAME), rotate, and then make them anew as copies of the first"
    )]
    RotationOfPairs,
    #[error("there is no further pair {0}; all pairs are shown by: trefoil-admin application show")]
    PairUnknown(String),
    #[error(
        "there are further pairs, which are copies of the former proxy; nothing was changed: take them out first (trefoil-admin application remove NAME), and make them anew as copies of the new one"
    )]
    PairsOfFormerProxy,
    #[error("the proxy's status is about tenant {tenant}, application {application}; nothing was changed")]
    OtherTenant { tenant: String, application: String },
    #[error(
        "the proxy's bootstrap is not finished, so it is none of this vault's; nothing was changed. In place of a lost proxy: trefoil-admin proxy appoint, then trefoil-proxy init --appointment"
    )]
    ProxyNotReady,
    #[error(
        "the proxy takes commands signed by another key than the vault's; nothing was changed: give it no shares, and find out whose it is"
    )]
    ProxyOfAnotherKey,
    #[error("the proxy's keyspaces or their epochs are not the vault's; nothing was changed")]
    ProxyOfOtherKeyspaces,
    #[error(
        "the proxy has applied commands up to {applied}, and this vault has receipts up to {ours}; nothing was changed: it was set back, or its appointment is from before the last commands; write a new one with trefoil-admin proxy appoint, and make the proxy anew with it"
    )]
    ProxyBehind { applied: u64, ours: u64 },
    #[error("the command cannot be sealed to the proxy's key: {0}")]
    Seal(#[from] EnvelopeError),
    #[error("the command cannot be signed: {0}")]
    Sign(#[from] SigningError),
}

/// A name of a tenant, application or user: 1 to 255 bytes, no control characters, no white space around.
pub(crate) fn parse_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("a name cannot be empty")
    } else if text.len() > MAX_NAME_BYTES {
        Err("a name has at most 255 bytes")
    } else if text.chars().any(char::is_control) {
        Err("a name has no control characters")
    } else if text.trim() != text {
        Err("a name has no white space around it")
    } else {
        Ok(text.to_owned())
    }
}

/// All that the tenant admin knows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// Id of the application: the `aud` of envelopes.
    pub(crate) application: String,
    pub(crate) keyspaces: BTreeMap<String, Keyspace>,
    #[serde(with = "parties::signing_key_text")]
    pub(crate) signing_key: SigningKey,
    pub(crate) proxy: Proxy,
    /// Where commands go; none yet if absent.
    pub(crate) endpoint: Option<Endpoint>,
    /// Further pairs of sidecar and proxy, by their names.
    #[serde(default)]
    replicas: BTreeMap<String, Endpoint>,
    users: BTreeMap<String, User>,
    #[serde(default)]
    roles: Roles,
    outbox: Outbox,
    renewal: Option<Renewal>,
    /// Serial of the newest announcement; 0 if there was none.
    announcements: u64,
    history: History,
}

impl Tenant {
    /// A tenant with the keys of a hand-over, without users and history.
    pub(crate) fn from_handover(handover: Handover) -> Self {
        let Handover { tenant, application, keyspaces, signing_key, receipt_key, envelope_keys, .. } =
            handover;
        let keyspaces = keyspaces
            .into_iter()
            .map(|(name, key)| (name, Keyspace { epoch: key.epoch, tenant_key: key.key }))
            .collect();
        let proxy = Proxy::new(receipt_key, envelope_keys);
        Self::with_keys(tenant, application, keyspaces, signing_key, proxy)
    }

    /// A tenant with these keys, without users and history: after a hand-over, or recovered from escrow.
    pub(crate) fn with_keys(
        name: String,
        application: String,
        keyspaces: BTreeMap<String, Keyspace>,
        signing_key: SigningKey,
        proxy: Proxy,
    ) -> Self {
        Self {
            name,
            application,
            keyspaces,
            signing_key,
            proxy,
            endpoint: None,
            replicas: BTreeMap::new(),
            users: BTreeMap::new(),
            roles: Roles::new(),
            outbox: Outbox::default(),
            renewal: None,
            announcements: 0,
            history: History::default(),
        }
    }

    /// The tenant keys alone, with their epochs.
    pub(crate) fn into_keys(self) -> BTreeMap<String, (u8, TenantKey)> {
        let keys = self.keyspaces.into_iter();
        keys.map(|(name, keyspace)| (name, (keyspace.epoch, keyspace.tenant_key))).collect()
    }

    /// Current epochs by keyspace.
    pub(crate) fn epochs(&self) -> BTreeMap<String, u8> {
        self.keyspaces.iter().map(|(name, keyspace)| (name.clone(), keyspace.epoch)).collect()
    }

    /// By which the proxy knows the tenant keys, by keyspace.
    pub(crate) fn check_values(&self) -> BTreeMap<String, CheckValue> {
        self.keyspaces.iter().map(|(name, keyspace)| (name.clone(), keyspace.check_value(name))).collect()
    }

    /// What happened when.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Enters something in the history.
    pub(crate) fn record(&mut self, at: u64, event: Event) {
        self.history.push(at, event);
    }

    /// What happened to the user, oldest first.
    pub(crate) fn history_of(&self, uid: &str) -> impl Iterator<Item = &history::Entry> {
        self.history.entries().iter().filter(move |entry| entry.event.concerns(uid))
    }
}

#[cfg(test)]
mod tests;
