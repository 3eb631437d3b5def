//! `user add | rekey | withdraw | export | sync | show`.

mod views;

use crate::answer::Answer;
use crate::application::{self, ApplicationError};
use crate::commands::{CommandError, Opened, Session, now};
use crate::grant::GrantArguments;
use crate::outbox::Receipts;
use crate::push::{self, AtOnce, STORED_EVERY, Sending};
use crate::renewal::progress;
use crate::tenant::history::UserOp;
use crate::tenant::{State, Tenant, TenantError, parse_name};
use clap::{Args, Subcommand};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::{self, Bundle, BundleError, UserBundle};
use trefoil_keys::command::MAX_BATCH;
use trefoil_keys::kill_point;
use views::{Changed, Exported, HistoryView, Synced, UserView, Users};

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Grant new users access.
    Add(Add),
    /// Give users new shares; the old ones are dead once the proxy has the command.
    Rekey(Change),
    /// Take users' access away, for good.
    Withdraw(Change),
    /// Write what a user's agent needs to a file that only its owner may read.
    Export(Export),
    /// After a recovery: take over users that the application knows and the vault does not.
    Sync(Sending),
    /// Show one user, or all.
    Show {
        /// The user's id (UId).
        #[arg(value_parser = parse_name)]
        uid: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct Change {
    /// The users' ids (UId).
    #[arg(value_parser = parse_name, value_name = "UID", required_unless_present = "from")]
    pub(crate) uids: Vec<String>,
    /// A file with further ids, one on each line.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    at_once: AtOnce,
}

impl Change {
    /// All users' ids, and how to go on.
    fn read(self) -> Result<(Vec<String>, AtOnce), UsersError> {
        let Self { mut uids, from, at_once } = self;
        if let Some(path) = from {
            uids.extend(read_uids(&path)?);
        }
        Ok((uids, at_once))
    }
}

#[derive(Args)]
pub(crate) struct Add {
    #[command(flatten)]
    change: Change,
    /// Pass over users that there are already: after an interruption.
    #[arg(long)]
    skip_existing: bool,
    #[command(flatten)]
    grants: GrantArguments,
}

#[derive(Args)]
pub(crate) struct Export {
    /// The user's id (UId).
    #[arg(value_parser = parse_name)]
    uid: String,
    /// The file; an older user bundle is replaced, anything else is not.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// This share was exported before, and is to be exported again: the same UId once more.
    #[arg(long, value_name = "UID")]
    confirm: Option<String>,
}

/// What is wrong with a command about users.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    #[error("the bundle was not written, although the vault says that it was: {0}")]
    Bundle(#[from] BundleError),
    #[error(
        "{path} exists and is not a {kind} that could be replaced; choose another --out, or move it away"
    )]
    OutTaken { path: PathBuf, kind: &'static str },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}, line {number}: {reason}")]
    Line { path: PathBuf, number: usize, reason: &'static str },
    #[error(
        "the vault has the change of {done}, but not all of it was sent: it waits in the outbox, for trefoil-admin push. {source}"
    )]
    NotSent { done: String, source: Box<CommandError> },
    #[error("--confirm names {named}, but the user is {uid}; nothing was written")]
    OtherConfirmed { named: String, uid: String },
}

pub(crate) fn run(session: &Session, command: UserCommand) -> Result<Answer, CommandError> {
    match command {
        UserCommand::Add(arguments) => add(session, arguments),
        UserCommand::Rekey(arguments) => change(session, UserOp::Change, arguments, Tenant::rekey_user),
        UserCommand::Withdraw(arguments) => {
            change(session, UserOp::Withdraw, arguments, Tenant::withdraw_user)
        }
        UserCommand::Sync(sending) => sync(session, sending),
        UserCommand::Export(arguments) => export(session, arguments),
        UserCommand::Show { uid } => show(session, uid.as_deref()),
    }
}

fn add(session: &Session, arguments: Add) -> Result<Answer, CommandError> {
    let Add { change, skip_existing, grants } = arguments;
    let (mut uids, at_once) = change.read()?;
    let mut opened = session.open()?;
    if skip_existing {
        let tenant = opened.tenant()?;
        uids.retain(|uid| tenant.user(uid).is_err());
    }
    let grants = grants.or_default(opened.tenant()?)?;
    let add = |tenant: &mut Tenant, some: &[String], now| tenant.add_users(some, &grants, now);
    carry_out(opened, UserOp::Add, uids, at_once, MAX_BATCH, add)
}

fn change(
    session: &Session,
    op: UserOp,
    arguments: Change,
    one: fn(&mut Tenant, &str, u64) -> Result<(), TenantError>,
) -> Result<Answer, CommandError> {
    let (uids, at_once) = arguments.read()?;
    let each =
        |tenant: &mut Tenant, some: &[String], now| some.iter().try_for_each(|uid| one(tenant, uid, now));
    carry_out(session.open()?, op, uids, at_once, STORED_EVERY, each)
}

/// Makes the commands for all users and, if it is asked for, sends them, some users at a time.
fn carry_out(
    mut opened: Opened<'_>,
    op: UserOp,
    uids: Vec<String>,
    at_once: AtOnce,
    some: usize,
    make: impl Fn(&mut Tenant, &[String], u64) -> Result<(), TenantError>,
) -> Result<Answer, CommandError> {
    if !at_once.push {
        make(opened.tenant()?, &uids, now()?)?;
        opened.store()?;
        return Ok(Answer::new(&Changed { op, users: uids, receipts: None }));
    }
    // Before anything changes: without an application there is nobody to push to.
    let peers = application::peers(opened.tenant()?, at_once.sending.password_fd)?;
    let mut all = Receipts::default();
    let mut done = Vec::new();
    let bar = progress(uids.len());
    for some in uids.chunks(some) {
        make(opened.tenant()?, some, now()?)?;
        opened.store()?;
        kill_point("user.stored");
        done.extend_from_slice(some);
        let sent = push::push_to(&mut opened, &peers, at_once.sending.wait);
        all.join(sent.map_err(|source| UsersError::NotSent { done: whom(&done), source: Box::new(source) })?);
        bar.inc(u64::try_from(some.len()).unwrap_or(u64::MAX));
        if all.is_incomplete() {
            break;
        }
    }
    bar.finish_and_clear();
    let unconfirmed = all.is_incomplete();
    Ok(Answer::new(&Changed { op, users: done, receipts: Some(all) }).unconfirmed(unconfirmed))
}

