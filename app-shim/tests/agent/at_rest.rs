//! The user's share at rest: locked by a passphrase.

use crate::agent::{Agent, issue, open};
use crate::origin::Origin;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";

/// Runs the program in a directory, which reads `input`.
fn run(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("TREFOIL_PASSPHRASE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever refuses does not read.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

const IMPORT: [&str; 10] = [
    "agent",
    "import",
    "--bundle",
    "alice.json",
    "--out",
    "alice.trefoil",
    "--work-factor",
    "4",
    "--passphrase-fd",
    "0",
];

fn imported() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    issue(&directory.path().join("alice.json"));
    let output = run(directory.path(), &IMPORT, PASSPHRASE);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("delete the plain one now: shred -u alice.json"), "{said}");
    directory
}

#[test]
fn a_locked_share_opens_by_its_passphrase_alone() {
    let directory = imported();
    let plain = std::fs::read(directory.path().join("alice.json")).unwrap();
    let locked = std::fs::read(directory.path().join("alice.trefoil")).unwrap();
    assert!(locked.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    for word in ["alice", "clinic", "BwcHBwcH"] {
        assert!(plain.windows(word.len()).any(|part| part == word.as_bytes()));
        assert!(!locked.windows(word.len()).any(|part| part == word.as_bytes()));
    }
    let envelope = ["envelope", "--bundle", "alice.trefoil", "--passphrase-fd", "0"];
    let output = run(directory.path(), &envelope, PASSPHRASE);
    assert_eq!(open(String::from_utf8(output.stdout).unwrap().trim()).sub, "alice");
    let output = run(directory.path(), &envelope, "correct horse battery stable");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("wrong passphrase for alice.trefoil"), "{said}");
    let output = run(directory.path(), &envelope[..3], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("--passphrase-fd or TREFOIL_PASSPHRASE"), "{said}");
    let mut altered = locked;
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(directory.path().join("alice.trefoil"), altered).unwrap();
    assert!(!run(directory.path(), &envelope, PASSPHRASE).status.success());
}

#[test]
fn a_weak_passphrase_and_a_second_import_change_nothing() {
    let directory = imported();
    let before = std::fs::read(directory.path().join("alice.trefoil")).unwrap();
    let again = run(directory.path(), &IMPORT, PASSPHRASE);
    assert!(!again.status.success(), "{again:?}");
    assert_eq!(std::fs::read(directory.path().join("alice.trefoil")).unwrap(), before);
    std::fs::remove_file(directory.path().join("alice.trefoil")).unwrap();
    let weak = run(directory.path(), &IMPORT, "secret");
    assert!(!weak.status.success() && String::from_utf8(weak.stderr).unwrap().contains("fewer than 12"));
    assert!(!directory.path().join("alice.trefoil").exists());
}

#[test]
fn the_agent_opens_a_locked_share_and_says_when_it_is_not_locked() {
    let directory = imported();
    let agent = ["agent", "--check", "--origin", "http://127.0.0.1:1", "--passphrase-fd", "0", "--bundle"];
    for (bundle, passphrase, works) in
        [("alice.trefoil", PASSPHRASE, true), ("alice.trefoil", "wrong", false), ("alice.json", "", true)]
    {
        let output = run(directory.path(), &[&agent[..], &[bundle]].concat(), passphrase);
        assert_eq!(output.status.success(), works, "{output:?}");
    }
    Agent::start(&Origin::start()).says("is not locked: whoever reads the file has it");
}

#[test]
fn fields_for_curl() {
    let directory = tempfile::tempdir().unwrap();
    issue(&directory.path().join("alice.json"));
    let limits =
        ["--scope", "read", "--max-uses", "2", "--tables", "public.a,public.b", "--audience", "other"];
    let output = run(
        directory.path(),
        &[&["envelope", "--bundle", "alice.json", "--header"], &limits[..]].concat(),
        "",
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let (user, envelope) = printed.trim_end().split_once('\n').unwrap();
    assert_eq!(user, "Trefoil-User: alice");
    let envelope = open(envelope.strip_prefix("Trefoil-Envelope: ").unwrap());
    assert_eq!((envelope.max_uses, envelope.aud.as_str()), (Some(2), "other"));
    assert_eq!(envelope.tables.unwrap().into_iter().collect::<Vec<_>>(), ["public.a", "public.b"]);
}
