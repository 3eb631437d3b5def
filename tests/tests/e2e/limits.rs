//! The limits of an envelope: what a malicious application that holds it can do with it, and no more.
//! Each refusal stands beside the same under an envelope that allows it.

use crate::shared::{Database, POLICY, clinic, cluster, create_schema, shared};
use std::time::{Duration, Instant};
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::stack::{ProxyOptions, Stack};

/// Whoever presents these things with each request, as an application does.
struct Presenter {
    client: Frontend,
    comment: String,
}

impl Presenter {
    fn new(database: &Database, options: &[&str]) -> Self {
        let envelope = shared().tenant.envelope("alice", options).unwrap();
        Self::with(database, "alice", &envelope)
    }

    fn with(database: &Database, user: &str, envelope: &str) -> Self {
        let client = Frontend::connect(&database.application, &[]).unwrap();
        let comment = format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ ");
        Self { client, comment }
    }

    fn simple(&mut self, text: &str) -> Vec<Frame> {
        self.client.query(&(self.comment.clone() + text)).unwrap()
    }

    fn extended(&mut self, text: &str) -> Vec<Frame> {
        self.client.extended(&(self.comment.clone() + text), &[], true).unwrap()
    }

    /// The code of its refusal; none if it runs.
    fn code(frames: &[Frame]) -> Option<String> {
        sqlstate(frames)?;
        let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
        let detail = error.field(b'D').unwrap_or_else(|| panic!("{frames:?}"));
        Some(detail.split_whitespace().nth(2).unwrap().trim_end_matches(':').to_owned())
    }

    /// Runs by both protocols what may run, and takes it back.
    fn runs(&mut self, text: &str) {
        for extended in [false, true] {
            self.client.query("BEGIN").unwrap();
            let frames = if extended { self.extended(text) } else { self.simple(text) };
            assert_eq!(sqlstate(&frames), None, "{text}");
            self.client.query("ROLLBACK").unwrap();
            self.client.query("DEALLOCATE ALL").unwrap();
        }
    }

    /// Is refused by both protocols what may not run.
    fn refused(&mut self, code: &str, text: &str) {
        for extended in [false, true] {
            let frames = if extended { self.extended(text) } else { self.simple(text) };
            assert_eq!(Self::code(&frames).as_deref(), Some(code), "{text}");
            assert_eq!(sqlstate(&frames).as_deref(), Some("42501"));
        }
    }
}

fn prepared() -> Database {
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    for text in [
        "CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1'",
        "CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS 'INSERT INTO wards VALUES (77) RETURNING 1'",
        "CREATE SEQUENCE tickets",
        "CREATE VIEW ids AS SELECT id FROM patients",
        "CREATE TABLE shelf (id int, ssn text)",
    ] {
        assert_eq!(sqlstate(&client.query(text).unwrap()), None, "{text}");
    }
    database
}

const READS: &[&str] = &[
    "SELECT ssn FROM patients WHERE ssn = 'SEED-001'",
    "SELECT count(*), now(), random() FROM patients",
    "WITH p AS (SELECT ssn FROM patients) SELECT ssn FROM p",
    "SELECT pure(id), ssn FROM patients",
    "SELECT ssn, pg_advisory_xact_lock(7) FROM patients",
    "EXPLAIN SELECT ssn FROM patients",
    "EXPLAIN ANALYZE SELECT ssn FROM patients",
    "EXPLAIN UPDATE patients SET ward = 1",
    "PREPARE reading AS SELECT ssn FROM patients",
    "DECLARE c CURSOR FOR SELECT ssn FROM patients",
    "SET LOCAL TIME ZONE 'UTC'",
    "SHOW time zone",
    "SELECT name FROM wards",
];

