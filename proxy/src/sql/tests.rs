//! What statements become: each line a text, and the text that goes upstream (cells shown as
//! `«column:literal:purpose»`), with parameters and results where they matter; or its refusal.

mod copy;
mod ddl;
mod extent;
mod naming;
mod template;
mod written;

use super::{Context, Edit, Parameter, Plan, Refusal, ResultColumn, analyze};
use crate::policy::catalog::{Catalog, Column, Holds, Kind, Reach, Relation};
use crate::policy::{Policy, Purpose, QualifiedName};
use std::sync::Arc;

mod path;
mod views;

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
    Relation {
        name: QualifiedName::new(schema, name),
        oid,
        columns: Some(columns),
        reach,
        kind: Kind::Table,
        over: Vec::new(),
    }
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
        let (policy, catalog) = (Policy::parse(POLICY).unwrap(), catalog());
        let context = Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false };
        let analyze = |text: &str| analyze(text.as_bytes(), &context);
        template::check(&text, analyze);
        analyze(&text)
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
            Edit::Cell { literal, column, purpose, form, .. } => {
                let purpose = letter(*purpose);
                let array = if form.is_none() { "[]" } else { "" };
                shown.push_str(&format!(
                    "«{}{array}:{}:{purpose}»",
                    column.name,
                    literal.as_ref().unwrap().as_str()
                ));
            }
            Edit::Shown { name, .. } => shown.push_str(&format!("«show {name}»")),
        }
    }
    shown + &text[from..]
}

fn parameters(plan: &Plan) -> String {
    let copies = plan.twins.iter().map(|copy| format!("{}={}", copy.of + 1, usage(&copy.usage)));
    plan.parameters.iter().map(usage).chain(copies).collect::<Vec<_>>().join(",")
}

