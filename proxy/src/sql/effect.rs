//! What DDL does to the catalog, so that the statements after it in the same text or transaction
//! are analysed against what they will find.

use super::children;
use super::class::string;
use super::naming;
use super::resolve::{BYTEA, Meaning, Names, TEMPORARY};
use super::views;
use crate::policy::QualifiedName;
use crate::policy::catalog::{Catalog, Column, EXECUTE, Holds, Kind, Reach, Relation};
use pg_raw_parse::nodes::{self, AlterTableType, ObjectType};
use pg_raw_parse::{Node, list};
use std::sync::Arc;

/// Whether the catalog is another one after this statement.
pub(super) fn changes_catalog(statement: Node<'_>) -> bool {
    match statement {
        Node::SelectStmt(select) => select.into_clause().is_some(),
        Node::ExplainStmt(explain) => naming::analyzes(explain) && changes_catalog(explain.query()),
        Node::InsertStmt(_)
        | Node::UpdateStmt(_)
        | Node::DeleteStmt(_)
        | Node::MergeStmt(_)
        | Node::VariableSetStmt(_)
        | Node::VariableShowStmt(_)
        | Node::TransactionStmt(_)
        | Node::CopyStmt(_)
        | Node::PrepareStmt(_)
        | Node::ExecuteStmt(_)
        | Node::DeallocateStmt(_)
        | Node::DeclareCursorStmt(_)
        | Node::FetchStmt(_)
        | Node::ClosePortalStmt(_)
        | Node::ListenStmt(_)
        | Node::UnlistenStmt(_)
        | Node::NotifyStmt(_)
        | Node::LockStmt(_)
        | Node::TruncateStmt(_)
        | Node::VacuumStmt(_)
        | Node::CheckPointStmt(_)
        | Node::ConstraintsSetStmt(_)
        | Node::GrantStmt(_)
        | Node::GrantRoleStmt(_) => false,
        _ => true,
    }
}

/// The catalog after a statement that makes, changes or drops relations; `None` if it stays. `made` are
/// the columns of a table or view that it makes of a query's, where they are known.
pub(super) fn after(statement: Node<'_>, names: Names<'_>, made: Option<Vec<Column>>) -> Option<Catalog> {
    if views::makes_view(statement)
        && let Some(columns) = made
    {
        return made_view(statement, columns, names);
    }
    match statement {
        Node::CreateStmt(create) => {
            let (name, exists) = created(create.relation()?, names);
            let keeps = exists && create.if_not_exists;
            (!keeps).then(|| names.catalog.with_relation(table(create, &name, names)))
        }
        Node::ExplainStmt(explain) if naming::analyzes(explain) => after(explain.query(), names, made),
        Node::CreateTableAsStmt(create) => made_of_query(create.into()?.rel()?, names, made, create.objtype),
        Node::SelectStmt(select) => {
            made_of_query(select.into_clause()?.rel()?, names, made, ObjectType::OBJECT_TABLE)
        }
        Node::DiscardStmt(discard)
            if matches!(
                discard.target,
                nodes::DiscardMode::DISCARD_ALL | nodes::DiscardMode::DISCARD_TEMP
            ) =>
        {
            names.catalog.without_temporary()
        }
        Node::ViewStmt(view) => unknown_columns(view.view()?, names),
        Node::CreateSeqStmt(create) => unknown_columns(create.sequence()?, names),
        Node::AlterTableStmt(alter) => altered(alter, names),
        Node::RenameStmt(rename) => renamed(rename, names),
        Node::AlterObjectSchemaStmt(alter) => moved(alter, names),
        Node::DropStmt(drop) => dropped(drop, names),
        Node::CreateFunctionStmt(create) => defined(create, names),
        Node::DefineStmt(define)
            if matches!(define.kind, ObjectType::OBJECT_AGGREGATE | ObjectType::OBJECT_OPERATOR) =>
        {
            let name = define.defnames().into_iter().next_back().and_then(nodes::String::sval)?;
            Some(names.catalog.with_own_function(name, true))
        }
        _ => None,
    }
}

fn relation(name: QualifiedName, columns: Option<Vec<Column>>) -> Relation {
    Relation { name, oid: 0, columns, reach: Reach::None, kind: Kind::Table, over: Vec::new() }
}

