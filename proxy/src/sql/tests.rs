//! What statements become: each line a text, and the text that goes upstream (cells shown as
//! `«column:literal:purpose»`), with parameters and results where they matter; or its refusal.

mod copy;
mod ddl;
mod naming;

use super::{Context, Edit, Parameter, Plan, Refusal, ResultColumn, analyze};
use crate::policy::catalog::{Catalog, Column, Holds, Kind, Reach, Relation};
use crate::policy::{Policy, Purpose, QualifiedName};
use std::sync::Arc;

const POLICY: &str = r#"
[tables."public.patients"]
name = { type = "text", mode = "deterministic" }
ssn = { type = "text", mode = "deterministic", domain = "ssn" }
notes = { type = "text", mode = "randomized" }
age = { type = "int4", mode = "deterministic" }
code = { type = "varchar(3)", mode = "deterministic" }
balance = { type = "numeric(10,2)", mode = "deterministic" }

[tables."public.visits"]
ssn = { type = "text", mode = "deterministic", domain = "ssn" }

[tables."public.future"]
secret = { type = "text", mode = "deterministic" }
note = { type = "varchar(20)", mode = "randomized" }
"#;

fn relation(oid: u32, schema: &str, name: &str, columns: &[(&str, u32)], reach: Reach) -> Relation {
    let columns = columns
        .iter()
        .zip(1_i16..)
        .map(|((name, type_oid), number)| Column {
            name: (*name).to_owned(),
            number,
            type_oid: *type_oid,
            holds: Holds::Own,
        })
        .collect();
    Relation { name: QualifiedName::new(schema, name), oid, columns: Some(columns), reach, kind: Kind::Table }
}

fn catalog() -> Arc<Catalog> {
    let patients = [
        ("id", 23),
        ("name", 17),
        ("ssn", 17),
        ("notes", 17),
        ("age", 17),
        ("code", 17),
        ("balance", 17),
        ("city", 25),
    ];
    let relations = vec![
        relation(1, "public", "patients", &patients, Reach::None),
        relation(
            2,
            "public",
            "visits",
            &[("id", 23), ("patient", 23), ("ssn", 17), ("reason", 25)],
            Reach::None,
        ),
        relation(3, "public", "logs", &[("id", 23), ("message", 25), ("ssn", 25)], Reach::None),
        relation(4, "public", "patient_view", &[("id", 23), ("ssn", 17)], Reach::Protected),
        relation(5, "pg_catalog", "pg_class", &[("oid", 26), ("relname", 19)], Reach::None),
    ];
    Arc::new(Catalog::new(relations, ["add_patient".to_owned()]))
}

/// Runs on a stack as large as the proxy's workers have.
fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap().join().unwrap()
}

fn plan(text: &str) -> Result<Plan, Refusal> {
    let text = text.to_owned();
    on_large_stack(move || {
        let policy = Policy::parse(POLICY).unwrap();
        analyze(text.as_bytes(), &Context { policy: &policy, catalog: &catalog(), prepared: &|_| None })
    })
}

fn letter(purpose: Purpose) -> char {
    match purpose {
        Purpose::Assign => 'A',
        Purpose::Compare => 'C',
        Purpose::Flow => 'F',
    }
}

fn shown(text: &str, plan: &Plan) -> String {
    let mut shown = String::new();
    let mut from = 0;
    for edit in &plan.edits {
        let range = edit.range();
        shown.push_str(&text[from..range.start]);
        from = range.end;
        match edit {
            Edit::Text { with, .. } => shown.push_str(with),
            Edit::Cell { literal, column, purpose, .. } => {
                let purpose = letter(*purpose);
                shown.push_str(&format!("«{}:{}:{purpose}»", column.name, literal.as_str()));
            }
            Edit::Shown { name, .. } => shown.push_str(&format!("«show {name}»")),
        }
    }
    shown + &text[from..]
}

