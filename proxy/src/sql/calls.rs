//! What a statement calls without the form of a call: the functions of operators, and those of casts and
//! domains by the type's name, which the catalog has among the functions of the database's own; and a
//! function as if it were a field, for `t.f` is `f(t)` where `t` has no column `f`.
//!
//! Invariant: what may be such a call is one. A field is a column only if each relation that its qualifier
//! may mean is known to have it.

use super::children::{self, NotFromParser};
use super::resolve::Names;
use pg_raw_parse::{Node, nodes};

/// The names of functions of the database's own, operators and types of which a statement makes such calls,
/// with their places.
pub(super) fn of<'a>(statement: Node<'a>, names: Names<'_>) -> Result<Vec<(&'a str, i32)>, NotFromParser> {
    let (mut found, mut fields, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
    children::walk(statement, |node| {
        match node {
            Node::RangeVar(range) => {
                let alias = range.alias().and_then(nodes::Alias::aliasname);
                ranges.push((alias.or(range.relname()).unwrap_or_default(), range));
            }
            Node::InsertStmt(insert) => ranges.extend(insert.relation().map(|range| ("excluded", range))),
            Node::ColumnRef(column) => {
                let mut parts = column.fields().iter().rev();
                if let (Some(Node::String(name)), Some(qualifier)) = (parts.next(), parts.next()) {
                    let name = name.sval().unwrap_or_default();
                    fields.push((qualifier.as_str().unwrap_or_default(), name, column.location));
                }
            }
            _ => found.extend(named(node)),
        }
        Ok::<(), NotFromParser>(())
    })?;
    let has = |range: &nodes::RangeVar, name: &str| {
        let candidates = names.catalog.named(range.relname().unwrap_or_default()).iter();
        let mut candidates =
            candidates.filter(|known| range.schemaname().is_none_or(|schema| known.name.schema == schema));
        let column = |known: &&std::sync::Arc<crate::policy::catalog::Relation>| {
            known.columns.iter().flatten().any(|column| column.name == name)
        };
        candidates.next().is_some_and(|first| column(&first) && candidates.all(|next| column(&next)))
    };
    let is_column = |qualifier: &str, name: &str| {
        let mut meant = ranges.iter().filter(|(alias, _)| *alias == qualifier).map(|(_, range)| range);
        meant.next().is_some_and(|first| has(first, name) && meant.all(|next| has(next, name)))
    };
    found.retain(|(name, _)| is_own(name, names));
    let called = fields.into_iter().filter(|(of, name, _)| is_own(name, names) && !is_column(of, name));
    found.extend(called.map(|(_, name, at)| (name, at)));
    Ok(found)
}

/// Whether a call of it is of interest.
fn is_own(name: &str, names: Names<'_>) -> bool {
    names.catalog.own_function(name).is_some() || names.catalog.function_reaches(name)
}

/// What a node calls, whatever stands around it.
pub(super) fn named(node: Node<'_>) -> Vec<(&str, i32)> {
    match node {
        Node::A_Expr(operator) => last(operator.name().iter().next_back(), operator.location),
        Node::SubLink(link) => last(link.oper_name().iter().next_back(), link.location),
        Node::TypeName(name) => {
            let last = name.names().iter().next_back().and_then(nodes::String::sval);
            last.map(|last| (last, name.location)).into_iter().collect()
        }
        Node::A_Indirection(fields) => {
            fields.indirection().iter().filter_map(|field| Some((field.as_str()?, -1))).collect()
        }
        _ => Vec::new(),
    }
}

fn last(name: Option<Node<'_>>, at: i32) -> Vec<(&str, i32)> {
    name.and_then(Node::as_str).map(|name| (name, at)).into_iter().collect()
}
