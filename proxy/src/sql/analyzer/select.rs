//! SELECT, VALUES, set operations, WITH.

use super::super::class::{Class, Value, integer};
use super::super::scope::Out;
use super::super::{location, offset, refusal};
use super::expression::{field_names, has_equality};
use super::{Analysis, Analyzer, Cte, Target};
use crate::policy::Purpose;
use pg_raw_parse::nodes::{self, SetOperation};
use pg_raw_parse::{Node, list};

/// PostgreSQL's `MaxTupleAttributeNumber`.
const MAX_TARGETS: usize = 1664;

impl<'a> Analyzer<'a> {
    /// A query. Its outputs may be open: the place where it stands decides them.
    pub(super) fn select(&mut self, select: &'a nodes::SelectStmt) -> Analysis<Vec<Target>> {
        if select.into_clause().is_some() {
            return Err(refusal::statement("INTO in a part of a query").into());
        }
        self.select_or_into(select)
    }

    /// A query whose outputs may go INTO a table.
    pub(super) fn select_or_into(&mut self, select: &'a nodes::SelectStmt) -> Analysis<Vec<Target>> {
        let known = self.ctes.len();
        self.with(select.with_clause())?;
        let targets = if select.op != SetOperation::SETOP_NONE {
            self.set_operation(select)?
        } else if select.values_lists().is_empty() {
            self.simple_select(select)?
        } else {
            self.values(select)?
        };
        self.plain(select.limit_count(), "LIMIT")?;
        self.plain(select.limit_offset(), "OFFSET")?;
        self.ctes.truncate(known);
        Ok(targets)
    }

    /// Analyses the WITH queries and brings them into scope, until the caller truncates `ctes`.
    pub(super) fn with(&mut self, with: Option<&'a nodes::WithClause>) -> Analysis<()> {
        let Some(with) = with else { return Ok(()) };
        let unseen = self.unseen_ctes.len();
        if with.recursive {
            self.unseen_ctes.extend(with.ctes().iter().rev().filter_map(nodes::CommonTableExpr::ctename));
        }
        for cte in with.ctes() {
            let name = cte.ctename().unwrap_or_default();
            let names = field_names(cte.aliascolnames()).unwrap_or_default();
            if with.recursive
                && let Node::SelectStmt(query) = cte.ctequery()
                && let Some(first) = query.larg().filter(|_| query.op == SetOperation::SETOP_UNION)
            {
                self.recursive(name, &names, query, first)?;
                self.search_and_cycle(cte)?;
                continue;
            }
            if cte.search_clause().is_some() || cte.cycle_clause().is_some() {
                return Err(refusal::clause(
                    "SEARCH or CYCLE of this form",
                    "Search by plain columns of a UNION ALL.",
                )
                .into());
            }
            let targets = self.query(cte.ctequery())?;
            let columns = self.outs(targets, &names);
            self.define(name, columns);
        }
        self.unseen_ctes.truncate(unseen);
        Ok(())
    }

    /// A recursive query: its first term says what its columns are, then it is analysed whole.
    fn recursive(
        &mut self,
        name: &str,
        names: &[&str],
        query: &'a nodes::SelectStmt,
        first: &'a nodes::SelectStmt,
    ) -> Analysis<()> {
        let (edits, free) = (self.edits.len(), self.free.len());
        let (uses, slots) = (self.uses.clone(), self.slots.clone());
        let known = self.ctes.len();
        let columns = self.with(query.with_clause()).and_then(|()| {
            let targets = self.nested(|this| this.select(first))?;
            self.settled_outs(targets, names)
        });
        self.ctes.truncate(known);
        self.edits.truncate(edits);
        self.free.truncate(free);
        (self.uses, self.slots) = (uses, slots);
        let columns = columns?;
        self.define(name, columns.clone());
        let targets = self.nested(|this| this.select(query))?;
        let whole = self.settled_outs(targets, names)?;
        // What the recursive term adds must be what the uses were analysed for.
        let differs =
            columns.iter().zip(&whole).find(|(first, all)| first.cell.is_some() != all.cell.is_some());
        match differs {
            Some((first, _)) => Err(refusal::clause(
                &format!(
                    "column \"{}\" of a recursive query, which its first term does not select from a column",
                    first.name
                ),
                "Select the protected column in the first term, too.",
            )
            .into()),
            None => Ok(()),
        }
    }

