//! What the columns of views over protected tables hold: it follows from their definitions, as the
//! server prints them with every name qualified. What stands there as a `bytea` constant is a cell
//! already, for it was encrypted when the view was made.

use super::analyzer::Analyzer;
use super::path::Path;
use super::resolve::{Meaning, Names};
use super::uses::Uses;
use super::{Refusal, children, mentions, refusal};
use crate::policy::catalog::{Catalog, Column, Holds, Kind, Reach, Relation};
use crate::policy::{Policy, QualifiedName};
use pg_raw_parse::Node;
use std::cell::OnceCell;
use std::sync::Arc;

/// Follows views through which protected tables are reached: `definitions` are their OIDs and the
/// queries that they stand for. A view whose definition is not understood stays as it is, refused.
/// Needs as large a stack as [`super::analyze`].
pub fn follow(policy: &Policy, catalog: Catalog, definitions: Vec<(u32, String)>) -> Catalog {
    let mut catalog = Arc::new(catalog);
    let mut left = definitions;
    // A view over views is understood once they are: the order is found by trying.
    loop {
        let before = left.len();
        left.retain(|(oid, definition)| {
            let Some(view) = catalog.by_oid(*oid).cloned() else { return false };
            let Ok(followed) =
                followed(&view, definition, Names { policy, catalog: &catalog, path: &Path::new(None) })
            else {
                return true;
            };
            // Nobody else holds it here.
            let Some(catalog) = Arc::get_mut(&mut catalog) else { return true };
            catalog.replace(followed);
            false
        });
        if left.len() == before {
            break;
        }
    }
    Arc::into_inner(catalog).unwrap_or_default()
}

fn followed(view: &Relation, definition: &str, names: Names<'_>) -> Result<Relation, Refusal> {
    let not_understood = || Refusal::Refused(refusal::not_understood());
    let tree = pg_raw_parse::parse(definition).map_err(|_| not_understood())?;
    let mut statements = tree.iter();
    let (Some(query), None) = (statements.next(), statements.next()) else { return Err(not_understood()) };
    let query = query.stmt();
    mentions::of(query, names)?;
    let tokens = OnceCell::new();
    let held = Analyzer::new(definition, names, &tokens, Uses::default(), None).stored_definition(query)?;
    let known = view.columns.as_deref().unwrap_or_default();
    if held.len() != known.len() {
        return Err(not_understood());
    }
    let columns = known.iter().zip(held).map(|(column, holds)| Column { holds, ..column.clone() });
    Ok(with_columns(view.clone(), columns.collect(), over(query, names)?))
}

/// The tables of the policy that a view's definition, or the statement that makes it, reads.
pub(super) fn over(statement: Node<'_>, names: Names<'_>) -> Result<Vec<QualifiedName>, Refusal> {
    let mut found = Vec::new();
    children::walk(statement, |node| {
        if let Node::RangeVar(range) = node
            && let Meaning::Plain(relation) | Meaning::Protected(relation) =
                names.meaning(range.schemaname(), range.relname().unwrap_or_default())
        {
            found.extend(relation.protected_tables(names.policy).cloned());
        }
        Ok::<(), Refusal>(())
    })?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The relation as a view with these columns, over these tables.
pub(super) fn with_columns(view: Relation, columns: Vec<Column>, over: Vec<QualifiedName>) -> Relation {
    let plain = columns.iter().all(|column| column.holds == Holds::Own);
    // What its rules do with a value is not for its columns to say.
    let reach =
        if plain && view.kind != (Kind::View { rules: true }) { Reach::None } else { Reach::Followed };
    Relation { columns: Some(columns), reach, over, ..view }
}

/// Whether a statement makes a view.
pub(super) fn makes_view(statement: Node<'_>) -> bool {
    match statement {
        Node::ViewStmt(_) => true,
        Node::CreateTableAsStmt(create) => create.objtype == pg_raw_parse::nodes::ObjectType::OBJECT_MATVIEW,
        _ => false,
    }
}
