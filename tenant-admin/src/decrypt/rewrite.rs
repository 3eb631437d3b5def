//! Definitions without Trefoil: protected columns get the type that the application sees, the CHECKs that
//! only cells pass go, and so does the schema `trefoil`. A constant is known for a cell by the key that
//! opens it, wherever it stands: in a default, a view, a policy.

use super::error::{DecryptError, Place, Problem};
use super::schema::Schema;
use super::statement::{Edit, Statement, literal, quoted_qualified};
use super::table::{self, CHECK_PREFIX, Definition, Element, ElementKind};
use super::work::Work;
use std::ops::Range;
use std::sync::Arc;
use trefoil_columns::lex::Kind;
use trefoil_columns::policy::{LogicalType, ProtectedColumn, QualifiedName};
use trefoil_columns::value::array::Array;
use zeroize::Zeroizing;

/// The schema of Trefoil's own tables.
pub(super) const OWN_SCHEMA: &str = "trefoil";
/// A constant that is shorter cannot hold a cell.
const MIN_CELL_TEXT: usize = 38;

/// The statement as it is to be; `None` if it goes.
pub(super) fn rewrite(
    work: &mut Work,
    schema: &Schema,
    statement: &Statement,
) -> Result<Option<String>, DecryptError> {
    if is_own(statement) {
        return Ok(None);
    }
    require_form(statement)?;
    let mut edits = Vec::new();
    match Definition::of(statement) {
        Some(definition) => table_edits(work, schema, statement, &definition, &mut edits)?,
        None => {
            let check = statement
                .indices()
                .find(|index| statement.name(*index).is_some_and(|name| name.starts_with(CHECK_PREFIX)));
            if let Some(check) = check {
                if let Some(table) = statement.first_qualified() {
                    let column = table::checked(statement, check..usize::MAX);
                    require_named(work, schema, statement, &table, column)?;
                }
                return Ok(None);
            }
        }
    }
    constants(work, schema, statement, &mut edits)?;
    if edits.is_empty() {
        return Ok(Some(statement.text.clone()));
    }
    Ok(Some(statement.edited(edits)))
}

/// Whether the statement is about Trefoil's own schema.
pub(super) fn is_own(statement: &Statement) -> bool {
    let about = (1..4).any(|index| {
        statement.words(index, &["schema"])
            && statement.name(index + 1).is_some_and(|name| name == OWN_SCHEMA)
    });
    about || statement.first_qualified().is_some_and(|name| name.schema == OWN_SCHEMA)
}

/// Requires the settings under which constants mean what is read here.
fn require_form(statement: &Statement) -> Result<(), DecryptError> {
    if !statement.words(0, &["set"]) {
        return Ok(());
    }
    let wrong = |remedy| DecryptError::Form {
        line: statement.line,
        problem: format!("the dump sets {}", statement.token(1).unwrap_or_default()),
        remedy,
    };
    let value = statement.string(3).or_else(|| statement.name(3)).unwrap_or_default();
    if statement.words(1, &["client_encoding"]) && !value.eq_ignore_ascii_case("utf8") {
        return Err(wrong("dump again with pg_dump --encoding=UTF8"));
    }
    if statement.words(1, &["standard_conforming_strings"]) && value != "on" {
        return Err(wrong("dump again with standard_conforming_strings on"));
    }
    Ok(())
}

