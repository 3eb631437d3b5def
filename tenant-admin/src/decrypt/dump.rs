//! A plain pg_dump, from its first line to its last. Its definitions are held until the first row comes,
//! because a partition is told from a table only after both are made; rows are never held.

use super::error::DecryptError;
use super::reader::{MAX_LINE, Reader};
use super::rewrite::{self, OWN_SCHEMA};
use super::rows::{self, Rows, text_layout};
use super::schema::Schema;
use super::split::Splitter;
use super::statement::{Edit, Statement, quoted_qualified};
use super::work::Work;
use std::io::Write;
use trefoil_columns::policy::QualifiedName;
use zeroize::Zeroizing;

/// All definitions of a database together: more is no dump.
const MAX_DEFINITIONS: usize = 256 << 20;

/// The first and the last comment of every plain pg_dump.
const BEGIN: &[u8] = b"-- PostgreSQL database dump";
const END: &[u8] = b"-- PostgreSQL database dump complete";

/// A part of the script.
enum Part {
    Statement(Statement),
    /// A command of psql's, or comments after the last statement.
    Verbatim(Vec<u8>),
}

/// A dump on its way.
pub(super) struct Dump<'a> {
    reader: Reader,
    work: &'a mut Work,
    schema: Schema,
    splitter: Splitter,
    /// The rest of a line in which a statement ended.
    rest: Vec<u8>,
    /// Definitions, until the first row.
    held: Option<Vec<Part>>,
    held_bytes: usize,
    /// Dumps that have begun and not ended, by pg_dump's own comments.
    open: usize,
}

impl<'a> Dump<'a> {
    pub(super) fn new(reader: Reader, work: &'a mut Work) -> Self {
        Self {
            reader,
            work,
            schema: Schema::default(),
            splitter: Splitter::new(),
            rest: Vec::new(),
            held: Some(Vec::new()),
            held_bytes: 0,
            open: 0,
        }
    }

    /// The same, with definitions that are known beforehand.
    pub(super) fn with_schema(self, schema: Schema) -> Self {
        Self { schema, ..self }
    }

    /// Reads definitions alone, and what they say; their rows are passed over.
    pub(super) fn learn(mut self) -> Result<Schema, DecryptError> {
        while let Some(part) = self.next_part()? {
            if let Part::Statement(statement) = part {
                self.schema.learn(&statement);
                if copied(&statement)?.is_some() {
                    while !self.reader.next()?.is_none_or(is_end) {}
                }
            }
        }
        self.work.resolve(&self.schema);
        Ok(self.schema)
    }

    /// Writes the whole dump to `out`, with values in the place of cells.
    pub(super) fn decrypt(mut self, out: &mut dyn Write) -> Result<(), DecryptError> {
        while let Some(part) = self.next_part()? {
            match part {
                Part::Verbatim(line) => {
                    let other_database = line.trim_ascii_start().starts_with(b"\\connect");
                    if other_database {
                        self.flush(out)?;
                        (self.schema, self.held) = (Schema::default(), Some(Vec::new()));
                        write(out, &line)?;
                    } else {
                        self.hold_or_write(Part::Verbatim(line), out)?;
                    }
                }
                Part::Statement(statement) => self.statement(statement, out)?,
            }
        }
        self.flush(out)?;
        out.flush().map_err(DecryptError::Write)?;
        // Nothing at all is what is left of a pg_dump that failed.
        if self.open > 0 || self.reader.number == 0 {
            self.work.report.cut_off = Some(self.reader.number);
        }
        match self.work.report.cut_off {
            Some(line) if !self.work.keep_going => Err(DecryptError::CutOff(line)),
            _ => Ok(()),
        }
    }

    fn statement(&mut self, statement: Statement, out: &mut dyn Write) -> Result<(), DecryptError> {
        if let Some((table, columns)) = copied(&statement)? {
            self.flush(out)?;
            return self.copy(&statement, table, columns, out);
        }
        if statement.words(0, &["insert"]) {
            self.flush(out)?;
            return self.insert(&statement, out);
        }
        let new_type = self.schema.learn(&statement);
        if new_type && self.held.is_none() {
            self.work.resolve(&self.schema);
        }
        self.hold_or_write(Part::Statement(statement), out)
    }

