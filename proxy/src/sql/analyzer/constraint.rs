//! Constraints and defaults over protected columns: keys compare the cells themselves, a default is
//! a constant that is stored encrypted, and nothing is computed from a cell.

use super::super::class::Class;
use super::super::resolve::Meaning;
use super::super::{Refusal, children, offset, refusal};
use super::expression::has_equality;
use super::{Analysis, Analyzer};
use crate::policy::{ProtectedColumn, Purpose, TablePolicy};
use pg_raw_parse::nodes::{self, ConstrType};
use pg_raw_parse::{Node, list};
use std::borrow::Cow;
use std::sync::Arc;

impl<'a> Analyzer<'a> {
    /// A constraint in the definition of a protected column.
    pub(super) fn cell_constraint(
        &mut self,
        constraint: &'a nodes::Constraint,
        column: &Arc<ProtectedColumn>,
        columns: &TablePolicy,
        table: &str,
    ) -> Analysis<()> {
        let at = offset(constraint.location);
        match constraint.contype {
            ConstrType::CONSTR_NULL
            | ConstrType::CONSTR_NOTNULL
            | ConstrType::CONSTR_ATTR_DEFERRABLE
            | ConstrType::CONSTR_ATTR_NOT_DEFERRABLE
            | ConstrType::CONSTR_ATTR_DEFERRED
            | ConstrType::CONSTR_ATTR_IMMEDIATE
            | ConstrType::CONSTR_ATTR_ENFORCED => Ok(()),
            ConstrType::CONSTR_PRIMARY | ConstrType::CONSTR_UNIQUE => has_equality(column),
            ConstrType::CONSTR_CHECK => self.without_cells(constraint.raw_expr(), columns, table),
            ConstrType::CONSTR_DEFAULT => self.cell_default(constraint.raw_expr(), column),
            ConstrType::CONSTR_FOREIGN => self.foreign_key(constraint, &[Some(column)]),
            _ => Err(refusal::definition(column, "GENERATED, IDENTITY or NOT ENFORCED").at(at).into()),
        }
    }

    /// A default is a constant, which is stored encrypted.
    pub(super) fn cell_default(&mut self, default: Node<'a>, column: &Arc<ProtectedColumn>) -> Analysis<()> {
        match self.expression(default)? {
            Class::Open(leaves) => self.settle_cell(leaves, column, Purpose::Assign),
            _ => Err(refusal::definition(column, "DEFAULT that is not a constant").into()),
        }
    }

    /// A constraint in the definition of a column that is not protected.
    pub(super) fn plain_column_constraint(
        &mut self,
        constraint: &'a nodes::Constraint,
        columns: &TablePolicy,
        table: &str,
    ) -> Analysis<()> {
        self.without_cells(constraint.raw_expr(), columns, table)?;
        if constraint.contype == ConstrType::CONSTR_FOREIGN {
            return self.foreign_key(constraint, &[None]);
        }
        Ok(())
    }

    /// A constraint of a table, or of ADD CONSTRAINT.
    pub(super) fn table_constraint(
        &mut self,
        constraint: &'a nodes::Constraint,
        columns: &TablePolicy,
        table: &str,
    ) -> Analysis<()> {
        if constraint.contype != ConstrType::CONSTR_NOTNULL {
            for key in constraint.keys().iter().filter_map(Node::as_str) {
                if let Some(column) = columns.get(key) {
                    has_equality(column)?;
                }
            }
        }
        self.without_cells(constraint.raw_expr(), columns, table)?;
        self.without_cells(constraint.where_clause(), columns, table)?;
        self.without_cells(Node::NodeList(constraint.exclusions()), columns, table)?;
        if constraint.contype == ConstrType::CONSTR_FOREIGN {
            let names = constraint.fk_attrs().iter().filter_map(Node::as_str);
            let referencing: Vec<Option<&Arc<ProtectedColumn>>> =
                names.map(|name| columns.get(name)).collect();
            self.foreign_key(constraint, &referencing)?;
        }
        Ok(())
    }

    /// A foreign key joins cells of one domain, or plain columns.
    fn foreign_key(
        &self,
        constraint: &'a nodes::Constraint,
        referencing: &[Option<&Arc<ProtectedColumn>>],
    ) -> Analysis<()> {
        let range = constraint.pktable().ok_or_else(refusal::not_understood)?;
        let bare = range.relname().unwrap_or_default();
        let at = offset(range.location);
        let referenced: Cow<'_, TablePolicy> = match self.names.meaning(range.schemaname(), bare) {
            Meaning::Protected(relation) => relation.cells(self.names.policy),
            Meaning::NotCreated(name) => {
                self.names.policy.table(&name).map(Cow::Borrowed).unwrap_or_default()
            }
            Meaning::Ambiguous => return Err(refusal::ambiguous_relation(bare).at(at).into()),
            Meaning::Reaching(relation) => {
                return Err(refusal::reaches_protected(&relation.name).at(at).into());
            }
            Meaning::Plain(_) | Meaning::Unknown => Cow::default(),
        };
        for (index, from) in referencing.iter().enumerate() {
            let name = constraint.pk_attrs().get(index).and_then(Node::as_str);
            let to = name.and_then(|name| referenced.get(name));
            match (*from, to) {
                (None, None) => {}
                (Some(from), Some(to)) if super::super::uses::same_domain(from, to) => has_equality(from)?,
                (Some(from), Some(to)) => return Err(refusal::domains_differ(from, to).into()),
                (Some(cell), None) | (None, Some(cell)) => {
                    return Err(refusal::definition(
                        cell,
                        "a foreign key to or from a plain column, or without the column's name,",
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Requires that nothing below `node`, which stands in the definition of `table`, names a
    /// protected column, but for `IS [NOT] NULL`, or a whole row. PostgreSQL takes no subquery there,
    /// which may be over other tables: it is refused before its literals go up to be refused.
    pub(super) fn without_cells(&self, node: Node<'a>, columns: &TablePolicy, table: &str) -> Analysis<()> {
        children::walk(node, |node| match node {
            Node::SubLink(_) => Err(Refusal::from(refusal::statement("a subquery in a definition"))),
            _ => Ok(()),
        })?;
        if matches!(node, Node::None) || columns.is_empty() {
            return Ok(());
        }
        let mut null_tests: Vec<i32> = Vec::new();
        children::walk(node, |node| {
            if let Node::NullTest(test) = node
                && let Node::ColumnRef(column) = test.arg()
            {
                null_tests.push(column.location);
            }
            Ok::<(), Refusal>(())
        })?;
        children::walk(node, |node| {
            let name = match node {
                Node::ColumnRef(column) => last_name(column.fields()),
                Node::PartitionElem(element) => element.name(),
                Node::IndexElem(element) => element.name(),
                Node::A_Indirection(_) => return Err(refusal::whole_row(table).into()),
                _ => return Ok(()),
            };
            let column = name.and_then(|name| columns.get(name));
            match (node, name) {
                (Node::ColumnRef(tested), _) if column.is_some() && null_tests.contains(&tested.location) => {
                    Ok(())
                }
                (Node::ColumnRef(_), None) => Err(Refusal::from(refusal::whole_row(table))),
                _ => match column {
                    Some(column) => {
                        Err(refusal::cell_in(column, "an expression of the table's definition").into())
                    }
                    // A name that is the table's is its whole row.
                    None if name == Some(table) => Err(refusal::whole_row(table).into()),
                    None => Ok(()),
                },
            }
        })
    }
}

fn last_name(fields: &list::NodeList) -> Option<&str> {
    fields.iter().next_back().and_then(Node::as_str)
}
