//! Output for a terminal: titles, tables side by side, and a mark for each promise.

use std::io::IsTerminal;

/// Prints, and counts the promises kept and broken.
pub(crate) struct Screen {
    colour: bool,
    kept: usize,
    failed: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, kept: 0, failed: 0 }
    }

    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn title(&self, text: &str) {
        println!("\n{}", self.paint("1", &format!("== {text}")));
    }

    pub(crate) fn say(&self, text: &str) {
        println!("   {text}");
    }

    pub(crate) fn statement(&self, text: &str) {
        println!("   {}", self.paint("36", text));
    }

    /// A promise, and whether it was kept.
    pub(crate) fn promise(&mut self, text: &str, kept: bool) {
        if kept {
            self.kept += 1;
            println!("   {} {text}", self.paint("32", "✓"));
        } else {
            self.failed += 1;
            println!("   {} {text}", self.paint("1;31", "✗ BROKEN:"));
        }
    }

    /// Two tables of the same rows, side by side.
    pub(crate) fn side_by_side(&self, left: &Table<'_>, right: &Table<'_>) {
        let (left, right) = (left.lines(), right.lines());
        let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        for (number, (left, right)) in left.iter().zip(&right).enumerate() {
            let pad = " ".repeat(width - left.chars().count());
            let (left, right) = match number {
                0 => (self.paint("1;32", left), self.paint("1;31", right)),
                _ => (left.clone(), self.paint("2", right)),
            };
            println!("   {left}{pad}  {} {right}", self.paint("2", "│"));
        }
    }
}

/// A table with a title.
pub(crate) struct Table<'a> {
    pub(crate) title: &'a str,
    pub(crate) columns: &'a [&'a str],
    pub(crate) rows: &'a [Vec<Option<String>>],
    /// Longer values are cut to this many characters.
    pub(crate) cut: usize,
}

impl Table<'_> {
    fn lines(&self) -> Vec<String> {
        let header = self.columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let body = self.rows.iter().map(|row| row.iter().map(|value| self.shown(value.as_deref())).collect());
        let all: Vec<Vec<String>> = std::iter::once(header).chain(body).collect();
        let width = |column: usize| {
            all.iter().filter_map(|row| row.get(column)).map(|value| value.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let padded = row.iter().zip(&widths).map(|(value, width)| {
                value.to_owned() + &" ".repeat(width.saturating_sub(value.chars().count()))
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let rule = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  ");
        let mut lines = vec![self.title.to_owned()];
        for (number, row) in all.iter().enumerate() {
            lines.push(line(row));
            if number == 0 {
                lines.push(rule.clone());
            }
        }
        lines
    }

    fn shown(&self, value: Option<&str>) -> String {
        let Some(value) = value else { return "∅".to_owned() };
        if value.chars().count() <= self.cut {
            return value.to_owned();
        }
        value.chars().take(self.cut.saturating_sub(1)).chain(['…']).collect()
    }
}
