//! Views over protected tables: what their columns hold, and statements over them.

use super::{POLICY, catalog, on_large_stack, relation, results, shown};
use crate::policy::catalog::{Catalog, Holds, Kind, Reach, Relation};
use crate::policy::{Policy, QualifiedName};
use crate::sql::{Context, Plan, Refusal, analyze, follow_views};
use std::sync::Arc;

/// A view whose columns are `bytea` where they may be cells.
fn view(oid: u32, name: &str, columns: &[(&str, u32)], rules: bool) -> Relation {
    Relation { kind: Kind::View { rules }, ..relation(oid, "public", name, columns, Reach::Protected) }
}

/// Name, columns, query, and whether it has rules.
type Definition<'a> = (&'a str, &'a [(&'a str, u32)], &'a str, bool);

/// The catalog with these views, as (name, columns, definition, whether it has rules).
pub(super) fn with_views(views: &[Definition<'_>]) -> Arc<Catalog> {
    let mut whole = (*catalog()).with_relation(relation(90, "other", "none", &[], Reach::None));
    let mut definitions = Vec::new();
    // The last first: their order must not matter.
    for ((name, columns, definition, rules), oid) in views.iter().rev().zip(100..) {
        whole.replace(view(oid, name, columns, *rules));
        definitions.push((oid, (*definition).to_owned()));
    }
    on_large_stack(move || Arc::new(follow_views(&Policy::parse(POLICY).unwrap(), whole, definitions)))
}

fn held(catalog: &Catalog, name: &str) -> String {
    let view = catalog.relation(&QualifiedName::new("public", name)).unwrap();
    if view.reach == Reach::Protected {
        return "refused".to_owned();
    }
    let columns = view.columns.iter().flatten().map(|column| match &column.holds {
        Holds::Own => "-",
        Holds::Cell(cell) => &cell.name,
        Holds::Computed => "?",
    });
    columns.collect::<Vec<_>>().join(",")
}

fn holds(columns: &[(&str, u32)], definition: &str) -> String {
    held(&with_views(&[("v", columns, definition, false)]), "v")
}

fn plan(catalog: &Arc<Catalog>, text: &str) -> Result<Plan, Refusal> {
    let (catalog, text) = (Arc::clone(catalog), text.to_owned());
    on_large_stack(move || {
        let policy = Policy::parse(POLICY).unwrap();
        analyze(
            text.as_bytes(),
            &Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false },
        )
    })
}

