//! What a process costs, as `/proc` and perf count it (proc(5)).

use crate::{Error, Result};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// `sysconf(_SC_CLK_TCK)`, 100 on every Linux.
const TICKS: f64 = 100.0;

/// Readings of one process since its start.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading {
    /// CPU time of all its threads, user's and system's, in seconds; exact to 10 ms.
    pub(super) cpu: f64,
    /// Context switches of the threads that it has, voluntary or not.
    pub(super) switches: u64,
    /// The most memory that was resident since [`forget_peak`], in KiB.
    pub(super) peak: u64,
}

impl Reading {
    /// As it is now.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let stat = read(pid, "stat")?;
        // The name before the last parenthesis may hold anything; the third field follows it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<f64>().ok());
        let cpu = ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) / TICKS);
        let mut switches = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // One that has ended in the meantime has no figures.
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            switches += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
            switches += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or_default();
        }
        let peak = field(&read(pid, "status")?, "VmHWM:");
        let missing = || Error::new(format!("/proc/{pid}: not the fields of proc(5)"));
        Ok(Self { cpu: cpu.ok_or_else(missing)?, switches, peak: peak.ok_or_else(missing)? })
    }
}

/// Resident memory of a process, in KiB.
pub(super) fn resident(pid: u32) -> Result<u64> {
    field(&read(pid, "status")?, "VmRSS:").ok_or_else(|| Error::new(format!("/proc/{pid}: no VmRSS")))
}

/// Lets the peak of resident memory begin anew, and says whether it may: of programs that let nobody look into their
/// memory only root may.
pub(super) fn forget_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn read(pid: u32, name: &str) -> Result<String> {
    let file = PathBuf::from(format!("/proc/{pid}/{name}"));
    fs::read_to_string(&file).map_err(|error| Error::at(&file, &error))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Counts the system calls of processes, each by a perf of its own.
pub(super) struct Counted(Vec<Child>);

impl Counted {
    /// Begins, and returns when all calls are counted; `None` where perf is missing or may not.
    pub(super) fn begin(pids: &[u32]) -> Option<Self> {
        let begin = |pid: &u32| {
            let mut perf = Command::new("perf")
                .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pid.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .ok()?;
            while !counts(perf.id()) {
                if perf.try_wait().ok()?.is_some() {
                    return None;
                }
                sleep(Duration::from_millis(1));
            }
            // It counts from a moment after its last counter is open.
            sleep(Duration::from_millis(20));
            Some(perf)
        };
        let mut counted = Self(Vec::new());
        for pid in pids {
            counted.0.push(begin(pid)?);
        }
        Some(counted)
    }

    /// Ends, and says how many there were of each process.
    pub(super) fn end(mut self) -> Option<Vec<u64>> {
        let end = |child: Child| {
            // On SIGINT perf prints what it has counted.
            Command::new("/bin/sh").args(["-c", &format!("kill -s INT {}", child.id())]).status().ok()?;
            let said = child.wait_with_output().ok()?.stderr;
            let said = String::from_utf8_lossy(&said);
            said.lines().find(|line| line.contains("raw_syscalls"))?.split(',').next()?.parse().ok()
        };
        std::mem::take(&mut self.0).into_iter().map(end).collect()
    }
}

impl Drop for Counted {
    /// Those that count for nobody would slow down what is measured.
    fn drop(&mut self) {
        for perf in &mut self.0 {
            perf.kill().and_then(|()| perf.wait()).ok();
        }
    }
}

/// Whether this perf has a counter open.
fn counts(perf: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{perf}/fd")).into_iter().flatten().flatten();
    let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target.to_string_lossy().contains("perf_event"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_cpu_and_memory() {
        let pid = std::process::id();
        assert!(forget_peak(pid));
        let before = Reading::of(pid).unwrap();
        let held = vec![1_u8; 32 << 20];
        // Other tests of this process may use it, too.
        while Reading::of(pid).unwrap().cpu < before.cpu + 0.02 {
            std::hint::black_box(&held);
        }
        let after = Reading::of(pid).unwrap();
        assert!(after.peak >= before.peak + (30 << 10), "{} then {} KiB", before.peak, after.peak);
        assert!(after.switches >= before.switches && resident(pid).unwrap() <= after.peak);
    }
}