fn usage(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Plain => "-".to_owned(),
        Parameter::Cell(column, purpose) => format!("{}:{}", column.name, letter(*purpose)),
        Parameter::Cells(column, purpose) => format!("{}[]:{}", column.name, letter(*purpose)),
        Parameter::Tested { oid } => format!("null {oid}"),
        Parameter::Carrier { name, local } => format!("trefoil.{name}:{local}"),
        Parameter::SettingName => "setting".to_owned(),
    }
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
fn a_number_is_stored_without_the_zeros_before_it() {
    for (number, value) in
        [("007", "7"), ("0", "0"), ("0099999999999", "99999999999"), ("-0099999999999", "-99999999999")]
    {
        let insert = |number| format!("insert into patients (ssn) values ({number})");
        rewritten(&insert(number), &insert(&format!("«ssn:{value}:A»")));
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
fn parameters_in_two_classes_become_two() {
    for (text, upstream, shown) in [
        (
            "select 1 from patients where ssn = $1 and city = $1",
            "select 1 from patients where ssn = $1 and city = $2",
            "ssn:C,1=-",
        ),
        (
            "select 1 from patients where city = $1 and ssn = $1::text and name = $2 and name = $1",
            "select 1 from patients where city = $1 and ssn = $3 and name = $2 and name = $4",
            "-,name:C,1=ssn:C,1=name:C",
        ),
        (
            "update patients set balance = $1 where balance = $1",
            "update patients set balance = $1 where balance = $2",
            "balance:A,1=balance:C",
        ),
        (
            "update patients set ssn = $1 where ssn = $1",
            "update patients set ssn = $1 where ssn = $1",
            "ssn:A",
        ),
        (
            "select 1 from patients where ssn = any($1) or $1::text[] is null",
            "select 1 from patients where ssn = any($1) or $1 is null",
            "ssn[]:C",
        ),
        (
            "select 1 from patients where ($1::text is null or ssn = $1) and (cast($2 as int) is null or id = $2)",
            "select 1 from patients where ($1 is null or ssn = $1) and (cast($2 as int) is null or id = $2)",
            "ssn:C,-",
        ),
        (
            "select 1 from patients where $1::date is null or age = $2",
            "select 1 from patients where $1 is null or age = $2",
            "null 1082,age:C",
        ),
    ] {
        let plan = rewritten(text, upstream);
        assert_eq!(parameters(&plan), shown);
    }
    refused("select set_config('trefoil.user', $1, true), 1 from patients where ssn = $1", "0A000");
    for shows in [
        "select 1 from patients where $1 = '' or ssn = $1",
        "select 1 from patients where ssn = $1 and length($1) > 3",
        "select $1 || '', ssn from patients where ssn = $1",
        "select 1 from patients where ssn = $1 and coalesce($1, '') <> ''",
        "select 1 from patients where ssn = $1 and lower(city) = lower($1)",
        "select 1 from patients where ssn = $1 limit length($1)",
        "select 1 from patients where ssn = any($1) and cardinality($1) > 0",
        "with w(x) as (values ('a')) select 1 from patients p, w where p.ssn = $1 and w.x = $1",
    ] {
        refused(shows, "0A000");
    }
}

#[test]
fn arrays_of_cells() {
    for (text, upstream, shown) in [
        (
            "select 1 from patients where ssn = any($1)",
            "select 1 from patients where ssn = any($1)",
            "ssn[]:C",
        ),
        (
            "select 1 from patients where ssn <> all(cast($1 as varchar[]))",
            "select 1 from patients where ssn <> all(cast($1 as bytea[]))",
            "ssn[]:C",
        ),
        (
            "select 1 from patients where age = any('{1,2}'::int[])",
            "select 1 from patients where age = any(«age[]:{1,2}:C»::bytea[])",
            "",
        ),
        (
            "select 1 from patients where ssn = any(array['a', $1]::text[])",
            "select 1 from patients where ssn = any(array[«ssn:a:C», $1]::bytea[])",
            "ssn:C",
        ),
        (
            "select 1 from patients where ssn = any(array[]::text[])",
            "select 1 from patients where ssn = any(array[]::bytea[])",
            "",
        ),
        (
            "insert into patients (id, ssn) select * from unnest($1::int[], $2::text[])",
            "insert into patients (id, ssn) select * from unnest($1::int[], $2::bytea[])",
            "-,ssn[]:A",
        ),
        (
            "insert into patients (ssn) select unnest($1::text[])",
            "insert into patients (ssn) select unnest($1::bytea[])",
            "ssn[]:A",
        ),
        (
            "update patients p set name = u.n from unnest(array[1,2], array['a',$1]::text[]) as u(id, n) where p.id = u.id",
            "update patients p set name = u.n from unnest(array[1,2], array[«name:a:A»,$1]::bytea[]) as u(id, n) where p.id = u.id",
            "name:A",
        ),
        (
            "select 1 from patients join unnest($1::text[]) with ordinality as u(n, i) on u.n = name order by u.i",
            "select 1 from patients join unnest($1::bytea[]) with ordinality as u(n, i) on u.n = name order by u.i",
            "name[]:C",
        ),
    ] {
        let plan = rewritten(text, upstream);
        assert_eq!(parameters(&plan), shown, "{text}");
    }
    for text in [
        "select 1 from patients where ssn = any(string_to_array('MARKER', ','))",
        "select 1 from patients where ssn = any(array(select 'MARKER'))",
        "select 1 from patients where notes = any('{MARKER}')",
        "select 1 from patients where ssn > any('{MARKER}')",
        "select 1 from patients where ssn = any(array[array['MARKER']])",
        "select 1 from patients where ssn = any(array['MARKER', city])",
        "insert into patients (ssn) select unnest($1::text[]) || 'MARKER'",
        "insert into patients (ssn, city) select u, u from unnest($1::text[]) u",
        "insert into patients (ssn) select max(u) from unnest($1::text[]) u",
    ] {
        refused(text, "0A000");
    }
    refused("select 1 from patients where ssn = any('{1}'::int[])", "42804");
    refused("select 1 from patients where ssn = any($1::text)", "42804");
}

#[test]
fn other_forms() {
    for (text, upstream) in [
        (
            "select 1 from patients where (name, id) = (select ssn, 1 from visits) or (ssn, 'x') = (select ssn, 'y' from visits)",
            "",
        ),
        (
            "select 1 from patients where (ssn, id) = (select ssn, patient from visits where ssn = 'a')",
            "select 1 from patients where (ssn, id) = (select ssn, patient from visits where ssn = «ssn:a:C»)",
        ),
        (
            "select 1 from patients where ('a', 1) = (select ssn, id from visits)",
            "select 1 from patients where («ssn:a:C», 1) = (select ssn, id from visits)",
        ),
        (
            "select 1 from patients where row(ssn, id) is distinct from row('a', 1)",
            "select 1 from patients where row(ssn, id) is distinct from row(«ssn:a:C», 1)",
        ),
        (
            "insert into visits select * from visits",
            "insert into visits (\"id\", \"patient\", \"ssn\", \"reason\") select * from visits",
        ),
        (
            "insert into patients select 1, 'a'",
            "insert into patients (\"id\", \"name\") select 1, «name:a:A» AS \"?column?\"",
        ),
        (
            "select ssn from patients where ssn = 'a' fetch first row only",
            "select ssn from patients where ssn = «ssn:a:C» fetch first row only",
        ),
        (
            "update patients set ssn = 'a' returning with (old as o, new as n) o.ssn, n.ssn",
            "update patients set ssn = «ssn:a:A» returning with (old as o, new as n) o.ssn, n.ssn",
        ),
        (
            "select ssn, grouping(ssn), count(*) from patients group by rollup(ssn)",
            "select ssn, grouping(ssn), count(*) from patients group by rollup(ssn)",
        ),
        (
            "with recursive r(s, i) as (select ssn, id from patients union all select s, i + 1 from r where i < 3) search breadth first by i set o cycle i set c using p select s, o, c, p from r where s = 'a'",
            "with recursive r(s, i) as (select ssn, id from patients union all select s, i + 1 from r where i < 3) search breadth first by i set o cycle i set c using p select s, o, c, p from r where s = «ssn:a:C»",
        ),
        (
            "select p.ssn, x.* from patients p, xmltable('/r' passing xmlparse(content p.city) columns a int, b text) x where p.ssn = 'a'",
            "select p.ssn, x.* from patients p, xmltable('/r' passing xmlparse(content p.city) columns a int, b text) x where p.ssn = «ssn:a:C»",
        ),
        (
            "select p.ssn, j.a from patients p, json_table('{}', '$' columns (a int path '$.a')) j where p.ssn = 'a'",
            "select p.ssn, j.a from patients p, json_table('{}', '$' columns (a int path '$.a')) j where p.ssn = «ssn:a:C»",
        ),
        (
            "select ssn, r.* from patients, rows from (generate_series(1, 2), jsonb_to_recordset('[]') as (a int, b text)) with ordinality r where ssn = 'a'",
            "select ssn, r.* from patients, rows from (generate_series(1, 2), jsonb_to_recordset('[]') as (a int, b text)) with ordinality r where ssn = «ssn:a:C»",
        ),
    ] {
        if upstream.is_empty() {
            refused(text, "0A000");
        } else {
            rewritten(text, upstream);
        }
    }
    let plan = plan("select lag(ssn) over w, first_value(name) over w, lead(ssn, 1, 'none') over w from patients window w as (partition by ssn order by id)").unwrap();
    assert_eq!(results(&plan), "ssn,name,ssn");
}

#[test]
fn merge_in_its_forms() {
    let plan = rewritten(
        "merge into patients p using (values (1, 'a')) as s(i, n) on p.id = s.i \
         when matched and p.ssn = 'q' then update set name = s.n, ssn = $1 \
         when not matched then insert (id, name) values (i, n) \
         when not matched by source and name = 'z' then delete returning merge_action(), p.name",
        "merge into patients p using (values (1, «name:a:F»)) as s(i, n) on p.id = s.i \
         when matched and p.ssn = «ssn:q:C» then update set name = s.n, ssn = $1 \
         when not matched then insert (id, name) values (i, n) \
         when not matched by source and name = «name:z:C» then delete returning merge_action(), p.name",
    );
    assert_eq!((parameters(&plan).as_str(), results(&plan).as_str()), ("ssn:A", "-,name"));
    assert!(plan.writes);
}

#[test]
fn literals_leave_subqueries_by_their_use() {
    for (text, upstream) in [
        (
            "select p.id, v.n from patients p join (values (1, 'a'), (2, 'b')) v(i, n) on v.n = p.name",
            "select p.id, v.n from patients p join (values (1, «name:a:F»), (2, «name:b:F»)) v(i, n) on v.n = p.name",
        ),
        (
            "update patients p set name = v.n from (values (1, 'a'), (2, null)) v(i, n) where p.id = v.i",
            "update patients p set name = v.n from (values (1, «name:a:A»), (2, null)) v(i, n) where p.id = v.i",
        ),
        (
            "with x as (select $1 as n) select id from patients where ssn = (select n from x)",
            "with x as (select $1 as n) select id from patients where ssn = (select n from x)",
        ),
        (
            "with x(n) as (values ('a')) insert into patients (name) select n from x",
            "with x(n) as (values («name:a:A»)) insert into patients (name) select n from x",
        ),
        (
            "select id from patients where ssn in (values ('a'), ('b'))",
            "select id from patients where ssn in (values («ssn:a:C»), («ssn:b:C»))",
        ),
        (
            "update patients set age = v.a::int from (values ('5')) v(a)",
            "update patients set age = v.a from (values («age:5:A»)) v(a)",
        ),
        (
            "select v.n || 'x' from patients, (values ('a')) v(n)",
            "select v.n || 'x' from patients, (values ('a')) v(n)",
        ),
        (
            "update patients set (name, age) = (select 'a', 5) where id = 1",
            "update patients set (name, age) = (select «name:a:A» AS \"?column?\", «age:5:A» AS \"?column?\") where id = 1",
        ),
    ] {
        rewritten(text, upstream);
    }
    let plan = plan("select v.n from patients p join (values ('a')) v(n) on v.n = p.name").unwrap();
    assert_eq!(results(&plan), "name");
    for text in [
        "select v.n || 'x' from patients p, (values ('MARKER')) v(n) where v.n = p.name",
        "select 1 from patients p, (values ('MARKER')) v(n) where v.n = p.name and v.n = p.ssn",
        "select 1 from patients p, (values ('MARKER')) v(n) where v.n = p.name and v.n = p.city",
        "select v from patients p, (values ('MARKER')) v(n) where v.n = p.name",
        "select 1 from patients p, (select distinct n from (values ('MARKER')) v(n)) v where v.n = p.name",
        "insert into patients (name) (values ('b'), ('MARKER') order by 1 limit 1)",
        "insert into patients (name) select n from (values ('b'), ('MARKER')) v(n) order by n limit 1",
        "with recursive r(n) as (select 'MARKER' union all select n from r) select 1 from patients where name = (select n from r)",
        "select max(v.n) from patients p join (values ('MARKER')) v(n) on v.n = p.name",
    ] {
        refused(text, "0A000");
    }
    refused("select 1 from patients where age = (select 'MARKER')", "42804");
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
        "update patients set city = ssn",
        "update patients set ssn = city",
        "select ssn from patients union select city from patients",
        "select ssn from patients union select 'MARKER' union select city from patients",
        "select notes from patients union select notes from patients",
        "select 1 from patients where ssn in (select message from logs)",
        "select 1 from patients where (ssn, id) in (select message, id from logs)",
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
        "select 1 from patients where ('MARKER', 1) < (select ssn, id from visits)",
        "select 1 from patients where ('MARKER', 'x') = (select ssn, upper(reason) from visits)  and ssn > 'MARKER'",
        "select lag(ssn) over (order by ssn) from patients",
        "select lag(ssn, 1, city) over (order by id) from patients",
        "select mine.lag(ssn) over (order by id) from patients",
        "select lag(ssn) over (order by id) || 'MARKER' from patients",
        "select grouping(notes) from patients group by id",
        "select array_agg(ssn) over (partition by city) from patients",
        "with recursive r(s, i) as (select ssn, id from patients union all select s, i from r) search depth first by s set o select * from r",
        "with recursive r(s, i) as (select ssn, id from patients union all select s, i from r) cycle s set c using p select * from r",
        "select * from patients p, xmltable('/r' passing p.ssn columns a int)",
        "select * from patients p, json_table(p.ssn, '$' columns (a int path '$.a')) j",
        "select (p).ssn from patients p",
        "select (p).* from patients p",
        "select ssn(p) from patients p",
        "select row(p.*) from patients p",
        "select (p.*)::text from patients p",
        "select p::text from patients p",
        "select to_jsonb(patients) from patients",
        "select count(p) from patients p",
        "select 1 from patients p where p is null",
        "select 1 from patients p order by p",
        "select 1 from patients p group by p",
        "select coalesce(p, null) from patients p",
        "select s from (select ssn from patients) s",
        "select xmlforest(ssn) from patients",
        "select json_object('a': ssn) from patients",
        "select json_array(select ssn from patients)",
        "select (select p from patients p limit 1).ssn",
        "select (array(select ssn from patients))[1]",
        "delete from patients returning with (old as o) o",
        "select 1 from patients where ssn collate \"C\" = 'MARKER'",
        "merge into patients using logs on false when not matched then insert values (1, 'MARKER')",
        "merge into patients using logs on false when not matched then insert (ssn) values (upper('MARKER'))",
        "merge into patients p using logs l on l.ssn = p.ssn when matched then delete",
        "merge into patients p using visits v on v.ssn = p.ssn when matched then update set city = v.ssn",
        "merge into logs l using visits v on v.id = l.id when not matched then insert (message) values (v.ssn)",
        "merge into patients p using visits v on v.ssn = p.ssn when matched and p.name > 'MARKER' then delete",
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
        analyze(
            text.as_bytes(),
            &Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false },
        )
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
        &Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false },
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
    let context = Context { policy: &policy, catalog: &catalog, prepared: &|_| None, audited: false };
    assert!(analyze(b"insert into logs (message) values ('\xe9')", &context).is_ok_and(|p| !p.protected));
    assert!(analyze(b"insert into patients (ssn) values ('\xe9')", &context).is_err());
    assert!(analyze(b"set trefoil.envelope = '\xe9'", &context).is_err());
}

