//! Dumps as pg_dump of PostgreSQL 14 to 18 writes them, in `testdata/`: `«column:value»` stands for the
//! digits of a cell of that value.

use super::dump::Dump;
use super::error::DecryptError;
use super::keyring::{Keyring, Keys};
use super::reader::Reader;
use super::report::Report;
use super::work::Work;
use std::io::Cursor;
use trefoil_columns::policy::{LogicalType, Policy, Purpose};
use trefoil_columns::value::{self, Settings};
use trefoil_keys::cell::ColumnKey;
use trefoil_keys::cell::partial::{Epochs, PartialKey};
use trefoil_keys::check;
use trefoil_keys::secret::{LENGTH, TenantKey};
use zeroize::Zeroizing;

const POLICY: &str = include_str!("testdata/policy.toml");
const DUMP: &str = include_str!("testdata/dump.sql");
const PLAIN: &str = include_str!("testdata/plain.sql");

fn tenant_key(byte: u8) -> TenantKey {
    TenantKey::from_bytes(Zeroizing::new([byte; LENGTH]))
}

fn keys(byte: u8) -> Keys {
    Keys::from([("main".to_owned(), (1, tenant_key(byte)))])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The cell that a mark stands for.
fn cell(mark: &str) -> String {
    let tk = tenant_key(7);
    if mark == "check" {
        return format!("x{}", hex(&check::value(&tk, "main", 1)));
    }
    let (name, text) = mark.split_once(':').unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    let column = policy.columns().iter().find(|column| column.name == name).unwrap();
    let logical = if column.logical.is_named() { LogicalType::Text } else { column.logical.clone() };
    let (mut canonical, mut cell) = (Vec::new(), Vec::new());
    value::from_text(&logical, text.as_bytes(), Purpose::Assign, &Settings::default(), &mut canonical)
        .unwrap();
    let mut key = ColumnKey::derive(&tk, "main", &column.domain, column.mode);
    key.seal(1, &canonical, &mut cell);
    format!("x{}", hex(&cell))
}

/// A dump with cells for its marks.
fn sealed(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('«') {
        let (mark, after) = after.split_once('»').unwrap();
        out.push_str(before);
        out.push_str(&cell(mark));
        rest = after;
    }
    out + rest
}

fn work(policy: &str, keys: Keys, keep_going: bool) -> Work {
    let policy = Policy::parse(policy).unwrap();
    let keyring = Keyring::new(&policy, keys).unwrap();
    Work::new(policy, keyring, keep_going)
}

fn decrypted(
    dump: &str,
    policy: &str,
    keys: Keys,
    keep_going: bool,
) -> (Result<(), DecryptError>, String, Report) {
    let mut work = work(policy, keys, keep_going);
    let reader = Reader::new(Box::new(Cursor::new(dump.as_bytes().to_vec())), None);
    let mut out = Vec::new();
    let result = Dump::new(reader, &mut work).decrypt(&mut out);
    (result, String::from_utf8(out).unwrap(), work.report)
}

fn error(dump: &str, policy: &str, keys: Keys) -> String {
    decrypted(dump, policy, keys, false).0.unwrap_err().to_string()
}

#[test]
fn a_dump_is_as_if_trefoil_had_never_been_there() {
    let (result, out, report) = decrypted(&sealed(DUMP), POLICY, keys(7), false);
    result.unwrap();
    for (seen, expected) in out.lines().zip(PLAIN.lines()) {
        assert_eq!(seen, expected);
    }
    assert_eq!(out, PLAIN);
    let people = &report.tables["public.people"];
    assert_eq!((people.rows, people.values, report.constants, report.plain_rows), (4, 8, 4, 2));
    assert_eq!(report.notes, Vec::<String>::new());
}

#[test]
fn cells_that_carry_a_part_of_their_value_are_read_in_full() {
    const POLICY: &str = r#"
        [tables."public.people"]
        ssn = { type = "text", mode = "deterministic", keyspace = "clinical", denied = { last = 4 } }
        ward = { type = "text", mode = "randomized", keyspace = "clinical", denied = "null" }
    "#;
    let policy = Policy::parse(POLICY).unwrap();
    let column = policy.columns().iter().find(|column| column.name == "ssn").unwrap();
    let [clinical, main] = [tenant_key(7), tenant_key(8)];
    let mut full = ColumnKey::derive(&clinical, "clinical", &column.domain, column.mode);
    let mut partial = PartialKey::derive(&main, "main", &column.domain, column.mode);
    let (epochs, mut cell) = (Epochs { full: 1, partial: 1 }, Vec::new());
    partial.seal(&mut full, epochs, b"078-05-1120", b"1120", &mut cell).unwrap();
    let check = trefoil_keys::cell::partial::check_constraint(column.mode, "ssn");
    let dump = format!(
        "CREATE TABLE public.people (\n    ssn bytea,\n    CONSTRAINT trefoil_cell_ssn CHECK (({check}))\n);\n\
         COPY public.people (ssn) FROM stdin;\n\\\\x{}\n\\.\n",
        hex(&cell)
    );
    let keys = || Keys::from([("clinical".to_owned(), (1, tenant_key(7)))]);
    let (result, out, _) = decrypted(&dump, POLICY, keys(), false);
    result.unwrap();
    assert!(out.contains("\n078-05-1120\n") && !out.contains("CHECK"), "{out}");
    // Without its entry in the policy it is found out, as other cells are.
    let without: String =
        POLICY.lines().filter(|line| !line.contains("ssn =")).map(|l| l.to_owned() + "\n").collect();
    let rows = &dump[dump.find("COPY").unwrap()..];
    assert!(error(rows, &without, keys()).contains("holds cells"));
}

#[test]
fn an_altered_cell_ends_the_run_or_is_listed() {
    let dump = sealed(DUMP);
    let line = dump.lines().position(|line| line.ends_with("\t2")).unwrap();
    let altered: String = dump
        .lines()
        .enumerate()
        .map(|(at, text)| if at == line { text.replacen("x1201", "x1201ff", 1) } else { text.to_owned() } + "\n")
        .collect();
    let place = format!(
        "line {}: column \"ssn\" of table \"public.elders\": the cell fails authentication",
        line + 1
    );
    assert!(error(&altered, POLICY, keys(7)).starts_with(&place));
    let (result, out, report) = decrypted(&altered, POLICY, keys(7), true);
    result.unwrap();
    assert_eq!(report.failed, 1);
    assert!(report.failures[0].starts_with(&place));
    assert_eq!(out.lines().count(), PLAIN.lines().count());
    assert!(out.contains("\n\\\\x1201ff"));
}

#[test]
fn another_tenants_vault_is_told() {
    // Constants come before the first row.
    assert!(error(&sealed(DUMP), POLICY, keys(8)).contains("this is not the vault"));
    let rows = "COPY public.people (ssn) FROM stdin;\n\\\\«ssn:1»\n\\.\n";
    assert_eq!(
        error(&sealed(rows), POLICY, keys(8)),
        "line 2: column \"ssn\" of table \"public.people\": the cell fails authentication, and none of keyspace main has opened so far: this is not the vault of the tenant whose dump this is, or the cell was altered"
    );
    let check = "COPY trefoil.key_check (keyspace, epoch, value) FROM stdin;\nmain\t1\t\\\\«check»\n\\.\n";
    assert!(
        error(&sealed(check), POLICY, keys(8))
            .starts_with("line 2: the database was encrypted under another tenant key")
    );
    let check = "INSERT INTO trefoil.key_check VALUES ('main', 1, '\\«check»');\n";
    assert!(
        error(&sealed(check), POLICY, keys(8))
            .starts_with("line 1: the database was encrypted under another tenant key")
    );
    assert!(Keyring::new(&Policy::parse(POLICY).unwrap(), Keys::new()).is_err());
}

#[test]
fn cells_that_the_policy_does_not_name_are_refused() {
    let without = |name: &str| -> String {
        POLICY.lines().filter(|line| !line.starts_with(name)).map(|line| line.to_owned() + "\n").collect()
    };
    // By the CHECK, before there is a row.
    let fails = error(&sealed(DUMP), &without("Name"), keys(7));
    assert!(
        fails.contains("column \"Name\" of table \"public.people\": holds cells, but the policy"),
        "{fails}"
    );
    // By the cells, of which one has a domain of its own.
    let rows =
        "COPY public.people (id, \"Name\", old_ssn) FROM stdin;\n1\t\\N\t\\N\n2\t\\\\«Name:x»\t\\N\n\\.\n";
    let fails = error(&sealed(rows), &without("Name"), keys(7));
    assert!(
        fails.starts_with("line 3: column \"Name\" of table \"public.people\": holds cells, but"),
        "{fails}"
    );
    let renamed = "COPY public.people (id, old_ssn) FROM stdin;\n2\t\\\\«ssn:x»\n\\.\n";
    let fails = error(&sealed(renamed), POLICY, keys(7));
    assert!(
        fails.starts_with(
            "line 2: column \"old_ssn\" of table \"public.people\": holds cells of domain \"ssn\""
        )
    );
    let unknown = "INSERT INTO public.people_1 VALUES (1, '\\«ssn:x»');\n";
    assert!(error(&sealed(unknown), POLICY, keys(7)).contains("column \"?\" of table \"public.people_1\""));
    let inserted = "INSERT INTO public.other (a) VALUES ('\\«ssn:x»');\n";
    assert!(error(&sealed(inserted), POLICY, keys(7)).contains("column \"a\" of table \"public.other\""));
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    for (dump, message) in [
        ("COPY public.people (ssn) FROM stdin;\n", "line 1: the dump ends within the rows"),
        (
            "COPY public.people (ssn) FROM stdin;\nSECRET\n\\.\n",
            "line 2: column \"ssn\" of table \"public.people\": the value is not a cell",
        ),
        (
            "COPY public.people (ssn) FROM stdin;\n\\N\t1\n\\.\n",
            "line 2: the data of table \"public.people\": extra data",
        ),
        (
            "COPY public.people FROM stdin;\n\\.\n",
            "line 1: the columns of table \"public.people\" are not known",
        ),
        ("\nCOPY public.people (ssn) FROM stdin WITH CSV;\n", "line 2: this form of COPY"),
        ("INSERT INTO public.people VALUES ('x');\n", "line 1: this form of INSERT INTO public.people"),
        ("INSERT INTO public.people (ssn) VALUES ('\\x12'::bytea);\n", "line 1: this form of INSERT"),
        ("INSERT INTO public.people (ssn) SELECT 1;\n", "line 1: this form of INSERT"),
        ("SET client_encoding = 'LATIN1';\n", "line 1: the dump sets client_encoding"),
        ("SET standard_conforming_strings = off;\n", "line 1: the dump sets standard_conforming_strings"),
        ("SELECT 'cut\n", "line 1: the dump ends within a statement"),
    ] {
        let fails = error(dump, POLICY, keys(7));
        assert!(fails.starts_with(message), "{dump}: {fails}");
        assert!(!fails.contains("SECRET"));
    }
}

#[test]
fn a_type_in_the_dump_does_not_turn_decryption_off() {
    let rows = "COPY public.people (ssn) FROM stdin;\n\\\\«ssn:x»\n\\.\n";
    for type_name in ["text", "pg_catalog.bytea", "bytea[]"] {
        let dump = format!("CREATE TABLE public.people (\n    ssn {type_name}\n);\n{rows}");
        let fails = error(&sealed(&dump), POLICY, keys(7));
        assert!(
            fails.starts_with("line 1: column \"ssn\" of table \"public.people\" is in the policy, but"),
            "{fails}"
        );
    }
    // The definitions can come from elsewhere: the policy decides all the same.
    let mut work = work(POLICY, keys(7), false);
    let definitions = b"CREATE TABLE public.people (\n    ssn text\n);\n".to_vec();
    let schema = Dump::new(Reader::new(Box::new(Cursor::new(definitions)), None), &mut work).learn().unwrap();
    let rows = Reader::new(Box::new(Cursor::new(sealed(rows).into_bytes())), None);
    let mut out = Vec::new();
    Dump::new(rows, &mut work).with_schema(schema).decrypt(&mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "COPY public.people (ssn) FROM stdin;\nx\n\\.\n");
}

#[test]
fn a_dump_that_was_cut_between_two_statements_is_told() {
    let whole = sealed(DUMP);
    // The first of these lines is within a comment.
    let (end, _) = whole.match_indices("\n\\.\n").nth(1).unwrap();
    let cut = &whole[..end + 4];
    let fails = error(cut, POLICY, keys(7));
    let lines = cut.lines().count();
    assert!(
        fails.starts_with(&format!("the dump ends at line {lines} without pg_dump's last line")),
        "{fails}"
    );
    let (result, out, report) = decrypted(cut, POLICY, keys(7), true);
    result.unwrap();
    assert!(!out.is_empty());
    assert_eq!(report.cut_off, u64::try_from(lines).ok());
    let nothing = error("", POLICY, keys(7));
    assert!(
        nothing.starts_with("the dump ends at line 0"),
        "a pg_dump that failed leaves nothing: {nothing}"
    );
}
