//! CREATE TABLE and CREATE INDEX: protected columns become `bytea` with a CHECK that only cells pass.

use super::super::class::{Cast, Class};
use super::super::plan::Edit;
use super::super::resolve::Meaning;
use super::super::{Refusal, children, offset, refusal};
use super::expression::has_equality;
use super::insert::quoted;
use super::{Analysis, Analyzer};
use crate::policy::{ProtectedColumn, Purpose, QualifiedName, TablePolicy};
use pg_raw_parse::nodes::{self, ConstrType};
use pg_raw_parse::{Node, list};
use std::sync::Arc;
use trefoil_keys::cell;

/// How the names of the CHECKs begin that only cells pass; the column's name follows.
pub(super) const CHECK_PREFIX: &str = "trefoil_cell_";

/// `relpersistence` of a temporary table.
const TEMPORARY: i8 = b't'.cast_signed();

impl<'a> Analyzer<'a> {
    /// CREATE TABLE of a protected table, or of one that refers to a protected table.
    pub(super) fn create_table(&mut self, create: &'a nodes::CreateStmt) -> Analysis<()> {
        let range = create.relation().ok_or_else(refusal::not_understood)?;
        let bare = range.relname().unwrap_or_default();
        let at = offset(range.location);
        if range.relpersistence == TEMPORARY && !self.names.policy.schemas_with_table(bare).is_empty() {
            return Err(refusal::shadows(bare).at(at).into());
        }
        let name = match self.names.meaning(range.schemaname(), bare) {
            Meaning::Ambiguous => return Err(refusal::ambiguous_relation(bare).at(at).into()),
            Meaning::Reaching(relation) => {
                return Err(refusal::reaches_protected(&relation.name).at(at).into());
            }
            Meaning::Protected(relation) => relation.name.clone(),
            Meaning::NotCreated(name) => name,
            Meaning::Plain(_) | Meaning::Unknown => QualifiedName::new("", bare),
        };
        let protected = self.names.policy.table(&name);
        if let Some(columns) = protected {
            if !create.inh_relations().is_empty()
                || create.partbound().is_some()
                || create.of_typename().is_some()
            {
                return Err(refusal::statement("CREATE TABLE with INHERITS, PARTITION OF or OF")
                    .at(at)
                    .into());
            }
            if let Some(partition) = create.partspec() {
                self.without_cells(Node::from(partition), columns)?;
            }
            if range.schemaname().is_none() {
                let start = self.token_range(range.location)?.start;
                self.edits
                    .push(Edit::Text { range: start..start, with: format!("{}.", quoted(&name.schema)) });
            }
        }
        for parent in create.inh_relations() {
            let Node::RangeVar(parent) = parent else { return Err(refusal::not_understood().into()) };
            if !matches!(self.names.relation(parent)?, Meaning::Plain(_)) {
                return Err(refusal::statement("INHERITS or PARTITION OF")
                    .at(offset(parent.location))
                    .into());
            }
        }
        let empty = TablePolicy::default();
        let columns = protected.unwrap_or(&empty);
        for element in create.table_elts() {
            match element {
                Node::ColumnDef(definition) => self.column_definition(definition, columns)?,
                Node::Constraint(constraint) => self.table_constraint(constraint, columns)?,
                _ => return Err(refusal::statement("CREATE TABLE with LIKE").at(at).into()),
            }
        }
        Ok(())
    }

    /// A column of CREATE TABLE or ADD COLUMN.
    pub(super) fn column_definition(
        &mut self,
        definition: &'a nodes::ColumnDef,
        columns: &TablePolicy,
    ) -> Analysis<()> {
        let name = definition.colname().unwrap_or_default();
        let Some(column) = columns.get(name) else {
            for constraint in definition.constraints() {
                let Node::Constraint(constraint) = constraint else { continue };
                self.plain_column_constraint(constraint, columns)?;
            }
            return Ok(());
        };
        let at = offset(definition.location);
        let type_name = definition.type_name().ok_or_else(refusal::not_understood)?;
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
        let check = cell::check_constraint(column.mode, &quoted(name));
        let constraint = quoted(&format!("{CHECK_PREFIX}{name}"));
        self.edits.push(Edit::Text {
            range: start..end,
            with: format!("bytea CONSTRAINT {constraint} CHECK ({check})"),
        });
        for constraint in definition.constraints() {
            let Node::Constraint(constraint) = constraint else {
                return Err(refusal::definition(column, "COLLATE").at(at).into());
            };
            self.cell_constraint(constraint, column)?;
        }
        Ok(())
    }

