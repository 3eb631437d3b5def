//! `escrow split | check | recover`: the keys on sheets of paper of which some are enough, for the day on
//! which vault or admin are lost.

use crate::answer::Answer;
use crate::commands::{CommandError, Session, now};
use crate::content::Stage;
use crate::tenant::Tenant;
use crate::tenant::history::Event;
use clap::Subcommand;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use trefoil_keys::escrow::{self, Date, EscrowError, Sheet, SheetError, Terms};
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::secret::TenantKey;

#[derive(Subcommand)]
pub(crate) enum EscrowCommand {
    /// Write sheets to print, so many of which together are the tenant's keys.
    Split {
        /// So many sheets are needed to recover.
        #[arg(long, value_name = "N", default_value_t = 3)]
        threshold: u8,
        /// So many sheets there are.
        #[arg(long, value_name = "N", default_value_t = 5)]
        shares: u8,
        /// The directory for the sheets; it is made if it is missing.
        #[arg(long, value_name = "DIR")]
        out_dir: PathBuf,
    },
    /// See that one sheet is readable and intact; needs no vault.
    Check {
        /// The sheet, as it was written, scanned or typed.
        file: PathBuf,
    },
    /// Make a new vault from enough sheets.
    Recover {
        /// The sheets.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Why sheets are not made or not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SheetsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot make the directory {path}: {source}")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{0} is not text; a sheet is numbered lines of letters and digits")]
    NotText(PathBuf),
    #[error("{path}: {source}")]
    Sheet { path: PathBuf, source: SheetError },
    #[error(transparent)]
    Set(#[from] EscrowError),
    #[error("the system's clock is out of the calendar; set it")]
    Clock,
}

pub(crate) fn run(session: &Session, command: EscrowCommand) -> Result<Answer, CommandError> {
    match command {
        EscrowCommand::Split { threshold, shares, out_dir } => split(session, threshold, shares, &out_dir),
        EscrowCommand::Check { file } => Ok(check(file)?),
        EscrowCommand::Recover { files } => recover(session, &files),
    }
}

/// The tenant keys alone, from sheets, with their epochs.
pub(crate) fn keys(files: &[PathBuf]) -> Result<BTreeMap<String, (u8, TenantKey)>, SheetsError> {
    let payload = escrow::recover(&read_all(files)?)?;
    // The newest epoch of a keyspace comes last.
    Ok(payload.keys.into_iter().map(|((keyspace, epoch), key)| (keyspace, (epoch, key))).collect())
}

fn split(session: &Session, threshold: u8, sheets: u8, directory: &Path) -> Result<Answer, CommandError> {
    let mut opened = session.open()?;
    let now = now()?;
    let tenant = opened.tenant()?;
    let terms = Terms { threshold, sheets, date: date(now)? };
    let set = escrow::split(&tenant.escrow()?, terms).map_err(SheetsError::from)?;
    let set_id = set.first().map(|sheet| sheet.set().to_string()).unwrap_or_default();
    tenant.record(now, Event::EscrowSplit { set: set_id.clone(), threshold, sheets });
    fs::create_dir_all(directory)
        .map_err(|source| SheetsError::Directory { path: directory.to_owned(), source })?;
    opened.store()?;

    let mut files = Vec::with_capacity(set.len());
    for sheet in &set {
        let file = directory.join(format!("escrow-{set_id}-{}-of-{sheets}.txt", sheet.number()));
        private_file::create(&file, sheet.to_text().as_bytes()).map_err(SheetsError::from)?;
        files.push(file);
    }
    Ok(Answer::new(&Split { set: set_id, threshold, sheets, files }))
}

fn date(now: u64) -> Result<Date, SheetsError> {
    let time = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok());
    let date = time.ok_or(SheetsError::Clock)?.to_zoned(TimeZone::UTC).date();
    let number = |value: i8| u8::try_from(value).map_err(|_| SheetsError::Clock);
    let year = u16::try_from(date.year()).map_err(|_| SheetsError::Clock)?;
    Ok(Date { year, month: number(date.month())?, day: number(date.day())? })
}

fn check(file: PathBuf) -> Result<Answer, SheetsError> {
    let sheet = read(&file)?;
    let Terms { threshold, sheets, date } = sheet.terms();
    Ok(Answer::new(&Checked {
        file,
        tenant: sheet.tenant().map(str::to_owned),
        set: sheet.set().to_string(),
        made: date.to_string(),
        number: sheet.number(),
        threshold,
        sheets,
        last_line: sheet.last_line(),
    }))
}

fn recover(session: &Session, files: &[PathBuf]) -> Result<Answer, CommandError> {
    let sheets = read_all(files)?;
    let payload = escrow::recover(&sheets).map_err(SheetsError::from)?;
    let set = sheets.first().map(|sheet| sheet.set().to_string()).unwrap_or_default();
    let tenant = Tenant::recover(payload, set.clone(), now()?);
    let answer = Answer::new(&Recovered {
        tenant: tenant.name.clone(),
        application: tenant.application.clone(),
        keyspaces: tenant.epochs(),
        set,
        vault: session.vault.path().to_owned(),
    });
    session.create(Stage::Ready(tenant))?;
    Ok(answer)
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Sheet>, SheetsError> {
    files.iter().map(|file| read(file)).collect()
}

fn read(path: &Path) -> Result<Sheet, SheetsError> {
    let bytes = private_file::read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SheetsError::NotText(path.to_owned()))?;
    Sheet::parse(text).map_err(|source| SheetsError::Sheet { path: path.to_owned(), source })
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "escrow_split")]
struct Split {
    set: String,
    threshold: u8,
    sheets: u8,
    files: Vec<PathBuf>,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, threshold, sheets, files } = self;
        writeln!(f, "Set {set}: any {threshold} of {sheets} sheets are the tenant's keys.")?;
        for file in files {
            writeln!(f, "  {}", file.display())?;
        }
        writeln!(f, "Print each, check the print, give each to another keeper, and destroy the files.")?;
        writeln!(f, "Earlier sets stay good: collect and destroy their sheets if this one replaces them.")
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "escrow_checked")]
struct Checked {
    file: PathBuf,
    /// Missing in a file with lines 1 and 2 alone.
    tenant: Option<String>,
    set: String,
    made: String,
    number: u8,
    threshold: u8,
    sheets: u8,
    last_line: u8,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, tenant, set, made, number, threshold, sheets, last_line } = self;
        writeln!(f, "{} is intact: sheet {number} of {sheets}, set {set}, made on {made}.", file.display())?;
        match tenant {
            Some(tenant) => writeln!(f, "  tenant  {tenant}")?,
            None => writeln!(
                f,
                "It has lines 1 and 2 alone: lines 3 to {last_line} must come from another sheet of the set."
            )?,
        }
        writeln!(f, "{threshold} different sheets of this set are needed: escrow recover FILE…")
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "escrow_recovered")]
struct Recovered {
    tenant: String,
    application: String,
    keyspaces: BTreeMap<String, u8>,
    set: String,
    vault: PathBuf,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyspaces = crate::answer::Keyspaces { of: &self.keyspaces, by_role: None };
        writeln!(f, "The keys of tenant {} are recovered from set {}.", self.tenant, self.set)?;
        writeln!(f, "  application  {}", self.application)?;
        writeln!(f, "  keyspaces    {keyspaces}")?;
        writeln!(f, "  vault        {}", self.vault.display())?;
        writeln!(f, "Data can be decrypted now. What only the old vault had, users' shares and history, is")?;
        writeln!(f, "gone; to go on:")?;
        writeln!(f, "  application set --url … --fingerprint …   where commands go")?;
        writeln!(f, "  user sync                                 the users and the proxy's keys")?;
        writeln!(f, "  status                                    compare with the proxy")?;
        writeln!(f, "  user rekey UID --push, user export UID    a new share for each user")?;
        writeln!(f, "  escrow split                              a new set; destroy the old sheets")
    }
}
