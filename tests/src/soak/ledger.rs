//! What one writer knows of its rows: which version of each was acknowledged, and which ones may have
//! been written beside, because nobody said what became of them.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Stands in every protected text.
pub(super) const MARKER: &str = "soaked";

/// Rows of one worker lie between its number and the next, times this.
const SPAN: u64 = 1_000_000_000;

/// One worker's rows.
pub(super) struct Ledger {
    worker: u64,
    rows: BTreeMap<u64, Row>,
    next: u64,
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) reconnected: u64,
}

/// One row.
#[derive(Default)]
struct Row {
    /// The last version that was acknowledged or read.
    known: Option<u64>,
    /// Versions whose fate is not known.
    possible: Vec<u64>,
    last: u64,
}

impl Ledger {
    pub(super) fn new(worker: u64) -> Self {
        Self { worker, rows: BTreeMap::new(), next: 0, written: 0, read: 0, reconnected: 0 }
    }

    /// The key of a new row.
    pub(super) fn create(&mut self) -> u64 {
        self.next += 1;
        let id = self.worker * SPAN + self.next;
        self.rows.insert(id, Row::default());
        id
    }

    /// One of the rows that are there for certain; `choice` says which.
    pub(super) fn certain(&self, choice: u64) -> Option<u64> {
        let last = self.next.max(1);
        let id = self.worker * SPAN + 1 + choice % last;
        self.rows.get(&id).filter(|row| row.known.is_some()).map(|_| id)
    }

    /// A new version of a row, about to be written.
    pub(super) fn begin(&mut self, id: u64) -> u64 {
        let row = self.rows.entry(id).or_default();
        row.last += 1;
        row.possible.push(row.last);
        row.last
    }

    /// That version is committed.
    pub(super) fn acknowledged(&mut self, id: u64, version: u64) {
        self.written += 1;
        self.settle(id, version);
    }

    /// That version was certainly not committed.
    pub(super) fn refused(&mut self, id: u64, version: u64) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.possible.retain(|possible| *possible != version);
        }
    }

    fn settle(&mut self, id: u64, version: u64) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.known = Some(version);
            row.possible.clear();
        }
    }

    /// Values of a row in a version: name, ssn, amount.
    pub(super) fn values(id: u64, version: u64) -> [String; 3] {
        [format!("{MARKER} name {id} {version}"), Self::ssn(id, version), (id * 1000 + version).to_string()]
    }

    /// The value that a row is found by.
    pub(super) fn ssn(id: u64, version: u64) -> String {
        format!("{MARKER} ssn {id} {version}")
    }

    /// The version by which a row can be found, if only one is possible.
    pub(super) fn version(&self, id: u64) -> Option<u64> {
        let row = self.rows.get(&id)?;
        row.known.filter(|_| row.possible.is_empty())
    }

    /// Holds a row that was read (id, name, ssn, amount) against what may be there.
    pub(super) fn seen(&mut self, asked: u64, columns: &[Option<String>]) -> Result<()> {
        let version = self.judge(columns)?;
        if columns.first() != Some(&Some(asked.to_string())) {
            return Err(Error::new(format!("worker {} asked for row {asked}, and got another", self.worker)));
        }
        self.read += 1;
        self.settle(asked, version);
        Ok(())
    }

    /// All rows of this worker.
    pub(super) fn question(&self) -> String {
        let from = self.worker * SPAN;
        format!("SELECT id, name, ssn, amount FROM ledger WHERE id > {from} AND id < {}", from + SPAN)
    }

    /// Holds all rows of this worker against what must and may be there.
    pub(super) fn check(&self, found: &[Vec<Option<String>>]) -> Result<()> {
        let mut missing: BTreeMap<u64, &Row> =
            self.rows.iter().filter(|(_, row)| row.known.is_some()).map(|(id, row)| (*id, row)).collect();
        for columns in found {
            self.judge(columns)?;
            let id = columns.first().and_then(|id| id.as_deref()?.parse().ok());
            missing.remove(&id.unwrap_or_default());
        }
        match missing.keys().next() {
            None => Ok(()),
            Some(id) => Err(Error::new(format!(
                "{} acknowledged rows of worker {} are missing, the first of them {id}",
                missing.len(),
                self.worker
            ))),
        }
    }

    /// Which version a row is, all of its columns of one and the same, and one that may be there.
    fn judge(&self, columns: &[Option<String>]) -> Result<u64> {
        let wrong = |what: &str| Error::new(format!("worker {}: {what}: {columns:?}", self.worker));
        let [Some(id), Some(name), Some(ssn), Some(amount)] = columns else {
            return Err(wrong("a row without all its columns"));
        };
        let id: u64 = id.parse().map_err(|_| wrong("not a key"))?;
        let row = self.rows.get(&id).ok_or_else(|| wrong("a row that is not this worker's"))?;
        let version: u64 =
            name.rsplit(' ').next().and_then(|version| version.parse().ok()).unwrap_or_default();
        if Self::values(id, version) != [name.clone(), ssn.clone(), amount.clone()] {
            return Err(wrong("columns of different versions"));
        }
        if row.known == Some(version) || row.possible.contains(&version) {
            return Ok(version);
        }
        Err(wrong(&format!("a version that cannot be there, when {:?} was acknowledged", row.known)))
    }
}
