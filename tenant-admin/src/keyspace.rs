//! `keyspace add | list`: tenant keys for columns that are not for everybody.

use crate::answer::{Answer, count};
use crate::application;
use crate::commands::{CommandError, Session, now};
use crate::outbox::Receipts;
use crate::push::{self, AtOnce};
use crate::users::UsersError;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;

#[derive(Subcommand)]
pub(crate) enum KeyspaceCommand {
    /// Make a keyspace: its key is in the vault alone, and no user has a share of it yet.
    Add(Add),
    /// Show all keyspaces.
    List,
}

#[derive(Args)]
pub(crate) struct Add {
    /// The keyspace's name, as the policy is to have it.
    name: String,
    #[command(flatten)]
    at_once: AtOnce,
}

pub(crate) fn run(session: &Session, command: KeyspaceCommand) -> Result<Answer, CommandError> {
    match command {
        KeyspaceCommand::Add(arguments) => add(session, arguments),
        KeyspaceCommand::List => list(session),
    }
}

fn add(session: &Session, arguments: Add) -> Result<Answer, CommandError> {
    let Add { name, at_once } = arguments;
    let mut opened = session.open()?;
    let peers = match at_once.push {
        true => Some(application::peers(opened.tenant()?, at_once.sending.password_fd)?),
        false => None,
    };
    opened.tenant()?.add_keyspace(&name, now()?)?;
    opened.store()?;
    let receipts = match peers {
        None => None,
        Some(peers) => {
            let sent = push::push_to(&mut opened, &peers, at_once.sending.wait);
            let done = format!("keyspace {name}");
            Some(sent.map_err(|source| UsersError::NotSent { done, source: Box::new(source) })?)
        }
    };
    let unconfirmed = receipts.as_ref().is_some_and(Receipts::is_incomplete);
    Ok(Answer::new(&Added { keyspace: name, receipts }).unconfirmed(unconfirmed))
}

fn list(session: &Session) -> Result<Answer, CommandError> {
    let tenant = session.read()?;
    let keyspaces = tenant.epochs().into_iter().map(|(keyspace, epoch)| {
        let users = tenant.users().filter(|(_, user)| user.shares.contains_key(&keyspace)).count();
        KeyspaceView { keyspace, epoch, users }
    });
    Ok(Answer::new(&Keyspaces { keyspaces: keyspaces.collect() }))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "keyspace_added")]
struct Added {
    keyspace: String,
    /// What the proxy said, if it was asked at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<Receipts>,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Keyspace {} made.", self.keyspace)?;
        writeln!(f, "Its key is in this vault alone: back it up, and split the escrow anew.")?;
        match &self.receipts {
            Some(receipts) => receipts.fmt(f)?,
            None => {
                writeln!(
                    f,
                    "The proxy has it once it has the command: trefoil-admin push, or outbox write."
                )?;
            }
        }
        writeln!(f, "Next: name it in the proxy's policy, restart the proxy, and grant it to users.")
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "keyspaces")]
struct Keyspaces {
    keyspaces: Vec<KeyspaceView>,
}

#[derive(Serialize)]
struct KeyspaceView {
    keyspace: String,
    epoch: u8,
    /// How many users have a share of it.
    users: usize,
}

impl fmt::Display for Keyspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keyspaces.iter().try_for_each(|KeyspaceView { keyspace, epoch, users }| {
            writeln!(f, "{keyspace}  epoch {epoch}  ({})", count(*users, "user"))
        })
    }
}
