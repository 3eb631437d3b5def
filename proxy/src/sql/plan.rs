//! What a statement text means over protected columns: what to change on its way up, and how to
//! read what comes back.

use super::Context;
use super::class::Form;
use super::path::SearchPath;
use super::seen::Seen;
use super::shape::{self, Places, Shape};
use super::template::Fixed;
use crate::copy::Layout;
use crate::hex;
use crate::policy::{ProtectedColumn, Purpose, QualifiedName, catalog::Catalog};
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The plan of one statement text. The default is that of a text without statements.
#[derive(Default)]
pub struct Plan {
    /// One entry for each statement of the text, in order.
    pub statements: Vec<StatementPlan>,
    /// Changes to the text, by rising, disjoint ranges.
    pub edits: Vec<Edit>,
    /// What each `$n` is, by n - 1, up to the highest one used; parameters past the end are plain.
    pub parameters: Vec<Parameter>,
    /// Parameters that go upstream a second time, for uses of another class. Their numbers follow
    /// `highest`.
    pub twins: Vec<Twin>,
    /// The highest `$n` of a text that is protected.
    pub highest: usize,
    /// Whether it touches a protected table. If not, the text, its parameters and its results are
    /// relayed as they are.
    pub protected: bool,
    /// Whether any statement writes or changes anything (a `read` envelope must not run it).
    pub writes: bool,
    /// Protected columns that it writes, with whatever value: cells that it moves, NULL, a default. Of what
    /// SQL prepares or declares, those of its literals and parameters as well: whoever runs it needs their
    /// keyspaces, too.
    pub written: Vec<Arc<ProtectedColumn>>,
    /// The tables that it touches, for an envelope that is for some tables only.
    pub tables: Tables,
    /// Prepared statements of the session that it runs by SQL `EXECUTE`, with what they stood for when
    /// it was analysed: it holds only as long as they do.
    pub executes: Vec<(String, Arc<Plan>)>,
    /// Whether it changes how texts and values are read or shown (`TimeZone`, `DateStyle`, …): what
    /// comes after it cannot be treated before the server has reported the change.
    pub changes_form: bool,
    /// The search path, where names in it were decided by that. By another it is another plan.
    pub path: Option<Arc<SearchPath>>,
    /// Whether it reads a COPY from the client, of whatever table: a server that does takes the next message that
    /// is no data for the COPY's failure, and no more than that.
    pub copies_in: bool,
    /// Whether it may change the search path, or what it comes to.
    pub changes_path: bool,
    /// Whether it ends a transaction or a part of one, and takes back what was set in it.
    pub ends_transaction: bool,
    /// The session's catalog after the text has run, where it contains DDL.
    pub catalog_after: Option<Arc<Catalog>>,
    /// Whether the catalog must be loaded anew once the text has run and its transaction ended.
    pub changes_catalog: bool,
    /// What the audit log says of it, as the members of a JSON object, where it touches what is protected,
    /// or runs a cursor.
    pub summary: String,
    /// What it was made by.
    pub(crate) seen: Seen,
    /// Literals that meet a plain column: their values decide nothing.
    pub(crate) free: Vec<Range<usize>>,
    /// Where it serves all texts of a shape: its edits are of the shape's text then.
    pub(crate) fixed: Option<Fixed>,
}

/// What one statement of the text does.
#[derive(Default)]
pub struct StatementPlan {
    /// Its result columns where the statement is protected and returns rows; `None` where rows, if
    /// there are any, are plain.
    pub results: Option<Arc<[ResultColumn]>>,
    /// Changes of the carriers `trefoil.*`, in order (`RESET ALL` changes all three).
    pub settings: Vec<SettingChange>,
    /// What it does, once it has succeeded, to the names of prepared statements and cursors.
    pub naming: Option<Naming>,
    /// The cursor or portal that it runs by SQL `FETCH` or `MOVE`. Its rows are read as the cursor's,
    /// which the session knows.
    pub fetches: Option<String>,
    /// The data that it moves, where it is a COPY of something protected.
    pub copy: Option<Arc<CopyPlan>>,
}

/// The tables that a text touches: those that it names, and those of the policy that it reaches through
/// them. What is left to a cursor that it fetches from is not among them.
#[derive(Default)]
pub struct Tables {
    /// Sorted, each once.
    named: Vec<QualifiedName>,
    /// It may touch others.
    open: bool,
}

