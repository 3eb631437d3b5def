//! The audit log's format: lines of JSON, each `{"n":1,"at":"…","event":"…",…,"hash":"…"}`, with
//! `hash = base64url(SHA-256(hash of the record before || the line up to ,"hash"))`.
//!
//! Numbers and hashes run on from file to file; a file's first record, `file`, names those of the record
//! before it. Checkpoints are records whose `jws` the proxy has signed.

mod checkpoint;
mod promise;
mod verify;

pub use checkpoint::Checkpoint;
pub use promise::{Promise, Unsigned};
pub use verify::{Break, FileReport, Kind, Late, Report, Verifier};

use crate::secret::fill_random;
use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Longest part of a record that depends on a statement, in bytes. Verification reads lines four times as long.
pub const MAX_BODY: usize = 1 << 20;

/// What stands before a line's hash.
const BEFORE: &str = ",\"hash\":\"";
/// What stands after it.
const AFTER: &str = "\"}";
/// Length of a hash in base64url.
const ENCODED: usize = 43;

/// How far a log has come: its last record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The log's id.
    pub log: String,
    /// Number of the last record, from 1.
    pub records: u64,
    /// Its hash.
    #[serde(with = "crate::json::digest")]
    pub hash: Hash,
}

/// Where a chain of records stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Number of the last record; 0 before the first.
    pub records: u64,
    /// Its hash; zeros before the first.
    pub hash: Hash,
}

impl Chain {
    /// Appends a record as one line. `body` is the text of its members after `at`, as JSON without braces.
    pub fn append(&mut self, at: &str, body: &str, out: &mut String) {
        let start = out.len();
        self.records += 1;
        out.push_str(&format!("{{\"n\":{},\"at\":\"{at}\",{body}", self.records));
        self.hash = chained(&self.hash, out.get(start..).unwrap_or_default());
        out.push_str(BEFORE);
        out.push_str(&Base64UrlUnpadded::encode_string(&self.hash));
        out.push_str(AFTER);
        out.push('\n');
    }
}

fn chained(former: &Hash, text: &str) -> Hash {
    Sha256::new().chain_update(former).chain_update(text).finalize().into()
}

/// A line of a log, taken apart. Whether its hash fits is another question.
pub struct Line<'a> {
    /// What is hashed.
    text: &'a str,
    /// The number that it names.
    pub n: u64,
    /// The time that it names, in whole seconds since 1970.
    pub at: u64,
    /// The hash that it names.
    pub hash: Hash,
    /// What it tells of.
    pub event: Event,
}

/// The records that the chain itself consists of, those about which something is promised, and all others.
pub enum Event {
    /// The first of a file.
    File(FileStart),
    /// A signed checkpoint.
    Checkpoint(String),
    /// The proxy has started.
    Start(Promise),
    /// It stops.
    Stop,
    /// It has found an incomplete last line when it started.
    Recovered,
    /// Any other.
    Other,
}

/// The first record of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStart {
    /// The log's id.
    pub log: String,
    /// The file's number, from 1.
    pub file: u64,
    /// Number of the last record of the file before; 0 if there was none.
    pub records: u64,
    /// Its hash; zeros if there was none.
    #[serde(with = "crate::json::digest")]
    pub former: Hash,
    /// How often checkpoints are signed: a log may go on for many files without a `start`.
    #[serde(flatten)]
    pub promise: Promise,
}

impl FileStart {
    /// Of a log that begins.
    pub fn first(promise: Promise) -> Self {
        let mut id = [0; 16];
        fill_random(&mut id);
        let log = Base64UrlUnpadded::encode_string(&id);
        Self { log, file: 1, records: 0, former: Hash::default(), promise }
    }

    /// Of the file that follows one of this log, which ends here.
    pub fn after(log: String, file: u64, chain: Chain, promise: Promise) -> Self {
        Self { log, file: file + 1, records: chain.records, former: chain.hash, promise }
    }

    /// The record's body.
    pub fn body(&self) -> String {
        let members = serde_json::to_string(self).unwrap_or_default();
        format!("\"event\":\"file\",{}", members.trim_start_matches('{').trim_end_matches('}'))
    }

    /// Where the chain stands before the file.
    pub fn before(&self) -> Chain {
        Chain { records: self.records, hash: self.former }
    }
}

/// The time of a record in whole seconds since 1970; `None` if it is not RFC 3339, or before that.
pub fn seconds(at: &str) -> Option<u64> {
    at.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_second()).ok())
}

#[derive(Deserialize)]
struct Members<'a> {
    n: u64,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    jws: Option<String>,
}

impl<'a> Line<'a> {
    /// Takes a line without its end apart; `None` if it is none of a log's.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (text, rest) =
            line.split_at_checked(line.len().checked_sub(ENCODED + BEFORE.len() + AFTER.len())?)?;
        let encoded = rest.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
        let mut hash = [0; 32];
        Base64UrlUnpadded::decode(encoded, &mut hash).ok().filter(|bytes| bytes.len() == 32)?;
        let Members { n, at, event, jws } = serde_json::from_str(line).ok()?;
        let event = match (event.as_ref(), jws) {
            ("file", _) => Event::File(serde_json::from_str(line).ok()?),
            ("start", _) => Event::Start(serde_json::from_str(line).ok()?),
            ("checkpoint", Some(jws)) => Event::Checkpoint(jws),
            ("stop", _) => Event::Stop,
            ("recovered", _) => Event::Recovered,
            _ => Event::Other,
        };
        Some(Self { text, n, at: seconds(&at)?, hash, event })
    }

    /// Whether its hash is that of a record that follows `former`.
    pub fn follows(&self, former: &Hash) -> bool {
        chained(former, self.text) == self.hash
    }

    /// Where the chain stands after it.
    pub fn chain(&self) -> Chain {
        Chain { records: self.n, hash: self.hash }
    }
}

#[cfg(test)]
mod tests;
