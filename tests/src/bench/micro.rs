//! What the micro benchmarks measured last: criterion leaves it in the target directory.

use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Medians of all that have run, by name, in ns.
pub(super) struct Micro(pub(super) Vec<(String, f64)>);

impl Micro {
    /// Those that lie beside the running program.
    pub(super) fn read() -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or_else(|| Error::new("no target directory"))?;
        let mut found = Vec::new();
        collect(&target.join("criterion"), &mut found);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Self(found))
    }

    /// The slowest of those whose name begins so.
    pub(super) fn slowest(&self, name: &str) -> Option<f64> {
        let of_name = self.0.iter().filter(|(other, _)| other.starts_with(name));
        of_name.map(|(_, median)| *median).reduce(f64::max)
    }
}

fn collect(directory: &Path, found: &mut Vec<(String, f64)>) {
    for path in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.ends_with("new") {
            found.extend(one(&path));
        } else if path.is_dir() {
            collect(&path, found);
        }
    }
}

fn one(directory: &Path) -> Option<(String, f64)> {
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(directory.join(name)).ok()?).ok();
    let name = read("benchmark.json")?.get("full_id")?.as_str()?.to_owned();
    let median = read("estimates.json")?.get("median")?.get("point_estimate")?.as_f64()?;
    Some((name, median))
}
