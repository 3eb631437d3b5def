//! What the programs give up before they touch a share, as the kernel reports it; and what a session may
//! take of the proxy's memory.

use crate::shared::{clinic, cluster, shared};
use bytes::BytesMut;
use postgres_protocol::message::frontend as message;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use trefoil_tests::Error;
use trefoil_tests::cluster::free_port;
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::leash::Leash;
use trefoil_tests::programs::program;

const NOBODY: u32 = 65_534;

/// The words of a line of `/proc/…/status`.
fn status(process: u32, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// No core dump, and no set-user-ID program raises it.
fn is_hardened(process: u32) {
    assert_eq!(status(process, "NoNewPrivs:"), ["1"]);
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

/// It runs as nobody, and its files in `/proc` are root's all the same: others of its account cannot look in.
fn is_closed_to_its_own_account(process: u32) {
    assert_eq!(status(process, "Uid:"), ["65534"; 4]);
    assert_eq!(fs::metadata(format!("/proc/{process}/environ")).unwrap().uid(), 0);
}

/// A configuration in a directory of nobody's, and that program's initialisation by root.
fn configure(directory: &Path, user: &str) -> [u16; 2] {
    let ([port, admin], database) = ([free_port().unwrap(), free_port().unwrap()], cluster().endpoint());
    let path = |name: &str| directory.join(name).display().to_string();
    let configuration = format!(
        "listen = \"127.0.0.1:{port}\"\npolicy = {:?}\nstate = {:?}\n{user}\n\
         lock = {{ key_file = {:?} }}\nadmin = {{ listen = \"127.0.0.1:{admin}\" }}\n\
         upstream = {{ host = \"127.0.0.1\", port = {}, tls = \"disable\" }}\ncatalog = {{ user = {:?}, password = {:?} }}\n",
        path("policy.toml"),
        path("state"),
        path("lock"),
        database.port,
        database.user,
        database.password
    );
    fs::write(directory.join("proxy.toml"), configuration).unwrap();
    fs::write(directory.join("policy.toml"), "").unwrap();
    chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
    [port, admin]
}

fn proxy(directory: &Path, before: &[&str], arguments: &[&str]) -> Vec<String> {
    let mut command: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
    command.push(program("trefoil-proxy").unwrap().display().to_string());
    command.extend(arguments.iter().map(|word| (*word).to_owned()));
    command.extend(["--config".to_owned(), directory.join("proxy.toml").display().to_string()]);
    command
}

const INIT: [&str; 5] = ["init", "--tenant", "t", "--application", "a"];

fn run(command: &[String]) -> (bool, String) {
    let output = Command::new(&command[0]).args(&command[1..]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn without_root() -> bool {
    let without = !trefoil_keys::privileges::is_root();
    if without {
        eprintln!("not root: nobody becomes another user here");
    }
    without
}

#[test]
fn started_by_root_it_becomes_its_user_for_good() {
    if without_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [port, _] = configure(directory.path(), "user = \"nobody\"");
    assert_eq!(run(&proxy(directory.path(), &[], &INIT)), (true, String::new()));
    assert_eq!(fs::metadata(directory.path().join("state")).unwrap().uid(), NOBODY);

    let serve = proxy(directory.path(), &[], &[]);
    let log = directory.path().join("log");
    let mut running = Leash::start("nobody's proxy", &serve, "TERM", &log, None).unwrap();
    running.wait_for(&format!("listening on 127.0.0.1:{port}"), Duration::from_secs(30)).unwrap();
    is_hardened(running.pid());
    is_closed_to_its_own_account(running.pid());
    assert_eq!(status(running.pid(), "Gid:"), ["65534"; 4]);
    assert_eq!(status(running.pid(), "Groups:"), ["65534"]);
    for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(status(running.pid(), set), ["0000000000000000"], "{set}");
    }
    // All of its threads.
    for thread in fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap() {
        let thread = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(thread.contains("NoNewPrivs:\t1") && thread.contains("CapPrm:\t0000000000000000"));
    }
    assert!(!fs::read_to_string(log).unwrap().contains("running as root"));
}

#[test]
fn who_it_cannot_become_keeps_it_from_starting() {
    if without_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), "user = \"nobody-of-trefoil\"");
    let (started, said) = run(&proxy(directory.path(), &[], &INIT));
    assert!(!started && said.contains("there is no user `nobody-of-trefoil` on this machine"), "{said}");
    configure(directory.path(), "user = \"daemon\"");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let (started, said) = run(&proxy(directory.path(), &nobody, &INIT));
    assert!(!started && said.contains("was not started as root"), "{said}");
    assert!(!directory.path().join("state").exists());
    // Who stays root is told so.
    let log = fs::read_to_string(shared().proxy.process().log()).unwrap();
    assert!(log.contains("running as root, and the proxy needs none of its rights"), "{log}");
}

#[test]
fn too_little_lockable_memory_keeps_it_from_starting() {
    if without_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), "");
    assert_eq!(run(&proxy(directory.path(), &[], &INIT)), (true, String::new()));
    let limited = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=0:0"];
    let (valid, said) = run(&proxy(directory.path(), &limited, &["--check"]));
    assert!(!valid && said.contains("RLIMIT_MEMLOCK may be too low"), "{said}");
    assert_eq!(run(&proxy(directory.path(), &[], &["--check"])), (true, String::new()));
}

