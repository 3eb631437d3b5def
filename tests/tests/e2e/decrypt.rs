//! Break glass: what real programs dump of a protected database becomes what they dump of one without
//! Trefoil, by the vault, the policy and the dump alone. Nothing here is told where a proxy is.

use crate::shared::{Database, POLICY, clinic, create_schema, database, shared};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::tenant::Tenant;

/// What dumps have beyond the corpus's schema.
const MORE: &str = r#"
CREATE TABLE made (id int, secret text DEFAULT 'it''s a \ default', n int GENERATED ALWAYS AS (id * 2) STORED, CONSTRAINT made_some CHECK (secret IS NOT NULL)) PARTITION BY RANGE (id);
CREATE TABLE made_1 PARTITION OF made FOR VALUES FROM (0) TO (10);
CREATE TABLE made_2 PARTITION OF made (secret DEFAULT 'other', CONSTRAINT above CHECK (id > 5)) FOR VALUES FROM (10) TO (20);
INSERT INTO made (id, secret) VALUES (1, 'SEED one'), (11, E'SEED tab\tline\nback\\ \r end'), (2, DEFAULT);
CREATE TABLE ward_visits (ward text, photo bytea) INHERITS (visits);
INSERT INTO ward_visits VALUES (77, 'SEED-001', 'SEED inherited', 5, 'w', '\x1201');
COMMENT ON COLUMN patients.ssn IS 'the; number -- \. COPY public.patients (id) FROM stdin;';
CREATE INDEX patients_mrn ON patients (mrn);
CREATE INDEX patients_some ON patients (ward) WHERE ssn IS NOT NULL;
CREATE POLICY own ON patients USING (ssn = 'SEED-001');
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
RETURN NEW; END $f$;
CREATE TRIGGER touched BEFORE UPDATE ON patients FOR EACH ROW WHEN (OLD.ssn IS DISTINCT FROM NEW.ssn) EXECUTE FUNCTION touched();
CREATE VIEW chosen AS SELECT id, CASE WHEN ward = 1 THEN ssn ELSE 'other' END AS s FROM patients WHERE ssn IN ('SEED-001', 'SEED-002');
CREATE VIEW births AS SELECT id, COALESCE(born, '2001-02-03') AS b FROM patients WHERE balance = 12.50;
CREATE TABLE copied (ssn text, name text DEFAULT 'x' NOT NULL) PARTITION BY HASH (ssn);
CREATE TABLE copied_0 PARTITION OF copied FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE copied_1 PARTITION OF copied FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE copied_2 PARTITION OF copied FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO copied (ssn) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g'), ('h'), ('i'), ('j'), ('k'), ('l');
"#;

/// One of PostgreSQL's client programs, of the server's version where several are there.
fn client(program: &str) -> Command {
    match std::env::var_os("PG_BIN").filter(|bin| !bin.is_empty()) {
        Some(bin) => Command::new(Path::new(&bin).join(program)),
        None => Command::new(program),
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn psql(endpoint: &Endpoint, arguments: &[&str]) -> Vec<u8> {
    let mut command = client("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &endpoint.url()]).args(arguments);
    run(command.stdin(Stdio::null()))
}

fn dump(endpoint: &Endpoint, options: &[&str]) -> String {
    String::from_utf8(run(client("pg_dump").args(options).arg(endpoint.url()))).unwrap()
}

/// All but the rows whose order is by chance: those of a table that is partitioned by hash.
fn comparable(endpoint: &Endpoint) -> String {
    let dump = dump(endpoint, &["--exclude-table-data=copied*"]);
    let lines =
        dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    let rows =
        psql(endpoint, &["-At", "-c", "SELECT tableoid::regclass, ssn, name FROM copied ORDER BY ssn"]);
    lines.collect::<Vec<_>>().join("\n") + &String::from_utf8(rows).unwrap()
}

/// A protected database and the same without Trefoil; and a place for files.
struct Glass {
    protected: Database,
    plain: Database,
    dir: TempDir,
}

fn glass() -> Glass {
    let (protected, plain) = (clinic(), database());
    create_schema(&plain.direct);
    for endpoint in [&protected.alice, &plain.direct] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), MORE).unwrap();
        psql(endpoint, &["-f", &file.path().display().to_string()]);
    }
    Glass { protected, plain, dir: tempfile::tempdir().unwrap() }
}

