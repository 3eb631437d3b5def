//! A checkpoint: the proxy's signed word about all records before it. The chain alone shows only that
//! whoever wrote a log last wrote all of it.

use super::{Chain, Hash, Head};
use crate::json::digest;
use crate::signing::Claims;
use serde::{Deserialize, Serialize};

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The log's id.
    pub log: String,
    /// Number of the last record that it covers.
    pub records: u64,
    /// The hash of that record.
    #[serde(with = "digest")]
    pub hash: Hash,
    /// When it was signed, in seconds since 1970.
    pub at: u64,
}

impl Checkpoint {
    /// Of a log that stands here.
    pub fn of(head: Head, at: u64) -> Self {
        let Head { log, records, hash } = head;
        Self { log, records, hash, at }
    }

    /// Whether it speaks of this place of this log.
    pub(super) fn covers(&self, log: &str, chain: &Chain) -> bool {
        self.log == log && (self.records, self.hash) == (chain.records, chain.hash)
    }

    /// The body of the record that holds it.
    pub fn body(jws: &str) -> String {
        format!("\"event\":\"checkpoint\",\"jws\":\"{jws}\"")
    }
}

impl Claims for Checkpoint {
    const TYP: &'static str = "trefoil-audit+jws";
    const MAX_LENGTH: usize = 4 * 1024;

    fn is_complete(&self) -> bool {
        !self.log.is_empty() && self.records > 0
    }
}
