//! Statement analysis, and the texts that it makes. A text is written in bytes below 128, which stand for
//! themselves, and others, which stand for words of the tests' corpus. After a byte 0 it stands as it is:
//! so vectors are kept.

use super::corpus::{CASES, MARKER, TABLES, WORDS, names_protected, tokens};
use std::convert::Infallible;
use std::sync::Once;
use trefoil_proxy::sql::{self, Context, Plan, ResultColumn, Shape};

/// Analyses a text. One that reads or writes a protected table is changed or known to, and what it becomes
/// is a text. What would be kept for others of its shape says of these what their own analysis says.
pub fn run(data: &[u8]) -> bool {
    tolerate_the_parsers_panics();
    let text = written(data);
    let (policy, catalog) = &*TABLES;
    let context = Context { policy, catalog, prepared: &|_| None, audited: false };
    let Ok(plan) = sql::analyze(&text, &context) else { return false };
    let Ok(readable) = str::from_utf8(&text) else { return true };
    if !plan.protected && plan.edits.is_empty() {
        assert!(!names_protected(readable), "passes untouched: {readable}");
        return true;
    }
    let rewritten = plan.rewrite(
        &text,
        |_, _, _, _, cells| {
            cells.push(Some(vec![0x12, 1]));
            Ok::<_, Infallible>(())
        },
        str::to_owned,
    );
    let Ok(rewritten) = rewritten;
    let rewritten = str::from_utf8(&rewritten).expect("a text of a text");
    assert!(pg_raw_parse::parse(rewritten).is_ok(), "{readable} becomes {rewritten}");
    if let Some(shape) = Shape::of(&text) {
        let mut kept = plan;
        if kept.generalize(&text, &shape) {
            (0..shape.literals.len())
                .for_each(|index| is_as_analysed(&kept, &varied(&text, &shape, index), &context));
        }
    }
    true
}

/// The text with another value in the place of one literal.
fn varied(text: &[u8], shape: &Shape, index: usize) -> Vec<u8> {
    let mut varied = text.to_vec();
    if let Some(literal) = shape.literals.get(index) {
        let other: &[u8] = match text.get(literal.start) {
            Some(b'\'') => b"'patients''1'",
            _ if text.get(literal.clone()).is_some_and(|number| number.contains(&b'.')) => b"9.25",
            _ => b"2",
        };
        varied.splice(literal.clone(), other.iter().copied());
    }
    varied
}

fn is_as_analysed(kept: &Plan, text: &[u8], context: &Context<'_>) {
    let shape = Shape::of(text).expect("a text of the same shape");
    if !kept.serves(text, &shape) {
        return;
    }
    let readable = String::from_utf8_lossy(text);
    let Ok(own) = sql::analyze(text, context) else { panic!("refused by itself: {readable}") };
    assert_eq!(said(kept, text), said(&own, text), "{readable}");
}

/// What of a plan depends on literals, if anything does.
fn said(plan: &Plan, text: &[u8]) -> String {
    let sent = plan.rewrite(
        text,
        |column, literal, purpose, single, cells| {
            cells.push(Some(format!("{} {literal} {purpose:?} {single:?}", column.id).into_bytes()));
            Ok::<_, Infallible>(())
        },
        str::to_owned,
    );
    let Ok(sent) = sent;
    let cells = |result: &ResultColumn| match result {
        ResultColumn::Plain => None,
        ResultColumn::Cell(column) => Some(column.id),
    };
    let results = plan.statements.iter().flat_map(|statement| &statement.results);
    let results: Vec<Vec<_>> = results.map(|results| results.iter().map(cells).collect()).collect();
    format!("{} {results:?} {} {}", String::from_utf8_lossy(&sent), plan.protected, plan.writes)
}

/// Some trees make the parser's crate panic where it walks them; the analysis refuses these texts. libFuzzer
/// would end at any panic: with this it ends at those that nobody catches.
pub(super) fn tolerate_the_parsers_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if cfg!(fuzzing) {
            std::panic::set_hook(Box::new(|panic| {
                if !panic.location().is_some_and(|place| place.file().contains("pg_raw_parse")) {
                    eprintln!("{panic}");
                }
            }));
        }
    });
}

fn written(data: &[u8]) -> Vec<u8> {
    if let Some((0, text)) = data.split_first() {
        return text.to_vec();
    }
    let mut text = Vec::new();
    for byte in data {
        match byte.checked_sub(128).and_then(|index| WORDS.get(usize::from(index))) {
            Some(word) => {
                text.push(b' ');
                text.extend_from_slice(word.as_bytes());
                text.push(b' ');
            }
            None => text.push(*byte & 0x7f),
        }
    }
    text
}

/// The corpus's statements, those that are understood.
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |text: &str| {
        let mut seed = Vec::new();
        for token in tokens(&text.replace(MARKER, "x")) {
            match WORDS.iter().take(128).position(|word| *word == token).map(u8::try_from) {
                Some(Ok(index)) => seed.push(128 + index),
                _ => {
                    seed.push(b' ');
                    seed.extend(token.bytes().map(|byte| byte & 0x7f));
                }
            }
        }
        seed
    };
    CASES.iter().map(|case| seed(&case.text)).filter(|seed| run(seed)).collect()
}
