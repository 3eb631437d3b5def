//! `deliver`: hands carried commands to the application's sidecar, and brings receipts back. It needs no
//! vault, and can verify nothing: the sidecar verifies the commands, the vault the receipts.

use crate::answer::Answer;
use crate::application::{ApplicationError, Login, identity};
use crate::commands::CommandError;
use crate::network::{Peer, parse_url};
use crate::push::{Delivered, EARLY, deliver_patiently};
use base64ct::{Base64UrlUnpadded, Encoding};
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::{self, BundleError};
use trefoil_keys::command::{Command, Delivery};
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::Fingerprint;

#[derive(Args)]
pub(crate) struct DeliverArguments {
    /// The files that trefoil-admin outbox write has written.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The sidecar's admin port.
    #[arg(long, value_parser = parse_url)]
    url: String,
    /// SHA-256 of the certificate there.
    #[arg(long, value_name = "HEX")]
    fingerprint: Fingerprint,
    /// The directory for the receipts; made if it is missing.
    #[arg(long, value_name = "DIR")]
    receipts: PathBuf,
    /// How long to wait for a proxy that does not answer the sidecar.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    wait: u64,
    #[command(flatten)]
    login: Login,
}

/// Why carried commands do not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    #[error(transparent)]
    Delivery(#[from] BundleError),
    #[error("{0} holds no command of trefoil-admin; carry it again")]
    NoCommand(PathBuf),
    #[error("the files are commands of different tenants ({0}, {1}); deliver them separately")]
    Tenants(String, String),
    #[error("cannot make the directory {path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("the receipt was not written; deliver the file again: {0}")]
    Receipt(#[from] FileError),
}

struct Carried {
    command: Command,
    delivery: Delivery,
}

pub(crate) fn run(arguments: &DeliverArguments) -> Result<Answer, CommandError> {
    let mut carried = arguments.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    carried.sort_by_key(|carried| carried.command.seq);
    let Some(first) = carried.first() else { return Ok(Answer::new(&Outcome::default())) };
    let tenant = first.command.tenant.clone();
    if let Some(other) = carried.iter().find(|carried| carried.command.tenant != tenant) {
        return Err(DeliverError::Tenants(tenant, other.command.tenant.clone()).into());
    }
    let dir = &arguments.receipts;
    fs::create_dir_all(dir).map_err(|source| DeliverError::Directory { path: dir.clone(), source })?;
    let certificate = arguments.login.certificate()?;
    let identity = certificate.as_ref().map(identity).transpose().map_err(ApplicationError::from)?;
    let password = arguments.login.password()?;
    let peer = Peer::new(&arguments.url, arguments.fingerprint, identity).map_err(ApplicationError::from)?;
    let peer = peer.with_login(&tenant, password);

    let mut outcome = Outcome::default();
    for Carried { command, delivery } in &carried {
        let seq = command.seq;
        match deliver_patiently(&peer, &command.op, delivery, seq, arguments.wait)? {
            Delivered::Receipt(jws) => {
                let path = dir.join(format!("receipt-{seq:08}.jws"));
                private_file::write(&path, format!("{jws}\n").as_bytes()).map_err(DeliverError::Receipt)?;
                outcome.receipts.push(path);
            }
            Delivered::InDoubt => outcome.in_doubt.push(seq),
            Delivered::Held(code) => outcome.held.push(Held { seq, code }),
        }
    }
    let unconfirmed = !outcome.in_doubt.is_empty() || !outcome.held.is_empty();
    Ok(Answer::new(&outcome).unconfirmed(unconfirmed))
}

/// A delivery, and what it says of itself.
fn read(path: &Path) -> Result<Carried, DeliverError> {
    let delivery: Delivery = bundle::read(path)?;
    let claims = delivery.command.split('.').nth(1).and_then(|part| Base64UrlUnpadded::decode_vec(part).ok());
    let command = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let command = command.ok_or_else(|| DeliverError::NoCommand(path.to_owned()))?;
    Ok(Carried { command, delivery })
}

#[derive(Default, Serialize)]
#[serde(tag = "result", rename = "delivered")]
struct Outcome {
    receipts: Vec<PathBuf>,
    /// Numbers of commands that the proxy has not answered yet.
    in_doubt: Vec<u64>,
    held: Vec<Held>,
}

#[derive(Serialize)]
struct Held {
    seq: u64,
    code: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for receipt in &self.receipts {
            writeln!(f, "{}", receipt.display())?;
        }
        for seq in &self.in_doubt {
            writeln!(
                f,
                "Command {seq} is at the sidecar; the proxy has not answered yet: deliver it again later."
            )?;
        }
        for Held { seq, code } in &self.held {
            if code == EARLY {
                writeln!(
                    f,
                    "Command {seq} is out of turn: deliver the commands before it first, then this one again."
                )?;
                continue;
            }
            writeln!(
                f,
                "Command {seq} is out of turn or out of time ({code}): fetch a new one from the tenant admin."
            )?;
        }
        if !self.receipts.is_empty() {
            writeln!(f, "Carry the receipts to the tenant admin: trefoil-admin receipt FILE…")?;
        }
        Ok(())
    }
}
