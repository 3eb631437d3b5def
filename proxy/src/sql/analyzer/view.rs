//! CREATE VIEW and CREATE MATERIALIZED VIEW over protected tables, and the definitions of views that
//! exist already.

use super::super::class::{Cast, Class};
use super::super::resolve::{BYTEA, TEMPORARY};
use super::super::{Refusal, offset, refusal};
use super::{Analysis, Analyzer, Target};
use crate::policy::catalog::{Column, Holds};
use crate::policy::{LogicalType, QualifiedName};
use pg_raw_parse::nodes::{self, ObjectType};
use pg_raw_parse::{Node, list};

/// `relpersistence` of a temporary relation.
const PERSISTENCE_TEMPORARY: i8 = b't'.cast_signed();

impl<'a> Analyzer<'a> {
    /// CREATE VIEW: what it shows is read like any query; an output that the database would compute
    /// from cells is refused.
    pub(super) fn create_view(&mut self, view: &'a nodes::ViewStmt) -> Analysis<()> {
        let range = view.view().ok_or_else(refusal::not_understood)?;
        self.define_view(range, view.query(), view.aliases())
    }

    /// CREATE MATERIALIZED VIEW: it is written with the cells that it shows.
    pub(super) fn create_materialized_view(&mut self, create: &'a nodes::CreateTableAsStmt) -> Analysis<()> {
        let into = create.into().filter(|_| create.objtype == ObjectType::OBJECT_MATVIEW);
        let into = into.ok_or_else(refusal::not_understood)?;
        let range = into.rel().ok_or_else(refusal::not_understood)?;
        self.define_view(range, create.query(), into.col_names())?;
        let made = self.made.take().unwrap_or_default();
        for column in &made {
            if let Holds::Cell(cell) = &column.holds {
                self.writes(Some(cell));
            }
        }
        self.made = Some(made);
        Ok(())
    }

    fn define_view(
        &mut self,
        range: &'a nodes::RangeVar,
        query: Node<'a>,
        aliases: &'a list::NodeList,
    ) -> Analysis<()> {
        self.free_name(range)?;
        let targets = self.query(query)?;
        let aliases: Vec<&str> = aliases.iter().filter_map(Node::as_str).collect();
        let mut columns = Vec::with_capacity(targets.len());
        for (target, number) in self.settled_outs(targets, &aliases)?.into_iter().zip(1_i16..) {
            let (type_oid, holds) = match target.cell {
                Some(cell) => (BYTEA, Holds::Cell(cell)),
                None => (0, Holds::Own),
            };
            columns.push(Column { name: target.name, number, type_oid, holds });
        }
        self.made = Some(columns);
        Ok(())
    }

    /// Refuses a protected table's name for a view: what the policy names is a table, and nothing may
    /// hide it.
    fn free_name(&self, range: &'a nodes::RangeVar) -> Analysis<()> {
        let (bare, at) = (range.relname().unwrap_or_default(), offset(range.location));
        let temporary =
            range.relpersistence == PERSISTENCE_TEMPORARY || range.schemaname() == Some(TEMPORARY);
        let protected = self.names.policy.schemas_with_table(bare);
        let by_path = if self.names.is_by_path(bare) { self.names.path.creation() } else { None };
        let taken = match range.schemaname().or(by_path) {
            Some(schema) => self.names.policy.table(&QualifiedName::new(schema, bare)).is_some(),
            None => !protected.is_empty(),
        };
        if taken || (temporary && !protected.is_empty()) {
            return Err(refusal::shadows(bare).at(at).into());
        }
        Ok(())
    }

    /// What the outputs of a stored definition hold.
    pub(in super::super) fn stored_definition(mut self, query: Node<'a>) -> Analysis<Vec<Holds>> {
        self.stored = true;
        let Node::SelectStmt(select) = query else { return Err(refusal::not_understood().into()) };
        let targets: Vec<Target> = self.query(query)?;
        if !self.computed.is_empty() && !select.distinct_clause().is_empty() {
            return Err(refusal::clause(
                "DISTINCT over what is computed from cells",
                "Leave it out of the view.",
            )
            .into());
        }
        let mut held = Vec::with_capacity(targets.len());
        for (index, target) in targets.into_iter().enumerate() {
            held.push(match self.resolved(target.class) {
                _ if self.computed.contains(&index) => Holds::Computed,
                Class::Cell(column) => Holds::Cell(column),
                other => {
                    self.settle_plain(other)?;
                    Holds::Own
                }
            });
        }
        Ok(held)
    }

    /// The class of an item of a select list. Of a stored definition's own, what is refused is computed
    /// by the database.
    pub(super) fn target_class(&mut self, value: Node<'a>, index: usize) -> Analysis<Class> {
        match self.expression(value) {
            Err(Refusal::Refused(_)) if self.stored && self.depth == 1 => {
                self.computed.push(index);
                Ok(Class::Plain)
            }
            class => class,
        }
    }

    /// A cast in a stored definition: cells and the constants that meet them are `bytea` there.
    pub(super) fn stored_cast(&mut self, class: Class, type_name: &'a nodes::TypeName) -> Analysis<Class> {
        let cast = Cast::to(type_name, Vec::new());
        let keeps = cast.is_identity_for(&LogicalType::Bytea) || cast.is_array_of(&LogicalType::Bytea);
        match class {
            Class::Plain => Ok(Class::Plain),
            Class::Cell(column) if !keeps => Err(refusal::cell_in_cast(&column).into()),
            class if keeps => Ok(class),
            open => {
                self.settle_plain(open)?;
                Ok(Class::Plain)
            }
        }
    }
}
