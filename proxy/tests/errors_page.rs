//! `docs/errors.md` explains each error code, and each of its examples is refused with the code that it
//! stands under.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use support::on_a_large_stack;
use trefoil_proxy::error::Code;
use trefoil_proxy::policy::Policy;
use trefoil_proxy::sql::{self, Context, Refusal};

const PAGE: &str = include_str!("../../docs/errors.md");

/// The sections of the page: a code and what stands under its heading.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n### ").skip(1).map(|section| section.split_at(5))
}

/// The fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let open = format!("```{language}\n");
    text.split(open.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn every_code_has_its_section_and_every_section_its_code() {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    let sections: Vec<&str> = sections().map(|(code, _)| code).collect();
    let unique: BTreeSet<&str> = codes.iter().copied().collect();
    assert_eq!(unique.len(), codes.len(), "two reasons share a code: {codes:?}");
    assert_eq!(sections, codes, "the page and the codes are not in step");
}

#[test]
fn every_example_is_refused_with_its_code() {
    on_a_large_stack(|| {
        let policy = Policy::parse(blocks(PAGE, "toml")[0]).unwrap();
        let schema = format!("{}; CREATE TABLE public.plain (id int)", blocks(PAGE, "sql")[0]);
        // A table from before the policy: in clear.
        let notes = sql::schema("CREATE TABLE public.notes (id int, body text)", &Policy::default()).unwrap();
        let mut catalog = sql::schema(&schema, &policy).unwrap();
        for relation in notes.relations() {
            catalog = catalog.with_relation(relation.as_ref().clone()).into();
        }
        let (mut examples, mut wrong) = (0, Vec::new());
        for (code, section) in sections() {
            for example in blocks(section, "sql") {
                examples += 1;
                let refusal = sql::analyze(
                    example.as_bytes(),
                    &Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false },
                );
                match refusal {
                    Err(Refusal::Refused(error) | Refusal::UnknownRelation(error)) => {
                        if error.code.map(Code::id) != Some(code) || error.hint.is_empty() {
                            wrong.push(format!("{code}: {example}: {error:?}; hint: {}", error.hint));
                        }
                    }
                    Ok(_) => wrong.push(format!("{code}: not refused: {example}")),
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(examples > 30);
    });
}