fn table_edits(
    work: &mut Work,
    schema: &Schema,
    statement: &Statement,
    definition: &Definition,
    edits: &mut Vec<Edit>,
) -> Result<(), DecryptError> {
    let cells = schema.cells(work.policy(), &definition.name);
    let mut kept = false;
    for element in &definition.elements {
        match &element.kind {
            ElementKind::Column { name, type_range } => {
                if let (Some(cell), Some(range)) = (cells.get(name), type_range) {
                    if statement.text.get(range.clone()) == Some("bytea") {
                        edits.push((range.clone(), type_name(&work.logical(cell), true)));
                    } else {
                        return Err(DecryptError::Form {
                            line: statement.line,
                            problem: format!(
                                "column \"{name}\" of table \"{}\" is in the policy, but not of the type bytea in the dump",
                                definition.name
                            ),
                            remedy: "if it was never encrypted, take it out of the policy that is given here; else the dump was altered",
                        });
                    }
                }
            }
            ElementKind::CellCheck { column } => {
                require_named(work, schema, statement, &definition.name, column.clone())?;
                edits.push((without(statement, element, kept), String::new()));
                continue;
            }
            ElementKind::Other => {}
        }
        kept = true;
    }
    if definition.parents.is_empty() {
        let mut missing: Vec<_> = cells.keys().filter(|name| !has_column(definition, name)).collect();
        missing.sort();
        for name in missing {
            work.report.note(format!(
                "column \"{name}\" of table \"{}\" is in the policy and not in the dump",
                definition.name
            ));
        }
    }
    Ok(())
}

fn has_column(definition: &Definition, column: &str) -> bool {
    definition
        .elements
        .iter()
        .any(|element| matches!(&element.kind, ElementKind::Column { name, .. } if name == column))
}

/// An element's bytes with one of the commas around it: the one in front if an element before it stays.
fn without(statement: &Statement, element: &Element, kept: bool) -> Range<usize> {
    let Range { start, end } = element.range.clone();
    let text = statement.text.get(start..end).unwrap_or_default();
    let trimmed = start + text.trim_end().len();
    if kept {
        return start.saturating_sub(1)..trimmed;
    }
    let comma = statement.text.get(end..).is_some_and(|rest| rest.starts_with(','));
    if comma { start..end + 1 } else { start..trimmed }
}

/// Requires that the policy names the column of whose cells a CHECK makes sure.
fn require_named(
    work: &mut Work,
    schema: &Schema,
    statement: &Statement,
    table: &QualifiedName,
    column: Option<String>,
) -> Result<(), DecryptError> {
    let cells = schema.cells(work.policy(), table);
    match column {
        Some(column) if !cells.contains_key(&column) => {
            let place = Place::Column { table: table.clone(), column };
            work.failed(statement.line, place, Problem::Unnamed { of: None })
        }
        _ => Ok(()),
    }
}

/// Constants that are cells become the values that they stand for.
fn constants(
    work: &mut Work,
    schema: &Schema,
    statement: &Statement,
    edits: &mut Vec<Edit>,
) -> Result<(), DecryptError> {
    let mut bytes_left = false;
    for index in statement.indices() {
        let cast = statement.kind(index) == Some(Kind::Cast) && statement.words(index + 1, &["bytea"]);
        bytes_left |= cast && statement.kind(index.saturating_sub(1)) != Some(Kind::String);
        if statement.kind(index) != Some(Kind::String)
            || statement.range(index).is_none_or(|range| range.len() < MIN_CELL_TEXT)
        {
            continue;
        }
        let casts = statement.kind(index + 1) == Some(Kind::Cast) && statement.words(index + 2, &["bytea"]);
        let many = casts && statement.is(index + 3, "[") && statement.is(index + 4, "]");
        let Some(text) = statement.string(index).filter(|_| casts) else {
            note_hidden(work, statement, index);
            continue;
        };
        let place = || Place::Constant { statement: statement.title() };
        let found = if many { array(work, &text) } else { single(work, &text) };
        match found {
            Ok(Some((value, column))) => {
                let logical = work.logical(&column);
                let logical = if many { LogicalType::Array(Box::new(logical)) } else { logical };
                let last = if many { index + 4 } else { index + 2 };
                if let (Some(start), Some(end)) = (statement.range(index), statement.range(last)) {
                    let with = format!("{}::{}", literal(&value), type_name(&logical, false));
                    edits.push((start.start..end.end, with));
                    work.report.constants += 1;
                }
            }
            Ok(None) if !many && work.looks_like_a_cell(&text) => {
                if mentions_cells(work, schema, statement) {
                    work.failed(statement.line_of(index), place(), Problem::Unknown)?;
                }
            }
            Ok(None) => {}
            Err(problem) => work.failed(statement.line_of(index), place(), problem)?,
        }
    }
    let view = statement.words(0, &["create", "view"])
        || statement.words(0, &["create", "or", "replace", "view"])
        || statement.words(0, &["create", "materialized", "view"]);
    if bytes_left && view && mentions_cells(work, schema, statement) {
        work.report.note(format!(
            "line {}: {} has a cast to bytea, which is left as it is: it may have to be another type now",
            statement.line,
            statement.title()
        ));
    }
    Ok(())
}

