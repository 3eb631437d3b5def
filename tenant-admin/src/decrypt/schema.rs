//! What the definitions in a dump say of its tables: their columns, whose children they are, and the
//! types that the policy only names.

use super::statement::Statement;
use super::table::{Definition, ElementKind};
use std::collections::HashMap;
use std::sync::Arc;
use trefoil_columns::policy::types::{Type, TypeKind, Types};
use trefoil_columns::policy::{LogicalType, Policy, ProtectedColumn, QualifiedName, TablePolicy};

/// What is known of a database.
#[derive(Default)]
pub(super) struct Schema {
    tables: HashMap<QualifiedName, Table>,
    /// With numbers of our own: a dump has none.
    types: Vec<Type>,
}

#[derive(Default)]
struct Table {
    columns: Vec<Column>,
    parents: Vec<QualifiedName>,
    hashed: Vec<String>,
}

#[derive(Clone)]
struct Column {
    name: String,
    /// Its type in lower case; empty if it has its parent's.
    type_name: String,
}

/// What the rows of a table hold in one of its columns.
#[derive(Clone)]
pub(super) enum Holds {
    /// Cells.
    Cell(Arc<ProtectedColumn>),
    /// Values of another type than cells are stored as.
    Plain,
    /// What might be a cell, and should not be one.
    Bytes,
}

/// Partitions of partitions are followed this far.
const MAX_DEPTH: usize = 64;
/// Numbers of PostgreSQL's own types are below.
const FIRST_OID: u32 = 0x4000_0000;

impl Schema {
    /// Takes over what a statement defines; whether that is a type.
    pub(super) fn learn(&mut self, statement: &Statement) -> bool {
        if let Some(definition) = Definition::of(statement) {
            self.define(statement, definition);
        } else if statement.words(0, &["alter", "table"]) {
            self.join(statement);
        } else if statement.words(0, &["create", "type"]) || statement.words(0, &["create", "domain"]) {
            return self.learn_type(statement).is_some();
        }
        false
    }

    fn define(&mut self, statement: &Statement, definition: Definition) {
        let columns = definition.elements.iter().filter_map(|element| match &element.kind {
            ElementKind::Column { name, type_range } => {
                let text = type_range.clone().and_then(|range| statement.text.get(range));
                Some(Column { name: name.clone(), type_name: text.unwrap_or_default().to_lowercase() })
            }
            _ => None,
        });
        let table =
            Table { columns: columns.collect(), parents: definition.parents, hashed: definition.hashed };
        self.tables.insert(definition.name, table);
    }

    /// `ALTER TABLE … ATTACH PARTITION …` and `… INHERIT …`.
    fn join(&mut self, statement: &Statement) {
        let mut at = 2;
        while ["if", "exists", "only"].iter().any(|word| statement.words(at, &[word])) {
            at += 1;
        }
        let Some((subject, at)) = statement.qualified(at) else { return };
        let (child, parent) = if statement.words(at, &["attach", "partition"]) {
            (statement.qualified(at + 2), Some(subject))
        } else if statement.words(at, &["inherit"]) {
            (Some((subject, at)), statement.qualified(at + 1).map(|(parent, _)| parent))
        } else {
            return;
        };
        if let (Some((child, _)), Some(parent)) = (child, parent) {
            self.tables.entry(child).or_default().parents.push(parent);
        }
    }

    fn learn_type(&mut self, statement: &Statement) -> Option<()> {
        let (name, at) = statement.qualified(2)?;
        let kind = if statement.words(1, &["type"]) && statement.words(at, &["as", "enum"]) {
            // A cell has the label itself, so the labels need not be known.
            TypeKind::Enum(Vec::new())
        } else if statement.words(1, &["domain"]) && statement.words(at, &["as"]) {
            let (end, _) = statement.type_name(at + 1)?;
            let base = statement.text.get(statement.range(at + 1)?.start..end)?;
            let base = LogicalType::parse(base).ok()?;
            TypeKind::Domain {
                base: self.oid(&base)?,
                typmod: base.typmod(),
                not_null: false,
                checked: false,
            }
        } else {
            return None;
        };
        let oid = FIRST_OID.checked_add(u32::try_from(self.types.len()).ok()?.checked_mul(2)?)?;
        self.types.push(Type { name, oid, array_oid: oid + 1, kind });
        Some(())
    }

