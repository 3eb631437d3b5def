//! ALTER TABLE of a protected table, or of one that comes to refer to a protected table.

use super::super::resolve::Meaning;
use super::super::{offset, refusal};
use super::{Analysis, Analyzer};
use crate::policy::TablePolicy;
use crate::policy::catalog::Relation;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, AlterTableType as Action};

impl<'a> Analyzer<'a> {
    /// ALTER TABLE: what keeps protected columns as the policy says.
    pub(super) fn alter_table(&mut self, alter: &'a nodes::AlterTableStmt) -> Analysis<()> {
        let range = alter.relation().ok_or_else(refusal::not_understood)?;
        let (Meaning::Plain(relation) | Meaning::Protected(relation)) = self.names.relation(range)? else {
            return Err(refusal::not_understood().into());
        };
        let columns = relation.cells(self.names.policy);
        let table = range.relname().unwrap_or_default();
        for command in alter.cmds() {
            let Node::AlterTableCmd(command) = command else { return Err(refusal::not_understood().into()) };
            if self.family(command, relation)? {
                continue;
            }
            self.alter_command(command, &columns, table)
                .map_err(|refusal| refusal.at(offset(range.location)))?;
        }
        Ok(())
    }

    /// What joins or parts parents and children; false if the command does neither. Those that join
    /// have to agree already, and a child that parts has to be in the policy itself.
    fn family(&self, command: &'a nodes::AlterTableCmd, relation: &Relation) -> Analysis<bool> {
        let other = match command.def() {
            Node::RangeVar(range) => range,
            Node::PartitionCmd(partition) => partition.name().ok_or_else(refusal::not_understood)?,
            _ => return Ok(false),
        };
        let at = offset(other.location);
        let parts_alone = |child: &Relation| {
            let policy = self.names.policy;
            let named = policy.table(&child.name).is_some() || child.cells(policy).is_empty();
            if named { Ok(()) } else { Err(refusal::parts(&child.name).at(at)) }
        };
        let (Meaning::Plain(other) | Meaning::Protected(other)) = self.names.relation(other)? else {
            return Err(refusal::not_understood().into());
        };
        match command.subtype {
            Action::AT_AttachPartition => self.agree(other, relation).map_err(|refusal| refusal.at(at))?,
            Action::AT_AddInherit => self.agree(relation, other).map_err(|refusal| refusal.at(at))?,
            Action::AT_DetachPartition | Action::AT_DetachPartitionFinalize => parts_alone(other)?,
            Action::AT_DropInherit => parts_alone(relation)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn alter_command(
        &mut self,
        command: &'a nodes::AlterTableCmd,
        columns: &TablePolicy,
        table: &str,
    ) -> Analysis<()> {
        let protected = command.name().and_then(|name| columns.get(name));
        match (command.subtype, command.def()) {
            (Action::AT_AddColumn, Node::ColumnDef(definition)) => {
                self.column_definition(definition, columns, table)
            }
            (Action::AT_AddConstraint, Node::Constraint(constraint)) => {
                self.table_constraint(constraint, columns, table)
            }
            (Action::AT_DropConstraint, _) if is_check(command.name()) => Err(refusal::check_stays().into()),
            (Action::AT_AlterConstraint, Node::ATAlterConstraint(constraint)) => {
                if is_check(constraint.conname()) { Err(refusal::check_stays().into()) } else { Ok(()) }
            }
            (Action::AT_ColumnDefault, default) => match (protected, default) {
                (_, Node::None) => Ok(()),
                (Some(column), default) => self.cell_default(default, column),
                (None, default) => self.without_cells(default, columns, table),
            },
            (Action::AT_AlterColumnType, _) | (Action::AT_SetExpression, _) if protected.is_some() => {
                Err(refusal::statement("another type for a protected column").into())
            }
            (Action::AT_AlterColumnType | Action::AT_SetExpression, definition) => {
                self.without_cells(definition, columns, table)
            }
            (
                Action::AT_AddIdentity
                | Action::AT_SetIdentity
                | Action::AT_DropIdentity
                | Action::AT_DropExpression,
                _,
            ) if protected.is_none() => Ok(()),
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
                | Action::AT_SetStorage
                | Action::AT_SetCompression
                | Action::AT_SetOptions
                | Action::AT_ResetOptions
                | Action::AT_SetLogged
                | Action::AT_SetUnLogged
                | Action::AT_SetAccessMethod
                | Action::AT_SetTableSpace
                | Action::AT_SetRelOptions
                | Action::AT_ResetRelOptions
                | Action::AT_ReplicaIdentity
                | Action::AT_EnableRowSecurity
                | Action::AT_DisableRowSecurity
                | Action::AT_ForceRowSecurity
                | Action::AT_NoForceRowSecurity
                | Action::AT_EnableTrig
                | Action::AT_EnableAlwaysTrig
                | Action::AT_EnableReplicaTrig
                | Action::AT_EnableTrigAll
                | Action::AT_EnableTrigUser
                | Action::AT_DisableTrig
                | Action::AT_DisableTrigAll
                | Action::AT_DisableTrigUser
                | Action::AT_DisableRule
                | Action::AT_DropOf,
                _,
            ) => Ok(()),
            _ => Err(refusal::statement("this form of ALTER TABLE").into()),
        }
    }
}

fn is_check(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with(super::CHECK_PREFIX))
}
