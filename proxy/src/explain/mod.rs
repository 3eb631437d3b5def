//! `trefoil-proxy explain`: what the proxy would do with a statement, in words, and why it would refuse
//! it. Nothing is executed, and no key is needed.

mod command;

pub use command::{ExplainArguments, run};

use crate::error::ClientError;
use crate::policy::{Denied, Policy, ProtectedColumn, Purpose, catalog::Catalog, oid};
use crate::sql::{self, Context, Edit, Parameter, Plan, Refusal, ResultColumn};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use trefoil_keys::cell::Mode;

/// What came of a text.
pub struct Explanation {
    /// The report, for people.
    pub text: String,
    /// Whether the text would be refused.
    pub refused: bool,
}

/// Explains a text of one or more statements. Needs the stack that [`sql::analyze`] needs.
pub fn explain(text: &str, policy: &Policy, catalog: &Arc<Catalog>) -> Explanation {
    match sql::analyze(text.as_bytes(), &Context { policy, catalog, prepared: &|_| None, audited: false }) {
        Ok(plan) => Explanation { text: planned(text, &plan), refused: false },
        Err(Refusal::UnknownRelation(error) | Refusal::Refused(error)) => {
            Explanation { text: refused(text, &error), refused: true }
        }
    }
}

/// What the policy protects, and whether the tables are as it wants them.
pub fn overview(policy: &Policy, catalog: &Catalog) -> String {
    let mut out = String::new();
    for column in policy.columns() {
        let found = catalog.relation(&column.table);
        let stored =
            found.map(|table| table.columns.iter().flatten().find(|stored| stored.name == column.name));
        let state = match stored {
            None => "the table is not there",
            Some(None) => "the table has no such column",
            Some(Some(stored)) if stored.type_oid == oid::BYTEA => "stored as cells",
            Some(Some(_)) => "not migrated: the table holds it in clear, and statements on it are refused",
        };
        let _ = writeln!(
            out,
            "{}, domain {}, keyspace {}{}: {state}",
            described(column),
            column.domain,
            column.keyspace,
            instead(column).map(|shown| format!(" (without a share: {shown})")).unwrap_or_default()
        );
    }
    out
}

fn refused(text: &str, error: &ClientError) -> String {
    let code = error.code.map_or(String::new(), |code| format!(" {}", code.id()));
    let mut out = format!("refused: {}{code}: {}\n", error.sqlstate, error.message);
    if let Some(at) = error.position {
        out.push_str(&pointed(text, at));
    }
    if !error.hint.is_empty() {
        let _ = writeln!(out, "  hint: {}", error.hint);
    }
    out
}

/// The line of the text that holds byte `at`, with carets under the token there.
fn pointed(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let token = sql::token_at(text, at).map_or(1, |range| {
        text.get(range).map_or(1, |token| token.lines().next().map_or(1, |line| line.chars().count()))
    });
    // Tabs stay tabs, so that the carets stand where the terminal puts the token.
    let indent: String =
        text.get(start..at).unwrap_or_default().chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
    let prefix = format!("  line {number}: ");
    format!("{prefix}{line}\n{}{indent}{}\n", " ".repeat(prefix.len()), "^".repeat(token.max(1)))
}

fn planned(text: &str, plan: &Plan) -> String {
    let mut out = String::new();
    if !plan.protected {
        out.push_str("passes as it is: nothing protected is touched\n");
        if plan.edits.is_empty() {
            return out;
        }
    }
    let needs = needs(plan);
    if plan.protected {
        let _ = writeln!(out, "touches protected tables, {needs}");
        let _ = writeln!(out, "  audit     fingerprint {}", sql::fingerprint(text));
    }
    if plan.edits.is_empty() {
        out.push_str("  text      goes up unchanged\n");
    } else {
        let _ = writeln!(out, "  text      {}", indented(&rewritten(text, plan)));
    }
    for edit in &plan.edits {
        if let Edit::Cell { range, column, purpose, .. } = edit {
            let _ = writeln!(out, "  literal   {} {}", place(text, range.start), becomes(column, *purpose));
        }
    }
    for (index, parameter) in plan.parameters.iter().enumerate() {
        let _ = writeln!(out, "  parameter ${} {}", index + 1, parameter_words(parameter));
    }
    for copy in &plan.twins {
        let _ =
            writeln!(out, "  parameter ${} goes up again, and {}", copy.of + 1, parameter_words(&copy.usage));
    }
    let many = plan.statements.len() > 1;
    if let Some(copy) = plan.copy() {
        let becomes = if copy.from { "is stored as a cell of" } else { "is decrypted as" };
        for (column, cell) in copy.layout.columns.iter().zip(&copy.cells) {
            let words = cell
                .as_ref()
                .map_or("passes as it is".to_owned(), |cell| format!("{becomes} {}", described(cell)));
            let _ = writeln!(out, "  data      column {} {words}", column.name);
        }
    }
    for (number, statement) in plan.statements.iter().enumerate() {
        let Some(columns) = &statement.results else { continue };
        for (index, column) in columns.iter().enumerate() {
            let of = if many { format!(" of statement {}", number + 1) } else { String::new() };
            let _ =
                writeln!(out, "  result    column {}{of} {}", index + 1, result_words(column, plan.writes));
        }
    }
    out
}

