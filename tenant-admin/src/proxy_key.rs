//! `proxy-key rotate | announce`: the proxy's RSA pair rolls over.

use crate::answer::{self, Answer};
use crate::application;
use crate::commands::{CommandError, Session, now};
use crate::outbox::Receipts;
use crate::push::{self, AtOnce, Sending};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use trefoil_keys::command::MAX_OVERLAP;
use trefoil_keys::private_file::{self, FileError};

#[derive(Subcommand)]
pub(crate) enum ProxyKeyCommand {
    /// Tell the proxy to make a new pair; the old one stays good for a while.
    Rotate(Rotate),
    /// Sign which keys the proxy has, for the users' agents.
    Announce(Announce),
}

#[derive(Args)]
pub(crate) struct Rotate {
    /// How long the old pair stays good: 30d, 12h, 90m or 60s.
    #[arg(long, value_parser = parse_duration)]
    overlap: u64,
    #[command(flatten)]
    at_once: AtOnce,
}

#[derive(Args)]
pub(crate) struct Announce {
    /// The file for the announcement, which is public.
    #[arg(long, value_name = "FILE", required_unless_present = "push")]
    out: Option<PathBuf>,
    /// Show it to the application, from where agents fetch it.
    #[arg(long)]
    push: bool,
    #[command(flatten)]
    sending: Sending,
}

/// Why an announcement was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyKeyError {
    #[error("the announcement was not written, run the command again: {0}")]
    File(#[from] FileError),
}

/// `30d`, `12h`, `90m` or `60s` in seconds.
fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("a duration like 30d, 12h, 90m or 60s, of at most {} days", MAX_OVERLAP / 86_400);
    let unit = text.chars().last().ok_or_else(wrong)?;
    let length = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let count: Option<u64> = text.strip_suffix(unit).and_then(|digits| digits.parse().ok());
    let seconds = count.and_then(|count| count.checked_mul(length));
    seconds.filter(|seconds| *seconds <= MAX_OVERLAP).ok_or_else(wrong)
}

pub(crate) fn run(session: &Session, command: ProxyKeyCommand) -> Result<Answer, CommandError> {
    match command {
        ProxyKeyCommand::Rotate(arguments) => rotate(session, &arguments),
        ProxyKeyCommand::Announce(arguments) => announce(session, arguments),
    }
}

fn rotate(session: &Session, arguments: &Rotate) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let AtOnce { push, sending } = arguments.at_once;
    // Before anything changes.
    let peers = match push {
        true => Some(application::peers(opened.tenant()?, sending.password_fd)?),
        false => None,
    };
    let seq = opened.tenant()?.rotate_proxy_key(arguments.overlap, now()?)?;
    opened.store()?;
    trefoil_keys::kill_point("rotation.stored");
    let receipts = match peers {
        Some(peers) => push::push_to(&mut opened, &peers, sending.wait)?,
        None => Receipts::default(),
    };
    let tenant = opened.tenant()?;
    let confirmed = tenant.pending().all(|pending| pending.seq() != seq) && receipts.refused.is_empty();
    let envelope_key_id = tenant.envelope_key()?.kid().to_owned();
    let unconfirmed = push && !confirmed;
    Ok(Answer::new(&Rotated { seq, confirmed, envelope_key_id }).unconfirmed(unconfirmed))
}

fn announce(session: &Session, arguments: Announce) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let (announcement, jws) = opened.tenant()?.announce(now()?)?;
    // A serial that was used is never used again.
    opened.store()?;
    if let Some(out) = &arguments.out {
        private_file::write(out, format!("{jws}\n").as_bytes()).map_err(ProxyKeyError::File)?;
    }
    if arguments.push {
        push::announce(opened.tenant()?, arguments.sending, jws)?;
    }
    Ok(Answer::new(&Announced {
        serial: announcement.serial,
        envelope_key_ids: announcement.envelope_keys.iter().map(|key| key.kid().to_owned()).collect(),
        retires: announcement.retires.iter().map(|(kid, at)| (kid.clone(), answer::time(*at))).collect(),
        file: arguments.out,
    }))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "proxy_key_rotated")]
struct Rotated {
    seq: u64,
    confirmed: bool,
    envelope_key_id: String,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.confirmed {
            writeln!(f, "The proxy's key is now {}.", self.envelope_key_id)?;
            writeln!(f, "Next: trefoil-admin proxy-key announce --push, so that agents learn of it.")
        } else {
            writeln!(f, "Command {} is in the outbox: trefoil-admin push, or outbox write.", self.seq)
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "proxy_key_announced")]
struct Announced {
    serial: u64,
    envelope_key_ids: Vec<String>,
    /// RFC 3339, UTC.
    retires: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Announcement {} signed:", self.serial)?;
        for kid in &self.envelope_key_ids {
            match self.retires.get(kid) {
                None => writeln!(f, "  {kid}  current")?,
                Some(at) => writeln!(f, "  {kid}  until {at}")?,
            }
        }
        match &self.file {
            Some(file) => writeln!(f, "{} written; whoever reads it can verify it.", file.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        assert_eq!(parse_duration("90m"), Ok(5_400));
        assert_eq!(parse_duration("0s"), Ok(0));
        for wrong in ["", "30", "d", "-1d", "367d", "30 d", "30D", "99999999999999999999d", "é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
