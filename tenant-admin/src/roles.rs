//! `role set | list | remove`: named sets of keyspaces.

use crate::answer::{Answer, count};
use crate::commands::{CommandError, Session};
use crate::grant::carry_out;
use crate::push::AtOnce;
use crate::tenant::parse_name;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a role, or make it another set; the users that have it change with it.
    Set(Set),
    /// Show all roles.
    List,
    /// Remove a role that no user has.
    Remove {
        /// The role's name.
        #[arg(value_parser = parse_name)]
        role: String,
    },
}

#[derive(Args)]
pub(crate) struct Set {
    /// The role's name.
    #[arg(value_parser = parse_name)]
    role: String,
    /// A keyspace that the role brings; again for more. Those that are left out are not in it.
    #[arg(long = "keyspace", value_name = "KEYSPACE", required = true)]
    keyspaces: Vec<String>,
    #[command(flatten)]
    at_once: AtOnce,
}

pub(crate) fn run(session: &Session, command: RoleCommand) -> Result<Answer, CommandError> {
    match command {
        RoleCommand::Set(Set { role, keyspaces, at_once }) => {
            let set = role.clone();
            carry_out(session, at_once, Some(set), |tenant, now| tenant.set_role(&role, &keyspaces, now))
        }
        RoleCommand::List => list(session),
        RoleCommand::Remove { role } => {
            session.change(|tenant, now| tenant.remove_role(&role, now))?;
            list(session)
        }
    }
}

fn list(session: &Session) -> Result<Answer, CommandError> {
    let tenant = session.read()?;
    let roles = tenant.roles().iter().map(|(role, keyspaces)| RoleView {
        role: role.clone(),
        keyspaces: keyspaces.clone(),
        users: tenant.members(role).count(),
    });
    Ok(Answer::new(&Roles { roles: roles.collect() }))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "roles")]
struct Roles {
    roles: Vec<RoleView>,
}

#[derive(Serialize)]
struct RoleView {
    role: String,
    keyspaces: BTreeSet<String>,
    /// How many active users have it.
    users: usize,
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.roles.is_empty() {
            return writeln!(
                f,
                "There are no roles; make one with: trefoil-admin role set ROLE --keyspace KEYSPACE"
            );
        }
        for RoleView { role, keyspaces, users } in &self.roles {
            let names: Vec<&str> = keyspaces.iter().map(String::as_str).collect();
            writeln!(f, "{role}  {}  ({})", names.join(", "), count(*users, "user"))?;
        }
        Ok(())
    }
}
