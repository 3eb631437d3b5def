//! On what was measured.

use super::pooler::Pooler;
use crate::endpoint::Endpoint;
use crate::programs::source;
use crate::tenant::output;
use crate::{Error, Result};
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// Lines of a page that name machine, versions, commit, date and command.
pub(super) fn described(server: &Endpoint, command: &str) -> Result<String> {
    // ARM's kernel gives no name.
    let cpu = first("/proc/cpuinfo", "model name").unwrap_or_else(|_| "an unknown processor".to_owned());
    let memory = first("/proc/meminfo", "MemTotal")?;
    let memory =
        memory.split(' ').next().and_then(|kibibytes| kibibytes.parse::<f64>().ok()).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = server.run("SHOW server_version")?;
    let version = version.first().and_then(|row| row.first()?.clone()).unwrap_or_default();
    Ok(format!(
        "Measured on {date} with `{command}` at commit `{commit}`: {cores} cores of {cpu}, {memory:.0} GiB, \
         Linux {kernel}; PostgreSQL {version}, {pooler}; {compiler}.\n",
        date = output(Command::new("date").arg("-I"))?.trim(),
        commit = commit(),
        cores = available_parallelism().map_or(1, usize::from),
        memory = memory / f64::from(1 << 20),
        kernel = kernel.trim(),
        pooler = Pooler::version()?,
        compiler = output(Command::new("rustc").arg("--version"))?.trim(),
    ))
}

fn first(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map(|(_, value)| value.trim().to_owned()).ok_or_else(|| Error::new(format!("{file}: no {name}")))
}

/// The commit that is checked out; a tree without git has none.
fn commit() -> String {
    let git = |arguments: &[&str]| output(Command::new("git").current_dir(source()).args(arguments));
    let Ok(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--", "*.rs", "*.toml"]).is_ok_and(|changed| !changed.is_empty());
    format!("{}{}", commit.trim(), if changed { " and changes" } else { "" })
}
