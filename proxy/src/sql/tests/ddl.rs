//! Definitions: what they become, and what of them would leave a protected column unprotected.

use super::{plan, refused, rewritten, untouched};

#[track_caller]
fn same(text: &str) {
    rewritten(text, text);
}

#[test]
fn definitions_that_leave_protected_columns_as_they_are() {
    for text in [
        "alter table patients rename column city to town",
        "alter table patients rename constraint a to b",
        "alter table logs rename to journal",
        "alter table logs rename column message to ssn",
        "alter table other.logs rename to patients",
        "alter table logs set schema other",
        "alter table patients add check (ssn is not null), add check (city <> '' or notes is null)",
        "alter table patients alter column city type varchar(20) using lower(city), alter column city set storage main, alter column ssn set statistics 5",
        "alter table patients replica identity full, enable always trigger t, set (fillfactor = 70), cluster on i",
        "alter table patients add constraint u unique nulls not distinct (ssn)",
        "alter table patients add constraint k primary key using index i",
        "create unique index concurrently if not exists i on public.patients using btree (ssn bytea_ops, lower(city)) include (notes) nulls not distinct where notes is not null",
        "create statistics s (dependencies) on city, ssn from patients",
        "create policy p on patients using (city = current_user and ssn is not null) with check (id > 0)",
        "create trigger t before update of ssn on patients for each row when (old.ssn is distinct from new.ssn) execute function f()",
        "create publication p for table logs",
        "lock table patients; cluster patients using i; reindex table patients; analyze patients (ssn)",
        "grant select (ssn), update (city) on patients to someone; revoke all on patients from public",
        "comment on column patients.ssn is 'never in clear'; drop table patients cascade; drop schema public cascade",
        "alter table patients rename column city to town; select town from patients",
        "alter trigger t on patients rename to u; alter policy p on patients rename to q",
    ] {
        same(text);
    }
}

#[test]
fn definitions_that_would_leave_them_bare_are_refused() {
    for text in [
        "alter table patients rename column city to notes; select 'MARKER'",
        "alter table patients rename constraint trefoil_cell_ssn to c",
        "alter table patients rename constraint c to trefoil_cell_ssn",
        "alter table patients alter constraint trefoil_cell_ssn not enforced",
        "alter table logs rename to patients",
        "alter table other.patients set schema public",
        "alter table patients add check (ssn is not null and ssn <> 'MARKER')",
        "alter table patients add check ((ssn is null) = (ssn = 'MARKER'))",
        "alter table patients add check (patients is not null)",
        "alter table patients alter column city type text using ssn",
        "alter table patients alter column city set expression as (ssn)",
        "alter table patients add exclude using hash (ssn with =)",
        "create index on patients (ssn text_ops)",
        "create index on patients (ssn collate \"C\")",
        "create index on patients (id) where ssn is not null and ssn = 'MARKER'",
        "create statistics s on (upper(ssn)), city from patients",
        "create policy p on patients using (ssn = city)",
        "create policy p on patients using (ssn like 'MARKER%')",
        "alter policy p on patients with check (notes = 'MARKER')",
        "create trigger t before insert on logs execute function add_patient()",
        "create trigger t before insert on patients for each row when (new.ssn > 'MARKER') execute function f()",
        "create trigger t before insert on patients for each row when (new.notes = old.notes) execute function f()",
        "create event trigger e on ddl_command_end execute function add_patient()",
        "create operator === (procedure = add_patient, leftarg = text, rightarg = text)",
        "create aggregate a (text) (sfunc = add_patient, stype = text)",
        "create cast (text as int) with function add_patient(text)",
        "create publication p for table patients",
        "create publication p for all tables",
        "create publication p for tables in schema public",
        "create publication p for tables in schema current_schema",
        "alter publication p add table patients",
        "create subscription s connection 'host=MARKER' publication p",
        "create rule r as on insert to patients do also notify x",
        "create schema s create table patients (ssn text)",
        "create function g(t text) returns void language plpgsql as $$ begin execute t; end $$; select g('MARKER')",
        "create table future (secret text check (secret <> 'MARKER'))",
        "create table future (secret text not enforced)",
        "create table future (secret text generated always as ('MARKER') stored)",
        "create table future (secret text default lower('MARKER'))",
        "create table future (secret text) partition by range (secret)",
        "create table future (id int, note varchar(20)) partition by hash (note)",
        "create table future (like patients)",
        "create table future (like logs, id int) partition by list ((future is null))",
        "create table copy (like visits including all)",
    ] {
        refused(text, "0A000");
    }
}

