//! The audit log: who got or wrote what, and what was refused, as chained lines of JSON. A thread of its
//! own writes them in groups; whoever must not go on before a record is durable waits for its ticket.
//!
//! No value, literal, share, envelope, password or statement text gets here: names, codes and numbers only.

mod file;
mod writer;

pub use file::AuditError;

use file::LogFile;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tracing_subscriber::fmt::format::Writer as FormatWriter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use trefoil_keys::audit::{Checkpoint, Head, Promise};
use writer::Writer;

/// Bytes of records that wait to be written; what does not fit is lost and counted.
const ROOM: usize = 8 << 20;

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file that is written; full ones get `.000001` and so on behind their name.
    pub file: PathBuf,
    /// Whether nothing decrypted is shown before it is recorded.
    pub blocking: bool,
    /// Bytes from which on a file is full.
    pub max_bytes: u64,
    /// Files that are kept, with the one that is written; all, if 0.
    pub keep: u64,
    /// Records after which a checkpoint is signed.
    pub checkpoint_records: u64,
    /// The time after which one is signed, if there is a record that none covers; in whole seconds.
    pub checkpoint_interval: Duration,
}

impl Options {
    /// What `start` and `file` say of checkpoints.
    fn promise(&self) -> Promise {
        let checkpoint_seconds = self.checkpoint_interval.as_secs();
        Promise { checkpoint_records: self.checkpoint_records, checkpoint_seconds }
    }
}

/// The members of `start`.
#[derive(Serialize)]
struct Start<'a, T> {
    #[serde(flatten)]
    members: &'a T,
    #[serde(flatten)]
    promise: Promise,
}

/// Signs a checkpoint; the error is fit for a log.
pub type Sign = Box<dyn Fn(&Checkpoint) -> Result<String, String> + Send>;

/// The number of a record, among those that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How far the log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records that are durable, of those that were offered.
    durable: u64,
    /// Whether the last write failed.
    pub faulty: bool,
}

impl Progress {
    /// Whether this record is durable.
    pub fn includes(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.durable
    }
}

struct Entry {
    /// RFC 3339, UTC, to the microsecond.
    at: String,
    body: String,
}

#[derive(Default)]
struct Inbox {
    entries: Vec<Entry>,
    bytes: usize,
    offered: u64,
    lost: u64,
    closed: bool,
}

/// What the writer and those who offer records share.
struct Common {
    inbox: Mutex<Inbox>,
    filled: Condvar,
    progress: watch::Sender<Progress>,
    head: Mutex<Head>,
    fault: Mutex<Option<String>>,
}

/// The open log.
pub struct Audit {
    common: Arc<Common>,
    blocking: bool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, as records say it.
fn now() -> String {
    let mut text = String::with_capacity(32);
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut FormatWriter::new(&mut text));
    text
}

/// A record's body: the event and its members.
fn body(event: &str, members: &impl Serialize) -> String {
    let members = serde_json::to_string(members).unwrap_or_default();
    let inner = members.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let comma = if inner.is_empty() { "" } else { "," };
    format!("\"event\":\"{event}\"{comma}{inner}")
}

impl Audit {
    /// Opens the log, goes on where it ends, and records `start` with these members.
    ///
    /// # Errors
    /// Where the file cannot be opened, signed and written, is not the proxy's alone, is another process's, or
    /// does not end as a log does.
    pub fn open(options: Options, start: &impl Serialize, sign: Sign) -> Result<Arc<Self>, AuditError> {
        let promise = options.promise();
        let (file, torn) = LogFile::open(&options.file, promise)?;
        let (progress, _) = watch::channel(Progress::default());
        let common = Arc::new(Common {
            inbox: Mutex::default(),
            filled: Condvar::new(),
            progress,
            head: Mutex::new(file.head()),
            fault: Mutex::default(),
        });
        let blocking = options.blocking;
        let audit = Self { common: Arc::clone(&common), blocking, writer: Mutex::default() };
        if torn > 0 {
            tracing::warn!(bytes = torn, "the audit log ended within a line, which was never complete");
            audit.record("recovered", &serde_json::json!({ "torn_bytes": torn }));
        }
        audit.record("start", &Start { members: start, promise });
        let mut writer = Writer::new(common, file, options, sign);
        writer.first()?;
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
        *locked(&audit.writer) = Some(thread.map_err(AuditError::Thread)?);
        Ok(Arc::new(audit))
    }

    /// Whether nothing decrypted may be shown before it is recorded.
    pub fn is_blocking(&self) -> bool {
        self.blocking
    }

    /// Records an event that nobody waits for. `members` becomes a JSON object: no secrets, and text of
    /// clients only if it is short.
    pub fn record(&self, event: &'static str, members: &impl Serialize) {
        self.offer(body(event, members));
    }

    /// Records an event by the text of its members, from `"event":` on, as JSON without braces. None if
    /// too many records wait already: it is lost, and the loss is recorded.
    pub fn offer(&self, body: String) -> Option<Ticket> {
        let at = now();
        let mut inbox = locked(&self.common.inbox);
        if inbox.bytes + body.len() > ROOM || inbox.closed {
            inbox.lost += 1;
            return None;
        }
        inbox.bytes += body.len();
        inbox.offered += 1;
        let ticket = Ticket(inbox.offered);
        inbox.entries.push(Entry { at, body });
        let first = inbox.entries.len() == 1;
        drop(inbox);
        if first {
            self.common.filled.notify_one();
        }
        Some(ticket)
    }

    /// Follows what is durable.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.common.progress.subscribe()
    }

    /// Why the log cannot be written, if the last write failed.
    pub fn fault(&self) -> Option<String> {
        locked(&self.common.fault).clone()
    }

    /// The last record that is durable.
    pub fn head(&self) -> Head {
        locked(&self.common.head).clone()
    }

    /// Records `stop`, signs a checkpoint and ends. What comes later is lost.
    pub fn stop(&self) {
        locked(&self.common.inbox).closed = true;
        self.common.filled.notify_one();
        let writer = locked(&self.writer).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the audit log's writer ended by a defect of the proxy");
        }
    }
}

#[cfg(test)]
mod tests;
