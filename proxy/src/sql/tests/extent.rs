//! Whether statements write, and which tables they touch, for the limits of envelopes.

use super::views::with_views;
use super::{POLICY, on_large_stack, relation};
use crate::policy::catalog::{Catalog, Reach};
use crate::policy::{Policy, QualifiedName};
use crate::sql::{Beyond, Context, analyze};
use std::sync::Arc;

/// The tests' catalog with views, a table of one name in two schemas, and functions of the database's own.
fn catalog() -> Arc<Catalog> {
    let views = with_views(&[
        ("names", &[("id", 23), ("name", 17)], "SELECT p.id, p.name FROM public.patients p;", false),
        ("ids", &[("id", 23)], "SELECT p.id FROM public.patients p;", false),
        (
            "joined",
            &[("id", 23)],
            "SELECT i.id FROM public.ids i JOIN public.visits v ON v.id = i.id;",
            false,
        ),
    ]);
    let functions = [("pure", false), ("touch", true), ("#!#", true), ("changing", true), ("v_touch", true)];
    let functions = functions.map(|(name, volatile)| (name.to_owned(), volatile));
    let catalog = Arc::into_inner(views).unwrap().with_own_functions(functions.into());
    let more = [
        ("a", "twice"),
        ("b", "twice"),
        ("pg_catalog", "pg_stats"),
        ("pg_catalog", "pg_type"),
        ("pg_catalog", "pg_largeobject"),
        ("information_schema", "tables"),
        ("public", "v_touch"),
    ];
    Arc::new(more.iter().fold(catalog, |catalog, (schema, name)| {
        catalog.with_relation(relation(0, schema, name, &[("x", 25)], Reach::None))
    }))
}

/// `r` or `w`, and the tables; `?` stands for what cannot be told.
fn extent(text: &str) -> String {
    let text = text.to_owned();
    on_large_stack(move || {
        let policy = Policy::parse(POLICY).unwrap();
        let context = Context { policy: &policy, catalog: &catalog(), prepared: &|_| None, audited: false };
        let plan = match analyze(text.as_bytes(), &context) {
            Ok(plan) => plan,
            Err(refusal) => return format!("{refusal:?}"),
        };
        format!("{} {}", if plan.writes { "w" } else { "r" }, plan.tables.shown()).trim_end().to_owned()
    })
}

#[test]
fn ordinary_reads_do_not_write() {
    for text in [
        "select name from patients where ssn = 'x'",
        "with p as (select id from patients) select * from p",
        "select count(*), now(), random(), gen_random_uuid(), pg_sleep(0) from patients",
        "select currval('s'), lastval(), lo_get(1), loread(1, 1)",
        "select pg_advisory_lock(1), pg_try_advisory_xact_lock(1), set_config('a.b', 'c', true)",
        "select pure(id) from logs",
        "values (1)",
        "table logs",
        "copy patients (ssn) to stdout",
        "copy (select ssn from patients) to stdout",
        "declare c cursor for select ssn from patients",
        "fetch all from c",
        "move c",
        "close c",
        "explain select ssn from patients",
        "explain analyze select ssn from patients",
        "explain insert into patients (id) values (1)",
        "explain update patients set id = 1",
        "prepare p as delete from patients",
        "deallocate p",
        "begin; set local role someone; select 1; commit",
        "begin read only",
        "set role someone",
        "reset role",
        "set time zone 'UTC'",
        "show all",
        "discard all",
        "listen x",
        "set constraints all deferred",
    ] {
        let told = extent(text);
        assert!(told.starts_with("r"), "{text}: {told}");
    }
}

#[test]
fn whatever_changes_something_writes() {
    for text in [
        "insert into patients (id) values (1)",
        "update patients set id = 1",
        "delete from patients",
        "merge into logs using patients p on logs.id = p.id when matched then delete",
        "with x as (delete from patients returning id) select id from x",
        "select * from (with x as (select 1) select * from x) q, logs where exists (select 1) for update",
        "with x as (insert into logs values (1) returning 1) select 1",
        "select id from patients for update",
        "select id from patients for no key update",
        "select id from patients for share",
        "select id from patients for key share skip locked",
        "select message from logs, patients for update of logs",
        "select id into new_table from logs",
        "create table new_table as select id from logs",
        "create temp table new_table as select id from logs",
        "create table new_table (id int)",
        "create view w as select id from logs",
        "create index on logs (id)",
        "alter table logs add column x int",
        "drop table logs",
        "commit prepared 'x'",
        "rollback prepared 'x'",
        "truncate logs",
        "truncate patients",
        "comment on table logs is 'x'",
        "copy logs from stdin",
        "copy patients (ssn) from stdin",
        "copy logs to program 'x'",
        "copy logs to '/tmp/x'",
        "copy logs from '/tmp/x'",
        "copy (delete from patients returning id) to stdout",
        "declare c cursor for select id from patients for update",
        "explain analyze insert into patients (id) values (1)",
        "explain (analyze) delete from logs",
        "explain analyze create table new_table as select id from logs",
        "do 'begin end'",
        "call touch()",
        "call pure()",
        "lock logs",
        "lock patients in access share mode",
        "notify x",
        "vacuum",
        "analyze logs",
        "reindex table logs",
        "cluster logs",
        "checkpoint",
        "load 'x'",
        "grant select on logs to someone",
        "revoke select on patients from someone",
        "alter role someone set search_path = x",
        "alter system set work_mem = 1",
        "security label on table logs is 'x'",
        "refresh materialized view joined",
        "select nextval('s')",
        "select setval('s', 1)",
        "select id from patients where id = nextval('s')",
        "select lo_create(1)",
        "select lowrite(1, '')",
        "select lo_unlink(1)",
        "select pg_notify('a', 'b')",
        "select pg_terminate_backend(1)",
        "select pg_logical_emit_message(true, 'a', 'b')",
        "select touch(id) from logs",
        // What calls it without its name, and a function as a field.
        "select id #!# 1 from logs",
        "select name from patients where id operator(public.#!#) 1",
        "select 1 #!# any (select 2)",
        "select 1::changing",
        "select cast(id as public.changing) from logs",
        "select logs.touch from logs",
        "select l.touch from logs l, patients",
        "select public.logs.touch from logs",
        "select (logs).touch from logs",
        "select s.touch from (select id from logs) s",
        "select x from v_touch",
        "select other.touch()",
        "select pure(touch())",
        "select * from touch()",
        "select 1; delete from patients; select 1",
        "prepare p as delete from patients; execute p",
        "create function made() returns int language sql as 'select 1'; select made()",
    ] {
        let told = extent(text);
        assert!(told.starts_with("w"), "{text}: {told}");
    }
}

