//! The database's catalog as data: relations, their columns, and which functions reach protected
//! tables. A snapshot never changes; DDL makes a new one with a new version.

use super::{Policy, ProtectedColumn, QualifiedName, TablePolicy};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The word by which procedural languages run SQL text that they made themselves. Nothing tells what
/// a function that has it touches.
pub const EXECUTE: &str = "execute";

/// Functions that run SQL given as text, or read a table named by a value, so that no name in the
/// statement tells what they touch.
pub const TEXT_RUNNERS: [&str; 27] = [
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
    "dblink",
    "dblink_exec",
    "dblink_open",
    "dblink_send_query",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "crosstabn",
    "connectby",
    "xpath_table",
    "plpgsql_check_function",
    "cursor_to_xml",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
];

/// One column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as stored.
    pub name: String,
    /// `attnum`, from 1; 0 when not known (a relation created in the running transaction).
    pub number: i16,
    /// `atttypid`; 0 when not known.
    pub type_oid: u32,
    /// What it holds.
    pub holds: Holds,
}

/// What a column holds, beside what the policy says of its own relation and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// What the policy says; plain values where it says nothing.
    #[default]
    Own,
    /// Cells of this column of another table: in a view or child of that table.
    Cell(Arc<ProtectedColumn>),
    /// What the database computes from cells, and means nothing.
    Computed,
}

/// What a relation is, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A table, or anything else that is not a view.
    #[default]
    Table,
    /// A view.
    View {
        /// Whether writing to it runs rules or triggers of its own.
        rules: bool,
    },
    /// A materialized view.
    MaterializedView,
}

/// How a relation relates to protected tables beside being one itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It reaches none.
    None,
    /// A protected table's rows are read or written through it, and its columns say what they hold: it
    /// is used like a protected table.
    Followed,
    /// A protected table's rows are read or written through it in a way that is not followed.
    Protected,
}

/// A table, view, materialized view, foreign table, sequence, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Qualified name. Temporary relations of the session have the schema `pg_temp`.
    pub name: QualifiedName,
    /// OID; 0 when not known (created in the running transaction).
    pub oid: u32,
    /// Live columns in `attnum` order; `None` when not known (`CREATE TABLE AS` in the running
    /// transaction).
    pub columns: Option<Vec<Column>>,
    /// Whether a protected table is reached through it.
    pub reach: Reach,
    /// What it is.
    pub kind: Kind,
    /// Tables of the policy whose rows are read or written through it although none of its columns
    /// need say so: of a view, those that its definition names, through other views too.
    pub over: Vec<QualifiedName>,
}

impl Relation {
    /// The tables of the policy that a statement touches through it, itself among them; a table may come
    /// more than once.
    pub fn protected_tables<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = &'a QualifiedName> {
        let own = policy.table(&self.name).map(|_| &self.name);
        let cells = self.columns.iter().flatten().filter_map(|column| self.cell(column, policy));
        own.into_iter().chain(&self.over).chain(cells.map(|cell| &cell.table))
    }

    /// The protected column whose cells a column of this relation holds.
    pub fn cell<'a>(&'a self, column: &'a Column, policy: &'a Policy) -> Option<&'a Arc<ProtectedColumn>> {
        match (policy.table(&self.name), &column.holds) {
            (Some(table), _) => table.get(&column.name),
            (None, Holds::Cell(cell)) => Some(cell),
            (None, Holds::Own | Holds::Computed) => None,
        }
    }

    /// All protected columns whose cells it holds, by its own names for them.
    pub fn cells<'a>(&'a self, policy: &'a Policy) -> Cow<'a, TablePolicy> {
        match policy.table(&self.name) {
            Some(table) => Cow::Borrowed(table),
            None => {
                let columns = self.columns.iter().flatten();
                let cells = columns.filter_map(|c| Some((c.name.clone(), Arc::clone(self.cell(c, policy)?))));
                Cow::Owned(cells.collect())
            }
        }
    }
}

/// One immutable snapshot of a database's catalog.
#[derive(Debug)]
pub struct Catalog {
    /// Unique in the process: two snapshots never share it, whatever their databases.
    version: u64,
    /// By bare name, those of one name in the order of their schemas.
    relations: HashMap<String, Vec<Arc<Relation>>>,
    by_oid: HashMap<u32, Arc<Relation>>,
    reaching_functions: HashSet<String>,
    own_functions: Arc<HashMap<String, bool>>,
    policy: Option<Arc<Policy>>,
    provisional: bool,
}