type Constant = Option<(Zeroizing<String>, Arc<ProtectedColumn>)>;

fn single(work: &mut Work, text: &str) -> Result<Constant, Problem> {
    let mut value = Zeroizing::new(Vec::new());
    let Some(column) = work.recognise(text.as_bytes(), &mut value)? else { return Ok(None) };
    Ok(Some((utf8(&value)?, column)))
}

fn array(work: &mut Work, text: &str) -> Result<Constant, Problem> {
    let Ok(array) = Array::from_text(text) else { return Ok(None) };
    let mut found = None;
    let mut value = Zeroizing::new(Vec::new());
    let mut problem = None;
    let shown = array.to_text(&mut value, |cell, out| {
        let start = out.len();
        match work.recognise(cell, out) {
            Ok(Some(column)) => {
                found = Some(column);
                Ok::<(), Problem>(())
            }
            Ok(None) => {
                out.truncate(start);
                out.extend_from_slice(cell);
                Ok(())
            }
            Err(error) => {
                problem = Some(error);
                Ok(())
            }
        }
    });
    match (problem, shown, found) {
        (Some(problem), _, _) => Err(problem),
        (None, Ok(()), Some(column)) => Ok(Some((utf8(&value)?, column))),
        _ => Ok(None),
    }
}

fn utf8(value: &[u8]) -> Result<Zeroizing<String>, Problem> {
    let text = std::str::from_utf8(value).map_err(|_| Problem::Unshown("it is not UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Notes cells in texts, such as the bodies of functions, which are left as they are.
fn note_hidden(work: &mut Work, statement: &Statement, index: usize) {
    let text = statement.token(index).unwrap_or_default();
    for (at, _) in text.match_indices("\\x1") {
        let hex = text.get(at + 2..).unwrap_or_default();
        let digits = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
        let cell = text.get(at..at + 2 + digits).unwrap_or_default();
        let mut value = Zeroizing::new(Vec::new());
        if digits + 2 >= MIN_CELL_TEXT
            && let Ok(Some(column)) = work.recognise(cell.as_bytes(), &mut value)
        {
            work.report.note(format!(
                "line {}: {} has a cell of domain \"{}\" within a text, which is left as it is",
                statement.line_of(index),
                statement.title(),
                column.domain
            ));
            return;
        }
    }
}

fn mentions_cells(work: &Work, schema: &Schema, statement: &Statement) -> bool {
    let has_cells = |name: &QualifiedName| !schema.cells(work.policy(), name).is_empty();
    statement.indices().any(|index| statement.qualified(index).is_some_and(|(name, _)| has_cells(&name)))
}

/// A type as SQL writes it; without its modifier if not `exact`, so that a constant stays as it is.
fn type_name(logical: &LogicalType, exact: bool) -> String {
    match logical {
        LogicalType::Array(element) => format!("{}[]", type_name(element, exact)),
        LogicalType::Named(name) => quoted_qualified(name),
        LogicalType::Enum(own) => quoted_qualified(&own.name),
        LogicalType::Domain(own) => quoted_qualified(&own.name),
        LogicalType::Char(_) if !exact => "bpchar".to_owned(),
        _ if exact => logical.sql_name(),
        _ => logical.base_name().to_owned(),
    }
}
