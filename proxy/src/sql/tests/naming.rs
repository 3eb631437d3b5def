//! PREPARE, EXECUTE, DECLARE, FETCH, EXPLAIN, CREATE TABLE AS and temporary tables.

use super::super::{Context, Naming, Plan, Refusal, StatementPlan, analyze};
use super::{catalog, on_large_stack, parameters, results, shown};
use crate::policy::{Policy, QualifiedName};
use std::sync::Arc;

const POLICY: &str = r#"
[tables."public.patients"]
name = { type = "text", mode = "deterministic" }
ssn = { type = "text", mode = "deterministic", domain = "ssn" }
notes = { type = "text", mode = "randomized" }
age = { type = "int4", mode = "deterministic" }
balance = { type = "numeric(10,2)", mode = "deterministic" }

[tables."public.copied"]
ssn = { type = "text", mode = "deterministic", domain = "ssn" }

[tables."pg_temp.recent"]
ssn = { type = "text", mode = "deterministic", domain = "ssn" }
"#;

/// A plan in a session that knows the statements which these texts prepare.
fn plan_after(before: &[&str], text: &str) -> Result<Plan, Refusal> {
    let (before, text) = (before.join(";"), text.to_owned());
    on_large_stack(move || {
        let policy = Policy::parse(POLICY).unwrap();
        let catalog = catalog();
        let none = |_: &str| None;
        let context = Context { policy: &policy, catalog: &catalog, prepared: &none, audited: false };
        let before = analyze(before.as_bytes(), &context).unwrap();
        let prepared = |asked: &str| {
            before.statements.iter().find_map(|statement| match &statement.naming {
                Some(Naming::Prepare { name, plan, .. }) if name == asked => Some(Arc::clone(plan)),
                _ => None,
            })
        };
        analyze(
            text.as_bytes(),
            &Context { policy: &policy, catalog: &catalog, prepared: &prepared, audited: false },
        )
    })
}

fn plan(text: &str) -> Result<Plan, Refusal> {
    plan_after(&[], text)
}

