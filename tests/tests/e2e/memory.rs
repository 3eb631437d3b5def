//! The memory of running programs: after keyed traffic, and while the database works, neither proxy nor
//! sidecar holds what the key scheme says that they do not hold. With wiping switched off the same search
//! finds all of it, so it is known to see.

use crate::shared::{POLICY, cluster, create_schema};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use postgres_protocol::message::frontend as message;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use trefoil_keys::bundle::{self, UserBundle};
use trefoil_keys::carrier::app_share;
use trefoil_keys::escrow::{self, Sheet};
use trefoil_tests::Error;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::memory::Search;
use trefoil_tests::stack::{Part, ProxyOptions, Stack};
use trefoil_tests::tenant::Tenant;

/// Columns of the corpus: their domains, and what their keys are for.
const COLUMNS: [(&str, &str); 4] = [
    ("ssn", "deterministic cells"),
    ("prose", "randomized cells"),
    ("public.patients.mrn", "deterministic cells"),
    ("public.patients.photo", "randomized cells"),
];

const ASK: &str = "SELECT ssn, name, photo FROM patients WHERE ssn = 'SEED-001'";

/// A stack of its own, whose programs let a test look, and the secrets to look for.
pub(crate) struct Looked {
    // Dropped first: the programs end.
    pub(crate) stack: Stack,
    database: Endpoint,
    directory: tempfile::TempDir,
    keys: Vec<(String, [u8; 32])>,
    users: Vec<(String, [u8; 32])>,
    applications: Vec<(String, [u8; 32])>,
}

impl Looked {
    pub(crate) fn start(name: &str, switch: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = cluster().create_database(name).unwrap();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "memory",
            database: cluster().endpoint(),
            recorder: None,
            configuration: "",
        };
        let mut stack = Stack::start(directory.path(), &options, &["alice", "bob"], 1).unwrap();
        let environment = [("TREFOIL_MEMORY", switch)];
        stack.proxy.restart(&environment).unwrap();
        stack.application.restart(&environment).unwrap();
        stack.acting[0].restart(&environment).unwrap();
        let (mut users, mut applications) = (Vec::new(), Vec::new());
        for user in ["alice", "bob"] {
            let own: UserBundle = bundle::read(&stack.tenant.user_bundle(user)).unwrap();
            users.push((format!("TKu of {user}"), *own.shares["main"].share.as_bytes()));
            let shares = app_share::parse(&stack.tenant.application_share(user).unwrap()).unwrap();
            applications.push((format!("TKa of {user}"), *shares["main"].as_bytes()));
        }
        let keys = keys(&stack.tenant, directory.path());
        Self { stack, database, directory, keys, users, applications }
    }

    pub(crate) fn through(&self, part: &Part) -> Endpoint {
        self.database.through(part.port())
    }

    /// All that must not be in the memory of an idle proxy.
    pub(crate) fn found_in_proxy(&self) -> BTreeSet<String> {
        self.found(&self.stack.proxy, &[&self.keys, &self.users, &self.applications])
    }

    /// What of these is found in a program: names only.
    fn found(&self, part: &Part, secrets: &[&[(String, [u8; 32])]]) -> BTreeSet<String> {
        let secrets = secrets.iter().copied().flatten().map(|(name, bytes)| (name.as_str(), *bytes));
        found(part, secrets).into_keys().collect()
    }

    /// Until the database knows no other sessions than these, which are idle, and the proxy has said so.
    pub(crate) fn wait_until_idle(&self, sessions: usize) {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND pid <> pg_backend_pid() AND (state <> 'idle' OR application_name <> 'trefoil-proxy')";
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        let rows = || self.database.run(count).unwrap()[0][0].clone().unwrap();
        while rows().parse::<usize>().unwrap() > sessions {
            assert!(std::time::Instant::now() < deadline, "a session goes on: {}", rows());
            std::thread::sleep(Duration::from_millis(100));
        }
        // What the database has sent, the proxy may still be reading for a client that has left.
        let busy = || ticks(self.stack.proxy.process().pid());
        let mut before = busy();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = busy();
            if now - before <= 3 {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the proxy works on");
            before = now;
        }
    }

    /// Whether the kernel has memory that even root cannot read.
    fn has_secret_memory(&self) -> bool {
        let log = std::fs::read_to_string(self.stack.proxy.process().log()).unwrap();
        assert!(log.contains("shares of requests lie in"), "{log}");
        log.contains("lie in secret memory")
    }
}