    fn hold_or_write(&mut self, part: Part, out: &mut dyn Write) -> Result<(), DecryptError> {
        let Some(held) = &mut self.held else { return self.write_part(part, out) };
        self.held_bytes += match &part {
            Part::Statement(statement) => statement.text.len(),
            Part::Verbatim(line) => line.len(),
        };
        held.push(part);
        if self.held_bytes > MAX_DEFINITIONS {
            return Err(DecryptError::Form {
                line: self.reader.number,
                problem: "there are more definitions than a dump has".to_owned(),
                remedy: "give the output of pg_dump in its plain format",
            });
        }
        Ok(())
    }

    /// Writes what was held: all definitions are known now.
    fn flush(&mut self, out: &mut dyn Write) -> Result<(), DecryptError> {
        let Some(held) = self.held.take() else { return Ok(()) };
        self.work.resolve(&self.schema);
        self.held_bytes = 0;
        held.into_iter().try_for_each(|part| self.write_part(part, out))
    }

    fn write_part(&mut self, part: Part, out: &mut dyn Write) -> Result<(), DecryptError> {
        match part {
            Part::Verbatim(line) => write(out, &line),
            Part::Statement(statement) => match rewrite::rewrite(self.work, &self.schema, &statement)? {
                Some(text) => write(out, Zeroizing::new(text).as_bytes()),
                None => Ok(()),
            },
        }
    }

    /// `COPY … FROM stdin;` and its data.
    fn copy(
        &mut self,
        statement: &Statement,
        table: QualifiedName,
        columns: Vec<String>,
        out: &mut dyn Write,
    ) -> Result<(), DecryptError> {
        if table.schema == OWN_SCHEMA {
            return self.check_values(&columns);
        }
        let columns = match columns.is_empty() {
            true => self.schema.columns(&table).ok_or_else(|| DecryptError::Form {
                line: statement.line,
                problem: format!("the columns of table \"{table}\" are not known"),
                remedy: "give the database's definitions with --schema",
            })?,
            false => columns,
        };
        let routed = self.schema.route(self.work.policy(), &table);
        let edits = routed.and_then(|root| name_edit(statement, 1, &root));
        write(out, statement.edited(edits.into_iter().collect()).as_bytes())?;
        let mut data = Rows::new(self.work, &self.schema, table.clone(), columns, text_layout());
        let mut shown = Zeroizing::new(Vec::new());
        let mut rows = 0;
        loop {
            if self.reader.next()?.is_none() {
                return Err(cut_off(self.reader.number, &table));
            }
            let (line, number) = (self.reader.line(), self.reader.number);
            if is_end(line) {
                write(out, line)?;
                break;
            }
            rows += 1;
            shown.clear();
            data.feed(self.work, line, number, &mut shown)?;
            write(out, &shown)?;
        }
        if data.has_cells() {
            self.work.report.table(&table).rows += rows;
        } else {
            self.work.report.plain_rows += rows;
        }
        Ok(())
    }

    fn insert(&mut self, statement: &Statement, out: &mut dyn Write) -> Result<(), DecryptError> {
        if rewrite::is_own(statement) {
            let values: Vec<usize> =
                statement.indices().skip_while(|index| !statement.words(*index, &["values"])).collect();
            let value = |nth: usize| values.get(nth).copied().unwrap_or(usize::MAX);
            let text = |nth: usize| statement.string(value(nth)).unwrap_or_default();
            let epoch = statement.token(value(4)).unwrap_or_default();
            return self.work.check(statement.line, &text(2), epoch, &text(6));
        }
        let mut edits: Vec<Edit> = rows::insert(self.work, &self.schema, statement)?.unwrap_or_default();
        if let Some((table, at)) = statement.qualified(2)
            && let Some(root) = self.schema.route(self.work.policy(), &table)
        {
            if !statement.is(at, "(") {
                return Err(DecryptError::Form {
                    line: statement.line,
                    problem: format!(
                        "the rows of \"{table}\" were spread over partitions by the hashes of cells"
                    ),
                    remedy: "dump again with pg_dump --load-via-partition-root, without --inserts",
                });
            }
            edits.extend(name_edit(statement, 2, &root));
        }
        write(out, Zeroizing::new(statement.edited(edits)).as_bytes())
    }