fn whom(uids: &[String]) -> String {
    match uids {
        [uid] => uid.clone(),
        _ => format!("{} users", uids.len()),
    }
}

fn read_uids(path: &Path) -> Result<Vec<String>, UsersError> {
    let text =
        fs::read_to_string(path).map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
    let one = |(number, line): (usize, &str)| {
        parse_name(line).map_err(|reason| UsersError::Line {
            path: path.to_owned(),
            number: number.saturating_add(1),
            reason,
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(one).collect()
}

fn sync(session: &Session, sending: Sending) -> Result<Answer, CommandError> {
    #[derive(Deserialize)]
    struct List {
        users: BTreeMap<String, serde::de::IgnoredAny>,
    }
    let mut opened = session.open()?;
    let tenant = opened.tenant()?;
    let peer = application::peer(tenant, sending.password_fd)?;
    if tenant.proxy.envelope_keys.is_empty() {
        let status = peer.status(&tenant.proxy.receipt_key).map_err(ApplicationError::from)?;
        tenant.take_envelope_keys(status)?;
    }
    let answer = peer.get("/v1/users").map_err(ApplicationError::from)?;
    let List { users } = serde_json::from_slice(&answer.body)
        .map_err(|_| ApplicationError::from(peer.malformed("list of users")))?;
    let now = now()?;
    let missing: Vec<String> = tenant
        .users()
        .filter(|(uid, user)| user.state == State::Active && !users.contains_key(*uid))
        .map(|(uid, _)| uid.to_owned())
        .collect();
    let known = |uid: &&String| parse_name(uid).is_ok() && tenant.find_user(uid, now);
    let found: Vec<String> = users.keys().filter(known).cloned().collect();
    opened.store()?;
    Ok(Answer::new(&Synced { found, missing }))
}

fn export(session: &Session, arguments: Export) -> Result<Answer, CommandError> {
    let Export { uid, out, confirm } = arguments;
    if let Some(named) = confirm.as_ref().filter(|named| **named != uid) {
        return Err(UsersError::OtherConfirmed { named: named.clone(), uid }.into());
    }
    require_replaceable::<UserBundle>(&out)?;
    let mut opened = session.open()?;
    let tenant = opened.tenant()?;
    let now = now()?;
    let bundle = match tenant.export_user(&uid, confirm.is_some(), now) {
        Err(TenantError::ExportedBefore(_)) if asked_and_confirmed(&uid) => {
            tenant.export_user(&uid, true, now)?
        }
        other => other?,
    };
    let pending = is_pending(tenant, &uid);
    opened.store()?;
    kill_point("export.stored");
    bundle::write(&out, &bundle).map_err(UsersError::Bundle)?;
    Ok(Answer::new(&Exported { user: uid, file: out, pending }))
}

/// A slip of the hand in `--out` must not cost a vault, or another party's file.
fn require_replaceable<B: Bundle>(path: &Path) -> Result<(), UsersError> {
    match bundle::read::<B>(path) {
        Ok(_) => Ok(()),
        Err(BundleError::File(error)) if error.is_not_found() => Ok(()),
        Err(_) => Err(UsersError::OutTaken { path: path.to_owned(), kind: B::KIND }),
    }
}

/// Asks at the terminal; without one, nobody has confirmed anything.
fn asked_and_confirmed(uid: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let mut err = io::stderr().lock();
    let asked = write!(
        err,
        "The share of {uid} was exported before. If that file is lost, type the UId to export it again: "
    )
    .and_then(|()| err.flush());
    let mut line = String::new();
    asked.is_ok() && io::stdin().lock().read_line(&mut line).is_ok() && line.trim() == uid
}

fn is_pending(tenant: &Tenant, uid: &str) -> bool {
    tenant.pending().any(|pending| pending.is_about(uid))
}

fn show(session: &Session, uid: Option<&str>) -> Result<Answer, CommandError> {
    let tenant = session.read()?;
    if let Some(uid) = uid {
        tenant.user(uid)?;
    }
    let unconfirmed: BTreeMap<&str, u64> = tenant
        .partly_applied()
        .flat_map(|(seq, applied)| applied.pending.users().map(move |uid| (uid, seq)))
        .chain(tenant.pending().flat_map(|pending| pending.users().map(|uid| (uid, pending.seq()))))
        .collect();
    let users = tenant
        .users()
        .filter(|(own, _)| uid.is_none_or(|uid| uid == *own))
        .map(|(own, user)| UserView {
            user: own.to_owned(),
            state: user.state,
            keyspaces: user.keyspaces(),
            roles: user.grants.roles.iter().cloned().collect(),
            by_role: tenant.by_role(user),
            share_unknown: user.state == State::Active && !user.has_share(),
            unconfirmed: unconfirmed.get(own).copied(),
            // Of all users it would be long, and take long.
            history: uid.map(|uid| tenant.history_of(uid).map(HistoryView::from).collect()),
        })
        .collect();
    Ok(Answer::new(&Users { users, tenant: &tenant.name, application: &tenant.application }))
}
