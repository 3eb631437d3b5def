//! INSERT with all its parts.

use super::super::plan::Edit;
use super::super::resolve::Meaning;
use super::super::scope::{Found, Frame, Out, Source};
use super::super::{offset, refusal};
use super::expression::has_equality;
use super::from::aliased;
use super::{Analysis, Analyzer, Target};
use crate::policy::catalog::Kind;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, OnConflictAction};

impl<'a> Analyzer<'a> {
    /// INSERT; its outputs are those of RETURNING.
    pub(super) fn insert(&mut self, insert: &'a nodes::InsertStmt) -> Analysis<Vec<Target>> {
        let known = self.ctes.len();
        self.with(insert.with_clause())?;
        let range = insert.relation().ok_or_else(refusal::not_understood)?;
        let table = self.target(range)?;
        match insert.select_stmt() {
            Node::None => {
                self.insert_columns(insert, range, &table, 0)?;
            }
            Node::SelectStmt(select) if is_values(select) => {
                let width = match select.values_lists().iter().next() {
                    Some(Node::NodeList(row)) => row.len(),
                    _ => 0,
                };
                let columns = self.insert_columns(insert, range, &table, width)?;
                for row in select.values_lists() {
                    let Node::NodeList(row) = row else { return Err(refusal::not_understood().into()) };
                    for (column, value) in targets_of(columns.as_deref(), row.len())?.zip(row) {
                        self.assign_expression(value, &column)?;
                    }
                }
            }
            query => {
                let targets = self.query(query)?;
                let columns = self.insert_columns(insert, range, &table, targets.len())?;
                for (column, target) in targets_of(columns.as_deref(), targets.len())?.zip(targets) {
                    self.assign(target.class, &column)?;
                }
            }
        }
        if let Some(conflict) = insert.on_conflict_clause() {
            self.on_conflict(conflict, &table)?;
        }
        let returned = self.returning(insert.returning_clause(), Frame::of(table.clone()), &table)?;
        self.ctes.truncate(known);
        Ok(returned)
    }

    /// The table that a statement writes to, under its alias.
    pub(super) fn target(&mut self, range: &'a nodes::RangeVar) -> Analysis<Source> {
        let source = self.table(range)?;
        if let Meaning::Protected(relation) = self.names.relation(range)?
            && relation.kind == (Kind::View { rules: true })
        {
            return Err(refusal::view_rules(&relation.name).at(offset(range.location)).into());
        }
        Ok(aliased(source, range.alias()))
    }

    /// The columns that `width` values go to; `None` for a plain table whose columns are not known. A
    /// list that was left out is written into the text, so that the server puts each value where
    /// this analysis says.
    fn insert_columns(
        &mut self,
        insert: &'a nodes::InsertStmt,
        range: &'a nodes::RangeVar,
        table: &Source,
        width: usize,
    ) -> Analysis<Option<Vec<Out>>> {
        if !insert.cols().is_empty() {
            let mut columns = Vec::with_capacity(insert.cols().len());
            for item in insert.cols() {
                let Node::ResTarget(item) = item else { return Err(refusal::not_understood().into()) };
                columns.push(self.assigned_column(item, table)?);
            }
            return Ok(Some(columns));
        }
        if !table.complete {
            return Ok(None);
        }
        let columns: Vec<Out> = table.columns.iter().take(width).cloned().collect();
        columns.iter().for_each(|column| self.writes(column.cell.as_ref()));
        if table.has_cells() && !matches!(insert.select_stmt(), Node::None) {
            let at = self.end_of_target(range)?;
            let names: Vec<String> = columns.iter().map(|c| quoted(&c.name)).collect();
            self.edits.push(Edit::Text { range: at..at, with: format!(" ({})", names.join(", ")) });
        }
        Ok(Some(columns))
    }

    fn on_conflict(&mut self, conflict: &'a nodes::OnConflictClause, table: &Source) -> Analysis<()> {
        self.scope.frames.push(Frame::of(table.clone()));
        let inferred = conflict.infer().map_or(Ok(()), |infer| self.conflict_target(infer));
        self.scope.frames.pop();
        inferred?;
        if conflict.action != OnConflictAction::ONCONFLICT_UPDATE {
            return Ok(());
        }
        let excluded = Source { alias: "excluded".to_owned(), schema: None, ..table.clone() };
        let mut frame = Frame::of(table.clone());
        frame.sources.push(excluded);
        self.scope.frames.push(frame);
        let updated = self
            .assignments(conflict.target_list(), table)
            .and_then(|()| self.plain(conflict.where_clause(), "a condition"));
        self.scope.frames.pop();
        updated
    }

    fn conflict_target(&mut self, infer: &'a nodes::InferClause) -> Analysis<()> {
        for element in infer.index_elems() {
            let Node::IndexElem(element) = element else { return Err(refusal::not_understood().into()) };
            match element.name() {
                Some(name) => {
                    if let Found::Column(Out { cell: Some(cell), .. }) = self.scope.column(name)? {
                        has_equality(&cell)?;
                    }
                }
                None => self.plain(element.expr(), "an index expression")?,
            }
        }
        self.plain(infer.where_clause(), "a condition")
    }

    /// The byte after the target table's name and alias.
    pub(super) fn end_of_target(&self, range: &'a nodes::RangeVar) -> Analysis<usize> {
        let tokens = self.tokens();
        let mut index = self.token_index(range.location)?;
        while tokens.is(self.text, index + 1, ".") {
            index += 2;
        }
        if range.alias().is_some() {
            index += if tokens.is_word(self.text, index + 1, "as") { 2 } else { 1 };
        }
        Ok(tokens.get(index).ok_or_else(refusal::not_understood)?.range.end)
    }
}

/// The columns for so many values, in order.
fn targets_of(columns: Option<&[Out]>, width: usize) -> Analysis<impl Iterator<Item = Out>> {
    if columns.is_some_and(|columns| columns.len() < width) {
        return Err(refusal::too_many_values().into());
    }
    let columns = columns.map_or_else(|| vec![Out::default(); width], <[Out]>::to_vec);
    Ok(columns.into_iter())
}

fn is_values(select: &nodes::SelectStmt) -> bool {
    !select.values_lists().is_empty()
        && select.with_clause().is_none()
        && select.sort_clause().is_empty()
        && matches!(select.limit_count(), Node::None)
        && matches!(select.limit_offset(), Node::None)
}

/// An identifier in quotes.
pub(in super::super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
