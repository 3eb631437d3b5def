//! FROM: tables, subqueries, functions and joins as sources of columns.

use super::super::class::Class;
use super::super::resolve::Meaning;
use super::super::scope::{Frame, Out, Source};
use super::super::{offset, refusal};
use super::expression::field_names;
use super::{Analysis, Analyzer};
use crate::policy::catalog::Holds;
use pg_raw_parse::{Node, list, nodes};

/// Set-returning functions of PostgreSQL that yield one column.
const SINGLE_COLUMN_FUNCTIONS: [&str; 4] =
    ["generate_series", "generate_subscripts", "string_to_table", "regexp_split_to_table"];

impl<'a> Analyzer<'a> {
    /// The items of a FROM or USING list.
    pub(super) fn source_list(&mut self, items: &'a list::NodeList) -> Analysis<Frame> {
        let mut frame = Frame::default();
        for item in items {
            let next = self.source_item(item, &frame)?;
            frame.append(next);
        }
        Ok(frame)
    }

    pub(super) fn source_item(&mut self, item: Node<'a>, before: &Frame) -> Analysis<Frame> {
        self.nested(|this| match item {
            Node::RangeVar(range) => this.range(range),
            Node::RangeSubselect(subselect) => this.subselect(subselect, before),
            Node::RangeFunction(function) => this.lateral(before, |this| this.table_function(function)),
            Node::JoinExpr(join) => this.join(join, before),
            Node::RangeTableSample(sample) => {
                this.all_plain(sample.args().iter(), "TABLESAMPLE")?;
                this.plain(sample.repeatable(), "TABLESAMPLE")?;
                this.source_item(sample.relation(), before)
            }
            Node::RangeTableFunc(table) => this.lateral(before, |this| this.xml_table(table)),
            Node::JsonTable(table) => this.lateral(before, |this| this.json_table(table)),
            _ => Err(refusal::not_understood().into()),
        })
    }

    /// Runs `step` with the items to the left in scope.
    fn lateral<T>(&mut self, before: &Frame, step: impl FnOnce(&mut Self) -> Analysis<T>) -> Analysis<T> {
        self.scope.frames.push(before.clone());
        let result = step(self);
        self.scope.frames.pop();
        result
    }

