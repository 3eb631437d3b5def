//! The thread that writes the log: all records that wait by one write and one `fdatasync`. What cannot be
//! written is kept and tried again; the file never holds a part of it.

use super::file::LogFile;
use super::{AuditError, Common, Entry, Options, Progress, Sign, locked, now};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use trefoil_keys::audit::{Chain, Checkpoint};

/// How long after a failed write the next one is tried.
const PATIENCE: Duration = Duration::from_millis(250);

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
    /// Records since the last checkpoint.
    uncovered: u64,
    checkpoint: Instant,
    faulty: bool,
}

impl Writer {
    pub(super) fn new(common: Arc<Common>, file: LogFile, options: Options, sign: Sign) -> Self {
        Self {
            common,
            file,
            options,
            sign,
            pending: Vec::new(),
            offered: 0,
            lost: 0,
            closed: false,
            uncovered: 0,
            checkpoint: Instant::now(),
            faulty: false,
        }
    }

    /// Writes what the opening has recorded, with a checkpoint.
    pub(super) fn first(&mut self) -> Result<(), AuditError> {
        self.take();
        self.uncovered = self.options.checkpoint_records;
        self.write().map_err(|reason| AuditError::unwritable(&self.options.file, reason))
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        loop {
            self.wait();
            if let Err(error) = self.write() {
                self.failed(&error);
            }
            if self.closed {
                return;
            }
        }
    }

    /// Waits until there is something to write.
    fn wait(&mut self) {
        let due = match (self.faulty, self.uncovered) {
            (true, _) => Some(PATIENCE),
            (false, 0) => None,
            _ => Some(self.options.checkpoint_interval.saturating_sub(self.checkpoint.elapsed())),
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
        if self.pending.is_empty() {
            mem::swap(&mut self.pending, &mut inbox.entries);
            inbox.bytes = 0;
            self.offered = inbox.offered;
            self.lost += mem::take(&mut inbox.lost);
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let mut chain = self.file.chain();
        let before = chain.records;
        let mut text = String::new();
        for Entry { at, body } in &self.pending {
            chain.append(at, body, &mut text);
        }
        if self.lost > 0 {
            chain.append(&now(), &format!("\"event\":\"lost\",\"records\":{}", self.lost), &mut text);
        }
        let uncovered = self.uncovered + chain.records - before;
        let full = self.file.length_with(&text) >= self.options.max_bytes;
        let due = uncovered >= self.options.checkpoint_records
            || self.checkpoint.elapsed() >= self.options.checkpoint_interval;
        let signed =
            uncovered > 0 && (due || full || self.closed) && self.add_checkpoint(&mut chain, &mut text);
        if text.is_empty() {
            return Ok(());
        }
        self.file.append(&text, chain)?;
        self.uncovered = if signed { 0 } else { uncovered };
        self.written();
        if full && signed {
            self.rotate();
        }
        Ok(())
    }

    fn add_checkpoint(&mut self, chain: &mut Chain, text: &mut String) -> bool {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let checkpoint = Checkpoint::of(self.file.head_at(*chain), since.map_or(0, |since| since.as_secs()));
        self.checkpoint = Instant::now();
        match (self.sign)(&checkpoint) {
            Ok(jws) => {
                chain.append(&now(), &Checkpoint::body(&jws), text);
                true
            }
            Err(error) => {
                tracing::error!(error, "a checkpoint of the audit log could not be signed");
                false
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
        match self.file.rotate(&now(), self.options.keep) {
            Ok(()) => {
                self.uncovered = 1;
                *locked(&self.common.head) = self.file.head();
            }
            Err(error) => tracing::error!(%error, "no further file of the audit log could be begun"),
        }
    }
}
