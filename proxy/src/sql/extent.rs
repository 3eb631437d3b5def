//! How far a statement goes, for the limits of a user's envelope: whether it writes, and which tables it
//! touches. What cannot be told counts as a write, and as touching tables that no envelope names.
//!
//! What the database does by itself counts to the table that is named: triggers, rules, defaults, and the
//! actions of foreign keys. None of it reaches a protected table that its own definition does not name,
//! and a view's definition is followed.

use super::plan::Tables;
use super::resolve::Names;
use super::{Refusal, calls, children, mentions};
use crate::policy::QualifiedName;
use crate::policy::catalog::{Reach, TEXT_RUNNERS};
use pg_raw_parse::{Node, nodes};

/// What was found.
#[derive(Default)]
pub(super) struct Extent {
    /// Whether it changes anything.
    pub(super) writes: bool,
    /// What it touches.
    pub(super) tables: Tables,
}

/// Walks a statement. Where nothing is protected, no envelope is asked for, and nothing is told.
pub(super) fn of(statement: Node<'_>, names: Names<'_>) -> Result<Extent, Refusal> {
    let mut found = Extent { writes: !reads_only(statement), ..Extent::default() };
    if names.policy.is_empty() {
        return Ok(found);
    }
    if !moves_rows(statement) {
        found.tables.leave_open();
    }
    let (mut ctes, mut aliases, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
    children::walk(statement, |node| {
        match node {
            Node::RangeVar(range) => ranges.push(range),
            Node::CommonTableExpr(cte) => ctes.extend(cte.ctename()),
            Node::LockingClause(locking) => {
                found.writes = true;
                aliases.extend(mentions::locations(locking.locked_rels()));
            }
            Node::IntoClause(_) => {
                found.writes = true;
                found.tables.leave_open();
            }
            Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
                found.writes = true;
            }
            Node::FuncCall(call) => {
                let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
                let own = names.catalog.own_function(name);
                found.writes |= own.unwrap_or(false) || writes(name);
                if own.is_some() || TEXT_RUNNERS.contains(&name) {
                    found.tables.leave_open();
                }
            }
            _ => {}
        }
        Ok::<(), Refusal>(())
    })?;
    for (name, _) in calls::of(statement, names)? {
        found.writes |= names.catalog.own_function(name).unwrap_or(true);
        found.tables.leave_open();
    }
    for range in ranges {
        // A view that calls what is volatile stands among the functions.
        found.writes |= range.relname().and_then(|name| names.catalog.own_function(name)).unwrap_or(false);
        if !aliases.contains(&range.location) {
            named(range, &ctes, names, &mut found.tables);
        }
    }
    Ok(found)
}

/// Adds what a name may mean, and the protected tables behind it.
fn named(range: &nodes::RangeVar, ctes: &[&str], names: Names<'_>, tables: &mut Tables) {
    let name = range.relname().unwrap_or_default();
    let schema = range.schemaname().or_else(|| names.schema_by_path(None, name));
    let candidates = match schema {
        Some(schema) => vec![QualifiedName::new(schema, name)],
        None => names.candidates(name),
    };
    if candidates.is_empty() && !ctes.contains(&name) {
        tables.leave_open();
    }
    for candidate in candidates.iter().filter(|candidate| !is_of_the_system(candidate)) {
        tables.add(candidate);
        let Some(relation) = names.catalog.relation(candidate) else { continue };
        relation.protected_tables(names.policy).for_each(|table| tables.add(table));
        if relation.reach == Reach::Protected {
            tables.leave_open();
        }
    }
}

/// The database's descriptions of itself, which drivers read when they like. Statistics and large objects
/// are there too, and hold what the tables hold.
fn is_of_the_system(name: &QualifiedName) -> bool {
    let holds_values = name.name.starts_with("pg_stat") || name.name.starts_with("pg_largeobject");
    name.schema == "information_schema" || (name.schema == "pg_catalog" && !holds_values)
}

/// Statements that move rows, or none, and name the tables of all of them. DDL and maintenance, and what
/// runs text of its own, are for an envelope that is for all tables.
fn moves_rows(statement: Node<'_>) -> bool {
    match statement {
        Node::ExplainStmt(explain) => moves_rows(explain.query()),
        Node::InsertStmt(_)
        | Node::UpdateStmt(_)
        | Node::DeleteStmt(_)
        | Node::MergeStmt(_)
        | Node::TruncateStmt(_)
        | Node::LockStmt(_)
        | Node::NotifyStmt(_)
        | Node::CopyStmt(_) => true,
        other => reads_only(other),
    }
}

/// Whether it reads a COPY from the client.
pub(super) fn copies_in(statement: Node<'_>) -> bool {
    matches!(statement, Node::CopyStmt(copy) if copy.is_from && !copy.is_program && copy.filename().is_none())
}

/// Statements that change nothing by themselves; writing WITH queries, locks and functions count on top,
/// and so does what a prepared statement or a cursor does.
fn reads_only(statement: Node<'_>) -> bool {
    if let Node::CopyStmt(copy) = statement {
        return !copy.is_from && !copy.is_program && copy.filename().is_none();
    }
    if let Node::TransactionStmt(transaction) = statement {
        use nodes::TransactionStmtKind::{TRANS_STMT_COMMIT_PREPARED, TRANS_STMT_ROLLBACK_PREPARED};
        // They end what another session has written.
        return !matches!(transaction.kind, TRANS_STMT_COMMIT_PREPARED | TRANS_STMT_ROLLBACK_PREPARED);
    }
    matches!(
        statement,
        Node::SelectStmt(_)
            | Node::VariableShowStmt(_)
            | Node::VariableSetStmt(_)
            | Node::ExplainStmt(_)
            | Node::DeclareCursorStmt(_)
            | Node::FetchStmt(_)
            | Node::ClosePortalStmt(_)
            | Node::PrepareStmt(_)
            | Node::ExecuteStmt(_)
            | Node::DeallocateStmt(_)
            | Node::DiscardStmt(_)
            | Node::ConstraintsSetStmt(_)
            | Node::ListenStmt(_)
            | Node::UnlistenStmt(_)
    )
}

/// Functions of PostgreSQL that change what others see, in the database or on its host. Locks until the
/// session's or the transaction's end, and settings of the session, are none of it: a transaction that is
/// READ ONLY may take them as well.
fn writes(function: &str) -> bool {
    const NAMES: [&str; 15] = [
        "gin_clean_pending_list",
        "lowrite",
        "nextval",
        "pg_cancel_backend",
        "pg_extension_config_dump",
        "pg_import_system_collations",
        "pg_log_backend_memory_contexts",
        "pg_nextoid",
        "pg_notify",
        "pg_promote",
        "pg_reload_conf",
        "pg_stop_making_pinned_objects",
        "pg_switch_wal",
        "pg_terminate_backend",
        "setval",
    ];
    const PREFIXES: [&str; 24] = [
        "binary_upgrade_",
        "brin_desummarize_",
        "brin_summarize_",
        "lo_creat",
        "lo_export",
        "lo_from_",
        "lo_import",
        "lo_put",
        "lo_truncate",
        "lo_unlink",
        "pg_backup_",
        "pg_clear_",
        "pg_copy_",
        "pg_create_",
        "pg_drop_",
        "pg_logical_emit_",
        "pg_logical_slot_get_",
        "pg_replication_",
        "pg_restore_",
        "pg_rotate_logfile",
        "pg_start_backup",
        "pg_stat_reset",
        "pg_sync_replication_",
        "pg_wal_replay_",
    ];
    NAMES.contains(&function) || PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}
