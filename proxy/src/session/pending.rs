//! The messages whose replies are still to come, in order.
//!
//! Names change when a message is sent; each entry keeps what takes its change back. When the
//! server fails one, it skips the rest up to the Sync: all of them are taken back, last first.

use super::carriers::Keys;
use super::copy::Copy;
use super::names::{Names, Object, Portal, Prepared, Rows, Undo};
use super::path::Asked;
use super::results::Shape;
use super::trail::Access;
use crate::error::ClientError;
use crate::sql::{Plan, ResultColumn};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Entries that one session may have open.
pub(super) const LIMIT: usize = 16_384;

/// Of them, those that keep the plan of the statement before.
const PARSES: usize = 1_024;

/// A message whose reply is to come.
pub(super) struct Pending {
    pub(super) kind: Kind,
    /// What the client is told in place of the server's error, if a stand-in was sent.
    pub(super) refusal: Option<Box<ClientError>>,
    /// Its record in the audit log, where it uses keys and a log is kept.
    pub(super) access: Option<Box<Access>>,
}

impl Pending {
    fn is_parse(&self) -> bool {
        matches!(self.kind, Kind::Parse(_))
    }
}

/// Which message, with what its reply is treated by.
pub(super) enum Kind {
    Parse(Undo<Prepared>),
    Bind(Undo<Portal>),
    CloseStatement(Undo<Prepared>),
    ClosePortal(Undo<Portal>),
    /// With the statement and its columns, where cells are or may be among parameters or columns.
    DescribeStatement(Option<Box<Described>>),
    /// With how its rows are to be read, where cells are among them.
    DescribePortal(Option<Shape>),
    /// With how its rows are to be read, where cells are among them, and the plan where it changes the
    /// names of prepared statements.
    Execute(Option<Box<Rows>>, Option<Arc<Plan>>),
    /// An Execute of a COPY of something protected.
    ExecuteCopy(Box<Copy>),
    Query(Box<Query>),
    FunctionCall {
        segment: u64,
    },
    Sync {
        segment: u64,
    },
    /// The proxy's own question for the search path.
    Path(Box<Asked>),
}

/// A statement that is described.
pub(super) struct Described {
    pub(super) prepared: Prepared,
    pub(super) columns: Option<Arc<[ResultColumn]>>,
}

/// A simple query.
pub(super) struct Query {
    pub(super) plan: Option<Arc<Plan>>,
    /// Which of its statements runs.
    pub(super) statement: usize,
    /// How its rows are to be read, once they are described and where cells may be among them.
    pub(super) shape: Option<Shape>,
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) segment: u64,
}

/// The queue of replies to come.
#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Pending>,
    parses: usize,
}

impl Queue {
    pub(super) fn push(&mut self, kind: Kind) {
        self.push_audited(kind, None);
    }

    pub(super) fn push_audited(&mut self, kind: Kind, access: Option<Box<Access>>) {
        self.add(Pending { kind, refusal: None, access });
    }

    pub(super) fn push_refused(&mut self, kind: Kind, refusal: ClientError) {
        self.add(Pending { kind, refusal: Some(Box::new(refusal)), access: None });
    }

    fn add(&mut self, entry: Pending) {
        self.parses += usize::from(entry.is_parse());
        self.entries.push_back(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= LIMIT || self.parses >= PARSES
    }

    /// The entry that the next reply answers.
    pub(super) fn front(&mut self) -> Option<&mut Pending> {
        self.entries.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let entry = self.entries.pop_front();
        self.parses -= usize::from(entry.as_ref().is_some_and(Pending::is_parse));
        if self.entries.is_empty() && self.entries.capacity() > 1024 {
            self.entries = VecDeque::new();
        }
        entry
    }

    /// A COPY from the client begins for the first entry: the server passes over the Syncs that are
    /// sent already. Returns how many there are.
    pub(super) fn copy_begins(&mut self) -> usize {
        let before = self.entries.len();
        let mut first = true;
        self.entries.retain(|entry| std::mem::take(&mut first) || !matches!(entry.kind, Kind::Sync { .. }));
        before - self.entries.len()
    }

    /// The first entry failed as an extended query does: takes back all up to the Sync. Returns
    /// whether the Sync is already sent.
    pub(super) fn fail(&mut self, statements: &mut Names<Prepared>, portals: &mut Names<Portal>) -> bool {
        let is_sync = |entry: &Pending| matches!(entry.kind, Kind::Sync { .. });
        let sync = self.entries.iter().position(is_sync);
        let failed: Vec<Pending> = self.entries.drain(..sync.unwrap_or(self.entries.len())).collect();
        self.parses -= failed.iter().filter(|entry| entry.is_parse()).count();
        let (mut statements_before, mut portals_before) = (Before::default(), Before::default());
        for (index, entry) in failed.into_iter().enumerate() {
            match entry.kind {
                // A failed Parse of the unnamed statement has dropped the one before.
                Kind::Parse(undo) if index == 0 && undo.name.is_empty() => {
                    statements_before.add(Undo { previous: None, ..undo });
                }
                Kind::Parse(undo) | Kind::CloseStatement(undo) => statements_before.add(undo),
                Kind::Bind(undo) | Kind::ClosePortal(undo) => portals_before.add(undo),
                _ => {}
            }
        }
        for entry in &mut self.entries {
            if statements_before.0.is_empty() && portals_before.0.is_empty() {
                break;
            }
            match &mut entry.kind {
                Kind::Parse(later) | Kind::CloseStatement(later) => statements_before.give(later),
                Kind::Bind(later) | Kind::ClosePortal(later) => portals_before.give(later),
                _ => {}
            }
        }
        statements_before.restore(statements);
        portals_before.restore(portals);
        sync.is_some()
    }
}

/// What names stood for before a series of messages that failed.
struct Before<T>(BTreeMap<Box<[u8]>, Option<T>>);

impl<T> Default for Before<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Object> Before<T> {
    /// The next message, in order: the first one that changes a name counts.
    fn add(&mut self, undo: Undo<T>) {
        self.0.entry(undo.name).or_insert(undo.previous);
    }