#[track_caller]
fn becomes(text: &str, expected: &str) -> Plan {
    let plan = plan(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    assert_eq!(shown(text, &plan), expected);
    plan
}

#[track_caller]
fn refused(plan: Result<Plan, Refusal>, code: &str) {
    match plan {
        Ok(_) => panic!("not refused"),
        Err(Refusal::Refused(error) | Refusal::UnknownRelation(error)) => {
            assert_eq!(error.sqlstate, code, "{error:?}");
            assert!(!format!("{error:?}").contains("MARKER"));
        }
    }
}

/// What a PREPARE or DECLARE gives its name.
fn inner(statement: &StatementPlan) -> &Plan {
    match &statement.naming {
        Some(Naming::Prepare { plan, .. } | Naming::Declare { plan, .. }) => plan,
        _ => panic!("names nothing"),
    }
}

#[test]
fn prepare_is_analysed_with_parameters_of_its_own() {
    let plan = becomes(
        "prepare p (text, int, varchar) as select name, id from patients where ssn = $1 and id = $2 and name = $3",
        "prepare p (bytea, int, bytea) as select name, id from patients where ssn = $1 and id = $2 and name = $3",
    );
    assert!(plan.parameters.is_empty() && plan.protected && !plan.writes && !plan.keyed());
    let statement = inner(&plan.statements[0]);
    assert_eq!((parameters(statement), results(statement)), ("ssn:C,-,name:C".into(), "name,-".into()));
    assert!(matches!(&plan.statements[0].naming,
        Some(Naming::Prepare { declared, .. }) if **declared == [25, 0, 1043]));

    let plan = becomes(
        "prepare p as insert into patients (id, ssn) values ($1, 'x')",
        "prepare p as insert into patients (id, ssn) values ($1, «ssn:x:A»)",
    );
    assert!(!plan.writes && plan.keyed() && inner(&plan.statements[0]).writes);
    refused(plan_after(&[], "prepare p (int) as select 1 from patients where ssn = $1"), "42804");
    refused(plan_after(&[], "prepare p as select upper(ssn) from patients"), "0A000");
    refused(plan_after(&[], "prepare p as select set_config('trefoil.envelope', $1, false)"), "0A000");
}

#[test]
fn execute_treats_its_arguments_as_the_parameters() {
    let find = "prepare find as select name from patients where ssn = $1 and id = $2";
    let add = "prepare add (int, text) as insert into patients (id, ssn) values ($1, $2)";
    let plain = "prepare plain as select $1::text";
    let text = "execute find('x', 5)";
    let plan = plan_after(&[find], text).unwrap();
    assert_eq!(shown(text, &plan), "execute find(«ssn:x:C», 5)");
    assert_eq!(results(&plan), "name");
    assert!(plan.protected && !plan.writes && plan.keyed() && !plan.cacheable());
    assert!(matches!(plan.executes.as_slice(), [(name, _)] if name == "find"));

    let text = "EXECUTE \"add\" (1, 'x'::text)";
    let plan = plan_after(&[add], text).unwrap();
    assert_eq!(shown(text, &plan), "EXECUTE \"add\" (1, «ssn:x:A»)");
    assert!(plan.writes);
    assert_eq!(parameters(&plan_after(&[add], "execute add($1, $2)").unwrap()), "-,ssn:A");

    let plan = plan_after(&[plain], "execute plain('x')").unwrap();
    assert!(!plan.protected && !plan.writes && plan.edits.is_empty() && plan.executes.len() == 1);

    refused(plan_after(&[add], "execute add(1, 'MARKER' || 'x')"), "0A000");
    refused(plan_after(&[add], "execute add(1, 'MARKER'::int)"), "42804");
    refused(plan_after(&[], "execute nothing('MARKER')"), "26000");
    refused(plan_after(&[plain], "execute \"Plain\"('MARKER')"), "26000");
}

#[test]
fn names_follow_the_text() {
    let add = "prepare p as insert into patients (ssn) values ($1)";
    // What the text prepares is what it runs, whatever the session knows.
    for text in [
        "deallocate p; prepare p as select $1::text; execute p('x')",
        "deallocate all; prepare p as select $1::text; execute p('x')",
        "discard all; prepare p as select $1::text; execute p('x')",
    ] {
        let plan = plan_after(&[add], text).unwrap();
        assert!(!plan.protected && plan.executes.is_empty(), "{text}");
    }
    let text = "deallocate p; prepare p as update patients set ssn = $1; execute p('x'); select 1";
    let plan = plan_after(&["prepare p as select $1::text"], text).unwrap();
    assert_eq!(
        shown(text, &plan),
        "deallocate p; prepare p as update patients set ssn = $1::bytea; execute p(«ssn:x:A»); select 1"
    );
    assert!(plan.executes.is_empty() && plan.writes);
    // A PREPARE that fails leaves the name what it was, and the rest unrun.
    for text in [
        "prepare p as select $1::text; execute p('x')",
        "deallocate p; prepare p as delete from patients where ssn = $1; prepare p as select $1; execute p('x')",
    ] {
        assert!(plan_after(&[add], text).unwrap().keyed(), "{text}");
    }
    refused(plan_after(&[add], "deallocate p; execute p('MARKER')"), "26000");
    refused(plan_after(&[add], "discard all; execute p('MARKER')"), "26000");
    // 70 letters are 63, on both sides.
    let long = "a".repeat(70);
    let text = format!("prepare {long} as update patients set ssn = $1; execute {}('x')", &long[..63]);
    assert!(plan_after(&[], &text).unwrap().keyed());
    refused(plan_after(&[], &format!("prepare {} as select 1", "ä".repeat(31))), "0A000");
}

#[test]
fn statements_that_do_more_are_not_executed_by_name() {
    let policy = Policy::parse(POLICY).unwrap();
    let catalog = catalog();
    let none = |_: &str| None;
    let of = |text: &str| {
        analyze(
            text.as_bytes(),
            &Context { policy: &policy, catalog: &catalog, prepared: &none, audited: false },
        )
        .unwrap()
    };
    for text in [
        "prepare q as select 1",
        "declare c cursor for select ssn from patients",
        "fetch c",
        "set trefoil.\"user\" = 'a'",
        "create table x (id int)",
        "select 1; select 2",
        "discard all",
    ] {
        assert!(!of(text).executable(), "{text}");
    }
    assert!(of("select ssn from patients where ssn = $1").executable());
}

#[test]
fn cursors_are_declared_with_their_columns() {
    let plan = becomes(
        "declare c no scroll cursor with hold for select ssn, id from patients where name = 'x' and ssn = $1",
        "declare c no scroll cursor with hold for select ssn, id from patients where name = «name:x:C» and ssn = $1",
    );
    assert_eq!((parameters(&plan), results(&plan)), ("ssn:C".into(), "none".into()));
    assert_eq!(results(inner(&plan.statements[0])), "ssn,-");
    assert!(matches!(plan.statements[0].naming, Some(Naming::Declare { hold: true, binary: false, .. })));

    let plan = plan_after(&[], "declare \"C\" binary cursor for select ssn from patients").unwrap();
    assert!(matches!(plan.statements[0].naming, Some(Naming::Declare { hold: false, binary: true, .. })));
    assert!(!plan.keyed());
    let plan =
        plan_after(&[], "declare c cursor for select ssn from patients; fetch 2 from c; close c").unwrap();
    assert!(plan.keyed() && plan.names());
    assert_eq!(plan.fetches().collect::<Vec<_>>(), ["c"]);
    assert!(plan_after(&[], "move all in c").unwrap().fetches().next().is_some());

    refused(plan_after(&[], "declare c cursor for select ssn || 'MARKER' from patients"), "0A000");
    refused(
        plan_after(&[], "declare c cursor for select 1 from patients where age = 'MARKER'::text"),
        "42804",
    );
    // A setting changed by what a cursor yields.
    assert!(
        plan_after(&[], "declare c cursor for select set_config('TimeZone', 'UTC', false)")
            .unwrap()
            .changes_form
    );
}

#[test]
fn explain_edits_what_it_explains() {
    let plan = becomes(
        "explain (costs off) select ssn from patients where ssn = 'x'",
        "explain (costs off) select ssn from patients where ssn = «ssn:x:C»",
    );
    assert!(plan.statements[0].results.is_none() && plan.protected && !plan.writes && plan.keyed());
    let insert = "insert into patients (id, ssn) values (1, 'x')";
    let edited = "insert into patients (id, ssn) values (1, «ssn:x:A»)";
    assert!(!becomes(&format!("explain {insert}"), &format!("explain {edited}")).writes);
    assert!(becomes(&format!("explain analyze {insert}"), &format!("explain analyze {edited}")).writes);
    assert!(plan_after(&[], &format!("explain (analyze, costs off) {insert}")).unwrap().writes);
    let add = "prepare p as insert into patients (ssn) values ($1)";
    let plan = plan_after(&[add], "explain analyze execute p('x')").unwrap();
    assert!(plan.writes && plan.keyed() && plan.statements[0].results.is_none());
    let plan =
        plan_after(&[], "explain declare c cursor for select ssn from patients where ssn = 'x'").unwrap();
    assert!(plan.keyed() && plan.statements[0].naming.is_none());
    assert_eq!(
        parameters(&plan_after(&[], "explain (generic_plan) select 1 from patients where ssn = $1").unwrap()),
        "ssn:C"
    );
    refused(plan_after(&[], "explain select 1 from patients where upper(ssn) = 'MARKER'"), "0A000");
}

#[test]
fn a_table_made_of_a_query_is_what_the_policy_says() {
    let plan = becomes(
        "create table copied as select id, ssn from patients where ssn = 'x'",
        "create table \"public\".copied as select id, ssn from patients where ssn = «ssn:x:C»",
    );
    let after = plan.catalog_after.unwrap();
    let made = after.relation(&QualifiedName::new("public", "copied")).unwrap();
    let columns: Vec<_> =
        made.columns.iter().flatten().map(|column| (column.name.as_str(), column.type_oid)).collect();
    assert_eq!(columns, [("id", 0), ("ssn", 17)]);
    becomes(
        "create table if not exists copied (n, ssn) as select count(*), 'x' from patients",
        "create table if not exists \"public\".copied (n, ssn) as select count(*), «ssn:x:A» AS \"?column?\" from patients",
    );
    becomes(
        "select id, ssn into copied from patients",
        "select id, ssn into \"public\".copied from patients",
    );
    becomes(
        "create table totals as select count(*) from patients",
        "create table totals as select count(*) from patients",
    );
    becomes(
        "create table copied as select id from logs",
        "create table \"public\".copied as select id from logs",
    );
    becomes(
        "create temp table recent as select ssn from patients",
        "create temp table \"pg_temp\".recent as select ssn from patients",
    );
}

#[test]
fn a_table_made_of_a_query_is_refused_else() {
    for text in [
        "create table other as select ssn from patients",
        "select ssn into other from patients",
        "create table copied as select name as ssn from patients",
        "create table copied (n, name) as select id, ssn from patients",
        "create table copied as select message as ssn from logs",
        "create table copied as select 'MARKER'::text || 'x' as ssn",
        "create table copied as select null as ssn from patients",
        "select ssn into temp other from patients",
        "create temp table patients as select 1 as id",
        "select 1 as id into temp patients",
        "create temp view patients as select 1",
        "create table pg_temp.patients (id int)",
        "create table pg_temp_3.patients (ssn text)",
        "create temp sequence patients",
        "create table recent (ssn text)",
        "select ssn into copied from patients union select ssn from patients",
    ] {
        refused(plan(text), "0A000");
    }
    let list = "prepare l as select id, ssn from patients";
    refused(plan_after(&[list], "create table copied as execute l"), "0A000");
    refused(plan_after(&[list], "create table copied (id, name) as execute l"), "0A000");
    let text = "create table copied (id, ssn) as execute l";
    let plan = plan_after(&[list], text).unwrap();
    assert_eq!(shown(text, &plan), "create table \"public\".copied (id, ssn) as execute l");
}

#[test]
fn a_materialized_view_holds_what_its_query_yields() {
    let text =
        "create materialized view m as select ssn, id from patients; select ssn from m where ssn = 'x'";
    let plan = becomes(
        text,
        "create materialized view m as select ssn, id from patients; select ssn from m where ssn = «ssn:x:C»",
    );
    assert_eq!(results(&plan), "ssn");
}

#[test]
fn temporary_tables_are_protected_by_their_policy() {
    let plan = becomes(
        "create temp table recent (id int, ssn text) on commit drop; insert into recent values (1, 'x'); select ssn from pg_temp.recent",
        "create temp table \"pg_temp\".recent (id int, ssn bytea CONSTRAINT \"trefoil_cell_ssn\" CHECK (octet_length(\"ssn\") >= 18 AND get_byte(\"ssn\", 0) = 18)) on commit drop; insert into recent (\"id\", \"ssn\") values (1, «ssn:x:A»); select ssn from pg_temp.recent",
    );
    assert_eq!(results(&plan), "ssn");
    let plan = becomes("create temp table other (ssn text)", "create temp table other (ssn text)");
    assert!(!plan.protected);
    refused(
        plan_after(&[], "create temp table other (ssn text); insert into other select ssn from patients"),
        "0A000",
    );
    let gone =
        plan_after(&[], "create temp table other (ssn text); discard temp").unwrap().catalog_after.unwrap();
    assert!(gone.named("other").is_empty());
}