const WRITES: &[&str] = &[
    "INSERT INTO patients (id, ssn) VALUES (99, 'x')",
    "UPDATE patients SET ssn = 'x' WHERE id = 1",
    "DELETE FROM patients WHERE ssn = 'SEED-001'",
    "MERGE INTO patients p USING wards w ON p.id = w.id WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM patients WHERE id = 1 RETURNING ssn) SELECT ssn FROM x",
    "WITH x AS (UPDATE wards SET floor = 9 RETURNING 1) SELECT ssn FROM patients",
    "SELECT ssn FROM patients FOR UPDATE",
    "SELECT ssn FROM patients FOR KEY SHARE",
    "SELECT id FROM patients FOR SHARE",
    "SELECT nextval('tickets'), ssn FROM patients",
    "SELECT touch(), ssn FROM patients LIMIT 1",
    "SELECT touch()",
    "SELECT lo_create(0)",
    "SELECT pg_notify('x', 'y')",
    "TRUNCATE patients",
    "CREATE TABLE copied AS SELECT ssn FROM patients",
    "CREATE TABLE copied (id int)",
    "ALTER TABLE wards ADD COLUMN x int",
    "DROP TABLE shelf",
    "DO 'BEGIN END'",
    "LOCK TABLE patients IN ACCESS SHARE MODE",
    "NOTIFY x",
    "GRANT SELECT ON wards TO PUBLIC",
    "EXPLAIN ANALYZE DELETE FROM patients WHERE id = 1",
    "ANALYZE wards",
    "DECLARE c CURSOR FOR SELECT ssn FROM patients FOR UPDATE",
    "INSERT INTO wards (id) VALUES (99)",
];

#[test]
fn a_read_envelope_reads_all_and_writes_nothing() {
    let database = prepared();
    let mut reader = Presenter::new(&database, &["--scope", "read"]);
    let mut writer = Presenter::new(&database, &["--scope", "write"]);
    for text in READS {
        reader.runs(text);
        writer.runs(text);
    }
    for text in WRITES {
        reader.refused("TF603", text);
        writer.runs(text);
    }
    let rows = database.direct.run("SELECT count(*) FROM patients WHERE id = 1").unwrap();
    assert_eq!(rows, [[Some("1".to_owned())]]);
}

#[test]
fn a_read_envelope_writes_by_no_detour() {
    let database = prepared();
    let mut reader = Presenter::new(&database, &["--scope", "read"]);
    let refused =
        |frames: &[Frame]| assert_eq!(Presenter::code(frames).as_deref(), Some("TF603"), "{frames:?}");

    // Of several statements in one text, the last.
    refused(&reader.simple("SELECT 1; SELECT ssn FROM patients; DELETE FROM patients"));
    // COPY, in and to where the server writes.
    refused(&reader.simple("COPY patients (ssn) FROM STDIN"));
    refused(&reader.simple("COPY wards TO PROGRAM 'cat'"));
    refused(&reader.simple("COPY (DELETE FROM wards RETURNING id) TO STDOUT"));
    assert_eq!(sqlstate(&reader.simple("COPY patients (ssn) TO STDOUT")), None);
    // What was prepared under another envelope, by SQL and by the protocol.
    let mut writer = Presenter::new(&database, &[]);
    std::mem::swap(&mut reader.client, &mut writer.client);
    assert_eq!(sqlstate(&reader.client.query("PREPARE gone AS DELETE FROM patients").unwrap()), None);
    refused(&reader.simple("EXECUTE gone"));
    refused(&reader.extended("EXECUTE gone"));
    refused(&reader.simple("EXPLAIN ANALYZE EXECUTE gone"));
    // A cursor that locks, opened under an envelope that allows it.
    assert_eq!(sqlstate(&reader.client.query("BEGIN").unwrap()), None);
    let comment = writer.comment.clone();
    let locking = format!("{comment}DECLARE c CURSOR FOR SELECT ssn FROM patients FOR UPDATE");
    assert_eq!(sqlstate(&reader.client.query(&locking).unwrap()), None);
    refused(&reader.simple("FETCH c"));
    reader.client.query("ROLLBACK").unwrap();
    // A function that was made in the same transaction.
    assert_eq!(sqlstate(&reader.client.query("BEGIN").unwrap()), None);
    let made = "CREATE FUNCTION anew() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    assert_eq!(sqlstate(&reader.client.query(made).unwrap()), None);
    refused(&reader.simple("SELECT anew()"));
    reader.client.query("ROLLBACK").unwrap();
    assert_eq!(sqlstate(&reader.simple("SELECT ssn FROM patients")), None);
}

