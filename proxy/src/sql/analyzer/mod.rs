//! Analysis of one statement that touches a protected table: walks it with its scopes, and collects
//! what is to change in the text, the parameters and the results.

mod alter;
mod constraint;
mod copy;
mod create;
mod create_as;
mod definition;
mod expression;
mod from;
mod insert;
mod leaf;
mod merge;
mod modify;
mod operator;
mod prepare;
mod select;
mod slot;
mod view;

pub(super) use insert::quoted;

use super::class::{Class, Leaf, Value};
use super::plan::{CopyPlan, Edit, Parameter, Plan, ResultColumn};
use super::resolve::{Names, Unresolved};
use super::scope::{Out, Scope};
use super::uses::Uses;
use super::{Refusal, refusal};
use crate::error::ClientError;
use crate::lex::Tokens;
use crate::policy::ProtectedColumn;
use crate::policy::catalog::Column;
use pg_raw_parse::Node;
use slot::Slot;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

pub(in crate::sql) use create::CHECK_PREFIX;

/// Result of a step of the analysis.
pub(super) type Analysis<T> = Result<T, Refusal>;

/// Deepest nesting of expressions and subqueries that is analysed. A level costs below 4 KiB of
/// stack, and analysis runs on stacks of 64 MiB.
const MAX_DEPTH: usize = 2_000;

/// One output column of a query: its name and its class, which may still be open.
pub(super) struct Target {
    name: String,
    class: Class,
}

/// A WITH query in scope.
struct Cte {
    name: String,
    columns: Vec<Out>,
}

/// State of the analysis of one text.
pub(super) struct Analyzer<'a> {
    text: &'a str,
    names: Names<'a>,
    tokens: &'a OnceCell<Tokens>,
    scope: Scope,
    ctes: Vec<Cte>,
    /// Names of WITH RECURSIVE queries that are visible already and not analysed yet.
    unseen_ctes: Vec<&'a str>,
    depth: usize,
    /// Changes to the text, in the order in which they were found.
    pub(super) edits: Vec<Edit>,
    /// Literals that meet a plain column: their values decide nothing.
    pub(super) free: Vec<Range<usize>>,
    /// What each parameter has been used as so far.
    pub(super) uses: Uses,
    /// Protected columns that are written.
    pub(super) written: Vec<Arc<ProtectedColumn>>,
    /// The data that a COPY moves.
    pub(super) copy: Option<CopyPlan>,
    /// What the statement runs by EXECUTE.
    executed: Option<Arc<Plan>>,
    /// The types that PREPARE declares for parameters which are cells.
    pub(super) declared: Arc<[u32]>,
    /// The columns of a table that it makes of a query's.
    pub(super) made: Option<Vec<Column>>,
    /// Whether the text is the stored definition of a view, which has cells in it and is not changed.
    stored: bool,
    /// The outputs of that definition that the database computes from cells.
    computed: Vec<usize>,
    /// The open columns of subqueries.
    slots: Vec<Slot>,
    /// What is only tested for NULL there.
    null_tested: Vec<Leaf>,
    /// Within PREPARE, how many of its parameters have a declared type. The others get it by a cast.
    preparing: Option<usize>,
    /// Whether what is settled stands beside a plain column.
    beside_column: bool,
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Refused(error)
    }
}

impl From<Unresolved> for Refusal {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::Unknown(error) => Self::UnknownRelation(error),
            Unresolved::Refused(error) => Self::Refused(error),
        }
    }
}

impl<'a> Analyzer<'a> {
    /// Starts on a statement of `text`; `names` is the catalog as it is before it, `uses` what the
    /// statements before it used its parameters as, `executed` what it runs by EXECUTE.
    pub(super) fn new(
        text: &'a str,
        names: Names<'a>,
        tokens: &'a OnceCell<Tokens>,
        uses: Uses,
        executed: Option<Arc<Plan>>,
    ) -> Self {
        Self {
            text,
            names,
            tokens,
            scope: Scope::default(),
            ctes: Vec::new(),
            unseen_ctes: Vec::new(),
            depth: 0,
            edits: Vec::new(),
            free: Vec::new(),
            uses,
            written: Vec::new(),
            copy: None,
            executed,
            declared: Arc::default(),
            made: None,
            stored: false,
            computed: Vec::new(),
            slots: Vec::new(),
            null_tested: Vec::new(),
            preparing: None,
            beside_column: false,
        }
    }

