//! Operators: equality between cells of a domain, everything else between plain values.

use super::super::class::{Cast, Class};
use super::super::{offset, refusal};
use super::expression::has_equality;
use super::{Analysis, Analyzer};
use crate::policy::Purpose;
use pg_raw_parse::nodes::{self, A_Expr_Kind as Kind, SubLinkType};
use pg_raw_parse::{Node, list};

impl<'a> Analyzer<'a> {
    /// The class of an operator's result.
    pub(super) fn operator(&mut self, operator: &'a nodes::A_Expr) -> Analysis<Class> {
        let at = offset(operator.location);
        let result = match operator.kind {
            Kind::AEXPR_OP if is_equality(operator.name()) => {
                self.equality(operator.lexpr(), operator.rexpr())
            }
            Kind::AEXPR_DISTINCT | Kind::AEXPR_NOT_DISTINCT => {
                self.equality(operator.lexpr(), operator.rexpr())
            }
            Kind::AEXPR_IN => self.membership(operator.lexpr(), operator.rexpr()),
            Kind::AEXPR_OP_ANY | Kind::AEXPR_OP_ALL if is_equality(operator.name()) => {
                self.array_membership(operator.lexpr(), operator.rexpr())
            }
            Kind::AEXPR_NULLIF => self.null_if(operator),
            Kind::AEXPR_OP if is_order(operator.name()) => self.order(&[operator.lexpr(), operator.rexpr()]),
            Kind::AEXPR_BETWEEN
            | Kind::AEXPR_NOT_BETWEEN
            | Kind::AEXPR_BETWEEN_SYM
            | Kind::AEXPR_NOT_BETWEEN_SYM => self.order(&[operator.lexpr(), operator.rexpr()]),
            Kind::AEXPR_LIKE | Kind::AEXPR_ILIKE | Kind::AEXPR_SIMILAR => {
                self.operands([operator.lexpr(), operator.rexpr()], "LIKE")
            }
            _ => {
                let name = operator.name().iter().next_back().and_then(Node::as_str).unwrap_or_default();
                self.operands([operator.lexpr(), operator.rexpr()], name)
            }
        };
        result.map_err(|refusal| refusal.at(at))
    }