fn made_of_query(
    range: &nodes::RangeVar,
    names: Names<'_>,
    columns: Option<Vec<Column>>,
    what: ObjectType::Type,
) -> Option<Catalog> {
    let (name, exists) = created(range, names);
    let viewed = what == ObjectType::OBJECT_MATVIEW;
    let kind = if viewed { Kind::MaterializedView } else { Kind::Table };
    let cells = columns.iter().flatten().any(|column| matches!(column.holds, Holds::Cell(_)));
    let reach = if cells { Reach::Followed } else { Reach::None };
    (!exists).then(|| names.catalog.with_relation(Relation { kind, reach, ..relation(name, columns) }))
}

fn unknown_columns(range: &nodes::RangeVar, names: Names<'_>) -> Option<Catalog> {
    let (name, exists) = created(range, names);
    (!exists).then(|| names.catalog.with_relation(relation(name, None)))
}

/// A view over protected tables is made, or made anew.
fn made_view(statement: Node<'_>, columns: Vec<Column>, names: Names<'_>) -> Option<Catalog> {
    let (range, kind, keeps) = match statement {
        Node::ViewStmt(view) => (view.view()?, Kind::View { rules: false }, false),
        Node::CreateTableAsStmt(create) => {
            (create.into()?.rel()?, Kind::MaterializedView, create.if_not_exists)
        }
        _ => return None,
    };
    let (name, exists) = created(range, names);
    // Rules that the view had stay with it.
    let kind = names.catalog.relation(&name).filter(|_| exists).map_or(kind, |known| known.kind);
    let made = Relation { kind, ..relation(name, None) };
    let over = views::over(statement, names).ok()?;
    (!(exists && keeps)).then(|| names.catalog.with_relation(views::with_columns(made, columns, over)))
}

/// The name under which a relation is made, and whether there is one already.
fn created(range: &nodes::RangeVar, names: Names<'_>) -> (QualifiedName, bool) {
    let bare = range.relname().unwrap_or_default();
    if range.relpersistence == b't'.cast_signed() {
        return (QualifiedName::new(TEMPORARY, bare), false);
    }
    match names.made(range) {
        Meaning::NotCreated(name) => (name, false),
        Meaning::Plain(known) | Meaning::Protected(known) | Meaning::Reaching(known) => {
            (known.name.clone(), true)
        }
        Meaning::Unknown | Meaning::Ambiguous => {
            let by_path = if names.is_by_path(bare) { names.path.creation() } else { None };
            (QualifiedName::new(range.schemaname().or(by_path).unwrap_or("public"), bare), false)
        }
    }
}

/// The relation that CREATE TABLE makes. Its columns are not known where they come from a type, or
/// from a table that is not known.
pub(super) fn table(create: &nodes::CreateStmt, name: &QualifiedName, names: Names<'_>) -> Relation {
    let mut made = relation(name.clone(), Some(Vec::new()));
    let mut parents = Vec::new();
    for parent in create.inh_relations() {
        parents.push(if let Node::RangeVar(range) = parent { known(range, names) } else { None });
    }
    let mut brought = parents.clone();
    for element in create.table_elts() {
        if let Node::TableLikeClause(like) = element {
            brought.push(like.relation().and_then(|range| known(range, names)));
        }
    }
    let all_known = brought.iter().all(|found| found.is_some_and(|relation| relation.columns.is_some()));
    if !all_known || create.of_typename().is_some() {
        made.columns = None;
        return made;
    }
    let inherited = brought.iter().flatten().flat_map(|relation| relation.columns.iter().flatten());
    let inherited = inherited.map(|column| Column { number: 0, holds: Holds::Own, ..column.clone() });
    let own = create.table_elts().iter().filter_map(|element| match element {
        Node::ColumnDef(definition) => Some(column(definition, name, names)),
        _ => None,
    });
    let mut columns: Vec<Column> = Vec::new();
    for column in inherited.chain(own) {
        if !columns.iter().any(|before| before.name == column.name) {
            columns.push(column);
        }
    }
    made.columns = Some(columns);
    for parent in parents.into_iter().flatten() {
        made.inherit(parent, names.policy);
    }
    made
}

fn column(definition: &nodes::ColumnDef, table: &QualifiedName, names: Names<'_>) -> Column {
    let name = definition.colname().unwrap_or_default().to_owned();
    let protected = names.policy.table(table).is_some_and(|t| t.contains_key(&name));
    Column { name, number: 0, type_oid: if protected { BYTEA } else { 0 }, holds: Holds::Own }
}

