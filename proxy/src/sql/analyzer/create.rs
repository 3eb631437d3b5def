//! CREATE TABLE: protected columns become `bytea` with a CHECK that only cells pass.

use super::super::class::Cast;
use super::super::plan::Edit;
use super::super::resolve::Meaning;
use super::super::uses::same_domain;
use super::super::{effect, offset, refusal};
use super::expression::has_equality;
use super::insert::quoted;
use super::{Analysis, Analyzer};
use crate::policy::catalog::{Holds, Relation};
use crate::policy::{ProtectedColumn, QualifiedName, TablePolicy};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, PartitionStrategy, TableLikeOption};
use std::sync::Arc;
use trefoil_keys::cell;

/// How the names of the CHECKs begin that only cells pass; the column's name follows.
pub(in crate::sql) const CHECK_PREFIX: &str = "trefoil_cell_";

impl<'a> Analyzer<'a> {
    /// CREATE TABLE of a protected table, or of one that refers to a protected table.
    pub(super) fn create_table(&mut self, create: &'a nodes::CreateStmt) -> Analysis<()> {
        let range = create.relation().ok_or_else(refusal::not_understood)?;
        let at = offset(range.location);
        let bare = range.relname().unwrap_or_default();
        let name = self.created(range)?;
        let made = effect::table(create, &name, self.names);
        let columns = self.inherited(create, &made)?;
        if let Some(key) = create.partspec() {
            self.partition_key(key, &columns, bare)?;
        }
        for element in create.table_elts() {
            match element {
                Node::ColumnDef(definition) => self.column_definition(definition, &columns, bare)?,
                Node::Constraint(constraint) => self.table_constraint(constraint, &columns, bare)?,
                Node::TableLikeClause(like) => self.like(like, &columns, &name)?,
                _ => return Err(refusal::not_understood().at(at).into()),
            }
        }
        Ok(())
    }

    /// The cells of a new table by column. It and its parents show the same rows, so they have to agree.
    fn inherited(&self, create: &'a nodes::CreateStmt, made: &Relation) -> Analysis<TablePolicy> {
        let policy = self.names.policy;
        for parent in create.inh_relations() {
            let Node::RangeVar(range) = parent else { return Err(refusal::not_understood().into()) };
            let (Meaning::Plain(parent) | Meaning::Protected(parent)) = self.names.relation(range)? else {
                return Err(refusal::not_understood().into());
            };
            let at = offset(range.location);
            if made.columns.is_none() {
                return Err(refusal::columns_not_known(&parent.name).at(at).into());
            }
            self.agree(made, parent).map_err(|refusal| refusal.at(at))?;
        }
        let named = policy.table(&made.name);
        if named.is_some() && create.of_typename().is_some() {
            return Err(refusal::statement("CREATE TABLE OF a type").into());
        }
        Ok(match made.columns {
            Some(_) => made.cells(policy).into_owned(),
            None => named.cloned().unwrap_or_default(),
        })
    }

    /// Requires that a child's columns hold what its parent's of the same name hold.
    pub(super) fn agree(&self, child: &Relation, parent: &Relation) -> Analysis<()> {
        let policy = self.names.policy;
        let (mut below, mut above) = (child.clone(), parent.clone());
        let changed = below.inherit(parent, policy) || above.show(child, policy);
        let computed = |relation: &Relation| {
            relation.columns.iter().flatten().any(|column| column.holds == Holds::Computed)
        };
        if !changed && !computed(child) && !computed(parent) {
            return Ok(());
        }
        let (here, there) = (child.cells(policy), parent.cells(policy));
        let differs = |cell: &&Arc<ProtectedColumn>| {
            let (a, b) = (here.get(&cell.name), there.get(&cell.name));
            !a.zip(b).is_some_and(|(a, b)| same_domain(a, b))
        };
        let cell = there.values().find(differs).or_else(|| here.values().find(differs));
        Err(match cell {
            Some(cell) if there.contains_key(&cell.name) => refusal::half_protected(cell, &child.name).into(),
            Some(cell) => refusal::half_protected(cell, &parent.name).into(),
            None => refusal::reaches_protected(&parent.name).into(),
        })
    }