fn needs(plan: &Plan) -> String {
    let effect = if plan.writes { "writes" } else { "reads" };
    let masks = plan.sealed().chain(&plan.written).filter_map(|column| column.denied.stored());
    let needed = columns(plan).map(|column| column.keyspace.as_str());
    let keyspaces: BTreeSet<&str> = needed.chain(masks.map(|last| last.keyspace.as_str())).collect();
    let optional = results(plan).filter(|column| !plan.writes && instead(column).is_some());
    let optional: BTreeSet<&str> = optional.map(|column| column.keyspace.as_str()).collect();
    if keyspaces.is_empty() && optional.is_empty() && !plan.writes {
        return format!("{effect}; no share is needed");
    }
    let listed = |keyspaces: Vec<&str>| keyspaces.join(", ");
    let more: Vec<&str> = optional.difference(&keyspaces).copied().collect();
    let needed = match keyspaces.is_empty() {
        true => "needs the user's shares".to_owned(),
        false => format!("needs the user's shares for {}", listed(keyspaces.into_iter().collect())),
    };
    match more.is_empty() {
        true => format!("{effect}; {needed}"),
        false => format!("{effect}; {needed}, and those for {} to see all", listed(more)),
    }
}

/// Every protected column whose keyspace the user must have.
fn columns(plan: &Plan) -> impl Iterator<Item = &Arc<ProtectedColumn>> {
    let shown = results(plan).filter(|column| plan.writes || instead(column).is_none());
    let copied = plan.copy().into_iter().flat_map(|copy| copy.cells.iter().flatten());
    plan.sealed().chain(&plan.written).chain(shown).chain(copied)
}

/// Every protected column whose values come back.
fn results(plan: &Plan) -> impl Iterator<Item = &Arc<ProtectedColumn>> {
    let results = plan.statements.iter().flat_map(|s| s.results.iter().flat_map(|r| r.iter()));
    results.filter_map(|column| match column {
        ResultColumn::Cell(column) => Some(column),
        ResultColumn::Plain => None,
    })
}

/// What is shown to a user without a share in the column's keyspace; `None` if the statement is refused.
fn instead(column: &ProtectedColumn) -> Option<String> {
    match &column.denied {
        Denied::Refuse => None,
        Denied::Null => Some("NULL".to_owned()),
        Denied::Text(text) => Some(format!("'{text}'")),
        Denied::Last(last) => {
            Some(format!("stars and the last {}, with one in {}", last.characters(), last.keyspace))
        }
    }
}

/// The text as it would go up, with cells by the name of their column.
fn rewritten(text: &str, plan: &Plan) -> String {
    let mut out = String::new();
    let mut from = 0;
    for edit in &plan.edits {
        let range = edit.range();
        out.push_str(text.get(from..range.start).unwrap_or_default());
        from = range.end;
        match edit {
            Edit::Text { with, .. } => out.push_str(with),
            Edit::Cell { column, .. } => {
                let _ = write!(out, "'\\x‹cell of {}›'::bytea", column.name);
            }
            Edit::Shown { name, .. } => {
                let _ = write!(out, "SELECT ‹what may be shown of trefoil.{name}›");
            }
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

fn indented(text: &str) -> String {
    text.trim_end().lines().collect::<Vec<_>>().join("\n            ")
}

fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("at line {line}, column {column}")
}

fn becomes(column: &ProtectedColumn, purpose: Purpose) -> String {
    let purpose = match purpose {
        Purpose::Assign => "stored in",
        Purpose::Compare => "compared with",
        Purpose::Flow => "stored in or compared with",
    };
    format!("becomes a cell, {purpose} {}", described(column))
}

fn described(column: &ProtectedColumn) -> String {
    let mode = match column.mode {
        Mode::Randomized => "randomized",
        Mode::Deterministic => "deterministic",
    };
    format!("{}.{} ({}, {mode})", column.table, column.name, column.logical.sql_name())
}

fn parameter_words(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Plain => "goes up in clear".to_owned(),
        Parameter::Cell(column, purpose) => becomes(column, *purpose),
        Parameter::Cells(column, purpose) => {
            format!("is an array; each element {}", becomes(column, *purpose))
        }
        Parameter::Tested { .. } => "is only tested for NULL: its value does not go up".to_owned(),
        Parameter::Carrier { name, .. } => format!("is the value of trefoil.{name}, which the proxy keeps"),
        Parameter::SettingName => "is the name of a setting: refused if it begins with trefoil.".to_owned(),
    }
}

fn result_words(column: &ResultColumn, writes: bool) -> String {
    let ResultColumn::Cell(column) = column else { return "comes as it is".to_owned() };
    let decrypted = format!("is decrypted as {}", described(column));
    match instead(column).filter(|_| !writes) {
        Some(shown) => format!("{decrypted}; without a share in {}: {shown}", column.keyspace),
        None => decrypted,
    }
}
