//! The data of COPY, as PostgreSQL's "COPY" page defines its text, CSV and binary formats: rows split
//! and joined at any byte go in, the same rows with the values of protected columns replaced come out.
//! Only whole rows are let out, and only rows that have exactly the columns of the statement: bytes
//! that belong to no column could be a protected value. No keys here: the caller replaces values.

mod binary;
mod csv;
mod lines;
#[cfg(test)]
mod tests;
mod text;

use crate::error::ClientError;
use binary::Binary;
use lines::{Lines, Unit};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How the data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fields with escapes.
    Text,
    /// Fields in quotes.
    Csv,
    /// PostgreSQL's own.
    Binary,
}

/// Whether the first line is no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It is one.
    None,
    /// It names the columns; a server that reads it passes over it.
    Skipped,
    /// It must name the columns.
    Match,
}

/// One column of the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Name, for errors and the header.
    pub name: String,
    /// Whether its values are to be replaced.
    pub cell: bool,
    /// Written in quotes whatever it is.
    pub force_quote: bool,
    /// Never read as NULL.
    pub force_not_null: bool,
    /// Read as NULL in quotes, too.
    pub force_null: bool,
}

/// The options of a COPY, and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How the data is written.
    pub format: Format,
    /// Whether the first line is no row.
    pub header: Header,
    /// Between the fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
    /// What stands for the column's default.
    pub default: Option<Vec<u8>>,
    /// Around CSV fields.
    pub quote: u8,
    /// In front of a quote in CSV fields.
    pub escape: u8,
    /// The columns, in order.
    pub columns: Vec<Column>,
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client: values become cells. `end_marker` says whether a line `\.` ends CSV data, too, as
    /// it does up to PostgreSQL 17.
    In {
        /// Whether `\.` ends CSV data.
        end_marker: bool,
    },
    /// To a client: cells become values.
    Out,
}

/// Replaces the value of a column (by its position): appends what stands for it. In text and CSV a
/// value is read without its escapes and quotes, and what is appended gets those that it needs; a
/// value on its way in is appended as the bytes of its cell.
pub type Replace<'r> = dyn FnMut(usize, &[u8], &mut Vec<u8>) -> Result<(), ClientError> + 'r;

/// One COPY's data on its way.
pub struct Stream {
    layout: Arc<Layout>,
    direction: Direction,
    /// The beginning of a row whose end has not arrived.
    held: Zeroizing<Vec<u8>>,
    /// The longest row, in bytes.
    limit: usize,
    lines: Lines,
    binary: Binary,
    /// Rows (in text and CSV: lines) done with.
    rows: u64,
    /// The end marker was read: what follows means nothing.
    ended: bool,
    scratch: Scratch,
}

/// Buffers kept from value to value.
#[derive(Default)]
struct Scratch {
    value: Zeroizing<Vec<u8>>,
    shown: Zeroizing<Vec<u8>>,
    /// The column whose value is being replaced.
    column: Option<usize>,
}

impl Stream {
    /// The data of a COPY from its beginning. A row longer than `limit` is an error.
    pub fn new(layout: Arc<Layout>, direction: Direction, limit: usize) -> Self {
        Self {
            lines: Lines::new(&layout),
            layout,
            direction,
            held: Zeroizing::default(),
            limit,
            binary: Binary::default(),
            rows: 0,
            ended: false,
            scratch: Scratch::default(),
        }
    }

    /// Takes the next bytes, and appends the rows that end in them. After an error, `out` holds the
    /// rows before the bad one, and the stream is of no more use.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        replace: &mut Replace<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        if self.held.is_empty() {
            let done = self.whole_rows(bytes, false, replace, out)?;
            self.held.extend_from_slice(bytes.get(done..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let done = self.whole_rows(&held, false, replace, out)?;
            held.drain(..done);
            self.held = held;
        }
        if self.held.len() > self.limit {
            return Err(self.located(ClientError::new(
                "54000",
                "a row of COPY data is longer than is accepted",
                "",
            )));
        }
        Ok(())
    }

