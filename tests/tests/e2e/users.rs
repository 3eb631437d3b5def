//! Whose shares a statement gets: applications that only say, in the ways in which they do already, which
//! user a statement is for. Envelopes come by the second door, as a browser's agent would send them.

use crate::scripts::{output, python};
use crate::shared::{POLICY, cluster};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trefoil_tests::cluster::free_port;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, bind, sqlstate};
use trefoil_tests::leash::Leash;
use trefoil_tests::stack::{Ordered, Part, ProxyOptions};
use trefoil_tests::tenant::Tenant;

const QUESTION: &str = "SELECT secret FROM made";
const READY: Duration = Duration::from_secs(30);

/// A tenant of its own, whose application has two sidecars: one that knows users by comment, claim, setting
/// and role, and one that knows them by application_name.
struct House {
    tenant: Tenant,
    _proxy: Part,
    sidecar: Part,
    by_name: Part,
    door: u16,
    door_by_name: u16,
    directory: PathBuf,
}

fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let directory = cluster().directory().join("users");
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "users",
            database: cluster().endpoint(),
            recorder: None,
            configuration: "",
        };
        let proxy = Ordered::proxy(&directory, &options).unwrap().start().unwrap();
        let tenant = Tenant::bootstrap(&directory.join("tenant"), &proxy).unwrap();
        let [door, door_by_name, nobody] = [(); 3].map(|()| free_port().unwrap());
        let http = |door| {
            format!("[http]\nlisten = '127.0.0.1:{door}'\napplication = 'http://127.0.0.1:{nobody}'\n")
        };
        let all = "[user_from]\ncomment = 'user'\nclaim = 'sub'\nsetting = 'app.who'\nrole = true\n";
        let sidecar = Ordered::application(&directory, &proxy, &(http(door) + all)).unwrap();
        let sidecar = sidecar.start().unwrap();
        let sections = http(door_by_name) + "[user_from]\napplication_name = true\n";
        let by_name = Ordered::application(&directory.join("by_name"), &proxy, &sections).unwrap();
        tenant.set_application(&sidecar).unwrap();
        // Each of those behind bob is for one test.
        tenant.add(&["alice", "bob", "absent", "late", "stream", "spent", "gone", "reader"]).unwrap();
        tenant.push().unwrap();
        let by_name = by_name.start().unwrap();
        tenant.deliver(&by_name).unwrap();
        House { tenant, _proxy: proxy, sidecar, by_name, door, door_by_name, directory }
    })
}

impl House {
    /// A user's agent shows an envelope: the status of the answer. 502 is the door's own, of an application
    /// that is not there, and says that the envelope was good.
    fn show(&self, user: &str, envelope: &str) -> u16 {
        show(self.door, user, envelope)
    }

    fn shows(&self, user: &str, options: &[&str]) {
        let envelope = self.tenant.envelope(user, options).unwrap();
        for door in [self.door, self.door_by_name] {
            assert_eq!(show(door, user, &envelope), GOOD, "{user}");
        }
    }
}

const GOOD: u16 = 502;

fn show(door: u16, user: &str, envelope: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", door)).unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: clinic\r\nConnection: close\r\nTrefoil-User: {user}\r\nTrefoil-Envelope: {envelope}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A database in which each user sees one row alone, by row-level security on `app.who`; as its owner sees
/// it, and as the application does.
struct Database {
    direct: Endpoint,
    application: Endpoint,
    by_name: Endpoint,
}

fn database() -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let house = house();
    let name = format!("users_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let direct = cluster().create_database(&name).unwrap();
    let through = direct.through(house.sidecar.port());
    let envelope = house.tenant.envelope("alice", &[]).unwrap();
    let carrier = format!("/*trefoil_user='alice',trefoil_envelope='{envelope}'*/");
    through.run(&format!("{carrier} CREATE TABLE made (id int, owner text, secret text)")).unwrap();
    let rows = "(1, 'alice', 'of alice'), (2, 'bob', 'of bob')";
    through.run(&format!("{carrier} INSERT INTO made VALUES {rows}")).unwrap();
    direct
        .run(
            "DO $$ BEGIN CREATE ROLE web LOGIN PASSWORD 'web'; CREATE ROLE alice; CREATE ROLE bob; \
             GRANT alice, bob TO web; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; \
             GRANT SELECT, INSERT, UPDATE ON made TO web, alice, bob; ALTER TABLE made ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY own ON made USING (owner = coalesce(nullif(current_setting('app.who', true), ''), \
             nullif(current_setting('request.jwt.claims', true), '')::json->>'sub', owner))",
        )
        .unwrap();
    let web = Endpoint { user: "web".to_owned(), password: "web".to_owned(), ..direct.clone() };
    let (application, by_name) = (web.through(house.sidecar.port()), web.through(house.by_name.port()));
    Database { direct, application, by_name }
}

impl Database {
    fn connect(&self) -> Frontend {
        Frontend::connect(&self.application, &[]).unwrap()
    }
}

fn ok(frames: &[Frame]) {
    assert_eq!(sqlstate(frames), None, "{frames:?}");
}

fn rows(frames: &[Frame]) -> Vec<String> {
    ok(frames);
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| String::from_utf8(row.columns()[0].clone().unwrap()).unwrap()).collect()
}

