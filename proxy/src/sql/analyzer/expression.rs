//! The class of every expression that is not an operator.

use super::super::class::Class;
use super::super::{children, offset, refusal};
use super::{Analysis, Analyzer};
use crate::policy::{ProtectedColumn, Purpose};
use pg_raw_parse::nodes::{self, NullTestType, SubLinkType};
use pg_raw_parse::{Node, list};
use std::sync::Arc;
use trefoil_keys::cell::Mode;

impl<'a> Analyzer<'a> {
    /// The class of an expression.
    pub(super) fn expression(&mut self, node: Node<'a>) -> Analysis<Class> {
        self.nested(|this| this.expression_inner(node))
    }

    fn expression_inner(&mut self, node: Node<'a>) -> Analysis<Class> {
        match node {
            Node::A_Const(constant) => self.constant(constant),
            Node::ParamRef(parameter) => self.parameter(parameter),
            Node::TypeCast(cast) => self.cast(cast),
            Node::ColumnRef(column) => self.column(column),
            Node::A_Expr(operator) => self.operator(operator),
            Node::NullTest(test) => self.null_test(test),
            Node::CaseExpr(case) => self.case(case),
            Node::CoalesceExpr(coalesce) => self.meet_all(coalesce.args().iter(), Purpose::Flow),
            Node::MinMaxExpr(choice) => {
                for argument in choice.args() {
                    self.unordered(argument)?;
                }
                Ok(Class::Plain)
            }
            Node::SubLink(link) => self.sublink(link),
            Node::FuncCall(call) => self.call(call),
            Node::SelectStmt(_) => {
                for target in self.query(node)? {
                    self.plain_class(target.class, "this place")?;
                }
                Ok(Class::Plain)
            }
            Node::SetToDefault(_) | Node::CurrentOfExpr(_) => Ok(Class::Plain),
            Node::RowExpr(row) => self.all_plain(row.args().iter(), "a row value"),
            Node::A_ArrayExpr(array) => self.all_plain(array.elements().iter(), "an array"),
            Node::CollateClause(collate) => self.all_plain([collate.arg()], "COLLATE"),
            Node::BoolExpr(condition) => self.all_plain(condition.args().iter(), "a condition"),
            Node::BooleanTest(test) => self.all_plain([test.arg()], "a condition"),
            other => {
                let below = children::of(other).map_err(|_| refusal::not_understood())?;
                self.all_plain(below, "this expression")
            }
        }
    }

    /// Requires every one of these to be plain.
    pub(super) fn all_plain(
        &mut self,
        nodes: impl IntoIterator<Item = Node<'a>>,
        place: &str,
    ) -> Analysis<Class> {
        for node in nodes {
            self.plain(node, place)?;
        }
        Ok(Class::Plain)
    }

    /// Requires the expression, if there is one, to be plain.
    pub(super) fn plain(&mut self, node: Node<'a>, place: &str) -> Analysis<()> {
        if matches!(node, Node::None) {
            return Ok(());
        }
        let class = self.expression(node)?;
        self.plain_class(class, place)
    }

    /// Requires the class to be plain, and decides what is open.
    pub(super) fn plain_class(&mut self, class: Class, place: &str) -> Analysis<()> {
        match class {
            Class::Cell(column) => Err(refusal::cell_in(&column, place).into()),
            other => self.settle_plain(other),
        }
    }

    /// Requires the expression to be anything but a cell without order.
    pub(super) fn unordered(&mut self, node: Node<'a>) -> Analysis<()> {
        match self.expression(node)? {
            Class::Cell(column) => Err(refusal::no_order(&column).into()),
            other => self.settle_plain(other),
        }
    }

    /// Requires the expression, if it is a cell, to have equality.
    pub(super) fn comparable(&mut self, node: Node<'a>) -> Analysis<()> {
        match self.expression(node)? {
            Class::Cell(column) => has_equality(&column),
            other => self.settle_plain(other),
        }
    }