/// What of these is found in a program, and how often: names only. Each half counts.
pub(crate) fn found<'s>(
    part: &Part,
    secrets: impl IntoIterator<Item = (&'s str, [u8; 32])>,
) -> BTreeMap<String, usize> {
    let found = Search::new(secrets).unwrap().through(part.process().pid()).unwrap();
    assert!(found.bytes > 1_000_000, "{} bytes are not a program's memory", found.bytes);
    found.secrets
}

/// What a process has worked so far, in ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// TK, from two sheets of escrow, and both halves of the keys that it gives to columns.
fn keys(tenant: &Tenant, directory: &std::path::Path) -> Vec<(String, [u8; 32])> {
    let sheets = directory.join("sheets");
    let out = sheets.display().to_string();
    tenant.admin(&["escrow", "split", "--threshold", "2", "--shares", "2", "--out-dir", &out]).unwrap();
    let sheets: Vec<Sheet> = std::fs::read_dir(sheets)
        .unwrap()
        .map(|file| Sheet::parse(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap())
        .collect();
    let payload = escrow::recover(&sheets).unwrap();
    let tk = payload.keys[&("main".to_owned(), 1)].as_bytes();
    let mut keys = vec![("TK".to_owned(), *tk)];
    for (domain, purpose) in COLUMNS {
        let key = derived(tk, domain, purpose);
        keys.push((format!("a key of {domain}, 1"), key[..32].try_into().unwrap()));
        keys.push((format!("a key of {domain}, 2"), key[32..].try_into().unwrap()));
    }
    keys
}

/// As SCHEME derives column keys.
fn derived(tk: &[u8; 32], domain: &str, purpose: &str) -> [u8; 64] {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            64
        }
    }
    let fields = ["trefoil 1", "main", domain, purpose].map(str::as_bytes);
    let info: Vec<u8> =
        fields.iter().flat_map(|field| [&(field.len() as u64).to_be_bytes()[..], field].concat()).collect();
    let mut key = [0; 64];
    Salt::new(HKDF_SHA256, &[]).extract(tk).expand(&[&info], Length).unwrap().fill(&mut key).unwrap();
    key
}

fn answered(frames: &[Frame]) {
    assert_eq!(sqlstate(frames), None, "{frames:?}");
    assert!(frames.iter().any(|frame| frame.tag == b'D'), "{frames:?}");
}

fn refused(frames: &[Frame], state: &str) {
    assert_eq!(sqlstate(frames).as_deref(), Some(state), "{frames:?}");
}