#[test]
fn an_envelope_for_some_tables_is_for_no_others() {
    let database = prepared();
    let mut limited = Presenter::new(&database, &["--tables", "public.patients,public.wards"]);
    let mut all = Presenter::new(&database, &[]);
    for text in [
        "SELECT ssn FROM patients",
        "SELECT p.ssn, w.name FROM public.patients p JOIN wards w ON w.id = p.ward",
        "UPDATE patients SET ward = (SELECT max(id) FROM wards) WHERE ssn = 'SEED-001'",
        "SELECT count(*) FROM patients",
        "SELECT name FROM wards",
        "SELECT 1",
        "SELECT count(*) FROM pg_class",
        "EXPLAIN SELECT ssn FROM patients",
        "PREPARE within AS SELECT ssn FROM patients",
        "SELECT ssn, pg_advisory_xact_lock(7) FROM patients FOR UPDATE",
    ] {
        limited.runs(text);
    }
    for text in [
        "SELECT patient_ssn FROM visits",
        "SELECT count(*) FROM visits",
        "SELECT ssn FROM patients WHERE EXISTS (SELECT FROM visits)",
        "SELECT id FROM shelf",
        "INSERT INTO shelf (id) SELECT id FROM patients",
        // A view that is not named, over a table that is.
        "SELECT id FROM ids",
        "SELECT pure(1)",
        "SELECT count(*) FROM pg_stats",
        "EXPLAIN SELECT reason FROM visits",
        "PREPARE beyond AS SELECT reason FROM visits",
        "CREATE TABLE shelf2 (id int)",
        "DROP TABLE shelf",
    ] {
        limited.refused("TF620", text);
        all.runs(text);
    }
    let message = |frames: &[Frame]| frames.iter().find_map(|f| f.field(b'M')).unwrap();
    let frames = limited.simple("SELECT reason FROM visits");
    let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
    assert!(message(std::slice::from_ref(error)).contains("\"public.visits\""), "{error:?}");
}

#[test]
fn the_tables_behind_a_view_and_a_prepared_statement_and_a_cursor_count() {
    let database = prepared();
    let refused =
        |frames: &[Frame]| assert_eq!(Presenter::code(frames).as_deref(), Some("TF620"), "{frames:?}");
    let mut view_only = Presenter::new(&database, &["--tables", "public.ids"]);
    view_only.refused("TF620", "SELECT id FROM ids");
    Presenter::new(&database, &["--tables", "public.ids,public.patients"]).runs("SELECT id FROM ids");

    let mut limited = Presenter::new(&database, &["--tables", "public.patients"]);
    let all = Presenter::new(&database, &[]).comment;
    for text in [
        "PREPARE reasons AS SELECT reason FROM visits",
        "BEGIN",
        "DECLARE c CURSOR WITH HOLD FOR SELECT reason FROM visits",
        "COMMIT",
    ] {
        assert_eq!(sqlstate(&limited.client.query(&(all.clone() + text)).unwrap()), None, "{text}");
    }
    refused(&limited.simple("EXECUTE reasons"));
    refused(&limited.extended("EXECUTE reasons"));
    refused(&limited.simple("FETCH c"));
    refused(&limited.extended("FETCH c"));
    for text in ["EXECUTE reasons", "FETCH c"] {
        assert_eq!(sqlstate(&limited.client.query(&(all.clone() + text)).unwrap()), None, "{text}");
    }
    // A cursor that a function has opened tells nothing.
    limited.client.query("BEGIN").unwrap();
    let open = "DO $$ DECLARE c refcursor := 'opened'; BEGIN OPEN c FOR SELECT 1; END $$";
    assert_eq!(sqlstate(&limited.client.query(open).unwrap()), None);
    refused(&limited.simple("FETCH opened"));
    limited.client.query("ROLLBACK").unwrap();
}

#[test]
fn an_envelope_that_cannot_be_used_limits_no_plain_statement() {
    let database = clinic();
    let mut expired = Presenter::new(&database, &["--scope", "read", "--issued-at", "1000000000"]);
    expired.runs("INSERT INTO wards (id) VALUES (99)");
    let mut strangers = Presenter::new(&database, &["--tables", "public.patients"]);
    strangers.comment = strangers.comment.replace("'alice'", "'bob'");
    strangers.runs("SELECT name FROM wards");
}

