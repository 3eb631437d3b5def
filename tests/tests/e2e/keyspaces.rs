//! Users with shares in some keyspaces: what each reads, compares and writes, what the database's
//! operator sees of it, and what grants and revokes do to sessions that are open.

use crate::shared::cluster;
use std::sync::OnceLock;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::recorder::Recorder;
use trefoil_tests::stack::{Ordered, Part, ProxyOptions, Stack};
use trefoil_tests::tenant::Tenant;

const POLICY: &str = r#"
[tables."public.patients"]
name      = { type = "text", mode = "randomized" }
diagnosis = { type = "text", mode = "randomized", keyspace = "clinical", denied = "null" }
ward      = { type = "text", mode = "deterministic", keyspace = "clinical", domain = "ward", denied = { text = "•••" } }
ssn       = { type = "text", mode = "deterministic", keyspace = "clinical", domain = "ssn", denied = { last = 4 } }
born      = { type = "date", mode = "deterministic", keyspace = "clinical", denied = "null" }
iban      = { type = "varchar(34)", mode = "randomized", keyspace = "finance", denied = { last = 4 } }
balance   = { type = "int4", mode = "deterministic", keyspace = "finance" }

[tables."public.archive"]
ssn       = { type = "text", mode = "deterministic", keyspace = "clinical", domain = "ssn", denied = { last = 4 } }
ward      = { type = "text", mode = "deterministic", keyspace = "clinical", domain = "ward", denied = { text = "•••" } }
"#;

const SCHEMA: &str =
    "CREATE TABLE patients (id int PRIMARY KEY, name text, diagnosis text NOT NULL, ward text,
    ssn text UNIQUE, born date, iban varchar(34), balance int4, note text);
    CREATE TABLE archive (id int, ssn text, ward text)";

const ROWS: &str = "INSERT INTO patients VALUES
    (1, 'Zoë Weber', 'asthma ZEBRAFINCH', 'east', '078-05-1120', '1961-02-03', 'DE75512108001245126199', 120, 'a'),
    (2, 'Ali Groß', 'gout ZEBRAFINCH', 'east', '219-09-1120', '1990-12-31', '1120', 7, 'b'),
    (3, 'Ada Bell', 'none ZEBRAFINCH', 'west', '20', NULL, NULL, NULL, NULL)";

/// A stack with the keyspaces main, clinical and finance, and one database.
struct Hospital {
    tenant: Tenant,
    application: Part,
    _proxy: Part,
    recorder: Recorder,
    direct: Endpoint,
}

impl Hospital {
    /// Doctors have main and clinical, clerks main and finance, the chief all, the porter main alone, and the
    /// auditor finance alone.
    fn new(name: &str) -> Self {
        let direct = cluster().create_database(name).unwrap();
        let recorder = Recorder::start(direct.port).unwrap();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: name,
            database: &direct,
            recorder: Some(recorder.port()),
            configuration: "",
        };
        let dir = cluster().directory().join(name);
        let keyspaces = ["main", "clinical", "finance"];
        let proxy = Ordered::proxy_with_keyspaces(&dir, &options, &keyspaces).unwrap().start().unwrap();
        let Stack { acting: _, application, proxy, tenant } =
            Stack::around(&dir, proxy, &["porter"], 0).unwrap();
        for (role, keyspace) in [("doctor", "clinical"), ("clerk", "finance")] {
            let set = ["role", "set", role, "--keyspace", "main", "--keyspace", keyspace];
            tenant.admin(&set).unwrap();
            tenant.admin(&["user", "add", role, "--role", role]).unwrap();
        }
        tenant.admin(&["user", "add", "chief", "--role", "doctor", "--role", "clerk"]).unwrap();
        tenant.admin(&["user", "add", "auditor", "--keyspace", "finance", "--push"]).unwrap();
        for user in ["doctor", "clerk", "chief", "auditor"] {
            tenant.export(user, &[]).unwrap();
        }
        let hospital = Self { tenant, application, _proxy: proxy, recorder, direct };
        for statement in SCHEMA.split(';').chain([ROWS]) {
            done(&hospital.ask("chief", statement));
        }
        hospital
    }

    fn client(&self) -> Frontend {
        Frontend::connect(&self.direct.through(self.application.port()), &[]).unwrap()
    }

    /// The statement as an application sends it for a user.
    fn as_user(&self, user: &str, statement: &str) -> String {
        let envelope = self.tenant.envelope(user, &[]).unwrap();
        format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ {statement}")
    }

    fn ask(&self, user: &str, statement: &str) -> Vec<Frame> {
        self.client().query(&self.as_user(user, statement)).unwrap()
    }

    /// The rows of a query as text, which must be the same by the simple and the extended protocol.
    #[track_caller]
    fn rows(&self, user: &str, query: &str) -> Vec<Vec<Option<String>>> {
        let text = self.as_user(user, query);
        let mut client = self.client();
        let simple = rows(&client.query(&text).unwrap());
        let extended = rows(&client.extended(&text, &[], false).unwrap());
        assert_eq!(simple, extended, "{user}: {query}");
        simple
    }

    /// Refused for want of a keyspace by both protocols, with nothing done and no row shown.
    #[track_caller]
    fn lacks(&self, user: &str, statement: &str, keyspace: &str) {
        let text = self.as_user(user, statement);
        let mut client = self.client();
        for frames in [client.query(&text).unwrap(), client.extended(&text, &[], true).unwrap()] {
            assert_lacks(&frames, keyspace, statement);
        }
        // The session goes on.
        done(&client.query("SELECT 1").unwrap());
    }
}

