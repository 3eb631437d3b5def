//! Child processes that cannot outlive us: each runs under a shell that waits for the end of a pipe
//! which only we hold. Whatever ends us, a signal or a panic, closes the pipe and stops the child.

use crate::{Error, Result};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

const SCRIPT: &str = r#"
signal=$1 log=$2 scratch=$3; shift 3
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
child=$!
echo "$child"
exec >&-
(read -r _ <&3; kill -s "$signal" "$child") 2>/dev/null &
reader=$!
wait "$child"; status=$?
kill "$reader" 2>/dev/null
[ -z "$scratch" ] || rm -rf -- "$scratch"
exit "$status"
"#;

/// A running child process with its output in a log file.
pub struct Leash {
    name: String,
    pid: u32,
    log: PathBuf,
    log_start: usize,
    shell: Child,
    held: Option<ChildStdin>,
}

impl Leash {
    /// Starts `command` (program and arguments); `signal` asks it to stop. Its output is appended to
    /// `log`. The directory `scratch`, where one is named, is removed when it has ended.
    pub fn start(
        name: &str,
        command: &[String],
        signal: &str,
        log: &Path,
        scratch: Option<&Path>,
    ) -> Result<Self> {
        let log_start = fs::metadata(log).map_or(0, |log| log.len()).try_into().unwrap_or(0);
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "leash", signal])
            .arg(log)
            .arg(scratch.unwrap_or(Path::new("")))
            .args(command)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal is ours to handle, not theirs.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::new(format!("{name}: /bin/sh: {error}")))?;
        let held = shell.stdin.take();
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let pid = line.trim().parse().map_err(|_| Error::new(format!("{name}: did not start")))?;
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), log_start, shell, held })
    }

    /// Waits until the log holds `needle`, and returns the rest of that line.
    pub fn wait_for(&mut self, needle: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            let ended = !self.running();
            let log = self.output();
            if let Some((_, rest)) = log.split_once(needle)
                && let Some((line, _)) = rest.split_once('\n')
            {
                return Ok(line.trim().to_owned());
            }
            if ended || Instant::now() > end {
                let why = if ended { "ended" } else { "does not get ready" };
                return Err(Error::new(format!("{} {why}; its output:\n{log}", self.name)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the child is still there.
    pub fn running(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The child's own process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the child has written so far.
    pub fn output(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// Where it is written.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends the child a signal by name.
    pub fn signal(&self, signal: &str) -> Result<()> {
        // The shell's own kill: a minimal system has no program of that name.
        let command = format!("kill -s {signal} {}", self.pid);
        let done = Command::new("/bin/sh").args(["-c", &command]).status()?;
        if done.success() { Ok(()) } else { Err(Error::new(format!("{}: no such process", self.name))) }
    }

    /// Asks the child to stop and waits for it: at most ten seconds, then it is killed.
    pub fn stop(&mut self) {
        self.held = None;
        let end = Instant::now() + Duration::from_secs(10);
        while self.running() {
            if Instant::now() > end {
                drop(self.signal("KILL"));
                drop(self.shell.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path, script: &str) -> Leash {
        let command = ["sh", "-c", script].map(str::to_owned);
        Leash::start("sleeper", &command, "TERM", &dir.join("log"), None).unwrap()
    }

    #[test]
    fn a_dropped_leash_stops_its_child() {
        let dir = tempfile::tempdir().unwrap();
        let mut leash = sleeper(dir.path(), "echo ready now; exec sleep 60");
        assert_eq!(leash.wait_for("ready", Duration::from_secs(5)).unwrap(), "now");
        let pid = leash.pid();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(leash);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_child_that_ends_is_reported_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let error = sleeper(dir.path(), "echo no luck; exit 3")
            .wait_for("ready", Duration::from_secs(5))
            .unwrap_err()
            .to_string();
        assert!(error.contains("ended") && error.contains("no luck"), "{error}");
    }
}
