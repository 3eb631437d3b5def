//! CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW: cells go only into columns that the policy
//! protects alike, and those get nothing but cells.

use super::super::class::Class;
use super::super::plan::{Edit, ResultColumn};
use super::super::resolve::{BYTEA, Meaning, TEMPORARY};
use super::super::scope::Out;
use super::super::{offset, refusal};
use super::expression::field_names;
use super::insert::quoted;
use super::{Analysis, Analyzer, Target};
use crate::policy::QualifiedName;
use crate::policy::catalog::{Column, Holds};
use pg_raw_parse::{Node, nodes};
use std::sync::Arc;

impl<'a> Analyzer<'a> {
    /// CREATE TABLE AS and CREATE MATERIALIZED VIEW.
    pub(super) fn create_table_as(&mut self, create: &'a nodes::CreateTableAsStmt) -> Analysis<()> {
        let into = create.into().ok_or_else(refusal::not_understood)?;
        let targets = match create.query() {
            Node::ExecuteStmt(execute) => self.executed_targets(execute, into)?,
            query => self.query(query)?,
        };
        let viewed = create.objtype == nodes::ObjectType::OBJECT_MATVIEW;
        self.create_from(into, targets, viewed)
    }

    /// The outputs of EXECUTE have no names here: the text has to give them.
    fn executed_targets(
        &mut self,
        execute: &'a nodes::ExecuteStmt,
        into: &'a nodes::IntoClause,
    ) -> Analysis<Vec<Target>> {
        let results = self.execute(execute)?.unwrap_or_default();
        if into.col_names().len() < results.len() {
            return Err(refusal::created_names().into());
        }
        let class = |result: &ResultColumn| match result {
            ResultColumn::Cell(column) => Class::Cell(Arc::clone(column)),
            ResultColumn::Plain => Class::Plain,
        };
        Ok(results.iter().map(|result| Target { name: String::new(), class: class(result) }).collect())
    }

    /// The table that a query's outputs make; a materialized view (`viewed`) needs no policy, for its
    /// definition says what it holds.
    pub(super) fn create_from(
        &mut self,
        into: &'a nodes::IntoClause,
        targets: Vec<Target>,
        viewed: bool,
    ) -> Analysis<()> {
        let range = into.rel().ok_or_else(refusal::not_understood)?;
        let at = offset(range.location);
        let name = self.created(range)?;
        let policy = self.names.policy.table(&name);
        let names = field_names(into.col_names()).unwrap_or_default();
        let mut made = Vec::with_capacity(targets.len());
        for (index, target) in targets.into_iter().enumerate() {
            let name = names.get(index).map_or(target.name, |name| (*name).to_owned());
            if let (true, None, Class::Cell(cell)) = (viewed, policy, &target.class) {
                self.writes(Some(cell));
                made.push(Column { name, number: 0, type_oid: BYTEA, holds: Holds::Cell(Arc::clone(cell)) });
                continue;
            }
            let cell = policy.and_then(|columns| columns.get(&name)).cloned();
            if let (Some(column), Class::Open(leaves)) = (&cell, &target.class)
                && leaves.is_empty()
            {
                return Err(refusal::created_null(column).at(at).into());
            }
            self.writes(cell.as_ref());
            let type_oid = if cell.is_some() { BYTEA } else { 0 };
            let out = Out { name, cell, ..Out::default() };
            self.assign(target.class, &out).map_err(|refusal| refusal.at(at))?;
            made.push(Column { name: out.name, number: 0, type_oid, holds: Holds::Own });
        }
        self.made = Some(made);
        Ok(())
    }

    /// The name of a table that is to be made. Where the policy has it, its schema is made certain in the
    /// text; where not, it has none.
    pub(super) fn created(&mut self, range: &'a nodes::RangeVar) -> Analysis<QualifiedName> {
        let bare = range.relname().unwrap_or_default();
        let at = offset(range.location);
        let temporary = range.relpersistence == b't'.cast_signed();
        let schema = if temporary { Some(TEMPORARY) } else { range.schemaname() };
        let by_path = schema.is_none() && self.names.is_by_path(bare);
        let meaning = if by_path { self.names.made(range) } else { self.names.meaning(schema, bare) };
        let name = match meaning {
            Meaning::Ambiguous => return Err(refusal::ambiguous_relation(bare).at(at).into()),
            Meaning::Reaching(relation) => {
                return Err(refusal::reaches_protected(&relation.name).at(at).into());
            }
            Meaning::Protected(relation) => relation.name.clone(),
            Meaning::NotCreated(name) => name,
            Meaning::Plain(_) | Meaning::Unknown => return Ok(QualifiedName::new("", bare)),
        };
        if schema.is_none() && name.schema == TEMPORARY {
            // Only the temporary table is protected; without TEMP, another one is made.
            return Err(refusal::ambiguous_relation(bare).at(at).into());
        }
        if range.schemaname().is_none() && !by_path {
            let start = self.token_range(range.location)?.start;
            self.edits.push(Edit::Text { range: start..start, with: format!("{}.", quoted(&name.schema)) });
        }
        Ok(name)
    }
}