#[test]
fn each_program_with_shares_is_closed_to_others() {
    let shared = shared();
    is_hardened(shared.proxy.process().pid());
    is_hardened(shared.sidecar().process().pid());
    if without_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let bundle = directory.path().join("alice.json");
    fs::copy(shared.tenant.user_bundle("alice"), &bundle).unwrap();
    chown(&bundle, Some(NOBODY), Some(NOBODY)).unwrap();
    let bundle = bundle.to_str().unwrap();
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let agent = ["agent", "--bundle", bundle, "--origin", "http://127.0.0.1:1", "--listen", &listen];
    let vault = directory.path().join("vault").display().to_string();
    let admin = ["--vault", &vault, "--passphrase-fd", "0", "vault", "passphrase"];
    // Each waits: for requests, or for a passphrase that does not come.
    for (name, arguments) in [("trefoil-shim", &agent[..]), ("trefoil-admin", &admin[..])] {
        if name == "trefoil-admin" {
            fs::write(&vault, "not read before the passphrase").unwrap();
        }
        let mut waits = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program(name).unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(waits.try_wait().unwrap().is_none(), "{name} does not wait");
        is_hardened(waits.id());
        is_closed_to_its_own_account(waits.id());
        waits.kill().unwrap();
        waits.wait().unwrap();
    }
}

fn resident(process: u32) -> u64 {
    status(process, "VmRSS:")[0].parse().unwrap()
}

#[test]
fn floods_that_nobody_reads_and_rows_without_end_wait_outside_of_the_proxy() {
    let database = clinic();
    let process = shared().proxy.process().pid();
    let notices = "DO $$ BEGIN FOR i IN 1..300000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$";
    let floods = [
        "SELECT repeat('x', 1000) FROM generate_series(1, 300000)",
        "SELECT name, repeat('x', 1000) FROM patients, generate_series(1, 100000)",
        "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 300000)) TO STDOUT",
        "SELECT repeat('x', 300000000)",
        notices,
    ];
    let mut clients = Vec::new();
    for flood in floods {
        let mut client = Frontend::connect(&database.alice, &[]).unwrap();
        client.send(|buffer| message::query(flood, buffer)).unwrap();
        clients.push(client);
    }
    // One row of 100 MB into a plain table goes through piece by piece.
    let mut writer = Frontend::connect(&database.alice, &[]).unwrap();
    writer.send(|buffer| message::query("COPY wards (id, name) FROM STDIN", buffer)).unwrap();
    while writer.read().unwrap().tag != b'G' {}
    let piece = vec![b'x'; 1 << 20];
    let data = |piece: &[u8], buffer: &mut BytesMut| {
        message::CopyData::new(piece)?.write(buffer);
        Ok::<_, Error>(())
    };
    writer.send(|buffer| data(b"77\t", buffer)).unwrap();
    for _ in 0..100 {
        writer.send(|buffer| data(&piece, buffer)).unwrap();
    }
    let held = resident(process);
    assert!(held < 400_000, "the proxy holds {held} kB");
    writer.send(|buffer| message::copy_fail("enough", buffer)).unwrap();
    assert_eq!(sqlstate(&writer.until_ready().unwrap()).as_deref(), Some("57014"));
    assert!(clients.iter_mut().all(|client| client.read().is_ok()));
}

fn error(frames: &[Frame]) -> Option<String> {
    frames.iter().find(|frame| frame.tag == b'E').and_then(|frame| frame.field(b'M'))
}

#[test]
fn statements_and_cursors_beyond_the_limits_are_refused_and_the_session_goes_on() {
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    let declare = |range: std::ops::Range<usize>| -> String {
        range.map(|n| format!("DECLARE c{n} CURSOR FOR SELECT ssn FROM patients ORDER BY id;")).collect()
    };
    let prepare = |range: std::ops::Range<usize>| -> String {
        range.map(|n| format!("PREPARE s{n} AS SELECT name FROM wards;")).collect()
    };
    assert_eq!(error(&client.query("BEGIN").unwrap()), None);
    assert_eq!(error(&client.query(&declare(0..999)).unwrap()), None);
    assert_eq!(error(&client.query("SAVEPOINT a").unwrap()), None);
    let refused = client.query(&declare(999..1001)).unwrap();
    assert_eq!(sqlstate(&refused).as_deref(), Some("54000"));
    assert_eq!(error(&refused).as_deref(), Some("too many cursors and portals in this session"));
    for statement in ["ROLLBACK TO a", "FETCH c998", "CLOSE c0", &declare(999..1001), "FETCH c1000"] {
        assert_eq!(error(&client.query(statement).unwrap()), None, "{statement}");
    }
    let row = client.query("FETCH c5").unwrap();
    let row = row.iter().find(|frame| frame.tag == b'D').unwrap().columns();
    assert_eq!(row, [Some(b"SEED-001".to_vec())]);
    assert_eq!(error(&client.query("ROLLBACK").unwrap()), None);

    assert_eq!(error(&client.query(&prepare(0..10_000)).unwrap()), None);
    let refused = client.query(&prepare(10_000..10_001)).unwrap();
    assert_eq!(sqlstate(&refused).as_deref(), Some("54000"));
    let parse = |name: &str, buffer: &mut BytesMut| {
        message::parse(name, "SELECT ssn FROM patients WHERE id = 1", [], buffer)?;
        message::sync(buffer);
        Ok::<_, Error>(())
    };
    client.send(|buffer| parse("more", buffer)).unwrap();
    let refused = client.until_ready().unwrap();
    assert_eq!(error(&refused).as_deref(), Some("too many prepared statements in this session"));
    for statement in ["EXECUTE s9999", "DEALLOCATE s0"] {
        assert_eq!(error(&client.query(statement).unwrap()), None, "{statement}");
    }
    client.send(|buffer| parse("more", buffer)).unwrap();
    assert_eq!(error(&client.until_ready().unwrap()), None);
    assert_eq!(error(&client.query("EXECUTE more").unwrap()), None);
}