#[test]
fn columns_follow_from_the_definition() {
    let one = |definition| holds(&[("a", 17)], definition);
    assert_eq!(one("SELECT p.ssn AS a FROM public.patients p;"), "ssn");
    assert_eq!(one("SELECT p.id AS a FROM public.patients p WHERE (p.ssn = '\\x0102'::bytea);"), "-");
    assert_eq!(one("SELECT COALESCE(p.ssn, '\\x01'::bytea) AS a FROM public.patients p;"), "ssn");
    // Constants that meet cells in the definition are cells themselves.
    for meets in [
        "SELECT v.x AS a FROM public.patients p JOIN (VALUES ('\\x01'::bytea), ('\\x02'::bytea)) v(x) ON v.x = p.ssn;",
        "SELECT q.x AS a FROM (SELECT '\\x01'::bytea AS x) q WHERE q.x IN (SELECT patients.ssn FROM public.patients);",
        "WITH w(x) AS (VALUES ('\\x01'::bytea)) SELECT w.x AS a FROM w JOIN public.patients p ON p.ssn = w.x;",
        "SELECT u.u AS a FROM public.patients p, LATERAL unnest(ARRAY['\\x01'::bytea, '\\x02'::bytea]) u(u) WHERE u.u = p.ssn;",
        "SELECT x AS a FROM (VALUES ('\\x01'::bytea)) v(x) LEFT JOIN (SELECT p.ssn AS x FROM public.patients p) z USING (x);",
    ] {
        assert_eq!(one(meets), "ssn", "{meets}");
    }
    assert_eq!(
        one("SELECT p.id AS a FROM public.patients p WHERE (p.ssn = ANY ('{\"\\\\x01\"}'::bytea[]));"),
        "-"
    );
    assert_eq!(
        one("SELECT p.ssn AS a FROM public.patients p UNION SELECT v.ssn FROM public.visits v"),
        "ssn"
    );
    assert_eq!(one("SELECT NULL::bytea AS a UNION ALL SELECT v.ssn FROM public.visits v"), "ssn");
    assert_eq!(
        one("SELECT p.ssn AS a FROM (public.patients p JOIN public.visits v USING (ssn)) \
             WHERE (p.name = ANY (ARRAY['\\x01'::bytea, '\\x02'::bytea]))"),
        "ssn"
    );
    assert_eq!(one("SELECT encode(p.ssn, 'hex'::text) AS a FROM public.patients p"), "?");
    assert_eq!(one("SELECT (p.ssn)::text AS a FROM public.patients p"), "?");
    assert_eq!(one("SELECT count(*) AS a FROM public.patients p GROUP BY p.ssn"), "-");
    let swapped = "SELECT p.id, p.name AS ssn, p.ssn AS name FROM public.patients p";
    assert_eq!(holds(&[("id", 23), ("ssn", 17), ("name", 17)], swapped), "-,name,ssn");
    // What would mean something else over cells, and what is not understood.
    assert_eq!(one("SELECT p.id AS a FROM public.patients p WHERE (length(p.ssn) > 3)"), "refused");
    assert_eq!(one("SELECT DISTINCT length(p.ssn) AS a FROM public.patients p"), "refused");
    assert_eq!(one("SELECT p.id AS a FROM public.patients p ORDER BY p.ssn"), "refused");
    assert_eq!(one("SELECT p.id AS a FROM public.patients p WHERE (p.ssn = p.name)"), "refused");
    assert_eq!(one("SELECT add_patient() AS a FROM public.patients p"), "refused");
    assert_eq!(one("SELECT p.id AS a, p.ssn FROM public.patients p"), "refused");
    assert_eq!(one("SELECT x.ssn AS a FROM public.nowhere x"), "refused");
    assert_eq!(one("garbage"), "refused");
}

const OVER: &[Definition<'static>] = &[
    (
        "inner_view",
        &[("id", 23), ("who", 17), ("n", 17)],
        "SELECT p.id, p.ssn AS who, p.name AS n FROM public.patients p",
        false,
    ),
    (
        "outer_view",
        &[("who", 17), ("hex", 25)],
        "SELECT i.who, encode(i.n, 'hex'::text) AS hex FROM public.inner_view i",
        false,
    ),
    ("cities", &[("id", 23), ("city", 25)], "SELECT p.id, p.city FROM public.patients p", false),
    ("ruled", &[("id", 23), ("city", 25)], "SELECT p.id, p.city FROM public.patients p", true),
];

