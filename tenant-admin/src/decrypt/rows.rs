//! The rows of one table: the data of a COPY, and INSERT statements.

use super::error::{DecryptError, Place, Problem};
use super::schema::{Holds, Schema};
use super::statement::{Edit, Statement, literal};
use super::work::{Form, Work};
use std::sync::Arc;
use trefoil_columns::copy::{self, Direction, Format, Header, Layout, Stream};
use trefoil_columns::error::ClientError;
use trefoil_columns::lex::Kind;
use trefoil_columns::policy::QualifiedName;
use zeroize::Zeroizing;

/// Bytes of a row that PostgreSQL can make.
const MAX_ROW: usize = 1 << 30;

/// COPY's defaults, as pg_dump uses them.
pub(super) fn text_layout() -> Layout {
    Layout {
        format: Format::Text,
        header: Header::None,
        delimiter: b'\t',
        null: b"\\N".to_vec(),
        default: None,
        quote: b'"',
        escape: b'"',
        columns: Vec::new(),
    }
}

/// The data of a COPY of one table.
pub(super) struct Rows {
    table: QualifiedName,
    columns: Vec<String>,
    holds: Vec<Holds>,
    form: Form,
    /// `None` if nothing in it can be a cell.
    stream: Option<Stream>,
}

impl Rows {
    /// Data of these columns, written as `layout` says.
    pub(super) fn new(
        work: &Work,
        schema: &Schema,
        table: QualifiedName,
        columns: Vec<String>,
        mut layout: Layout,
    ) -> Self {
        let holds = schema.holds(work.policy(), &table, &columns);
        let column = |(name, holds): (&String, &Holds)| copy::Column {
            name: name.clone(),
            cell: !matches!(holds, Holds::Plain),
            ..copy::Column::default()
        };
        layout.columns = columns.iter().zip(&holds).map(column).collect();
        let form = if layout.format == Format::Binary { Form::Binary } else { Form::Text };
        let any = holds.iter().any(|holds| !matches!(holds, Holds::Plain));
        let stream = any.then(|| Stream::new(Arc::new(layout), Direction::Out, MAX_ROW));
        Self { table, columns, holds, form, stream }
    }

    /// Rows done with.
    pub(super) fn rows(&self) -> u64 {
        self.stream.as_ref().map_or(0, Stream::rows)
    }

    /// Whether a column of it is protected.
    pub(super) fn has_cells(&self) -> bool {
        has_cells(&self.holds)
    }

    /// Appends these bytes with values for cells; `line` is the last of them. Only whole rows come out.
    pub(super) fn feed(
        &mut self,
        work: &mut Work,
        bytes: &[u8],
        line: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), DecryptError> {
        self.run(work, line, out, |stream, replace, out| stream.feed(bytes, replace, out), bytes)
    }

    /// The data ends here.
    pub(super) fn finish(
        &mut self,
        work: &mut Work,
        line: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), DecryptError> {
        self.run(work, line, out, |stream, replace, out| stream.finish(replace, out), &[])
    }

    fn run(
        &mut self,
        work: &mut Work,
        line: u64,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut Stream, &mut copy::Replace<'_>, &mut Vec<u8>) -> Result<(), ClientError>,
        bytes: &[u8],
    ) -> Result<(), DecryptError> {
        let Self { table, columns, holds, form, stream } = self;
        let Some(stream) = stream else {
            out.extend_from_slice(bytes);
            return Ok(());
        };
        let (mut values, mut stopped) = (0, None);
        let mut replace = |index: usize, stored: &[u8], out: &mut Vec<u8>| {
            let name = columns.get(index).map_or("", String::as_str);
            let done = match holds.get(index) {
                Some(Holds::Cell(column)) => work.value(column, stored, *form, out).inspect(|()| values += 1),
                _ => {
                    work.require_plain(table, name, stored, *form).inspect(|()| out.extend_from_slice(stored))
                }
            };
            let Err(problem) = done else { return Ok(()) };
            out.extend_from_slice(stored);
            let place = Place::Column { table: table.clone(), column: name.to_owned() };
            work.failed(line, place, problem).map_err(|error| {
                stopped = Some(error);
                ClientError::new("XX001", "", "")
            })
        };
        let outcome = step(stream, &mut replace, out);
        if has_cells(holds) {
            work.report.table(table).values += values;
        }
        outcome.map_err(|error| {
            stopped.unwrap_or(DecryptError::Form {
                line,
                problem: format!("the data of table \"{table}\": {error}"),
                remedy: "give the data as PostgreSQL wrote it, with its columns in their order",
            })
        })
    }
}

fn has_cells(holds: &[Holds]) -> bool {
    holds.iter().any(|holds| matches!(holds, Holds::Cell(_)))
}

