//! FROM: tables, subqueries, functions and joins as sources of columns.

use super::super::resolve::Meaning;
use super::super::scope::{Frame, Out, Source};
use super::super::{offset, refusal};
use super::expression::{field_names, has_equality};
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

    fn source_item(&mut self, item: Node<'a>, before: &Frame) -> Analysis<Frame> {
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
            _ => Err(refusal::clause("XMLTABLE or JSON_TABLE", "Use it in a statement of its own.").into()),
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
            outs.push(Out { name: column.name.clone(), cell, computed: column.holds == Holds::Computed });
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
        let columns = self.outs(targets, &[])?;
        let source = Source { alias: String::new(), schema: None, columns, complete: true };
        Ok(Frame::of(aliased(source, subselect.alias())))
    }

    fn table_function(&mut self, function: &'a nodes::RangeFunction) -> Analysis<Frame> {
        self.all_plain(function.functions().iter(), "a table function")?;
        let name = match function.functions().iter().next() {
            Some(Node::NodeList(first)) => match first.iter().next() {
                Some(Node::FuncCall(call)) => call.funcname().iter().next_back().and_then(Node::as_str),
                _ => None,
            },
            _ => None,
        };
        let name = name.unwrap_or_default();
        let single = function.functions().len() == 1
            && !function.ordinality
            && function.coldeflist().is_empty()
            && SINGLE_COLUMN_FUNCTIONS.contains(&name);
        let alias = function.alias();
        let shown = alias.and_then(nodes::Alias::aliasname).unwrap_or(name);
        let columns = if single {
            vec![Out { name: shown.to_owned(), ..Out::default() }]
        } else {
            let defined = function.coldeflist().iter().filter_map(nodes::ColumnDef::colname);
            let named = alias.into_iter().flat_map(|a| a.colnames().iter()).filter_map(Node::as_str);
            defined.chain(named).map(|name| Out { name: name.to_owned(), ..Out::default() }).collect()
        };
        let complete = single || (!function.coldeflist().is_empty() && !function.ordinality);
        let source = Source { alias: shown.to_owned(), schema: None, columns, complete };
        Ok(Frame::of(if single { aliased(source, alias) } else { source }))
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
        let mut frame = self.merge(left, right, &names)?;
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
    fn merge(&mut self, left: Frame, right: Frame, names: &[String]) -> Analysis<Frame> {
        let mut star = Vec::with_capacity(left.star.len() + right.star.len());
        for name in names {
            let found = |frame: &Frame| frame.star.iter().find(|c| c.name == *name).cloned();
            let (l, r) = (found(&left), found(&right));
            if let Some(computed) = l.iter().chain(&r).find(|column| column.computed) {
                return Err(refusal::computed(&computed.name).into());
            }
            let cell = match (l.and_then(|c| c.cell), r.and_then(|c| c.cell)) {
                (None, None) => None,
                (Some(l), Some(r)) if super::leaf::same_domain(&l, &r) => {
                    has_equality(&l)?;
                    Some(l)
                }
                (Some(l), Some(r)) => return Err(refusal::domains_differ(&l, &r).into()),
                (Some(cell), None) | (None, Some(cell)) => {
                    return Err(refusal::plain_meets_cell(&cell).into());
                }
            };
            star.push(Out { name: name.clone(), cell, computed: false });
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
