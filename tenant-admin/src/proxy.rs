//! `proxy appoint | set`: another proxy in the place of one that is lost, and where the proxy is.

use crate::answer::{self, Answer};
use crate::application::ApplicationError;
use crate::commands::{CommandError, Session, now};
use crate::network::{NetworkError, Peer, parse_url};
use crate::push::{self, Sending};
use crate::tenant::{Taken, Tenant};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::Fingerprint;

#[derive(Subcommand)]
pub(crate) enum ProxyCommand {
    /// Sign what a new proxy begins with, in the place of one that is lost.
    Appoint {
        /// The file for the appointment, which holds nothing secret: give it to trefoil-proxy init.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Say where the proxy is, or that this is the one now which was appointed.
    Set(Set),
}

#[derive(Args)]
pub(crate) struct Set {
    /// The proxy's admin port.
    #[arg(long, value_parser = parse_url)]
    url: String,
    /// SHA-256 of the certificate there, as trefoil-proxy init has printed it.
    #[arg(long, value_name = "HEX")]
    fingerprint: Fingerprint,
    #[command(flatten)]
    sending: Sending,
}

/// What is wrong with a proxy or an appointment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the appointment was not written, run the command again: {0}")]
    File(#[from] FileError),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

pub(crate) fn run(session: &Session, command: ProxyCommand) -> Result<Answer, CommandError> {
    match command {
        ProxyCommand::Appoint { out } => appoint(session, out),
        ProxyCommand::Set(arguments) => set(session, arguments),
    }
}

fn appoint(session: &Session, out: PathBuf) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let (appointment, jws) = opened.tenant()?.appoint(now()?)?;
    opened.store()?;
    private_file::write(&out, format!("{jws}\n").as_bytes()).map_err(ProxyError::File)?;
    Ok(Answer::new(&Appointed {
        tenant_key: appointment.tenant_key.kid(),
        seq: appointment.seq,
        expires: answer::time(appointment.exp),
        file: out,
    }))
}

fn set(session: &Session, arguments: Set) -> Result<Answer, CommandError> {
    let Set { url, fingerprint, sending } = arguments;
    let mut opened = session.open()?;
    let peer = Peer::new(&url, fingerprint, None).map_err(ProxyError::from)?;
    let status = peer.first_status().map_err(ProxyError::from)?;
    let now = now()?;
    let tenant = opened.tenant()?;
    let taken = tenant.take_proxy(status, &url, fingerprint, now)?;
    let envelope_key_id = tenant.envelope_key()?.kid().to_owned();
    let mut outcome = ProxySet { url, fingerprint, envelope_key_id, replaced: None };
    if let Taken::Replaced { given_up } = taken {
        let (announcement, jws) = tenant.announce(now)?;
        let (serial, users) = (announcement.serial, tenant.left_to_renew());
        opened.store()?;
        let unannounced = show(opened.tenant()?, sending, jws).err().map(|error| error.to_string());
        outcome.replaced = Some(Replaced { given_up, users, announcement: serial, unannounced });
    } else {
        opened.store()?;
    }
    let unannounced = outcome.replaced.as_ref().is_some_and(|replaced| replaced.unannounced.is_some());
    Ok(Answer::new(&outcome).unconfirmed(unannounced))
}

/// Shows the announcement to the application, if the vault can do so by itself.
fn show(tenant: &Tenant, sending: Sending, jws: String) -> Result<(), CommandError> {
    let known = tenant.endpoint.as_ref().is_some_and(|endpoint| endpoint.password.is_some());
    if !known && sending.password_fd.is_none() {
        return Err(ApplicationError::Unknown.into());
    }
    push::announce(tenant, sending, jws)
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "proxy_appointed")]
struct Appointed {
    file: PathBuf,
    /// Thumbprint of the key that signed it.
    tenant_key: String,
    seq: u64,
    /// RFC 3339, UTC.
    expires: String,
}

impl fmt::Display for Appointed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} written, good until {}: carry it to the new proxy, and run there",
            self.file.display(),
            self.expires
        )?;
        writeln!(f, "  trefoil-proxy init … --appointment {}", self.file.display())?;
        writeln!(f, "It must arrive unaltered: its key is {}.", self.tenant_key)?;
        writeln!(f, "Next: trefoil-admin proxy set, with the fingerprint that init prints.")
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "proxy_set")]
struct ProxySet {
    url: String,
    fingerprint: Fingerprint,
    envelope_key_id: String,
    /// If it is another one than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<Replaced>,
}

#[derive(Serialize)]
struct Replaced {
    /// Unconfirmed commands to the former proxy, whose users come with the renewal.
    given_up: usize,
    /// Users that are to be renewed.
    users: usize,
    /// Serial of the announcement of the new key.
    announcement: u64,
    /// Why the application does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unannounced: Option<String>,
}

impl fmt::Display for ProxySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The proxy is at {}.", self.url)?;
        let Some(replaced) = &self.replaced else {
            return writeln!(f, "It is the one that was known; its key is {}.", self.envelope_key_id);
        };
        writeln!(f, "It takes the former one's place:")?;
        writeln!(f, "  envelope key  {}, announcement {}", self.envelope_key_id, replaced.announcement)?;
        writeln!(f, "  users         {} without shares", replaced.users)?;
        if replaced.given_up > 0 {
            writeln!(
                f,
                "  given up      {} unconfirmed commands, which the renewal replaces",
                replaced.given_up
            )?;
        }
        if let Some(reason) = &replaced.unannounced {
            writeln!(f, "The application does not know the key: {reason}")?;
            writeln!(f, "Then: trefoil-admin proxy-key announce.")?;
        }
        writeln!(
            f,
            "Next: trefoil-shim init --new-proxy at the application, then trefoil-admin renew-shares."
        )
    }
}
