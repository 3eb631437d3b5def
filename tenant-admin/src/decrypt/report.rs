//! What was done, and what was left as it is.

use super::error::{Place, Problem};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use trefoil_columns::policy::QualifiedName;

/// As many values that did not open are listed; the rest is counted.
const MAX_LISTED: usize = 1000;

/// The account of a run.
#[derive(Default, Serialize)]
pub(super) struct Report {
    /// By name: tables with cells.
    pub(super) tables: BTreeMap<String, Counts>,
    /// Rows of other tables.
    pub(super) plain_rows: u64,
    /// Constants in definitions that were decrypted.
    pub(super) constants: u64,
    /// Cells that did not open and are left as they are.
    pub(super) failed: u64,
    /// Where those stand, up to a thousand.
    pub(super) failures: Vec<String>,
    /// The line at which a dump ended too early.
    pub(super) cut_off: Option<u64>,
    /// What else needs a look.
    pub(super) notes: Vec<String>,
}

/// What was done in one table.
#[derive(Default, Serialize)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) values: u64,
}

impl Report {
    /// Writes it to standard error.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut err = io::stderr().lock();
        if json {
            serde_json::to_writer(&mut err, self)?;
            writeln!(err)
        } else {
            write!(err, "{self}")
        }
    }

    /// The counts of a table with cells.
    pub(super) fn table(&mut self, table: &QualifiedName) -> &mut Counts {
        self.tables.entry(table.to_string()).or_default()
    }

    /// A cell that did not open is left as it is.
    pub(super) fn fail(&mut self, line: u64, place: &Place, problem: &Problem) {
        self.failed += 1;
        if self.failures.len() < MAX_LISTED {
            self.failures.push(format!("line {line}: {place}: {problem}"));
        }
    }

    /// Something needs a look.
    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < MAX_LISTED && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, counts) in &self.tables {
            writeln!(f, "{table}: {} rows, {} values decrypted", counts.rows, counts.values)?;
        }
        let values: u64 = self.tables.values().map(|counts| counts.values).sum();
        writeln!(
            f,
            "{values} values and {} constants decrypted; {} rows of other tables passed as they are",
            self.constants, self.plain_rows
        )?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for failure in &self.failures {
            writeln!(f, "left as it is: {failure}")?;
        }
        let more = self.failed.saturating_sub(u64::try_from(self.failures.len()).unwrap_or_default());
        if more > 0 {
            writeln!(f, "left as they are: {more} more")?;
        }
        Ok(())
    }
}
