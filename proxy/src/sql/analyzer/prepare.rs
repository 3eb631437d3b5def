//! PREPARE and EXECUTE.

use super::super::class::{Cast, Class};
use super::super::plan::{Edit, Parameter, ResultColumn};
use super::super::{offset, refusal};
use super::{Analysis, Analyzer};
use pg_raw_parse::nodes;
use std::sync::Arc;

impl<'a> Analyzer<'a> {
    /// PREPARE: the query with parameters of its own. Those that are cells are declared as `bytea`.
    pub(super) fn prepare(
        &mut self,
        prepare: &'a nodes::PrepareStmt,
    ) -> Analysis<Option<Arc<[ResultColumn]>>> {
        self.preparing = Some(prepare.argtypes().len());
        let results = self.rows(prepare.query())?;
        self.close_slots()?;
        if !self.uses.are_single() {
            let hint = "Prepare it by the protocol, as drivers do.";
            return Err(refusal::clause("PREPARE with an array, or a parameter in two classes,", hint).into());
        }
        let mut declared = Vec::new();
        for (index, type_name) in prepare.argtypes().iter().enumerate() {
            let Some(Parameter::Cell(column, _)) = self.uses.of(index).cloned() else {
                declared.push(0);
                continue;
            };
            let at = offset(type_name.location);
            let cast = Cast::to(type_name, Vec::new());
            if !cast.is_identity_for(&column.logical) {
                return Err(refusal::type_mismatch(&column).at(at).into());
            }
            declared.push(cast.oid());
            let first = self.token_index(type_name.location)?;
            let start = self.token_range(type_name.location)?.start;
            let (end, _) = self.tokens().type_name(self.text, first).ok_or_else(refusal::not_understood)?;
            self.edits.push(Edit::Text { range: start..end, with: "bytea".to_owned() });
        }
        self.declared = declared.into();
        Ok(results)
    }

    /// EXECUTE: the arguments are what the prepared statement's parameters are.
    pub(super) fn execute(
        &mut self,
        execute: &'a nodes::ExecuteStmt,
    ) -> Analysis<Option<Arc<[ResultColumn]>>> {
        let plan = self.executed.clone().ok_or_else(refusal::not_understood)?;
        for (index, argument) in execute.params().iter().enumerate() {
            let class = self.expression(argument)?;
            match (plan.parameters.get(index), class) {
                (Some(Parameter::Cell(column, purpose)), Class::Open(leaves)) => {
                    self.settle_cell(leaves, column, *purpose)?;
                }
                (Some(Parameter::Cell(column, _)), _) => {
                    return Err(refusal::plain_meets_cell(column).into());
                }
                (_, class) => self.plain_class(class, "a plain argument of EXECUTE")?,
            }
        }
        plan.written.iter().for_each(|column| self.writes(Some(column)));
        Ok(plan.statements.first().and_then(|statement| statement.results.clone()))
    }
}
