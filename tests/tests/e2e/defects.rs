//! Panics, provoked in the running programs: what each ends, what goes on, and that neither a log nor an
//! answer repeats what it was about.

use crate::memory::Looked;
use crate::shared::create_schema;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::stack::Part;

const MARKER: &str = "SEED-002";
const ASK: &str = "SELECT name, ssn FROM patients ORDER BY id";

/// One stack for these tests, one of which has it at a time.
fn stack() -> MutexGuard<'static, Looked> {
    static STACK: OnceLock<Mutex<Looked>> = OnceLock::new();
    let stack = STACK.get_or_init(|| {
        let looked = Looked::start("defects", "open");
        create_schema(&looked.through(&looked.stack.acting[0]));
        Mutex::new(looked)
    });
    stack.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panics_at(place: &str) -> [(&str, &str); 2] {
    [("TREFOIL_MEMORY", "open"), ("TREFOIL_PANIC_AT", place)]
}

fn health(part: &Part) -> Value {
    let answer =
        Command::new("curl").args(["-sk", &format!("{}/health", part.admin_url())]).output().unwrap();
    serde_json::from_slice(&answer.stdout).unwrap()
}

fn rows(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.tag == b'D').count()
}

/// The client was told that its session has ended by a defect, and nothing of what it was about.
fn ended(client: &mut Frontend, frames: &[Frame]) {
    let last = frames.last().unwrap();
    assert_eq!(sqlstate(frames).as_deref(), Some("XX000"), "{frames:?}");
    assert_eq!(last.field(b'S').as_deref(), Some("FATAL"), "{frames:?}");
    assert!(memchr::memmem::find(&last.body, MARKER.as_bytes()).is_none(), "{last:?}");
    assert!(client.read().is_err(), "the connection goes on");
}

/// The log names the place of the panic alone.
fn logged(part: &Part) {
    let log = std::fs::read_to_string(part.process().log()).unwrap();
    let line = log.lines().rfind(|line| line.contains("panic: a defect of")).unwrap();
    assert!(line.contains("keys/src/panics.rs"), "{line}");
    assert!(!log.contains(MARKER) && !log.contains("provoked"), "{log}");
}

#[test]
fn a_panic_with_keys_at_hand_ends_one_session_and_leaves_none_behind() {
    let mut looked = stack();
    looked.stack.proxy.restart(&panics_at(&format!("session.value={MARKER}"))).unwrap();
    let alice = looked.through(&looked.stack.acting[0]);
    let mut other = Frontend::connect(&alice, &[]).unwrap();
    for statement in ["BEGIN", "UPDATE patients SET name = 'kept' WHERE id = 1"] {
        assert_eq!(sqlstate(&other.query(statement).unwrap()), None);
    }
    for number in 1..=3 {
        let mut client = Frontend::connect(&alice, &[]).unwrap();
        let frames = client.query(ASK).unwrap();
        let before = frames.split_last().unwrap().1;
        assert!(before.iter().all(|frame| matches!(frame.tag, b'T' | b'D')), "half a message: {frames:?}");
        ended(&mut client, &frames);
        assert_eq!(health(&looked.stack.proxy)["panics"], number);
    }
    logged(&looked.stack.proxy);
    assert_eq!(health(&looked.stack.proxy)["status"], "ok");
    assert_eq!(rows(&other.query("SELECT name FROM patients WHERE id = 1").unwrap()), 1);
    assert_eq!(sqlstate(&other.query("COMMIT").unwrap()), None);
    looked.wait_until_idle(1);
    assert_eq!(looked.found_in_proxy(), BTreeSet::new());
}

#[test]
fn a_panic_over_a_message_ends_one_session() {
    let mut looked = stack();
    looked.stack.proxy.restart(&panics_at("session.message=SEED-002")).unwrap();
    let alice = looked.through(&looked.stack.acting[0]);
    let mut other = Frontend::connect(&alice, &[]).unwrap();
    let mut client = Frontend::connect(&alice, &[]).unwrap();
    let frames = client.query(&format!("SELECT name FROM patients WHERE ssn = '{MARKER}'")).unwrap();
    ended(&mut client, &frames);
    logged(&looked.stack.proxy);
    assert_eq!(rows(&other.query("SELECT name FROM patients WHERE ssn = 'SEED-001'").unwrap()), 1);
}

#[test]
fn a_panic_in_the_sidecar_ends_one_session() {
    let mut looked = stack();
    looked.stack.proxy.restart(&[("TREFOIL_MEMORY", "open")]).unwrap();
    looked.stack.acting[0].restart(&panics_at("sidecar.message=SEED-002")).unwrap();
    let alice = looked.through(&looked.stack.acting[0]);
    let mut other = Frontend::connect(&alice, &[]).unwrap();
    let mut client = Frontend::connect(&alice, &[]).unwrap();
    let frames = client.query(&format!("SELECT name FROM patients WHERE ssn = '{MARKER}'")).unwrap();
    ended(&mut client, &frames);
    logged(&looked.stack.acting[0]);
    assert_eq!(health(&looked.stack.acting[0])["panics"], 1);
    assert_eq!(rows(&other.query("SELECT name FROM patients WHERE ssn = 'SEED-001'").unwrap()), 1);
    looked.stack.acting[0].restart(&[("TREFOIL_MEMORY", "open")]).unwrap();
}

#[test]
fn a_panic_at_the_admin_port_is_answered_and_a_look_that_panics_is_the_last_of_its_kind_only() {
    let mut looked = stack();
    looked.stack.proxy.restart(&panics_at("admin.envelope=SEED-002")).unwrap();
    let url = format!("{}/v1/envelopes/check", looked.stack.proxy.admin_url());
    let answer = Command::new("curl").args(["-sk", "--data-binary", MARKER, &url]).output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.contains("\"internal\"") && !answer.contains("SEED"), "{answer}");
    assert_eq!(health(&looked.stack.proxy)["panics"], 1);
    logged(&looked.stack.proxy);

    looked.stack.proxy.restart(&panics_at("catalog.look=defects")).unwrap();
    let mut client = Frontend::connect(&looked.through(&looked.stack.acting[0]), &[]).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while health(&looked.stack.proxy)["panics"].as_u64().unwrap() < 2 {
        assert!(Instant::now() < end, "looked at once, and never again");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(rows(&client.query(ASK).unwrap()), 4);
    looked.stack.proxy.restart(&[("TREFOIL_MEMORY", "open")]).unwrap();
}

#[test]
fn a_background_task_that_panics_ends_the_program() {
    let mut looked = stack();
    // It may end before it is seen to listen.
    looked.stack.proxy.restart(&panics_at("catalog.poll=poll")).ok();
    let end = Instant::now() + Duration::from_secs(20);
    while looked.stack.proxy.process_mut().running() {
        assert!(Instant::now() < end, "it runs on without its task");
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = std::fs::read_to_string(looked.stack.proxy.process().log()).unwrap();
    assert!(log.contains("a background task ended; the log says where"), "{log}");
    looked.stack.proxy.restart(&[("TREFOIL_MEMORY", "open")]).unwrap();
}