/// Whatever an application may do on carriers 1 and 2, which are not kept as settings are. The sessions
/// that come back are open and idle.
fn traffic(looked: &Looked) -> Vec<Frontend> {
    let Looked { stack, database, .. } = looked;
    let alice = looked.through(&stack.acting[0]);
    create_schema(&alice);
    let mut open: Vec<Frontend> = (0..12).map(|_| Frontend::connect(&alice, &[]).unwrap()).collect();
    for client in &mut open {
        answered(&client.query(ASK).unwrap());
        answered(
            &client.extended("SELECT name FROM patients WHERE ssn = $1", &[Some(b"SEED-002")], true).unwrap(),
        );
    }
    let client = &mut open[0];
    // Prepared and run again, COPY both ways, errors of every origin, a rollback.
    assert_eq!(
        sqlstate(&client.query("PREPARE p AS SELECT name FROM patients WHERE ssn = $1").unwrap()),
        None
    );
    answered(&client.query("EXECUTE p('SEED-001')").unwrap());
    assert_eq!(sqlstate(&client.query("COPY patients (ssn, name) TO STDOUT").unwrap()), None);
    copy_in(client, "COPY visits (id, patient_ssn, reason) FROM STDIN", b"90\tSEED-001\tmade by COPY\n");
    refused(&client.query("COPY visits (id, patient_ssn) FROM STDIN").unwrap(), "57014");
    refused(&client.query("SELECT upper(ssn) FROM patients").unwrap(), "0A000");
    refused(&client.query("INSERT INTO patients (id, ssn) VALUES (1, 'SEED-001')").unwrap(), "23505");
    refused(&client.query("SELEC ssn").unwrap(), "42601");
    assert_eq!(sqlstate(&client.query("BEGIN").unwrap()), None);
    assert_eq!(
        sqlstate(&client.query("UPDATE patients SET name = 'x' WHERE ssn = 'SEED-001'").unwrap()),
        None
    );
    assert_eq!(sqlstate(&client.query("ROLLBACK").unwrap()), None);
    cancelled(client, &alice);
    // A session that ends in the middle of its answer.
    let mut gone = Frontend::connect(&alice, &[]).unwrap();
    gone.send(|buffer| message::query("SELECT name, generate_series(1, 3000) FROM patients", buffer))
        .unwrap();
    gone.read().unwrap();
    drop(gone);

    // A comment, through a sidecar and by an application that carries TKa itself.
    let envelope = stack.tenant.envelope("bob", &[]).unwrap();
    let named = format!("trefoil_user='bob',trefoil_envelope='{envelope}'");
    let mut client = Frontend::connect(&looked.through(&stack.application), &[]).unwrap();
    answered(&client.query(&format!("/*{named}*/ {ASK}")).unwrap());
    answered(&client.extended(&format!("/*{named}*/ {ASK}"), &[], false).unwrap());
    refused(&client.query(&format!("/*{}*/ {ASK}", named.replace("'bob'", "'alice'"))).unwrap(), "28000");
    open.push(client);
    let share = stack.tenant.application_share("bob").unwrap();
    let direct = database.through(stack.proxy.port());
    let mut client = Frontend::connect(&direct, &[]).unwrap();
    let carried = format!("{named},trefoil_app_share='{}'", share.replace(':', "%3A"));
    answered(&client.query(&format!("/*{carried}*/ {ASK}")).unwrap());
    answered(&client.extended(&format!("{ASK} /*{carried}*/"), &[], false).unwrap());
    open.push(client);
    checked(&stack.proxy, &envelope, &share);
    open
}