    /// PARTITION BY: a hash of cells with equality is as good as one of values.
    fn partition_key(
        &self,
        key: &'a nodes::PartitionSpec,
        columns: &TablePolicy,
        table: &str,
    ) -> Analysis<()> {
        let hashes = key.strategy == PartitionStrategy::PARTITION_STRATEGY_HASH;
        for element in key.part_params() {
            match element.name().and_then(|name| columns.get(name)) {
                Some(column) if hashes && element.opclass().is_empty() && element.collation().is_empty() => {
                    has_equality(column)?;
                }
                Some(column) => {
                    let at = offset(element.location);
                    return Err(refusal::definition(column, "PARTITION BY LIST or RANGE").at(at).into());
                }
                None => self.without_cells(element.expr(), columns, table)?,
            }
        }
        Ok(())
    }

    /// LIKE: the columns that it brings must be protected here as they are there.
    fn like(
        &mut self,
        like: &'a nodes::TableLikeClause,
        columns: &TablePolicy,
        table: &QualifiedName,
    ) -> Analysis<()> {
        let range = like.relation().ok_or_else(refusal::not_understood)?;
        let at = offset(range.location);
        let relation = match self.names.relation(range)? {
            Meaning::Plain(relation) | Meaning::Protected(relation) => relation,
            _ => return Err(refusal::not_understood().at(at).into()),
        };
        let Some(found) = &relation.columns else {
            return Err(refusal::columns_not_known(&relation.name).at(at).into());
        };
        let cells = self.cells(relation).map_err(|refusal| refusal.at(at))?;
        let mut checks = String::new();
        for column in found {
            let name = column.name.as_str();
            match (cells.get(name), columns.get(name)) {
                (None, None) => {}
                (Some(there), Some(here)) if same_domain(there, here) => {
                    checks.push_str(&format!("{}, ", check(here)));
                }
                (Some(there), _) => {
                    return Err(refusal::half_protected(there, table).at(at).into());
                }
                (None, Some(here)) => {
                    return Err(refusal::half_protected(here, &relation.name).at(at).into());
                }
            }
        }
        let copied = like.options & TableLikeOption::CREATE_TABLE_LIKE_CONSTRAINTS != 0;
        if !copied && !checks.is_empty() {
            let before = self.token_index(range.location)?.checked_sub(1);
            let start = before.filter(|index| self.tokens().is_word(self.text, *index, "like"));
            let token =
                start.and_then(|index| self.tokens().get(index)).ok_or_else(refusal::not_understood)?;
            let start = token.range.start;
            self.edits.push(Edit::Text { range: start..start, with: checks });
        }
        Ok(())
    }

    /// A column of CREATE TABLE or ADD COLUMN.
    pub(super) fn column_definition(
        &mut self,
        definition: &'a nodes::ColumnDef,
        columns: &TablePolicy,
        table: &str,
    ) -> Analysis<()> {
        let name = definition.colname().unwrap_or_default();
        let Some(column) = columns.get(name) else {
            for constraint in definition.constraints() {
                let Node::Constraint(constraint) = constraint else { continue };
                self.plain_column_constraint(constraint, columns, table)?;
            }
            return Ok(());
        };
        let at = offset(definition.location);
        let Some(type_name) = definition.type_name() else {
            // A partition's column has its parent's type, and more constraints.
            for constraint in definition.constraints() {
                let Node::Constraint(constraint) = constraint else { continue };
                self.cell_constraint(constraint, column, columns, table)?;
            }
            return Ok(());
        };
        if !Cast::to(type_name, Vec::new()).defines(&column.logical) {
            return Err(refusal::defined_type(column).at(offset(type_name.location)).into());
        }
        if definition.coll_clause().is_some()
            || definition.storage_name().is_some()
            || definition.compression().is_some()
        {
            return Err(refusal::definition(column, "COLLATE, STORAGE or COMPRESSION").at(at).into());
        }
        let first = self.token_index(type_name.location)?;
        let (end, _) = self.tokens().type_name(self.text, first).ok_or_else(refusal::not_understood)?;
        let start = self.token_range(type_name.location)?.start;
        self.edits.push(Edit::Text { range: start..end, with: format!("bytea {}", check(column)) });
        for constraint in definition.constraints() {
            let Node::Constraint(constraint) = constraint else {
                return Err(refusal::definition(column, "COLLATE").at(at).into());
            };
            self.cell_constraint(constraint, column, columns, table)?;
        }
        Ok(())
    }
}

/// The CHECK that only a cell of the column passes.
fn check(column: &ProtectedColumn) -> String {
    let name = quoted(&column.name);
    let check = match column.denied.stored() {
        Some(_) => cell::partial::check_constraint(column.mode, &name),
        None => cell::check_constraint(column.mode, &name),
    };
    format!("CONSTRAINT {} CHECK ({check})", quoted(&format!("{CHECK_PREFIX}{}", column.name)))
}