    /// The rows of `trefoil.key_check`, which go nowhere.
    fn check_values(&mut self, columns: &[String]) -> Result<(), DecryptError> {
        let at = |name: &str| columns.iter().position(|column| column == name);
        let places = (at("keyspace"), at("epoch"), at("value"));
        loop {
            let Some(line) = self.reader.next()? else {
                return Err(cut_off(self.reader.number, &QualifiedName::new(OWN_SCHEMA, "key_check")));
            };
            if is_end(line) {
                return Ok(());
            }
            let text = String::from_utf8_lossy(line).replace("\\\\", "\\");
            let fields: Vec<&str> = text.trim_end().split('\t').collect();
            let field = |at: Option<usize>| at.and_then(|at| fields.get(at)).copied();
            if let (Some(keyspace), Some(epoch), Some(value)) =
                (field(places.0), field(places.1), field(places.2))
            {
                self.work.check(self.reader.number, keyspace, epoch, value)?;
            }
        }
    }

    /// The next statement or line of psql's.
    fn next_part(&mut self) -> Result<Option<Part>, DecryptError> {
        let mut text = std::mem::take(&mut self.rest);
        let mut begun = !text.trim_ascii().is_empty();
        let mut first = self.reader.number.max(1);
        if text.is_empty() {
            first = self.reader.number + 1;
        } else if let Some(end) = self.splitter.end(&text, 0) {
            self.rest = text.split_off(end);
            return Statement::new(text, first).map(|statement| Some(Part::Statement(statement)));
        }
        loop {
            let Some(line) = self.reader.next()? else {
                if !begun {
                    return Ok(if text.is_empty() { None } else { Some(Part::Verbatim(text)) });
                }
                return Err(DecryptError::Form {
                    line: self.reader.number,
                    problem: "the dump ends within a statement".to_owned(),
                    remedy: "it was cut off: dump again",
                });
            };
            let comment = line.starts_with(b"--") || line.trim_ascii().is_empty();
            if !begun && line.starts_with(b"\\") {
                text.extend_from_slice(line);
                return Ok(Some(Part::Verbatim(text)));
            }
            if !begun {
                match line.trim_ascii_end() {
                    BEGIN => self.open += 1,
                    END => self.open = self.open.saturating_sub(1),
                    _ => {}
                }
            }
            begun |= !comment;
            if let Some(end) = self.splitter.end(line, 0) {
                let blank = line.get(end..).is_none_or(|rest| rest.trim_ascii().is_empty());
                let end = if blank { line.len() } else { end };
                text.extend_from_slice(line.get(..end).unwrap_or_default());
                self.rest = line.get(end..).unwrap_or_default().to_vec();
                return Statement::new(text, first).map(|statement| Some(Part::Statement(statement)));
            }
            text.extend_from_slice(line);
            if u64::try_from(text.len()).is_ok_and(|length| length > MAX_LINE) {
                return Err(DecryptError::Form {
                    line: first,
                    problem: "the statement is longer than PostgreSQL takes any".to_owned(),
                    remedy: "give the output of pg_dump in its plain format",
                });
            }
        }
    }
}

/// The table and columns of `COPY … FROM stdin;`, whose data follows.
fn copied(statement: &Statement) -> Result<Option<(QualifiedName, Vec<String>)>, DecryptError> {
    if !statement.words(0, &["copy"]) {
        return Ok(None);
    }
    let read = || {
        let (table, at) = statement.qualified(1)?;
        let (columns, at) = if statement.is(at, "(") { statement.names(at)? } else { (Vec::new(), at) };
        (statement.words(at, &["from", "stdin"]) && statement.is(at + 2, ";")).then_some((table, columns))
    };
    match read() {
        Some(found) => Ok(Some(found)),
        None => Err(DecryptError::Form {
            line: statement.line,
            problem: "this form of COPY is not understood".to_owned(),
            remedy: "give the dump as pg_dump wrote it",
        }),
    }
}

/// Puts another table into the place of the qualified name at this token.
fn name_edit(statement: &Statement, at: usize, table: &QualifiedName) -> Option<Edit> {
    Some((statement.range(at)?.start..statement.range(at + 2)?.end, quoted_qualified(table)))
}

fn is_end(line: &[u8]) -> bool {
    line.trim_ascii_end() == b"\\." && line.starts_with(b"\\.")
}

fn cut_off(line: u64, table: &QualifiedName) -> DecryptError {
    DecryptError::Form {
        line,
        problem: format!("the dump ends within the rows of table \"{table}\""),
        remedy: "it was cut off: dump again",
    }
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<(), DecryptError> {
    out.write_all(bytes).map_err(DecryptError::Write)
}