/// The hospital of the tests that change no grants.
fn hospital() -> &'static Hospital {
    static HOSPITAL: OnceLock<Hospital> = OnceLock::new();
    HOSPITAL.get_or_init(|| Hospital::new("granted"))
}

#[track_caller]
fn assert_lacks(frames: &[Frame], keyspace: &str, statement: &str) {
    assert_eq!(sqlstate(frames).as_deref(), Some("42501"), "{statement}: {frames:?}");
    let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
    assert!(
        error.field(b'M').unwrap().contains(&format!("in keyspace \"{keyspace}\"")),
        "{statement}: {error:?}"
    );
    assert!(error.field(b'D').unwrap().contains("TF604"), "{error:?}");
    assert!(!frames.iter().any(|frame| matches!(frame.tag, b'D' | b'd' | b'G' | b'H')), "{statement}");
}

#[track_caller]
fn done(frames: &[Frame]) {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    assert!(error.is_none(), "{error:?}");
}

#[track_caller]
fn rows(frames: &[Frame]) -> Vec<Vec<Option<String>>> {
    done(frames);
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| row.columns().into_iter().map(|value| value.map(text)).collect()).collect()
}

/// The only row.
#[track_caller]
fn only(mut rows: Vec<Vec<Option<String>>>) -> Vec<Option<String>> {
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn row(values: &[Option<&str>]) -> Vec<Option<String>> {
    values.iter().map(|value| value.map(str::to_owned)).collect()
}

#[test]
fn each_user_reads_what_its_keyspaces_and_the_policy_say() {
    let hospital = hospital();
    const CLINICAL: &str = "SELECT diagnosis, ward, ssn, born FROM patients WHERE id = 1";
    let in_full = row(&[Some("asthma ZEBRAFINCH"), Some("east"), Some("078-05-1120"), Some("1961-02-03")]);
    let masked = row(&[None, Some("•••"), Some("****1120"), None]);
    for user in ["doctor", "chief"] {
        assert_eq!(only(hospital.rows(user, CLINICAL)), in_full, "{user}");
    }
    for user in ["clerk", "porter"] {
        assert_eq!(only(hospital.rows(user, CLINICAL)), masked, "{user}");
    }
    // Whoever lacks the mask's keyspace as well sees neither; NULL and fixed texts need no key.
    hospital.lacks("auditor", CLINICAL, "main");
    let keyless = hospital.rows("auditor", "SELECT diagnosis, ward, born FROM patients WHERE id = 1");
    assert_eq!(keyless, [row(&[None, Some("•••"), None])]);

    const IBANS: &str = "SELECT iban FROM patients ORDER BY id";
    let full = [[Some("DE75512108001245126199")], [Some("1120")], [None]].map(|value| row(&value));
    let short = [[Some("****6199")], [Some("****")], [None]].map(|value| row(&value));
    for user in ["clerk", "chief", "auditor"] {
        assert_eq!(hospital.rows(user, IBANS), full, "{user}");
    }
    for user in ["doctor", "porter"] {
        assert_eq!(hospital.rows(user, IBANS), short, "{user}: four characters or less show none");
    }
    const BALANCE: &str = "SELECT balance FROM patients WHERE id = 1";
    for user in ["doctor", "porter"] {
        hospital.lacks(user, BALANCE, "finance");
        // Stars expand to the column that is refused.
        hospital.lacks(user, "SELECT * FROM patients", "finance");
    }
    assert_eq!(hospital.rows("clerk", BALANCE), [row(&[Some("120")])]);
    hospital.lacks("auditor", "SELECT name FROM patients", "main");
}

#[test]
fn a_mask_has_the_columns_type_in_binary_too() {
    let hospital = hospital();
    const QUERY: &str = "SELECT ward, ssn, iban, born, diagnosis FROM patients WHERE id = 1";
    let describe = |user: &str| {
        let frames = hospital.client().extended(&hospital.as_user(user, QUERY), &[], true).unwrap();
        done(&frames);
        let of = |tag: u8| frames.iter().find(|frame| frame.tag == tag).unwrap().clone();
        (of(b'T').body, of(b'D').columns())
    };
    let (chief, porter) = (describe("chief"), describe("porter"));
    assert_eq!(chief.0, porter.0, "the description does not tell who asks");
    let values = ["•••", "****1120", "****6199"].map(|text| Some(text.as_bytes().to_vec()));
    assert_eq!(porter.1[..3], values);
    assert_eq!(porter.1[3..], [None, None]);
    let born = chief.1[3].clone().unwrap();
    assert_eq!(born, (-14_211_i32).to_be_bytes(), "days since 2000");
}

#[test]
fn what_needs_a_key_is_refused_and_what_works_on_cells_works() {
    let hospital = hospital();
    for statement in [
        "SELECT id FROM patients WHERE ssn = '078-05-1120'",
        "SELECT id FROM patients WHERE ward IN ('east', 'west')",
        "SELECT id FROM patients WHERE born = '1961-02-03'",
        "SELECT count(*) FROM patients WHERE ssn <> 'x'",
        "SELECT coalesce(ward, 'none') FROM patients",
        "SELECT CASE ward WHEN 'east' THEN 1 END FROM patients",
        "SELECT ward FROM patients UNION SELECT 'east'",
        "DELETE FROM patients WHERE ssn = '078-05-1120'",
        "SELECT ward FROM patients FOR UPDATE",
        "WITH gone AS (DELETE FROM archive RETURNING ssn) SELECT ssn FROM gone",
        "EXPLAIN SELECT id FROM patients WHERE ssn = 'x'",
    ] {
        hospital.lacks("porter", statement, "clinical");
    }
    let text = hospital.as_user("porter", "SELECT id FROM patients WHERE ssn = $1");
    for parameter in [Some(&b"078-05-1120"[..]), None] {
        let frames = hospital.client().extended(&text, &[parameter], true).unwrap();
        assert_lacks(&frames, "clinical", "a parameter");
    }
    let same = |query: &str, rows: &[Vec<Option<String>>]| {
        for user in ["porter", "doctor"] {
            assert_eq!(hospital.rows(user, query), rows, "{user}: {query}");
        }
    };
    same("SELECT count(DISTINCT ward) FROM patients", &[row(&[Some("2")])]);
    same("SELECT count(*) FROM patients GROUP BY ward ORDER BY 1", &[row(&[Some("1")]), row(&[Some("2")])]);
    same("SELECT a.id FROM patients a JOIN patients b USING (ward) WHERE b.id = 3", &[row(&[Some("3")])]);
    same("SELECT id FROM patients WHERE born IS NULL", &[row(&[Some("3")])]);
    assert_eq!(
        hospital.rows("porter", "SELECT ward FROM patients GROUP BY ward"),
        vec![row(&[Some("•••")]); 2]
    );
    // Deterministic cells that carry a part of their value are still found and unique.
    assert_eq!(
        hospital.rows("doctor", "SELECT id FROM patients WHERE ssn = '219-09-1120'"),
        [row(&[Some("2")])]
    );
    let double = "INSERT INTO patients (id, diagnosis, ssn) VALUES (9, 'x', '219-09-1120')";
    assert_eq!(sqlstate(&hospital.ask("doctor", double)).as_deref(), Some("23505"));
}

#[test]
fn no_column_of_a_lacking_keyspace_is_written() {
    let hospital = hospital();
    for statement in [
        "INSERT INTO patients (id, diagnosis) VALUES (50, 'x')",
        "INSERT INTO archive VALUES (50, NULL, NULL)",
        "INSERT INTO archive (id, ward) VALUES (50, DEFAULT)",
        "INSERT INTO archive (id, ward) SELECT id, ward FROM patients",
        "UPDATE patients SET diagnosis = 'x'",
        "UPDATE patients SET ward = NULL",
        "UPDATE patients SET ward = DEFAULT",
        "UPDATE patients SET ssn = ssn",
        "UPDATE archive SET (id, ward) = (SELECT id, ward FROM patients WHERE id = 1)",
        "WITH moved AS (UPDATE patients SET ward = NULL RETURNING id) SELECT id FROM moved",
        "INSERT INTO patients (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET ward = patients.ward",
        "MERGE INTO archive a USING patients p ON a.id = p.id WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES (p.id, p.ssn)",
        "UPDATE patients SET note = 'x' RETURNING ssn",
        "CREATE TABLE archive AS SELECT id, ssn, ward FROM patients",
        "CREATE MATERIALIZED VIEW wards AS SELECT ward FROM patients",
        "COPY archive FROM STDIN",
        "COPY archive (ssn) FROM STDIN",
        "COPY patients (id, ward) TO STDOUT",
        "COPY (SELECT ssn FROM patients) TO STDOUT",
        "COPY patients (ward) TO STDOUT",
    ] {
        hospital.lacks("porter", statement, "clinical");
    }
    // A writer of a masked column needs the mask's keyspace, too.
    hospital.lacks("auditor", "UPDATE patients SET iban = NULL WHERE id = 3", "main");
    let second = hospital.as_user("porter", "SELECT 1; COPY patients (ward) TO STDOUT");
    assert_lacks(&hospital.client().query(&second).unwrap(), "clinical", "COPY behind another statement");
    // By SQL's PREPARE and by a cursor it is the same.
    let mut client = hospital.client();
    done(&client.query("PREPARE clear AS UPDATE patients SET ward = NULL").unwrap());
    let execute = hospital.as_user("porter", "EXECUTE clear");
    assert_lacks(&client.query(&execute).unwrap(), "clinical", "EXECUTE");
    // Nor does a user run what another has prepared with a value that it could not compare itself.
    let prepare = "PREPARE found AS SELECT id FROM patients WHERE ssn = '078-05-1120'";
    done(&client.query(&hospital.as_user("doctor", prepare)).unwrap());
    assert_eq!(
        rows(&client.query(&hospital.as_user("doctor", "EXECUTE found")).unwrap()),
        [row(&[Some("1")])]
    );
    assert_lacks(&client.query(&hospital.as_user("porter", "EXECUTE found")).unwrap(), "clinical", "EXECUTE");
    let cursor = "BEGIN; DECLARE d CURSOR FOR SELECT id FROM patients WHERE ssn = '078-05-1120'";
    done(&client.query(&hospital.as_user("doctor", cursor)).unwrap());
    assert_lacks(&client.query(&hospital.as_user("porter", "FETCH d")).unwrap(), "clinical", "FETCH");
    done(&client.query("ROLLBACK").unwrap());
    let cursor =
        hospital.as_user("porter", "BEGIN; DECLARE c CURSOR FOR SELECT balance FROM patients; FETCH c");
    assert_lacks(&client.query(&cursor).unwrap(), "finance", "FETCH in the same text");
    done(&client.query("ROLLBACK").unwrap());
    done(&client.query("BEGIN; DECLARE c CURSOR FOR SELECT balance FROM patients").unwrap());
    let fetch = hospital.as_user("porter", "FETCH c");
    assert_lacks(&client.query(&fetch).unwrap(), "finance", "FETCH");

    // Other columns are written, and their rows; the cells stay as they were.
    done(&hospital.ask("porter", "UPDATE patients SET note = 'seen', name = 'Zoë W.' WHERE id = 1"));
    done(&hospital.ask("porter", "INSERT INTO archive (id) VALUES (7)"));
    assert_eq!(hospital.rows("porter", "UPDATE archive SET id = 8 RETURNING id"), [row(&[Some("8")])][..]);
    done(&hospital.ask("porter", "COPY patients (id, name, note) TO STDOUT"));
    let seen = hospital.rows("doctor", "SELECT note, ward, ssn FROM patients WHERE id = 1");
    assert_eq!(seen, [row(&[Some("seen"), Some("east"), Some("078-05-1120")])]);
    done(&hospital.ask("doctor", "COPY patients (id, diagnosis, ward, ssn) TO STDOUT"));
    done(&hospital.ask("porter", "DELETE FROM archive"));
}

#[test]
fn the_operator_sees_neither_values_nor_equal_endings() {
    let hospital = &Hospital::new("granted_operator");
    hospital.recorder.clear();
    for user in ["porter", "clerk", "doctor"] {
        drop(hospital.ask(user, "SELECT id, ward, ssn, iban FROM patients"));
        drop(hospital.ask(user, "SELECT id FROM patients WHERE ssn = '078-05-1120'"));
        drop(hospital.ask(user, "INSERT INTO patients (id, diagnosis) VALUES (60, 'ZEBRAFINCH')"));
    }
    let sent = hospital.recorder.sent();
    assert!(sent.iter().any(|bytes| memchr::memmem::find(bytes, b"FROM patients").is_some()));
    let stored =
        hospital.direct.run("SELECT ssn::text, iban::text FROM patients WHERE id < 3 ORDER BY id").unwrap();
    let log = cluster().log();
    for marker in ["078-05", "1120'", "\\x31313230", "ZEBRAFINCH", "DE7551", "6199", "36313939", "•••"]
    {
        for bytes in &sent {
            assert!(memchr::memmem::find(bytes, marker.as_bytes()).is_none(), "{marker} went up");
        }
        assert!(!format!("{stored:?}").contains(marker), "{marker} is stored");
        // Four digits are in many numbers there.
        assert!(marker.len() < 6 || !log.contains(marker), "{marker} is in the log");
    }
    // Both numbers end in 1120: nothing of the cells is equal but their headers.
    let cells: Vec<&str> = stored.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(cells[0][..10], cells[1][..10], "form, epochs, length of what is visible");
    assert_eq!(&cells[0][..10], r"\x1a010104");
    assert_ne!(cells[0][cells[0].len() - 40..], cells[1][cells[1].len() - 40..]);
    let constraint =
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname LIKE '%_ssn' AND contype = 'c'
        AND conrelid = 'patients'::regclass";
    let constraint = hospital.direct.run(constraint).unwrap()[0][0].clone().unwrap();
    assert!(constraint.contains("get_byte(ssn, 0) = 26"), "{constraint}");
    // Moved between rows, as the operator can, the part still belongs to its cell only.
    hospital
        .direct
        .run(
            "CREATE TABLE mixed AS SELECT substring(a.ssn FOR octet_length(a.ssn) - 20) || \
             substring(b.ssn FROM octet_length(b.ssn) - 19) AS ssn FROM patients a, patients b WHERE a.id = 1 AND b.id = 2; \
             UPDATE archive SET ssn = NULL; INSERT INTO archive SELECT 77, ssn FROM mixed; DROP TABLE mixed",
        )
        .unwrap();
    let mixed = hospital.ask("porter", "SELECT ssn FROM archive WHERE id = 77");
    assert_eq!(sqlstate(&mixed).as_deref(), Some("XX001"), "{mixed:?}");
    assert!(!mixed.iter().any(|frame| frame.tag == b'D'), "{mixed:?}");
}

#[test]
fn a_revoke_is_felt_in_open_sessions_and_the_old_bundle_serves_the_rest() {
    let hospital = Hospital::new("granted_revoke");
    const QUERY: &str = "SELECT name, diagnosis, ssn FROM patients WHERE id = 1";
    let (all, masked) = (
        row(&[Some("Zoë Weber"), Some("asthma ZEBRAFINCH"), Some("078-05-1120")]),
        row(&[Some("Zoë Weber"), None, Some("****1120")]),
    );
    let text = hospital.as_user("chief", QUERY);
    let (mut simple, mut extended) = (hospital.client(), hospital.client());
    assert_eq!(only(rows(&simple.query(&text).unwrap())), all);
    assert_eq!(only(rows(&extended.extended(&text, &[], false).unwrap())), all);
    let write = hospital.as_user("chief", "UPDATE patients SET ward = 'north' WHERE id = 3");
    done(&simple.query(&write).unwrap());
    let by_role = hospital.tenant.admin(&["revoke", "chief", "clinical"]).unwrap_err().to_string();
    assert!(by_role.contains("not granted clinical") || by_role.contains("--role doctor"), "{by_role}");

    let said = hospital.tenant.admin(&["revoke", "chief", "--role", "doctor", "--push"]).unwrap();
    assert!(said.contains("taken away: clinical") && !said.contains("new:"), "{said}");
    // The same sessions, the same envelope, made before the revoke.
    assert_eq!(only(rows(&simple.query(&text).unwrap())), masked);
    assert_eq!(only(rows(&extended.extended(&text, &[], false).unwrap())), masked);
    assert_lacks(&simple.query(&write).unwrap(), "clinical", "the write");
    // A new envelope of the old bundle, which still carries the share.
    assert_eq!(only(hospital.rows("chief", QUERY)), masked);
    assert_eq!(hospital.rows("chief", "SELECT balance FROM patients WHERE id = 1"), [row(&[Some("120")])]);
    // Others notice nothing.
    assert_eq!(only(hospital.rows("doctor", QUERY)), all);

    // Granted again, the old bundle's share stays dead, and only statements that need it fail.
    let said = hospital.tenant.admin(&["grant", "chief", "clinical", "--push"]).unwrap();
    assert!(said.contains("new: clinical; a new bundle is needed"), "{said}");
    let frames = hospital.ask("chief", QUERY);
    assert_eq!(sqlstate(&frames).as_deref(), Some("28000"), "{frames:?}");
    assert_eq!(hospital.rows("chief", "SELECT name FROM patients WHERE id = 1"), [row(&[Some("Zoë Weber")])]);
    hospital.tenant.export("chief", &[]).unwrap();
    assert_eq!(hospital.rows("chief", QUERY), [all]);
    // Renewed and rekeyed, users keep to what they are granted.
    hospital.tenant.admin(&["renew-shares"]).unwrap();
    assert_eq!(only(hospital.rows("porter", QUERY)), masked);
    hospital.tenant.admin(&["user", "rekey", "porter", "--push"]).unwrap();
    hospital.tenant.export("porter", &[]).unwrap();
    assert_eq!(hospital.rows("porter", QUERY), [masked]);
}

#[test]
fn a_grant_serves_with_the_new_bundle_and_the_old_one_goes_on() {
    let hospital = Hospital::new("granted_grant");
    const QUERY: &str = "SELECT name, ward FROM patients WHERE id = 1";
    let (masked, all) = (row(&[Some("Zoë Weber"), Some("•••")]), row(&[Some("Zoë Weber"), Some("east")]));
    assert_eq!(only(hospital.rows("porter", QUERY)), masked);
    let text = hospital.as_user("porter", QUERY);
    let mut open = hospital.client();
    assert_eq!(only(rows(&open.query(&text).unwrap())), masked);
    hospital.tenant.admin(&["grant", "porter", "clinical", "--push"]).unwrap();
    assert_eq!(only(rows(&open.query(&text).unwrap())), masked);
    assert_eq!(only(hospital.rows("porter", QUERY)), masked, "the bundle has no share for it yet");
    hospital.tenant.export("porter", &[]).unwrap();
    assert_eq!(only(hospital.rows("porter", QUERY)), all);
    let shown = hospital.tenant.admin(&["user", "show", "porter"]).unwrap();
    assert!(shown.contains("clinical (epoch 1), main (epoch 1)"), "{shown}");

    // A role changes for all that have it: the clerk and the chief.
    let set = ["role", "set", "clerk", "--keyspace", "main", "--keyspace", "clinical", "--push"];
    let said = hospital.tenant.admin(&set).unwrap();
    assert!(said.contains("User clerk has clinical, main."), "{said}");
    assert!(said.contains("User chief has clinical, main."), "{said}");
    hospital.lacks("clerk", "SELECT balance FROM patients", "finance");
    hospital.lacks("chief", "SELECT balance FROM patients", "finance");
    assert_eq!(hospital.rows("clerk", QUERY), [masked], "the new share is not in its bundle");
    hospital.tenant.export("clerk", &[]).unwrap();
    assert_eq!(hospital.rows("clerk", QUERY), [all]);
    let listed = hospital.tenant.admin(&["role", "list"]).unwrap();
    assert!(listed.contains("clerk  clinical, main  (2 users)"), "{listed}");
    let shown = hospital.tenant.admin(&["user", "show", "clerk"]).unwrap();
    assert!(shown.contains("clinical (epoch 1, by role clerk)"), "{shown}");
    assert!(hospital.tenant.admin(&["role", "remove", "clerk"]).is_err());
}

#[test]
fn a_keyspace_is_added_to_a_tenant_in_use() {
    let direct = cluster().create_database("granted_later").unwrap();
    let dir = cluster().directory().join("granted_later");
    let policy = "[tables.\"public.people\"]\nname = { type = \"text\", mode = \"randomized\" }\n";
    let options = ProxyOptions {
        policy,
        tenant: "granted_later",
        database: &direct,
        recorder: None,
        configuration: "",
    };
    let mut stack = Stack::start(&dir, &options, &["alice", "bob"], 0).unwrap();
    let port = stack.application.port();
    let ask = |stack: &Stack, user: &str, statement: &str| {
        let envelope = stack.tenant.envelope(user, &[]).unwrap();
        let text = format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ {statement}");
        Frontend::connect(&direct.through(port), &[]).unwrap().query(&text).unwrap()
    };
    done(&ask(&stack, "alice", "CREATE TABLE people (name text)"));
    done(&ask(&stack, "alice", "INSERT INTO people VALUES ('Zoë')"));

    let said = stack.tenant.admin(&["keyspace", "add", "finance", "--push"]).unwrap();
    assert!(said.contains("Keyspace finance made.") && said.contains("1 command confirmed"), "{said}");
    assert!(stack.tenant.admin(&["keyspace", "add", "finance"]).is_err());
    stack.tenant.admin(&["grant", "alice", "finance", "--push"]).unwrap();
    stack.tenant.export("alice", &[]).unwrap();
    let listed = stack.tenant.admin(&["keyspace", "list"]).unwrap();
    assert_eq!(listed, "finance  epoch 1  (1 user)\nmain  epoch 1  (2 users)\n");
    let bills = "[tables.\"public.bills\"]\n\
        amount = { type = \"int4\", mode = \"randomized\", keyspace = \"finance\", denied = \"null\" }\n";
    std::fs::write(dir.join("policy.toml"), format!("{policy}{bills}")).unwrap();
    stack.proxy.restart(&[]).unwrap();

    // The database, which has cells of main, gets the check value of what is new.
    done(&ask(&stack, "alice", "CREATE TABLE bills (id int, amount int)"));
    done(&ask(&stack, "alice", "INSERT INTO bills VALUES (1, 120)"));
    assert_eq!(rows(&ask(&stack, "alice", "SELECT amount FROM bills")), [row(&[Some("120")])]);
    assert_eq!(rows(&ask(&stack, "bob", "SELECT amount FROM bills")), [row(&[None])]);
    assert_eq!(rows(&ask(&stack, "bob", "SELECT name FROM people")), [row(&[Some("Zoë")])]);
    assert_lacks(&ask(&stack, "bob", "UPDATE bills SET amount = 1"), "finance", "a write");
    let checks = direct.run("SELECT keyspace FROM trefoil.key_check ORDER BY keyspace").unwrap();
    assert_eq!(checks, [row(&[Some("finance")]), row(&[Some("main")])]);
    let status = stack.tenant.admin(&["status"]).unwrap();
    assert!(status.contains("last command  3"), "{status}");
}
