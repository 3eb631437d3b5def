//! What the micro benchmarks measured last: criterion leaves it in the target directory.

use crate::tenant::output;
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// What is older than the newest by more than this is of another run, perhaps of a benchmark that is no more.
const RUN: Duration = Duration::from_secs(24 * 60 * 60);

/// Medians of all that have run, by name, in ns.
pub(super) struct Micro(pub(super) Vec<(String, f64)>);

/// What one of them left.
struct Left {
    name: String,
    median: f64,
    when: SystemTime,
}

impl Micro {
    /// Those that lie beside the running program.
    pub(super) fn read() -> Result<Self> {
        Ok(Self(beside()?.into_iter().map(|left| (left.name, left.median)).collect()))
    }

    /// The days on which these were measured, the first and the last; `None` if none were.
    #[expect(dead_code, reason = "the page does not say it yet")]
    pub(super) fn days() -> Result<Option<[String; 2]>> {
        let left = beside()?;
        let times = || left.iter().map(|left| left.when);
        times().min().zip(times().max()).map(|(first, last)| Ok([day(first)?, day(last)?])).transpose()
    }

    /// The slowest of those whose name begins so.
    pub(super) fn slowest(&self, name: &str) -> Option<f64> {
        let of_name = self.0.iter().filter(|(other, _)| other.starts_with(name));
        of_name.map(|(_, median)| *median).reduce(f64::max)
    }
}

fn beside() -> Result<Vec<Left>> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or_else(|| Error::new("no target directory"))?;
    Ok(last_run(&target.join("criterion")))
}

/// By name.
fn last_run(directory: &Path) -> Vec<Left> {
    let mut found = Vec::new();
    collect(directory, &mut found);
    let newest = found.iter().map(|left| left.when).max();
    found.retain(|left| newest.is_some_and(|newest| newest <= left.when + RUN));
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn collect(directory: &Path, found: &mut Vec<Left>) {
    for path in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.ends_with("new") {
            found.extend(one(&path));
        } else if path.is_dir() {
            collect(&path, found);
        }
    }
}

fn one(directory: &Path) -> Option<Left> {
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(directory.join(name)).ok()?).ok();
    let name = read("benchmark.json")?.get("full_id")?.as_str()?.to_owned();
    let median = read("estimates.json")?.get("median")?.get("point_estimate")?.as_f64()?;
    let when = fs::metadata(directory.join("estimates.json")).ok()?.modified().ok()?;
    Some(Left { name, median, when })
}

fn day(time: SystemTime) -> Result<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(output(Command::new("date").args(["-I", "-d", &format!("@{seconds}")]))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_run_left_is_not_taken_for_this_ones() {
        let target = tempfile::tempdir().unwrap();
        let leave = |name: &str, median: f64, hours: u64| {
            let directory = target.path().join(name).join("new");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("benchmark.json"), format!(r#"{{"full_id":"{name}"}}"#)).unwrap();
            let estimates = directory.join("estimates.json");
            fs::write(&estimates, format!(r#"{{"median":{{"point_estimate":{median}}}}}"#)).unwrap();
            let when = SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 60 * 60);
            fs::File::options().write(true).open(&estimates).unwrap().set_modified(when).unwrap();
        };
        for (name, median, hours) in [("key/b", 2.0, 60), ("key/a", 1.0, 48), ("key/gone", 9.0, 30)] {
            leave(name, median, hours);
        }
        let left = last_run(target.path());
        assert_eq!(
            left.iter().map(|left| (left.name.as_str(), left.median)).collect::<Vec<_>>(),
            [("key/a", 1.0), ("key/b", 2.0)]
        );
        assert_eq!(day(left[1].when).unwrap(), "1970-01-03");
    }
}