fn sleep(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

fn said(frames: &[Frame]) -> String {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error.and_then(|error| error.field(b'M')).unwrap_or_else(|| panic!("not refused: {frames:?}"))
}

#[test]
fn an_envelope_expires_between_two_statements_of_a_transaction() {
    let database = clinic();
    let mut short = Presenter::new(&database, &["--lifetime", "3"]);
    assert_eq!(sqlstate(&short.client.query("BEGIN").unwrap()), None);
    assert_eq!(sqlstate(&short.simple("UPDATE patients SET ward = 9 WHERE ssn = 'SEED-001'")), None);
    sleep(4);
    assert_eq!(said(&short.simple("UPDATE patients SET ward = 8 WHERE ssn = 'SEED-002'")), "share expired");
    // As after any error: nothing of the transaction stays, and the session goes on under a new envelope.
    assert_eq!(sqlstate(&short.client.query("COMMIT").unwrap()), None);
    let wards = database.direct.run("SELECT count(*) FROM patients WHERE ward IN (8, 9)").unwrap();
    assert_eq!(wards, [[Some("0".to_owned())]]);
    short.comment = Presenter::new(&database, &[]).comment;
    assert_eq!(sqlstate(&short.simple("SELECT ssn FROM patients")), None);
}

#[test]
fn what_began_in_time_is_answered_to_its_end() {
    let database = clinic();
    let mut short = Presenter::new(&database, &["--lifetime", "3"]);
    let slowly = "SELECT ssn, pg_sleep(1.5) FROM patients WHERE id <= 3";
    let frames = short.simple(slowly);
    let rows: Vec<_> = frames.iter().filter(|frame| frame.tag == b'D').map(Frame::columns).collect();
    assert_eq!(rows.len(), 3, "{frames:?}");
    assert_eq!(rows[2][0].as_deref(), Some(&b"SEED-003"[..]));
    assert_eq!(said(&short.simple(slowly)), "share expired");
}

#[test]
fn an_envelope_for_another_application_is_refused() {
    let database = clinic();
    let bundle = std::fs::read_to_string(shared().tenant.user_bundle("alice")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.json");
    let others = bundle.replacen("\"clinic\"", "\"bank\"", 1);
    assert_ne!(others, bundle);
    trefoil_tests::tenant::write_private(&path, &others).unwrap();
    let envelope = shared().tenant.envelope_from(&path, &[]).unwrap();
    let mut others = Presenter::with(&database, "alice", &envelope);
    assert_eq!(said(&others.simple("SELECT ssn FROM patients")), "share rejected");
    assert_eq!(sqlstate(&Presenter::new(&database, &[]).simple("SELECT ssn FROM patients")), None);
}

#[test]
fn users_that_one_side_does_not_know_are_refused() {
    let database = clinic();
    // TKa of a user whom the proxy knows goes only with that user's own name, which the sidecar looks up.
    let envelope = shared().tenant.envelope("alice", &[]).unwrap();
    let mut nobody = Presenter::with(&database, "nobody", &envelope);
    let message = said(&nobody.simple("SELECT ssn FROM patients"));
    assert!(message.starts_with("no user share") || message == "share rejected", "{message}");
    // To the proxy with another's TKa: it does not know the name.
    let share = shared().tenant.application_share("alice").unwrap().replace(':', "%3A");
    let mut client = Frontend::connect(&database.proxy, &[]).unwrap();
    let ask = |user: &str| {
        format!(
            "/*trefoil_user='{user}',trefoil_envelope='{envelope}',trefoil_app_share='{share}'*/ SELECT ssn FROM patients"
        )
    };
    assert_eq!(said(&client.query(&ask("nobody")).unwrap()), "share rejected");
    assert_eq!(sqlstate(&client.query(&ask("alice")).unwrap()), None);
}

#[test]
fn a_single_use_is_spent_across_sessions_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let database = cluster().create_database("single_use").unwrap();
    let options = ProxyOptions {
        policy: POLICY,
        tenant: "single",
        database: cluster().endpoint(),
        recorder: None,
        configuration: "clock_skew = 1\n",
    };
    let mut stack = Stack::start(directory.path(), &options, &["alice"], 1).unwrap();
    create_schema(&database.through(stack.acting[0].port()));
    let ask = |stack: &Stack, envelope: &str, text: &str| {
        let mut client = Frontend::connect(&database.through(stack.application.port()), &[]).unwrap();
        client.query(&format!("/*trefoil_user='alice',trefoil_envelope='{envelope}'*/ {text}")).unwrap()
    };
    let single = |stack: &Stack| stack.tenant.envelope("alice", &["--max-uses", "1"]).unwrap();
    const ASK: &str = "SELECT ssn FROM patients";
    // One from before the start counts as spent, and clocks may differ by a second.
    std::thread::sleep(Duration::from_millis(2100));
    let envelope = single(&stack);
    // What needs no key uses nothing up.
    assert_eq!(sqlstate(&ask(&stack, &envelope, "SELECT name FROM wards")), None);
    assert_eq!(sqlstate(&ask(&stack, &envelope, ASK)), None);
    assert_eq!(said(&ask(&stack, &envelope, ASK)), "share rejected");
    // Neither does a refused statement; but the restart does away with the use.
    let unused = single(&stack);
    assert_eq!(sqlstate(&ask(&stack, &unused, "SELECT upper(ssn) FROM patients")).as_deref(), Some("0A000"));
    stack.proxy.restart(&[]).unwrap();
    for old in [&envelope, &unused] {
        assert_eq!(said(&ask(&stack, old, ASK)), "share rejected");
    }
    // One that is made late enough counts again, and once.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut fresh = single(&stack);
    while sqlstate(&ask(&stack, &fresh, ASK)).is_some() {
        assert!(Instant::now() < deadline, "no new envelope of limited use is taken");
        sleep(1);
        fresh = single(&stack);
    }
    assert_eq!(said(&ask(&stack, &fresh, ASK)), "share rejected");
}

/// Each function of PostgreSQL's own that may change something is known as one that does, or as harmless.
#[test]
fn every_volatile_function_of_postgresql_is_known() {
    const HARMLESS: &[&str] = &[
        "amvalidate",
        "bernoulli",
        "clock_timestamp",
        "current_query",
        "currtid",
        "currtid2",
        "currval",
        "cursor_to_xml",
        "gen_random_uuid",
        "lastval",
        "lo_close",
        "lo_get",
        "lo_lseek",
        "lo_open",
        "lo_tell",
        "loread",
        "pg_advisory_",
        "pg_blocking_pids",
        "pg_collation_actual_version",
        "pg_control_",
        "pg_current_",
        "pg_database_",
        "pg_export_snapshot",
        "pg_get_",
        "pg_hba_file_rules",
        "pg_ident_file_mappings",
        "pg_indexes_size",
        "pg_is",
        "pg_jit_available",
        "pg_last_",
        "pg_lock_status",
        "pg_logical_slot_peek_",
        "pg_ls_",
        "pg_notification_queue_usage",
        "pg_partition_",
        "pg_prepared_xact",
        "pg_read_",
        "pg_relation_size",
        "pg_safe_snapshot_blocking_pids",
        "pg_sequence_last_value",
        "pg_show_",
        "pg_sleep",
        "pg_stat_clear_snapshot",
        "pg_stat_file",
        "pg_stat_force_next_flush",
        "pg_stat_get_",
        "pg_stat_have_stats",
        "pg_table_size",
        "pg_tablespace_size",
        "pg_total_relation_size",
        "pg_try_advisory_",
        "pg_xact_",
        "plpgsql_",
        "query_to_xml",
        "random",
        "set_config",
        "setseed",
        "system",
        "timeofday",
        "ts_rewrite",
        "ts_stat",
        "txid_status",
        "pg_available_wal_summaries",
        "pg_wal_summary_contents",
        "uuidv",
        "pg_ensure_",
        "pg_relation_check_",
    ];
    let database = clinic();
    let volatile = "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' AND prokind IN ('f', 'p') \
         AND pronamespace = 'pg_catalog'::regnamespace AND prorettype NOT IN ('trigger'::regtype, \
         'event_trigger'::regtype, 'internal'::regtype, 'index_am_handler'::regtype, 'table_am_handler'::regtype)";
    let mut reader = Presenter::new(&database, &["--scope", "read"]);
    let (mut unknown, mut writers) = (Vec::new(), 0);
    for row in database.direct.run(volatile).unwrap() {
        let name = row[0].clone().unwrap();
        if HARMLESS.iter().any(|harmless| name.starts_with(harmless)) {
            continue;
        }
        // Whatever its arguments: the proxy refuses it by its name.
        let frames = reader.simple(&format!("SELECT pg_catalog.{name}()"));
        if sqlstate(&frames).as_deref() == Some("42501")
            && Presenter::code(&frames).as_deref() == Some("TF603")
        {
            writers += 1;
        } else {
            unknown.push(name);
        }
    }
    assert!(unknown.is_empty(), "neither writers nor harmless: {unknown:?}");
    assert!(writers > 50, "{writers}");
}
