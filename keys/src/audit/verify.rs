//! Verification of a log, file by file in the order in which they were written: each record's hash and
//! number, the ties between files, the signatures of checkpoints and whether each came when it was promised.
//! In constant memory, but for breaks.

use super::{Chain, Checkpoint, Event, FileStart, Head, Line, Promise, Unsigned};
use crate::signing::VerifyingKey;
use serde::Serialize;
use std::io::{self, BufRead, Read};
use std::ops::RangeInclusive;

/// The longest line that is read, four times a record of [`MAX_BODY`](super::MAX_BODY).
const MAX_LINE: u64 = 4 << 20;
/// Breaks that are told; from there on they are counted.
const MAX_BREAKS: usize = 1000;
/// Seconds that the last checkpoint may be late at the end of a log, for writing, and for clocks that differ.
pub(super) const GRACE: u64 = 30;

/// How a log is broken at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The line is not what was written, or the hash that the record before names is not.
    Changed,
    /// The records before it are missing.
    Removed,
    /// The record stands elsewhere than where it was written.
    Reordered,
    /// The record stands here once more.
    Inserted,
    /// The file's last line does not end, and another file follows.
    CutOff,
    /// The checkpoint does not speak of the records before it: these were written anew.
    CheckpointMismatch,
    /// The checkpoint is not signed by the proxy.
    CheckpointForged,
    /// The file does not begin as a file of a log does.
    NoBeginning,
    /// The file is another log's.
    OtherLog,
    /// No checkpoint of the proxy's is in the log: anybody may have written it.
    Unsigned,
    /// A checkpoint is missing where the proxy has promised one: the records since the one before may have been
    /// written anew, and those after them taken away.
    Overdue,
    /// A head that was noted elsewhere is not in the log: its end was cut off, or it was written anew.
    HeadMissing,
}

/// One place where a log is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// What is wrong.
    pub kind: Kind,
    /// Of which file.
    pub file: String,
    /// Which line, from 1.
    pub line: u64,
    /// The number of the record that was due there.
    pub record: u64,
    /// The number of the record that is there, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its name.
    pub file: String,
    /// Its number in the log, from 1; none if it does not say.
    pub number: Option<u64>,
    /// Lines that are records.
    pub records: u64,
}

/// Records that the proxy has signed when it started again, as it found them; with the `recovered` of that start,
/// which anybody may have written as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Late {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log's id.
    pub log: String,
    /// The files.
    pub files: Vec<FileReport>,
    /// Number of the first record; more than 1 where files were taken away before, as `keep` does it.
    pub first: u64,
    /// Number of the last record.
    pub last: u64,
    /// Checkpoints that are signed and fit.
    pub checkpoints: u64,
    /// Number of the last record that a checkpoint covers; 0 if none does.
    pub covered: u64,
    /// When that checkpoint was signed, in seconds since 1970.
    pub covered_at: Option<u64>,
    /// Records after the last checkpoint: no signature covers them.
    pub uncovered: u64,
    /// What was written and not signed when the proxy ended, each time that it did not stop by itself; the
    /// first of them, if there are more than a thousand.
    pub late: Vec<Late>,
    /// Whether the last file ends within a line, as it does where the proxy was killed in the middle of a
    /// write, or just writes.
    pub torn: bool,
    /// Where it is broken.
    pub breaks: Vec<Break>,
    /// Breaks beyond those.
    pub further_breaks: u64,
}

/// Verifies a log.
pub struct Verifier<'k> {
    keys: &'k [VerifyingKey],
    heads: Vec<Head>,
    chain: Option<Chain>,
    /// The line before was no record: which hash it had, nobody knows.
    hash_lost: bool,
    /// The line, from 1, by which the file before was cut off.
    cut: Option<u64>,
    former_file: u64,
    /// What holds now, and what was said since the last checkpoint: it holds once that is signed.
    promise: Option<Promise>,
    announced: Option<Promise>,
    unsigned: Unsigned,
    /// The first of the unsigned records, but for a file's beginning.
    unsigned_from: u64,
    /// That a checkpoint is missing is told.
    told: bool,
    /// The number of the record before, if it is of the proxy's start.
    start: Option<u64>,
    report: Report,
    /// Numbers of the records that were seen, as runs.
    seen: Vec<RangeInclusive<u64>>,
    /// Breaks of order, whose kind depends on what else is there: index of the break.
    order: Vec<usize>,
}

