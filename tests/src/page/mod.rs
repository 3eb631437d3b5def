//! A page of documentation that is also a test: its console sessions are run, in order, and what they
//! print is compared with what the page shows.
//!
//! A `console` block holds lines such as `tenant$ trefoil-admin user show`: the word before `$` is a
//! machine, a directory with a shell of its own. What follows, up to the next prompt, is what the command
//! prints but for empty lines at its end; `[exit 1]` ends it where the command fails. A block whose info string names a file
//! (` ```toml proxy/proxy.toml`) is written to that file. A comment `<!-- proxy$ … -->` is run, and not
//! shown to readers. What differs each time is written as `pattern` says.

mod console;
mod pattern;
mod text;

pub use console::Console;

use crate::{Error, Result};
use pattern::Names;
use std::fs;
use std::path::Path;
use text::{Command, Step};

/// Where a page is played.
pub struct Stage<'a> {
    /// An empty directory for the machines.
    pub directory: &'a Path,
    /// Ports that the page writes, and those that stand for them here.
    pub ports: &'a [(u16, u16)],
    /// What each shell runs first: settings and functions of the test alone.
    pub prelude: &'a str,
}

/// Plays a page; an error shows the first command that printed something else.
pub fn play(page: &str, stage: &Stage<'_>) -> Result<()> {
    run(page, stage, |command, names, seen| {
        if pattern::matches(&command.shown, &seen, names) {
            return Ok(());
        }
        let shown = command.shown.iter().map(|line| format!("  - {line}\n")).collect::<String>();
        let seen = seen.iter().map(|line| format!("  + {line}\n")).collect::<String>();
        let (line, machine, text) = (command.line, &command.machine, &command.text);
        Err(Error::new(format!("line {line}: {machine}$ {text}\nshown (-), printed (+):\n{shown}{seen}")))
    })
}

/// Plays a page and returns it with what was printed, and whether it went to its end; lines with
/// placeholders stay where they match.
pub fn rewrite(page: &str, stage: &Stage<'_>) -> (String, Result<()>) {
    let mut edits = Vec::new();
    let outcome = run(page, stage, |command, names, seen| {
        if !pattern::matches(&command.shown, &seen, names) {
            edits.push((command.line, command.shown.len(), pattern::merge(&command.shown, &seen, names)));
        }
        Ok(())
    });
    let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
    for (line, length, new) in edits.into_iter().rev() {
        // Counted from one, the line of the prompt is also the index of the line below it.
        lines.splice(line..line + length, new);
    }
    (lines.join("\n") + "\n", outcome)
}

fn run(
    page: &str,
    stage: &Stage<'_>,
    mut compare: impl FnMut(&Command, &mut Names, Vec<String>) -> Result<()>,
) -> Result<()> {
    let mut names = Names::default();
    let mut console = Console::new(stage.directory, stage.prelude);
    for step in text::steps(page)? {
        match step {
            Step::File { path, text } => {
                let path = stage.directory.join(path);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(|error| Error::at(parent, &error))?;
                }
                let text = renumber(&names.fill(&text)?, stage.ports.iter().copied());
                fs::write(&path, text).map_err(|error| Error::at(&path, &error))?;
            }
            Step::Command(command) => {
                let at = |error: Error| Error::new(format!("line {}: {error}", command.line));
                let text = renumber(&names.fill(&command.text).map_err(at)?, stage.ports.iter().copied());
                let (output, status) = console.run(&command.machine, &text).map_err(at)?;
                let output = renumber(&output, stage.ports.iter().map(|(shown, here)| (*here, *shown)));
                let mut seen: Vec<String> = output.lines().map(|line| line.trim_end().to_owned()).collect();
                while seen.pop_if(|line| line.is_empty()).is_some() {}
                if status != 0 {
                    seen.push(format!("[exit {status}]"));
                }
                if command.hidden && status != 0 {
                    return Err(at(Error::new(format!("{text}:\n{}", seen.join("\n")))));
                }
                if !command.hidden {
                    compare(&command, &mut names, seen)?;
                }
            }
        }
    }
    Ok(())
}

/// Replaces whole numbers.
fn renumber(text: &str, ports: impl Iterator<Item = (u16, u16)> + Clone) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = digits.split_at(end);
        out.push_str(before);
        match ports.clone().find(|(from, _)| from.to_string() == number) {
            Some((_, to)) => out.push_str(&to.to_string()),
            None => out.push_str(number),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]
    use super::*;

    const PAGE: &str = "A file:\n```text here/greeting\nhello 6432\n```\n\n<!-- here$ export NAME=you -->\n\
        ```console\nhere$ cat greeting; echo $NAME $RANDOM\nhello 6432\nyou ‹number›\n\
        here$ echo ‹number›; \\\n  false\n‹number›\n[exit 1]\nthere$ pwd | sed s=.*/==\nthere\n```\n";

    fn stage(directory: &Path) -> Stage<'_> {
        Stage { directory, ports: &[(6432, 777)], prelude: "" }
    }

    #[test]
    fn a_page_that_shows_what_is_printed_passes() {
        let dir = tempfile::tempdir().unwrap();
        play(PAGE, &stage(dir.path())).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("here/greeting")).unwrap(), "hello 777\n");
    }

    #[test]
    fn a_page_that_shows_something_else_fails_with_line_and_both_texts() {
        for (from, to, line) in [
            ("you ‹number›", "me ‹number›", "line 8"),
            ("[exit 1]\n", "", "line 12"),
            ("\nthere\n", "\nelsewhere\n", "line 15"),
            ("export NAME=you", "false", "line 6"),
            ("echo ‹number›", "echo ‹nothing›", "line 12"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let error = play(&PAGE.replace(from, to), &stage(dir.path())).unwrap_err().to_string();
            assert!(error.starts_with(line), "{to}: {error}");
        }
    }

    #[test]
    fn a_page_is_written_anew_around_its_placeholders() {
        let dir = tempfile::tempdir().unwrap();
        let old = PAGE.replace("hello 6432\nyou", "hullo\nyou").replace("[exit 1]\n", "");
        assert_eq!(rewrite(&old, &stage(dir.path())).0, PAGE.replace("```text here/greeting\nhullo", ""));
    }
}