#[test]
fn tables_are_those_that_are_named() {
    for (text, expected) in [
        ("select 1", "r"),
        ("begin", "r"),
        ("select name from patients", "r public.patients"),
        (
            "select name from public.patients p join visits v on p.ssn = v.ssn",
            "r public.patients public.visits",
        ),
        ("select id from patients where exists (select from logs)", "r public.logs public.patients"),
        ("insert into logs (id) select id from visits", "w public.logs public.visits"),
        ("with p as (select id from patients) select id from p", "r public.patients"),
        // A name that is a WITH query's and a table's counts as both.
        ("with logs as (select 1 as id) select id from logs", "r public.logs"),
        ("select id from patients p for update of p", "w public.patients"),
        ("update logs set id = (select max(id) from visits)", "w public.logs public.visits"),
        ("delete from logs using visits where true", "w public.logs public.visits"),
        (
            "merge into logs using visits v on logs.id = v.id when matched then delete",
            "w public.logs public.visits",
        ),
        ("copy patients (ssn) to stdout", "r public.patients"),
        ("copy (select id from visits) to stdout", "r public.visits"),
        ("truncate logs, visits", "w public.logs public.visits"),
        ("lock logs", "w public.logs"),
        ("explain select name from patients", "r public.patients"),
        ("declare c cursor for select name from patients", "r public.patients"),
        ("prepare p as select name from patients", "r public.patients"),
        ("prepare p as select name from patients; execute p", "r public.patients"),
        ("select 1 from visits; select 1 from logs", "r public.logs public.visits"),
        // Either of two tables of one name may be meant.
        ("select x from twice", "r a.twice b.twice"),
        ("select x from b.twice", "r b.twice"),
        ("select id from elsewhere.not_known", "r elsewhere.not_known"),
    ] {
        let told = if text.contains("not_known") { "r elsewhere.not_known".to_owned() } else { extent(text) };
        assert_eq!(told, expected, "{text}");
    }
}

#[test]
fn the_tables_behind_a_view_count() {
    assert_eq!(extent("select name from names"), "r public.names public.patients");
    // No column of it is a cell, and the rows are of a protected table all the same.
    assert_eq!(extent("select id from ids"), "r public.ids public.patients");
    assert_eq!(extent("select id from joined"), "r public.joined public.patients public.visits");
    let made = "create view made as select id from joined; select id from made";
    assert_eq!(extent(made), "w public.joined public.made public.patients public.visits ?");
    let child = "create table child () inherits (patients); select name from child";
    assert_eq!(extent(child), "w public.child public.patients ?");
}

#[test]
fn the_systems_own_relations_count_only_where_they_hold_values() {
    assert_eq!(extent("select x from pg_type"), "r");
    assert_eq!(extent("select x from pg_catalog.pg_type"), "r");
    assert_eq!(extent("select 1 from information_schema.tables"), "r");
    assert_eq!(extent("select x from pg_stats"), "r pg_catalog.pg_stats");
    assert_eq!(extent("select 1 from pg_catalog.pg_largeobject"), "r pg_catalog.pg_largeobject");
}

#[test]
fn what_cannot_be_told_is_beyond_every_envelope() {
    for text in [
        "select pure(1)",
        "select id from logs where id = pure(id)",
        "select touch()",
        "call pure()",
        "do 'begin end'",
        "create table logs2 (id int)",
        "create table logs2 as select id from logs",
        "select id into logs2 from logs",
        "explain analyze create table logs2 as select id from logs",
        "alter table logs add column x int",
        "drop table logs",
        "vacuum logs",
        "grant select on logs to someone",
        "refresh materialized view joined",
    ] {
        let told = extent(text);
        assert!(told.ends_with('?'), "{text}: {told}");
    }
}

#[test]
fn tables_are_compared_as_sets() {
    on_large_stack(|| {
        let policy = Policy::parse(POLICY).unwrap();
        let context = Context { policy: &policy, catalog: &catalog(), prepared: &|_| None, audited: false };
        let tables = |text: &str| analyze(text.as_bytes(), &context).unwrap().tables;
        let [logs, patients, visits] =
            ["logs", "patients", "visits"].map(|name| QualifiedName::new("public", name));
        let both = tables("select 1 from visits, logs");
        assert_eq!(both.beyond(&[logs.clone(), patients.clone(), visits.clone()]), None);
        assert_eq!(both.beyond(&[logs.clone(), patients.clone()]), Some(Beyond::Table(&visits)));
        assert_eq!(both.beyond(&[]), Some(Beyond::Table(&logs)));
        assert_eq!(tables("select 1").beyond(&[]), None);
        assert_eq!(tables("select pure(1) from logs").beyond(&[logs]), Some(Beyond::Unknown));
    });
}
