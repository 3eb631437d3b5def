//! `push`: sends the outbox to the application's sidecar, in order, and verifies the proxy's receipts.
//! Where there are several pairs of sidecar and proxy, the first that lacks nothing and answers decides,
//! and the others follow (`follow.rs`).
//!
//! What is sent was stored before. What was confirmed is stored every few hundred commands and at the
//! end, good or bad: a receipt that is lost in between comes again with the next push.

mod follow;

use crate::answer::Answer;
use crate::application::{self, ApplicationError, Peers};
use crate::commands::{CommandError, Opened, Session, now};
use crate::network::Peer;
use crate::outbox::Receipts;
use crate::tenant::{PerhapsApplied, Received, Tenant, WITHDRAWN};
use clap::Args;
use reqwest::StatusCode;
use std::thread;
use std::time::{Duration, Instant};
use trefoil_keys::command::{self, Delivery, Operation};
use trefoil_keys::kill_point;
use trefoil_keys::receipt::Receipt;
use trefoil_keys::signing::Claims;

/// The proxy keeps its last 1,000 receipts: no more than these may be lost.
pub(crate) const STORED_EVERY: usize = 500;
/// Receipts that the proxy keeps.
const KEPT: u64 = 1000;
/// What the sidecar says if it lacks a command before this one.
pub(crate) const EARLY: &str = "early";
/// How often a command in doubt is asked for.
const POLL: Duration = Duration::from_secs(1);
/// How often one command is sent in new forms.
const FORMS: usize = 4;

#[derive(Args)]
pub(crate) struct PushArguments {
    #[command(flatten)]
    sending: Sending,
}

/// How commands are sent.
#[derive(Args, Clone, Copy)]
pub(crate) struct Sending {
    /// Read the password of the application's sidecar from this file descriptor.
    #[arg(long, value_name = "N")]
    pub(crate) password_fd: Option<u32>,
    /// How long to wait for a proxy that does not answer the sidecar.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) wait: u64,
}

/// For commands that can push at once.
#[derive(Args, Clone, Copy)]
pub(crate) struct AtOnce {
    /// Push the outbox at once.
    #[arg(long)]
    pub(crate) push: bool,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

/// Why a push stopped before the end of the outbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error("{source} ({confirmed} commands were confirmed before)")]
    Stopped { confirmed: usize, source: Box<CommandError> },
    #[error(
        "the proxy holds command {seq} for {code} however it is signed: compare the clocks of this machine, the application's and the proxy's, and the keys with: trefoil-admin status"
    )]
    Stuck { seq: u64, code: String },
    #[error(
        "the proxy has applied {applied} commands, but this vault has receipts up to {ours}: it was set back to an older state; restore its newest backup, or have it made anew: trefoil-admin proxy appoint"
    )]
    ProxyBehind { applied: u64, ours: u64 },
    #[error(
        "the application's sidecar has not got every command before {seq}, but the proxy has applied them: give it the missing ones (trefoil-admin deliver FILE); if nobody has them any more, run trefoil-shim init --new-proxy there, push, and then renew-shares"
    )]
    Early { seq: u64 },
    #[error(
        "the proxy may have applied command {seq} already, and there is no receipt that says so or not ({code}); nothing was numbered anew or undone: push again when application and proxy answer. The proxy keeps its last 1,000 receipts; for an older one, restore the newest backup of this vault"
    )]
    Undecided { seq: u64, code: String },
    #[error(
        "pair {pair} does not take command {seq}, which others have applied ({code}): it is no copy of them. trefoil-admin status shows who has applied how many: stop sidecar and proxy of the pair with the lower number, put the state directories of the one with the higher in place of theirs, start them, and push again. Never the other way round, which would let withdrawn users back in: if {pair} is ahead, trefoil-admin application remove the others first, push, and make them anew then"
    )]
    NoCopy { pair: String, seq: u64, code: String },
    #[error("the application answers command {seq} with the receipt of another one; ask its operator")]
    OtherReceipt { seq: u64 },
    #[error("command {0} is too large to be sent")]
    Unsendable(u64),
}

pub(crate) fn run(session: &Session, arguments: &PushArguments) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let receipts = push(&mut opened, arguments.sending)?;
    Ok(receipts.answer())
}

/// Sends all that is in the outbox, and stores what came back.
pub(crate) fn push(opened: &mut Opened<'_>, sending: Sending) -> Result<Receipts, CommandError> {
    let tenant = opened.tenant()?;
    if tenant.first_pending().is_none() && tenant.partly_applied().next().is_none() {
        return Ok(Receipts::default());
    }
    let peers = application::peers(opened.tenant()?, sending.password_fd)?;
    push_to(opened, &peers, sending.wait)
}

