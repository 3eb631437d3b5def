//! DDL that goes past the proxy while sessions hold prepared statements: within the polling interval
//! nothing that a plan no longer fits is sent any more.

use crate::shared::{Database, clinic, shared};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::time::Duration;
use trefoil_tests::frontend::{Frame, Frontend, bind, sqlstate};
use trefoil_tests::leak::{Marker, Search};

/// Longer than the polling interval and a load.
fn polled() {
    std::thread::sleep(Duration::from_millis(2500));
}

fn prepare(client: &mut Frontend, name: &str, text: &str) {
    let mut buffer = BytesMut::new();
    frontend::parse(name, text, [], &mut buffer).unwrap();
    frontend::sync(&mut buffer);
    client.send_bytes(&buffer).unwrap();
    assert_eq!(sqlstate(&client.until_ready().unwrap()), None, "{text}");
}

fn run(client: &mut Frontend, name: &str, parameters: &[Option<&[u8]>]) -> Vec<Frame> {
    let mut buffer = BytesMut::new();
    bind("", name, parameters, false, false, &mut buffer).unwrap();
    frontend::execute("", 0, &mut buffer).unwrap();
    frontend::sync(&mut buffer);
    client.send_bytes(&buffer).unwrap();
    client.until_ready().unwrap()
}

fn direct(database: &Database, text: &str) {
    database.direct.run(text).unwrap_or_else(|error| panic!("{text}: {error}"));
}

fn stale(frames: &[Frame]) {
    let error = frames.iter().find(|frame| frame.tag == b'E').unwrap_or_else(|| panic!("{frames:?}"));
    assert_eq!(error.field(b'C').as_deref(), Some("0A000"), "{error:?}");
    assert_eq!(error.field(b'M').as_deref(), Some("cached plan must not change result type"));
}

#[test]
fn a_view_in_the_place_of_a_plain_table_gets_nothing_in_clear() {
    let database = clinic();
    direct(&database, "CREATE TABLE letters (id int, ssn text)");
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    prepare(&mut client, "write", "INSERT INTO letters (id, ssn) VALUES (70, $1)");
    assert_eq!(sqlstate(&run(&mut client, "write", &[Some(b"free before")])), None);

    let swap = "BEGIN; ALTER TABLE letters RENAME TO letters_before;
                CREATE VIEW letters AS SELECT id, ssn FROM patients; COMMIT";
    direct(&database, swap);
    polled();
    stale(&run(&mut client, "write", &[Some(b"EVILTWIN77QZ")]));
    client.query("INSERT INTO letters (id, ssn) VALUES (71, 'EVILTWIN77QZ')").unwrap();
    let search = Search::new([&Marker::text("EVILTWIN77QZ")], 8).unwrap();
    for sent in shared().recorder.sent() {
        assert!(search.leaks(&sent).is_empty());
    }

    direct(&database, "BEGIN; DROP VIEW letters; ALTER TABLE letters_before RENAME TO letters; COMMIT");
    polled();
    assert_eq!(sqlstate(&run(&mut client, "write", &[Some(b"free again")])), None);
}

#[test]
fn plain_statements_outlive_changes_of_plain_tables() {
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    prepare(&mut client, "floors", "SELECT floor FROM wards WHERE name = $1");
    direct(&database, "ALTER TABLE wards ADD COLUMN beds int; CREATE TABLE unrelated (id int)");
    polled();
    assert_eq!(sqlstate(&run(&mut client, "floors", &[Some(b"Cardiology")])), None);
}

#[test]
fn a_changed_protected_table_wants_a_new_plan() {
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    prepare(&mut client, "find", "SELECT ward FROM patients WHERE ssn = $1");
    assert_eq!(sqlstate(&run(&mut client, "find", &[Some(b"SEED-001")])), None);
    direct(&database, "ALTER TABLE patients ADD COLUMN extra int");
    polled();
    stale(&run(&mut client, "find", &[Some(b"SEED-001")]));
    prepare(&mut client, "find again", "SELECT ward, extra FROM patients WHERE ssn = $1");
    let frames = run(&mut client, "find again", &[Some(b"SEED-001")]);
    assert_eq!(frames.iter().filter(|frame| frame.tag == b'D').count(), 1);
    // The same through the proxy, by another session, needs no polling.
    let mut other = Frontend::connect(&database.alice, &[]).unwrap();
    other.query("ALTER TABLE patients ADD COLUMN more int").unwrap();
    stale(&run(&mut client, "find again", &[Some(b"SEED-001")]));
}

#[test]
fn a_function_that_reaches_is_called_only_if_the_policy_allows_it() {
    let database = clinic();
    for name in ["how_many", "how_many_too"] {
        let body = "LANGUAGE sql AS 'SELECT count(*) FROM patients'";
        direct(&database, &format!("CREATE FUNCTION {name}() RETURNS bigint {body}"));
    }
    polled();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    assert_eq!(sqlstate(&client.query("SELECT how_many()").unwrap()), None);
    assert_eq!(sqlstate(&client.query("SELECT how_many_too()").unwrap()).as_deref(), Some("0A000"));
    direct(&database, "DROP FUNCTION how_many(); DROP FUNCTION how_many_too()");
}
