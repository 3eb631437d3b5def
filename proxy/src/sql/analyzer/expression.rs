//! The class of every expression that is not an operator.

use super::super::class::{Class, Value};
use super::super::scope::Found;
use super::super::{children, location, offset, refusal};
use super::slot::Unnested;
use super::{Analysis, Analyzer};
use crate::policy::{ProtectedColumn, Purpose};
use pg_raw_parse::nodes::{self, NullTestType, SubLinkType};
use pg_raw_parse::{Node, list};
use std::sync::Arc;
use trefoil_keys::cell::Mode;

impl<'a> Analyzer<'a> {
    /// The class of an expression.
    pub(super) fn expression(&mut self, node: Node<'a>) -> Analysis<Class> {
        self.nested(|this| this.expression_inner(node)).map_err(|refusal| refusal.at(location::of(node)))
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
            Node::GroupingFunc(grouping) => {
                for key in grouping.args() {
                    self.comparable(key)?;
                }
                Ok(Class::Plain)
            }
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
        self.plain_class(class, place).map_err(|refusal| refusal.at(location::of(node)))
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
            Class::Cell(column) => Err(refusal::no_order(&column).at(location::of(node)).into()),
            other => self.settle_plain(other),
        }
    }

    /// Requires the expression, if it is a cell, to have equality.
    pub(super) fn comparable(&mut self, node: Node<'a>) -> Analysis<()> {
        match self.expression(node)? {
            Class::Cell(column) => has_equality(&column).map_err(|refusal| refusal.at(location::of(node))),
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
            (Class::Cell(a), Class::Cell(b)) if super::super::uses::same_domain(&a, &b) => Ok(Class::Cell(a)),
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

    fn column(&mut self, column: &'a nodes::ColumnRef) -> Analysis<Class> {
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
        let token = at.map_or(0..0, |at| at..at);
        match found.map_err(|error| error.at(at))? {
            Found::Plain => Ok(Class::Plain),
            Found::Column(out) => Ok(self.class_of(&out, token)),
            Found::Row(outs) => {
                for out in outs {
                    let class = self.class_of(&out, token.clone());
                    self.plain_class(class, "a whole row").map_err(|refusal| refusal.at(at))?;
                }
                Ok(Class::Plain)
            }
        }
    }

    fn null_test(&mut self, test: &'a nodes::NullTest) -> Analysis<Class> {
        debug_assert!(matches!(test.nulltesttype, NullTestType::IS_NULL | NullTestType::IS_NOT_NULL));
        // A cell is NULL where its value is: the other uses of a parameter decide what it is.
        if let Class::Open(leaves) = self.expression(test.arg())? {
            self.null_tested.extend(leaves);
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
        if matches!(link.sub_link_type, SubLinkType::ANY_SUBLINK | SubLinkType::ALL_SUBLINK)
            && super::operator::is_equality(link.oper_name())
        {
            return self.row_equals_query(row_of(link.testexpr()), link);
        }
        let targets = self.query(link.subselect())?;
        if !matches!(link.testexpr(), Node::None) && row_of(link.testexpr()).len() != targets.len() {
            return Err(refusal::width("subquery and row have unequal numbers of columns").into());
        }
        match link.sub_link_type {
            SubLinkType::EXISTS_SUBLINK => {
                for target in targets {
                    self.settle_plain(target.class)?;
                }
                Ok(Class::Plain)
            }
            SubLinkType::EXPR_SUBLINK if targets.len() == 1 => {
                let single = targets.into_iter().next().map_or(Class::Plain, |target| target.class);
                Ok(self.boundary(single))
            }
            SubLinkType::EXPR_SUBLINK => {
                for target in targets {
                    self.plain_class(target.class, "a row compared with a row")?;
                }
                Ok(Class::Plain)
            }
            SubLinkType::ANY_SUBLINK | SubLinkType::ALL_SUBLINK => {
                for (node, target) in row_of(link.testexpr()).into_iter().zip(targets) {
                    let class = self.expression(node)?;
                    self.plain_class(class, "a comparison other than equality")?;
                    self.plain_class(target.class, "a comparison other than equality")?;
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
        let builtin = is_builtin(call);
        if builtin
            && name == "unnest"
            && call.args().len() == 1
            && let Some(argument) = call.args().iter().next()
        {
            return self.unnest(argument);
        }
        if builtin && chooses(call, name) {
            return self.choice(call);
        }
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

    /// A function that yields one of the values of its first argument, or its third.
    fn choice(&mut self, call: &'a nodes::FuncCall) -> Analysis<Class> {
        let mut chosen = Class::Open(Vec::new());
        for (index, argument) in call.args().iter().enumerate() {
            if index == 1 {
                self.plain(argument, "an offset")?;
                continue;
            }
            let class = self.expression(argument)?;
            chosen = self.meet(chosen, class, Purpose::Flow)?;
        }
        self.plain(call.agg_filter(), "FILTER")?;
        if let Some(window) = call.over() {
            self.window(window)?;
        }
        self.decided(chosen)
    }

    /// The elements of an array: open if it is a literal, a parameter or a list of them.
    pub(super) fn unnest(&mut self, argument: Node<'a>) -> Analysis<Class> {
        if let Some((array, casts)) = self.array_list(argument)? {
            return match self.meet_all(array.elements().iter(), Purpose::Flow)? {
                Class::Open(leaves) if !leaves.is_empty() => {
                    Ok(self.unnested(leaves, Unnested::Elements(casts)))
                }
                Class::Cell(column) => Err(refusal::cell_in_function(&column, "unnest").into()),
                other => {
                    self.settle_plain(other)?;
                    Ok(Class::Plain)
                }
            };
        }
        match self.expression(argument)? {
            Class::Open(leaves) if matches!(leaves.as_slice(), [leaf] if !matches!(leaf.value, Value::Column(_))) => {
                Ok(self.unnested(leaves, Unnested::Leaf))
            }
            Class::Cell(column) => Err(refusal::cell_in_function(&column, "unnest").into()),
            other => {
                self.settle_plain(other)?;
                Ok(Class::Plain)
            }
        }
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

/// Whether it is a call of a function that only chooses among values, not by their order.
fn chooses(call: &nodes::FuncCall, name: &str) -> bool {
    let plain_call = !call.agg_distinct && call.agg_order().is_empty() && !call.func_variadic;
    let named = call.args().iter().any(|argument| matches!(argument, Node::NamedArgExpr(_)));
    plain_call
        && !named
        && match (name, call.args().len()) {
            ("lag" | "lead", 1..=3) | ("first_value" | "last_value", 1) | ("nth_value", 2) => {
                call.over().is_some()
            }
            ("any_value", 1) => true,
            _ => false,
        }
}

/// Whether the name may be that of a function of PostgreSQL's.
pub(super) fn is_builtin(call: &nodes::FuncCall) -> bool {
    match call.funcname().iter().next().and_then(Node::as_str) {
        Some(first) => call.funcname().len() == 1 || first == "pg_catalog",
        None => false,
    }
}

/// The values that are compared with a subquery's columns.
fn row_of(node: Node<'_>) -> Vec<Node<'_>> {
    match node {
        Node::RowExpr(row) => row.args().iter().collect(),
        single => vec![single],
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
