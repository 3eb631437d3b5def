//! What the micro benchmarks measured last: criterion leaves it in the target directory.

use crate::tenant::output;
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// All that have run.
#[derive(Default)]
pub(super) struct Micro {
    /// Medians by name, in ns.
    pub(super) medians: Vec<(String, f64)>,
    /// When, and at which commit.
    pub(super) origin: String,
}

/// What one of them left.
struct Left {
    name: String,
    median: f64,
    when: SystemTime,
}

impl Micro {
    /// Those that lie beside the running program.
    pub(super) fn read() -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or_else(|| Error::new("no target directory"))?;
        Self::of(&target.join("criterion"))
    }

    fn of(directory: &Path) -> Result<Self> {
        let mut found = Vec::new();
        collect(directory, &mut found);
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let Some(last) = found.iter().map(|left| left.when).max() else { return Ok(Self::default()) };
        let commit = fs::read_to_string(directory.join("commit")).unwrap_or_else(|_| "unknown".to_owned());
        let origin = format!("{} at commit `{}`", day(last)?, commit.trim());
        Ok(Self { medians: found.into_iter().map(|left| (left.name, left.median)).collect(), origin })
    }

    /// The slowest of those whose name begins so.
    pub(super) fn slowest(&self, name: &str) -> Option<f64> {
        let of_name = self.medians.iter().filter(|(other, _)| other.starts_with(name));
        of_name.map(|(_, median)| *median).reduce(f64::max)
    }
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
    use std::time::Duration;

    #[test]
    fn medians_come_with_the_day_and_the_commit_of_their_run() {
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join("commit"), "abcdef0\n").unwrap();
        for (name, median, hours) in [("key/b", 2.0, 60), ("key/a", 1.0, 48)] {
            let directory = target.path().join(name).join("new");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("benchmark.json"), format!(r#"{{"full_id":"{name}"}}"#)).unwrap();
            let estimates = directory.join("estimates.json");
            fs::write(&estimates, format!(r#"{{"median":{{"point_estimate":{median}}}}}"#)).unwrap();
            let when = SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 60 * 60);
            fs::File::options().write(true).open(&estimates).unwrap().set_modified(when).unwrap();
        }
        let micro = Micro::of(target.path()).unwrap();
        assert_eq!(micro.medians, [("key/a".to_owned(), 1.0), ("key/b".to_owned(), 2.0)]);
        assert_eq!(micro.origin, "1970-01-03 at commit `abcdef0`");
        assert_eq!(micro.slowest("key/"), Some(2.0));
    }
}
