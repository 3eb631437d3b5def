//! What no statement may do, whatever else it touches: give a protected name away or take one,
//! publish protected tables, or have a function that reaches them called by itself.

use super::analyzer::CHECK_PREFIX;
use super::children;
use super::class::{integer, string};
use super::resolve::{Meaning, Names, TEMPORARY};
use super::{Refusal, refusal};
use crate::error::ClientError;
use crate::policy::QualifiedName;
use crate::policy::catalog::{Kind, Relation, TEXT_RUNNERS};
use pg_raw_parse::nodes::{self, ObjectType, PublicationObjSpecType};
use pg_raw_parse::{Node, list};

/// Checks one statement.
pub(super) fn check(statement: Node<'_>, names: Names<'_>) -> Result<(), Refusal> {
    if names.policy.is_empty() {
        return Ok(());
    }
    if names.policy.has_floats() {
        children::walk(statement, |node| floats_in_full(node).map_err(Refusal::Refused))?;
    }
    let checked = match statement {
        Node::RenameStmt(rename) => renamed(rename, names),
        Node::AlterObjectSchemaStmt(alter) => moved(alter, names),
        Node::AlterEnumStmt(alter) => relabelled(alter, names),
        Node::DropStmt(drop) => dropped_types(drop, names),
        Node::AlterDomainStmt(alter) => {
            let parts = alter.type_name().iter().filter_map(|part| match part {
                Node::String(part) => Some(part),
                _ => None,
            });
            let (schema, name) = type_name(parts);
            let adds = !matches!(alter.def(), Node::None);
            if adds && names.policy.names_type(schema, name) { Err(refusal::domain(name)) } else { Ok(()) }
        }
        Node::CreatePublicationStmt(publication) => {
            published(publication.for_all_tables, publication.pubobjects(), names)
        }
        Node::AlterPublicationStmt(publication) => {
            published(publication.for_all_tables, publication.pubobjects(), names)
        }
        Node::CreateSubscriptionStmt(_) => Err(refusal::replication("a subscription")),
        Node::CreateTrigStmt(trigger) => implicit_call(trigger.funcname(), names),
        Node::CreateEventTrigStmt(trigger) => implicit_call(trigger.funcname(), names),
        Node::DefineStmt(define) => define.definition().into_iter().try_for_each(|part| match part.arg() {
            // Functions of operators and aggregates are read as types.
            Node::TypeName(type_name) => {
                called(type_name.names().iter().next_back().and_then(nodes::String::sval), names)
            }
            _ => Ok(()),
        }),
        Node::CreateCastStmt(cast) => {
            cast.func().map_or(Ok(()), |function| implicit_call(function.objname(), names))
        }
        _ => Ok(()),
    };
    checked.map_err(Refusal::Refused)
}