    fn range(&mut self, range: &'a nodes::RangeVar) -> Analysis<Frame> {
        let name = range.relname().unwrap_or_default();
        if range.schemaname().is_none() {
            if self.unseen_ctes.contains(&name) {
                return Err(refusal::clause(
                    &format!("the WITH query \"{name}\", used before its columns are known"),
                    "Define it before its first use, and start a recursive one with a term that does not use it.",
                )
                .into());
            }
            if let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == name) {
                let source = Source {
                    alias: cte.name.clone(),
                    schema: None,
                    columns: cte.columns.clone(),
                    complete: true,
                };
                return Ok(Frame::of(aliased(source, range.alias())));
            }
        }
        let source = self.table(range)?;
        Ok(Frame::of(aliased(source, range.alias())))
    }

    /// A table or other relation of the catalog, under its own name.
    pub(super) fn table(&mut self, range: &'a nodes::RangeVar) -> Analysis<Source> {
        let at = offset(range.location);
        let (relation, protected) = match self.names.relation(range)? {
            Meaning::Protected(relation) => (relation, true),
            Meaning::Plain(relation) => (relation, false),
            _ => return Err(refusal::not_understood().into()),
        };
        let unique = self.names.is_unique(range.schemaname(), &relation.name.name);
        let columns = match relation.columns.as_deref().filter(|_| protected || unique) {
            Some(columns) => columns,
            None if protected => return Err(refusal::unknown_columns().at(at).into()),
            None => &[],
        };
        let mut outs = Vec::with_capacity(columns.len());
        for column in columns {
            let cell = self.names.protected_column(relation, column).map_err(|error| error.at(at))?;
            outs.push(Out {
                name: column.name.clone(),
                cell,
                computed: column.holds == Holds::Computed,
                slot: None,
            });
        }
        Ok(Source {
            alias: relation.name.name.clone(),
            schema: Some(relation.name.schema.clone()),
            columns: outs,
            complete: relation.columns.is_some() && (protected || unique),
        })
    }

    fn subselect(&mut self, subselect: &'a nodes::RangeSubselect, before: &Frame) -> Analysis<Frame> {
        let targets = if subselect.lateral {
            self.lateral(before, |this| this.query(subselect.subquery()))?
        } else {
            self.query(subselect.subquery())?
        };
        let columns = self.outs(targets, &[]);
        let source = Source { alias: String::new(), schema: None, columns, complete: true };
        Ok(Frame::of(aliased(source, subselect.alias())))
    }

    /// Functions in FROM: `unnest` of literals and parameters has open columns, all others have plain
    /// ones. Where their number is not known, the source is open-ended.
    fn table_function(&mut self, function: &'a nodes::RangeFunction) -> Analysis<Frame> {
        let mut columns: Vec<Out> = Vec::new();
        let (mut complete, mut is_defined) = (true, false);
        let mut first_name = "";
        for item in function.functions() {
            let Node::NodeList(item) = item else { return Err(refusal::not_understood().into()) };
            let mut parts = item.iter();
            let call = parts.next().unwrap_or(Node::None);
            let mut defined: Vec<&str> = Vec::new();
            if let Some(Node::NodeList(definitions)) = parts.next() {
                let names = definitions.iter().filter_map(|definition| match definition {
                    Node::ColumnDef(definition) => definition.colname(),
                    _ => None,
                });
                defined.extend(names);
            }
            defined.extend(function.coldeflist().iter().filter_map(nodes::ColumnDef::colname));
            is_defined |= !defined.is_empty();
            let name = match call {
                Node::FuncCall(call) => call.funcname().iter().next_back().and_then(Node::as_str),
                _ => None,
            }
            .unwrap_or_default();
            if first_name.is_empty() {
                first_name = name;
            }
            match call {
                Node::FuncCall(call) if name == "unnest" && is_plain_call(call) => {
                    for argument in call.args() {
                        let class = self.unnest(argument)?;
                        columns.push(self.out(name.to_owned(), class));
                    }
                    continue;
                }
                call => self.plain(call, "a table function")?,
            }
            if SINGLE_COLUMN_FUNCTIONS.contains(&name) && defined.is_empty() {
                columns.push(Out { name: name.to_owned(), ..Out::default() });
            } else {
                complete &= !defined.is_empty();
                let named = defined.into_iter().map(|name| Out { name: name.to_owned(), ..Out::default() });
                columns.extend(named);
            }
        }
        let alias = function.alias();
        let shown = alias.and_then(nodes::Alias::aliasname).unwrap_or(first_name);
        // The alias names the column of a function that has only one.
        if let ([only], true) = (columns.as_mut_slice(), complete && !is_defined) {
            shown.clone_into(&mut only.name);
        }
        if function.ordinality {
            columns.push(Out { name: "ordinality".to_owned(), ..Out::default() });
        }
        if !complete {
            if columns.iter().any(|column| column.slot.is_some() || column.cell.is_some()) {
                return Err(refusal::unknown_columns().into());
            }
            let named = alias.into_iter().flat_map(|a| a.colnames().iter()).filter_map(Node::as_str);
            columns.extend(named.map(|name| Out { name: name.to_owned(), ..Out::default() }));
        }
        let source = Source { alias: shown.to_owned(), schema: None, columns, complete };
        Ok(Frame::of(if complete { aliased(source, alias) } else { source }))
    }

    /// XMLTABLE over plain values.
    fn xml_table(&mut self, table: &'a nodes::RangeTableFunc) -> Analysis<Frame> {
        self.all_plain([table.docexpr(), table.rowexpr()], "XMLTABLE")?;
        self.all_plain(table.namespaces().iter().filter_map(value_of), "XMLTABLE")?;
        let mut columns = Vec::new();
        for column in table.columns() {
            self.all_plain([column.colexpr(), column.coldefexpr()], "XMLTABLE")?;
            let name = column.colname().unwrap_or_default().to_owned();
            columns.push(Out { name, ..Out::default() });
        }
        let source = Source { alias: "xmltable".to_owned(), schema: None, columns, complete: true };
        Ok(Frame::of(aliased(source, table.alias())))
    }

    /// JSON_TABLE over plain values. The order of its columns is left open.
    fn json_table(&mut self, table: &'a nodes::JsonTable) -> Analysis<Frame> {
        let mut columns = Vec::new();
        let mut pending: Vec<Node<'a>> = table.columns().iter().map(Node::from).collect();
        while let Some(node) = pending.pop() {
            let Node::JsonTableColumn(column) = node else { return Err(refusal::not_understood().into()) };
            pending.extend(column.columns().iter());
            columns.extend(column.name().map(|name| Out { name: name.to_owned(), ..Out::default() }));
            let behaviour = [column.on_empty(), column.on_error()].into_iter().flatten();
            self.all_plain(behaviour.map(|behaviour| behaviour.expr()), "JSON_TABLE")?;
        }
        if let Some(context) = table.context_item() {
            self.plain(context.raw_expr(), "JSON_TABLE")?;
        }
        self.all_plain(table.passing().iter(), "JSON_TABLE")?;
        self.all_plain(table.on_error().map(|behaviour| behaviour.expr()), "JSON_TABLE")?;
        let alias = table.alias();
        let name = alias.and_then(nodes::Alias::aliasname).unwrap_or("json_table").to_owned();
        Ok(Frame::of(Source { alias: name, schema: None, columns, complete: false }))
    }

    fn join(&mut self, join: &'a nodes::JoinExpr, before: &Frame) -> Analysis<Frame> {
        let left = self.source_item(join.larg(), before)?;
        let mut visible = before.clone();
        visible.append(left.clone());
        let right = self.source_item(join.rarg(), &visible)?;
        let names: Vec<String> = if join.is_natural {
            self.natural_columns(&left, &right)?
        } else {
            join.using_clause().iter().filter_map(nodes::String::sval).map(str::to_owned).collect()
        };
        let mut frame = self.merged(left, right, &names)?;
        if let Some(alias) = join.join_using_alias() {
            let merged = frame.star.iter().take(names.len()).cloned().collect();
            let source = Source { alias: String::new(), schema: None, columns: merged, complete: true };
            frame.sources.push(aliased(source, Some(alias)));
        }
        if !matches!(join.quals(), Node::None) {
            self.scope.frames.push(frame.clone());
            let condition = self.plain(join.quals(), "a condition");
            self.scope.frames.pop();
            condition?;
        }
        if let Some(alias) = join.alias() {
            let complete = !frame.open_ended;
            let source = Source { alias: String::new(), schema: None, columns: frame.star, complete };
            return Ok(Frame::of(aliased(source, Some(alias))));
        }
        Ok(frame)
    }

    fn natural_columns(&self, left: &Frame, right: &Frame) -> Analysis<Vec<String>> {
        if (left.open_ended || right.open_ended) && (left.has_cells() || right.has_cells()) {
            return Err(refusal::unknown_columns().into());
        }
        let common = left.star.iter().filter(|l| right.star.iter().any(|r| r.name == l.name));
        Ok(common.map(|column| column.name.clone()).collect())
    }

    /// Joins two frames; the named columns are compared and stand once.
    fn merged(&mut self, left: Frame, right: Frame, names: &[String]) -> Analysis<Frame> {
        let mut star = Vec::with_capacity(left.star.len() + right.star.len());
        for name in names {
            let found = |frame: &Frame| frame.star.iter().find(|c| c.name == *name).cloned();
            let (l, r) = (found(&left), found(&right));
            if let Some(computed) = l.iter().chain(&r).find(|column| column.computed) {
                return Err(refusal::computed(&computed.name).into());
            }
            let class_of = |this: &mut Self, out| this.class_of(&out, 0..0);
            let l = l.map_or(Class::Plain, |out| class_of(self, out));
            let r = r.map_or(Class::Plain, |out| class_of(self, out));
            let met = self.equate(l, r)?;
            let class = self.decided(met)?;
            star.push(self.out(name.clone(), class));
        }
        let rest = left.star.into_iter().chain(right.star).filter(|c| !names.contains(&c.name));
        star.extend(rest);
        let sources = left.sources.into_iter().chain(right.sources).collect();
        Ok(Frame { sources, star, open_ended: left.open_ended || right.open_ended })
    }
}

/// The source under its alias, if it has one.
pub(super) fn aliased(source: Source, alias: Option<&nodes::Alias>) -> Source {
    match alias {
        Some(alias) => {
            let names = field_names(alias.colnames()).unwrap_or_default();
            source.renamed(alias.aliasname().unwrap_or_default(), &names)
        }
        None => source,
    }
}

fn value_of(node: Node<'_>) -> Option<Node<'_>> {
    match node {
        Node::ResTarget(item) => Some(item.val()),
        node => Some(node),
    }
}

/// Whether it is a function of PostgreSQL's, called without DISTINCT, ORDER BY, FILTER, OVER and VARIADIC.
fn is_plain_call(call: &nodes::FuncCall) -> bool {
    super::expression::is_builtin(call)
        && !call.agg_distinct
        && !call.func_variadic
        && call.agg_order().is_empty()
        && matches!(call.agg_filter(), Node::None)
        && call.over().is_none()
}