impl Glass {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `trefoil-admin decrypt` makes of the input, or its error.
    fn decrypt(
        &self,
        tenant: &Tenant,
        policy: &str,
        options: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, (String, Option<Vec<u8>>)> {
        let [policy_file, dump, output] = ["policy.toml", "input", "output"].map(|name| self.path(name));
        fs::write(&policy_file, policy).unwrap();
        fs::write(&dump, input).unwrap();
        drop(fs::remove_file(&output));
        let files = [policy_file, dump, output.clone()].map(|path| path.display().to_string());
        let arguments = ["decrypt", "--policy", &files[0], "--input", &files[1], "--output", &files[2]];
        let done = tenant.admin(&[&arguments[..], options].concat());
        let written = fs::read(&output).ok();
        assert!(!self.path("output.partial").exists());
        match done {
            Ok(_) => Ok(written.unwrap()),
            Err(error) => Err((error.to_string(), written)),
        }
    }

    fn decrypted(&self, options: &[&str], input: &[u8]) -> Vec<u8> {
        self.decrypt(&shared().tenant, POLICY, options, input).unwrap()
    }

    fn error(&self, policy: &str, input: &str) -> String {
        let (error, written) = self.decrypt(&shared().tenant, policy, &[], input.as_bytes()).unwrap_err();
        assert!(written.is_none(), "plaintext was left although it is not whole");
        assert!(!error.contains("SEED"), "{error}");
        error
    }

    /// A new database made by these scripts.
    fn restored(&self, scripts: &[&[u8]]) -> Database {
        let restored = database();
        for script in scripts {
            let file = self.path("script.sql");
            fs::write(&file, script).unwrap();
            psql(&restored.direct, &["-f", &file.display().to_string()]);
        }
        restored
    }
}

#[test]
fn dumps_are_restored_as_if_trefoil_had_never_been_there() {
    let glass = glass();
    let expected = comparable(&glass.plain.direct);
    assert!(expected.contains("SEED Anna Weber") && expected.contains("copied_"));
    let sealed = dump(&glass.protected.direct, &[]);
    assert!(!sealed.contains("SEED") && sealed.contains("trefoil"));
    for options in
        [&[][..], &["--load-via-partition-root"], &["--column-inserts", "--rows-per-insert=2"], &["--create"]]
    {
        let dump = dump(&glass.protected.direct, options);
        let mut script = glass.decrypted(&[], dump.as_bytes());
        if options == ["--create"] {
            // The database is there already.
            let text = String::from_utf8(script).unwrap();
            let kept = |line: &&str| !line.contains(" DATABASE ") && !line.starts_with("\\connect");
            script = text.lines().filter(kept).collect::<Vec<_>>().join("\n").into_bytes();
        }
        let restored = glass.restored(&[&script]);
        crate::shared::assert_same(&comparable(&restored.direct), &expected);
    }

    // Without its columns, a row cannot be led to another partition.
    let inserts = dump(&glass.protected.direct, &["--inserts"]);
    assert!(glass.error(POLICY, &inserts).contains("dump again with pg_dump --load-via-partition-root"));

    // Definitions and rows apart.
    let definitions = dump(&glass.protected.direct, &["--schema-only"]);
    let rows = dump(&glass.protected.direct, &["--data-only"]);
    let schema = glass.path("schema.sql");
    fs::write(&schema, &definitions).unwrap();
    let definitions = glass.decrypted(&[], definitions.as_bytes());
    let rows = glass.decrypted(&["--schema", &schema.display().to_string()], rows.as_bytes());
    // pg_dump leaves a materialized view empty there.
    let restored = glass.restored(&[&definitions, &rows, b"REFRESH MATERIALIZED VIEW public.numbers"]);
    crate::shared::assert_same(&comparable(&restored.direct), &expected);
}

#[test]
fn copy_files_become_those_of_a_database_without_trefoil() {
    let glass = glass();
    let columns = "id,ward,name,ssn,mrn,born,seen,visits,account,grade,insured,token,balance,photo,notes";
    for (format, options) in [
        ("text", &["--format", "text"][..]),
        ("csv", &["--format", "csv"]),
        (
            "csv, HEADER, DELIMITER ';', NULL 'none'",
            &["--format", "csv", "--header", "--delimiter", ";", "--null", "none"],
        ),
        ("binary", &["--format", "binary"]),
    ] {
        let statement =
            format!("COPY (SELECT {columns} FROM patients ORDER BY id) TO STDOUT (FORMAT {format})");
        let [sealed, expected] =
            [&glass.protected, &glass.plain].map(|database| psql(&database.direct, &["-c", &statement]));
        let table = ["--copy-table", "public.patients", "--columns", columns];
        assert_eq!(glass.decrypted(&[&table[..], options].concat(), &sealed), expected, "{format}");
    }
}

#[test]
fn what_cannot_be_decrypted_is_told_and_nothing_is_left_behind() {
    let glass = glass();
    let sealed = dump(&glass.protected.direct, &[]);

    // An altered cell: the last digit in the last row of patients.
    let begin = sealed.find("\nCOPY public.patients (").unwrap();
    let end = begin + sealed[begin..].find("\n\\.\n").unwrap();
    let line = sealed[..end].lines().count();
    let digit = if sealed[..end].ends_with('0') { "1" } else { "0" };
    let altered = format!("{}{digit}{}", &sealed[..end - 1], &sealed[end..]);
    let place =
        format!("line {line}: column \"notes\" of table \"public.patients\": the cell fails authentication");
    assert!(glass.error(POLICY, &altered).contains(&place), "{}", glass.error(POLICY, &altered));
    let (error, written) =
        glass.decrypt(&shared().tenant, POLICY, &["--keep-going"], altered.as_bytes()).unwrap_err();
    assert!(error.contains(&place) && error.contains("1 values did not open"), "{error}");
    let written = String::from_utf8(written.unwrap()).unwrap();
    let kept = written.lines().filter(|line| line.contains("\t\\\\x1101")).count();
    assert_eq!(kept, 1, "the row stays, and its cell");
    assert!(written.contains("SEED Anna Weber"));

    // Another tenant's vault.
    let other = Tenant::offline(&glass.path("other"), "other", &["nobody"]).unwrap();
    let (error, written) = glass.decrypt(&other, POLICY, &[], sealed.as_bytes()).unwrap_err();
    assert!(error.contains("this is not the vault") && written.is_none(), "{error}");

    // A policy that lacks a column, or names it as it was called before.
    let lacking: String =
        POLICY.lines().filter(|line| !line.starts_with("mrn =")).map(|l| l.to_owned() + "\n").collect();
    let unnamed = "column \"mrn\" of table \"public.patients\": holds cells, but the policy does not name it";
    assert!(glass.error(&lacking, &sealed).contains(unnamed));
    psql(&glass.protected.direct, &["-c", "ALTER TABLE patients RENAME mrn TO number"]);
    let renamed = glass.error(POLICY, &dump(&glass.protected.direct, &[]));
    assert!(renamed.contains("column \"number\" of table \"public.patients\": holds cells"), "{renamed}");
    let rows = glass.error(POLICY, &dump(&glass.protected.direct, &["--data-only", "--table=patients"]));
    assert!(rows.contains("column \"number\" of table \"public.patients\": holds cells of domain"), "{rows}");
}
