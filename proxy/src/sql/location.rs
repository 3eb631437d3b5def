//! Where an expression or a statement stands in the text.

use super::offset;
use pg_raw_parse::{Node, nodes};
use std::ops::Range;

/// The bytes of one of a text's statements, with the white space before it.
pub(super) fn of_statement(text: &str, raw: &nodes::RawStmt) -> Range<usize> {
    let start = offset(raw.stmt_location).unwrap_or(0);
    let length = offset(raw.stmt_len).filter(|length| *length > 0);
    start..length.map_or(text.len(), |length| start + length)
}

/// The byte at which the grammar places the expression: an operator for what it joins.
pub(super) fn of(node: Node<'_>) -> Option<usize> {
    offset(match node {
        Node::ColumnRef(n) => n.location,
        Node::A_Const(n) => n.location,
        Node::ParamRef(n) => n.location,
        Node::A_Expr(n) => n.location,
        Node::BoolExpr(n) => n.location,
        Node::FuncCall(n) => n.location,
        Node::TypeCast(n) if n.location < 0 => return of(n.arg()),
        Node::TypeCast(n) => n.location,
        Node::CollateClause(n) => n.location,
        Node::SubLink(n) => n.location,
        Node::CaseExpr(n) => n.location,
        Node::CoalesceExpr(n) => n.location,
        Node::MinMaxExpr(n) => n.location,
        Node::NullTest(n) => n.location,
        Node::BooleanTest(n) => n.location,
        Node::RowExpr(n) => n.location,
        Node::A_ArrayExpr(n) => n.location,
        Node::A_Indirection(n) => return of(n.arg()),
        Node::GroupingFunc(n) => n.location,
        Node::XmlExpr(n) => n.location,
        Node::ResTarget(n) => n.location,
        Node::RangeVar(n) => n.location,
        _ => return None,
    })
}
