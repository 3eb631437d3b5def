//! The input, line by line, in bounded memory; and how far it has been read.

use super::error::DecryptError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{BufRead, Read};
use zeroize::Zeroizing;

/// With what a dump of `pg_dump -Fc` begins.
const CUSTOM_FORMAT: &[u8] = b"PGDMP";

/// The longest line: PostgreSQL makes no longer row.
pub(super) const MAX_LINE: u64 = 1 << 30;

/// Lines between two looks at the progress bar.
const LINES_PER_TICK: u64 = 512;

/// The input.
pub(super) struct Reader {
    input: Box<dyn BufRead>,
    line: Zeroizing<Vec<u8>>,
    /// Of the line that was read last, from 1.
    pub(super) number: u64,
    bytes: u64,
    progress: ProgressBar,
    by_bytes: bool,
}

impl Reader {
    /// Reads `input`; `length` is its length in bytes where that is known. The progress bar is shown on
    /// standard error if that is a terminal.
    pub(super) fn new(input: Box<dyn BufRead>, length: Option<u64>) -> Self {
        let progress = match length {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        let template = match length {
            Some(_) => "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
            None => "{spinner} {pos} lines  {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            progress.set_style(style);
        }
        progress.set_draw_target(ProgressDrawTarget::stderr_with_hz(4));
        Self { input, line: Zeroizing::default(), number: 0, bytes: 0, progress, by_bytes: length.is_some() }
    }

    /// The next line with its end; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, DecryptError> {
        self.line.clear();
        let read = (&mut self.input)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(DecryptError::Read)?;
        if read == 0 {
            return Ok(None);
        }
        if self.number == 0 && self.line.starts_with(CUSTOM_FORMAT) {
            return Err(DecryptError::CustomFormat);
        }
        self.number += 1;
        self.bytes += u64::try_from(read).unwrap_or_default();
        if self.bytes > 0 && self.number.is_multiple_of(LINES_PER_TICK) {
            self.progress.set_position(if self.by_bytes { self.bytes } else { self.number });
        }
        if u64::try_from(self.line.len()).is_ok_and(|length| length > MAX_LINE) {
            return Err(DecryptError::Form {
                line: self.number,
                problem: "the line is longer than PostgreSQL makes any".to_owned(),
                remedy: "give the output of pg_dump or COPY",
            });
        }
        Ok(Some(&self.line))
    }

    /// The line that was read last.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}