/// What is not within the tables that an envelope is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Beyond<'a> {
    /// This table.
    Table(&'a QualifiedName),
    /// What cannot be told.
    Unknown,
}

impl Tables {
    /// Those that it names, and those of the policy behind them.
    pub(super) fn named(&self) -> &[QualifiedName] {
        &self.named
    }

    /// Adds a table.
    pub(super) fn add(&mut self, table: &QualifiedName) {
        if let Err(place) = self.named.binary_search(table) {
            self.named.insert(place, table.clone());
        }
    }

    /// Notes that it may touch tables that nothing tells.
    pub(super) fn leave_open(&mut self) {
        self.open = true;
    }

    /// Adds what another text touches.
    pub(super) fn join(&mut self, other: &Self) {
        other.named.iter().for_each(|table| self.add(table));
        self.open |= other.open;
    }

    #[cfg(test)]
    pub(super) fn shown(&self) -> String {
        let named = self.named.iter().map(ToString::to_string);
        named.chain(self.open.then(|| "?".to_owned())).collect::<Vec<_>>().join(" ")
    }

    /// What lies beyond `allowed`, which is sorted; `None` if nothing does.
    pub fn beyond(&self, allowed: &[QualifiedName]) -> Option<Beyond<'_>> {
        let other = self.named.iter().find(|table| allowed.binary_search(table).is_err());
        other.map(Beyond::Table).or(self.open.then_some(Beyond::Unknown))
    }
}

/// A COPY of a protected table, or of a query over one.
pub struct CopyPlan {
    /// Whether the data comes from the client.
    pub from: bool,
    /// How it is written, and its columns.
    pub layout: Arc<Layout>,
    /// The protection of each column.
    pub cells: Vec<Option<Arc<ProtectedColumn>>>,
}

