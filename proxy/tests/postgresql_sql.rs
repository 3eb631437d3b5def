//! PostgreSQL's own regression tests and other collections of SQL, which the parser's crate carries,
//! analysed with every second column of their tables protected: no panic, and no statement that names a
//! protected table and one of its protected columns passes untouched.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use support::collection::{self, Statement};
use support::on_a_large_stack;
use trefoil_proxy::policy::{Policy, catalog::Catalog};
use trefoil_proxy::sql::{self, Context};

/// Statements that name columns and carry no value.
const WITHOUT_VALUES: [&str; 14] = [
    "grant",
    "revoke",
    "drop",
    "lock",
    "vacuum",
    "analyze",
    "analyse",
    "comment",
    "reindex",
    "cluster",
    "security",
    "reassign",
    "refresh",
    "alter sequence",
];

/// The file whose tables the others use, too.
const SET_UP: &str = "test_setup.sql";

#[test]
fn nothing_that_names_a_protected_column_passes_untouched() {
    on_a_large_stack(|| {
        let statements = collection::statements();
        assert!(statements.len() > 30_000, "only {} statements", statements.len());
        let set_up: Vec<&Statement> =
            statements.iter().filter(|statement| statement.file == SET_UP).collect();
        // Where the parser's crate panics, the statement is refused: not worth a line here.
        std::panic::set_hook(Box::new(|_| {}));
        let (mut touched, mut refused, mut wrong) = (0, BTreeMap::<_, usize>::new(), Vec::new());
        for file in statements.chunk_by(|a, b| a.file == b.file) {
            let (policy, catalog) = protected_tables(set_up.iter().copied().chain(file));
            let context = Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false };
            for statement in file {
                match sql::analyze(statement.text.as_bytes(), &context) {
                    Ok(plan) if plan.protected || !plan.edits.is_empty() => touched += 1,
                    Ok(_) => wrong.extend(named(statement, &policy)),
                    Err(sql::Refusal::Refused(error) | sql::Refusal::UnknownRelation(error)) => {
                        *refused.entry(error.code.map_or(error.sqlstate, |code| code.id())).or_default() += 1;
                    }
                }
            }
        }
        drop(std::panic::take_hook());
        println!("{} statements, {touched} touch, refused: {refused:?}", statements.len());
        assert!(touched > 5_000, "only {touched} touch a protected table: the test has lost its sense");
        assert!(wrong.is_empty(), "{} pass untouched:\n{}", wrong.len(), wrong.join("\n"));
    });
}

/// A report, if the statement's tokens are those of a protected table and one of its protected columns.
fn named(statement: &Statement, policy: &Policy) -> Option<String> {
    let lower = statement.text.trim_start().to_lowercase();
    if WITHOUT_VALUES.iter().any(|form| lower.starts_with(form)) {
        return None;
    }
    let words = collection::words(&statement.text);
    // Shorter names are those of aliases and columns, too.
    let mut tables = policy.tables().filter(|(table, _)| table.name.len() > 3 && table.name != "source");
    let (table, _) = tables.find(|(table, columns)| {
        words.contains(&table.name) && columns.keys().any(|name| words.contains(name))
    })?;
    Some(format!("{}: {}: {}", statement.file, table.name, statement.text.replace('\n', " ")))
}

/// Every table that the statements make, with every second column protected.
fn protected_tables<'s>(statements: impl Iterator<Item = &'s Statement>) -> (Policy, Arc<Catalog>) {
    let mut definitions = String::new();
    for Statement { text, .. } in statements {
        if text.to_lowercase().starts_with("create table ") && pg_raw_parse::parse(text).is_ok() {
            definitions.push_str(text);
            definitions.push_str(";\n");
        }
    }
    let plain = sql::schema(&definitions, &Policy::default()).unwrap();
    let mut text = String::new();
    for table in plain.relations().filter(|table| table.name.schema == "public") {
        let columns: Vec<&str> = table.columns.iter().flatten().map(|column| column.name.as_str()).collect();
        if columns.len() < 2 || !table.name.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        text.push_str(&format!("[tables.\"public.{}\"]\n", table.name.name));
        for (index, column) in columns.iter().enumerate().filter(|(index, _)| index % 2 == 1) {
            let mode = if index % 4 == 1 { "deterministic" } else { "randomized" };
            text.push_str(&format!("{column:?} = {{ type = \"text\", mode = \"{mode}\" }}\n"));
        }
    }
    let policy = Policy::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let catalog = sql::schema(&definitions, &policy).unwrap();
    (policy, catalog)
}