    /// SEARCH and CYCLE: they sort and compare rows of the columns that they name, and show them, so
    /// that these must be plain. Adds their own columns to the query just defined.
    fn search_and_cycle(&mut self, cte: &'a nodes::CommonTableExpr) -> Analysis<()> {
        let mut added = Vec::new();
        if let Some(search) = cte.search_clause() {
            self.plain_columns(search.search_col_list())?;
            added.extend(search.search_seq_column());
        }
        if let Some(cycle) = cte.cycle_clause() {
            self.plain_columns(cycle.cycle_col_list())?;
            self.plain(cycle.cycle_mark_value(), "CYCLE")?;
            self.plain(cycle.cycle_mark_default(), "CYCLE")?;
            added.extend([cycle.cycle_mark_column(), cycle.cycle_path_column()].into_iter().flatten());
        }
        if let Some(query) = self.ctes.last_mut() {
            query
                .columns
                .extend(added.into_iter().map(|name| Out { name: name.to_owned(), ..Out::default() }));
        }
        Ok(())
    }

    /// Requires these columns of the WITH query just defined to be plain.
    fn plain_columns(&self, names: &'a list::NodeList) -> Analysis<()> {
        for name in names.iter().filter_map(Node::as_str) {
            let columns = self.ctes.last().map_or(&[][..], |query| query.columns.as_slice());
            let cell =
                columns.iter().find(|column| column.name == name).and_then(|column| column.cell.as_ref());
            if let Some(cell) = cell {
                return Err(refusal::cell_in(cell, "SEARCH or CYCLE").into());
            }
        }
        Ok(())
    }

    fn define(&mut self, name: &str, columns: Vec<Out>) {
        self.ctes.push(Cte { name: name.to_owned(), columns });
        self.unseen_ctes.retain(|unseen| *unseen != name);
    }

    /// A query's outputs as columns of a source; open ones are decided by their uses.
    pub(super) fn outs(&mut self, targets: Vec<Target>, names: &[&str]) -> Vec<Out> {
        let mut outs = Vec::with_capacity(targets.len());
        for (index, target) in targets.into_iter().enumerate() {
            let name = names.get(index).map_or(target.name, |name| (*name).to_owned());
            outs.push(self.out(name, target.class));
        }
        outs
    }

    /// The same where no use follows that could decide: what is open becomes plain.
    pub(super) fn settled_outs(&mut self, mut targets: Vec<Target>, names: &[&str]) -> Analysis<Vec<Out>> {
        for target in &mut targets {
            self.settle(target)?;
        }
        Ok(self.outs(targets, names))
    }

    /// Decides that an open output, unless it is NULL, is plain.
    fn settle(&mut self, target: &mut Target) -> Analysis<()> {
        let class = std::mem::replace(&mut target.class, Class::Plain);
        let class = self.resolved(class);
        target.class = self.decided(class)?;
        Ok(())
    }

    fn set_operation(&mut self, select: &'a nodes::SelectStmt) -> Analysis<Vec<Target>> {
        let (Some(left), Some(right)) = (select.larg(), select.rarg()) else {
            return Err(refusal::not_understood().into());
        };
        let left = self.nested(|this| this.select(left))?;
        let right = self.nested(|this| this.select(right))?;
        if left.len() != right.len() {
            return Err(
                refusal::width("each query of a set operation must have the same number of columns").into()
            );
        }
        let compares = !(select.all && select.op == SetOperation::SETOP_UNION);
        let mut targets = Vec::with_capacity(left.len());
        for (left, right) in left.into_iter().zip(right) {
            let mut class = if compares {
                self.equate(left.class, right.class)?
            } else {
                self.meet(left.class, right.class, Purpose::Flow)?
            };
            if compares {
                class = self.decided(class)?;
            }
            targets.push(Target { name: left.name, class });
        }
        self.order_by(select, &mut targets)?;
        Ok(targets)
    }