    fn cell_constraint(
        &mut self,
        constraint: &'a nodes::Constraint,
        column: &Arc<ProtectedColumn>,
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
            ConstrType::CONSTR_DEFAULT => self.cell_default(constraint.raw_expr(), column),
            ConstrType::CONSTR_FOREIGN => self.foreign_key(constraint, &[Some(column)]),
            _ => Err(refusal::definition(column, "CHECK, GENERATED or IDENTITY").at(at).into()),
        }
    }

    /// A default is a constant, which is stored encrypted.
    pub(super) fn cell_default(&mut self, default: Node<'a>, column: &Arc<ProtectedColumn>) -> Analysis<()> {
        match self.expression(default)? {
            Class::Open(leaves) => self.settle_cell(leaves, column, Purpose::Assign),
            _ => Err(refusal::definition(column, "DEFAULT that is not a constant").into()),
        }
    }

    fn plain_column_constraint(
        &mut self,
        constraint: &'a nodes::Constraint,
        columns: &TablePolicy,
    ) -> Analysis<()> {
        self.without_cells(constraint.raw_expr(), columns)?;
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
    ) -> Analysis<()> {
        for key in constraint.keys().iter().filter_map(Node::as_str) {
            if let Some(column) = columns.get(key) {
                has_equality(column)?;
            }
        }
        self.without_cells(constraint.raw_expr(), columns)?;
        self.without_cells(constraint.where_clause(), columns)?;
        self.without_cells(Node::NodeList(constraint.exclusions()), columns)?;
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
        let empty = TablePolicy::default();
        let bare = range.relname().unwrap_or_default();
        let referenced = match self.names.meaning(range.schemaname(), bare) {
            Meaning::Protected(relation) => self.names.policy.table(&relation.name),
            Meaning::NotCreated(name) => self.names.policy.table(&name),
            Meaning::Ambiguous => {
                return Err(refusal::ambiguous_relation(bare).at(offset(range.location)).into());
            }
            Meaning::Reaching(relation) => return Err(refusal::reaches_protected(&relation.name).into()),
            Meaning::Plain(_) | Meaning::Unknown => None,
        };
        let referenced = referenced.unwrap_or(&empty);
        for (index, from) in referencing.iter().enumerate() {
            let name = constraint.pk_attrs().get(index).and_then(Node::as_str);
            let to = name.and_then(|name| referenced.get(name));
            match (*from, to) {
                (None, None) => {}
                (Some(from), Some(to)) if super::leaf::same_domain(from, to) => has_equality(from)?,
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

    /// CREATE INDEX on a protected table.
    pub(super) fn create_index(&mut self, index: &'a nodes::IndexStmt) -> Analysis<()> {
        let range = index.relation().ok_or_else(refusal::not_understood)?;
        let Meaning::Protected(relation) = self.names.relation(range)? else {
            return Err(refusal::not_understood().into());
        };
        let columns = &*relation.cells(self.names.policy);
        let equality_only = matches!(index.access_method(), None | Some("btree" | "hash"));
        for element in index.index_params() {
            match element.name().map(|name| columns.get(name)) {
                Some(Some(column)) => {
                    has_equality(column)?;
                    if !equality_only || !element.collation().is_empty() || !element.opclass().is_empty() {
                        return Err(
                            refusal::definition(column, "an index other than a plain btree or hash").into()
                        );
                    }
                }
                Some(None) => {}
                None => self.without_cells(element.expr(), columns)?,
            }
        }
        self.without_cells(index.where_clause(), columns)
    }

    /// Requires that nothing below `node` names a protected column or a whole row.
    pub(super) fn without_cells(&self, node: Node<'a>, columns: &TablePolicy) -> Analysis<()> {
        if matches!(node, Node::None) || columns.is_empty() {
            return Ok(());
        }
        children::walk(node, |node| {
            let name = match node {
                Node::ColumnRef(column) => last_name(column.fields()),
                Node::PartitionElem(element) => element.name(),
                Node::IndexElem(element) => element.name(),
                Node::A_Indirection(_) => return Err(refusal::whole_row("the table").into()),
                _ => return Ok(()),
            };
            // A name that may be the table's is its whole row.
            if name.is_some_and(|name| columns.values().any(|column| column.table.name == name)) {
                return Err(refusal::whole_row("the table").into());
            }
            match name.map(|name| columns.get(name)) {
                Some(Some(column)) => {
                    Err(Refusal::from(refusal::cell_in(column, "an expression of the table's definition")))
                }
                Some(None) => Ok(()),
                None if matches!(node, Node::ColumnRef(_)) => Err(refusal::whole_row("the table").into()),
                None => Ok(()),
            }
        })
    }
}

fn last_name(fields: &list::NodeList) -> Option<&str> {
    fields.iter().next_back().and_then(Node::as_str)
}
