//! `handover prepare | accept`: the bootstrap by files, for a proxy that cannot be reached.

use crate::answer::Answer;
use crate::bootstrap::Bootstrapped;
use crate::commands::{CommandError, Session, now};
use crate::content::{Awaiting, Stage};
use crate::tenant::history::Event;
use crate::tenant::{Tenant, parse_name};
use clap::Subcommand;
use serde::Serialize;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::PrivateKeyPem;
use trefoil_keys::envelope::{EnvelopeError, EnvelopePrivateKey, Sealed};
use trefoil_keys::handover::Handover;
use trefoil_keys::kill_point;

#[derive(Subcommand)]
pub(crate) enum HandoverCommand {
    /// Make a vault that waits for the hand-over, and write the public key to which it is to be sealed.
    Prepare {
        /// The file for the public key (JWK): give it to trefoil-proxy init --seal-to.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take the hand-over that trefoil-proxy init has written.
    Accept {
        /// The file.
        file: PathBuf,
    },
}

/// Why a hand-over does not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    #[error("cannot make the key for the hand-over: {0}")]
    Key(EnvelopeError),
    #[error("cannot write {path}: {source}; choose another --out, or move it away")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{0} is not a hand-over sealed to this vault's key, or was altered; have the proxy made anew (trefoil-proxy init --anew) with what handover prepare has written"
    )]
    Rejected(PathBuf),
    #[error("the vault does not wait for a hand-over: its tenant is {0} already")]
    Done(String),
    #[error(
        "the vault is in the middle of a bootstrap over the network; finish it with: trefoil-admin bootstrap"
    )]
    Bootstrapping,
}

pub(crate) fn run(session: &Session, command: HandoverCommand) -> Result<Answer, CommandError> {
    match command {
        HandoverCommand::Prepare { out } => prepare(session, out),
        HandoverCommand::Accept { file } => accept(session, &file),
    }
}

/// Prepared twice, it is the same key: the first file may be lost, or on its way.
fn prepare(session: &Session, out: PathBuf) -> Result<Answer, CommandError> {
    let key = if session.vault.path().exists() {
        let opened = session.open()?;
        let awaiting = awaiting(&opened.content.stage)?;
        EnvelopePrivateKey::from_pkcs8_pem(awaiting.key.as_str()).map_err(HandoverError::Key)?
    } else {
        let key = EnvelopePrivateKey::generate().map_err(HandoverError::Key)?;
        let pem = PrivateKeyPem::new(key.to_pkcs8_pem().map_err(HandoverError::Key)?);
        session.create(Stage::Awaiting(Awaiting { key: pem }))?;
        kill_point("handover.prepared");
        key
    };
    let jwk = key.public_key().to_jwk();
    write_new(&out, &jwk).map_err(|source| HandoverError::Write { path: out.clone(), source })?;
    Ok(Answer::new(&Prepared { file: out, key_id: key.public_key().kid().to_owned() }))
}

/// The key is public, but it replaces no file of another kind.
fn write_new(path: &Path, jwk: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there.trim() == jwk) {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    writeln!(file, "{jwk}")?;
    file.sync_all()
}

fn accept(session: &Session, path: &Path) -> Result<Answer, CommandError> {
    let rejected = || HandoverError::Rejected(path.to_owned());
    let mut opened = session.open()?;
    let awaiting = awaiting(&opened.content.stage)?;
    let key = EnvelopePrivateKey::from_pkcs8_pem(awaiting.key.as_str()).map_err(HandoverError::Key)?;
    let text =
        fs::read_to_string(path).map_err(|source| HandoverError::Read { path: path.to_owned(), source })?;
    if text.len() > 2 * Handover::MAX_LENGTH {
        return Err(rejected().into());
    }
    let handover: Handover = key.open(text.trim()).map_err(|_| rejected())?;
    if [&handover.tenant, &handover.application].into_iter().any(|name| parse_name(name).is_err()) {
        return Err(rejected().into());
    }
    let mut tenant = Tenant::from_handover(handover);
    tenant.record(now()?, Event::HandoverAccepted);
    let answer = Answer::new(&Bootstrapped::of(&tenant, session.vault.path().to_owned()));
    opened.content.stage = Stage::Ready(tenant);
    opened.store()?;
    kill_point("handover.accepted");
    Ok(answer)
}

fn awaiting(stage: &Stage) -> Result<&Awaiting, HandoverError> {
    match stage {
        Stage::Awaiting(awaiting) => Ok(awaiting),
        Stage::Ready(tenant) => Err(HandoverError::Done(tenant.name.clone())),
        Stage::Claiming(_) | Stage::Claimed(..) => Err(HandoverError::Bootstrapping),
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "handover_prepared")]
struct Prepared {
    file: PathBuf,
    key_id: String,
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} written: carry it to the proxy, and run there", self.file.display())?;
        writeln!(f, "  trefoil-proxy init … --seal-to {} --out handover.jwe", self.file.display())?;
        writeln!(f, "It must arrive unaltered: its key is {}.", self.key_id)?;
        writeln!(f, "Next: trefoil-admin handover accept handover.jwe")
    }
}