/// The same, to sidecars that are known.
pub(crate) fn push_to(opened: &mut Opened<'_>, peers: &Peers, wait: u64) -> Result<Receipts, CommandError> {
    let mut receipts = Receipts::default();
    let result = send_all(opened, peers, wait, &mut receipts);
    opened.store()?;
    kill_point("push.stored");
    match result {
        Ok(()) => Ok(receipts),
        Err(source) if receipts.applied == 0 => Err(source),
        Err(source) => {
            let confirmed = receipts.applied;
            Err(PushError::Stopped { confirmed, source: Box::new(source) }.into())
        }
    }
}

/// Sends all that is in the outbox. The last receipts are left to the caller to store: were they lost, they
/// would come again.
pub(crate) fn send_all(
    opened: &mut Opened<'_>,
    peers: &Peers,
    wait: u64,
    receipts: &mut Receipts,
) -> Result<(), CommandError> {
    if opened.tenant()?.sign_expired(now()?)? > 0 {
        opened.store()?;
    }
    let is_whole = opened.tenant()?.partly_applied().next().is_none();
    let result = match peers.as_slice() {
        [(name, peer)] if is_whole => decide(opened, (name, peer), wait, receipts),
        _ => follow::send_to_pairs(opened, peers, wait, receipts),
    };
    let tenant = opened.tenant()?;
    receipts.left = tenant.pending().count().saturating_add(tenant.partly_applied().count());
    result
}

/// Has one pair decide about all that is in the outbox, as far as it answers.
fn decide(
    opened: &mut Opened<'_>,
    (pair, peer): (&str, &Peer),
    wait: u64,
    receipts: &mut Receipts,
) -> Result<(), CommandError> {
    let mut unsaved = 0;
    while let Some(received) = push_first(opened, (pair, peer), wait)? {
        unsaved += 1;
        // After a refusal the others have new numbers, with which none may leave before it is stored.
        if unsaved == STORED_EVERY || matches!(received, Received::Refused(_)) {
            unsaved = 0;
            opened.store()?;
        }
        receipts.add(received);
    }
    Ok(())
}

/// What the sidecar makes of a delivery.
pub(crate) enum Delivered {
    /// The proxy's receipt, not verified yet.
    Receipt(String),
    /// The proxy has not answered the sidecar.
    InDoubt,
    /// Held for its time or number.
    Held(String),
}

/// Sends the first command until it is decided. None if there is none, or if it stays in doubt.
fn push_first(
    opened: &mut Opened<'_>,
    (pair, peer): (&str, &Peer),
    wait: u64,
) -> Result<Option<Received>, CommandError> {
    let mut last_code = String::new();
    for _ in 0..FORMS {
        let Some(first) = opened.tenant()?.first_pending() else { return Ok(None) };
        let (seq, delivery, operation) = (first.seq(), first.delivery(), first.operation());
        let code = match deliver_patiently(peer, &operation, &delivery, seq, wait)? {
            Delivered::InDoubt => return Ok(None),
            Delivered::Held(code) => code,
            Delivered::Receipt(jws) => {
                kill_point("push.answered");
                match opened.tenant()?.receive_from(pair, &jws, now()?)? {
                    Received::NotYet { code, .. } => code,
                    Received::KnownBefore { seq } => return Err(PushError::OtherReceipt { seq }.into()),
                    received => return Ok(Some(received)),
                }
            }
        };
        match code.as_str() {
            "seq" | "user" | "exists" | WITHDRAWN => match find_number(opened, (pair, peer), wait)? {
                Found::Decided(received) => return Ok(Some(received)),
                Found::InDoubt => return Ok(None),
                Found::Numbers => {}
            },
            EARLY => return Err(early(opened, peer, seq)?.into()),
            _ => drop(opened.tenant()?.sign_first(now()?)?),
        }
        opened.store()?;
        last_code = code;
    }
    let seq = opened.tenant()?.first_pending().map_or(0, |first| first.seq());
    Err(PushError::Stuck { seq, code: last_code }.into())
}

/// What the proxy's status leads to.
enum Found {
    /// A command was decided before; what its receipt meant.
    Decided(Received),
    /// The proxy has not answered the sidecar.
    InDoubt,
    /// Nothing that is unconfirmed was applied, and the commands follow upon the proxy's.
    Numbers,
}

