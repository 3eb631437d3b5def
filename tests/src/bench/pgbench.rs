//! One run of pgbench: what it prints, and the log that it keeps of each transaction.

use super::load::{Mode, Script};
use super::sample::Seen;
use super::variant::Variant;
use crate::cluster::binaries;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables with values of an inserted row, as long as they may be in life.
pub(super) const VALUES: [(&str, &str); 3] = [
    ("name", "Margarete Weber-Hofmann"),
    ("born", "1961-02-03"),
    ("note", "Came in with a mild headache; sent home with advice, no medication"),
];

/// What one run is.
pub(super) struct Run<'a> {
    pub(super) script: Script,
    pub(super) mode: Mode,
    pub(super) clients: usize,
    pub(super) tls: bool,
    pub(super) seconds: u32,
    /// Where its files may lie.
    pub(super) directory: &'a Path,
}

impl Run<'_> {
    /// Does it. pgbench counts logins into the time that it is given, so many of them get more of it; on a busy machine
    /// it may get no further than these: then again, with yet more.
    pub(super) fn against(&self, variant: &Variant) -> Result<Seen> {
        let logins = u32::try_from(self.clients / 200).unwrap_or(u32::MAX);
        for seconds in [self.seconds + logins, 2 * self.seconds + 10 * (logins + 1)] {
            if let Some(seen) = self.once(variant, seconds)? {
                return Ok(seen);
            }
        }
        Err(Error::new(format!("pgbench by {} does nothing but log in", variant.way)))
    }

    fn once(&self, variant: &Variant, seconds: u32) -> Result<Option<Seen>> {
        let scratch = tempfile::Builder::new().prefix("pgbench-").tempdir_in(self.directory)?;
        let script = scratch.path().join("script.sql");
        fs::write(&script, self.script.text(variant.way.protection()))?;
        let endpoint = &variant.endpoint;
        let mut command = Command::new(program()?);
        let (seconds, clients) = (seconds.to_string(), self.clients.to_string());
        command
            .args(["-n", "-l", "-M", self.mode.name(), "-T", &seconds, "-c", &clients])
            .args(["-j", &self.clients.min(2).to_string(), "-f"])
            .arg(&script)
            .args(VALUES.iter().flat_map(|(name, value)| ["-D".to_owned(), format!("{name}={value}")]))
            .args(["-h", &endpoint.host, "-p", &endpoint.port.to_string(), "-U", &endpoint.user])
            .arg(&endpoint.database)
            .current_dir(scratch.path())
            .env("PGPASSWORD", &endpoint.password)
            .env("PGSSLMODE", if self.tls { "require" } else { "disable" })
            .env("PGGSSENCMODE", "disable")
            .env("LC_ALL", "C.UTF-8");
        if let Some(options) = &variant.options {
            command.env("PGOPTIONS", options);
        }
        let done = command.output()?;
        let (said, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if !done.status.success() || errors.contains("ERROR") {
            return Err(Error::new(format!("pgbench by {}: {errors}", variant.way)));
        }
        let Some(rate) = figure(&said, "tps = ") else { return Ok(None) };
        let mut latencies = latencies(scratch.path())?;
        latencies.sort_unstable();
        let operations = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
        Ok(Some(Seen { operations, rate, latencies }))
    }
}

/// pgbench beside the server's programs, or on the PATH.
fn program() -> Result<PathBuf> {
    let beside = binaries()?.join("pgbench");
    Ok(if beside.exists() { beside } else { PathBuf::from("pgbench") })
}

fn figure(said: &str, name: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of all its logs, one for each thread: the third field of a line is a transaction's time in µs.
fn latencies(directory: &Path) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("pgbench_log.") {
            let log = fs::read_to_string(entry.path())?;
            latencies.extend(log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
        }
    }
    Ok(latencies)
}
