//! The audit log: what a session does is in it before the client sees anything of it, whatever becomes of
//! session, proxy and disk; and what was tampered with is found.

use crate::shared::{Database, POLICY, audit_log, clinic, cluster, create_schema, shared};
use postgres_protocol::message::frontend;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trefoil_keys::audit::{Chain, Line};
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, bind, sqlstate};
use trefoil_tests::stack::{Part, ProxyOptions, Stack};
use trefoil_tests::tenant::Tenant;

const LIMIT: Duration = Duration::from_secs(30);

/// The files of a log, the oldest first.
fn files(log: &Path) -> Vec<PathBuf> {
    let own = log.file_name().unwrap().to_str().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(log.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(own) && path != log)
        .collect();
    files.sort();
    files.push(log.to_owned());
    files
}

fn records(log: &Path) -> Vec<Value> {
    let all: Vec<String> =
        files(log).iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
    // The last line may be on its way.
    all.concat().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What a session on this database has left.
fn of(log: &Path, database: &str) -> Vec<Value> {
    let all = records(log);
    let own: HashSet<u64> =
        all.iter().filter(|r| r["database"] == database).filter_map(|r| r["session"].as_u64()).collect();
    all.into_iter().filter(|r| r["session"].as_u64().is_some_and(|session| own.contains(&session))).collect()
}

/// The last of these once there are `number`.
fn wait_for(log: &Path, database: &str, event: &str, number: usize) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let found: Vec<Value> = of(log, database).into_iter().filter(|r| r["event"] == event).collect();
        if found.len() >= number {
            return found.last().unwrap().clone();
        }
        assert!(Instant::now() < end, "{event}: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn verify(tenant: &Tenant, log: &Path, more: &[&str]) -> Result<Value, String> {
    let files: Vec<String> = files(log).iter().map(|file| file.display().to_string()).collect();
    let mut arguments = vec!["--json", "audit", "verify"];
    arguments.extend(more);
    arguments.extend(files.iter().map(String::as_str));
    let printed = tenant.admin(&arguments).map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&printed).unwrap())
}

/// One statement after another of one session, with the records of each.
struct Session {
    client: Frontend,
    database: String,
    statements: usize,
}

impl Session {
    fn new(database: &Database) -> Self {
        let client =
            Frontend::connect(&database.alice, &[("application_name", "a \"quoted\" name")]).unwrap();
        // The schema has been created by others.
        Self { client, database: database.direct.database.clone(), statements: 0 }
    }

