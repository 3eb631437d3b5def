//! `audit`: whether the proxy's audit log is what the proxy has written. Needs neither proxy nor network.

use crate::answer::{self, Answer};
use crate::commands::{CommandError, Session};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use trefoil_keys::audit::{Break, Head, Kind, Late, Report, Verifier};
use trefoil_keys::signing::VerifyingKey;
use trefoil_keys::status::Status;

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify the files of a log: finds each record that was changed, removed, reordered or inserted. Exit
    /// code 4 if there is one.
    Verify(VerifyArguments),
    /// Print the key that verifies checkpoints, for verifying where the vault is not.
    Key,
}

#[derive(Args)]
pub(crate) struct VerifyArguments {
    /// The log's files, the oldest first: audit.log.0* audit.log
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The proxy's key for receipts (a JWK, as `audit key` prints it) instead of the vault's; several, if the
    /// proxy was made anew.
    #[arg(long, value_name = "FILE")]
    receipt_key: Vec<PathBuf>,
    /// What `status --json` printed at some time: the log must hold what the proxy said of it then.
    #[arg(long, value_name = "FILE")]
    status: Vec<PathBuf>,
    /// When the files were copied, if that was before now (RFC 3339, as in 2026-03-01T10:00:00Z): what the proxy
    /// had to sign until then must be signed.
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
}

/// Why a log cannot be verified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("{path}: {reason}")]
    Unreadable { path: String, reason: io::Error },
    #[error("{0} holds no key as `trefoil-admin audit key` prints it")]
    Key(String),
    #[error(
        "{0} holds no status with an audit log, as `trefoil-admin status --json` prints it of a proxy that keeps one"
    )]
    Status(String),
    #[error("{0}: this status is not signed by the proxy whose log is verified, or was altered")]
    StatusForged(String),
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> AuditError + '_ {
    |reason| AuditError::Unreadable { path: path.display().to_string(), reason }
}

pub(crate) fn run(session: &Session, command: &AuditCommand) -> Result<Answer, CommandError> {
    match command {
        AuditCommand::Verify(arguments) => verify(session, arguments),
        AuditCommand::Key => Ok(Answer::new(&Key { receipt_key: session.read()?.proxy.receipt_key })),
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Key {
    receipt_key: VerifyingKey,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.receipt_key.to_jwk())
    }
}

fn verify(session: &Session, arguments: &VerifyArguments) -> Result<Answer, CommandError> {
    let VerifyArguments { files, receipt_key, status, as_of } = arguments;
    let keys = match receipt_key.as_slice() {
        [] => vec![session.read()?.proxy.receipt_key],
        named => named.iter().map(|path| key(path)).collect::<Result<_, _>>()?,
    };
    let heads = status.iter().map(|path| head(path, &keys)).collect::<Result<_, _>>()?;
    let mut verifier = Verifier::new(&keys, heads);
    let open = |path: &PathBuf| File::open(path).map_err(unreadable(path));
    let mut read = |path: &PathBuf, file| {
        verifier.file(&path.display().to_string(), BufReader::new(file)).map_err(unreadable(path))
    };
    if let Some((written, full)) = files.split_last() {
        // While the others are read it may be full and get another name.
        let last = open(written)?;
        full.iter().try_for_each(|path| read(path, open(path)?))?;
        read(written, last)?;
    }
    let now = as_of.unwrap_or_else(Timestamp::now).as_second();
    let verified = Verified { report: verifier.finish(u64::try_from(now).unwrap_or_default()) };
    let broken = !verified.report.breaks.is_empty();
    Ok(Answer::new(&verified).broken(broken))
}

fn key(path: &Path) -> Result<VerifyingKey, AuditError> {
    let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
    VerifyingKey::from_jwk(text.trim()).map_err(|_| AuditError::Key(path.display().to_string()))
}

/// Of a status as it is printed, what the proxy has signed.
#[derive(Deserialize)]
struct Noted {
    jws: String,
}

fn head(path: &Path, keys: &[VerifyingKey]) -> Result<Head, AuditError> {
    let name = || path.display().to_string();
    let text = std::fs::read(path).map_err(unreadable(path))?;
    let noted: Noted = serde_json::from_slice(&text).map_err(|_| AuditError::Status(name()))?;
    let status = keys.iter().find_map(|key| key.verify::<Status>(&noted.jws).ok());
    status.ok_or_else(|| AuditError::StatusForged(name()))?.audit.ok_or_else(|| AuditError::Status(name()))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "audit")]
struct Verified {
    #[serde(flatten)]
    report: Report,
}

