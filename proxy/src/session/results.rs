//! Results with cells among their columns: descriptions and rows, from what the server sends to what
//! the client asked for.

use super::fault::Fault;
use super::rewrite;
use crate::error::{ClientError, Code, sqlstate};
use crate::policy::{Policy, ProtectedColumn, catalog::Catalog};
use crate::shares::{Burst, Sight};
use crate::sql::{Plan, ResultColumn};
use crate::value::{self, Settings};
use crate::wire::bind::{Format, Formats};
use crate::wire::rows::{self, Fields, Values};
use crate::wire::{Malformed, backend, writer};
use std::sync::Arc;
use trefoil_keys::panics::panic_point;

/// The type that a cell has at the server.
pub(super) const BYTEA: u32 = 17;

/// The type that an array of cells has at the server.
pub(super) const BYTEA_ARRAY: u32 = 1001;

/// How rows with cells are to be read, and shown.
#[derive(Clone)]
pub(super) struct Shape {
    columns: Arc<[ResultColumn]>,
    asked: Asked,
    /// Whether the server sends text whatever was asked: a simple query.
    simple: bool,
}

#[derive(Clone)]
enum Asked {
    All(Format),
    Each(Arc<[Format]>),
}

impl Shape {
    /// Of a simple query.
    pub(super) fn simple(columns: &Arc<[ResultColumn]>) -> Self {
        Self { columns: Arc::clone(columns), asked: Asked::All(Format::Text), simple: true }
    }

    /// Of a simple query that fetches from a cursor declared BINARY.
    pub(super) fn binary(columns: &Arc<[ResultColumn]>) -> Self {
        Self { columns: Arc::clone(columns), asked: Asked::All(Format::Binary), simple: false }
    }

    /// Its columns.
    pub(super) fn columns(&self) -> &Arc<[ResultColumn]> {
        &self.columns
    }

    /// About how many bytes it keeps beside its columns, which are the plan's.
    pub(super) fn size(&self) -> usize {
        match &self.asked {
            Asked::All(_) => 0,
            Asked::Each(each) => size_of_val(&**each),
        }
    }

    /// Whether one of them is a cell.
    pub(super) fn has_cells(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, ResultColumn::Cell(_)))
    }

    /// Of a portal, with the formats that its Bind asks for.
    pub(super) fn portal(columns: &Arc<[ResultColumn]>, asked: &Formats<'_>) -> Result<Self, ClientError> {
        let wrong = || {
            ClientError::new(
                sqlstate::PROTOCOL_VIOLATION,
                format!(
                    "bind message has {} result formats but query has {} columns",
                    asked.len(),
                    columns.len()
                ),
                "",
            )
        };
        let asked = match asked.len() {
            0 | 1 => Asked::All(asked.of(0).map_err(|_| wrong())?),
            number if number == columns.len() => {
                let each: Result<Vec<_>, _> = (0..number).map(|index| asked.of(index)).collect();
                Asked::Each(each.map_err(|_| wrong())?.into())
            }
            _ => return Err(wrong()),
        };
        Ok(Self { columns: Arc::clone(columns), asked, simple: false })
    }

    /// The format in which the client wants a column.
    fn shown(&self, index: usize) -> Format {
        match &self.asked {
            Asked::All(format) => *format,
            Asked::Each(each) => each.get(index).copied().unwrap_or(Format::Text),
        }
    }

    /// The format in which the server is to send a column.
    fn sent(&self, index: usize, column: &ResultColumn) -> Format {
        match column {
            ResultColumn::Plain => self.shown(index),
            _ if self.simple => Format::Text,
            // As text, so that it shows how the session shows bytea.
            ResultColumn::Cell(column) if column.logical.oid() == BYTEA => self.shown(index),
            ResultColumn::Cell(_) => Format::Binary,
        }
    }

    /// Appends the formats to ask the server for.
    pub(super) fn ask(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        writer::count(out, self.columns.len(), "column count")?;
        for (index, column) in self.columns.iter().enumerate() {
            out.extend_from_slice(&self.sent(index, column).code());
        }
        Ok(())
    }
}

/// What descriptions are checked against.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) policy: &'a Policy,
    pub(super) catalog: &'a Catalog,
}

impl Known<'_> {
    /// The policy's entry for a column by its origin; the outer `None` where the origin is not known.
    fn origin(&self, table: u32, attribute: i16) -> Option<Option<&Arc<ProtectedColumn>>> {
        if table == 0 || attribute == 0 {
            return None;
        }
        let relation = self.catalog.by_oid(table)?;
        let column = relation.columns.as_ref()?.iter().find(|column| column.number == attribute)?;
        Some(relation.cell(column, self.catalog.policy(self.policy)))
    }
}

