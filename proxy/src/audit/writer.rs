//! The thread that writes the log: all records that wait by one write and one `fdatasync`. What cannot be
//! written is kept and tried again; the file never holds a part of it.

use super::file::LogFile;
use super::{AuditError, Common, Entry, Options, Progress, Sign, locked, now};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use trefoil_keys::audit::{Chain, Checkpoint, Promise, Unsigned, seconds};

/// How long after a failed write the next one is tried.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often the wall clock is looked at while something is unsigned: it may have been set, or the machine have
/// slept, and verification goes by it.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    common: Arc<Common>,
    file: LogFile,
    options: Options,
    sign: Sign,
    /// What was taken from the inbox and is not durable.
    pending: Vec<Entry>,
    /// How many were offered up to the last of them.
    offered: u64,
    lost: u64,
    closed: bool,
    promise: Promise,
    /// What is on the disk since the last checkpoint.
    unsigned: Unsigned,
    checkpoint: Instant,
    faulty: bool,
    /// No further file could be begun.
    stuck: bool,
}

/// What is about to be written.
struct Batch {
    chain: Chain,
    unsigned: Unsigned,
    /// When its last checkpoint was signed.
    signed: Option<Instant>,
    text: String,
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Batch {
    fn add(&mut self, at: &str, body: &str, promise: &Promise) {
        self.chain.append(at, body, &mut self.text);
        self.unsigned.add(seconds(at).unwrap_or_default(), promise);
    }
}

impl Writer {
    pub(super) fn new(common: Arc<Common>, file: LogFile, options: Options, sign: Sign) -> Self {
        Self {
            common,
            file,
            promise: options.promise(),
            options,
            sign,
            pending: Vec::new(),
            offered: 0,
            lost: 0,
            closed: false,
            unsigned: Unsigned::default(),
            checkpoint: Instant::now(),
            faulty: false,
            stuck: false,
        }
    }

    /// Writes what the opening has recorded, with a checkpoint.
    pub(super) fn first(&mut self) -> Result<(), AuditError> {
        self.take();
        match self.write(true) {
            Ok(true) => Ok(()),
            Ok(false) => Err(AuditError::Unsigned(self.options.file.display().to_string())),
            Err(reason) => Err(AuditError::unwritable(&self.options.file, reason)),
        }
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        loop {
            self.wait();
            if let Err(error) = self.write(false) {
                self.failed(&error);
            }
            if self.closed {
                return;
            }
        }
    }

    /// Waits until there is something to write.
    fn wait(&mut self) {
        let due = match (self.faulty, self.unsigned.records()) {
            (true, _) => Some(PATIENCE),
            (false, 0) => None,
            _ => Some(self.options.checkpoint_interval.saturating_sub(self.checkpoint.elapsed()).min(LOOK)),
        };
        let common = Arc::clone(&self.common);
        let mut inbox = locked(&common.inbox);
        let idle = |inbox: &mut super::Inbox| !inbox.closed && (self.faulty || inbox.entries.is_empty());
        inbox = match due {
            None => common.filled.wait_while(inbox, idle).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                common.filled.wait_timeout_while(inbox, due, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        drop(inbox);
        self.take();
    }

    fn take(&mut self) {
        let common = Arc::clone(&self.common);
        let mut inbox = locked(&common.inbox);
        self.closed = inbox.closed;
        // After a failure what waits stays within the inbox's bound.
        if self.pending.is_empty() || self.closed {
            self.pending.append(&mut inbox.entries);
            inbox.bytes = 0;
            self.offered = inbox.offered;
            self.lost += mem::take(&mut inbox.lost);
        }
    }

    /// Writes what was taken, with the checkpoints that are promised; with `signed`, one over all of it. Returns
    /// whether a checkpoint covers all that is written.
    fn write(&mut self, signed: bool) -> std::io::Result<bool> {
        let (chain, unsigned) = (self.file.chain(), self.unsigned);
        let mut batch = Batch { chain, unsigned, signed: None, text: String::new() };
        let pending = mem::take(&mut self.pending);
        for Entry { at, body } in &pending {
            self.add(&mut batch, at, body);
        }
        self.pending = pending;
        if self.lost > 0 {
            self.add(&mut batch, &now(), &format!("\"event\":\"lost\",\"records\":{}", self.lost));
        }
        if self.closed {
            self.add(&mut batch, &now(), "\"event\":\"stop\"");
        }
        let full = self.file.length_with(&batch.text) >= self.options.max_bytes;
        // A clock that was set back delays no checkpoint.
        let late = batch.unsigned.is_late(&self.promise, since_1970())
            || self.checkpoint.elapsed() >= self.options.checkpoint_interval;
        if batch.unsigned.is_due() || signed || self.closed || full || late {
            self.sign(&mut batch);
        }
        let covered = batch.unsigned.records() == 0;
        if batch.text.is_empty() {
            return Ok(covered);
        }
        self.file.append(&batch.text, batch.chain)?;
        self.unsigned = batch.unsigned;
        self.checkpoint = batch.signed.unwrap_or(self.checkpoint);
        self.written();
        if full && covered {
            self.rotate();
        }
        Ok(covered)
    }

    fn add(&mut self, batch: &mut Batch, at: &str, body: &str) {
        if batch.unsigned.is_due() {
            self.sign(batch);
        }
        batch.add(at, body, &self.promise);
    }

    /// Adds a checkpoint over all records that none covers yet, if there are any.
    fn sign(&mut self, batch: &mut Batch) {
        if batch.unsigned.records() == 0 {
            return;
        }
        let at = since_1970();
        match (self.sign)(&Checkpoint::of(self.file.head_at(batch.chain), at)) {
            Ok(jws) => {
                batch.chain.append(&now(), &Checkpoint::body(&jws), &mut batch.text);
                batch.unsigned = Unsigned::signed(at);
                batch.signed = Some(Instant::now());
            }
            Err(error) => {
                self.checkpoint = Instant::now();
                tracing::error!(error, "a checkpoint of the audit log could not be signed");
            }
        }
    }

    /// All that was taken is durable.
    fn written(&mut self) {
        self.pending.clear();
        self.lost = 0;
        if mem::take(&mut self.faulty) {
            tracing::info!("the audit log is written again");
            *locked(&self.common.fault) = None;
        }
        *locked(&self.common.head) = self.file.head();
        self.common.progress.send_replace(Progress { durable: self.offered, faulty: false });
    }

    fn failed(&mut self, error: &std::io::Error) {
        if !mem::replace(&mut self.faulty, true) {
            tracing::error!(%error, file = %self.options.file.display(), "the audit log cannot be written");
        }
        *locked(&self.common.fault) = Some(error.to_string());
        self.common.progress.send_modify(|progress| progress.faulty = true);
    }

    /// Begins the next file. Where that fails the full one goes on, and the next write tries again.
    fn rotate(&mut self) {
        let at = now();
        if let Err(error) = self.file.rotate(&at) {
            if !mem::replace(&mut self.stuck, true) {
                tracing::error!(%error, "no further file of the audit log could be begun: the full one goes on");
            }
            return;
        }
        if mem::take(&mut self.stuck) {
            tracing::info!("a further file of the audit log is begun again");
        }
        self.unsigned.add(seconds(&at).unwrap_or_default(), &self.promise);
        *locked(&self.common.head) = self.file.head();
        if let Err(error) = self.file.settle(self.options.keep) {
            tracing::error!(%error, "the change to a further file of the audit log is not settled");
        }
    }
}
