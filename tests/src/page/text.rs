//! What a page asks for: files and commands, in order.

use crate::{Error, Result};

/// One thing to do.
pub(super) enum Step {
    /// Write a file, at a path below the stage's directory.
    File { path: String, text: String },
    /// Run a command.
    Command(Command),
}

/// A command with what the page shows of its output.
pub(super) struct Command {
    /// The last line of the command itself, counted from one.
    pub(super) line: usize,
    /// On which machine.
    pub(super) machine: String,
    /// For the shell; several lines where they end with a backslash.
    pub(super) text: String,
    /// What it prints, as patterns.
    pub(super) shown: Vec<String>,
    /// Whether readers see neither the command nor its output.
    pub(super) hidden: bool,
}

/// The steps of a page.
pub(super) fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate().map(|(number, line)| (number + 1, line));
    while let Some((number, line)) = lines.next() {
        if let Some(command) = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) {
            if let Some((machine, text)) = prompt(command) {
                steps.push(Step::Command(Command {
                    line: number,
                    machine: machine.to_owned(),
                    text: text.to_owned(),
                    shown: Vec::new(),
                    hidden: true,
                }));
            }
        } else if let Some(info) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|(_, line)| *line != "```");
            match info.split_once(' ') {
                Some((_, path)) => {
                    let text = block.map(|(_, line)| format!("{line}\n")).collect();
                    steps.push(Step::File { path: path.to_owned(), text });
                }
                None if info == "console" => session(block, &mut steps)?,
                None => block.for_each(drop),
            }
        }
    }
    Ok(steps)
}

fn session<'p>(block: impl Iterator<Item = (usize, &'p str)>, steps: &mut Vec<Step>) -> Result<()> {
    let mut current: Option<Command> = None;
    for (number, line) in block {
        match &mut current {
            Some(command) if command.text.ends_with('\\') => {
                command.text = format!("{}\n{line}", command.text);
                command.line = number;
            }
            _ if prompt(line).is_some() => {
                steps.extend(current.take().map(Step::Command));
                current = prompt(line).map(|(machine, text)| Command {
                    line: number,
                    machine: machine.to_owned(),
                    text: text.to_owned(),
                    shown: Vec::new(),
                    hidden: false,
                });
            }
            Some(command) => command.shown.push(line.to_owned()),
            None => return Err(Error::new(format!("line {number}: a session begins with a prompt"))),
        }
    }
    steps.extend(current.map(Step::Command));
    Ok(())
}

/// Machine and command of a line such as `proxy$ ls`.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (machine, command) = line.split_once("$ ")?;
    let name = !machine.is_empty() && machine.chars().all(|character| character.is_ascii_lowercase());
    name.then_some((machine, command))
}