impl Catalog {
    /// A snapshot with a version of its own. `reaching_functions` are the bare names of functions
    /// and procedures whose body reaches a protected table.
    pub fn new(
        relations: impl IntoIterator<Item = Relation>,
        reaching_functions: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut catalog = Self::empty();
        for relation in relations {
            catalog.insert(Arc::new(relation));
        }
        catalog.reaching_functions.extend(reaching_functions);
        catalog
    }

    /// A snapshot without any relation.
    pub fn empty() -> Self {
        Self {
            version: next_version(),
            relations: HashMap::new(),
            by_oid: HashMap::new(),
            reaching_functions: HashSet::new(),
            own_functions: Arc::default(),
            policy: None,
            provisional: false,
        }
    }

    /// The same snapshot with the policy's named types as this database has them.
    #[must_use]
    pub fn with_policy(self, policy: Option<Arc<Policy>>) -> Self {
        Self { policy, ..self }
    }

    /// The same snapshot with the bare names of all functions that are not PostgreSQL's own, and whether
    /// one of that name is volatile: only such a one can change data.
    #[must_use]
    pub fn with_own_functions(self, functions: HashMap<String, bool>) -> Self {
        Self { own_functions: Arc::new(functions), ..self }
    }

    /// A new snapshot with one more function that is not PostgreSQL's own.
    #[must_use]
    pub fn with_own_function(&self, bare: &str, volatile: bool) -> Self {
        let mut next = self.copy();
        *Arc::make_mut(&mut next.own_functions).entry(bare.to_owned()).or_default() |= volatile;
        next
    }

    /// Whether a function of that bare name is not PostgreSQL's own, and then whether one is volatile.
    pub fn own_function(&self, bare: &str) -> Option<bool> {
        self.own_functions.get(bare).copied()
    }

    /// The same snapshot as what DDL makes of it that may yet be rolled back.
    #[must_use]
    pub fn provisional(self) -> Self {
        Self { provisional: true, ..self }
    }

    /// Whether it is what DDL made that may yet be rolled back.
    pub fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// The policy as it is to be used with this snapshot: with the database's own types, if any.
    pub fn policy<'a>(&'a self, configured: &'a Policy) -> &'a Policy {
        self.policy.as_deref().unwrap_or(configured)
    }

    /// The number by which plans name the snapshot that they were made for.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The relation of that name.
    pub fn relation(&self, name: &QualifiedName) -> Option<&Arc<Relation>> {
        let named = self.named(&name.name);
        named.get(place(named, &name.schema).ok()?)
    }

