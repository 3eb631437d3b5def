//! `grant`, `revoke`: which keyspaces a user has a share of.

use crate::answer::Answer;
use crate::application;
use crate::commands::{CommandError, Session, now};
use crate::outbox::Receipts;
use crate::push::{self, AtOnce};
use crate::tenant::grants::{Grants, Regranted};
use crate::tenant::{Tenant, TenantError, parse_name};
use crate::users::UsersError;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use trefoil_keys::kill_point;

/// What a new user is granted.
#[derive(Args)]
pub(crate) struct GrantArguments {
    /// A keyspace that the user gets; again for more. Without any, and without a role: main.
    #[arg(long = "keyspace", value_name = "KEYSPACE")]
    keyspaces: Vec<String>,
    /// A role that the user gets; again for more.
    #[arg(long = "role", value_name = "ROLE", value_parser = parse_name)]
    roles: Vec<String>,
}

impl GrantArguments {
    /// The grants, or those of a user of whom nothing is said.
    pub(crate) fn or_default(&self, tenant: &Tenant) -> Result<Grants, TenantError> {
        if self.keyspaces.is_empty() && self.roles.is_empty() {
            return tenant.default_grants();
        }
        tenant.known_grants(&self.keyspaces, &self.roles)
    }
}

#[derive(Args)]
pub(crate) struct GrantCommand {
    /// The user's id (UId).
    #[arg(value_parser = parse_name)]
    uid: String,
    /// Keyspaces.
    #[arg(value_name = "KEYSPACE", required_unless_present = "roles")]
    keyspaces: Vec<String>,
    /// A role; again for more.
    #[arg(long = "role", value_name = "ROLE", value_parser = parse_name)]
    roles: Vec<String>,
    #[command(flatten)]
    at_once: AtOnce,
}

pub(crate) fn grant(session: &Session, command: GrantCommand) -> Result<Answer, CommandError> {
    let GrantCommand { uid, keyspaces, roles, at_once } = command;
    carry_out(session, at_once, None, |tenant, now| {
        let more = tenant.known_grants(&keyspaces, &roles)?;
        tenant.grant(&uid, &more, now)
    })
}

pub(crate) fn revoke(session: &Session, command: GrantCommand) -> Result<Answer, CommandError> {
    let GrantCommand { uid, keyspaces, roles, at_once } = command;
    carry_out(session, at_once, None, |tenant, now| {
        let less = tenant.known_grants(&keyspaces, &roles)?;
        tenant.revoke(&uid, &less, now)
    })
}

/// Changes what users are granted and, if it is asked for, sends the commands. `role` is one that is set.
pub(crate) fn carry_out(
    session: &Session,
    at_once: AtOnce,
    role: Option<String>,
    change: impl FnOnce(&mut Tenant, u64) -> Result<Vec<Regranted>, TenantError>,
) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    // Before anything changes: without an application there is nobody to push to.
    let peers = match at_once.push {
        true => Some(application::peers(opened.tenant()?, at_once.sending.password_fd)?),
        false => None,
    };
    let users = change(opened.tenant()?, now()?)?;
    opened.store()?;
    kill_point("grant.stored");
    let receipts = match peers.filter(|_| !users.is_empty()) {
        None => None,
        Some(peers) => {
            let sent = push::push_to(&mut opened, &peers, at_once.sending.wait);
            let done = format!("{} user(s)", users.len());
            Some(sent.map_err(|source| UsersError::NotSent { done, source: Box::new(source) })?)
        }
    };
    let unconfirmed = receipts.as_ref().is_some_and(Receipts::is_incomplete);
    Ok(Answer::new(&Changed { role, users, receipts }).unconfirmed(unconfirmed))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "grants_changed")]
struct Changed {
    /// The role that was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    users: Vec<Regranted>,
    /// What the proxy said, if it was asked at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<Receipts>,
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(role) = &self.role {
            writeln!(f, "Role {role} set.")?;
        }
        if self.users.is_empty() {
            return if self.role.is_some() { Ok(()) } else { writeln!(f, "No user's keyspaces change.") };
        }
        for Regranted { user, keyspaces, gained, lost } in &self.users {
            writeln!(f, "User {user} has {}.", list(keyspaces))?;
            if !lost.is_empty() {
                writeln!(f, "  taken away: {}", list(lost))?;
            }
            if !gained.is_empty() {
                writeln!(f, "  new: {}; a new bundle is needed for it: user export {user}", list(gained))?;
            }
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
