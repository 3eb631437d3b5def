//! Which protected columns a text writes, and which become cells in it: whose keyspaces its user needs.

use super::super::Naming;
use super::plan;

#[test]
fn each_column_that_is_written_is_noted() {
    for (text, written) in [
        ("SELECT name, ssn FROM patients WHERE ssn = 'x'", ""),
        ("SELECT count(ssn) FROM patients GROUP BY name", ""),
        ("DELETE FROM patients WHERE ssn = 'x'", ""),
        ("TRUNCATE patients", ""),
        ("UPDATE patients SET city = 'x' WHERE ssn = 'x'", ""),
        ("UPDATE patients SET ssn = 'x', city = 'y'", "ssn"),
        ("UPDATE patients SET ssn = ssn", "ssn"),
        ("UPDATE patients SET (name, city) = ROW(NULL, 'x'), ssn = DEFAULT", "name ssn"),
        ("INSERT INTO patients (id, city) VALUES (1, 'x')", ""),
        ("INSERT INTO patients DEFAULT VALUES", ""),
        ("INSERT INTO patients (id, ssn) VALUES (1, NULL)", "ssn"),
        ("INSERT INTO patients (id, ssn) VALUES (1, DEFAULT)", "ssn"),
        ("INSERT INTO patients VALUES (1, $1)", "name"),
        ("INSERT INTO visits (ssn) SELECT ssn FROM patients", "ssn"),
        ("INSERT INTO patients (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.name", "name"),
        ("INSERT INTO patients (id) VALUES (1) ON CONFLICT (ssn) DO NOTHING", ""),
        ("WITH u AS (UPDATE patients SET age = NULL RETURNING id) SELECT id FROM u", "age"),
        (
            "MERGE INTO visits v USING patients p ON v.id = p.id WHEN MATCHED THEN UPDATE SET ssn = p.ssn",
            "ssn",
        ),
        (
            "MERGE INTO visits v USING patients p ON v.id = p.id WHEN NOT MATCHED THEN INSERT (ssn) VALUES (p.ssn)",
            "ssn",
        ),
        ("COPY patients (id, ssn) FROM STDIN", "ssn"),
        ("COPY patients (id, ssn) TO STDOUT", ""),
        ("CREATE TABLE future AS SELECT 'x' AS secret", "secret"),
        ("CREATE MATERIALIZED VIEW m AS SELECT ssn, city FROM patients", "ssn"),
        ("CREATE VIEW v AS SELECT ssn FROM patients", ""),
        ("EXPLAIN ANALYZE UPDATE patients SET name = NULL", "name"),
        ("UPDATE patients SET name = NULL; UPDATE patients SET age = 1", "name age"),
    ] {
        let plan = plan(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        let found: Vec<&str> = plan.written.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(found.join(" "), written, "{text}");
    }
}

#[test]
fn what_is_prepared_by_sql_is_written_when_it_is_executed() {
    let plan = plan("PREPARE p AS UPDATE patients SET ssn = NULL; EXECUTE p").unwrap();
    let found: Vec<&str> = plan.written.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(found, ["ssn"]);
    assert!(self::plan("PREPARE p AS UPDATE patients SET ssn = NULL").unwrap().written.is_empty());
}

#[test]
fn what_is_compared_in_it_is_needed_by_whoever_runs_it() {
    for text in [
        "PREPARE p AS SELECT id FROM patients WHERE ssn = 'x' AND age = $1; EXECUTE p (NULL)",
        "PREPARE p (text, int) AS SELECT id FROM patients WHERE ssn = $1 AND age = $2; EXECUTE p ('x', 1)",
    ] {
        let plan = plan(text).unwrap();
        let mut found: Vec<&str> = plan.written.iter().map(|column| column.name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["age", "ssn"], "{text}");
    }
    let plan = plan("DECLARE c CURSOR FOR SELECT id FROM patients WHERE ssn = 'x'").unwrap();
    let Some(Naming::Declare { plan: declared, .. }) = &plan.statements[0].naming else { panic!() };
    assert_eq!((plan.written.len(), declared.written[0].name.as_str()), (0, "ssn"));
}

#[test]
fn each_column_that_literals_and_parameters_become_cells_of_is_known() {
    let text = "SELECT id FROM patients WHERE ssn = 'x' AND name = ANY ($1) AND (age = $2 OR city = $2)";
    let plan = plan(text).unwrap();
    let mut found: Vec<&str> = plan.sealed().map(|column| column.name.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["age", "name", "ssn"]);
}
