//! UPDATE, DELETE, and what they share with INSERT: assignments and RETURNING.

use super::super::class::Class;
use super::super::refusal;
use super::super::scope::{Frame, Out, Source};
use super::{Analysis, Analyzer, Target};
use crate::policy::Purpose;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, ReturningOptionKind};

impl<'a> Analyzer<'a> {
    /// UPDATE; its outputs are those of RETURNING.
    pub(super) fn update(&mut self, update: &'a nodes::UpdateStmt) -> Analysis<Vec<Target>> {
        let known = self.ctes.len();
        self.with(update.with_clause())?;
        let range = update.relation().ok_or_else(refusal::not_understood)?;
        let table = self.target(range)?;
        let mut frame = Frame::of(table.clone());
        let from = self.source_list(update.from_clause())?;
        frame.append(from);
        self.scope.frames.push(frame.clone());
        let updated = self
            .assignments(update.target_list(), &table)
            .and_then(|()| self.plain(update.where_clause(), "a condition"));
        self.scope.frames.pop();
        updated?;
        let returned = self.returning(update.returning_clause(), frame, &table)?;
        self.ctes.truncate(known);
        Ok(returned)
    }

    /// DELETE; its outputs are those of RETURNING.
    pub(super) fn delete(&mut self, delete: &'a nodes::DeleteStmt) -> Analysis<Vec<Target>> {
        let known = self.ctes.len();
        self.with(delete.with_clause())?;
        let range = delete.relation().ok_or_else(refusal::not_understood)?;
        let table = self.target(range)?;
        let mut frame = Frame::of(table.clone());
        let using = self.source_list(delete.using_clause())?;
        frame.append(using);
        self.scope.frames.push(frame.clone());
        let condition = self.plain(delete.where_clause(), "a condition");
        self.scope.frames.pop();
        condition?;
        let returned = self.returning(delete.returning_clause(), frame, &table)?;
        self.ctes.truncate(known);
        Ok(returned)
    }

    /// The items of SET, in a scope that has the table and whatever else they may name.
    pub(super) fn assignments(
        &mut self,
        items: impl IntoIterator<Item = &'a nodes::ResTarget>,
        table: &Source,
    ) -> Analysis<()> {
        let mut query: Vec<Option<Class>> = Vec::new();
        for item in items {
            let column = self.assigned_column(item, table)?;
            let Node::MultiAssignRef(part) = item.val() else {
                self.assign_expression(item.val(), &column)?;
                continue;
            };
            let index = usize::try_from(part.colno - 1).map_err(|_| refusal::not_understood())?;
            match part.source() {
                Node::RowExpr(row) => {
                    let value = row.args().get(index).ok_or_else(refusal::not_understood)?;
                    self.assign_expression(value, &column)?;
                }
                Node::SubLink(link) => {
                    if index == 0 {
                        let targets = self.query(link.subselect())?;
                        query = targets.into_iter().map(|t| Some(t.class)).collect();
                    }
                    let class =
                        query.get_mut(index).and_then(Option::take).ok_or_else(refusal::not_understood)?;
                    let class = self.boundary(class);
                    self.assign(class, &column)?;
                }
                _ => {
                    return Err(
                        refusal::clause("a row assignment of this form", "Assign each column.").into()
                    );
                }
            }
        }
        Ok(())
    }

    /// The column that an item of SET or of a column list names.
    pub(super) fn assigned_column(&mut self, item: &'a nodes::ResTarget, table: &Source) -> Analysis<Out> {
        let name = item.name().unwrap_or_default();
        let at = super::super::offset(item.location);
        let column = match table.columns.iter().find(|c| c.name == name) {
            Some(column) => column.clone(),
            None if !table.complete && !table.has_cells() => Out { name: name.to_owned(), ..Out::default() },
            None => return Err(refusal::unknown_column(name).at(at).into()),
        };
        if column.computed {
            return Err(refusal::computed(name).at(at).into());
        }
        if let (Some(cell), false) = (&column.cell, item.indirection().is_empty()) {
            return Err(refusal::cell_in(cell, "an assignment to a part of it").at(at).into());
        }
        self.all_plain(item.indirection().iter(), "a subscript")?;
        self.writes(column.cell.as_ref());
        Ok(column)
    }

    /// Assigns an expression, or DEFAULT, to a column.
    pub(super) fn assign_expression(&mut self, value: Node<'a>, column: &Out) -> Analysis<()> {
        if matches!(value, Node::SetToDefault(_)) {
            return Ok(());
        }
        let class = self.expression(value)?;
        self.assign(class, column).map_err(|refusal| refusal.at(super::super::location::of(value)))
    }

    /// Assigns an expression of this class to a column.
    pub(super) fn assign(&mut self, class: Class, column: &Out) -> Analysis<()> {
        match (class, &column.cell) {
            (Class::Open(leaves), Some(cell)) => self.settle_cell(leaves, cell, Purpose::Assign),
            (Class::Cell(value), Some(cell)) => {
                if super::super::uses::same_domain(&value, cell) && value.logical == cell.logical {
                    return Ok(());
                }
                Err(refusal::domains_differ(&value, cell).into())
            }
            (Class::Plain, Some(cell)) => Err(refusal::plain_meets_cell(cell).into()),
            (Class::Cell(value), None) => Err(refusal::cell_into_plain(&value, &column.name).into()),
            (other, None) => {
                self.beside_column = true;
                let settled = self.settle_plain(other);
                self.beside_column = false;
                settled
            }
        }
    }

    /// RETURNING, over `frame` and the old and new rows of `table`.
    pub(super) fn returning(
        &mut self,
        returning: Option<&'a nodes::ReturningClause>,
        mut frame: Frame,
        table: &Source,
    ) -> Analysis<Vec<Target>> {
        let Some(returning) = returning else { return Ok(Vec::new()) };
        let (mut old, mut new) = ("old", "new");
        for option in returning.options() {
            match option.option {
                ReturningOptionKind::RETURNING_OPTION_OLD => old = option.value().unwrap_or_default(),
                ReturningOptionKind::RETURNING_OPTION_NEW => new = option.value().unwrap_or_default(),
                _ => return Err(refusal::not_understood().into()),
            }
        }
        for alias in [old, new] {
            frame.sources.push(Source { alias: alias.to_owned(), schema: None, ..table.clone() });
        }
        self.scope.frames.push(frame);
        let items: Option<Vec<&nodes::ResTarget>> = returning
            .exprs()
            .iter()
            .map(|node| if let Node::ResTarget(item) = node { Some(item) } else { None })
            .collect();
        let targets = match items {
            Some(items) => self.targets(items),
            None => Err(refusal::not_understood().into()),
        };
        self.scope.frames.pop();
        targets
    }
}