/// The edits that put values in the place of the cells of an INSERT; `None` if the statement is not one.
pub(super) fn insert(
    work: &mut Work,
    schema: &Schema,
    statement: &Statement,
) -> Result<Option<Vec<Edit>>, DecryptError> {
    if !statement.words(0, &["insert", "into"]) {
        return Ok(None);
    }
    let Some((table, mut at)) = statement.qualified(2) else { return Err(not_understood(statement, 0)) };
    let columns = if statement.is(at, "(") {
        let (columns, after) = statement.names(at).ok_or_else(|| not_understood(statement, at))?;
        at = after;
        Some(columns)
    } else {
        schema.columns(&table)
    };
    if statement.words(at, &["overriding"]) {
        at += 3;
    }
    let holds = columns.as_ref().map(|columns| schema.holds(work.policy(), &table, columns));
    let protected = !schema.cells(work.policy(), &table).is_empty();
    let (Some(columns), Some(holds), true) = (columns, holds, statement.words(at, &["values"])) else {
        if protected {
            return Err(not_understood(statement, at));
        }
        return require_plain(work, statement, &table).map(|()| Some(Vec::new()));
    };
    at += 1;
    let mut edits = Vec::new();
    let mut rows = 0;
    while statement.is(at, "(") {
        let after = statement.after_parentheses(at).ok_or_else(|| not_understood(statement, at))?;
        let fields = fields(statement, at, after);
        if fields.len() != columns.len() {
            return Err(not_understood(statement, at));
        }
        for ((field, holds), name) in fields.into_iter().zip(&holds).zip(&columns) {
            edits.extend(insert_field(work, statement, &table, name, holds, field)?);
        }
        rows += 1;
        at = if statement.is(after, ",") { after + 1 } else { after };
    }
    if protected {
        let counts = work.report.table(&table);
        counts.rows += rows;
        counts.values += u64::try_from(edits.len()).unwrap_or_default();
    } else {
        work.report.plain_rows += rows;
    }
    Ok(Some(edits))
}

/// Requires that no constant of an INSERT into columns that are not known is a cell.
fn require_plain(work: &mut Work, statement: &Statement, table: &QualifiedName) -> Result<(), DecryptError> {
    work.report.plain_rows += 1;
    for index in statement.indices() {
        let Some(stored) = statement.string(index) else { continue };
        if let Err(problem) = work.require_plain(table, "", stored.as_bytes(), Form::Text) {
            let place = Place::Column { table: table.clone(), column: "?".to_owned() };
            work.failed(statement.line_of(index), place, problem)?;
        }
    }
    Ok(())
}

/// The tokens of each field between the parentheses at `open` and before `after`.
fn fields(statement: &Statement, open: usize, after: usize) -> Vec<std::ops::Range<usize>> {
    let mut fields = Vec::new();
    let (mut first, mut depth) = (open + 1, 0_usize);
    for index in open + 1..after {
        if statement.is(index, "(") || statement.is(index, "[") {
            depth += 1;
        } else if index + 1 < after && (statement.is(index, ")") || statement.is(index, "]")) {
            depth = depth.saturating_sub(1);
        } else if index + 1 == after || (depth == 0 && statement.is(index, ",")) {
            fields.push(first..index);
            first = index + 1;
        }
    }
    fields
}

fn insert_field(
    work: &mut Work,
    statement: &Statement,
    table: &QualifiedName,
    column: &str,
    holds: &Holds,
    field: std::ops::Range<usize>,
) -> Result<Option<Edit>, DecryptError> {
    let at = field.start;
    let stored = (field.len() == 1).then(|| statement.string(at)).flatten();
    let place = || Place::Column { table: table.clone(), column: column.to_owned() };
    match (holds, stored) {
        (Holds::Cell(cell), Some(stored)) => {
            let mut value = Zeroizing::new(Vec::new());
            let shown = work.value(cell, stored.as_bytes(), Form::Text, &mut value).and_then(|()| {
                std::str::from_utf8(&value).map_err(|_| Problem::Unshown("it is not UTF-8".to_owned()))
            });
            match shown {
                Ok(value) => Ok(statement.range(at).map(|range| (range, literal(value)))),
                Err(problem) => work.failed(statement.line_of(at), place(), problem).map(|()| None),
            }
        }
        (Holds::Cell(_), None) => {
            let nothing =
                field.len() == 1 && (statement.words(at, &["null"]) || statement.words(at, &["default"]));
            if nothing { Ok(None) } else { Err(not_understood(statement, at)) }
        }
        (Holds::Bytes, Some(stored)) => {
            match work.require_plain(table, column, stored.as_bytes(), Form::Text) {
                Ok(()) => Ok(None),
                Err(problem) => work.failed(statement.line_of(at), place(), problem).map(|()| None),
            }
        }
        // A constant in brackets or with a cast: pg_dump writes none.
        (Holds::Bytes, None) => {
            let constant = field.clone().any(|index| statement.kind(index) == Some(Kind::String));
            if constant { Err(not_understood(statement, at)) } else { Ok(None) }
        }
        (Holds::Plain, _) => Ok(None),
    }
}

fn not_understood(statement: &Statement, at: usize) -> DecryptError {
    DecryptError::Form {
        line: statement.line_of(at),
        problem: format!("this form of {} is not understood", statement.title()),
        remedy: "dump again with pg_dump, without --inserts",
    }
}