/// The proxy's next number is another than the first command's, or it refuses that command for what was
/// perhaps its own doing: either an earlier form of a command was applied, or the vault is older than the
/// proxy. The proxy's signed status and receipts tell; no command gets another number before.
fn find_number(
    opened: &mut Opened<'_>,
    (pair, peer): (&str, &Peer),
    wait: u64,
) -> Result<Found, CommandError> {
    let tenant = opened.tenant()?;
    let status = peer.status(&tenant.proxy.receipt_key).map_err(ApplicationError::from)?;
    if let Some(last) = status.last_command_sha256 {
        tenant.pass_over(status.seq, |hash| hash != last);
    }
    for PerhapsApplied { seq, operation, delivery } in tenant.perhaps_applied(status.seq) {
        let jws = match deliver_patiently(peer, &operation, &delivery, seq, wait)? {
            Delivered::Receipt(jws) => jws,
            Delivered::InDoubt => return Ok(Found::InDoubt),
            Delivered::Held(code) if code == EARLY => return Err(PushError::Early { seq }.into()),
            Delivered::Held(code) => return Err(PushError::Undecided { seq, code }.into()),
        };
        match tenant.receive_from(pair, &jws, now()?)? {
            Received::NotYet { code, .. } if code == "seq" && status.seq.saturating_sub(seq) < KEPT => {
                let refused = command::hash(&delivery.command);
                tenant.pass_over(seq, |hash| hash == refused);
            }
            Received::NotYet { code, .. } => return Err(PushError::Undecided { seq, code }.into()),
            received => return Ok(Found::Decided(received)),
        }
    }
    let Some(seq) = tenant.first_pending().map(|first| first.seq()) else { return Ok(Found::Numbers) };
    if status.seq.saturating_add(1) < seq {
        return Err(PushError::ProxyBehind { applied: status.seq, ours: seq.saturating_sub(1) }.into());
    }
    match status.seq >= seq {
        true => {
            let undone = tenant.take_numbers_over(status.seq, now()?)?;
            Ok(undone.map_or(Found::Numbers, |undone| Found::Decided(Received::Refused(undone))))
        }
        false => {
            tenant.renumber(seq, now()?)?;
            Ok(Found::Numbers)
        }
    }
}

/// The sidecar lacks a command before this one: one that the proxy has applied, unless the proxy lacks it
/// as well.
fn early(opened: &mut Opened<'_>, peer: &Peer, seq: u64) -> Result<PushError, CommandError> {
    let status = peer.status(&opened.tenant()?.proxy.receipt_key).map_err(ApplicationError::from)?;
    Ok(if status.seq.saturating_add(1) < seq {
        PushError::ProxyBehind { applied: status.seq, ours: seq.saturating_sub(1) }
    } else {
        PushError::Early { seq }
    })
}

/// Sends a delivery, and asks again for `wait` seconds while it is in doubt.
pub(crate) fn deliver_patiently(
    peer: &Peer,
    operation: &Operation,
    delivery: &Delivery,
    seq: u64,
    wait: u64,
) -> Result<Delivered, CommandError> {
    let start = Instant::now();
    loop {
        let delivered = deliver(peer, operation, delivery, seq)?;
        let over = start.elapsed() >= Duration::from_secs(wait);
        if over || !matches!(delivered, Delivered::InDoubt) {
            return Ok(delivered);
        }
        thread::sleep(POLL);
    }
}

fn deliver(
    peer: &Peer,
    operation: &Operation,
    delivery: &Delivery,
    seq: u64,
) -> Result<Delivered, CommandError> {
    let json = delivery.to_json().map_err(|_| PushError::Unsendable(seq))?;
    match peer.post(route(operation), json) {
        Ok(answer) if answer.status == StatusCode::ACCEPTED => Ok(Delivered::InDoubt),
        Ok(answer) => {
            let receipt =
                peer.text(&answer, "receipt", Receipt::MAX_LENGTH).map_err(ApplicationError::from)?;
            Ok(Delivered::Receipt(receipt.to_owned()))
        }
        Err(error) => match error.code() {
            Some("in-doubt" | "busy") => Ok(Delivered::InDoubt),
            Some(code @ ("seq" | EARLY | "expired" | "future")) => Ok(Delivered::Held(code.to_owned())),
            _ => Err(ApplicationError::from(error).into()),
        },
    }
}

fn route(operation: &Operation) -> &'static str {
    match operation {
        Operation::Add { .. } => "/v1/AddUser",
        Operation::AddBatch => "/v1/AddUsers",
        Operation::Change { .. } => "/v1/ChangeKey",
        Operation::Withdraw { .. } => "/v1/WithdrawUser",
        Operation::Renew => "/v1/RenewShares",
        Operation::AddKeyspace { .. } => "/v1/AddKeyspace",
        Operation::RotateKey { .. } => "/v1/RotateKey",
    }
}

/// Shows the newest announcement to the application, from where agents fetch it.
pub(crate) fn announce(tenant: &Tenant, sending: Sending, jws: String) -> Result<(), CommandError> {
    for (_, peer) in application::peers(tenant, sending.password_fd)? {
        peer.put("/v1/announcement", jws.clone()).map_err(ApplicationError::from)?;
    }
    Ok(())
}