    /// Operands of an operator that has no meaning over cells.
    fn operands(&mut self, operands: [Node<'a>; 2], name: &str) -> Analysis<Class> {
        let mut plain = Vec::with_capacity(2);
        for operand in operands.into_iter().filter(|operand| !matches!(operand, Node::None)) {
            match self.expression(operand)? {
                Class::Cell(column) => return Err(refusal::cell_in_operator(&column, name).into()),
                other => plain.push((operand, other)),
            }
        }
        self.settle_beside(plain)?;
        Ok(Class::Plain)
    }

    /// Decides that operands are plain, in the light of each other.
    fn settle_beside(&mut self, operands: Vec<(Node<'a>, Class)>) -> Analysis<()> {
        let beside = operands.iter().any(|(node, class)| is_plain_column(*node, class));
        self.beside(beside, |this| operands.into_iter().try_for_each(|(_, class)| this.settle_plain(class)))
    }

    /// Runs `step`, which decides what may stand `beside` a plain column: a parameter that meets one by
    /// itself may also be compared with a protected one.
    fn beside<T>(&mut self, beside: bool, step: impl FnOnce(&mut Self) -> Analysis<T>) -> Analysis<T> {
        self.beside_column = beside;
        let result = step(self);
        self.beside_column = false;
        result
    }

    fn equality(&mut self, left: Node<'a>, right: Node<'a>) -> Analysis<Class> {
        if let (Node::RowExpr(left), Node::RowExpr(right)) = (left, right) {
            if left.args().len() != right.args().len() {
                return Err(refusal::width("unequal number of entries in row expressions").into());
            }
            for (left, right) in left.args().iter().zip(right.args()) {
                self.equality(left, right)?;
            }
            return Ok(Class::Plain);
        }
        if let (Node::RowExpr(row), Node::SubLink(link)) | (Node::SubLink(link), Node::RowExpr(row)) =
            (left, right)
            && link.sub_link_type == SubLinkType::EXPR_SUBLINK
        {
            return self.row_equals_query(row.args().iter().collect(), link);
        }
        let (a, b) = (self.expression(left)?, self.expression(right)?);
        let beside = is_plain_column(left, &a) || is_plain_column(right, &b);
        self.beside(beside, |this| {
            let met = this.equate(a, b)?;
            this.settle_plain(met)
        })?;
        Ok(Class::Plain)
    }

    /// Compares values with the columns of a subquery, by equality.
    pub(super) fn row_equals_query(
        &mut self,
        row: Vec<Node<'a>>,
        link: &'a nodes::SubLink,
    ) -> Analysis<Class> {
        let targets = self.query(link.subselect())?;
        if row.len() != targets.len() {
            return Err(refusal::width("subquery and row have unequal numbers of columns").into());
        }
        for (node, target) in row.into_iter().zip(targets) {
            let class = self.expression(node)?;
            let target = self.boundary(target.class);
            let met = self.equate(class, target)?;
            self.settle_plain(met)?;
        }
        Ok(Class::Plain)
    }

    /// Compares two expressions for equality; returns what they have in common, which may be open.
    pub(super) fn equate(&mut self, left: Class, right: Class) -> Analysis<Class> {
        let met = self.meet(left, right, Purpose::Compare)?;
        if let Class::Cell(column) = &met {
            has_equality(column)?;
        }
        Ok(met)
    }

    fn membership(&mut self, left: Node<'a>, right: Node<'a>) -> Analysis<Class> {
        let Node::NodeList(candidates) = right else { return Err(refusal::not_understood().into()) };
        if let Node::RowExpr(row) = left {
            return self.row_membership(row, candidates);
        }
        let mut common = self.expression(left)?;
        for candidate in candidates {
            let class = self.expression(candidate)?;
            let beside = is_plain_column(left, &common);
            common = self.beside(beside, |this| this.equate(common, class))?;
        }
        self.settle_plain(common)?;
        Ok(Class::Plain)
    }

    fn row_membership(&mut self, row: &'a nodes::RowExpr, candidates: &'a list::NodeList) -> Analysis<Class> {
        let mut common = Vec::new();
        for node in row.args() {
            common.push(self.expression(node)?);
        }
        for candidate in candidates {
            let Node::RowExpr(candidate) = candidate else {
                return Err(refusal::clause(
                    "a row compared with something else",
                    "Compare it with rows, as in (a, b) IN ((1, 2)).",
                )
                .into());
            };
            if candidate.args().len() != common.len() {
                return Err(refusal::width("unequal number of entries in row expressions").into());
            }
            let mut met = Vec::with_capacity(common.len());
            for (left, right) in common.into_iter().zip(candidate.args()) {
                let right = self.expression(right)?;
                met.push(self.equate(left, right)?);
            }
            common = met;
        }
        for class in common {
            self.settle_plain(class)?;
        }
        Ok(Class::Plain)
    }

    /// `= ANY` and `<> ALL` of an array: of a list of values, or of one literal or parameter that is the
    /// array.
    fn array_membership(&mut self, left: Node<'a>, right: Node<'a>) -> Analysis<Class> {
        let mut common = self.expression(left)?;
        if let Some((array, casts)) = self.array_list(right)? {
            for element in array.elements() {
                let class = self.expression(element)?;
                common = self.equate(common, class)?;
            }
            match &common {
                Class::Cell(column) => self.recast_array(&casts, column)?,
                _ => self.settle_plain(common)?,
            }
            return Ok(Class::Plain);
        }
        match (common, self.expression(right)?) {
            (Class::Cell(column), Class::Open(mut leaves)) => {
                has_equality(&column)?;
                match (leaves.pop(), leaves.is_empty()) {
                    (None, _) => Ok(Class::Plain),
                    (Some(leaf), true) => {
                        self.encrypt_array(leaf, &column, Purpose::Compare)?;
                        Ok(Class::Plain)
                    }
                    (Some(_), false) => Err(refusal::array_value(&column).into()),
                }
            }
            (Class::Cell(column), _) => Err(refusal::array_value(&column).into()),
            (other, array) => {
                self.settle_plain(other)?;
                self.plain_class(array, "an array")?;
                Ok(Class::Plain)
            }
        }
    }

    /// `ARRAY[…]`, with the casts around it.
    pub(super) fn array_list(
        &mut self,
        mut node: Node<'a>,
    ) -> Analysis<Option<(&'a nodes::A_ArrayExpr, Vec<Cast>)>> {
        let mut casts = Vec::new();
        loop {
            match node {
                Node::A_ArrayExpr(array) => return Ok(Some((array, casts))),
                Node::TypeCast(cast) => {
                    let Some(name) = cast.type_name() else {
                        return Err(refusal::not_understood().into());
                    };
                    let mut inner = cast.arg();
                    while let Node::TypeCast(cast) = inner {
                        inner = cast.arg();
                    }
                    if !matches!(inner, Node::A_ArrayExpr(_)) {
                        return Ok(None);
                    }
                    casts.push(self.read_cast(cast, name)?);
                    node = cast.arg();
                }
                _ => return Ok(None),
            }
        }
    }

    fn null_if(&mut self, operator: &'a nodes::A_Expr) -> Analysis<Class> {
        let left = self.expression(operator.lexpr())?;
        let right = self.expression(operator.rexpr())?;
        self.equate(left, right)
    }

    fn order(&mut self, operands: &[Node<'a>]) -> Analysis<Class> {
        let mut single = Vec::new();
        for operand in operands {
            match operand {
                Node::None => {}
                Node::NodeList(list) => single.extend(list.iter()),
                Node::RowExpr(row) => single.extend(row.args().iter()),
                node => single.push(*node),
            }
        }
        let mut plain = Vec::with_capacity(single.len());
        for node in single {
            match self.expression(node)? {
                Class::Cell(column) => return Err(refusal::no_order(&column).into()),
                other => plain.push((node, other)),
            }
        }
        self.settle_beside(plain)?;
        Ok(Class::Plain)
    }
}

/// Whether it is a plain column by itself, casts aside; not one of literals and parameters.
fn is_plain_column(mut node: Node<'_>, class: &Class) -> bool {
    while let Node::TypeCast(cast) = node {
        node = cast.arg();
    }
    matches!((node, class), (Node::ColumnRef(_), Class::Plain))
}

fn operator_name(name: &list::NodeList) -> Option<&str> {
    let names: Vec<&str> = name.iter().map(Node::as_str).collect::<Option<_>>()?;
    match names.as_slice() {
        [name] | ["pg_catalog", name] => Some(name),
        _ => None,
    }
}

/// Whether the operator is `=` or `<>`; no name at all stands for the `=` of IN.
pub(super) fn is_equality(name: &list::NodeList) -> bool {
    name.is_empty() || matches!(operator_name(name), Some("=" | "<>" | "!="))
}

fn is_order(name: &list::NodeList) -> bool {
    matches!(operator_name(name), Some("<" | "<=" | ">" | ">="))
}