    fn oid(&self, logical: &LogicalType) -> Option<u32> {
        let own = |name: &QualifiedName| self.types.iter().find(|own| own.name == *name);
        match logical {
            LogicalType::Named(name) => Some(own(name)?.oid),
            LogicalType::Array(element) => match &**element {
                LogicalType::Named(name) => Some(own(name)?.array_oid),
                _ => Some(logical.oid()),
            },
            _ => Some(logical.oid()),
        }
    }

    /// The policy with its named types as the dump defines them; `None` if it names none.
    pub(super) fn resolve(&self, policy: &Policy) -> Option<Policy> {
        policy.resolved(&Types::new(self.types.iter().cloned()), |_, _| true)
    }

    /// The columns of a table that hold cells, its parents' among them.
    pub(super) fn cells(&self, policy: &Policy, table: &QualifiedName) -> TablePolicy {
        let mut cells = TablePolicy::new();
        for ancestor in self.line(table).into_iter().rev() {
            let own = policy.table(ancestor).into_iter().flatten();
            cells.extend(own.map(|(name, column)| (name.clone(), Arc::clone(column))));
        }
        cells
    }

    /// The names of a table's columns in their order, if it is known.
    pub(super) fn columns(&self, table: &QualifiedName) -> Option<Vec<String>> {
        Some(self.typed_columns(table)?.into_iter().map(|column| column.name).collect())
    }

    /// What the columns of a table hold in its rows.
    pub(super) fn holds(&self, policy: &Policy, table: &QualifiedName, columns: &[String]) -> Vec<Holds> {
        let cells = self.cells(policy, table);
        let known = self.typed_columns(table).unwrap_or_default();
        let holds = |name: &String| {
            let plain = known.iter().any(|column| {
                column.name == *name && !column.type_name.is_empty() && column.type_name != "bytea"
            });
            match cells.get(name) {
                Some(cell) => Holds::Cell(Arc::clone(cell)),
                None if plain => Holds::Plain,
                None => Holds::Bytes,
            }
        };
        columns.iter().map(holds).collect()
    }

    /// The partitioned table into which the rows of a partition have to go by way of its root: they were
    /// spread by the hashes of cells.
    pub(super) fn route(&self, policy: &Policy, table: &QualifiedName) -> Option<QualifiedName> {
        let line = self.line(table);
        let by_cells = |ancestor: &&QualifiedName| {
            let cells = self.cells(policy, ancestor);
            self.tables
                .get(*ancestor)
                .is_some_and(|table| table.hashed.iter().any(|name| cells.contains_key(name)))
        };
        line.iter().skip(1).rfind(|ancestor| by_cells(ancestor)).map(|root| (*root).clone())
    }

    fn typed_columns(&self, table: &QualifiedName) -> Option<Vec<Column>> {
        let mut columns: Vec<Column> = Vec::new();
        self.tables.get(table)?;
        for ancestor in self.line(table).into_iter().rev() {
            for column in self.tables.get(ancestor).into_iter().flat_map(|table| &table.columns) {
                match columns.iter_mut().find(|known| known.name == column.name) {
                    Some(known) if column.type_name.is_empty() => known.name.clone_from(&column.name),
                    Some(known) => known.clone_from(column),
                    None => columns.push(column.clone()),
                }
            }
        }
        // A partition that was made as a table has an order of its own.
        let own = self.tables.get(table).map(|table| table.columns.as_slice()).unwrap_or_default();
        if own.len() == columns.len() {
            columns.sort_by_key(|column| own.iter().position(|known| known.name == column.name));
        }
        Some(columns)
    }

    /// The table, its parents, their parents, …
    fn line<'a>(&'a self, table: &'a QualifiedName) -> Vec<&'a QualifiedName> {
        let mut line = vec![table];
        let mut at = 0;
        while let Some(name) = line.get(at).filter(|_| at < MAX_DEPTH) {
            let parents = self.tables.get(*name).map(|table| table.parents.as_slice()).unwrap_or_default();
            let new: Vec<_> = parents.iter().filter(|parent| !line.contains(parent)).collect();
            line.extend(new);
            at += 1;
        }
        line
    }
}
