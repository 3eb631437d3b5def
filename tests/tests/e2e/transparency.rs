//! Programs that know nothing of Trefoil see PostgreSQL: psql's output through the sidecar is byte for
//! byte what it is without one.

use crate::shared::{assert_same, clinic, create_schema, database};
use std::process::Command;
use trefoil_tests::endpoint::Endpoint;

/// Runs psql over a script and returns what it prints.
fn psql(endpoint: &Endpoint, script: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-v", "VERBOSITY=terse", "-d", &endpoint.url(), "-c", "\\set QUIET on", "-f", "-"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes())?;
            child.wait_with_output()
        })
        .unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn psql_shows_tables_that_are_not_protected_as_without_a_proxy() {
    let database = database();
    let script = "
CREATE TABLE things (id serial PRIMARY KEY, label text UNIQUE NOT NULL, at timestamptz DEFAULT '2024-01-01Z', body jsonb);
INSERT INTO things (label, body) SELECT 'thing ' || n, jsonb_build_object('n', n) FROM generate_series(1, 20) n;
SELECT * FROM things WHERE id < 5;
\\d things
\\dt
BEGIN;
UPDATE things SET label = 'thing 2' WHERE id = 1;
SELECT 1;
ROLLBACK;
SELECT count(*), sum(id), max(label) FROM things;
\\copy (SELECT id, label FROM things ORDER BY id LIMIT 3) TO STDOUT
SELECT id, label FROM things ORDER BY id LIMIT 2 \\gdesc
\\x
SELECT * FROM things ORDER BY id DESC LIMIT 1;
SELECT no_such_function(1);
PREPARE p(int) AS SELECT label FROM things WHERE id = $1; EXECUTE p(7);
DROP TABLE things;
";
    let direct = psql(&database.direct, script);
    assert!(direct.contains("thing 4") && direct.contains("duplicate key"), "{direct}");
    assert_same(&psql(&database.alice, script), &direct);
    assert_same(&psql(&database.proxy, script), &direct);
}

#[test]
fn psql_shows_protected_tables_as_if_they_were_plain() {
    let plain = database();
    create_schema(&plain.direct);
    let protected = clinic();
    let script = "
SELECT * FROM patients ORDER BY id;
SELECT id, born, seen FROM patients WHERE ssn = 'SEED-001';
SET datestyle = 'German'; SET timezone = 'Europe/Berlin';
SELECT id, born, seen FROM patients WHERE ssn IN ('SEED-001', 'SEED-002') ORDER BY id;
SET datestyle = 'SQL, DMY'; SET bytea_output = 'escape';
SELECT id, born, seen, photo FROM patients ORDER BY id;
INSERT INTO patients (id, name, ssn, born) VALUES (20, 'Grüße', 'new', '1999-12-31') RETURNING id, name, ssn, born;
\\copy patients (id, ssn, name) FROM STDIN
40\tcopy-40\ttab\\there
41\tcopy-41\t\\N
\\.
\\copy patients (id, ssn, name) FROM STDIN WITH (FORMAT csv, HEADER)
id,ssn,name
42,copy-42,\"a,\"\"b\"\"\"
\\.
COPY patients (id, ssn) FROM STDIN;
43\tcopy-43
\\.
\\copy (SELECT id, ssn, name FROM patients WHERE id >= 40 ORDER BY id) TO STDOUT WITH CSV HEADER
COPY patients (name, ssn) TO STDOUT WITH DELIMITER '|' NULL 'nothing';
DELETE FROM patients WHERE id >= 40;
UPDATE patients SET mrn = 'changed' WHERE ssn = 'new' RETURNING mrn;
SELECT name, reason FROM patients JOIN visits ON patient_ssn = ssn ORDER BY visits.id;
INSERT INTO patients (id, ssn) VALUES (21, 'new');
INSERT INTO patients (id, mrn) VALUES (22, 'longer than twelve');
DELETE FROM patients WHERE ssn = 'new' RETURNING id;
\\x
SELECT * FROM patients WHERE id = 1;
";
    let direct = psql(&plain.direct, script);
    assert!(direct.contains("SEED Björn"), "{direct}");
    assert_same(&psql(&protected.alice, script), &direct);
}

#[test]
fn encryption_by_gss_is_declined_and_the_session_goes_on() {
    use std::io::{Read, Write};
    let database = database();
    for endpoint in [&database.alice, &database.proxy] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", endpoint.port)).unwrap();
        stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x30").unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"N");
    }
    assert!(psql(&database.alice, "SELECT 'still there'").contains("still there"));
}

#[test]
fn a_wrong_password_and_an_unknown_database_are_told_by_the_server() {
    let database = database();
    let mut wrong = database.alice.clone();
    wrong.password = "wrong".to_owned();
    assert!(wrong.run("SELECT 1").unwrap_err().to_string().starts_with("28P01"));
    let missing = database.alice.database("no_such_database");
    assert!(missing.run("SELECT 1").unwrap_err().to_string().starts_with("3D000"));
}