    /// Every relation, in no order.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values().flatten()
    }

    /// Every relation of that bare name, one for each schema that has one, in the order of the schemas.
    pub fn named(&self, bare: &str) -> &[Arc<Relation>] {
        self.relations.get(bare).map_or(&[], Vec::as_slice)
    }

    /// The relation with that OID (never 0).
    pub fn by_oid(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.by_oid.get(&oid)
    }

    /// Whether a function or procedure of that bare name, in any schema, reaches a protected table.
    pub fn function_reaches(&self, bare: &str) -> bool {
        self.reaching_functions.contains(bare)
    }

    /// A new snapshot in which a function of that bare name reaches a protected table.
    #[must_use]
    pub fn with_reaching_function(&self, bare: &str) -> Self {
        let mut next = self.copy();
        next.reaching_functions.insert(bare.to_owned());
        next
    }

    /// Puts the relation in the place of the one of its name: for a snapshot that is being made.
    pub fn replace(&mut self, relation: Relation) {
        self.insert(Arc::new(relation));
    }

    /// A new snapshot in which the relation is added, or replaces the one of its name.
    #[must_use]
    pub fn with_relation(&self, relation: Relation) -> Self {
        let mut next = self.without(&relation.name);
        next.insert(Arc::new(relation));
        next
    }

    /// A new snapshot without the relation.
    #[must_use]
    pub fn without(&self, name: &QualifiedName) -> Self {
        let mut next = self.copy();
        if let Some(gone) = self.relation(name) {
            next.by_oid.remove(&gone.oid);
            let mut named = next.relations.remove(&name.name).unwrap_or_default();
            named.retain(|relation| relation.name != *name);
            if !named.is_empty() {
                next.relations.insert(name.name.clone(), named);
            }
        }
        next
    }

    /// The same under another version.
    fn copy(&self) -> Self {
        Self {
            version: next_version(),
            relations: self.relations.clone(),
            by_oid: self.by_oid.clone(),
            reaching_functions: self.reaching_functions.clone(),
            own_functions: Arc::clone(&self.own_functions),
            policy: self.policy.clone(),
            provisional: self.provisional,
        }
    }

    /// A new snapshot with the temporary relations of `other`, which only its session knows; `None` if
    /// it has none.
    pub fn with_temporary_of(&self, other: &Self) -> Option<Self> {
        let mut temporary = other.relations().filter(|relation| relation.name.schema == "pg_temp");
        let mut next = self.with_relation(temporary.next()?.as_ref().clone());
        temporary.for_each(|relation| next.insert(Arc::clone(relation)));
        Some(next)
    }

    /// A new snapshot without the session's temporary relations; `None` if it has none.
    pub fn without_temporary(&self) -> Option<Self> {
        let names = self.relations().map(|relation| &relation.name);
        let mut temporary = names.filter(|name| name.schema == "pg_temp");
        let first = self.without(temporary.next()?);
        Some(temporary.fold(first, |catalog, name| catalog.without(name)))
    }

    /// Whether both show the same, so that plans made for the one hold for the other.
    pub fn same_content(&self, other: &Self) -> bool {
        let columns = |catalog: &Self| catalog.policy.as_ref().map(|policy| policy.columns().to_vec());
        self.relations == other.relations
            && self.reaching_functions == other.reaching_functions
            && self.own_functions == other.own_functions
            && columns(self) == columns(other)
    }

    fn insert(&mut self, relation: Arc<Relation>) {
        if relation.oid != 0 {
            self.by_oid.insert(relation.oid, Arc::clone(&relation));
        }
        let named = self.relations.entry(relation.name.name.clone()).or_default();
        match place(named, &relation.name.schema) {
            Ok(at) => named.get_mut(at).into_iter().for_each(|same| same.clone_from(&relation)),
            Err(at) => named.insert(at, relation),
        }
    }
}

/// Where the relation of a schema is, or would have to be: a name may be in as many schemas as there are tenants.
fn place(named: &[Arc<Relation>], schema: &str) -> Result<usize, usize> {
    named.binary_search_by(|relation| relation.name.schema.as_str().cmp(schema))
}

impl Default for Catalog {
    fn default() -> Self {
        Self::empty()
    }
}

fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(schema: &str, name: &str, oid: u32) -> Relation {
        Relation {
            name: QualifiedName::new(schema, name),
            oid,
            columns: Some(Vec::new()),
            reach: Reach::None,
            kind: Kind::Table,
            over: Vec::new(),
        }
    }

    #[test]
    fn finds_by_name_bare_name_and_oid() {
        let catalog = Catalog::new(
            [relation("b", "t", 2), relation("a", "t", 1), relation("a", "u", 3)],
            ["f".to_owned()],
        );
        assert_eq!(catalog.relation(&QualifiedName::new("b", "t")).map(|r| r.oid), Some(2));
        assert_eq!(catalog.relation(&QualifiedName::new("a", "t")).map(|r| r.oid), Some(1));
        assert!(catalog.relation(&QualifiedName::new("b", "u")).is_none());
        let oids = |name: &str| catalog.named(name).iter().map(|r| r.oid).collect::<Vec<_>>();
        assert_eq!(oids("t"), [1, 2]);
        assert_eq!(oids("none"), [0_u32; 0]);
        assert_eq!(catalog.by_oid(3).map(|r| r.name.name.as_str()), Some("u"));
        assert!(catalog.function_reaches("f") && !catalog.function_reaches("g"));
    }

    #[test]
    fn a_change_makes_a_new_snapshot_and_leaves_the_old() {
        let old = Catalog::new([relation("a", "t", 1)], []);
        let new = old.with_relation(relation("a", "t", 0)).with_relation(relation("b", "t", 2));
        assert_ne!(old.version(), new.version());
        assert_eq!(new.named("t").len(), 2);
        assert!(new.by_oid(1).is_none() && new.by_oid(0).is_none());
        assert!(old.by_oid(1).is_some());

        let less = new.without(&QualifiedName::new("a", "t"));
        assert_eq!(less.named("t").iter().map(|r| r.oid).collect::<Vec<_>>(), [2]);
        assert!(!less.same_content(&new));
        assert!(less.same_content(&Catalog::new([relation("b", "t", 2)], [])));
    }
}