#[track_caller]
fn refused(frames: &[Frame]) {
    assert_eq!(sqlstate(frames).as_deref(), Some("28000"), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.tag == b'D'), "rows beside a refusal");
}

#[test]
fn each_way_of_naming_a_user() {
    let (house, database) = (house(), database());
    let mut client = database.connect();
    refused(&client.query(QUESTION).unwrap());
    house.shows("alice", &[]);
    house.shows("bob", &[]);
    for (name, question) in [
        ("SET app.who = 'bob'", QUESTION),
        ("SELECT 1", "SELECT secret FROM made WHERE owner = 'bob' /*user='bob',route='x'*/"),
        (r#"SET request.jwt.claims = '{"role": "web", "sub": "bob"}'"#, QUESTION),
        ("SELECT set_config('app.who', 'bob', false)", QUESTION),
        ("SET ROLE bob", "SELECT secret FROM made WHERE owner = 'bob'"),
        ("BEGIN", "SET LOCAL app.who TO bob; SELECT secret FROM made; COMMIT"),
    ] {
        let mut client = database.connect();
        ok(&client.query(name).unwrap());
        assert_eq!(rows(&client.query(question).unwrap()), ["of bob"], "{name}");
        let frames = client.query("SHOW trefoil.\"user\"").unwrap();
        let shown = if name.starts_with("SET") || name.contains("set_config") { "bob" } else { "" };
        assert_eq!(rows(&frames), [shown], "{name}");
    }
    // At the connection's start, and by the role that it connects as, who has no envelope.
    let mut client = Frontend::connect(&database.application, &[("options", "-c app.who=bob")]).unwrap();
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of bob"]);
    let mut client = Frontend::connect(&database.by_name, &[("application_name", "bob")]).unwrap();
    assert_eq!(rows(&client.query("SELECT secret FROM made WHERE id = 2").unwrap()), ["of bob"]);
    ok(&client.query("SET application_name = 'nobody'").unwrap());
    refused(&client.query(QUESTION).unwrap());
}

#[test]
fn ten_thousand_alternations_of_two_users_on_one_connection() {
    const TURNS: usize = 5_000;
    let (house, database) = (house(), database());
    house.shows("alice", &[]);
    house.shows("bob", &[]);
    let mut client = database.connect();
    let users = ["alice", "bob"];
    // In quick turns, each a text of several statements, many on their way at once.
    let mut sender = client.sender().unwrap();
    let writer = std::thread::spawn(move || {
        for turn in 0..TURNS {
            let text = format!(
                "BEGIN; SET LOCAL app.who = '{}'; SELECT secret FROM made; SHOW trefoil.\"user\"; COMMIT\0",
                users[turn % 2]
            );
            let length = u32::try_from(text.len() + 4).unwrap().to_be_bytes();
            sender.write_all(&[b"Q", &length[..], text.as_bytes()].concat()).unwrap();
        }
    });
    for turn in 0..TURNS {
        let user = users[turn % 2];
        assert_eq!(rows(&client.until_ready().unwrap()), [format!("of {user}"), user.to_owned()]);
    }
    writer.join().unwrap();
    // By the extended protocol, with parameters, as a pool's library does it.
    use postgres_protocol::message::frontend as message;
    client
        .send(|buffer| {
            message::parse("set", "SELECT set_config('app.who', $1, false)", [], buffer)?;
            message::parse("get", QUESTION, [], buffer)?;
            message::sync(buffer);
            Ok::<_, trefoil_tests::Error>(())
        })
        .unwrap();
    ok(&client.until_ready().unwrap());
    for turn in 0..TURNS {
        let user = users[turn % 2];
        client
            .send(|buffer| {
                bind("", "set", &[Some(user.as_bytes())], turn % 4 < 2, false, buffer)?;
                message::execute("", 0, buffer)?;
                bind("", "get", &[], false, false, buffer)?;
                message::execute("", 0, buffer)?;
                message::sync(buffer);
                Ok::<_, trefoil_tests::Error>(())
            })
            .unwrap();
        assert_eq!(rows(&client.until_ready().unwrap()), [user.to_owned(), format!("of {user}")]);
    }
}

#[test]
fn a_user_without_an_envelope_does_not_get_the_former_ones() {
    let (house, database) = (house(), database());
    house.shows("bob", &[]);
    let mut client = database.connect();
    for name in ["absent", "nobody", "alice ", "", "web"] {
        ok(&client.query("SET app.who = 'bob'").unwrap());
        assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of bob"]);
        ok(&client.query(&format!("SET app.who = '{name}'")).unwrap());
        refused(&client.query("SELECT secret FROM made WHERE id = 2 AND secret = 'of bob'").unwrap());
        refused(&client.extended("INSERT INTO made VALUES (9, 'bob', $1)", &[Some(b"x")], true).unwrap());
        // What needs no key needs nobody.
        ok(&client.query("SELECT count(*) FROM made").unwrap());
    }
    // The first way that names somebody decides, whoever else has an envelope.
    ok(&client.query("SET app.who = 'absent'; SET ROLE bob").unwrap());
    refused(&client.query(QUESTION).unwrap());
    refused(&client.query("SELECT secret FROM made /*user='absent'*/").unwrap());
    assert_eq!(rows(&client.query("SELECT owner FROM made").unwrap()), [""; 0]);
}

#[test]
fn an_envelope_from_outside_that_is_not_the_users_displaces_nothing() {
    let (house, database) = (house(), database());
    house.shows("alice", &[]);
    let of_bob = house.tenant.envelope("bob", &[]).unwrap();
    let mut garbage = house.tenant.envelope("alice", &[]).unwrap().into_bytes();
    let place = garbage.len() - 40;
    garbage[place] = if garbage[place] == b'A' { b'B' } else { b'A' };
    let garbage = String::from_utf8(garbage).unwrap();
    for (user, envelope) in [
        ("alice", of_bob.as_str()),
        ("alice", &garbage),
        ("alice", "x"),
        ("nobody", &of_bob),
        ("web", &of_bob),
    ] {
        assert_eq!(house.show(user, envelope), 401, "{user}");
    }
    let old = house.tenant.envelope("alice", &["--issued-at", "1000000000"]).unwrap();
    assert_eq!(house.show("alice", &old), 401);
    let mut client = database.connect();
    ok(&client.query("SET app.who = 'alice'").unwrap());
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of alice"]);
    let log = std::fs::read_to_string(house.directory.join("sidecar-application.log")).unwrap();
    for secret in ["eyJ", "of alice", of_bob.as_str()] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn an_envelope_that_expires_within_a_transaction() {
    let (house, database) = (house(), database());
    let envelope = house.tenant.envelope("late", &["--lifetime", "3"]).unwrap();
    assert_eq!(house.show("late", &envelope), GOOD);
    let mut client = database.connect();
    ok(&client.query("BEGIN; SET LOCAL app.who = 'late'").unwrap());
    ok(&client.query(QUESTION).unwrap());
    std::thread::sleep(Duration::from_millis(3200));
    refused(&client.query("SELECT secret FROM made WHERE secret = 'x'").unwrap());
    assert_eq!(house.show("late", &envelope), 401);
    // A new one helps the next transaction.
    ok(&client.query("ROLLBACK").unwrap());
    house.shows("late", &[]);
    ok(&client.query("BEGIN; SET LOCAL app.who = 'late'").unwrap());
    ok(&client.query("SELECT secret FROM made WHERE secret = 'x'").unwrap());
}

#[test]
fn an_envelope_that_is_replaced_while_a_result_streams() {
    const ROWS: usize = 20_000;
    let (house, database) = (house(), database());
    house.shows("stream", &["--lifetime", "20"]);
    let mut client = database.connect();
    ok(&client.query("SET app.who = 'stream'").unwrap());
    let many = format!("SELECT secret FROM made, generate_series(1, {ROWS})");
    // All rows are of others: the policy is put off for this database.
    database.direct.run("ALTER TABLE made DISABLE ROW LEVEL SECURITY").unwrap();
    client.send(|buffer| postgres_protocol::message::frontend::query(&many, buffer)).unwrap();
    let first = client.read().unwrap();
    assert_eq!(first.tag, b'T', "{first:?}");
    house.shows("stream", &[]);
    assert_eq!(rows(&client.until_ready().unwrap()).len(), 2 * ROWS);
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of alice", "of bob"]);
}

#[test]
fn limited_uses_are_for_what_needs_them() {
    let (house, database) = (house(), database());
    database.direct.run("ALTER TABLE made DISABLE ROW LEVEL SECURITY").unwrap();
    let mut client = database.connect();
    ok(&client.query("SET app.who = 'spent'").unwrap());
    let write = "UPDATE made SET secret = 'new' WHERE id = 1";
    // One from before the proxy's start counts as spent.
    let limited = || house.tenant.envelope("spent", &["--max-uses", "1"]).unwrap();
    let end = Instant::now() + Duration::from_secs(15);
    while house.show("spent", &limited()) != GOOD {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(200));
    }
    house.shows("spent", &["--max-uses", "1"]);
    house.shows("spent", &["--scope", "read"]);
    for _ in 0..3 {
        assert_eq!(rows(&client.query("SELECT secret FROM made WHERE id = 2").unwrap()), ["of bob"]);
    }
    ok(&client.query(write).unwrap());
    // It is spent, for other sessions too.
    refused(&client.query(write).unwrap());
    let mut other = database.connect();
    ok(&other.query("SET app.who = 'spent'").unwrap());
    refused(&other.query(write).unwrap());
    assert_eq!(rows(&other.query("SELECT secret FROM made WHERE id = 1").unwrap()), ["new"]);
    house.shows("spent", &[]);
    ok(&client.query(write).unwrap());
    // With one that reads alone, the proxy says what it does not allow.
    house.shows("reader", &["--scope", "read"]);
    ok(&client.query("SET app.who = 'reader'").unwrap());
    assert_eq!(sqlstate(&client.query(write).unwrap()).as_deref(), Some("42501"));
}

#[test]
fn a_withdrawn_users_envelopes_are_forgotten() {
    let (house, database) = (house(), database());
    house.shows("gone", &[]);
    let mut client = database.connect();
    ok(&client.query("SET app.who = 'gone'").unwrap());
    ok(&client.query(QUESTION).unwrap());
    house.tenant.withdraw("gone").unwrap();
    refused(&client.query("SELECT secret FROM made WHERE secret = 'x'").unwrap());
    assert_eq!(house.show("gone", &house.tenant.envelope("gone", &[]).unwrap()), 401);
}

#[test]
fn what_names_two_users_or_nobody_for_sure_gets_nothing() {
    let (house, database) = (house(), database());
    house.shows("alice", &[]);
    house.shows("bob", &[]);
    let again = "SELECT secret FROM made WHERE secret <> 'x'";
    for text in [
        "SET app.who = 'alice'; SELECT secret FROM made; SET app.who = 'bob'; SELECT secret FROM made",
        "SELECT secret FROM made; SET app.who = 'bob'",
        "SELECT secret FROM made, set_config('app.who', 'bob', false)",
        "DO $$ BEGIN PERFORM set_config('app.who', 'bob', false); END $$",
        "SELECT set_config('app.' || 'who', 'bob', false)",
        "SET app.who = E'bob'",
        "SET U&\"app\".\"who\" = 'bob'",
        "UPDATE pg_settings SET setting = 'bob' WHERE name = 'app.who'",
    ] {
        let mut client = database.connect();
        ok(&client.query("SET app.who = 'alice'").unwrap());
        let frames = client.query(text).unwrap();
        let changes_at_the_end = text.starts_with("SELECT secret FROM made;");
        if changes_at_the_end {
            assert_eq!(rows(&frames), ["of alice"]);
            assert_eq!(rows(&client.query(again).unwrap()), ["of bob"]);
            continue;
        }
        assert!(!frames.iter().any(|frame| frame.tag == b'D' && frame.body.ends_with(b"of bob")), "{text}");
        refused(&client.query(again).unwrap());
        // What may have been set is put right, and then somebody is named.
        ok(&client.query("RESET ALL; SET app.who = 'bob'").unwrap());
        assert_eq!(rows(&client.query(again).unwrap()), ["of bob"], "{text}");
    }
}

#[test]
fn rollbacks_of_what_named_the_user() {
    let (house, database) = (house(), database());
    house.shows("alice", &[]);
    house.shows("bob", &[]);
    let mut client = database.connect();
    for text in ["SET app.who = 'alice'", "BEGIN", "SET app.who = 'bob'"] {
        ok(&client.query(text).unwrap());
    }
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of bob"]);
    ok(&client.query("ROLLBACK").unwrap());
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of alice"]);
    // Which of them it is after a rollback to a savepoint is not guessed.
    for text in ["BEGIN", "SAVEPOINT s", "SET LOCAL app.who = 'bob'"] {
        ok(&client.query(text).unwrap());
    }
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of bob"]);
    ok(&client.query("ROLLBACK TO s").unwrap());
    refused(&client.query(QUESTION).unwrap());
    ok(&client.query("ROLLBACK").unwrap());
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of alice"]);
    // What was set before the savepoint stays.
    for text in ["BEGIN", "SET LOCAL app.who = 'bob'", "SAVEPOINT s"] {
        ok(&client.query(text).unwrap());
    }
    assert_eq!(sqlstate(&client.query("SELECT 1/0").unwrap()).as_deref(), Some("22012"));
    ok(&client.query("ROLLBACK TO s").unwrap());
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of bob"]);
    ok(&client.query("COMMIT").unwrap());
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of alice"]);
    // A SET that the server refuses names nobody.
    assert!(sqlstate(&client.query("RESET app.who; SET ROLE nobody").unwrap()).is_some());
    assert_eq!(rows(&client.query(QUESTION).unwrap()), ["of alice"]);
}

#[test]
fn pgbouncer_between_application_and_sidecar() {
    let (house, database) = (house(), database());
    house.shows("alice", &[]);
    house.shows("bob", &[]);
    database
        .direct
        .run("ALTER ROLE alice LOGIN PASSWORD 'web'; ALTER ROLE bob LOGIN PASSWORD 'web'")
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("users"), "\"web\" \"web\"\n\"alice\" \"web\"\n\"bob\" \"web\"\n").unwrap();
    let mut text = String::from("[databases]\n");
    for (sidecar, name) in [(&house.sidecar, "by_setting"), (&house.by_name, "by_name")] {
        for mode in ["session", "transaction"] {
            text += &format!(
                "{name}_{mode} = host=127.0.0.1 port={} dbname={} pool_mode={mode} pool_size=1\n",
                sidecar.port(),
                database.direct.database
            );
        }
    }
    text += &format!(
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
         auth_file = {}\nserver_reset_query = DISCARD ALL\nserver_tls_sslmode = disable\n",
        path("users")
    );
    std::fs::write(path("pgbouncer.ini"), text).unwrap();
    // It does not run as root.
    let mut command: Vec<String> = Vec::new();
    if trefoil_tests::cluster::superuser().unwrap() {
        for name in ["", "users", "pgbouncer.ini"] {
            std::os::unix::fs::chown(path(name), Some(65534), Some(65534)).unwrap();
        }
        let prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        command.extend(prefix.map(str::to_owned));
    }
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    let program = program.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
    command.extend([program.to_owned(), path("pgbouncer.ini")]);
    let log = house.directory.join("pgbouncer.log");
    let mut pgbouncer = Leash::start("pgbouncer", &command, "INT", &log, None).unwrap();
    pgbouncer.wait_for("process up", READY).unwrap();
    let url = format!("postgresql://web:web@127.0.0.1:{port}/");
    let seen = output(&mut python("tests/python/with_pgbouncer.py"), &[("URL", &url)]);
    assert!(seen.ends_with("done\n"), "{seen}");
}

#[test]
fn the_check_of_an_envelope_needs_no_use_and_keeps_nobody_waiting() {
    let house = house();
    let envelope = house.tenant.envelope("alice", &["--max-uses", "1"]).unwrap();
    // The same envelope in many requests at once is one question.
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(house.show("alice", &envelope), GOOD));
        }
    });
    assert!(start.elapsed() < Duration::from_secs(5));
}