fn stale() -> Fault {
    Fault::Stale(ClientError::refused(
        Code::TableChanged,
        "the result's columns are not those that the statement was analysed for: a table has changed",
        "Connect again.",
    ))
}

/// Rewrites a RowDescription. `described` is how its values will be written: not known yet (`None`)
/// when a statement is described, not a portal.
pub(super) fn description(
    columns: &[ResultColumn],
    described: Option<&Shape>,
    body: &[u8],
    known: Known<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut fields = Fields::decode(body)?;
    if fields.len() != columns.len() {
        return Err(stale());
    }
    writer::message(out, b'T', |out| {
        writer::count(out, columns.len(), "column count")?;
        for (index, column) in columns.iter().enumerate() {
            let mut field = fields.next_field()?.ok_or(Malformed::Short("column"))?;
            let origin = known.origin(field.table, field.attribute);
            match column {
                ResultColumn::Plain if origin.is_some_and(|origin| origin.is_some()) => return Err(stale()),
                ResultColumn::Plain => {}
                ResultColumn::Cell(column) => {
                    let agrees = origin.is_none_or(|origin| {
                        origin.is_some_and(|origin| {
                            (&origin.domain, &origin.keyspace, origin.mode)
                                == (&column.domain, &column.keyspace, column.mode)
                        })
                    });
                    if field.type_oid != BYTEA || !agrees {
                        return Err(stale());
                    }
                    field.type_oid = column.logical.oid();
                    field.size = column.logical.size();
                    field.modifier = column.logical.typmod();
                    field.format = described.map_or(Format::Text, |shape| shape.shown(index)).code();
                }
            }
            field.encode(out);
        }
        fields.next_field()?;
        Ok(())
    })
}

/// Rewrites a RowDescription by the shape of its rows.
pub(super) fn shaped_description(
    shape: &Shape,
    body: &[u8],
    known: Known<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    description(&shape.columns, Some(shape), body, known, out)
}

/// Rewrites a ParameterDescription: cells as the type that the client declared, or the column's; copies
/// are not shown.
pub(super) fn parameter_description(
    plan: &Plan,
    declared: &[u32],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut types = rows::parameter_types(body)?;
    if !plan.twins.is_empty() {
        if types.len() != plan.highest + plan.twins.len() {
            return Err(stale());
        }
        types.truncate(plan.highest);
    }
    for (index, parameter) in plan.parameters.iter().enumerate() {
        if let Some(sealed) = rewrite::sealed_type(parameter) {
            let place = types.get_mut(index).filter(|oid| **oid == sealed).ok_or_else(stale)?;
            *place = match declared.get(index) {
                None | Some(0) => rewrite::logical_type(parameter),
                Some(declared) => *declared,
            };
        }
    }
    Ok(backend::parameter_description(out, types.into_iter())?)
}

/// Buffers that rows are rewritten with, kept from row to row.
#[derive(Default)]
pub(super) struct Scratch {
    cell: Vec<u8>,
    canonical: Vec<u8>,
}

/// Rewrites a DataRow.
pub(super) fn row(
    shape: &Shape,
    body: &[u8],
    burst: &mut Burst,
    settings: &Settings,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut values = Values::decode(body)?;
    if values.len() != shape.columns.len() {
        return Err(stale());
    }
    writer::message(out, b'D', |out| {
        writer::count(out, shape.columns.len(), "column count")?;
        for (index, column) in shape.columns.iter().enumerate() {
            let value = values.next_value()?;
            let (ResultColumn::Cell(protected), Some(cell)) = (column, value) else {
                writer::value(out, value)?;
                continue;
            };
            scratch.cell.clear();
            scratch.canonical.clear();
            let hex = rows::bytea(cell, shape.sent(index, column), &mut scratch.cell)?;
            if burst.show(protected, &scratch.cell, &mut scratch.canonical)? == Sight::Null {
                writer::value(out, None)?;
                continue;
            }
            panic_point("session.value", &scratch.canonical);
            writer::counted(out, 0, |out| {
                let canonical = &scratch.canonical;
                match shape.shown(index) {
                    Format::Binary => value::to_binary(&protected.logical, canonical, out)?,
                    Format::Text if !hex => {
                        value::to_escaped_text(&protected.logical, canonical, settings, out)?;
                    }
                    Format::Text => value::to_text(&protected.logical, canonical, settings, out)?,
                }
                Ok::<(), Fault>(())
            })?;
        }
        Ok(values.end()?)
    })
}