    /// Analyses a statement that touches a protected table. Returns its result columns if it
    /// returns rows; for PREPARE and DECLARE, those of what they name.
    pub(super) fn statement(&mut self, statement: Node<'a>) -> Analysis<Option<Arc<[ResultColumn]>>> {
        let results = self.statement_inner(statement)?;
        self.close_slots()?;
        self.close_null_tests()?;
        self.uses.check()?;
        Ok(results)
    }

    fn statement_inner(&mut self, statement: Node<'a>) -> Analysis<Option<Arc<[ResultColumn]>>> {
        match statement {
            Node::SelectStmt(select) => {
                if let Some(into) = select.into_clause() {
                    let targets = self.nested(|this| this.select_or_into(select))?;
                    return self.create_from(into, targets, false).map(|()| None);
                }
                return self.rows(statement);
            }
            Node::PrepareStmt(prepare) => return self.prepare(prepare),
            Node::ExecuteStmt(execute) => return self.execute(execute),
            Node::DeclareCursorStmt(declare) => return self.rows(declare.query()),
            // Its own rows are text that describes.
            Node::ExplainStmt(explain) => {
                self.statement(explain.query())?;
            }
            Node::CopyStmt(copy) => self.copy(copy)?,
            Node::ViewStmt(view) => self.create_view(view)?,
            Node::CreateTableAsStmt(create) if super::views::makes_view(statement) => {
                self.create_materialized_view(create)?;
            }
            Node::CreateTableAsStmt(create) => self.create_table_as(create)?,
            definition if self.definition(definition)? => {}
            _ => return self.rows(statement),
        }
        Ok(None)
    }

    /// A statement that yields rows: their columns.
    fn rows(&mut self, statement: Node<'a>) -> Analysis<Option<Arc<[ResultColumn]>>> {
        let targets = self.query(statement)?;
        let mut results = Vec::with_capacity(targets.len());
        for target in targets {
            results.push(match self.resolved(target.class) {
                Class::Cell(column) => ResultColumn::Cell(column),
                Class::Open(leaves) => self.shown(leaves)?,
                Class::Plain => ResultColumn::Plain,
            });
        }
        Ok((!results.is_empty() || matches!(statement, Node::SelectStmt(_))).then(|| results.into()))
    }

    /// An open output. A parameter that is a cell elsewhere comes back as one.
    fn shown(&mut self, mut leaves: Vec<Leaf>) -> Analysis<ResultColumn> {
        if let [Leaf { value: Value::Parameter(number), casts, .. }] = leaves.as_slice()
            && let Some(Parameter::Cell(column, purpose)) = self.uses.of(number - 1).cloned()
            && casts.iter().all(|cast| cast.is_identity_for(&column.logical))
            && let Some(leaf) = leaves.pop()
        {
            self.encrypt(leaf, &column, purpose)?;
            return Ok(ResultColumn::Cell(column));
        }
        self.settle_plain(Class::Open(leaves))?;
        Ok(ResultColumn::Plain)
    }

    /// A statement that yields rows: a query, or a data-modifying statement with its RETURNING.
    fn query(&mut self, statement: Node<'a>) -> Analysis<Vec<Target>> {
        self.nested(|this| match statement {
            Node::SelectStmt(select) => this.select(select),
            Node::InsertStmt(insert) => this.insert(insert),
            Node::UpdateStmt(update) => this.update(update),
            Node::DeleteStmt(delete) => this.delete(delete),
            Node::MergeStmt(merge) => this.merge(merge),
            other => Err(refusal::statement(super::form::of(other)).into()),
        })
    }

    /// Runs `step` one level deeper, within the depth limit.
    fn nested<T>(&mut self, step: impl FnOnce(&mut Self) -> Analysis<T>) -> Analysis<T> {
        if self.depth >= MAX_DEPTH {
            return Err(refusal::too_deep().into());
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// Notes that a column is written.
    fn writes(&mut self, cell: Option<&Arc<ProtectedColumn>>) {
        if let Some(cell) = cell.filter(|cell| !self.written.iter().any(|known| known.id == cell.id)) {
            self.written.push(Arc::clone(cell));
        }
    }

    /// All columns that are written or made cells of.
    pub(super) fn needed(&self) -> Vec<Arc<ProtectedColumn>> {
        let sealed = self.edits.iter().filter_map(Edit::sealed).chain(self.uses.sealed());
        self.written.iter().chain(sealed).cloned().collect()
    }

    fn tokens(&self) -> &'a Tokens {
        self.tokens.get_or_init(|| Tokens::of(self.text))
    }
}