/// The server does not report `extra_float_digits`, so floats are always shown as from 1 on.
fn floats_in_full(node: Node<'_>) -> Result<(), ClientError> {
    let is_it = |name: &str| name.eq_ignore_ascii_case("extra_float_digits");
    let in_full = |value: Option<Node<'_>>| {
        let digits = value.and_then(|value| integer(value).or_else(|| string(value)?.trim().parse().ok()));
        if digits.is_some_and(|digits| digits > 0) { Ok(()) } else { Err(refusal::float_digits()) }
    };
    match node {
        Node::VariableSetStmt(set)
            if set.name().is_some_and(is_it) && set.kind == nodes::VariableSetKind::VAR_SET_VALUE =>
        {
            in_full(set.args().iter().next())
        }
        Node::FuncCall(call)
            if call.funcname().iter().next_back().and_then(Node::as_str) == Some("set_config") =>
        {
            let mut arguments = call.args().iter();
            match arguments.next().and_then(string) {
                Some(name) if is_it(name) => in_full(arguments.next()),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Cells hold labels: a renamed one would be unknown, and the new one would not equal the old.
fn relabelled(alter: &nodes::AlterEnumStmt, names: Names<'_>) -> Result<(), ClientError> {
    let (schema, name) = type_name(alter.type_name());
    if alter.old_val().is_some() && names.policy.names_type(schema, name) {
        return Err(refusal::enum_label(name));
    }
    Ok(())
}

/// Nothing in the database depends on the types of protected columns, which are `bytea` there.
fn dropped_types(drop: &nodes::DropStmt, names: Names<'_>) -> Result<(), ClientError> {
    if !matches!(drop.remove_type, ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN) {
        return Ok(());
    }
    for object in drop.objects() {
        if let Node::TypeName(dropped) = object {
            let (schema, name) = type_name(dropped.names());
            let mut columns = names.policy.columns().iter();
            if columns.any(|column| {
                column.logical.is_made_of(schema, name) && names.catalog.relation(&column.table).is_some()
            }) {
                return Err(refusal::type_in_use(name));
            }
        }
    }
    Ok(())
}

fn type_name<'a>(parts: impl IntoIterator<Item = &'a nodes::String>) -> (Option<&'a str>, &'a str) {
    let parts: Vec<&str> = parts.into_iter().filter_map(nodes::String::sval).collect();
    match parts.as_slice() {
        [name] => (None, name),
        [.., schema, name] => (Some(schema), name),
        [] => (None, ""),
    }
}

fn renamed(rename: &nodes::RenameStmt, names: Names<'_>) -> Result<(), ClientError> {
    let new = rename.newname().unwrap_or_default();
    let Some(range) = rename.relation() else {
        if let (ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN, Node::NodeList(parts)) =
            (rename.rename_type, rename.object())
            && let (schema, name) = type_name(parts.into_iter().filter_map(|part| match part {
                Node::String(part) => Some(part),
                _ => None,
            }))
            && names.policy.names_type(schema, name)
        {
            return Err(refusal::rename());
        }
        let schema =
            |name: Option<&str>| names.policy.tables().any(|(table, _)| Some(table.schema.as_str()) == name);
        let touches = rename.rename_type == ObjectType::OBJECT_SCHEMA
            && (schema(rename.subname()) || schema(rename.newname()));
        return if touches { Err(refusal::rename()) } else { Ok(()) };
    };
    let bare = range.relname().unwrap_or_default();
    let meaning = names.meaning(range.schemaname(), bare);
    match rename.rename_type {
        ObjectType::OBJECT_COLUMN => match meaning {
            Meaning::Protected(relation) if !is_view(relation) => {
                let columns = relation.cells(names.policy);
                let protected = |name: Option<&str>| name.is_some_and(|name| columns.contains_key(name));
                if protected(rename.subname()) || protected(rename.newname()) {
                    return Err(refusal::rename());
                }
                Ok(())
            }
            Meaning::Reaching(relation) if !is_view(relation) => {
                Err(refusal::reaches_protected(&relation.name))
            }
            Meaning::Ambiguous => Err(refusal::ambiguous_relation(bare)),
            _ => Ok(()),
        },
        ObjectType::OBJECT_TABCONSTRAINT => {
            let is_check = |name: Option<&str>| name.is_some_and(|name| name.starts_with(CHECK_PREFIX));
            let ours = is_check(rename.subname()) || is_check(rename.newname());
            match meaning {
                Meaning::Plain(_) | Meaning::Unknown => Ok(()),
                _ if ours => Err(refusal::check_stays()),
                _ => Ok(()),
            }
        }
        ObjectType::OBJECT_TRIGGER
        | ObjectType::OBJECT_POLICY
        | ObjectType::OBJECT_RULE
        | ObjectType::OBJECT_ATTRIBUTE => Ok(()),
        _ => match meaning {
            Meaning::NotCreated(_) => Err(refusal::rename()),
            Meaning::Ambiguous => Err(refusal::ambiguous_relation(bare)),
            Meaning::Plain(relation) | Meaning::Protected(relation) | Meaning::Reaching(relation)
                if names.is_unique(range.schemaname(), bare) =>
            {
                let hides = |schema: &String| *schema != TEMPORARY;
                if relation.name.schema == TEMPORARY && names.policy.schemas_with_table(new).iter().any(hides)
                {
                    return Err(refusal::shadows(new));
                }
                takes(names, &relation.name.schema, bare)?;
                takes(names, &relation.name.schema, new)
            }
            _ => match range.schemaname() {
                Some(schema) => takes(names, schema, new),
                None if names.policy.schemas_with_table(new).is_empty() => Ok(()),
                None => Err(refusal::rename()),
            },
        },
    }
}

fn is_view(relation: &Relation) -> bool {
    matches!(relation.kind, Kind::View { .. } | Kind::MaterializedView)
}

fn moved(alter: &nodes::AlterObjectSchemaStmt, names: Names<'_>) -> Result<(), ClientError> {
    let Some(range) = alter.relation() else { return Ok(()) };
    let bare = range.relname().unwrap_or_default();
    match names.meaning(range.schemaname(), bare) {
        Meaning::NotCreated(_) => Err(refusal::rename()),
        Meaning::Protected(relation) if names.policy.table(&relation.name).is_some() => {
            Err(refusal::rename())
        }
        Meaning::Ambiguous => Err(refusal::ambiguous_relation(bare)),
        _ => takes(names, alter.newschema().unwrap_or_default(), bare),
    }
}

/// A protected table's name stands for that table alone: another may hold anything in clear.
fn takes(names: Names<'_>, schema: &str, bare: &str) -> Result<(), ClientError> {
    match names.policy.table(&QualifiedName::new(schema, bare)) {
        Some(_) => Err(refusal::rename()),
        None => Ok(()),
    }
}

fn published(all: bool, objects: &list::NodeList, names: Names<'_>) -> Result<(), ClientError> {
    let whole = |object: Node<'_>| match object {
        Node::PublicationObjSpec(object) => match object.pubobjtype {
            PublicationObjSpecType::PUBLICATIONOBJ_TABLES_IN_SCHEMA => {
                names.policy.tables().any(|(table, _)| Some(table.schema.as_str()) == object.name())
            }
            PublicationObjSpecType::PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA => true,
            _ => false,
        },
        _ => false,
    };
    if all || objects.iter().any(whole) {
        return Err(refusal::replication("a publication of all tables, of the database or a schema,"));
    }
    Ok(())
}

/// A function that the server will call without its name in the statement.
fn implicit_call(name: &list::NodeList, names: Names<'_>) -> Result<(), ClientError> {
    called(name.iter().next_back().and_then(Node::as_str), names)
}

fn called(name: Option<&str>, names: Names<'_>) -> Result<(), ClientError> {
    match name {
        Some(name) if names.catalog.function_reaches(name) || TEXT_RUNNERS.contains(&name) => {
            Err(refusal::function(name))
        }
        _ => Ok(()),
    }
}
