//! The names visible at a point of a statement: sources with their columns, innermost frame last.

use super::refusal;
use crate::error::ClientError;
use crate::policy::ProtectedColumn;
use std::sync::Arc;

/// One column of a source or result: its name, and its protection if it is a cell.
#[derive(Clone, Default)]
pub(super) struct Out {
    pub(super) name: String,
    pub(super) cell: Option<Arc<ProtectedColumn>>,
    /// Whether it is a view's column that the database computes from cells: not to be used.
    pub(super) computed: bool,
    /// The open column that it is, if it is made of literals and parameters whose class is not settled
    /// where it is defined.
    pub(super) slot: Option<usize>,
}

impl Out {
    fn is_sensitive(&self) -> bool {
        self.cell.is_some() || self.computed
    }

    fn found(&self) -> Result<Found, ClientError> {
        if self.computed { Err(refusal::computed(&self.name)) } else { Ok(Found::Column(self.clone())) }
    }
}

/// A relation in FROM, by the name under which its columns are qualified.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) alias: String,
    /// Set for a table without an alias: it may be qualified by its schema.
    pub(super) schema: Option<String>,
    pub(super) columns: Vec<Out>,
    /// Whether all of its columns are listed.
    pub(super) complete: bool,
}

/// What one FROM clause, or one side of a join, makes visible.
#[derive(Clone, Default)]
pub(super) struct Frame {
    pub(super) sources: Vec<Source>,
    /// What `*` means, and where unqualified names are looked up: merged columns stand once.
    pub(super) star: Vec<Out>,
    /// Whether one of the sources has columns that are not listed.
    pub(super) open_ended: bool,
}

/// Columns that every table has and `*` leaves out.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Frame {
    /// A frame of one source.
    pub(super) fn of(source: Source) -> Self {
        Self { star: source.columns.clone(), open_ended: !source.complete, sources: vec![source] }
    }

    /// Adds another item of the same FROM list.
    pub(super) fn append(&mut self, other: Self) {
        self.sources.extend(other.sources);
        self.star.extend(other.star);
        self.open_ended |= other.open_ended;
    }

    /// Whether any column in it is a cell.
    pub(super) fn has_cells(&self) -> bool {
        self.star.iter().any(Out::is_sensitive)
    }

    fn source(&self, schema: Option<&str>, alias: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.alias == alias && (schema.is_none() || s.schema.as_deref() == schema))
    }
}

impl Source {
    /// Whether any of its columns is a cell.
    pub(super) fn has_cells(&self) -> bool {
        self.columns.iter().any(Out::is_sensitive)
    }

    /// Gives it an alias, with names for its first columns.
    pub(super) fn renamed(mut self, alias: &str, names: &[&str]) -> Self {
        alias.clone_into(&mut self.alias);
        self.schema = None;
        for (column, name) in self.columns.iter_mut().zip(names) {
            (*name).clone_into(&mut column.name);
        }
        self
    }
}

/// The frames in scope, outermost first.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) frames: Vec<Frame>,
}

/// What a name means.
pub(super) enum Found {
    /// A column that is not listed anywhere, and plain.
    Plain,
    /// A column.
    Column(Out),
    /// A whole row without cells; open columns may be among these.
    Row(Vec<Out>),
}

impl Scope {
    /// The column `name` without qualification.
    pub(super) fn column(&self, name: &str) -> Result<Found, ClientError> {
        let mut open_ended = false;
        for (depth, frame) in self.frames.iter().enumerate().rev() {
            open_ended |= frame.open_ended;
            let mut found = frame.star.iter().filter(|c| c.name == name);
            if let Some(first) = found.next() {
                if found.next().is_some() || ((first.is_sensitive() || first.slot.is_some()) && open_ended) {
                    return Err(refusal::ambiguous_column(name));
                }
                // If the inner table has lost the column since the catalog was read, the name means the
                // outer one.
                let outer = self.frames.iter().take(depth).flat_map(|frame| &frame.star);
                if !first.is_sensitive() && outer.filter(|c| c.is_sensitive()).any(|c| c.name == name) {
                    return Err(refusal::ambiguous_column(name));
                }
                return first.found();
            }
        }
        if let Some(source) = self.source(None, name) {
            return if source.has_cells() {
                Err(refusal::whole_row(name))
            } else {
                Ok(Found::Row(source.columns.clone()))
            };
        }
        if open_ended || SYSTEM_COLUMNS.contains(&name) {
            return Ok(Found::Plain);
        }
        Err(refusal::unknown_column(name))
    }

    /// The column `name` of the source `alias`, in `schema` if that is given.
    pub(super) fn qualified(
        &self,
        schema: Option<&str>,
        alias: &str,
        name: &str,
    ) -> Result<Found, ClientError> {
        let source = self.source(schema, alias).ok_or_else(|| refusal::unknown_column(name))?;
        let mut found = source.columns.iter().filter(|c| c.name == name);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(refusal::ambiguous_column(name)),
            (Some(column), None) => column.found(),
            (None, _) if SYSTEM_COLUMNS.contains(&name) || !source.has_cells() => Ok(Found::Plain),
            (None, _) => Err(refusal::unknown_column(name)),
        }
    }

    /// The source `alias`, in the innermost frame that has it.
    pub(super) fn source(&self, schema: Option<&str>, alias: &str) -> Option<&Source> {
        self.frames.iter().rev().find_map(|f| f.source(schema, alias))
    }
}
