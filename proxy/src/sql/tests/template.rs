//! Texts of one shape: what a kept plan says of other literals must be what their own analysis says.

use super::super::{Plan, Refusal, ResultColumn, Shape};
use super::{letter, parameters, plan, refused, results};
use std::convert::Infallible;

/// With other literals where `replaced` says so.
fn varied(text: &str, shape: &Shape, replaced: impl Fn(usize) -> bool, by: [&str; 3]) -> String {
    let [string, integer, decimal] = by;
    let mut varied = String::new();
    let mut from = 0;
    for (index, literal) in shape.literals.iter().enumerate() {
        let old = &text[literal.clone()];
        let new = match old {
            _ if !replaced(index) => old,
            _ if old.starts_with('\'') => string,
            _ if old.contains('.') => decimal,
            _ => integer,
        };
        varied.push_str(&text[from..literal.start]);
        varied.push_str(new);
        from = literal.end;
    }
    varied + &text[from..]
}

fn upstream(plan: &Plan, text: &str) -> String {
    let Ok(sent) = plan.rewrite(
        text.as_bytes(),
        |column, literal, purpose, single, cells| {
            let cell = format!("{}:{literal}:{}:{single:?}", column.name, letter(purpose));
            cells.push(Some(cell.into_bytes()));
            Ok::<(), Infallible>(())
        },
        |_| String::new(),
    );
    String::from_utf8(sent).unwrap()
}

fn said(plan: &Plan, text: &str) -> String {
    let written: Vec<&str> = plan.written.iter().map(|column| column.name.as_str()).collect();
    format!(
        "{} ({}) {} {} {} {written:?} [{}]",
        upstream(plan, text),
        parameters(plan),
        results(plan),
        plan.protected,
        plan.writes,
        plan.tables.shown()
    )
}

const OTHERS: [[&str; 3]; 2] =
    [["'O''Brien, \u{e9}'", "2", "123456789012345678901234567890.5"], ["'patients'", "99999999999", "0.1"]];

/// Holds the plan that would be kept for a text's shape against the analysis of other texts of it. Not of long
/// texts, which are there for their depth.
pub(super) fn check(text: &str, analyze: impl Fn(&str) -> Result<Plan, Refusal>) {
    if text.len() > 1000 {
        return;
    }
    let (Some(shape), Ok(mut kept)) = (Shape::of(text.as_bytes()), analyze(text)) else { return };
    if kept.is_inert() && shape.has_only_numbers() {
        for by in OTHERS {
            let other = varied(text, &shape, |_| true, by);
            assert!(analyze(&other).is_ok_and(|plan| plan.is_inert()), "{text}: {other}");
        }
        return;
    }
    if !kept.generalize(text.as_bytes(), &shape) {
        return;
    }
    let fixed: Vec<usize> = kept.fixed.iter().flatten().map(|(index, _)| *index).collect();
    for by in OTHERS {
        let other = varied(text, &shape, |index| !fixed.contains(&index), by);
        let of_other = Shape::of(other.as_bytes()).unwrap();
        assert_eq!(of_other.text, shape.text, "{text}: {other}");
        assert!(kept.serves(other.as_bytes(), &of_other), "{text}: {other}");
        let own = analyze(&other).unwrap_or_else(|refusal| panic!("{text}: {other}: {refusal:?}"));
        assert_eq!(said(&kept, &other), said(&own, &other), "{text}");
        for changed in &fixed {
            let changed = varied(&other, &of_other, |index| index == *changed, ["'z'", "77", "7.75"]);
            let of_changed = Shape::of(changed.as_bytes()).unwrap();
            assert!(!kept.serves(changed.as_bytes(), &of_changed), "{text}: {changed}");
        }
    }
}

/// The literals that have to be the same, if a plan is kept for the text's shape.
fn fixed(text: &str) -> Option<Vec<String>> {
    let shape = Shape::of(text.as_bytes())?;
    let mut kept = plan(text).unwrap();
    let literal = |(_, literal): &(usize, Box<[u8]>)| String::from_utf8(literal.to_vec()).unwrap();
    kept.generalize(text.as_bytes(), &shape).then(|| kept.fixed.iter().flatten().map(literal).collect())
}

#[test]
fn a_shapes_plan_leaves_protected_values_and_those_beside_plain_columns_free() {
    for text in [
        "select name from patients where ssn = 'x'",
        "SELECT \"name\" FROM \"patients\" WHERE \"ssn\" = 'x' AND id = 17;",
        "select id from patients where age in (1, 2, 3) and 'x' = ssn",
        "SELECT balance FROM patients WHERE age = 4711;",
        "select id from patients where ssn = any ('{x,y}')",
        "insert into patients (id, name, ssn, age) values (1, 'a', 'x', 30)",
        "insert into patients (id, ssn) values (1, 'x'), (2, 'y')",
        "update patients set name = 'a', id = 4 where ssn = 'x'::text",
        "delete from patients where balance = 1.5 or ssn = 'x'",
        "with p as (select name from patients where ssn = 'x') select name from p",
        "select name from patients where ssn = 'x' union all select name from patients where ssn = 'y'",
    ] {
        assert_eq!(fixed(text), Some(vec![]), "{text}");
    }
}

#[test]
fn what_else_stands_in_a_text_is_fixed() {
    for (text, expected) in [
        ("select name from patients where ssn = 'x' limit 10", vec!["10"]),
        ("select name, id from patients where ssn = 'x' order by 2", vec!["2"]),
        ("select name, 'a' from patients where ssn = 'x' and coalesce(id, 5) = id", vec!["'a'", "5"]),
        ("select name from patients where ssn = 'x' and id = 'a'::regclass", vec!["'a'"]),
    ] {
        assert_eq!(fixed(text), Some(expected.into_iter().map(str::to_owned).collect()), "{text}");
    }
    // By the number, another column.
    refused("select name, id from patients where ssn = 'x' order by 1", "0A000");
}

#[test]
fn no_plan_is_kept_for_a_shape_with_a_share_a_name_or_a_value_that_is_taken_out() {
    for text in [
        "select set_config('trefoil.envelope', 'x', true), name from patients where ssn = 'x'",
        "select name from patients where ssn = 'x' and 'y' is null",
        "select name into made from patients where ssn = 'x'",
        // The value is the number with its sign.
        "select name from patients where age = -1",
    ] {
        let own = plan(text);
        let shape = Shape::of(text.as_bytes()).unwrap();
        assert!(own.is_err() || own.is_ok_and(|mut own| !own.generalize(text.as_bytes(), &shape)), "{text}");
    }
}

#[test]
fn a_shapes_plan_holds_no_protected_value() {
    let text = "select name from patients where ssn = 'MARKER'";
    let shape = Shape::of(text.as_bytes()).unwrap();
    let mut kept = plan(text).unwrap();
    assert!(kept.generalize(text.as_bytes(), &shape));
    assert!(kept.edits.iter().all(|edit| !matches!(edit, super::Edit::Cell { literal: Some(_), .. })));
    assert!(matches!(kept.statements[0].results.as_deref(), Some([ResultColumn::Cell(_)])));
    assert!(kept.free.is_empty() && !String::from_utf8_lossy(&shape.text).contains("MARKER"));
}