    /// The common class of expressions of which one is the result.
    pub(super) fn meet_all(
        &mut self,
        nodes: impl IntoIterator<Item = Node<'a>>,
        purpose: Purpose,
    ) -> Analysis<Class> {
        let mut common = Class::Open(Vec::new());
        for node in nodes {
            let class = self.expression(node)?;
            common = self.meet(common, class, purpose)?;
        }
        Ok(common)
    }

    /// The class that two expressions have in common; what is open follows what is decided.
    pub(super) fn meet(&mut self, a: Class, b: Class, purpose: Purpose) -> Analysis<Class> {
        match (a, b) {
            (Class::Cell(a), Class::Cell(b)) if super::leaf::same_domain(&a, &b) => Ok(Class::Cell(a)),
            (Class::Cell(a), Class::Cell(b)) => Err(refusal::domains_differ(&a, &b).into()),
            (Class::Cell(column), Class::Plain) | (Class::Plain, Class::Cell(column)) => {
                Err(refusal::plain_meets_cell(&column).into())
            }
            (Class::Cell(column), Class::Open(leaves)) | (Class::Open(leaves), Class::Cell(column)) => {
                self.settle_cell(leaves, &column, purpose)?;
                Ok(Class::Cell(column))
            }
            (Class::Plain, open) | (open, Class::Plain) => {
                self.settle_plain(open)?;
                Ok(Class::Plain)
            }
            (Class::Open(mut a), Class::Open(b)) => {
                a.extend(b);
                Ok(Class::Open(a))
            }
        }
    }

    fn column(&self, column: &'a nodes::ColumnRef) -> Analysis<Class> {
        let at = offset(column.location);
        let names = field_names(column.fields()).ok_or_else(|| refusal::whole_row("*").at(at))?;
        let found = match names.as_slice() {
            [name] => self.scope.column(name),
            [alias, name] => self.scope.qualified(None, alias, name),
            [schema, table, name] | [_, schema, table, name] => {
                self.scope.qualified(Some(schema), table, name)
            }
            _ => return Err(refusal::not_understood().into()),
        };
        Ok(found.map_err(|error| error.at(at))?.map_or(Class::Plain, Class::Cell))
    }

    fn null_test(&mut self, test: &'a nodes::NullTest) -> Analysis<Class> {
        debug_assert!(matches!(test.nulltesttype, NullTestType::IS_NULL | NullTestType::IS_NOT_NULL));
        match self.expression(test.arg())? {
            Class::Cell(_) => {}
            other => self.settle_plain(other)?,
        }
        Ok(Class::Plain)
    }

    fn case(&mut self, case: &'a nodes::CaseExpr) -> Analysis<Class> {
        let mut operand = match case.arg() {
            Node::None => None,
            node => Some(self.expression(node)?),
        };
        let mut result = Class::Open(Vec::new());
        for when in case.args() {
            let Node::CaseWhen(when) = when else { return Err(refusal::not_understood().into()) };
            match operand.take() {
                Some(class) => {
                    let condition = self.expression(when.expr())?;
                    operand = Some(self.equate(class, condition)?);
                }
                None => self.plain(when.expr(), "a condition")?,
            }
            let class = self.expression(when.result())?;
            result = self.meet(result, class, Purpose::Flow)?;
        }
        if let Some(class) = operand {
            self.settle_plain(class)?;
        }
        if !matches!(case.defresult(), Node::None) {
            let class = self.expression(case.defresult())?;
            result = self.meet(result, class, Purpose::Flow)?;
        }
        Ok(result)
    }

