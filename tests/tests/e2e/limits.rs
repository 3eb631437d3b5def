//! The limits of an envelope: what a malicious application that holds it can do with it, and no more.
//! Each refusal stands beside the same under an envelope that allows it.

use crate::shared::{Database, clinic, shared};
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};

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
