//! ALTER TABLE of a protected table, or of one that comes to refer to a protected table.

use super::super::resolve::Meaning;
use super::super::{offset, refusal};
use super::{Analysis, Analyzer};
use crate::policy::TablePolicy;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, AlterTableType as Action};
use std::borrow::Cow;

impl<'a> Analyzer<'a> {
    /// ALTER TABLE: what keeps protected columns as the policy says.
    pub(super) fn alter_table(&mut self, alter: &'a nodes::AlterTableStmt) -> Analysis<()> {
        let range = alter.relation().ok_or_else(refusal::not_understood)?;
        let columns = match self.names.relation(range)? {
            Meaning::Protected(relation) => relation.cells(self.names.policy),
            _ => Cow::default(),
        };
        for command in alter.cmds() {
            let Node::AlterTableCmd(command) = command else { return Err(refusal::not_understood().into()) };
            self.alter_command(command, &columns).map_err(|refusal| refusal.at(offset(range.location)))?;
        }
        Ok(())
    }

    fn alter_command(&mut self, command: &'a nodes::AlterTableCmd, columns: &TablePolicy) -> Analysis<()> {
        let drops_check = command.subtype == Action::AT_DropConstraint
            && command.name().is_some_and(|name| name.starts_with(super::create::CHECK_PREFIX));
        if drops_check {
            return Err(refusal::statement("dropping the CHECK that only cells pass").into());
        }
        let protected = command.name().and_then(|name| columns.get(name));
        match (command.subtype, command.def()) {
            (Action::AT_AddColumn, Node::ColumnDef(definition)) => {
                self.column_definition(definition, columns)
            }
            (Action::AT_AddConstraint, Node::Constraint(constraint)) => {
                self.table_constraint(constraint, columns)
            }
            (Action::AT_ColumnDefault, default) => match (protected, default) {
                (_, Node::None) => Ok(()),
                (Some(column), default) => self.cell_default(default, column),
                (None, default) => self.without_cells(default, columns),
            },
            (Action::AT_AlterColumnType, definition) if protected.is_none() => {
                self.without_cells(definition, columns)
            }
            (Action::AT_AddIdentity | Action::AT_SetIdentity | Action::AT_DropIdentity, _)
                if protected.is_none() =>
            {
                Ok(())
            }
            (
                Action::AT_DropColumn
                | Action::AT_DropNotNull
                | Action::AT_SetNotNull
                | Action::AT_DropConstraint
                | Action::AT_ValidateConstraint
                | Action::AT_ChangeOwner
                | Action::AT_ClusterOn
                | Action::AT_DropCluster
                | Action::AT_SetStatistics
                | Action::AT_SetLogged
                | Action::AT_SetUnLogged
                | Action::AT_SetTableSpace
                | Action::AT_SetRelOptions
                | Action::AT_ResetRelOptions
                | Action::AT_EnableRowSecurity
                | Action::AT_DisableRowSecurity
                | Action::AT_ForceRowSecurity
                | Action::AT_NoForceRowSecurity
                | Action::AT_EnableTrig
                | Action::AT_DisableTrig
                | Action::AT_EnableTrigUser
                | Action::AT_DisableTrigUser,
                _,
            ) => Ok(()),
            _ => Err(refusal::statement("this form of ALTER TABLE").into()),
        }
    }
}
