//! Whether the programs' memory has stopped to grow.

use crate::stack::Stack;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// What a program may have gained between the first and the last third of the watch, in KiB.
const SLACK: u64 = 8 * 1024;

/// Resident memory by program, in KiB, look by look.
#[derive(Default)]
pub(super) struct Memory {
    looks: BTreeMap<String, Vec<u64>>,
}

impl Memory {
    pub(super) fn look(&mut self, stack: &Stack) -> Result<()> {
        for part in [&stack.proxy].into_iter().chain(&stack.acting) {
            let process = part.process();
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kibibytes = resident.and_then(|line| line.trim().split(' ').next()?.parse().ok());
            let known = kibibytes.ok_or_else(|| Error::new(format!("{}: no VmRSS", process.name())))?;
            self.looks.entry(process.name().to_owned()).or_default().push(known);
        }
        Ok(())
    }

    /// The highest of the last third is not above that of the first third by more than is allowed.
    pub(super) fn judge(&self) -> Result<String> {
        let mut said = Vec::new();
        for (name, looks) in &self.looks {
            let third = looks.len().div_ceil(3);
            let highest = |looks: &[u64]| looks.iter().max().copied().unwrap_or_default();
            let early = highest(looks.get(..third).unwrap_or_default());
            let late = highest(looks.get(looks.len() - third..).unwrap_or_default());
            if late > early + SLACK + early / 10 {
                return Err(Error::new(format!("{name} grows: {looks:?} KiB")));
            }
            said.push(format!("{name} {} then {} MiB", early / 1024, late / 1024));
        }
        Ok(said.join(", "))
    }
}