    fn values(&mut self, select: &'a nodes::SelectStmt) -> Analysis<Vec<Target>> {
        let mut targets: Vec<Target> = Vec::new();
        for (row, values) in select.values_lists().iter().enumerate() {
            let Node::NodeList(values) = values else { return Err(refusal::not_understood().into()) };
            if row > 0 && values.len() != targets.len() {
                return Err(refusal::width("VALUES lists must all be the same length").into());
            }
            for (index, value) in values.iter().enumerate() {
                let class = self.expression(value)?;
                match targets.get_mut(index) {
                    Some(target) => {
                        let before = std::mem::replace(&mut target.class, Class::Plain);
                        target.class = self.meet(before, class, Purpose::Flow)?;
                    }
                    None => targets.push(Target { name: format!("column{}", index + 1), class }),
                }
            }
        }
        self.order_by(select, &mut targets)?;
        Ok(targets)
    }

    fn simple_select(&mut self, select: &'a nodes::SelectStmt) -> Analysis<Vec<Target>> {
        let frame = self.source_list(select.from_clause())?;
        self.scope.frames.push(frame);
        let targets = self.select_in_scope(select);
        self.scope.frames.pop();
        targets
    }

    fn select_in_scope(&mut self, select: &'a nodes::SelectStmt) -> Analysis<Vec<Target>> {
        self.plain(select.where_clause(), "a condition")?;
        let mut targets = self.targets(select.target_list())?;
        for window in select.window_clause() {
            let Node::WindowDef(window) = window else { return Err(refusal::not_understood().into()) };
            self.window(window)?;
        }
        for key in select.group_clause() {
            self.group_key(key, &mut targets)?;
        }
        self.plain(select.having_clause(), "a condition")?;
        for key in select.distinct_clause() {
            match key {
                Node::None => self.distinct(&mut targets)?,
                key => match self.output(&mut targets, key)? {
                    Some(Class::Cell(column)) => {
                        has_equality(column).map_err(|refusal| refusal.at(location::of(key)))?;
                    }
                    Some(_) => {}
                    None => self.comparable(key)?,
                },
            }
        }
        self.order_by(select, &mut targets)?;
        Ok(targets)
    }

    /// ORDER BY: output columns by name or number, or expressions; no cells.
    fn order_by(&mut self, select: &'a nodes::SelectStmt, targets: &mut [Target]) -> Analysis<()> {
        for sort in select.sort_clause() {
            match self.output(targets, sort.node())? {
                Some(Class::Cell(column)) => {
                    return Err(refusal::no_order(column).at(location::of(sort.node())).into());
                }
                Some(_) => {}
                None => self.unordered(sort.node())?,
            }
        }
        Ok(())
    }

    fn distinct(&mut self, targets: &mut [Target]) -> Analysis<()> {
        for target in targets {
            self.settle(target)?;
            if let Class::Cell(column) = &target.class {
                has_equality(column)?;
            }
        }
        Ok(())
    }

    /// An item of GROUP BY: an input column by preference, else an output column or its number.
    fn group_key(&mut self, key: Node<'a>, targets: &mut [Target]) -> Analysis<()> {
        if let Node::GroupingSet(set) = key {
            for key in set.content() {
                self.group_key(key, targets)?;
            }
            return Ok(());
        }
        if let Node::RowExpr(row) = key {
            for key in row.args() {
                self.group_key(key, targets)?;
            }
            return Ok(());
        }
        if let Node::ColumnRef(column) = key
            && let Some([name]) = field_names(column.fields()).as_deref()
            && self.scope.column(name).is_ok()
        {
            return self.comparable(key);
        }
        match self.output(targets, key)? {
            Some(Class::Cell(column)) => {
                has_equality(column).map_err(|refusal| refusal.at(location::of(key)))
            }
            Some(_) => Ok(()),
            None => self.comparable(key),
        }
    }

    /// The output column that a name or number in ORDER BY, GROUP BY or DISTINCT ON stands for: what is
    /// open in it becomes plain, for it is sorted or compared.
    fn output<'t>(&mut self, targets: &'t mut [Target], key: Node<'_>) -> Analysis<Option<&'t Class>> {
        let found = match key {
            Node::ColumnRef(column) => match field_names(column.fields()).as_deref() {
                Some([name]) => targets.iter_mut().find(|t| t.name == *name),
                _ => None,
            },
            key => match integer(key).and_then(|number| usize::try_from(number).ok()?.checked_sub(1)) {
                Some(index) => targets.get_mut(index),
                None => None,
            },
        };
        let Some(target) = found else { return Ok(None) };
        self.settle(target)?;
        Ok(Some(&target.class))
    }

