//! Names that the search path decides.

use super::{catalog, on_large_stack, relation, shown, template};
use crate::policy::catalog::{Catalog, Reach};
use crate::policy::{Policy, QualifiedName};
use crate::sql::{Context, Plan, Refusal, SearchPath, analyze_by};
use std::sync::Arc;

const POLICY: &str = r#"
[tables."public.patients"]
ssn = { type = "text", mode = "deterministic", domain = "ssn" }
[tables."tenant_a.accounts"]
owner = { type = "text", mode = "deterministic" }
[tables."tenant_b.accounts"]
owner = { type = "text", mode = "deterministic" }
"#;

fn tenants() -> Arc<Catalog> {
    let columns = [("id", 23), ("owner", 17)];
    let mut whole = (*catalog()).without(&QualifiedName::new("public", "visits"));
    whole.replace(relation(50, "tenant_a", "accounts", &columns, Reach::None));
    whole.replace(relation(51, "tenant_b", "accounts", &columns, Reach::None));
    whole.replace(relation(52, "other", "patients", &[("id", 23), ("ssn", 25)], Reach::None));
    Arc::new(whole)
}

fn path(schemas: &[&str]) -> Arc<SearchPath> {
    let creation = schemas.iter().find(|schema| !schema.starts_with("pg_"));
    Arc::new(SearchPath::new(
        schemas.iter().map(|schema| (*schema).to_owned()),
        creation.map(|schema| (*schema).to_owned()),
    ))
}

fn plan(text: &str, schemas: Option<&[&str]>) -> (Result<Plan, Refusal>, bool) {
    let (text, path) = (text.to_owned(), schemas.map(path));
    on_large_stack(move || {
        let policy = Policy::parse(POLICY).unwrap();
        let context = Context { policy: &policy, catalog: &tenants(), prepared: &|_| None, audited: false };
        let analyze = |text: &str| analyze_by(text.as_bytes(), &context, path.as_ref());
        template::check(&text, |text| analyze(text).0);
        analyze(&text)
    })
}

#[track_caller]
fn becomes(schemas: &[&str], text: &str, expected: &str) {
    let (outcome, asked) = plan(text, Some(schemas));
    let plan = outcome.unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    assert!(asked && plan.path.as_ref() == Some(&path(schemas)), "{text}");
    assert_eq!(shown(text, &plan), expected);
}

#[test]
fn a_name_means_the_first_on_the_path_and_is_qualified() {
    let a = &["pg_catalog", "tenant_a", "public"];
    let b = &["pg_temp_7", "pg_catalog", "nowhere", "tenant_b", "tenant_a"];
    becomes(a, "select owner from accounts", "select owner from \"tenant_a\".accounts");
    becomes(b, "select owner from accounts", "select owner from \"tenant_b\".accounts");
    becomes(
        b,
        "insert into accounts values (1, 'x'); update only accounts a set owner = 'y'; delete from accounts",
        "insert into \"tenant_b\".accounts (\"id\", \"owner\") values (1, «owner:x:A»); update only \"tenant_b\".accounts a set owner = «owner:y:A»; delete from \"tenant_b\".accounts",
    );
    becomes(
        a,
        "select accounts.owner from accounts join tenant_b.accounts b using (id) for update of accounts",
        "select accounts.owner from \"tenant_a\".accounts join tenant_b.accounts b using (id) for update of accounts",
    );
    becomes(
        &["other"],
        "select ssn from patients where ssn = 'x'",
        "select ssn from \"other\".patients where ssn = 'x'",
    );
    becomes(
        &["public", "other"],
        "select ssn from patients where ssn = 'x'",
        "select ssn from \"public\".patients where ssn = «ssn:x:C»",
    );
    becomes(
        a,
        "lock table accounts; truncate accounts",
        "lock table \"tenant_a\".accounts; truncate \"tenant_a\".accounts",
    );
    becomes(
        &["pg_catalog", "fresh"],
        "create table accounts (id int, owner text)",
        "create table \"fresh\".accounts (id int, owner text)",
    );
    becomes(
        a,
        "select 1 from (select owner from accounts) x, lateral (select 1 from accounts) y",
        "select 1 from (select owner from \"tenant_a\".accounts) x, lateral (select 1 from \"tenant_a\".accounts) y",
    );
}

#[test]
fn names_that_the_path_does_not_decide_do_not_ask() {
    for text in ["select * from logs", "select owner from tenant_a.accounts", "select 'accounts'"] {
        assert!(matches!(plan(text, None), (Ok(plan), false) if plan.path.is_none()), "{text}");
    }
    for text in [
        "select owner from accounts",
        "insert into accounts values (1, 'x')",
        "create table patients (id int)",
    ] {
        assert!(matches!(plan(text, None), (_, true)), "{text}");
    }
}

#[test]
fn what_the_path_cannot_decide_is_refused() {
    let public = &["pg_catalog", "public"];
    for text in [
        "select owner from accounts",
        "with accounts as (select 1 as owner) select owner from accounts",
        "set search_path = tenant_a; select owner from accounts",
        "select set_config('search_path', 'tenant_a', false); select owner from accounts",
        "commit; select ssn from patients",
        "alter table accounts add column c text default 'x'",
        "lock table accounts",
        "select 1 from (with accounts as (select 1) select 1) x, accounts where owner = 'x'",
        "create temp table patients (ssn text)",
        "create view patients as select 'x' as ssn",
    ] {
        assert!(plan(text, Some(public)).0.is_err(), "{text}");
    }
    assert!(matches!(
        plan("select owner from accounts", Some(public)),
        (Err(Refusal::UnknownRelation(_)), true)
    ));
}
