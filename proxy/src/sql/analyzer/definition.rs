//! Definitions that touch a protected table: which form goes where, and the small ones.

use super::super::refusal;
use super::super::scope::{Frame, Out};
use super::expression::has_equality;
use super::{Analysis, Analyzer};
use crate::policy::TablePolicy;
use crate::policy::catalog::Relation;
use pg_raw_parse::{Node, nodes};
use std::sync::Arc;

impl<'a> Analyzer<'a> {
    /// Analyses a definition; false if the statement is none.
    pub(super) fn definition(&mut self, statement: Node<'a>) -> Analysis<bool> {
        match statement {
            Node::CreateStmt(create) => self.create_table(create)?,
            Node::AlterTableStmt(alter) => self.alter_table(alter)?,
            Node::IndexStmt(index) => self.create_index(index)?,
            Node::CreateStatsStmt(statistics) => self.statistics(statistics)?,
            Node::CreatePolicyStmt(policy) => {
                let table = policy.table().ok_or_else(refusal::not_understood)?;
                self.row_policy(table, [policy.qual(), policy.with_check()])?;
            }
            Node::AlterPolicyStmt(policy) => {
                let table = policy.table().ok_or_else(refusal::not_understood)?;
                self.row_policy(table, [policy.qual(), policy.with_check()])?;
            }
            Node::CreateTrigStmt(trigger) => self.trigger(trigger)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The cells of a relation by column; an error if one of them is not migrated.
    pub(super) fn cells(&self, relation: &Relation) -> Analysis<TablePolicy> {
        let mut cells = TablePolicy::default();
        for column in relation.columns.iter().flatten() {
            if let Some(cell) = self.names.protected_column(relation, column)? {
                cells.insert(column.name.clone(), cell);
            }
        }
        Ok(cells)
    }

    /// CREATE INDEX: cells have the equality of their bytes, which is all that an index needs.
    fn create_index(&mut self, index: &'a nodes::IndexStmt) -> Analysis<()> {
        let range = index.relation().ok_or_else(refusal::not_understood)?;
        let table = self.table(range)?;
        let columns = cells_of(&table.columns);
        let equality_only = matches!(index.access_method(), None | Some("btree" | "hash"));
        for element in index.index_params() {
            let Some(name) = element.name() else {
                self.without_cells(element.expr(), &columns, &table.alias)?;
                continue;
            };
            let Some(column) = columns.get(name) else { continue };
            has_equality(column)?;
            let operators = element.opclass().iter().next_back().and_then(Node::as_str);
            let usual = matches!(operators, None | Some("bytea_ops")) && element.opclassopts().is_empty();
            if !equality_only || !usual || !element.collation().is_empty() {
                return Err(refusal::definition(column, "an index other than a plain btree or hash").into());
            }
        }
        self.without_cells(index.where_clause(), &columns, &table.alias)
    }

    /// CREATE STATISTICS: over the cells as they are, never over what is computed from them.
    fn statistics(&mut self, statistics: &'a nodes::CreateStatsStmt) -> Analysis<()> {
        let mut relations = statistics.relations().iter();
        let (Some(range), None) = (relations.next(), relations.next()) else {
            return Err(refusal::statement("CREATE STATISTICS over more than one table").into());
        };
        let table = self.table(range)?;
        let columns = cells_of(&table.columns);
        for element in statistics.exprs() {
            let Node::StatsElem(element) = element else { return Err(refusal::not_understood().into()) };
            self.without_cells(element.expr(), &columns, &table.alias)?;
        }
        Ok(())
    }

    /// A row level security policy: its conditions are expressions like any other, and its literals
    /// become cells where they meet one.
    fn row_policy(
        &mut self,
        range: &'a nodes::RangeVar,
        conditions: impl IntoIterator<Item = Node<'a>>,
    ) -> Analysis<()> {
        let table = self.table(range)?;
        self.conditions(Frame::of(table), conditions, "a row level security policy")
    }

    /// A trigger: its function sees cells. The condition compares the old row with the new one.
    fn trigger(&mut self, trigger: &'a nodes::CreateTrigStmt) -> Analysis<()> {
        let range = trigger.relation().ok_or_else(refusal::not_understood)?;
        let table = self.table(range)?;
        let mut rows = Frame::of(table.clone().renamed("old", &[]));
        rows.append(Frame::of(table.renamed("new", &[])));
        self.conditions(rows, [trigger.when_clause()], "a trigger's condition")
    }

    fn conditions(
        &mut self,
        frame: Frame,
        conditions: impl IntoIterator<Item = Node<'a>>,
        place: &str,
    ) -> Analysis<()> {
        self.scope.frames.push(frame);
        let checked = conditions.into_iter().try_for_each(|condition| self.plain(condition, place));
        self.scope.frames.pop();
        checked
    }
}

/// The cells among a source's columns.
fn cells_of(columns: &[Out]) -> TablePolicy {
    let cell = |column: &Out| Some((column.name.clone(), Arc::clone(column.cell.as_ref()?)));
    columns.iter().filter_map(cell).collect()
}