    /// Rows done with (in text and CSV: lines that are whole rows, a header among them).
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// No more bytes come: appends the last row if its end was left out.
    pub fn finish(&mut self, replace: &mut Replace<'_>, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let held = std::mem::take(&mut self.held);
        self.whole_rows(&held, true, replace, out).map(|_| ())
    }

    /// Treats whole rows; returns how many bytes they had.
    fn whole_rows(
        &mut self,
        bytes: &[u8],
        last: bool,
        replace: &mut Replace<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, ClientError> {
        let mut done = 0;
        loop {
            let rest = bytes.get(done..).unwrap_or_default();
            let start = out.len();
            let taken = match self.layout.format {
                Format::Binary => self.tuple(rest, last, replace, out),
                Format::Text | Format::Csv => self.line(rest, last, replace, out),
            };
            match taken {
                Ok(0) => return Ok(done),
                Ok(taken) => done += taken,
                Err(error) => {
                    out.truncate(start);
                    return Err(self.located(error));
                }
            }
        }
    }

    /// Treats a line; returns its length, or 0 if its end is not there.
    fn line(
        &mut self,
        rest: &[u8],
        last: bool,
        replace: &mut Replace<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, ClientError> {
        if self.ended {
            return Ok(rest.len());
        }
        let (length, next, marker) = match self.lines.next(rest, last)? {
            Unit::More => return Ok(0),
            Unit::Marker { next } => (0, next, true),
            Unit::Line { length, next } => {
                let csv_marker = self.layout.format == Format::Csv
                    && self.direction == Direction::In { end_marker: true }
                    && next > length
                    && rest.get(..length) == Some(b"\\.");
                (length, next, csv_marker)
            }
        };
        self.rows += 1;
        let line = rest.get(..length).unwrap_or_default();
        let header = self.rows == 1 && self.layout.header != Header::None;
        if marker {
            if self.direction == Direction::Out {
                return Err(lines::bad("end-of-copy marker corrupt"));
            }
            out.extend_from_slice(rest.get(..next).unwrap_or_default());
            self.ended = true;
            return Ok(next);
        }
        match (self.direction, self.layout.header) {
            // Nobody reads it, so it says nothing: it might be a row.
            (Direction::In { .. }, Header::Skipped) if header => {}
            (Direction::In { .. }, Header::Match) if header => {
                self.check_header(line)?;
                out.extend_from_slice(line);
            }
            (Direction::Out, _) if header => out.extend_from_slice(line),
            _ if self.layout.format == Format::Csv => {
                csv::row(&self.layout, self.direction, line, &mut self.scratch, replace, out)?
            }
            _ => text::row(&self.layout, self.direction, line, &mut self.scratch, replace, out)?,
        }
        out.extend_from_slice(rest.get(length..next).unwrap_or_default());
        Ok(next)
    }

    fn check_header(&self, line: &[u8]) -> Result<(), ClientError> {
        let names = match self.layout.format {
            Format::Csv => csv::values(&self.layout, line)?,
            _ => text::values(&self.layout, line),
        };
        if names.len() != self.layout.columns.len() {
            return Err(lines::bad(&format!(
                "wrong number of fields in header line: got {}, expected {}",
                names.len(),
                self.layout.columns.len()
            )));
        }
        let wrong = |(column, name): (&Column, &Option<Zeroizing<Vec<u8>>>)| {
            name.as_ref().is_none_or(|name| name.as_slice() != column.name.as_bytes())
        };
        match self.layout.columns.iter().zip(&names).position(wrong) {
            None => Ok(()),
            Some(at) => Err(lines::bad(&format!("column name mismatch in header line field {}", at + 1))),
        }
    }

    fn located(&self, mut error: ClientError) -> ClientError {
        if error.hint.is_empty() {
            let unit = if self.layout.format == Format::Binary { "row" } else { "line" };
            let column = self.scratch.column.and_then(|index| self.layout.columns.get(index));
            let column = column.map_or_else(String::new, |column| format!(", column \"{}\"", column.name));
            error.hint = format!("See {unit} {} of the data{column}.", self.rows.max(1));
        }
        error
    }
}