#[test]
fn statements_over_views_are_like_those_over_tables() {
    let catalog = with_views(OVER);
    assert_eq!(held(&catalog, "inner_view"), "-,ssn,name");
    assert_eq!(held(&catalog, "outer_view"), "ssn,?");
    let became = |text: &str, expected: &str, columns: &str| {
        let plan = plan(&catalog, text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert_eq!((shown(text, &plan).as_str(), results(&plan).as_str()), (expected, columns));
    };
    became("select * from inner_view", "select * from inner_view", "-,ssn,name");
    became(
        "select n from inner_view where who = 'a'",
        "select n from inner_view where who = «ssn:a:C»",
        "name",
    );
    became("select who from outer_view", "select who from outer_view", "ssn");
    became("select count(*) from outer_view", "select count(*) from outer_view", "-");
    became(
        "insert into inner_view values (1, 'a', 'b')",
        "insert into inner_view (\"id\", \"who\", \"n\") values (1, «ssn:a:A», «name:b:A»)",
        "none",
    );
    became(
        "select v.id from visits v join inner_view i on i.who = v.ssn",
        "select v.id from visits v join inner_view i on i.who = v.ssn",
        "-",
    );
    for text in
        ["select city from cities", "insert into cities (city) values ('x')", "select c from cities c"]
    {
        assert!(plan(&catalog, text).is_ok_and(|plan| !plan.protected && plan.edits.is_empty()), "{text}");
    }
    for text in ["refresh materialized view inner_view", "alter view inner_view rename to w"] {
        assert!(plan(&catalog, text).is_ok_and(|plan| !plan.keyed() && plan.edits.is_empty()), "{text}");
    }
}

#[test]
fn what_views_would_let_through_is_refused() {
    let catalog = with_views(OVER);
    for text in [
        "select hex from outer_view",
        "select * from outer_view",
        "select o.* from outer_view o",
        "select count(*) from outer_view group by hex",
        "select o from outer_view o",
        "select 1 from outer_view natural join outer_view o",
        "select row_to_json(i) from inner_view i",
        "select null::inner_view",
        "select upper(n) from inner_view",
        "select 1 from inner_view where n like 'MARKER%'",
        "select 1 from inner_view where who = n",
        "insert into inner_view (who) select message from logs",
        "insert into ruled values (1, 'MARKER')",
        "update ruled set city = 'MARKER'",
        "alter view inner_view alter column who set default now()::text",
        "alter view inner_view rename to patients",
        "create view public.future as select 'MARKER' as secret",
        "create temp view patients as select 'MARKER' as ssn",
        "create view v as select upper(ssn) from patients",
        "create view v as select ssn from patients order by ssn",
        "create view v as select p from patients p",
        "create rule r as on insert to inner_view do also insert into logs (message) values (new.n)",
        "create function f() returns text language sql as 'select who from inner_view'",
    ] {
        match plan(&catalog, text) {
            Ok(plan) => panic!("{text}: became {}", shown(text, &plan)),
            Err(Refusal::UnknownRelation(error) | Refusal::Refused(error)) => {
                assert!(!error.message.contains("MARKER") && !error.hint.contains("MARKER"), "{error}");
            }
        }
    }
    let computed = plan(&catalog, "select hex from outer_view");
    assert!(
        matches!(computed, Err(Refusal::Refused(e)) if e.message.contains("\"hex\"") && e.position == Some(7))
    );
    // A default of a view's column is stored like any value.
    let text = "alter view inner_view alter column who set default 'a'";
    let default = plan(&catalog, text).unwrap();
    assert_eq!(shown(text, &default), "alter view inner_view alter column who set default «ssn:a:A»");
}

#[test]
fn a_view_can_be_used_where_it_was_made() {
    let catalog = catalog();
    let became = |text: &str, expected: &str, columns: &str| {
        let plan = plan(&catalog, text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert_eq!((shown(text, &plan).as_str(), results(&plan).as_str()), (expected, columns));
    };
    became(
        "create view v (a, b) as select id, ssn from patients where name = 'x' with check option; select b from v where b = 'y'",
        "create view v (a, b) as select id, ssn from patients where name = «name:x:C» with check option; select b from v where b = «ssn:y:C»",
        "ssn",
    );
    became(
        "create materialized view m as select ssn from patients; create unique index on m (ssn); table m",
        "create materialized view m as select ssn from patients; create unique index on m (ssn); table m",
        "ssn",
    );
    became(
        "create view v as select ssn from patients; alter view v rename column ssn to s; alter view v rename to w; select s from w",
        "create view v as select ssn from patients; alter view v rename column ssn to s; alter view v rename to w; select s from w",
        "ssn",
    );
    became(
        "create temp view v as select id from patients; create or replace temp view v as select ssn as id from patients; select id from v",
        "create temp view v as select id from patients; create or replace temp view v as select ssn as id from patients; select id from v",
        "ssn",
    );
    became(
        "create recursive view r (n) as select ssn from patients union all select r.n from r join visits v on v.ssn = r.n",
        "create recursive view r (n) as select ssn from patients union all select r.n from r join visits v on v.ssn = r.n",
        "none",
    );
}
