//! `renew-shares`: new TKa's and TKp's for all users, in batches; interrupted, the next run goes on.

use crate::answer::Answer;
use crate::application;
use crate::commands::{CommandError, Opened, Session, now};
use crate::outbox::{Receipts, RefusalView};
use crate::push::{Sending, send_all};
use crate::tenant::Tenant;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use trefoil_keys::command::MAX_BATCH;
use trefoil_keys::kill_point;

#[derive(Args)]
pub(crate) struct RenewArguments {
    /// Send nothing: put all commands into the outbox, for somebody who carries them.
    #[arg(long)]
    no_push: bool,
    /// Begin with the first user again, although an interrupted renewal could go on.
    #[arg(long)]
    anew: bool,
    /// Users in one command.
    #[arg(long, value_name = "N", default_value_t = MAX_BATCH, value_parser = parse_batch)]
    batch: usize,
    #[command(flatten)]
    sending: Sending,
}

fn parse_batch(text: &str) -> Result<usize, String> {
    let batch = text.parse().ok().filter(|batch| (1..=MAX_BATCH).contains(batch));
    batch.ok_or_else(|| format!("a number from 1 to {MAX_BATCH}"))
}

pub(crate) fn run(session: &Session, arguments: &RenewArguments) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let mut outcome = Renewed::default();
    let peers = match arguments.no_push {
        true => None,
        false => Some(application::peers(opened.tenant()?, arguments.sending.password_fd)?),
    };
    // The vault is stored once for each batch: what a batch brings back is stored with the next.
    let push = |opened: &mut Opened<'_>| {
        let mut receipts = Receipts::default();
        if let Some(peers) = &peers {
            send_all(opened, peers, arguments.sending.wait, &mut receipts)?;
        }
        // A pair that is away holds nobody up: what others have decided is done.
        let is_stuck = peers.is_some() && opened.tenant()?.first_pending().is_some();
        Ok::<_, CommandError>((receipts, is_stuck))
    };
    // Of an earlier run that ended before it was told of them.
    outcome.users = opened.tenant()?.pending().map(|pending| pending.work.renewed()).sum();
    outcome.resumed = !arguments.anew && opened.tenant()?.renewal().is_some();
    // What stands before: a batch of the interrupted run, perhaps, or a user's new key.
    if !outcome.add(push(&mut opened)?) || is_given_up(opened.tenant()?) {
        outcome.users = 0;
    }
    match arguments.anew {
        true => opened.tenant()?.begin_renewal_again(now()?),
        false => opened.tenant()?.begin_renewal(now()?),
    }
    let bar = progress(opened.tenant()?.left_to_renew());
    while outcome.is_smooth() {
        let Some(users) = opened.tenant()?.renew_next(arguments.batch, now()?)? else { break };
        opened.store()?;
        kill_point("renewal.stored");
        let accepted = outcome.add(push(&mut opened)?);
        kill_point("renewal.pushed");
        if !accepted || is_given_up(opened.tenant()?) {
            bar.set_length(u64::try_from(opened.tenant()?.left_to_renew()).unwrap_or(u64::MAX));
            continue;
        }
        outcome.users += users;
        bar.inc(u64::try_from(users).unwrap_or(u64::MAX));
    }
    opened.store()?;
    bar.finish_and_clear();
    let tenant = opened.tenant()?;
    outcome.left = tenant.renewal().map_or(0, |_| tenant.left_to_renew());
    outcome.unconfirmed = tenant.pending().count().saturating_add(tenant.partly_applied().count());
    outcome.without_share = tenant.without_share().map(str::to_owned).collect();
    let is_whole = outcome.unconfirmed == 0 && outcome.without_share.is_empty();
    Ok(Answer::new(&outcome).unconfirmed(!is_whole || !outcome.is_smooth()))
}

/// Whether the push has met commands of a newer vault: of what was under way nothing was sent.
fn is_given_up(tenant: &Tenant) -> bool {
    tenant.renewal().is_some_and(|renewal| renewal.done == 0)
}

/// On standard error, and only if that is a terminal.
pub(crate) fn progress(users: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(users).unwrap_or(u64::MAX));
    match ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} users, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[derive(Default, Serialize)]
#[serde(tag = "result", rename = "shares_renewed")]
struct Renewed {
    /// An interrupted renewal went on.
    resumed: bool,
    /// Users that this run made commands for, or found commands of an earlier run for in the outbox.
    users: usize,
    /// Commands that the proxy confirmed in this run.
    confirmed: usize,
    refused: Vec<RefusalView>,
    /// Commands without receipt.
    unconfirmed: usize,
    /// Users that the renewal has not come to.
    left: usize,
    /// Users whose TKu the vault does not have.
    without_share: Vec<String>,
    /// Why a pair of several lacks commands, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lagging: BTreeMap<String, String>,
    #[serde(skip)]
    stuck: bool,
}

impl Renewed {
    /// Whether none of these is a refusal.
    fn add(&mut self, (receipts, is_stuck): (Receipts, bool)) -> bool {
        let accepted = receipts.refused.is_empty();
        self.confirmed += receipts.applied;
        self.stuck |= is_stuck;
        self.lagging = receipts.lagging;
        self.refused.extend(receipts.refused);
        accepted
    }

    /// A refusal that has taught the vault of a withdrawn user does not hold the others up.
    fn is_smooth(&self) -> bool {
        self.refused.iter().all(RefusalView::has_taught) && !self.stuck
    }
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} users got new shares of application and proxy; their own stay.", self.users)?;
        self.refused.iter().try_for_each(|refusal| refusal.fmt(f))?;
        if self.unconfirmed > 0 {
            writeln!(
                f,
                "{} commands are not confirmed: trefoil-admin push, or outbox write.",
                self.unconfirmed
            )?;
        }
        for (pair, reason) in &self.lagging {
            writeln!(f, "Pair {pair} lacks commands: {reason}")?;
        }
        if self.left > 0 {
            writeln!(f, "{} users are left: run trefoil-admin renew-shares again.", self.left)?;
        }
        for uid in &self.without_share {
            writeln!(f, "Not renewed, as its share is unknown to the vault: user rekey {uid}")?;
        }
        Ok(())
    }
}