    /// The records of the beginning and the end of a statement.
    fn recorded(&mut self) -> (Value, Value) {
        self.statements += 1;
        let number = self.statements;
        let own = |event: &str| {
            let all = of(&audit_log(), &self.database);
            let session = all.iter().rfind(|r| r["application_name"] != Value::Null)?["session"].clone();
            all.into_iter()
                .find(|r| r["event"] == event && r["session"] == session && r["statement"] == number)
        };
        let end = Instant::now() + LIMIT;
        loop {
            if let (Some(access), Some(done)) = (own("access"), own("done")) {
                return (access, done);
            }
            assert!(Instant::now() < end, "statement {number}: {:?}", of(&audit_log(), &self.database));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn query(&mut self, text: &str) -> (Vec<Frame>, Value, Value) {
        let frames = self.client.query(text).unwrap();
        let (access, done) = self.recorded();
        (frames, access, done)
    }
}

fn names(record: &Value, member: &str) -> Vec<String> {
    let names = record[member].as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_statement_that_uses_keys_is_recorded_with_who_what_and_how_it_ended() {
    let database = clinic();
    let mut session = Session::new(&database);
    let (_, access, done) =
        session.query("SELECT id, name, ssn FROM patients WHERE ssn <> 'SEED-004' ORDER BY id");
    assert_eq!((&access["user"], &access["application"]), (&"alice".into(), &"clinic".into()));
    assert_eq!(access["application_name"], "a \"quoted\" name");
    assert!(access["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(names(&access, "tables"), ["public.patients"]);
    assert_eq!(names(&access, "decrypts"), ["public.patients.name", "public.patients.ssn"]);
    assert_eq!(names(&access, "encrypts"), ["public.patients.ssn"]);
    assert_eq!((&done["rows"], &done["outcome"]), (&3.into(), &"ok".into()));
    let fingerprint = access["fingerprint"].clone();

    let (_, access, _) = session.query("select id, name, ssn from patients where ssn <> 'other' order by id");
    assert_eq!(access["fingerprint"], fingerprint);

    let (_, access, done) = session.query(
        "INSERT INTO patients (id, ssn) VALUES (10, 'SEED-010'), (11, 'SEED-011'); SELECT ssn FROM patients WHERE id >= 10",
    );
    assert_eq!((&access["writes"], &done["rows"]), (&true.into(), &4.into()));

    let (frames, _, done) = session.query("INSERT INTO patients (id, ssn) VALUES (10, 'SEED-010')");
    assert_eq!(sqlstate(&frames).as_deref(), Some("23505"));
    assert_eq!((&done["outcome"], &done["sqlstate"]), (&"error".into(), &"23505".into()));

    session.client.extended("SELECT ssn FROM patients WHERE id = $1", &[Some(b"1")], true).unwrap();
    let (access, done) = session.recorded();
    assert_eq!(
        (names(&access, "decrypts"), &done["rows"]),
        (vec!["public.patients.ssn".to_owned()], &1.into())
    );

    // What needs no key is not recorded, nor is what is not protected.
    for text in ["SELECT count(*) FROM patients", "SELECT 1"] {
        assert_eq!(sqlstate(&session.client.query(text).unwrap()), None);
    }
    session.client.query("BEGIN").unwrap();
    let (_, access, _) =
        session.query("DECLARE c CURSOR FOR SELECT name FROM patients WHERE ssn = 'SEED-001'");
    let declared = access["fingerprint"].clone();
    let (_, access, done) = session.query("FETCH ALL FROM c");
    assert_eq!((&access["fetches"][0]["fingerprint"], &done["rows"]), (&declared, &1.into()));
    assert_eq!(access["fetches"][0]["decrypts"][0], "public.patients.name");
    session.client.query("COMMIT").unwrap();

    session.client.query("PREPARE p AS SELECT ssn FROM patients WHERE ssn = $1").unwrap();
    let (_, access, _) = session.query("EXECUTE p('SEED-001')");
    assert_eq!(names(&access["executes"][0], "decrypts"), ["public.patients.ssn"]);
    let (_, access, done) = session.query(&"EXECUTE p('SEED-001');".repeat(20_000));
    assert_eq!((access["executes"].as_array().unwrap().len(), &done["rows"]), (1, &20_000.into()));

    let (_, access, done) = session.query("COPY patients (id, name) TO STDOUT (FORMAT csv, HEADER)");
    assert_eq!(
        (names(&access, "decrypts"), &done["rows"]),
        (vec!["public.patients.name".to_owned()], &6.into())
    );
    session.client.send(|buffer| frontend::query("COPY patients (id, name) FROM STDIN", buffer)).unwrap();
    assert_eq!(session.client.read().unwrap().tag, b'G');
    let lines = |buffer: &mut bytes::BytesMut| {
        frontend::CopyData::new(&b"20\tx\n21\ty\n"[..]).unwrap().write(buffer);
        frontend::copy_done(buffer);
        Ok::<_, trefoil_tests::Error>(())
    };
    session.client.send(lines).unwrap();
    session.client.until_ready().unwrap();
    let (access, done) = session.recorded();
    assert_eq!(
        (names(&access, "encrypts"), &done["rows"]),
        (vec!["public.patients.name".to_owned()], &2.into())
    );
}

#[test]
fn portals_in_pieces_pipelines_and_sessions_that_break_off_have_an_end() {
    let database = clinic();
    let mut session = Session::new(&database);
    let run = |buffer: &mut bytes::BytesMut| {
        frontend::parse("s", "SELECT ssn FROM patients ORDER BY id", [], buffer)?;
        bind("p", "s", &[], false, false, buffer)?;
        frontend::execute("p", 3, buffer)?;
        frontend::execute("p", 3, buffer)?;
        frontend::sync(buffer);
        Ok::<_, trefoil_tests::Error>(())
    };
    session.client.send(run).unwrap();
    session.client.until_ready().unwrap();
    let ends = [session.recorded().1, session.recorded().1];
    assert_eq!(
        ends.each_ref().map(|end| (end["rows"].as_u64(), end["outcome"].as_str())),
        [(Some(3), Some("suspended")), (Some(1), Some("ok"))]
    );

    // The second one fails, so that the server passes over the third.
    let pipeline = |buffer: &mut bytes::BytesMut| {
        frontend::parse("d", "SELECT ssn, 1 / ($1::int * id) FROM patients WHERE id = 1", [], buffer)?;
        for divisor in [b"1", b"0", b"1"] {
            bind("", "d", &[Some(&divisor[..])], false, false, buffer)?;
            frontend::execute("", 0, buffer)?;
        }
        frontend::sync(buffer);
        Ok::<_, trefoil_tests::Error>(())
    };
    session.client.send(pipeline).unwrap();
    let frames = session.client.until_ready().unwrap();
    assert_eq!(sqlstate(&frames).as_deref(), Some("22012"));
    let ends = [session.recorded().1, session.recorded().1, session.recorded().1];
    assert_eq!((&ends[0]["outcome"], &ends[1]["sqlstate"]), (&"ok".into(), &"22012".into()));
    assert_eq!(ends[2]["outcome"], "unanswered");

    let text = "SELECT ssn, pg_sleep(0.4) FROM patients, generate_series(1, 20)";
    session.client.send(|buffer| frontend::query(text, buffer)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let name = session.database.clone();
    drop(std::mem::replace(&mut session.client, Frontend::connect(&database.direct, &[]).unwrap()));
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    );
    session.client.query(&ended).unwrap();
    let (_, done) = session.recorded();
    assert_eq!((&done["outcome"], &done["sqlstate"]), (&"error".into(), &"57P01".into()));
}

#[test]
fn refusals_and_rejected_shares_are_recorded() {
    let database = clinic();
    let name = &database.direct.database;
    let mut alice = Frontend::connect(&database.alice, &[]).unwrap();
    assert_eq!(sqlstate(&alice.query("SELECT upper(name) FROM patients").unwrap()).as_deref(), Some("0A000"));
    let refused = wait_for(&audit_log(), name, "refused", 1);
    assert_eq!((&refused["code"], &refused["sqlstate"]), (&"TF201".into(), &"0A000".into()));
    assert_eq!((&refused["user"], refused["fingerprint"].is_string()), (&"alice".into(), true));
    let about = (names(&refused, "tables"), names(&refused, "columns"));
    assert_eq!(about, (vec!["public.patients".to_owned()], vec!["public.patients.name".to_owned()]));
    alice.query("SELECT ssn || 'x' FROM patients").unwrap();
    let refused = wait_for(&audit_log(), name, "refused", 2);
    assert_eq!(
        (&refused["code"], names(&refused, "columns")[0].as_str()),
        (&"TF202".into(), "public.patients.ssn")
    );

    let mut nobody = Frontend::connect(&database.proxy, &[]).unwrap();
    nobody.extended("SELECT name FROM patients", &[], false).unwrap();
    let refused = wait_for(&audit_log(), name, "refused", 3);
    assert_eq!((&refused["code"], &refused["user"]), (&"TF602".into(), &Value::Null));
    assert_eq!(refused["decrypts"][0], "public.patients.name");

    let tenant = &shared().tenant;
    let (bobs, share) = (tenant.envelope("bob", &[]).unwrap(), tenant.application_share("bob").unwrap());
    let stranger = "mallory\"";
    let carriers =
        format!("/*trefoil_user='mallory%22',trefoil_envelope='{bobs}',trefoil_app_share='{share}'*/");
    nobody.query(&format!("{carriers} SELECT ssn FROM patients")).unwrap();
    let end = Instant::now() + LIMIT;
    while !records(&audit_log()).iter().any(|r| r["event"] == "share" && r["user"] == stranger) {
        assert!(Instant::now() < end, "{:?}", of(&audit_log(), name));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_login_is_recorded_once_its_session_has_begun() {
    let database = clinic();
    let name = &database.direct.database;
    let login = wait_for(&audit_log(), name, "login", 1);
    assert_eq!(
        (&login["role"], &login["method"]),
        (&Value::from(database.direct.user.as_str()), &"passthrough".into())
    );

    // The database takes the password, and then has no such database.
    let elsewhere = Endpoint { database: "nowhere_at_all".to_owned(), ..database.proxy.clone() };
    let refused = Frontend::connect(&elsewhere, &[]).err().unwrap().to_string();
    assert!(refused.contains("nowhere_at_all"), "{refused}");
    let before = of(&audit_log(), name).iter().filter(|r| r["event"] == "login").count();
    drop(Frontend::connect(&database.proxy, &[]).unwrap());
    wait_for(&audit_log(), name, "login", before + 1);
    assert_eq!(of(&audit_log(), "nowhere_at_all"), Vec::<Value>::new());
}

/// A stack with a log of its own.
struct Own {
    stack: Stack,
    log: PathBuf,
    direct: Endpoint,
}

impl Own {
    fn new(name: &str, configuration: &str) -> Self {
        let dir = cluster().directory().join(name);
        fs::create_dir_all(dir.join("audit")).unwrap();
        let log = dir.join("audit/audit.log");
        let configuration = format!("audit.file = {log:?}\n{configuration}");
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "audited",
            database: cluster().endpoint(),
            recorder: None,
            configuration: &configuration,
        };
        let stack = Stack::start(&dir, &options, &["alice"], 1).unwrap();
        let direct = cluster().create_database(name).unwrap();
        let own = Self { stack, log, direct };
        create_schema(&own.alice());
        own
    }

    fn alice(&self) -> Endpoint {
        self.direct.through(self.stack.acting[0].port())
    }

    fn verify(&self, more: &[&str]) -> Result<Value, String> {
        verify(&self.stack.tenant, &self.log, more)
    }

    /// From now on no file of the proxy may get larger than this, as if its disk were full.
    fn leave_room(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.stack.proxy.process().pid().try_into().unwrap());
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
    }

    /// As with a full disk, an error and no signal.
    fn without_the_signal(&mut self) {
        self.stack.proxy.restart(&[("--ignore-signal", "XFSZ")]).unwrap();
    }
}

/// The code of a refusal.
fn code(frames: &[Frame]) -> Option<String> {
    let error = frames.iter().find(|frame| frame.tag == b'E')?;
    Some(error.field(b'D')?.split_whitespace().nth(2)?.trim_end_matches(':').to_owned())
}

fn is_killed_and_starts_again(proxy: &mut Part) {
    proxy.process().signal("KILL").unwrap();
    proxy.restart(&[]).unwrap();
}

#[test]
fn kills_under_load_and_full_files_leave_a_log_in_which_all_that_was_shown_stands() {
    let mut own = Own::new("audit_kills", "audit.max_bytes = 65536\naudit.checkpoint_records = 50\n");
    let (alice, stop, shown) = (own.alice(), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut client) = Frontend::connect(&alice, &[]) else {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    };
                    while !stop.load(Ordering::Relaxed)
                        && let Ok(frames) = client.query("SELECT ssn FROM patients WHERE ssn = 'SEED-001'")
                        && sqlstate(&frames).is_none()
                        && frames.iter().any(|frame| frame.tag == b'D')
                    {
                        shown.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let more = || {
            let (before, end) = (shown.load(Ordering::Relaxed), Instant::now() + LIMIT);
            while shown.load(Ordering::Relaxed) < before + 100 && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        for _ in 0..4 {
            more();
            is_killed_and_starts_again(&mut own.stack.proxy);
        }
        more();
        stop.store(true, Ordering::Relaxed);
    });
    own.stack.proxy.process_mut().stop();
    let report = own.verify(&[]).unwrap();
    assert_eq!((&report["uncovered"], &report["torn"]), (&0.into(), &false.into()), "{report}");
    assert!(files(&own.log).len() > 2, "{report}");
    assert!(report["late"].as_array().is_some_and(|late| late.len() <= 4), "{report}");
    let all = records(&own.log);
    let accesses = all.iter().filter(|r| r["event"] == "access").count();
    let shown = shown.into_inner();
    assert!(shown >= 400 && accesses as u64 >= shown, "{accesses} recorded, {shown} shown");
    assert_eq!(all.iter().filter(|r| r["event"] == "start").count(), 5);
    assert_eq!(all.last().unwrap()["event"], "checkpoint");
}

#[test]
fn while_the_disk_is_full_nothing_is_decrypted_and_health_says_why() {
    let mut own = Own::new("audit_full", "");
    own.without_the_signal();
    let mut client = Frontend::connect(&own.alice(), &[]).unwrap();
    assert_eq!(sqlstate(&client.query("SELECT ssn FROM patients").unwrap()), None);
    own.leave_room(Some(0));
    // The first one is on its way when the disk is found full: its answer is not shown.
    let frames = client.query("SELECT ssn FROM patients").unwrap();
    assert_eq!(code(&frames).as_deref(), Some("TF612"), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.tag == b'D'));
    let mut client = Frontend::connect(&own.alice(), &[]).unwrap();
    for _ in 0..3 {
        let frames = client.query("SELECT ssn FROM patients").unwrap();
        assert_eq!((sqlstate(&frames).as_deref(), code(&frames).as_deref()), (Some("58030"), Some("TF612")));
    }
    // What needs no key goes on.
    assert_eq!(sqlstate(&client.query("SELECT count(*) FROM patients").unwrap()), None);
    let (status, health) = health(&own.stack.proxy);
    assert_eq!(status, 503);
    assert!(health.contains("audit log cannot be written") && health.contains("File too large"), "{health}");

    own.leave_room(None);
    let end = Instant::now() + LIMIT;
    while sqlstate(&client.query("SELECT ssn FROM patients").unwrap()).is_some() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(self::health(&own.stack.proxy).0, 200);
    own.stack.proxy.process_mut().stop();
    own.verify(&[]).unwrap();
    let all = records(&own.log);
    // Nothing is missing, of those that were refused neither.
    assert!(all.iter().filter(|r| r["code"] == "TF612").count() >= 4);
}

#[test]
fn a_log_that_does_not_block_lets_statements_go_on() {
    let mut own = Own::new("audit_open", "audit.blocking = false\n");
    own.without_the_signal();
    let mut client = Frontend::connect(&own.alice(), &[]).unwrap();
    client.query("SELECT ssn FROM patients WHERE id = 1").unwrap();
    own.leave_room(Some(0));
    for _ in 0..5 {
        assert_eq!(sqlstate(&client.query("SELECT ssn FROM patients WHERE id = 2").unwrap()), None);
    }
    assert_eq!(health(&own.stack.proxy).0, 200);
    own.leave_room(None);
    let statements = || records(&own.log).into_iter().filter(|r| r["event"] == "statement").count();
    let before = Instant::now() + LIMIT;
    let schema = include_str!("../../corpus/schema.sql").lines().count();
    while records(&own.log).iter().filter(|r| r["event"] == "statement" && r["rows"] == 1).count() < 6 {
        assert!(Instant::now() < before, "{} of {schema}", statements());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(records(&own.log).iter().filter(|r| r["event"] == "access").count(), 0);
    own.stack.proxy.process_mut().stop();
    own.verify(&[]).unwrap();
}

fn health(proxy: &Part) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tls = trefoil_keys::tls::pinned_client_config(proxy.fingerprint().parse().unwrap(), None).unwrap();
    runtime.block_on(async {
        let client = trefoil_https::client::client(tls, LIMIT).unwrap();
        let request = client.get(format!("{}/health", proxy.admin_url()));
        let answer = trefoil_https::client::send(request, 1 << 20).await.unwrap();
        (answer.status.as_u16(), answer.text().unwrap().to_owned())
    })
}

#[test]
fn commands_bootstrap_start_and_stop_are_recorded_and_what_is_tampered_with_is_found() {
    let mut own = Own::new("audit_commands", "");
    let tenant = &own.stack.tenant;
    let status = tenant.admin(&["--json", "status"]).unwrap();
    let noted = own.log.with_file_name("status.json");
    fs::write(&noted, &status).unwrap();
    tenant.withdraw("alice").unwrap();
    let key = own.log.with_file_name("receipt.jwk");
    fs::write(&key, tenant.admin(&["audit", "key"]).unwrap()).unwrap();
    own.stack.proxy.process_mut().stop();

    let all = records(&own.log);
    let events: Vec<&str> = all.iter().map(|r| r["event"].as_str().unwrap()).collect();
    assert_eq!(events[..3], ["file", "start", "checkpoint"]);
    assert_eq!(events[events.len() - 2..], ["stop", "checkpoint"]);
    let policy =
        trefoil_keys::signing::hash(POLICY).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(all[1]["policy_sha256"], policy);
    let steps: Vec<&Value> =
        all.iter().filter(|r| r["event"] == "bootstrap").map(|r| &r["outcome"]).collect();
    assert_eq!(steps, ["ok", "ok"]);
    let commands: Vec<_> = all.iter().filter(|r| r["event"] == "command").collect();
    let of = |op: &str| commands.iter().find(|r| r["op"] == op).unwrap_or_else(|| panic!("{commands:?}"));
    assert_eq!((&of("withdraw")["user"], &of("withdraw")["outcome"]), (&"alice".into(), &"applied".into()));

    let (key, noted) = (key.display().to_string(), noted.display().to_string());
    let options = ["--receipt-key", &key, "--status", &noted];
    own.verify(&options).unwrap();
    own.verify(&[]).unwrap();
    let whole = fs::read_to_string(&own.log).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    assert_eq!((&all[1]["checkpoint_records"], &all[1]["checkpoint_seconds"]), (&1000.into(), &60.into()));
    // Who takes all checkpoints away but the first writes more anew than may lie between two.
    let hash = Line::parse(lines[2]).unwrap().hash;
    let (mut chain, mut forged) = (Chain { records: 3, hash }, joined(&lines[..3]));
    for _ in 0..1001 {
        chain.append(all[2]["at"].as_str().unwrap(), "\"event\":\"done\"", &mut forged);
    }
    for (what, text) in [
        ("overdue", forged.clone()),
        ("changed", whole.replacen("\"applied\"", "\"refused\"", 1)),
        ("removed", joined(&[&lines[..3], &lines[4..]].concat())),
        ("reordered", joined(&swapped)),
        ("inserted", joined(&[&lines[..4], &lines[3..]].concat())),
        ("cut off", joined(&lines[..3])),
    ] {
        fs::write(&own.log, text).unwrap();
        let error = run_verify(&own, &options);
        assert_eq!(error.0, Some(4), "{what}");
        assert!(error.1.contains(what), "{what}: {}", error.1);
    }

    // Fewer are found out when their checkpoint should be there.
    let few: String = forged.lines().take(10).map(|line| format!("{line}\n")).collect();
    fs::write(&own.log, few).unwrap();
    let (code, told) = run_verify(&own, &["--receipt-key", &key]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = run_verify(&own, &["--receipt-key", &key, "--as-of", "2099-01-01T00:00:00Z"]);
    assert!(
        code == Some(4) && told.contains("record 4 and those after it should be signed by now"),
        "{told}"
    );

    // A status counts for what the proxy has signed in it.
    fs::write(&own.log, &whole).unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let jws = status["jws"].as_str().unwrap();
    let (payload, signature) = jws.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    for forged in [format!("{payload}.{other}{}", &signature[1..]), format!("{payload}.AAAA")] {
        fs::write(&noted, serde_json::json!({ "audit": status["audit"], "jws": forged }).to_string())
            .unwrap();
        let (code, told) = run_verify(&own, &options);
        assert_eq!((code, told.as_str()), (Some(1), ""), "a status that was altered");
    }
    let claimed = serde_json::json!({ "audit": { "log": "another", "records": 1, "hash": "" }, "jws": jws });
    fs::write(&noted, claimed.to_string()).unwrap();
    assert_eq!(run_verify(&own, &options).0, Some(0), "what is beside the signature says nothing");
}

/// Exit code and output of the program as an auditor runs it, without the vault.
fn run_verify(own: &Own, options: &[&str]) -> (Option<i32>, String) {
    let program = trefoil_tests::programs::program("trefoil-admin").unwrap();
    let output = std::process::Command::new(program)
        .args(["--vault", "/nonexistent", "audit", "verify"])
        .args(options)
        .args(files(&own.log))
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