#[test]
fn nothing_follows_a_rollback_of_ddl_in_one_text() {
    for text in [
        "begin; drop table patients; create table patients (x text, y text); rollback; insert into patients values ('MARKER', 'x')",
        "begin; drop table logs; rollback and chain; select 1 from patients where ssn = 'x'",
        "create table t (a int); rollback; insert into t values (1)",
        "begin; savepoint a; create temp table n (a int); rollback to a; select 1 from n",
    ] {
        refused(text, "0A000");
    }
    rewritten(
        "begin; select 1 from logs; rollback; select 2 from logs",
        "begin; select 1 from logs; rollback; select 2 from logs",
    );
}

#[test]
fn stars_do_not_double_without_end() {
    let mut text = "with c0 as (select ssn from patients)".to_owned();
    for level in 1..40 {
        text.push_str(&format!(", c{level} as (select * from c{} x, c{} y)", level - 1, level - 1));
    }
    refused(&format!("{text} select count(*) from c39"), "54011");
}

/// Texts of as many tokens as may be, and as long as a message may be. Whatever becomes of them, it takes
/// neither the stack nor the memory.
#[test]
fn the_largest_texts_cost_an_error_and_never_the_process() {
    const TOKENS: usize = 2_000_000;
    const LARGEST: usize = 64 << 20;
    // Left-recursive in the grammar: a tree as deep as there are units.
    let chain = |unit: &str, tokens: usize| unit.repeat((TOKENS - 20) / tokens);
    untouched(&format!("select 1{}", chain("+1", 2)));
    for text in [
        format!("select ssn{} from patients", chain("[1]", 3)),
        format!("select 1 from patients{}", chain(" union all select 1", 4)),
        format!("select id from patients where ssn = 'a'{}", chain("::text", 2)),
    ] {
        assert!(plan(&text).is_err(), "{}", &text[..40]);
    }
    // Right-recursive: the grammar's own stack ends them.
    let nest = |open: &str, close: &str| [&open.repeat(500_000), "1", &close.repeat(500_000)].concat();
    for text in [
        format!("select {} from patients", nest("(", ")")),
        format!("select {} from logs", nest("case when true then ", " end")),
        format!("select {} from logs", nest("array[", "]")),
        format!("select {} from logs", nest("(select ", ")")),
        format!("select 1 from logs where {} true", "not ".repeat(1_000_000)),
    ] {
        assert!(plan(&text).is_err(), "{}", &text[..40]);
    }
    let too_long =
        plan(&format!("select 1{}", ",1".repeat(LARGEST / 2))).err().map(|refusal| match refusal {
            Refusal::Refused(error) | Refusal::UnknownRelation(error) => error.message,
        });
    assert_eq!(
        too_long.as_deref(),
        Some("the statement has more than 2000000 tokens and is too long to be analysed")
    );
    // As long, and few tokens: what nests within a value is the value's.
    assert!(plan(&format!("insert into patients (ssn) values ('{}')", "[".repeat(LARGEST))).is_ok());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 3_000_000, "{peak} kB");
}
