//! Which column is protected, how, and under which key. The policy is the authority: the
//! database's catalog may only confirm it.

pub mod catalog;
mod denied;
pub mod inheritance;
mod logical_type;
pub mod oid;
mod parse;
mod type_name;
pub mod types;

pub use denied::{Denied, Last};
pub use logical_type::{LogicalType, Precision};
pub use parse::{PolicyError, own_domain};
pub use type_name::LogicalTypeError;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use trefoil_keys::cell::Mode;

/// The keyspace of what the policy puts into none.
const DEFAULT_KEYSPACE: &str = "main";

/// A schema-qualified relation name, folded and unquoted as PostgreSQL stores it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// Schema.
    pub schema: String,
    /// Relation.
    pub name: String,
}

impl QualifiedName {
    /// The relation `name` in `schema`, both as PostgreSQL stores them.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// Reads `schema.name` as policies name tables: each part as PostgreSQL stores it, one with a dot in it
    /// in double quotes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::split(text, str::to_owned)
    }

    /// Reads `schema.name` as SQL does: a part in double quotes is taken as it is, others in lower case.
    fn folded(text: &str) -> Option<Self> {
        if !text.contains('"') && text.contains(['(', '[', ' ']) {
            return None;
        }
        Self::split(text, str::to_lowercase)
    }

    fn split(text: &str, bare: fn(&str) -> String) -> Option<Self> {
        let (schema, rest) = part(text, bare)?;
        let (name, rest) = part(rest.strip_prefix('.')?, bare)?;
        rest.is_empty().then(|| Self::new(schema, name))
    }
}

/// The first part of a dotted name, and the rest.
fn part(text: &str, bare: fn(&str) -> String) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (name, rest) = text.split_at(text.find(['.', '"']).unwrap_or(text.len()));
        return (!name.is_empty()).then(|| (bare(name), rest));
    };
    let mut name = String::new();
    loop {
        let (inside, after) = rest.split_once('"')?;
        name.push_str(inside);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Why a value meets a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Stored in the column: limits of the type are enforced, as PostgreSQL does on assignment.
    Assign,
    /// Compared with the column: a value that the column cannot hold equals nothing.
    Compare,
    /// One of several values of an expression (`COALESCE`, `CASE`, `UNION`), which may then be stored
    /// or compared: only values that are the same either way.
    Flow,
}

/// One protected column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedColumn {
    /// Position in [`Policy::columns`]; dense from 0, so that per-burst key tables are arrays.
    pub id: usize,
    /// The table.
    pub table: QualifiedName,
    /// The column's name as PostgreSQL stores it.
    pub name: String,
    /// The type that the application sees.
    pub logical: LogicalType,
    /// Randomized or deterministic.
    pub mode: Mode,
    /// Key domain: `schema.table.column` unless the policy names a shared one.
    pub domain: String,
    /// Keyspace: whose TK; `main` unless the policy says otherwise.
    pub keyspace: String,
    /// What users without a share in the keyspace read.
    pub denied: Denied,
}

/// The protected columns of one table, by name as PostgreSQL stores it.
pub type TablePolicy = HashMap<String, Arc<ProtectedColumn>>;

/// The checked policy.
#[derive(Debug, Default)]
pub struct Policy {
    columns: Vec<Arc<ProtectedColumn>>,
    tables: HashMap<QualifiedName, TablePolicy>,
    schemas_of: HashMap<String, Vec<String>>,
    allowed_functions: HashSet<QualifiedName>,
    has_floats: bool,
}

impl Policy {
    /// Every protected column, by its `id`.
    pub fn columns(&self) -> &[Arc<ProtectedColumn>] {
        &self.columns
    }

    /// The protected columns of a table; `None` when it has none.
    pub fn table(&self, name: &QualifiedName) -> Option<&TablePolicy> {
        self.tables.get(name)
    }

    /// Every protected table with its protected columns, in no order.
    pub fn tables(&self) -> impl Iterator<Item = (&QualifiedName, &TablePolicy)> {
        self.tables.iter()
    }

    /// The schemas in which a table of that bare name is protected.
    pub fn schemas_with_table(&self, bare: &str) -> &[String] {
        self.schemas_of.get(bare).map_or(&[], Vec::as_slice)
    }

    /// The same policy with its named types as one database has them; `None` if it names none. A column
    /// stays as it is where the type does not exist there or does not fit: its statements are refused.
    /// `not_null` tells which columns the database keeps from being NULL.
    pub fn resolved(
        &self,
        types: &types::Types,
        not_null: impl Fn(&QualifiedName, &str) -> bool,
    ) -> Option<Self> {
        if !self.columns.iter().any(|column| column.logical.is_named()) {
            return None;
        }
        let resolve = |column: &Arc<ProtectedColumn>| {
            let fits = |logical: &LogicalType| {
                let needs_not_null =
                    matches!(logical, LogicalType::Domain(domain) if domain.not_null || domain.checked);
                (logical.supports_deterministic() || column.mode != Mode::Deterministic)
                    && (!needs_not_null || not_null(&column.table, &column.name))
            };
            match types.resolve(&column.logical).filter(fits) {
                Some(logical) => Arc::new(ProtectedColumn { logical, ..ProtectedColumn::clone(column) }),
                None => Arc::clone(column),
            }
        };
        let columns: Vec<_> = self.columns.iter().map(resolve).collect();
        let has_floats = columns.iter().any(|column| column.logical.has_floats());
        let mut tables: HashMap<QualifiedName, TablePolicy> = HashMap::new();
        for column in &columns {
            tables.entry(column.table.clone()).or_default().insert(column.name.clone(), Arc::clone(column));
        }
        Some(Self {
            columns,
            tables,
            schemas_of: self.schemas_of.clone(),
            allowed_functions: self.allowed_functions.clone(),
            has_floats,
        })
    }

    /// Whether a type of this name is one that the policy names.
    pub fn names_type(&self, schema: Option<&str>, name: &str) -> bool {
        self.columns.iter().any(|column| column.logical.is_made_of(schema, name))
    }

    /// Whether a column has the type `real` or `double precision`, or is made of it.
    pub fn has_floats(&self) -> bool {
        self.has_floats
    }

    /// Whether a function may be called although its body names a protected table.
    pub fn allows_function(&self, name: &QualifiedName) -> bool {
        self.allowed_functions.contains(name)
    }

    /// Whether nothing is protected.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}