fn parameters(plan: &Plan) -> String {
    let shown = plan.parameters.iter().map(|p| match p {
        Parameter::Plain => "-".to_owned(),
        Parameter::Cell(column, purpose) => format!("{}:{}", column.name, letter(*purpose)),
        Parameter::Carrier { name, local } => format!("trefoil.{name}:{local}"),
        Parameter::SettingName => "setting".to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
}

fn results(plan: &Plan) -> String {
    let Some(results) = plan.statements.last().and_then(|s| s.results.as_ref()) else {
        return "none".to_owned();
    };
    let shown = results.iter().map(|r| match r {
        ResultColumn::Plain => "-".to_owned(),
        ResultColumn::Cell(column) => column.name.clone(),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[track_caller]
fn rewritten(text: &str, expected: &str) -> Plan {
    let plan = plan(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    assert_eq!(shown(text, &plan), expected);
    plan
}

#[track_caller]
fn untouched(text: &str) {
    let plan = rewritten(text, text);
    assert!(!plan.protected, "{text}");
}

#[track_caller]
fn refused(text: &str, sqlstate: &str) {
    let found = match plan(text) {
        Ok(plan) => panic!("{text}: became {}", shown(text, &plan)),
        Err(Refusal::UnknownRelation(error) | Refusal::Refused(error)) => error,
    };
    assert_eq!(found.sqlstate, sqlstate, "{text}: {found}");
    assert!(!found.message.contains("MARKER") && !found.hint.contains("MARKER"), "{found}");
}

#[test]
fn plain_statements_pass_untouched() {
    for text in [
        "select * from logs",
        "select message from logs where ssn = 'x' order by ssn",
        "insert into logs values (1, 'patients', '123')",
        "select relname from pg_catalog.pg_class",
        "select count(*) as patients from logs",
        "with patients2 as (select 1 as id) select * from patients2",
        "select * from logs for update of logs",
        "begin; select 1; commit",
        "create table t (id int, who text); insert into t values (1, 'a')",
        "create temp table scratch as select 1 as a; select * from scratch",
        "select 1 into made; select * from made",
        "do $$ begin raise notice 'x'; end $$",
        "",
        "show search_path",
        "copy logs from stdin",
        "truncate logs",
        "drop table patients",
    ] {
        untouched(text);
    }
}

#[test]
fn literals_of_every_form_become_cells() {
    for (form, value) in [
        ("'MARKER'", "MARKER"),
        (r"E'MAR\'KER'", "MAR'KER"),
        ("$$MARKER$$", "MARKER"),
        ("$x$MAR'KER$x$", "MAR'KER"),
        ("U&'MARK!0045R' UESCAPE '!'", "MARKER"),
        ("'MAR'\n'KER'", "MARKER"),
        ("'MARKER'::text", "MARKER"),
        ("cast('MARKER' as text)", "MARKER"),
        ("text 'MARKER'", "MARKER"),
        ("'MARKER'::pg_catalog.text::varchar", "MARKER"),
        ("('MARKER')", "MARKER"),
    ] {
        let text = format!("insert into patients (id, ssn) values (1, {form})");
        let plan = plan(&text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        let upstream = shown(&text, &plan).replace(['(', ')'], "").replace("  ", " ");
        assert!(upstream.trim_end().ends_with(&format!("1, «ssn:{value}:A»")), "{upstream}");
    }
    rewritten(
        "update patients set age = -5 where age = 7",
        "update patients set age = «age:-5:A» where age = «age:7:C»",
    );
}

#[test]
fn select_in_its_forms() {
    let plan =
        rewritten("select * from patients where ssn = 'a'", "select * from patients where ssn = «ssn:a:C»");
    assert_eq!(results(&plan), "-,name,ssn,notes,age,code,balance,-");
    let plan = rewritten(
        "select p.id, upper(city) from patients p where id = $1",
        "select p.id, upper(city) from patients p where id = $1",
    );
    assert_eq!((results(&plan).as_str(), parameters(&plan).as_str(), plan.keyed()), ("-,-", "-", false));
    let plan = rewritten(
        "select ssn s, 'x' from public.patients where $1 = ssn and city = $2 and name in ('a', $3::text)",
        "select ssn s, 'x' from public.patients where $1 = ssn and city = $2 and name in («name:a:C», $3)",
    );
    assert_eq!((results(&plan).as_str(), parameters(&plan).as_str()), ("ssn,-", "ssn:C,-,name:C"));
    rewritten("select ssn::text, cast(name as text) from patients", "select ssn, (name ) from patients");
    rewritten(
        "select v.reason from patients p join visits v using (ssn) where p.ssn <> 'a'",
        "select v.reason from patients p join visits v using (ssn) where p.ssn <> «ssn:a:C»",
    );
    rewritten(
        "with x as (select ssn, count(*) c from patients group by ssn) select * from x where x.ssn = 'a' order by c",
        "with x as (select ssn, count(*) c from patients group by ssn) select * from x where x.ssn = «ssn:a:C» order by c",
    );
    rewritten(
        "select (select ssn from visits where patient = p.id and ssn = 'b') from patients p where exists (select 1 from visits v where v.ssn = p.ssn)",
        "select (select ssn from visits where patient = p.id and ssn = «ssn:b:C») from patients p where exists (select 1 from visits v where v.ssn = p.ssn)",
    );
    rewritten(
        "select coalesce(ssn, 'none'), case when name = 'x' then ssn else 'y' end from patients",
        "select coalesce(ssn, «ssn:none:F»), case when name = «name:x:C» then ssn else «ssn:y:F» end from patients",
    );
    rewritten(
        "select ssn from patients union select ssn from visits union all select 'lit'",
        "select ssn from patients union select ssn from visits union all select «ssn:lit:F» AS \"?column?\"",
    );
    rewritten(
        "select 1 from patients where (name, age) = ('a', 5)",
        "select 1 from patients where (name, age) = («name:a:C», «age:5:C»)",
    );
    rewritten(
        "select 1 from patients where ssn = any (array['a','b'])",
        "select 1 from patients where ssn = any (array[«ssn:a:C»,«ssn:b:C»])",
    );
    rewritten(
        "select count(distinct ssn), count(notes) from patients where notes is not null",
        "select count(distinct ssn), count(notes) from patients where notes is not null",
    );
    rewritten("table patients", "table patients");
    rewritten("select id from patients order by id limit $1", "select id from patients order by id limit $1");
    rewritten(
        "with patients as (select id from logs) select * from patients",
        "with patients as (select id from logs) select * from patients",
    );
    rewritten(
        "with recursive r(s, n) as (select ssn, 1 from patients where id = 1 union all select v.ssn, n + 1 from visits v join r on v.ssn = r.s) select * from r where s = 'q'",
        "with recursive r(s, n) as (select ssn, 1 from patients where id = 1 union all select v.ssn, n + 1 from visits v join r on v.ssn = r.s) select * from r where s = «ssn:q:C»",
    );
}

#[test]
fn insert_update_delete() {
    rewritten(
        "insert into patients values (1, 'n', 's'), (2, default, null)",
        "insert into patients (\"id\", \"name\", \"ssn\") values (1, «name:n:A», «ssn:s:A»), (2, default, null)",
    );
    let plan = rewritten(
        "INSERT INTO patients AS p (id, ssn) VALUES ($1, $2) ON CONFLICT (ssn) DO UPDATE SET ssn = excluded.ssn, name = 'x' WHERE p.ssn = 'y' RETURNING *",
        "INSERT INTO patients AS p (id, ssn) VALUES ($1, $2) ON CONFLICT (ssn) DO UPDATE SET ssn = excluded.ssn, name = «name:x:A» WHERE p.ssn = «ssn:y:C» RETURNING *",
    );
    assert_eq!(
        (parameters(&plan).as_str(), results(&plan).as_str()),
        ("-,ssn:A", "-,name,ssn,notes,age,code,balance,-")
    );
    rewritten(
        "insert into visits (ssn) select ssn from patients where name = 'a'",
        "insert into visits (ssn) select ssn from patients where name = «name:a:C»",
    );
    rewritten(
        "insert into visits (id, ssn) select 1, 'lit'",
        "insert into visits (id, ssn) select 1, «ssn:lit:A» AS \"?column?\"",
    );
    rewritten(
        "update patients p set (name, ssn) = ('a', v.ssn) from visits v where v.patient = p.id returning name",
        "update patients p set (name, ssn) = («name:a:A», v.ssn) from visits v where v.patient = p.id returning name",
    );
    rewritten(
        "delete from patients using visits v where patients.ssn = v.ssn and v.ssn = 'z'",
        "delete from patients using visits v where patients.ssn = v.ssn and v.ssn = «ssn:z:C»",
    );
    let plan = rewritten(
        "with gone as (delete from patients returning ssn) insert into visits (ssn) select ssn from gone",
        "with gone as (delete from patients returning ssn) insert into visits (ssn) select ssn from gone",
    );
    assert!(plan.writes && plan.protected && !plan.keyed());
    rewritten("insert into patients default values", "insert into patients default values");
}

#[test]
fn parameters_in_two_classes_are_refused() {
    refused("select 1 from patients where ssn = $1 and city = $1", "0A000");
    refused("update patients set balance = $1 where balance = $1", "0A000");
    refused("select 1 from patients where ssn = $1 and name = $1", "0A000");
    let plan = plan("update patients set ssn = $1 where ssn = $1").unwrap();
    assert_eq!(parameters(&plan), "ssn:A");
}

#[test]
fn what_would_leak_or_lie_is_refused() {
    for text in [
        "select upper(ssn) from patients",
        "select ssn || 'MARKER' from patients",
        "select 1 from patients where ssn like 'MARKER%'",
        "select 1 from patients where ssn > 'MARKER'",
        "select 1 from patients where ssn between 'MARKER' and 'b'",
        "select ssn from patients order by ssn",
        "select ssn as s from patients order by s",
        "select ssn from patients order by 1",
        "select max(ssn) from patients",
        "select greatest(ssn, 'MARKER') from patients",
        "select 1 from patients where notes = 'MARKER'",
        "select distinct notes from patients",
        "select notes from patients group by notes",
        "select 1 from patients where ssn = city",
        "select 1 from patients where ssn = name",
        "select 1 from patients p join logs l using (ssn)",
        "select 1 from patients natural join logs",
        "select 1 from patients p join logs l on l.ssn = p.ssn",
        "select 1 from patients where ssn = lower('MARKER')",
        "select ssn::int from patients",
        "select ssn::varchar(2) from patients",
        "select p from patients p",
        "select row_to_json(p) from patients p",
        "select array_agg(ssn) from patients",
        "select row(ssn) from patients",
        "select (p).ssn from patients p",
        "select null::patients",
        "insert into patients (id, city) select id, ssn from patients",
        "insert into logs (message) select ssn from patients",
        "insert into patients (ssn) select city from patients",
        "insert into patients (ssn) values (upper('MARKER'))",
        "insert into patients (ssn) values ('MARKER' || 'x')",
        "insert into patients select * from patients",
        "update patients set city = ssn",
        "update patients set ssn = city",
        "select ssn from patients union select city from patients",
        "select ssn from patients union select 'MARKER' union select city from patients",
        "select notes from patients union select notes from patients",
        "select 1 from patients where ssn in (select 'MARKER')",
        "select 1 from patients where ssn in (select message from logs)",
        "select 1 from patients where (ssn, id) in (select message, id from logs)",
        "select 1 from patients where ssn = any('{MARKER}')",
        "values (1), (2) order by (select 1 from patients where ssn || 'MARKER' = 'x')",
        "with recursive r(x) as (select null union all select ssn from patients) select x from r where x <> 'MARKER'",
        "with recursive r(x) as (select 'MARKER' union all select ssn from patients) select x from r",
        "alter table patients add constraint c check ((patients).ssn <> 'MARKER')",
        "alter table patients add constraint c check (ssn(patients) <> 'MARKER')",
        "alter table patients add constraint c check (patients::text <> 'MARKER')",
        "create index on patients (id) where (patients).ssn = 'MARKER'",
        "do $$ begin perform set_config('trefoil.app_share', 'MARKER', false); end $$",
        "update pg_catalog.pg_settings set setting = 'MARKER' where name = 'trefoil.envelope'",
        "select mine.count(ssn) from patients",
        "set timezone = 'Asia/Tokyo'; insert into patients (ssn) values ('MARKER')",
        "do $$ begin perform 1 from U&\"p\\0061tients\" where ssn = 'MARKER'; end $$",
        "select 1 from patients where ('MARKER', 1) = (select ssn, id from visits)",
        "select 1 from patients where ssn collate \"C\" = 'MARKER'",
        "merge into patients using logs on false when not matched then insert (ssn) values ('MARKER')",
        "create view v as select * from patients where ssn = 'MARKER'",
        "create table t2 as select * from patients where ssn = 'MARKER'",
        "select * into t3 from patients",
        "do $$ begin insert into patients (ssn) values ('MARKER'); end $$",
        "do 'begin insert into Patients (ssn) values (''MARKER''); end'",
        "create function f() returns void language sql as $$ insert into patients (ssn) values ('MARKER') $$",
        "create function f() returns void language sql begin atomic insert into patients (ssn) values ('MARKER'); end",
        "create rule r as on insert to logs do also insert into patients (ssn) values (new.message)",
        "create trigger t before insert on patients execute function add_patient()",
        "select add_patient('MARKER')",
        "call add_patient('MARKER')",
        "select table_to_xml('patients', true, true, '')",
        "prepare p(text) as select set_config('trefoil.envelope', $1, true)",
        "select * from query_to_xml('select 1', true, true, '')",
        "select * from patient_view where ssn = 'MARKER'",
        "insert into patient_view values (1, 'MARKER')",
        "alter table patients rename column ssn to plain",
        "alter table patients rename to p2",
        "alter table logs rename to future",
        "alter schema public rename to other",
        "alter schema other rename to public",
        "do $$ begin execute 'insert into pat' || 'ients (ssn) values (''MARKER'')'; end $$",
        "alter table patients set schema other",
        "alter table patients alter column ssn type text",
        "alter table patients alter column ssn set default now()::text",
        "alter table patients add constraint c check (ssn <> 'MARKER')",
        "alter table patients drop constraint trefoil_cell_ssn",
        "create index on patients (upper(ssn))",
        "create index on patients (notes)",
        "create index on patients (id) where ssn = 'MARKER'",
        "create index on patients using gin (ssn)",
        "create temp table patients (id int, ssn text)",
        "create table clone (like patients)",
        "select 1 from logs where ssn = 'x' and exists (select ssn || 'x' from patients)",
        "select count(*) over (order by ssn) from patients",
        "select string_agg(city, ',' order by ssn) from patients",
        "update patients set ssn[1] = 'MARKER'",
        "select * from patients p left join lateral (select upper(p.ssn)) x on true",
        "with recursive a as (select * from b where s = 'MARKER'), b(s) as (select ssn from patients) select * from a",
        "with x as (update patients set ssn = upper('MARKER')) select 1",
        "table patients order by ssn",
        "values ((select ssn from patients) || 'MARKER')",
        "select 1 from patients limit (select age from patients)",
        "insert into patients (id, ssn) values (1, 'a') returning upper(ssn)",
        "insert into patients (id) values (1) on conflict (upper(ssn)) do nothing",
        "insert into patients (id) values (1) on conflict (notes) do nothing",
        "insert into patients (id) values (1) on conflict (id) do update set city = excluded.ssn",
    ] {
        refused(text, "0A000");
    }
    refused("insert into patients (ssn) values (X'AB')", "0A000");
    refused("insert into patients (ssn) values ('MARKER'::int)", "42804");
    refused("insert into patients (age) values ('MARKER'::text)", "42804");
    refused("select 1 from patients where ssn = 5", "42804");
    refused("select 1 from patients where age = 5.5", "42804");
    refused("select p.* from patients p, jsonb_to_record('{}') as r where ssn = 'MARKER'", "42702");
    refused("update patients set name = 'MARKER'::int::text", "42804");
    // The inner table may have lost the column since: the name would mean the outer one.
    refused("select 1 from patients where exists (select 1 from logs where ssn = 'MARKER')", "42702");
    refused("select nope from patients", "42703");
    refused("select patients.nope from patients", "42703");
    refused("insert into patients (nope) values ('MARKER')", "42703");
    refused("select * from nowhere where x = 'MARKER'", "42P01");
    refused("insert into nowhere values ('MARKER')", "42P01");
    refused("select * from future", "42P01");
    refused("insert into patients (id) values (1, 'MARKER')", "42601");
    refused("selec 'MARKER'", "42601");
    refused("insert into patients (ssn) values ('MARKER", "42601");
}

#[test]
fn a_name_in_several_schemas_must_be_qualified() {
    let policy = Policy::parse(POLICY).unwrap();
    let other = relation(9, "other", "patients", &[("id", 23), ("ssn", 25)], Reach::None);
    let catalog = Arc::new(catalog().with_relation(other));
    let analyzed = |text: &str| {
        analyze(text.as_bytes(), &Context { policy: &policy, catalog: &catalog, prepared: &|_| None })
    };
    assert!(
        matches!(analyzed("select * from patients"), Err(Refusal::Refused(e)) if e.message.contains("more than one schema"))
    );
    assert!(analyzed("select * from public.patients").is_ok_and(|p| p.protected));
    assert!(analyzed("select ssn from other.patients where ssn = 'x'").is_ok_and(|p| !p.protected));
}

#[test]
fn a_protected_column_that_is_not_bytea_is_not_migrated() {
    let policy = Policy::parse(POLICY).unwrap();
    let clear = relation(2, "public", "visits", &[("id", 23), ("ssn", 25)], Reach::None);
    let catalog = Arc::new(catalog().with_relation(clear));
    let refusal = analyze(
        b"insert into visits values (1, 'MARKER')",
        &Context { policy: &policy, catalog: &catalog, prepared: &|_| None },
    );
    assert!(matches!(refusal, Err(Refusal::Refused(e)) if e.message.contains("not stored as bytea")));
}

#[test]
fn tables_are_made_with_cells_and_a_check() {
    let text = "create table future (id int primary key, secret text unique not null default 'x', note character varying(20), city text)";
    let check = trefoil_keys::cell::check_constraint;
    use trefoil_keys::cell::Mode;
    let secret = check(Mode::Deterministic, "\"secret\"");
    let note = check(Mode::Randomized, "\"note\"");
    let plan = rewritten(
        text,
        &format!(
            "create table \"public\".future (id int primary key, secret bytea CONSTRAINT \"trefoil_cell_secret\" CHECK ({secret}) unique not null default «secret:x:A», note bytea CONSTRAINT \"trefoil_cell_note\" CHECK ({note}), city text)"
        ),
    );
    assert!(plan.protected && plan.changes_catalog && plan.catalog_after.is_some());
    rewritten(
        "create table public.future (id int); alter table future add column secret text; insert into future values (1, 's')",
        &format!(
            "create table public.future (id int); alter table future add column secret bytea CONSTRAINT \"trefoil_cell_secret\" CHECK ({secret}); insert into future (\"id\", \"secret\") values (1, «secret:s:A»)"
        ),
    );
    rewritten(
        "create table refers (p int references patients (id), city text)",
        "create table refers (p int references patients (id), city text)",
    );
    for text in [
        "create table future (secret int)",
        "create table future (note varchar(21))",
        "create table future (secret text check (secret <> 'MARKER'))",
        "create table future (secret text, check (secret <> 'MARKER'))",
        "create table future (secret text default lower('MARKER'))",
        "create table future (note varchar(20) unique)",
        "create table future (id int, note varchar(20), primary key (id, note))",
        "create table future (id text generated always as (secret || 'x') stored, secret text)",
        "create table future (secret text collate \"C\")",
        "create table future (secret text references logs (message))",
        "create table future (secret text) partition by list (secret)",
        "create table refers (s text references patients (ssn))",
        "create table future (like patients)",
    ] {
        assert!(plan_is_refused(text), "{text}");
    }
}

fn plan_is_refused(text: &str) -> bool {
    matches!(plan(text), Err(Refusal::Refused(error)) if !error.message.contains("MARKER"))
}

#[test]
fn carriers_are_taken_out() {
    let plan = rewritten("set local trefoil.envelope = 'MARKER'", "set local trefoil.envelope = 'set'");
    let change = &plan.statements[0].settings[0];
    assert_eq!((change.name, change.local), ("envelope", true));
    assert_eq!(change.value.as_deref().map(String::as_str), Some("MARKER"));
    assert!(!plan.cacheable());
    rewritten(
        "set trefoil.\"user\" to 'alice'; SET Trefoil.App_Share TO $$MARKER$$",
        "set trefoil.\"user\" to 'alice'; SET Trefoil.App_Share TO 'set'",
    );
    rewritten(
        "select set_config('trefoil.envelope', 'MARKER', true)",
        "select set_config('trefoil.envelope', 'set', true)",
    );
    let plan = rewritten(
        "select set_config('trefoil.app_share', $1::text, false)",
        "select set_config('trefoil.app_share', $1::text, false)",
    );
    assert_eq!(parameters(&plan), "trefoil.app_share:false");
    assert_eq!(
        parameters(&rewritten("select set_config($1, $2, true)", "select set_config($1, $2, true)")),
        "setting"
    );
    rewritten(
        "select 1; /* c */ show trefoil.\"user\" ; show trefoil.envelope",
        "select 1; /* c */ «show user» ; «show envelope»",
    );
    assert_eq!(rewritten("reset all", "reset all").statements[0].settings.len(), 3);
    assert_eq!(rewritten("discard all", "discard all").statements[0].settings.len(), 3);
    for text in [
        "set trefoil.other = 'MARKER'",
        "select set_config('trefoil.' || 'envelope', 'MARKER', true)",
        "select set_config('trefoil.envelope', 'MARK' || 'ER', true)",
        "alter role x set trefoil.envelope = 'MARKER'",
        "create function f() returns int language sql set trefoil.envelope = 'MARKER' as 'select 1'",
    ] {
        assert!(plan_is_refused(text), "{text}");
    }
}

#[test]
fn depth_costs_an_error_and_never_the_process() {
    for text in [
        format!("select 1 from patients where id = 1{}", "+1".repeat(100_000)),
        format!("select 1 from patients where {} true", "not ".repeat(100_000)),
        format!("select 1 from patients{}", " union all select 1".repeat(50_000)),
        format!("select 1 from patients where ssn = 'a'{}", "::text".repeat(50_000)),
        format!("select {}1{} from patients", "(".repeat(100_000), ")".repeat(100_000)),
        format!("select 1 from patients{}", " cross join patients".repeat(50_000)),
        format!("select {}1{} from patients", "case when true then ".repeat(20_000), " end".repeat(20_000)),
        format!("select 1 from {}patients{}", "(select * from ".repeat(20_000), ") x".repeat(20_000)),
    ] {
        assert!(plan(&text).is_err());
    }
    untouched(&format!("select 1{}", "+1".repeat(100_000)));
    let ordinary = format!("select 1 from patients where ssn = 'a'{}", " or ssn = 'b'".repeat(1_000));
    assert!(plan(&ordinary).is_ok());
    assert!(plan(&format!("select id{} from patients", "+1".repeat(500))).is_ok());
}

#[test]
fn text_that_is_not_utf8_passes_only_if_it_touches_nothing() {
    let policy = Policy::parse(POLICY).unwrap();
    let catalog = catalog();
    let context = Context { policy: &policy, catalog: &catalog, prepared: &|_| None };
    assert!(analyze(b"insert into logs (message) values ('\xe9')", &context).is_ok_and(|p| !p.protected));
    assert!(analyze(b"insert into patients (ssn) values ('\xe9')", &context).is_err());
    assert!(analyze(b"set trefoil.envelope = '\xe9'", &context).is_err());
}
