//! How often checkpoints are signed. The proxy says it in the records `start` and `file`, keeps it when it
//! writes, and is held to it by verification: by the same rule, and by the times that the records name.

use serde::{Deserialize, Serialize};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// At most so many records lie between two checkpoints.
    pub checkpoint_records: u64,
    /// What is recorded so many seconds or more after a checkpoint is followed by the next one at once.
    pub checkpoint_seconds: u64,
}

/// The records since the last checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsigned {
    records: u64,
    /// When that checkpoint was signed; where none is known, the time of the first of them.
    since: Option<u64>,
    /// The time of the last of them.
    last: u64,
    due: bool,
}

impl Unsigned {
    /// None: a checkpoint was signed at this time, in seconds since 1970.
    pub fn signed(at: u64) -> Self {
        Self { since: Some(at), ..Self::default() }
    }

    /// A record of this time, in seconds since 1970, follows.
    pub fn add(&mut self, at: u64, promise: &Promise) {
        let since = *self.since.get_or_insert(at);
        self.records += 1;
        self.last = at;
        self.due |= self.records >= promise.checkpoint_records
            || at >= since.saturating_add(promise.checkpoint_seconds);
    }

    /// A checkpoint has to follow the last of them, whatever else is promised.
    pub(super) fn demand(&mut self) {
        self.due = true;
    }

    /// How many they are.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether a checkpoint has to follow the last of them at once.
    pub fn is_due(&self) -> bool {
        self.records > 0 && self.due
    }

    /// Whether the last checkpoint is too old for those after it, at `now` in seconds since 1970.
    pub fn is_late(&self, promise: &Promise, now: u64) -> bool {
        let late = |since: u64| now >= since.saturating_add(promise.checkpoint_seconds);
        self.records > 0 && self.since.is_some_and(late)
    }

    /// Whether one is missing where the log ends, at `now` in seconds since 1970. `grace` is for what a write
    /// takes, and for clocks that differ.
    pub(super) fn is_overdue(&self, promise: &Promise, now: u64, grace: u64) -> bool {
        match self.is_due() {
            true => now.abs_diff(self.last) > grace,
            false => self.is_late(promise, now.saturating_sub(grace)),
        }
    }
}
