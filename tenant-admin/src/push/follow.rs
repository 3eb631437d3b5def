//! Several pairs of sidecar and proxy: one decides, the others follow.
//!
//! Whoever lacks a command that another pair has applied decides about none: it first gets what it lacks,
//! in order. A pair that cannot be reached holds nobody up; what it lacks stays in the vault, and shows.

use super::{Delivered, PushError, decide, deliver_patiently};
use crate::application::{ApplicationError, Peers};
use crate::commands::{CommandError, Opened, now};
use crate::network::{NetworkError, Peer};
use crate::outbox::Receipts;
use crate::tenant::Followed;

/// Why a pair lacks something although nothing has failed.
const IN_DOUBT: &str = "its proxy does not answer its sidecar";

/// Sends to each pair what it lacks, and has the first that lacks nothing decide about the outbox.
pub(super) fn send_to_pairs(
    opened: &mut Opened<'_>,
    peers: &Peers,
    wait: u64,
    receipts: &mut Receipts,
) -> Result<(), CommandError> {
    // Nobody is asked twice who gave no answer.
    let mut silent: Vec<(&str, Option<CommandError>)> = Vec::new();
    for (pair, peer) in peers {
        if let Some(why) = gap(follow(opened, (pair, peer), wait, receipts))? {
            silent.push((pair, why));
        }
    }
    opened.store()?;
    for (pair, peer) in peers {
        let is_able = !silent.iter().any(|(other, _)| other == pair);
        if is_able && opened.tenant()?.first_pending().is_some() {
            let decided = decide(opened, (pair, peer), wait, receipts);
            let decided = decided.and_then(|()| Ok(opened.tenant()?.first_pending().is_none()));
            if let Some(why) = gap(decided)? {
                silent.push((pair, why));
            }
        }
    }
    for (pair, peer) in peers {
        if !silent.iter().any(|(other, _)| other == pair)
            && let Some(why) = gap(follow(opened, (pair, peer), wait, receipts))?
        {
            silent.push((pair, why));
        }
    }
    let is_decided = opened.tenant()?.first_pending().is_none();
    for (pair, why) in silent {
        match why {
            Some(error) if !is_decided => return Err(error),
            Some(error) => receipts.lag(pair, reason(&error)),
            None => receipts.lag(pair, IN_DOUBT.to_owned()),
        }
    }
    Ok(())
}

/// Of a pair that was not reached, without the remedies for whoever has no other.
fn reason(error: &CommandError) -> String {
    match error {
        CommandError::Application(ApplicationError::Network(NetworkError::Client(error))) => {
            error.to_string()
        }
        other => other.to_string(),
    }
}

/// Why a pair did not come to the end, if it did not: an error of its own, or no answer of its proxy.
fn gap(outcome: Result<bool, CommandError>) -> Result<Option<Option<CommandError>>, CommandError> {
    match outcome {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(None)),
        Err(error @ (CommandError::Application(_) | CommandError::Push(_) | CommandError::Tenant(_))) => {
            Ok(Some(Some(error)))
        }
        Err(error) => Err(error),
    }
}

/// Sends a pair what it lacks; whether it answered to the end.
fn follow(
    opened: &mut Opened<'_>,
    (pair, peer): (&str, &Peer),
    wait: u64,
    receipts: &mut Receipts,
) -> Result<bool, CommandError> {
    loop {
        let tenant = opened.tenant()?;
        let Some((seq, pending)) = tenant.lacked_by(pair).next() else { return Ok(true) };
        let operation = pending.operation();
        let mut last = String::new();
        let mut is_taken = false;
        for delivery in tenant.forms_of(seq) {
            match deliver_patiently(peer, &operation, &delivery, seq, wait)? {
                // It stays with those that the pair lacks.
                Delivered::InDoubt => return Ok(false),
                Delivered::Held(code) => last = code,
                Delivered::Receipt(jws) => match tenant.follow(pair, (seq, &delivery), &jws, now()?)? {
                    Followed::Applied => is_taken = true,
                    Followed::Refused { code } => last = code,
                },
            }
            if is_taken {
                break;
            }
        }
        if !is_taken {
            return Err(PushError::NoCopy { pair: pair.to_owned(), seq, code: last }.into());
        }
        receipts.followed += 1;
    }
}
