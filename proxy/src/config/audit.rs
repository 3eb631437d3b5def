//! `[audit]`: the audit log, if one is kept.

use super::ConfigError;
use super::check::{seconds, within};
use crate::audit::Options;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Size of a file: some records at least in each.
const BYTES: RangeInclusive<u64> = 64 * 1024..=1 << 40;
const RECORDS: RangeInclusive<u64> = 1..=1_000_000;
const SECONDS: RangeInclusive<u64> = 1..=24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    file: Option<PathBuf>,
    blocking: Option<bool>,
    max_bytes: Option<u64>,
    keep: Option<u64>,
    checkpoint_records: Option<u64>,
    checkpoint_seconds: Option<u64>,
}

impl RawAudit {
    pub(super) fn check(self) -> Result<Options, ConfigError> {
        let named = self.file.filter(|file| file.file_name().is_some());
        let file = named.ok_or_else(|| ConfigError::Value {
            key: "audit.file",
            problem: "the section [audit] names no file".to_owned(),
            remedy: "name the file to write, in a directory of its own",
        })?;
        let (records, interval) =
            (self.checkpoint_records.unwrap_or(1000), self.checkpoint_seconds.unwrap_or(60));
        Ok(Options {
            file,
            blocking: self.blocking.unwrap_or(true),
            max_bytes: within("audit.max_bytes", self.max_bytes.unwrap_or(100 << 20), BYTES)?,
            keep: self.keep.unwrap_or(0),
            checkpoint_records: within("audit.checkpoint_records", records, RECORDS)?,
            checkpoint_interval: seconds("audit.checkpoint_seconds", interval, SECONDS)?,
        })
    }
}