    fn sublink(&mut self, link: &'a nodes::SubLink) -> Analysis<Class> {
        let targets = self.query(link.subselect())?;
        match link.sub_link_type {
            SubLinkType::EXISTS_SUBLINK => {
                for target in targets {
                    self.settle_plain(target.class)?;
                }
                Ok(Class::Plain)
            }
            SubLinkType::EXPR_SUBLINK if targets.len() == 1 => {
                let single = targets.into_iter().next().map_or(Class::Plain, |target| target.class);
                self.decided(single)
            }
            SubLinkType::EXPR_SUBLINK => {
                for target in targets {
                    self.plain_class(target.class, "a row compared with a row")?;
                }
                Ok(Class::Plain)
            }
            SubLinkType::ANY_SUBLINK | SubLinkType::ALL_SUBLINK => {
                let equality = super::operator::is_equality(link.oper_name());
                let left: Vec<Node<'a>> = match link.testexpr() {
                    Node::RowExpr(row) => row.args().iter().collect(),
                    single => vec![single],
                };
                if left.len() != targets.len() {
                    return Err(refusal::clause("a row compared with a query of another width", "").into());
                }
                for (node, target) in left.into_iter().zip(targets) {
                    let class = self.expression(node)?;
                    if equality {
                        let target = self.decided(target.class)?;
                        let met = self.equate(class, target)?;
                        self.settle_plain(met)?;
                    } else {
                        self.plain_class(class, "a comparison other than equality")?;
                        self.plain_class(target.class, "a comparison other than equality")?;
                    }
                }
                Ok(Class::Plain)
            }
            _ => {
                self.plain(link.testexpr(), "a row comparison")?;
                for target in targets {
                    self.plain_class(target.class, "an array")?;
                }
                Ok(Class::Plain)
            }
        }
    }

    /// What a subquery yields: the server gives open literals in it a type of their own.
    pub(super) fn decided(&mut self, class: Class) -> Analysis<Class> {
        match class {
            Class::Open(leaves) if !leaves.is_empty() => {
                self.settle_plain(Class::Open(leaves))?;
                Ok(Class::Plain)
            }
            other => Ok(other),
        }
    }

    fn call(&mut self, call: &'a nodes::FuncCall) -> Analysis<Class> {
        let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
        let builtin = match call.funcname().iter().next().and_then(Node::as_str) {
            Some(first) => call.funcname().len() == 1 || first == "pg_catalog",
            None => false,
        };
        let counts = builtin && name == "count" && call.args().len() == 1;
        for argument in call.args() {
            match self.expression(argument)? {
                Class::Cell(column) if counts => {
                    if call.agg_distinct {
                        has_equality(&column)?;
                    }
                }
                Class::Cell(column) if matches!(name, "min" | "max") => {
                    return Err(refusal::no_order(&column).at(offset(call.location)).into());
                }
                Class::Cell(column) => {
                    return Err(refusal::cell_in_function(&column, name).at(offset(call.location)).into());
                }
                other => self.settle_plain(other)?,
            }
        }
        for sort in call.agg_order() {
            self.unordered(sort.node())?;
        }
        self.plain(call.agg_filter(), "FILTER")?;
        if let Some(window) = call.over() {
            self.window(window)?;
        }
        Ok(Class::Plain)
    }

    /// A window: cells with equality may partition it.
    pub(super) fn window(&mut self, window: &'a nodes::WindowDef) -> Analysis<()> {
        for node in window.partition_clause() {
            self.comparable(node)?;
        }
        for sort in window.order_clause() {
            self.unordered(sort.node())?;
        }
        self.plain(window.start_offset(), "a window frame")?;
        self.plain(window.end_offset(), "a window frame")
    }
}

/// Requires a mode with equality.
pub(super) fn has_equality(column: &Arc<ProtectedColumn>) -> Analysis<()> {
    match column.mode {
        Mode::Deterministic => Ok(()),
        Mode::Randomized => Err(refusal::no_equality(column).into()),
    }
}

/// The names of a column reference; `None` if a star is among them.
pub(super) fn field_names(fields: &list::NodeList) -> Option<Vec<&str>> {
    fields.iter().map(Node::as_str).collect()
}