impl Verified {
    /// Whether files are missing before the last one, as they are where it was begun after the files were named.
    fn may_be_rotated(&self) -> bool {
        match self.report.files.as_slice() {
            [.., former, last] => {
                former.number.zip(last.number).is_some_and(|(former, last)| last.saturating_sub(former) > 1)
            }
            _ => false,
        }
    }
}

fn told(found: &Break) -> String {
    let Break { kind, file, line, record, found } = found;
    let other = found.unwrap_or_default();
    let place = format!("{file}, line {line}, where record {record} is due");
    match kind {
        Kind::Changed => format!("{place}: changed: the line is not what was written there"),
        Kind::Removed if other > record + 1 => {
            format!("{place}: removed: record {other} is there; {record} to {} are missing", other - 1)
        }
        Kind::Removed => format!("{place}: removed: record {other} is there; {record} is missing"),
        Kind::Reordered => format!("{place}: reordered: record {other} stands there"),
        Kind::Inserted => format!("{place}: inserted: record {other} stands there once more"),
        Kind::CutOff => format!("{place}: cut off: the line does not end, and another file follows"),
        Kind::CheckpointMismatch => {
            format!("{place}: changed: the signed checkpoint speaks of other records than those before it")
        }
        Kind::CheckpointForged => format!("{place}: forged: the checkpoint is not signed by the proxy"),
        Kind::NoBeginning => format!("{file}, line {line}: the file does not begin as a file of a log"),
        Kind::OtherLog => format!("{file}, line {line}: the file is another log's"),
        Kind::Unsigned => format!(
            "{file}: unsigned: no checkpoint of the proxy's is in the log; anybody may have written it"
        ),
        Kind::Overdue if *line > 0 => {
            format!("{place}: overdue: the proxy had to sign the records before it, by what it has promised")
        }
        Kind::Overdue => format!(
            "{file}: overdue: record {other} and those after it should be signed by now: the proxy was killed or could not write, or they were written anew and what came after was taken away"
        ),
        Kind::HeadMissing => format!(
            "{file}: cut off: record {other}, which the proxy has named in a status, is not in these files as it was"
        ),
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        let files = answer::count(report.files.len(), "file");
        writeln!(f, "Log {}: {files}, records {} to {}", report.log, report.first, report.last)?;
        match report.covered_at {
            Some(at) => {
                let at = answer::time(at);
                writeln!(
                    f,
                    "  signed up to  record {}, on {at}; {} checkpoints",
                    report.covered, report.checkpoints
                )?;
            }
            None => writeln!(f, "  signed up to  nothing: no checkpoint fits")?,
        }
        if report.uncovered > 0 {
            writeln!(
                f,
                "  not signed    {} records after that: whoever may write the file can have written them",
                report.uncovered
            )?;
        }
        for Late { first, last } in &report.late {
            writeln!(
                f,
                "  signed late   records {first} to {last}, when the proxy started again: it had not stopped by itself"
            )?;
        }
        if report.first > 1 {
            let number = report.files.first().and_then(|file| file.number).unwrap_or_default();
            writeln!(f, "  begins with   file {number}: what was before is not here")?;
        }
        if report.torn {
            writeln!(
                f,
                "  ends within   a line: the proxy was ended in the middle of a write, or writes just now"
            )?;
        }
        for found in &report.breaks {
            writeln!(f, "But: {}.", told(found))?;
        }
        if report.further_breaks > 0 {
            writeln!(f, "But: {} further places.", report.further_breaks)?;
        }
        if self.may_be_rotated() {
            writeln!(
                f,
                "If the proxy writes this log: it may have begun the last file just after the files were named. Verify again."
            )?;
        }
        if report.breaks.is_empty() {
            let upto = if report.uncovered > 0 { " up to there" } else { "" };
            writeln!(f, "Nothing was changed, removed, reordered or inserted{upto}.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trefoil_keys::audit::FileReport;

    #[test]
    fn a_log_that_may_have_been_rotated_while_its_files_were_named_is_to_be_verified_again() {
        let told = |numbers: &[u64]| {
            let file = |n: &u64| FileReport { file: n.to_string(), number: Some(*n), records: 1 };
            let report = Report { files: numbers.iter().map(file).collect(), ..Report::default() };
            Verified { report }.to_string().contains("Verify again")
        };
        assert!(told(&[1, 2, 4]) && told(&[4, 7]));
        assert!(!told(&[1, 2, 3]) && !told(&[2]) && !told(&[1, 3, 4]) && !told(&[3, 1]));
    }
}
