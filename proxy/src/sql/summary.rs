//! What the audit log says of a statement: its fingerprint, tables and columns, as JSON made once with the
//! plan. The fingerprint is over the tokens without literals, comments, white space and parameter numbers;
//! a list of literals counts as one.

use super::plan::{Plan, ResultColumn};
use crate::lex::{Kind, Tokens};
use crate::policy::ProtectedColumn;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use trefoil_keys::signing;

/// Digits of a fingerprint.
const BYTES: usize = 8;

/// The fingerprint of a text that the grammar has accepted, as 16 hexadecimal digits.
pub fn fingerprint(text: &str) -> String {
    fingerprint_of(text, &Tokens::of(text))
}

fn fingerprint_of(text: &str, tokens: &Tokens) -> String {
    let shape = shape(text, tokens);
    let digest = signing::hash(&shape);
    digest.iter().take(BYTES).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The text without what may differ from call to call.
fn shape(text: &str, tokens: &Tokens) -> String {
    let mut shape = String::with_capacity(text.len());
    let all = (0..).map_while(|index| tokens.get(index));
    for token in all {
        let word = text.get(token.range.clone()).unwrap_or_default();
        match token.kind {
            Kind::Word if ["true", "false", "null"].iter().any(|value| word.eq_ignore_ascii_case(value)) => {
                literal(&mut shape);
            }
            Kind::Word => word.chars().for_each(|c| shape.push(c.to_ascii_lowercase())),
            Kind::String | Kind::Number | Kind::Parameter => literal(&mut shape),
            Kind::QuotedWord | Kind::Cast | Kind::Other => shape.push_str(word),
        }
        shape.push(' ');
    }
    shape.truncate(shape.trim_end_matches([' ', ';']).len());
    shape
}

/// A literal, whatever its sign, and however many there are.
fn literal(shape: &mut String) {
    while shape.ends_with("- ") || shape.ends_with("+ ") {
        shape.truncate(shape.len() - 2);
    }
    if shape.ends_with("? , ") {
        shape.truncate(shape.len() - 4);
    }
    shape.push('?');
}

/// The members of a record that say what a text does, as JSON without braces.
pub(super) fn of(text: &str, tokens: &Tokens, plan: &Plan) -> String {
    let (mut opened, mut sealed) = (BTreeSet::new(), BTreeSet::new());
    for statement in &plan.statements {
        for column in statement.results.iter().flat_map(|columns| columns.iter()) {
            if let ResultColumn::Cell(column) = column {
                opened.insert(name(column));
            }
        }
        if let Some(copy) = &statement.copy {
            let into = if copy.from { &mut sealed } else { &mut opened };
            into.extend(copy.cells.iter().flatten().map(name));
        }
    }
    sealed.extend(plan.sealed().chain(&plan.written).map(name));
    let tables: Vec<String> = plan.tables.named().iter().map(ToString::to_string).collect();
    let mut out = format!("\"fingerprint\":\"{}\",\"writes\":{}", fingerprint_of(text, tokens), plan.writes);
    list(&mut out, "tables", &tables);
    list(&mut out, "decrypts", &opened);
    list(&mut out, "encrypts", &sealed);
    all(&mut out, "executes", plan.executes.iter().map(|(_, plan)| plan.summary.as_str()));
    out
}

/// Appends what is said of other texts, each once.
pub(crate) fn all<'a>(out: &mut String, member: &str, summaries: impl Iterator<Item = &'a str>) {
    let summaries: BTreeSet<&str> = summaries.filter(|summary| !summary.is_empty()).collect();
    if !summaries.is_empty() {
        let summaries: Vec<&str> = summaries.into_iter().collect();
        let _ = write!(out, ",\"{member}\":[{{{}}}]", summaries.join("},{"));
    }
}

fn name(column: &Arc<ProtectedColumn>) -> String {
    format!("{}.{}", column.table, column.name)
}

fn list(out: &mut String, member: &str, names: &impl serde::Serialize) {
    let names = serde_json::to_string(names).unwrap_or_default();
    if names != "[]" {
        let _ = write!(out, ",\"{member}\":{names}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_executed_again_and_again_is_said_once() {
        let executed = |summary: &str| {
            (String::new(), Arc::new(Plan { summary: summary.to_owned(), ..Plan::default() }))
        };
        let [one, other, plain] = ["\"fingerprint\":\"a\"", "\"fingerprint\":\"b\"", ""].map(executed);
        let executes = [&one, &other, &plain, &one].map(Clone::clone).to_vec();
        let text = "EXECUTE one; EXECUTE other; EXECUTE plain; EXECUTE one";
        let said = of(text, &Tokens::of(text), &Plan { executes, ..Plan::default() });
        let expected = r#","executes":[{"fingerprint":"a"},{"fingerprint":"b"}]"#;
        assert!(said.ends_with(expected), "{said}");
    }

    #[test]
    fn a_fingerprint_has_neither_literals_nor_form() {
        let one = fingerprint("SELECT name FROM patients WHERE ssn = '078' AND id = 3");
        for same in [
            "select  name from patients where ssn = $tag$secret$tag$ and id = 4;",
            "SELECT name /* who */ FROM patients -- x\n WHERE ssn = $1 AND id = $2",
            "SELECT name FROM patients WHERE ssn = E'\\'' AND id = 1e5",
            "SELECT name FROM patients WHERE ssn = NULL AND id = -7",
            "SELECT name FROM patients WHERE ssn = True AND id = + 7",
        ] {
            assert_eq!(fingerprint(same), one, "{same}");
        }
        for other in [
            "SELECT name FROM patients WHERE ssn = '078' OR id = 3",
            "SELECT ssn FROM patients WHERE ssn = '078' AND id = 3",
            "SELECT \"NAME\" FROM patients WHERE ssn = '078' AND id = 3",
        ] {
            assert_ne!(fingerprint(other), one, "{other}");
        }
        let lists = "SELECT 1 IN (1, 2, 3), 'a', U&'x' UESCAPE '!';";
        assert_eq!(shape(lists, &Tokens::of(lists)), "select ? in ( ? ) , ?");
        assert_eq!(one.len(), 16);
    }
}
