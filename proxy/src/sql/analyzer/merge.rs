//! MERGE: a target joined with a source, and what is done with the rows of each kind.

use super::super::refusal;
use super::super::scope::{Frame, Source};
use super::{Analysis, Analyzer, Target};
use pg_raw_parse::nodes::{self, CmdType, MergeMatchKind};
use pg_raw_parse::{Node, list};

impl<'a> Analyzer<'a> {
    /// MERGE; its outputs are those of RETURNING.
    pub(super) fn merge(&mut self, merge: &'a nodes::MergeStmt) -> Analysis<Vec<Target>> {
        let known = self.ctes.len();
        self.with(merge.with_clause())?;
        let range = merge.relation().ok_or_else(refusal::not_understood)?;
        let table = self.target(range)?;
        let target = Frame::of(table.clone());
        let source = self.source_item(merge.source_relation(), &Frame::default())?;
        // `*` means the source's columns, then the target's.
        let mut both = source.clone();
        both.append(target.clone());
        self.in_frame(&both, |this| this.plain(merge.join_condition(), "a condition"))?;
        for when in merge.merge_when_clauses() {
            let seen = match when.match_kind {
                MergeMatchKind::MERGE_WHEN_MATCHED => &both,
                MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_SOURCE => &target,
                MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_TARGET => &source,
                _ => return Err(refusal::not_understood().into()),
            };
            self.in_frame(seen, |this| this.merge_action(when, &table))?;
        }
        let returned = self.returning(merge.returning_clause(), both, &table)?;
        self.ctes.truncate(known);
        Ok(returned)
    }

    fn merge_action(&mut self, when: &'a nodes::MergeWhenClause, table: &Source) -> Analysis<()> {
        self.plain(when.condition(), "a condition")?;
        match when.command_type {
            CmdType::CMD_DELETE | CmdType::CMD_NOTHING => Ok(()),
            CmdType::CMD_UPDATE => self.assignments(items(when.target_list())?, table),
            CmdType::CMD_INSERT if when.values().is_empty() => Ok(()),
            CmdType::CMD_INSERT => self.merge_insert(when, table),
            _ => Err(refusal::not_understood().into()),
        }
    }

    fn merge_insert(&mut self, when: &'a nodes::MergeWhenClause, table: &Source) -> Analysis<()> {
        let columns = items(when.target_list())?;
        if columns.is_empty() && (table.has_cells() || !table.complete) {
            return Err(refusal::clause(
                "MERGE … INSERT without a column list",
                "Name the columns: INSERT (a, b) VALUES (…)",
            )
            .into());
        }
        if columns.is_empty() {
            return self.all_plain(when.values().iter(), "a plain table").map(|_| ());
        }
        if columns.len() < when.values().len() {
            return Err(refusal::too_many_values().into());
        }
        for (item, value) in columns.into_iter().zip(when.values()) {
            let column = self.assigned_column(item, table)?;
            self.assign_expression(value, &column)?;
        }
        Ok(())
    }

    fn in_frame(&mut self, frame: &Frame, step: impl FnOnce(&mut Self) -> Analysis<()>) -> Analysis<()> {
        self.scope.frames.push(frame.clone());
        let result = step(self);
        self.scope.frames.pop();
        result
    }
}

fn items(list: &list::NodeList) -> Analysis<Vec<&nodes::ResTarget>> {
    let items = list.iter().map(|node| match node {
        Node::ResTarget(item) => Ok(item),
        _ => Err(refusal::not_understood().into()),
    });
    items.collect()
}