#[test]
fn literals_in_policies_and_trigger_conditions_become_cells() {
    rewritten(
        "create policy p on patients for select to public using (ssn = 'x' or exists (select 1 from visits v where v.ssn = patients.ssn)) with check (age = 3)",
        "create policy p on patients for select to public using (ssn = «ssn:x:C» or exists (select 1 from visits v where v.ssn = patients.ssn)) with check (age = «age:3:C»)",
    );
    rewritten(
        "create trigger t after update on patients for each row when (old.ssn = 'x' and new.ssn <> old.ssn) execute function f()",
        "create trigger t after update on patients for each row when (old.ssn = «ssn:x:C» and new.ssn <> old.ssn) execute function f()",
    );
}

#[test]
fn tables_in_every_form() {
    let check = |name: &str| {
        let check = trefoil_keys::cell::check_constraint(
            trefoil_keys::cell::Mode::Deterministic,
            &format!("\"{name}\""),
        );
        format!("CONSTRAINT \"trefoil_cell_{name}\" CHECK ({check})")
    };
    let secret = check("secret");
    rewritten(
        "create unlogged table if not exists public.future (id serial, secret text constraint s check (secret is not null) default null, unique nulls not distinct (secret), n int generated always as (id * 2) stored, foreign key (secret) references future (secret)) partition by hash (secret) using heap with (fillfactor = 70) tablespace t",
        &format!(
            "create unlogged table if not exists public.future (id serial, secret bytea {secret} constraint s check (secret is not null) default null, unique nulls not distinct (secret), n int generated always as (id * 2) stored, foreign key (secret) references future (secret)) partition by hash (secret) using heap with (fillfactor = 70) tablespace t"
        ),
    );
    rewritten(
        "create table public.future (like logs, secret text)",
        &format!("create table public.future (like logs, secret bytea {secret})"),
    );
    untouched(
        "create table t (like logs including all, other int references other (id)) partition by list (id)",
    );
    assert!(
        plan("create table plain_one (id int references patients, who text references patients (city))")
            .is_ok()
    );
}

#[test]
fn children_and_partitions_hold_their_parents_cells() {
    for text in [
        "create table p1 partition of patients for values from (1) to (10)",
        "create table p2 partition of patients (city default 'x', constraint c check (ssn is not null)) default partition by list (city)",
        "create table kid (extra int) inherits (patients)",
        "create table base (town text); create table kid () inherits (base)",
        "alter table patients attach partition visits default",
        "alter table patients detach partition visits concurrently",
        "alter table patients no inherit logs",
    ] {
        same(text);
    }
    rewritten(
        "create table p1 partition of patients for values in (1); insert into p1 values (1, 'n', 's'); select ssn from p1 where ssn = 's'",
        "create table p1 partition of patients for values in (1); insert into p1 (\"id\", \"name\", \"ssn\") values (1, «name:n:A», «ssn:s:A»); select ssn from p1 where ssn = «ssn:s:C»",
    );
    rewritten(
        "create temp table kid (extra int) inherits (patients); update kid set ssn = 's', city = 'c', extra = 1",
        "create temp table kid (extra int) inherits (patients); update kid set ssn = «ssn:s:A», city = 'c', extra = 1",
    );
    let check = trefoil_keys::cell::check_constraint(trefoil_keys::cell::Mode::Deterministic, "\"ssn\"");
    rewritten(
        "create table kid (ssn text not null default 'x') inherits (patients)",
        &format!(
            "create table kid (ssn bytea CONSTRAINT \"trefoil_cell_ssn\" CHECK ({check}) not null default «ssn:x:A») inherits (patients)"
        ),
    );
    rewritten(
        "create table p1 partition of patients (ssn default 'x') default",
        "create table p1 partition of patients (ssn default «ssn:x:A») default",
    );
    for text in [
        "create table future (id int) inherits (patients)",
        "create table kid () inherits (patients, logs)",
        "create table kid () inherits (patients); alter table kid no inherit patients",
        "create table kid () inherits (patients); alter table kid set schema public; select upper(ssn) from kid",
        "create table kid () inherits (patients); alter table kid rename column ssn to bare; select 'MARKER'",
        "create table p1 partition of patients default; alter table patients detach partition p1",
        "create table base (id int, ssn text); alter table patients inherit base",
        "create table base (id int, ssn bytea); alter table patients attach partition base default",
        "create table base (ssn text) partition by list (ssn); alter table base attach partition patients for values in ('MARKER')",
        "alter table patients attach partition logs for values in (1)",
        "create table p1 partition of patient_view default",
    ] {
        refused(text, "0A000");
    }
}