    /// A later message that changes one of the names takes it back to there, should it fail as well.
    fn give(&mut self, later: &mut Undo<T>) {
        if let Some(previous) = self.0.remove(&later.name) {
            later.previous = previous;
        }
    }

    /// No later message changes what is left.
    fn restore(self, names: &mut Names<T>) {
        for (name, previous) in self.0 {
            names.put(&name, previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(segment: u64) -> Prepared {
        Prepared { plan: Arc::default(), declared: Arc::default(), segment }
    }

    fn stands_for(names: &Names<Prepared>, name: &[u8]) -> Option<u64> {
        names.get(name).map(|prepared| prepared.segment)
    }

    #[test]
    fn a_failure_takes_back_its_segment_only() {
        let (mut queue, mut statements, mut portals) = (Queue::default(), Names::default(), Names::default());
        statements.put(b"a", Some(prepared(1)));
        statements.put(b"", Some(prepared(1)));
        queue.push(Kind::Parse(statements.put(b"a", Some(prepared(2)))));
        queue.push(Kind::CloseStatement(statements.put(b"a", None)));
        queue.push(Kind::Parse(statements.put(b"", Some(prepared(2)))));
        queue.push(Kind::Sync { segment: 2 });
        queue.push(Kind::Parse(statements.put(b"", Some(prepared(3)))));
        queue.push(Kind::Sync { segment: 3 });
        assert!(queue.fail(&mut statements, &mut portals));
        assert_eq!(stands_for(&statements, b"a"), Some(1));
        assert_eq!(stands_for(&statements, b""), Some(3));
        assert!(matches!(queue.front().map(|entry| &entry.kind), Some(Kind::Sync { segment: 2 })));
        queue.pop();
        // The next segment's Parse fails too: it was the unnamed one's, so none is left.
        assert!(queue.fail(&mut statements, &mut portals));
        assert_eq!(stands_for(&statements, b""), None);
    }

    #[test]
    fn skipped_messages_restore_what_was_before() {
        let (mut queue, mut statements, mut portals) = (Queue::default(), Names::default(), Names::default());
        statements.put(b"", Some(prepared(1)));
        queue.push(Kind::Bind(portals.put(b"", None)));
        queue.push(Kind::Parse(statements.put(b"", Some(prepared(2)))));
        assert!(!queue.fail(&mut statements, &mut portals));
        assert_eq!(stands_for(&statements, b""), Some(1));
        assert!(queue.is_empty());
    }

    /// Of thousands of names each is taken back to what it was, and under a later message that changes it.
    #[test]
    fn a_long_segment_fails_at_once() {
        let (mut queue, mut statements, mut portals) = (Queue::default(), Names::default(), Names::default());
        let names: Vec<_> = (0..8_000).map(|name| format!("{name}").into_bytes()).collect();
        for name in names.iter().step_by(2) {
            statements.put(name, Some(prepared(1)));
        }
        for name in names.iter().chain(&names) {
            queue.push(Kind::CloseStatement(statements.put(name, Some(prepared(2)))));
        }
        queue.push(Kind::Sync { segment: 2 });
        for name in names.iter().skip(4_000) {
            queue.push(Kind::CloseStatement(statements.put(name, Some(prepared(3)))));
        }
        let began = std::time::Instant::now();
        assert!(queue.fail(&mut statements, &mut portals));
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
        for (index, name) in names.iter().enumerate() {
            let before = (index % 2 == 0).then_some(1);
            let Some(later) = index.checked_sub(4_000) else {
                assert_eq!(stands_for(&statements, name), before);
                continue;
            };
            assert_eq!(stands_for(&statements, name), Some(3));
            let Kind::CloseStatement(undo) = &queue.entries[later + 1].kind else { panic!() };
            assert_eq!(undo.previous.as_ref().map(|prepared| prepared.segment), before);
        }
    }

    #[test]
    fn a_copy_swallows_syncs() {
        let mut queue = Queue::default();
        queue.push(Kind::Execute(None, None));
        queue.push(Kind::Sync { segment: 1 });
        queue.push(Kind::Sync { segment: 2 });
        assert_eq!(queue.copy_begins(), 2);
        assert_eq!(queue.entries.len(), 1);
    }
}