    /// The target list, with `*` expanded.
    pub(super) fn targets(
        &mut self,
        list: impl IntoIterator<Item = &'a nodes::ResTarget>,
    ) -> Analysis<Vec<Target>> {
        let mut targets = Vec::new();
        for item in list {
            self.all_plain(item.indirection().iter(), "a subscript")?;
            if let Node::ColumnRef(column) = item.val()
                && let Some(Node::A_Star(_)) = column.fields().iter().next_back()
            {
                let at = offset(column.location);
                let outs = self.star(column.fields()).map_err(|refusal| refusal.at(at))?;
                if let Some(computed) = outs.iter().find(|out| out.computed) {
                    return Err(refusal::computed(&computed.name).at(at).into());
                }
                for out in outs {
                    let class = self.class_of(&out, at.map_or(0..0, |at| at..at));
                    targets.push(Target { name: out.name, class });
                }
                // Stars over stars double.
                if targets.len() > MAX_TARGETS {
                    return Err(refusal::too_many_targets().into());
                }
                continue;
            }
            let name = item.name().unwrap_or_else(|| output_name(item.val())).to_owned();
            let mut class = self.target_class(item.val(), targets.len())?;
            if let (None, Class::Open(leaves)) = (item.name(), &mut class)
                && let [leaf] = leaves.as_mut_slice()
                && (!leaf.casts.is_empty() || matches!(leaf.value, Value::Literal(..)))
                && matches!(item.val(), Node::A_Const(_) | Node::ParamRef(_) | Node::TypeCast(_))
            {
                leaf.label = Some(name.clone());
            }
            targets.push(Target { name, class });
        }
        Ok(targets)
    }

    fn star(&self, fields: &list::NodeList) -> Analysis<Vec<Out>> {
        let qualifiers: Vec<&str> = fields.iter().filter_map(Node::as_str).collect();
        if let Some(alias) = qualifiers.last() {
            let schema = qualifiers.len().checked_sub(2).and_then(|i| qualifiers.get(i)).copied();
            let source = self.scope.source(schema, alias).ok_or_else(|| refusal::unknown_relation(alias))?;
            if !source.complete {
                return Err(refusal::unknown_columns().into());
            }
            return Ok(source.columns.clone());
        }
        let frame = self.scope.frames.last().ok_or_else(refusal::not_understood)?;
        if frame.open_ended {
            return Err(refusal::unknown_columns().into());
        }
        Ok(frame.star.clone())
    }
}

/// The name that PostgreSQL gives an output column without one (`FigureColname`).
fn output_name(mut node: Node<'_>) -> &str {
    loop {
        node = match node {
            Node::ColumnRef(column) => {
                return column.fields().iter().filter_map(Node::as_str).next_back().unwrap_or("?column?");
            }
            Node::FuncCall(call) => {
                return call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or("?column?");
            }
            Node::TypeCast(cast) => match output_name(cast.arg()) {
                "?column?" => {
                    let names = cast.type_name().map(nodes::TypeName::names);
                    return names
                        .and_then(|n| n.iter().next_back())
                        .and_then(|n| n.sval())
                        .unwrap_or("?column?");
                }
                name => return name,
            },
            Node::CollateClause(collate) => collate.arg(),
            Node::CaseExpr(case) => match output_name(case.defresult()) {
                "?column?" => return "case",
                name => return name,
            },
            Node::CoalesceExpr(_) => return "coalesce",
            Node::A_ArrayExpr(_) => return "array",
            Node::RowExpr(_) => return "row",
            Node::SubLink(link) => match (link.sub_link_type, link.subselect()) {
                (nodes::SubLinkType::EXISTS_SUBLINK, _) => return "exists",
                (nodes::SubLinkType::ARRAY_SUBLINK, _) => return "array",
                (nodes::SubLinkType::EXPR_SUBLINK, Node::SelectStmt(select)) => {
                    match select.target_list().iter().next() {
                        Some(target) => match target.name() {
                            Some(name) => return name,
                            None => target.val(),
                        },
                        None => return "?column?",
                    }
                }
                _ => return "?column?",
            },
            Node::A_Expr(e) if e.kind == nodes::A_Expr_Kind::AEXPR_NULLIF => return "nullif",
            _ => return "?column?",
        };
    }
}