impl<'k> Verifier<'k> {
    /// By these keys, the proxy's for receipts; checkpoints are signed by one of them. `heads` are what was
    /// noted of the log elsewhere.
    pub fn new(keys: &'k [VerifyingKey], heads: Vec<Head>) -> Self {
        Self {
            keys,
            heads,
            chain: None,
            hash_lost: false,
            cut: None,
            former_file: 0,
            promise: None,
            announced: None,
            unsigned: Unsigned::default(),
            unsigned_from: 0,
            told: false,
            start: None,
            report: Report::default(),
            seen: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Reads the next file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn file(&mut self, name: &str, mut input: impl BufRead) -> io::Result<()> {
        if let (Some(line), Some(former)) = (self.cut.take(), self.report.files.last()) {
            let former = former.file.clone();
            self.broken(Kind::CutOff, &former, line, None);
        }
        self.report.files.push(FileReport { file: name.to_owned(), number: None, records: 0 });
        let (mut bytes, mut line) = (Vec::new(), 0);
        loop {
            bytes.clear();
            if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            line += 1;
            match bytes.split_last() {
                Some((b'\n', record)) => self.line(name, line, str::from_utf8(record).unwrap_or_default()),
                _ if input.fill_buf()?.is_empty() => self.cut = Some(line),
                _ => self.line(name, line, ""),
            }
        }
        // The proxy gives a file its name when its first record is on the disk.
        if line == 0 || self.cut == Some(1) {
            self.broken(Kind::NoBeginning, name, 1, None);
        }
        Ok(())
    }

    fn line(&mut self, file: &str, number: u64, text: &str) {
        let Some(line) = Line::parse(text) else {
            let kind = if number == 1 { Kind::NoBeginning } else { Kind::Changed };
            self.broken(kind, file, number, None);
            // It stands for the record that was due.
            self.hash_lost = true;
            if let Some(chain) = &mut self.chain {
                chain.records = chain.records.saturating_add(1);
            }
            return;
        };
        if number == 1 {
            match &line.event {
                Event::File(start) => self.file_begins(file, start),
                _ => self.broken(Kind::NoBeginning, file, number, Some(line.n)),
            }
        }
        let due = Chain { records: line.n.saturating_sub(1), ..Chain::default() };
        let before = *self.chain.get_or_insert(due);
        let fits = std::mem::take(&mut self.hash_lost) || line.follows(&before.hash);
        if before.records.checked_add(1) != Some(line.n) {
            self.order.push(self.report.breaks.len());
            self.broken(Kind::Removed, file, number, Some(line.n));
        } else if !fits {
            self.broken(Kind::Changed, file, number, None);
        }
        match &line.event {
            Event::Checkpoint(jws) => self.checkpoint(file, number, jws, &before),
            event => self.unsigned(file, number, event, &line),
        }
        self.passed(&line);
    }

    /// A record that is no checkpoint: whether one was due before it.
    fn unsigned(&mut self, file: &str, number: u64, event: &Event, line: &Line<'_>) {
        // A proxy that was killed signs when it starts again.
        let starts = matches!(event, Event::Start(_) | Event::Recovered);
        let unsigned = self.unsigned.records() > 0;
        let missed = self.unsigned.is_due() || (unsigned && matches!(event, Event::File(_)));
        if missed && !starts && !std::mem::replace(&mut self.told, true) {
            self.broken(Kind::Overdue, file, number, None);
        }
        self.start = starts.then_some(line.n);
        if !unsigned {
            // That a file begins tells nothing.
            let begins = number == 1 && matches!(event, Event::File(_));
            self.unsigned_from = line.n.saturating_add(u64::from(begins));
        }
        match event {
            Event::Start(promise) | Event::File(FileStart { promise, .. }) => self.announced = Some(*promise),
            _ => {}
        }
        if let Some(promise) = self.promise.or(self.announced) {
            self.unsigned.add(line.at, &promise);
        }
        if matches!(event, Event::Start(_) | Event::Stop) {
            self.unsigned.demand();
        }
    }

    fn passed(&mut self, line: &Line<'_>) {
        match self.seen.last_mut() {
            Some(run) if run.end().checked_add(1) == Some(line.n) => *run = *run.start()..=line.n,
            _ => self.seen.push(line.n..=line.n),
        }
        if let Some(file) = self.report.files.last_mut() {
            file.records += 1;
        }
        if self.report.first == 0 {
            self.report.first = line.n;
        }
        let log = &self.report.log;
        self.heads.retain(|head| (&head.log, head.records, head.hash) != (log, line.n, line.hash));
        self.report.last = line.n;
        self.chain = Some(line.chain());
    }

    fn file_begins(&mut self, name: &str, start: &FileStart) {
        if let Some(file) = self.report.files.last_mut() {
            file.number = Some(start.file);
        }
        if self.chain.is_none() {
            self.report.log.clone_from(&start.log);
            self.chain = Some(start.before());
        } else if self.report.log != start.log {
            self.broken(Kind::OtherLog, name, 1, None);
            self.chain = Some(start.before());
        } else if self.former_file.checked_add(1) != Some(start.file) {
            // The record's number tells the same, unless it was made to fit.
            let tied = self.chain.is_some_and(|chain| chain == start.before());
            if tied {
                self.broken(Kind::Changed, name, 1, None);
            }
        }
        self.former_file = start.file;
    }

    fn checkpoint(&mut self, file: &str, number: u64, jws: &str, before: &Chain) {
        let verified = self.keys.iter().find_map(|key| key.verify::<Checkpoint>(jws).ok());
        match verified {
            None => self.broken(Kind::CheckpointForged, file, number, None),
            Some(checkpoint) if checkpoint.covers(&self.report.log, before) => {
                self.report.checkpoints += 1;
                self.report.covered = checkpoint.records;
                self.report.covered_at = Some(checkpoint.at);
                self.signed_late();
                self.unsigned = Unsigned::signed(checkpoint.at);
                self.promise = self.announced.take().or(self.promise);
                self.told = false;
            }
            Some(_) => self.broken(Kind::CheckpointMismatch, file, number, None),
        }
    }

    /// If the proxy signs as it starts: all but the record of which this checkpoint comes it may have found so,
    /// whatever it looks like.
    fn signed_late(&mut self) {
        if let Some(start) = self.start.take()
            && self.unsigned_from < start
            && self.report.late.len() < MAX_BREAKS
        {
            self.report.late.push(Late { first: self.unsigned_from, last: start - 1 });
        }
    }

    fn broken(&mut self, kind: Kind, file: &str, line: u64, found: Option<u64>) {
        let record = self.chain.map_or(1, |chain| chain.records.saturating_add(1));
        if self.report.breaks.len() < MAX_BREAKS {
            self.report.breaks.push(Break { kind, file: file.to_owned(), line, record, found });
        } else {
            self.report.further_breaks += 1;
        }
    }

    /// What was found, after the last file. `now` is when the files were as they are here, in seconds since
    /// 1970: a checkpoint that was due until then is missed.
    pub fn finish(mut self, now: u64) -> Report {
        for index in std::mem::take(&mut self.order) {
            let times = |n: u64| self.seen.iter().filter(|run| run.contains(&n)).count();
            if let Some(found) = self.report.breaks.get_mut(index) {
                found.kind = match found.found {
                    Some(n) if n < found.record && times(n) > 1 => Kind::Inserted,
                    Some(n) if n > found.record && times(found.record) == 0 => Kind::Removed,
                    _ => Kind::Reordered,
                };
            }
        }
        self.report.torn = self.cut.is_some();
        if self.report.checkpoints == 0 {
            let first = self.report.files.first().map(|file| file.file.clone()).unwrap_or_default();
            self.broken(Kind::Unsigned, &first, 0, None);
        }
        let last = self.report.files.last().map(|file| file.file.clone()).unwrap_or_default();
        let promise = self.promise.or(self.announced);
        let overdue = promise.is_some_and(|promise| self.unsigned.is_overdue(&promise, now, GRACE));
        if overdue && !self.told && self.report.checkpoints > 0 {
            let from = self.unsigned_from.min(self.report.last);
            self.broken(Kind::Overdue, &last, 0, Some(from));
        }
        for head in std::mem::take(&mut self.heads) {
            // What was taken away as a whole is told by the first record's number.
            if head.log == self.report.log && head.records < self.report.first {
                continue;
            }
            self.broken(Kind::HeadMissing, &last, 0, Some(head.records));
        }
        // The checkpoint itself is covered by what it says.
        let covered = self.report.covered;
        let all = self.report.last.saturating_add(1).saturating_sub(self.report.first.max(1));
        self.report.uncovered = match covered {
            0 => all,
            covered => self.report.last.saturating_sub(covered.saturating_add(1)),
        };
        self.report
    }
}
