//! The check value in the database: written at first contact, missed when it goes, never written again
//! unless somebody asks for it. And what is served before there is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use trefoil_tests::cluster::Cluster;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::Frontend;
use trefoil_tests::leash::Leash;
use trefoil_tests::programs::program;

const POLICY: &str = "[tables.\"public.t\"]\na = { type = \"text\", mode = \"deterministic\" }\n";
/// What stands before the check value is looked at.
const OTHER_KEY: &str = "TF605";
const GONE: &str = "TF611";
/// What comes after it: these requests bring no share.
const PASSED: &str = "TF602";

const NOT_BOOTSTRAPPED: &str = "TF609";
const BURNT: &str = "TF610";

/// RFC 7638's key: nobody here can open the hand-over, and nobody needs to.
const RECIPIENT: &str = r#"{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;

/// A proxy that holds a tenant key, in front of a cluster of its own.
struct Setting {
    cluster: Cluster,
    dir: PathBuf,
}

impl Setting {
    fn new() -> Self {
        let setting = Self::without_store();
        fs::write(setting.path("admin.jwk"), RECIPIENT).unwrap();
        let [key, out] = ["admin.jwk", "handover.jwe"].map(|name| setting.path(name));
        setting.init(&["--seal-to", &key, "--out", &out]);
        setting
    }