fn known<'c>(range: &nodes::RangeVar, names: Names<'c>) -> Option<&'c Arc<Relation>> {
    match names.meaning(range.schemaname(), range.relname()?) {
        Meaning::Plain(known) | Meaning::Protected(known) | Meaning::Reaching(known) => Some(known),
        _ => None,
    }
}

fn altered(alter: &nodes::AlterTableStmt, names: Names<'_>) -> Option<Catalog> {
    let mut relation = Relation::clone(known(alter.relation()?, names)?);
    let columns = relation.columns.as_mut()?;
    for command in alter.cmds() {
        let Node::AlterTableCmd(command) = command else { continue };
        match (command.subtype, command.def()) {
            (AlterTableType::AT_AddColumn, Node::ColumnDef(definition)) => {
                let added = column(definition, &relation.name, names);
                if !columns.iter().any(|c| c.name == added.name) {
                    columns.push(added);
                }
            }
            (AlterTableType::AT_DropColumn, _) => columns.retain(|c| Some(c.name.as_str()) != command.name()),
            _ => {}
        }
    }
    Some(names.catalog.with_relation(relation))
}

fn renamed(rename: &nodes::RenameStmt, names: Names<'_>) -> Option<Catalog> {
    let old = known(rename.relation()?, names)?;
    let mut relation = Relation::clone(old);
    let new_name = rename.newname()?;
    if rename.rename_type == ObjectType::OBJECT_COLUMN {
        let column =
            relation.columns.as_mut()?.iter_mut().find(|c| Some(c.name.as_str()) == rename.subname())?;
        new_name.clone_into(&mut column.name);
        return Some(names.catalog.with_relation(relation));
    }
    if matches!(
        rename.rename_type,
        ObjectType::OBJECT_TABLE | ObjectType::OBJECT_VIEW | ObjectType::OBJECT_MATVIEW
    ) {
        relation.name = QualifiedName::new(relation.name.schema, new_name);
        return Some(names.catalog.without(&old.name).with_relation(relation));
    }
    None
}

/// A function that runs text which it makes may be defined; from then on it reaches everything.
fn defined(create: &nodes::CreateFunctionStmt, names: Names<'_>) -> Option<Catalog> {
    let (mut runs_text, mut volatile) = (false, true);
    for option in create.options() {
        if option.defname() == Some("volatility") {
            volatile = option.arg().as_str() == Some("volatile");
        }
        children::walk(Node::from(option), |node| {
            runs_text |= node.as_str().is_some_and(|text| text.to_lowercase().contains(EXECUTE));
            Ok::<(), children::NotFromParser>(())
        })
        .ok()?;
    }
    let name = create.funcname().iter().next_back().and_then(Node::as_str)?;
    let defined = names.catalog.with_own_function(name, volatile);
    Some(if runs_text { defined.with_reaching_function(name) } else { defined })
}

fn moved(alter: &nodes::AlterObjectSchemaStmt, names: Names<'_>) -> Option<Catalog> {
    let old = known(alter.relation()?, names)?;
    let mut relation = Relation::clone(old);
    alter.newschema()?.clone_into(&mut relation.name.schema);
    Some(names.catalog.without(&old.name).with_relation(relation))
}

fn dropped(drop: &nodes::DropStmt, names: Names<'_>) -> Option<Catalog> {
    // Of other objects, a part of the name may be a relation's.
    if !matches!(
        drop.remove_type,
        ObjectType::OBJECT_TABLE
            | ObjectType::OBJECT_VIEW
            | ObjectType::OBJECT_MATVIEW
            | ObjectType::OBJECT_SEQUENCE
            | ObjectType::OBJECT_FOREIGN_TABLE
    ) {
        return None;
    }
    let mut catalog = None;
    for object in drop.objects() {
        let Node::NodeList(parts) = object else { continue };
        let Some((schema, bare)) = qualified(parts) else { continue };
        let meaning = names.meaning(schema, bare);
        if let Meaning::Plain(known) | Meaning::Protected(known) | Meaning::Reaching(known) = meaning {
            catalog = Some(catalog.as_ref().unwrap_or(names.catalog.as_ref()).without(&known.name));
        }
    }
    catalog
}

fn qualified(parts: &list::NodeList) -> Option<(Option<&str>, &str)> {
    let names: Vec<&str> = parts.iter().map(|n| n.as_str().or_else(|| string(n))).collect::<Option<_>>()?;
    match names.as_slice() {
        [name] => Some((None, name)),
        [schema, name] | [_, schema, name] => Some((Some(schema), name)),
        _ => None,
    }
}