/// A change that SQL makes to the names of prepared statements and cursors, which are those of the
/// protocol's statements and portals, too.
pub enum Naming {
    /// `PREPARE`.
    Prepare {
        /// The name.
        name: String,
        /// What it stands for: no edits, one statement.
        plan: Arc<Plan>,
        /// The OIDs of the types that the client declared for parameters which are cells; 0 where they
        /// are the columns' own.
        declared: Arc<[u32]>,
    },
    /// `DEALLOCATE name`.
    Deallocate(String),
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DECLARE`.
    Declare {
        /// The name.
        name: String,
        /// Its query: no edits, one statement.
        plan: Arc<Plan>,
        /// Whether it outlives its transaction.
        hold: bool,
        /// Whether a simple query's FETCH gets its rows in binary.
        binary: bool,
    },
    /// `CLOSE name`.
    Close(String),
    /// `CLOSE ALL`.
    CloseAll,
    /// `DISCARD ALL`: statements and cursors.
    DiscardAll,
}

/// One result column of a protected statement.
#[derive(Clone, Debug)]
pub enum ResultColumn {
    /// Not a cell: relayed as it is.
    Plain,
    /// A cell of this column's key domain, shown as its logical type.
    Cell(Arc<ProtectedColumn>),
}

/// One parameter.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// Relayed as it is.
    Plain,
    /// Becomes a cell of this column; upstream its type is `bytea`.
    Cell(Arc<ProtectedColumn>, Purpose),
    /// An array whose elements become cells of this column; upstream its type is `bytea[]`.
    Cells(Arc<ProtectedColumn>, Purpose),
    /// Only tested for NULL: upstream its type is `bytea`, and an empty value stands for what is not NULL.
    Tested {
        /// The type that the text casts it to; `text` where it does not.
        oid: u32,
    },
    /// The value of a carrier setting (`set_config('trefoil.envelope', $1, …)`): the value is kept
    /// by the session and `set` goes upstream in its place.
    Carrier {
        /// Which setting, without the prefix: `user`, `envelope` or `app_share`.
        name: &'static str,
        /// Whether it lasts until the transaction's end only.
        local: bool,
    },
    /// The name of a setting that is only known when bound: refused if it starts with `trefoil.`.
    SettingName,
}

/// A parameter's second use, in another class than its first.
#[derive(Clone, Debug)]
pub struct Twin {
    /// The index of the parameter that it is a copy of: its number less one.
    pub of: usize,
    /// What the copy is.
    pub usage: Parameter,
}

/// One change to the text.
pub enum Edit {
    /// Replace the range by fixed text (a cast taken off, a type in DDL, a column list).
    Text {
        /// Bytes of the original text.
        range: Range<usize>,
        /// What stands there instead.
        with: String,
    },
    /// Replace the range by the cell of a literal, as `'\x…'::bytea`.
    Cell {
        /// Bytes of the original text.
        range: Range<usize>,
        /// The literal's value as PostgreSQL reads it; `None` if each text of a shape has its own. A text with
        /// such an edit is never cached.
        literal: Option<Zeroizing<String>>,
        /// The column.
        column: Arc<ProtectedColumn>,
        /// Stored or compared.
        purpose: Purpose,
        /// Its form; `None` for an array, whose elements become cells.
        form: Option<Form>,
    },
    /// Replace `SHOW trefoil.x` by a SELECT of what the session may show of that carrier.
    Shown {
        /// Bytes of the original text.
        range: Range<usize>,
        /// Which setting, without the prefix.
        name: &'static str,
    },
}

/// `SET [LOCAL] trefoil.x = '…'`: the session keeps the value; upstream only `set` (for the user:
/// the UId) arrives, by an [`Edit::Text`].
pub struct SettingChange {
    /// Which setting, without the prefix: `user`, `envelope` or `app_share`.
    pub name: &'static str,
    /// The new value; `None` for RESET, DEFAULT and an empty string.
    pub value: Option<Zeroizing<String>>,
    /// Whether it lasts until the transaction's end only.
    pub local: bool,
}

impl StatementPlan {
    /// Whether its rows have cells.
    pub fn has_cells(&self) -> bool {
        self.results.as_ref().is_some_and(|r| r.iter().any(|c| matches!(c, ResultColumn::Cell(_))))
    }
}

/// Appends `'{"\\x…",NULL}'::bytea[]`.
fn array_literal(cells: &[Option<Vec<u8>>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"'{");
    for (index, cell) in cells.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        match cell {
            Some(cell) => {
                out.extend_from_slice(b"\"\\\\x");
                hex::push(cell, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"NULL"),
        }
    }
    out.extend_from_slice(b"}'::bytea[]");
}

impl Parameter {
    /// The column whose cell, or cells, it becomes.
    pub fn sealed(&self) -> Option<&Arc<ProtectedColumn>> {
        match self {
            Self::Cell(column, _) | Self::Cells(column, _) => Some(column),
            Self::Plain | Self::Tested { .. } | Self::Carrier { .. } | Self::SettingName => None,
        }
    }
}

impl Edit {
    /// The column whose cell, or cells, a literal becomes.
    pub fn sealed(&self) -> Option<&Arc<ProtectedColumn>> {
        match self {
            Self::Cell { column, .. } => Some(column),
            Self::Text { .. } | Self::Shown { .. } => None,
        }
    }

    /// The bytes of the original text that it replaces.
    pub fn range(&self) -> Range<usize> {
        match self {
            Self::Text { range, .. } | Self::Cell { range, .. } | Self::Shown { range, .. } => range.clone(),
        }
    }
}

impl Plan {
    /// Whether it still means the same, under a catalog that may have changed since it was made.
    pub fn holds_for(&self, context: &Context<'_>) -> bool {
        let own_change = |after: &Arc<Catalog>| after.version() == context.catalog.version();
        // A definition without parameters has said all that it says.
        (self.changes_catalog && self.parameters.is_empty())
            || self.catalog_after.as_ref().is_some_and(own_change)
            || self.seen.holds(self.protected, context)
    }

    /// Gives back what memory it has and does not need.
    pub fn shrink(&mut self) {
        self.statements.shrink_to_fit();
        self.statements.iter_mut().for_each(|statement| statement.settings.shrink_to_fit());
        self.edits.shrink_to_fit();
        self.parameters.shrink_to_fit();
        self.twins.shrink_to_fit();
        self.written.shrink_to_fit();
        self.tables.named.shrink_to_fit();
        self.executes.shrink_to_fit();
        self.free.shrink_to_fit();
        self.summary.shrink_to_fit();
        self.seen.shrink();
    }

    /// About how many bytes it holds, for the bound of a cache.
    pub fn size(&self) -> usize {
        let text = |edit: &Edit| match edit {
            Edit::Text { with, .. } => with.len(),
            Edit::Cell { literal, .. } => literal.as_ref().map_or(0, |literal| literal.len()),
            Edit::Shown { .. } => 0,
        };
        let edits: usize = self.edits.iter().map(|edit| size_of::<Edit>() + text(edit)).sum();
        let statement = |statement: &StatementPlan| {
            let results = statement.results.as_ref().map_or(0, |results| results.len());
            let named = match &statement.naming {
                Some(Naming::Prepare { plan, declared, .. }) => plan.size() + size_of_val(&**declared),
                Some(Naming::Declare { plan, .. }) => plan.size(),
                _ => 0,
            };
            size_of::<StatementPlan>() + results * size_of::<ResultColumn>() + named
        };
        edits
            + self.summary.len()
            + self.statements.iter().map(statement).sum::<usize>()
            + self.parameters.len() * size_of::<Parameter>()
            + self.twins.len() * size_of::<Twin>()
            + size_of_val(&*self.written)
            + size_of_val(&*self.free)
            + self.fixed.iter().flatten().map(|fixed| size_of_val(fixed) + fixed.1.len()).sum::<usize>()
            + self.seen.size()
            + self.tables.named.iter().map(|t| size_of_val(t) + t.schema.len() + t.name.len()).sum::<usize>()
    }

    /// Whether the text may be kept with its plan: not if it holds a protected literal or a share.
    pub fn cacheable(&self) -> bool {
        self.catalog_after.is_none()
            && !self.changes_catalog
            && self.executes.is_empty()
            && self.statements.iter().all(|s| s.settings.is_empty())
            && !self.edits.iter().any(|e| matches!(e, Edit::Cell { .. }))
    }

    /// Whether it passes as it is and leaves the session as it was: nothing protected, no setting, no name,
    /// no transaction's end. Whatever numbers stand in such a text, it does no more with others.
    pub fn is_inert(&self) -> bool {
        let Self { statements, edits, parameters, executes, path, .. } = self;
        let plain = |statement: &StatementPlan| {
            let StatementPlan { results, settings, naming, fetches, copy } = statement;
            results.is_none()
                && settings.is_empty()
                && naming.is_none()
                && fetches.is_none()
                && copy.is_none()
        };
        statements.iter().all(plain)
            && edits.is_empty()
            && parameters.is_empty()
            && executes.is_empty()
            && path.is_none()
            && !self.protected
            && !self.copies_in
            && !self.changes_form
            && !self.changes_path
            && !self.ends_transaction
            && self.catalog_after.is_none()
            && !self.changes_catalog
    }

    /// The text as it goes upstream. `seal` appends the cell of a literal to the list it is given; where it gets
    /// no type of the literal's form, as a declared parameter's and 0 if it is quoted, those of the elements of
    /// an array (`None` for NULL). `shown` says what may be shown of a carrier.
    pub fn rewrite<E>(
        &self,
        text: &[u8],
        mut seal: impl FnMut(
            &ProtectedColumn,
            &str,
            Purpose,
            Option<u32>,
            &mut Vec<Option<Vec<u8>>>,
        ) -> Result<(), E>,
        shown: impl Fn(&'static str) -> String,
    ) -> Result<Vec<u8>, E> {
        let mut rewritten = Vec::with_capacity(text.len() + 64 * self.edits.len());
        let mut cells = Vec::new();
        let mut from = 0;
        let shape = if self.fixed.is_some() { Shape::of(text) } else { None };
        let mut places = shape.as_ref().map(Places::of);
        for edit in &self.edits {
            let range = match (edit.range(), &mut places) {
                (range, None) => range,
                (range, Some(places)) => places.byte(range.start)..places.byte(range.end),
            };
            rewritten.extend_from_slice(text.get(from..range.start).unwrap_or_default());
            from = range.end;
            match edit {
                Edit::Text { with, .. } => rewritten.extend_from_slice(with.as_bytes()),
                Edit::Shown { name, .. } => {
                    let value = shown(name).replace('\\', "\\\\").replace('\'', "''");
                    rewritten
                        .extend_from_slice(format!("SELECT E'{value}' AS \"trefoil.{name}\"").as_bytes());
                }
                Edit::Cell { literal, column, purpose, form, .. } => {
                    let own;
                    let literal = match literal {
                        Some(literal) => literal,
                        None => {
                            let token = text.get(range).and_then(|token| str::from_utf8(token).ok());
                            // Going on with another value must be impossible.
                            assert!(token.is_some(), "a text has the literals of its shape");
                            own = shape::value(token.unwrap_or_default());
                            &own
                        }
                    };
                    let single = form.map(|form| form.declared(literal, &column.logical));
                    cells.clear();
                    seal(column, literal, *purpose, single, &mut cells)?;
                    if single.is_none() {
                        array_literal(&cells, &mut rewritten);
                    } else {
                        rewritten.extend_from_slice(b"'\\x");
                        cells.iter().flatten().for_each(|cell| hex::push(cell, &mut rewritten));
                        rewritten.extend_from_slice(b"'::bytea");
                    }
                }
            }
        }
        rewritten.extend_from_slice(text.get(from..).unwrap_or_default());
        Ok(rewritten)
    }

    /// Whether it has names of statements or cursors that mean other bytes in another encoding.
    pub fn names_by_encoding(&self) -> bool {
        let named = |naming: &Naming| match naming {
            Naming::Prepare { name, .. } | Naming::Declare { name, .. } => !name.is_ascii(),
            Naming::Deallocate(name) | Naming::Close(name) => !name.is_ascii(),
            Naming::DeallocateAll | Naming::CloseAll | Naming::DiscardAll => false,
        };
        self.executes.iter().any(|(name, _)| !name.is_ascii())
            || self.fetches().any(|name| !name.is_ascii())
            || self.statements.iter().filter_map(|s| s.naming.as_ref()).any(named)
    }

    /// The data that it moves, where it is one COPY of something protected.
    pub fn copy(&self) -> Option<&Arc<CopyPlan>> {
        self.statements.first().and_then(|statement| statement.copy.as_ref())
    }

    /// The columns whose cells it makes of literals and parameters.
    pub fn sealed(&self) -> impl Iterator<Item = &Arc<ProtectedColumn>> {
        let usages = self.parameters.iter().chain(self.twins.iter().map(|copy| &copy.usage));
        self.edits.iter().filter_map(Edit::sealed).chain(usages.filter_map(Parameter::sealed))
    }

    /// Whether any of its parameters becomes a cell, or cells.
    pub fn seals_parameters(&self) -> bool {
        let copies = self.twins.iter().map(|copy| &copy.usage);
        self.parameters.iter().chain(copies).any(|p| matches!(p, Parameter::Cell(..) | Parameter::Cells(..)))
    }

    /// Whether the names of prepared statements and cursors have to stand still around it.
    pub fn names(&self) -> bool {
        self.statements.iter().any(|s| s.naming.is_some() || s.fetches.is_some())
    }

    /// The cursors that it runs by FETCH or MOVE.
    pub fn fetches(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().filter_map(|s| s.fetches.as_deref())
    }

    /// Whether running it needs keys at all: a protected value goes up or comes back. What comes from
    /// cursors that it does not declare itself is left out.
    pub fn keyed(&self) -> bool {
        self.sealed().next().is_some()
            || self.statements.iter().any(StatementPlan::has_cells)
            || self
                .statements
                .iter()
                .filter_map(|s| s.copy.as_ref())
                .any(|c| c.cells.iter().any(Option::is_some))
            || (self.fetches().next().is_some()
                && self.statements.iter().any(|s| {
                    matches!(&s.naming, Some(Naming::Declare { plan, .. })
                        if plan.statements.iter().any(StatementPlan::has_cells))
                }))
    }

    /// Whether SQL's EXECUTE may run it: one statement that does nothing but what this plan's parameters
    /// and results say.
    pub fn executable(&self) -> bool {
        matches!(self.statements.as_slice(), [statement] if statement.settings.is_empty()
            && statement.naming.is_none()
            && statement.fetches.is_none()
            && statement.copy.is_none())
            && self.executes.is_empty()
            && self.twins.is_empty()
            && !self.changes_catalog
            && self.catalog_after.is_none()
            && self.parameters.iter().all(|p| matches!(p, Parameter::Plain | Parameter::Cell(..)))
    }
}
