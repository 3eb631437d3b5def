//! `trefoil-proxy explain`, run as a user runs it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::process::Command;

const POLICY: &str = "
[tables.\"public.patients\"]
ssn = { type = \"text\", mode = \"deterministic\" }
name = { type = \"varchar(40)\", mode = \"randomized\" }
";

/// As a dump shows it after the migration, with what psql alone understands.
const SCHEMA: &str = "\\restrict abc
SET client_encoding = 'UTF8';
CREATE TABLE public.patients (id integer NOT NULL, ssn bytea, name bytea,
    CONSTRAINT trefoil_cell_ssn CHECK (octet_length(ssn) >= 18));
CREATE TABLE public.wards (id integer, title text);
";

/// The exit code and what is printed.
fn explain(schema: &str, statements: &[&str]) -> (i32, String) {
    explain_by(POLICY, schema, statements)
}

fn explain_by(policy_text: &str, schema: &str, statements: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let (policy, file) = (directory.path().join("policy.toml"), directory.path().join("schema.sql"));
    fs::write(&policy, policy_text).unwrap();
    fs::write(&file, schema).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-proxy"));
    let output = command.arg("explain").arg("--policy").arg(&policy).arg("--schema").arg(&file);
    let output = output.args(statements).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn shows_each_literal_parameter_and_result() {
    let statement = "SELECT name, w.title FROM patients p\nJOIN wards w ON w.id = $1 WHERE ssn = '123'";
    let expected = "touches protected tables, reads; needs the user's shares for main
  audit     fingerprint 63189e72b946fe4c
  text      SELECT name, w.title FROM patients p
            JOIN wards w ON w.id = $1 WHERE ssn = '\\x‹cell of ssn›'::bytea
  literal   at line 2, column 39 becomes a cell, compared with public.patients.ssn (text, deterministic)
  parameter $1 goes up in clear
  result    column 1 is decrypted as public.patients.name (character varying(40), randomized)
  result    column 2 comes as it is
";
    assert_eq!(explain(SCHEMA, &[statement]), (0, expected.to_owned()));
}

#[test]
fn points_at_what_is_refused() {
    let expected =
        "refused: 0A000 TF201: protected column public.patients.name cannot be used in function upper
  line 2: \t upper(name) FROM patients
          \t ^^^^^
  hint: The database sees only its ciphertext. Select the column and compute in the application.

passes as it is: nothing protected is touched
";
    let statements = ["SELECT\n\t upper(name) FROM patients", "SELECT title FROM wards"];
    assert_eq!(explain(SCHEMA, &statements), (3, expected.to_owned()));
}

#[test]
fn says_what_a_user_without_a_share_reads() {
    const POLICY: &str = "
[tables.\"public.patients\"]
ssn = { type = \"text\", mode = \"deterministic\", keyspace = \"clinical\", denied = { last = 4 } }
name = { type = \"text\", mode = \"randomized\", keyspace = \"office\", denied = \"null\" }
plan = { type = \"text\", mode = \"randomized\", keyspace = \"office\" }
";
    const DDL: &str = "CREATE TABLE patients (id int, ssn text, name text, plan text);";
    let said = |statement: &str| explain_by(POLICY, DDL, &[statement]).1;
    let read = said("SELECT ssn, name FROM patients");
    for line in [
        "touches protected tables, reads; needs the user's shares, and those for clinical, office to see all\n",
        "ssn (text, deterministic); without a share in clinical: stars and the last 4, with one in main\n",
        "name (text, randomized); without a share in office: NULL\n",
    ] {
        assert!(read.contains(line), "{line}: {read}");
    }
    let refused = said("SELECT plan FROM patients WHERE ssn = 'x'");
    assert!(refused.contains("needs the user's shares for clinical, main, office\n"), "{refused}");
    let written = said("UPDATE patients SET name = NULL RETURNING ssn");
    assert!(written.contains("writes; needs the user's shares for clinical, office\n"), "{written}");
    assert!(!written.contains("without a share"), "{written}");
    let overview = explain_by(POLICY, DDL, &[]).1;
    assert!(overview.contains("keyspace office (without a share: NULL)"), "{overview}");
}

#[test]
fn takes_the_applications_own_ddl_for_a_schema() {
    let ddl = "CREATE TABLE patients (id int, ssn text, name varchar(40));";
    let (code, said) = explain(ddl, &["INSERT INTO patients VALUES (1, $1, 'Ann')"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("$1 becomes a cell, stored in public.patients.ssn"), "{said}");
}

#[test]
fn says_what_is_protected_and_what_is_not_migrated() {
    let schema = "CREATE TABLE public.patients (id integer, ssn bytea, email text);";
    let (code, said) = explain(schema, &[]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.iter().any(|l| l.starts_with("public.patients.ssn") && l.ends_with(": stored as cells")));
    assert!(lines.iter().any(|l| l.starts_with("public.patients.name") && l.contains("no such column")));
}

#[test]
fn a_view_that_cannot_be_followed_is_refused() {
    let schema =
        format!("{SCHEMA} CREATE VIEW odd AS SELECT length(ssn) AS n FROM public.patients ORDER BY ssn;");
    let (code, said) = explain(&schema, &["INSERT INTO odd VALUES ('secret')"]);
    assert_eq!(code, 3, "{said}");
}
