//! What a statement mentions: the proof that it touches nothing protected, or the reason to look
//! closer. Walks every node of the tree, whatever the statement.

use super::resolve::{Meaning, Names, TEMPORARY};
use super::{Refusal, calls, children, offset, refusal};
use crate::error::ClientError;
use crate::policy::catalog::{EXECUTE, Reach, TEXT_RUNNERS};
use pg_raw_parse::{Node, list, nodes};

/// What was found.
#[derive(Default)]
pub(super) struct Mentions {
    /// Whether a protected table, or something that reaches one, is named.
    pub(super) touched: bool,
    /// Where names stand that the search path decides, each with its schema.
    pub(super) by_path: Vec<(i32, String)>,
}

impl From<children::NotFromParser> for Refusal {
    fn from(_: children::NotFromParser) -> Self {
        Self::Refused(refusal::not_understood())
    }
}

/// Walks a statement.
pub(super) fn of<'a>(statement: Node<'a>, names: Names<'_>) -> Result<Mentions, Refusal> {
    let mut found = Mentions::default();
    if names.policy.is_empty() {
        return Ok(found);
    }
    let reads_relations = names_relations_that_must_exist(statement);
    let mut ctes: Vec<&str> = Vec::new();
    let mut not_relations: Vec<i32> = Vec::new();
    let mut unknown: Vec<(&'a str, i32)> = Vec::new();
    let mut by_path: Vec<(&'a str, i32, Option<String>)> = Vec::new();
    let made = makes(statement);
    children::walk(statement, |node| {
        match node {
            Node::RangeVar(range) => {
                let name = range.relname().unwrap_or_default();
                hides(range, name, names)?;
                if range.schemaname().is_none()
                    && range.relpersistence != b't'.cast_signed()
                    && names.is_by_path(name)
                    && !not_relations.contains(&range.location)
                {
                    let is_made = made.is_some_and(|made| std::ptr::eq(made, range));
                    // Whatever it is, the text is understood by the path.
                    found.touched |= is_made;
                    let schema = if is_made {
                        names.path.creation().map(str::to_owned)
                    } else {
                        names.schema_by_path(None, name).map(str::to_owned)
                    };
                    by_path.push((name, range.location, schema));
                }
                match names.meaning(range.schemaname(), name) {
                    Meaning::Plain(_) => {}
                    Meaning::Unknown => unknown.push((name, range.location)),
                    _ if not_relations.contains(&range.location) => {}
                    Meaning::Protected(_)
                    | Meaning::Reaching(_)
                    | Meaning::NotCreated(_)
                    | Meaning::Ambiguous => found.touched = true,
                }
            }
            Node::CommonTableExpr(cte) => ctes.extend(cte.ctename()),
            Node::LockingClause(locking) => {
                not_relations.extend(locations(locking.locked_rels()));
            }
            Node::IntoClause(into) => {
                if let Some(range) = into.rel()
                    && matches!(
                        names.meaning(range.schemaname(), range.relname().unwrap_or_default()),
                        Meaning::Unknown
                    )
                {
                    not_relations.push(range.location);
                }
            }
            Node::UpdateStmt(update)
                if update.relation().and_then(nodes::RangeVar::relname) == Some("pg_settings") =>
            {
                return Err(refusal::carrier("an UPDATE of pg_settings").into());
            }
            Node::FuncCall(call) => function(call, names)?,
            Node::TypeName(type_name) => {
                let name =
                    type_name.names().iter().next_back().and_then(nodes::String::sval).unwrap_or_default();
                let of_view = names.catalog.named(name).iter().any(|relation| relation.reach != Reach::None);
                if of_view || !names.policy.schemas_with_table(name).is_empty() {
                    return Err(refusal::whole_row(name).at(offset(type_name.location)).into());
                }
            }
            Node::DoStmt(body) => bodies(body.args(), names, |word| word == EXECUTE)?,
            Node::CreateFunctionStmt(body) => bodies(body.options(), names, |_| false)?,
            _ => {}
        }
        Ok::<(), Refusal>(())
    })?;
    for (name, at) in calls::of(statement, names)? {
        if names.catalog.function_reaches(name) {
            return Err(refusal::function(name).at(offset(at)).into());
        }
    }
    // The name of a WITH query hides a relation's in a part of the statement.
    if let Some((name, at, _)) = by_path.iter().find(|(name, ..)| ctes.contains(name)) {
        return Err(refusal::ambiguous_relation(name).at(offset(*at)).into());
    }
    for (name, at, schema) in by_path {
        match schema {
            Some(schema) => found.by_path.push((at, schema)),
            // The path may have changed meanwhile: what it does not show does not pass by its name.
            None if names.path.is_known() => {
                return Err(Refusal::UnknownRelation(refusal::unknown_relation(name).at(offset(at))));
            }
            None => {}
        }
    }
    let missing = unknown.iter().find(|(name, at)| !ctes.contains(name) && !not_relations.contains(at));
    match missing {
        Some((name, at)) if reads_relations => {
            Err(Refusal::UnknownRelation(refusal::unknown_relation(name).at(offset(*at))))
        }
        _ => Ok(found),
    }
}

/// Refuses a temporary relation that would hide a protected table of another schema.
fn hides(range: &nodes::RangeVar, name: &str, names: Names<'_>) -> Result<(), ClientError> {
    let temporary = range.relpersistence == b't'.cast_signed()
        || range.schemaname().is_some_and(|schema| schema.starts_with(TEMPORARY));
    if temporary && names.policy.schemas_with_table(name).iter().any(|schema| *schema != TEMPORARY) {
        return Err(refusal::shadows(name).at(offset(range.location)));
    }
    Ok(())
}

/// The relation that a statement makes.
fn makes(statement: Node<'_>) -> Option<&nodes::RangeVar> {
    let made = match statement {
        Node::CreateStmt(create) => create.relation(),
        Node::ViewStmt(view) => view.view(),
        Node::CreateTableAsStmt(create) => create.into().and_then(nodes::IntoClause::rel),
        Node::SelectStmt(select) => select.into_clause().and_then(nodes::IntoClause::rel),
        Node::CreateSeqStmt(create) => create.sequence(),
        _ => None,
    };
    // What is temporary is made in a schema of its own.
    made.filter(|range| range.relpersistence != b't'.cast_signed())
}

pub(super) fn locations(ranges: &list::NodeList) -> impl Iterator<Item = i32> {
    ranges
        .iter()
        .filter_map(|node| if let Node::RangeVar(range) = node { Some(range.location) } else { None })
}

fn function(call: &nodes::FuncCall, names: Names<'_>) -> Result<(), ClientError> {
    let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
    if names.catalog.function_reaches(name) || TEXT_RUNNERS.contains(&name) {
        return Err(refusal::function(name).at(offset(call.location)));
    }
    Ok(())
}

/// Refuses a DO block or function definition whose text names, as a word, anything protected, or
/// `also` a word of another kind. A function that runs text which it makes may be defined, not called.
fn bodies<T>(
    options: &list::CastNodeList<T>,
    names: Names<'_>,
    also: impl Fn(&str) -> bool,
) -> Result<(), Refusal>
where
    for<'l> &'l list::CastNodeList<T>: IntoIterator<Item = &'l T>,
    for<'l> Node<'l>: From<&'l T>,
{
    for option in options {
        children::walk(Node::from(option), |node| {
            let Some(text) = node.as_str() else { return Ok(()) };
            let lower = text.to_lowercase();
            // A name that is not one word, or is written in escapes.
            let odd = |name: &str| !name.chars().all(is_word) && text.contains(name);
            let named = words(text).any(|word| is_sensitive(&word, names) || also(&word))
                || names
                    .policy
                    .tables()
                    .any(|(table, _)| odd(&table.name) || odd(&table.name.replace('"', "\"\"")))
                || lower.contains("u&\"");
            if named {
                return Err(Refusal::from(refusal::body()));
            }
            if lower.contains("trefoil.") {
                return Err(refusal::carrier("a function or DO block").into());
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .flat_map(|word| [word.to_owned(), word.to_lowercase()])
}

fn is_sensitive(word: &str, names: Names<'_>) -> bool {
    if TEXT_RUNNERS.contains(&word) {
        return true;
    }
    !names.policy.schemas_with_table(word).is_empty()
        || names.catalog.named(word).iter().any(|relation| relation.reach != Reach::None)
        || names.catalog.function_reaches(word)
}

/// Statements that the server would refuse, too, if a relation they name did not exist. One that
/// the catalog does not show might be a view over a protected table, made past the proxy.
fn names_relations_that_must_exist(statement: Node<'_>) -> bool {
    matches!(
        statement,
        Node::SelectStmt(_)
            | Node::InsertStmt(_)
            | Node::UpdateStmt(_)
            | Node::DeleteStmt(_)
            | Node::MergeStmt(_)
            | Node::CopyStmt(_)
            | Node::PrepareStmt(_)
            | Node::ExplainStmt(_)
            | Node::DeclareCursorStmt(_)
            | Node::CreateTableAsStmt(_)
    )
}