    fn init(&self, more: &[&str]) {
        let made =
            self.run("init", &[["--tenant", "clinic", "--application", "app"].as_slice(), more].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn without_store() -> Self {
        let cluster = Cluster::scratch().unwrap();
        let dir = cluster.directory().join("proxy");
        fs::create_dir(&dir).unwrap();
        let Endpoint { port, user, password, .. } = cluster.endpoint();
        let path = |name: &str| dir.join(name);
        let config = format!(
            "listen = \"127.0.0.1:0\"\npolicy = {:?}\nstate = {:?}\n[lock]\nkey_file = {:?}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[upstream]\nport = {port}\ntls = \"disable\"\n\
             [catalog]\nuser = {user:?}\npassword = {password:?}\n",
            path("policy.toml"),
            path("state"),
            path("lock.key"),
        );
        fs::write(path("proxy.toml"), config).unwrap();
        fs::write(path("policy.toml"), POLICY).unwrap();
        Self { cluster, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let config = self.path("proxy.toml");
        let mut proxy = Command::new(program("trefoil-proxy").unwrap());
        proxy.args([command, "--config", &config]).args(arguments).output().unwrap()
    }

    fn repair(&self, database: &str, more: &[&str]) -> bool {
        let arguments = [["--database", database].as_slice(), more].concat();
        self.run("write-check-value", &arguments).status.success()
    }

    fn start(&self) -> (Leash, u16) {
        let command = [
            program("trefoil-proxy").unwrap().display().to_string(),
            "--config".into(),
            self.path("proxy.toml"),
        ];
        let mut leash = Leash::start("proxy", &command, "TERM", &self.dir.join("log"), None).unwrap();
        let address = leash.wait_for("listening on", Duration::from_secs(30)).unwrap();
        (leash, address.rsplit(':').next().unwrap().parse().unwrap())
    }

    /// A database with the protected table.
    fn database(&self, name: &str) -> Endpoint {
        let database = self.cluster.create_database(name).unwrap();
        database.run("CREATE TABLE t (a bytea)").unwrap();
        database
    }
}

/// With which of the codes a keyed statement is refused.
fn code(session: &mut Frontend) -> &'static str {
    let frames = session.query("SELECT a FROM t").unwrap();
    let told = frames.iter().find(|frame| frame.tag == b'E').unwrap();
    let told = String::from_utf8_lossy(&told.body).into_owned();
    [OTHER_KEY, GONE, PASSED, NOT_BOOTSTRAPPED, BURNT]
        .into_iter()
        .find(|code| told.contains(code))
        .unwrap_or_else(|| panic!("{told}"))
}

/// The same, for a session that begins now.
fn code_at(database: &Endpoint, port: u16) -> &'static str {
    code(&mut Frontend::connect(&database.through(port), &[]).unwrap())
}

/// What is done past the proxy is seen within its poll.
fn becomes(session: &mut Frontend, expected: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while code(session) != expected {
        assert!(Instant::now() < end, "not {expected}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn rows(database: &Endpoint) -> usize {
    database.run("SELECT value FROM trefoil.key_check").unwrap().len()
}

#[test]
fn a_check_value_that_is_gone_is_missed_until_it_is_written_deliberately() {
    let setting = Setting::new();
    let database = setting.database("clinic");
    let (proxy, port) = setting.start();
    let mut session = Frontend::connect(&database.through(port), &[]).unwrap();
    assert_eq!(code(&mut session), PASSED);
    assert_eq!(rows(&database), 1);

    database.run("DELETE FROM trefoil.key_check").unwrap();
    becomes(&mut session, GONE);
    assert_eq!(code_at(&database, port), GONE);
    // What needs no key is served.
    assert!(session.query("SELECT 1").unwrap().iter().all(|frame| frame.tag != b'E'));
    assert_eq!(rows(&database), 0);
    assert!(!setting.repair("clinic", &[]), "while a proxy runs, it has the store");
    drop((session, proxy));

    database.run("DROP SCHEMA trefoil CASCADE").unwrap();
    let (proxy, port) = setting.start();
    assert_eq!(code_at(&database, port), GONE);
    drop(proxy);
    assert!(setting.repair("clinic", &[]));
    assert_eq!(rows(&database), 1);
    let (_proxy, port) = setting.start();
    assert_eq!(code_at(&database, port), PASSED);
}

#[test]
fn without_a_tenant_key_plain_tables_are_served_and_nothing_is_written() {
    let setting = Setting::without_store();
    let database = setting.database("clinic");
    database.run("CREATE TABLE plain (a int)").unwrap();
    for (lifetime, expected) in [("1h", NOT_BOOTSTRAPPED), ("1s", BURNT)] {
        setting.init(&["--anew", "--password-ttl", lifetime]);
        std::thread::sleep(Duration::from_millis(if expected == BURNT { 1100 } else { 0 }));
        let (_proxy, port) = setting.start();
        let mut session = Frontend::connect(&database.through(port), &[]).unwrap();
        becomes(&mut session, expected);
        assert!(session.query("INSERT INTO plain VALUES (1)").unwrap().iter().all(|frame| frame.tag != b'E'));
        let refused = session.query("SELECT count(*) FROM t").unwrap();
        assert!(refused.iter().any(|frame| frame.tag == b'E'));
    }
    assert!(database.run("SELECT FROM trefoil.key_check").is_err());
}

#[test]
fn a_check_value_that_is_another_ones_is_refused() {
    let setting = Setting::new();
    let (own, foreign) = (setting.database("own"), setting.database("foreign_one"));
    let (proxy, port) = setting.start();
    let mut session = Frontend::connect(&own.through(port), &[]).unwrap();
    assert_eq!(code(&mut session), PASSED);
    own.run("UPDATE trefoil.key_check SET value = set_byte(value, 0, get_byte(value, 0) # 1)").unwrap();
    becomes(&mut session, OTHER_KEY);
    foreign
        .run(
            "CREATE SCHEMA trefoil; CREATE TABLE trefoil.key_check \
             (keyspace text, epoch int, value bytea NOT NULL, PRIMARY KEY (keyspace, epoch)); \
             INSERT INTO trefoil.key_check VALUES ('main', 1, '\\x00')",
        )
        .unwrap();
    assert_eq!(code_at(&foreign, port), OTHER_KEY);
    drop((session, proxy));
    let log = fs::read_to_string(setting.dir.join("log")).unwrap();
    assert_eq!(log.matches("key_check is not this tenant key's").count(), 2, "{log}");

    assert!(!setting.repair("own", &[]));
    assert!(setting.repair("own", &["--overwrite"]));
    let (_proxy, port) = setting.start();
    assert_eq!(code_at(&own, port), PASSED);
    assert_eq!(code_at(&foreign, port), OTHER_KEY);
}

#[test]
fn a_database_with_cells_of_unknown_origin_is_not_adopted() {
    let setting = Setting::new();
    let first = setting.database("clinic");
    let (proxy, port) = setting.start();
    assert_eq!(code_at(&first, port), PASSED);
    // As a copy or a dump without the schema trefoil, of this tenant or another one.
    let copy = setting.database("copy");
    copy.run("INSERT INTO t VALUES ('\\x1101'), (NULL)").unwrap();
    assert_eq!(code_at(&copy, port), GONE);
    assert!(copy.run("SELECT FROM trefoil.key_check").is_err(), "written over cells");
    // The same below a partitioned table.
    let parts = setting.cluster.create_database("parts").unwrap();
    parts
        .run(
            "CREATE TABLE t (n int, a bytea) PARTITION BY LIST (n); \
             CREATE TABLE part PARTITION OF t FOR VALUES IN (1); INSERT INTO t VALUES (1, '\\x1101')",
        )
        .unwrap();
    assert_eq!(code_at(&parts, port), GONE);
    // Rows whose columns hold no values yet are nobody's.
    let null = setting.database("without_values");
    null.run("INSERT INTO t VALUES (NULL)").unwrap();
    assert_eq!(code_at(&null, port), PASSED);
    assert_eq!(rows(&null), 1);
    drop(proxy);
    assert!(setting.repair("copy", &[]));
    let (_proxy, port) = setting.start();
    assert_eq!(code_at(&copy, port), PASSED);
}
