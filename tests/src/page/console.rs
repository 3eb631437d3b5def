//! Shells that run the commands of a page, one for each machine. They, and all that they started, end
//! with the value that holds them, or with this process.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// Stands between a command's output and its status.
const END: &str = "\n\u{1}";

/// The machines of a page.
pub struct Console {
    directory: PathBuf,
    prelude: String,
    shells: BTreeMap<String, Shell>,
}

struct Shell {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
}

impl Console {
    /// Machines with their directories in this one; each shell runs `prelude` first.
    pub fn new(directory: &Path, prelude: &str) -> Self {
        Self { directory: directory.to_owned(), prelude: prelude.to_owned(), shells: BTreeMap::new() }
    }

    /// Runs a command on a machine; returns what it printed on both outputs, and its exit status.
    pub fn run(&mut self, machine: &str, command: &str) -> Result<(String, i32)> {
        if !self.shells.contains_key(machine) {
            let mut shell = Shell::start(&self.directory.join(machine))?;
            let prelude = format!("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{}", self.prelude);
            shell.run(&prelude)?;
            self.shells.insert(machine.to_owned(), shell);
        }
        self.shells.get_mut(machine).ok_or_else(|| Error::new("no shell"))?.run(command)
    }
}

impl Shell {
    fn start(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::at(directory, &error))?;
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(directory)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .map_err(|error| Error::new(format!("bash: {error}")))?;
        let (Some(input), Some(mut pipe)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::new("bash has no pipes"));
        };
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer.get(..length).unwrap_or_default().to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, output })
    }

    fn run(&mut self, command: &str) -> Result<(String, i32)> {
        // The shell's own input is this script: commands do not get to read it.
        let script = format!("{{ {command}\n}} </dev/null 2>&1; printf '\\n\\001%s\\n' $?\n");
        self.input.write_all(script.as_bytes())?;
        let end = Instant::now() + LIMIT;
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((output, status)) = text.split_once(END)
                && let Some(status) = status.strip_suffix('\n')
            {
                let status = status.parse().map_err(|_| Error::new(format!("status {status}?")))?;
                return Ok((output.to_owned(), status));
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(more) => bytes.extend(more),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::new(format!("does not end; so far:\n{text}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(format!("the shell has ended; so far:\n{text}")));
                }
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Its group: the shell, and what it started in the background.
        let group = format!("kill -s KILL -- -{}", self.child.id());
        drop(Command::new("/bin/sh").args(["-c", &group]).stderr(Stdio::null()).status());
        drop(self.child.wait());
    }
}
