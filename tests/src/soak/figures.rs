//! What a soak comes to.

use super::ledger::Ledger;
use std::fmt;

/// How much was done and survived.
#[derive(Default)]
pub struct Figures {
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) reconnected: u64,
    pub(super) broken_off: u64,
    pub(super) proxy_kills: u64,
    pub(super) database_kills: u64,
    pub(super) memory: String,
}

impl Figures {
    pub(super) fn add(&mut self, ledger: &Ledger) {
        self.written += ledger.written;
        self.read += ledger.read;
        self.reconnected += ledger.reconnected;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, read, reconnected, broken_off, proxy_kills, database_kills, memory } = self;
        write!(
            f,
            "{written} writes acknowledged and there, {read} rows read and right, {broken_off} clients broken off \
             in the middle of a message, {reconnected} connections begun again after {database_kills} kills of \
             the database and {proxy_kills} of the proxy; {memory}"
        )
    }
}