/// The question by which a sidecar has an envelope checked, through TLS, HTTP and JSON.
fn checked(proxy: &Part, envelope: &str, share: &str) {
    let question = format!(r#"{{"user":"bob","envelope":"{envelope}","app_share":"{share}"}}"#);
    let url = format!("{}/v1/envelopes/check", proxy.admin_url());
    let mut curl = Command::new("curl")
        .args(["-sk", "--fail", "--data-binary", "@-", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    curl.stdin.take().unwrap().write_all(question.as_bytes()).unwrap();
    let answer = curl.wait_with_output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
}

fn copy_in(client: &mut Frontend, text: &str, data: &'static [u8]) {
    client.send(|buffer| message::query(text, buffer)).unwrap();
    while client.read().unwrap().tag != b'G' {}
    client
        .send(|buffer| {
            message::CopyData::new(data)?.write(buffer);
            message::copy_done(buffer);
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(sqlstate(&client.until_ready().unwrap()), None);
}

fn cancelled(client: &mut Frontend, endpoint: &Endpoint) {
    client.send(|buffer| message::query("SELECT ssn, pg_sleep(30) FROM patients", buffer)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut packet = bytes::BytesMut::new();
    message::cancel_request(client.process_id, client.secret_key, &mut packet);
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).unwrap();
    stream.write_all(&packet).unwrap();
    refused(&client.until_ready().unwrap(), "57014");
}

/// While a keyed statement of each protocol sleeps in the database.
fn while_asleep<T>(looked: &Looked, look: impl FnOnce() -> T) -> T {
    let alice = looked.through(&looked.stack.acting[0]);
    let mut sleepers: Vec<Frontend> = (0..2).map(|_| Frontend::connect(&alice, &[]).unwrap()).collect();
    let question = "SELECT ssn, pg_sleep(4) FROM patients WHERE ssn = ";
    sleepers[0].send(|buffer| message::query(&format!("{question}'SEED-001'"), buffer)).unwrap();
    sleepers[1]
        .send(|buffer| {
            message::parse("", &format!("{question}$1"), [], buffer)?;
            trefoil_tests::frontend::bind("", "", &[Some(b"SEED-002")], false, true, buffer)?;
            message::execute("", 0, buffer)?;
            message::sync(buffer);
            Ok::<_, Error>(())
        })
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let seen = look();
    sleepers.iter_mut().for_each(|client| answered(&client.until_ready().unwrap()));
    seen
}

/// One at a time: programs and searches take time, and others wait.
pub(crate) static TURN: Mutex<()> = Mutex::new(());

#[test]
fn neither_an_idle_proxy_nor_one_that_waits_holds_a_key_or_a_share() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let looked = Looked::start("memory_open", "open");
    let open = traffic(&looked);
    looked.wait_until_idle(open.len());
    let Looked { stack, keys, users, applications, .. } = &looked;
    let all: [&[_]; 3] = [keys, users, applications];
    assert_eq!(looked.found_in_proxy(), BTreeSet::new(), "the idle proxy");
    // Envelopes only pass through the sidecar; what it holds is the application's shares.
    assert_eq!(looked.found(&stack.application, &[keys, users]), BTreeSet::new(), "the sidecar");

    let asleep = while_asleep(&looked, || looked.found(&stack.proxy, &all));
    let held: BTreeSet<String> = asleep.into_iter().filter(|found| !found.starts_with("TKa")).collect();
    assert_eq!(held, BTreeSet::new(), "the proxy that waits for the database");
    if looked.has_secret_memory() {
        let held = while_asleep(&looked, || looked.found(&stack.proxy, &all));
        assert_eq!(held, BTreeSet::new(), "TKa of a request that waits lies where nobody reads it");
    } else {
        eprintln!(
            "no memfd_secret(2) here: TKa of a request that waits lies in locked memory, which root reads"
        );
    }
    drop(open);
    assert!(looked.directory.path().exists());
}

#[test]
fn without_wiping_the_search_finds_every_key_and_share() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let looked = Looked::start("memory_unwiped", "unwiped");
    let open = traffic(&looked);
    let Looked { stack, keys, users, applications, .. } = &looked;
    let kinds = ["TK as", "a key of ", "TKu of", "TKa of"];
    let (mut open, mut found) = (open, BTreeSet::new());
    // What is left unwiped is soon overwritten by what comes next: whatever was seen at some time counts.
    for _ in 0..50 {
        found.append(&mut looked.found(&stack.proxy, &[keys, users, applications]));
        let missing = kinds.iter().filter(|kind| !found.iter().any(|found| found.starts_with(**kind)));
        if missing.count() == 0 {
            break;
        }
        open.extend([Frontend::connect(&looked.through(&stack.acting[0]), &[]).unwrap()]);
        open.iter_mut().rev().take(1).for_each(|client| answered(&client.query(ASK).unwrap()));
    }
    for kind in kinds {
        assert!(found.iter().any(|found| found.starts_with(kind)), "{kind}: {found:?}");
    }
}
