//! Runs the program as an administrator or a script would.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use trefoil_keys::bundle::{self, UserBundle, Version};
use trefoil_keys::command::Delivery;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EnvelopePublicKey};
use trefoil_keys::handover::{Handover, KeyspaceKey};
use trefoil_keys::password::PasswordHash;
use trefoil_keys::secret::TenantKey;
use trefoil_keys::signing::SigningKey;

const PASSPHRASE: &str = "correct horse battery staple";

/// A directory with a vault in it, whose hand-over is played here. The vault is a copy: making an RSA key
/// takes seconds.
struct Place(TempDir);

impl Place {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_vault() -> Self {
        static VAULT: OnceLock<Vec<u8>> = OnceLock::new();
        let content = VAULT.get_or_init(|| {
            let place = Self::empty();
            ok(place.run(&["handover", "prepare", "--out", "admin.jwk"]));
            place.write_handover();
            ok(place.run(&["handover", "accept", "handover.jwe"]));
            fs::read(place.vault()).unwrap()
        });
        let place = Self::empty();
        fs::write(place.vault(), content).unwrap();
        fs::set_permissions(place.vault(), fs::Permissions::from_mode(0o600)).unwrap();
        place
    }

    /// What a proxy would write for `admin.jwk`.
    fn write_handover(&self) {
        let jwk = fs::read_to_string(self.path("admin.jwk")).unwrap();
        let key = EnvelopePublicKey::from_jwk(jwk.trim()).unwrap();
        let pem = include_str!("../../keys/tests/vectors/proxy-key.pem");
        let proxy = EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap();
        let handover = Handover {
            version: Version,
            tenant: "clinic".to_owned(),
            application: "clinic-app".to_owned(),
            keyspaces: [("main".to_owned(), KeyspaceKey { epoch: 1, key: TenantKey::generate() })].into(),
            signing_key: SigningKey::generate().unwrap(),
            receipt_key: SigningKey::generate().unwrap().verifying_key().clone(),
            envelope_keys: vec![proxy.public_key().clone()],
        };
        fs::write(self.path("handover.jwe"), envelope::seal(&handover, &key).unwrap()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn vault(&self) -> PathBuf {
        self.path("clinic.vault")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-admin"));
        command.current_dir(self.0.path()).env_remove("TREFOIL_VAULT").env_remove("TREFOIL_PASSPHRASE");
        command.args(["--vault", "clinic.vault", "--work-factor", "4"]).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().env("TREFOIL_PASSPHRASE", PASSPHRASE).args(arguments).output().unwrap()
    }

    /// Runs with `--json` and gives the answer.
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn user_bundle(&self, uid: &str) -> UserBundle {
        ok(self.run(&["user", "export", uid, "--out", &format!("{uid}.json")]));
        bundle::read(&self.path(&format!("{uid}.json"))).unwrap()
    }

    /// What goes to the application.
    fn deliveries(&self) -> Vec<Delivery> {
        let written = self.json(&["outbox", "write", "--dir", "commands"]);
        let files = written["files"].as_array().unwrap().iter();
        files.map(|file| bundle::read(&self.path(file.as_str().unwrap())).unwrap()).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The message of a run that must end with exit code 1 and say nothing on standard output.
fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    stderr(&output)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn passphrases() {
    let place = Place::with_vault();
    let wrong = place.command().env("TREFOIL_PASSPHRASE", "wrong").args(["user", "show"]).output().unwrap();
    assert!(refused(wrong).contains("wrong passphrase"));
    let empty = place.command().env("TREFOIL_PASSPHRASE", "").args(["user", "show"]).output().unwrap();
    assert!(refused(empty).contains("empty"));

    // A descriptor goes before the environment.
    let mut child = place
        .command()
        .env("TREFOIL_PASSPHRASE", "wrong")
        .args(["--passphrase-fd", "0", "user", "show"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSPHRASE}").unwrap();
    ok(child.wait_with_output().unwrap());

    let closed = place.command().args(["--passphrase-fd", "77", "user", "show"]).output().unwrap();
    assert!(refused(closed).contains("descriptor 77"));
}

#[test]
fn a_new_passphrase_has_twelve_characters_at_least() {
    let place = Place::empty();
    let prepare = ["handover", "prepare", "--out", "admin.jwk"];
    let weak = place.command().env("TREFOIL_PASSPHRASE", "elf letters").args(prepare).output().unwrap();
    assert!(refused(weak).contains("fewer than 12 characters"));
    assert!(!place.vault().exists() && !place.path("admin.jwk").exists());
}

#[test]
fn the_hash_of_a_chosen_password() {
    let place = Place::empty();
    let hash = |password: &str| {
        fs::write(place.path("password"), password).unwrap();
        let stdin = File::open(place.path("password")).unwrap();
        place.command().args(["password-hash", "--password-fd", "0"]).stdin(stdin).output().unwrap()
    };
    let made = ok(hash(" chosen by the tenant \n"));
    assert!(PasswordHash::parse(made.trim_end()).unwrap().verify("chosen by the tenant"));
    assert!(refused(hash("too short\n")).contains("fewer than 12 characters"));
}

#[test]
fn what_cannot_be_pushed_changes_nothing() {
    let place = Place::with_vault();
    let before = fs::read(place.vault()).unwrap();
    for command in
        [&["user", "add", "alice", "--push"][..], &["proxy-key", "rotate", "--overlap", "1d", "--push"]]
    {
        assert!(refused(place.run(command)).contains("application set"));
        assert_eq!(fs::read(place.vault()).unwrap(), before);
    }
    assert!(refused(place.run(&["application", "show"])).contains("application set"));
}

#[test]
fn where_commands_go_is_shown_without_the_password() {
    let place = Place::with_vault();
    fs::write(place.path("password"), "of the sidecar").unwrap();
    let (url, fingerprint) = ("https://app.example:6435", "ab".repeat(32));
    let set = ["application", "set", "--url", url, "--fingerprint", &fingerprint, "--password-fd", "0"];
    let stdin = File::open(place.path("password")).unwrap();
    ok(place.command().env("TREFOIL_PASSPHRASE", PASSPHRASE).args(set).stdin(stdin).output().unwrap());
    let shown = place.json(&["application", "show"]);
    assert_eq!((&shown["url"], &shown["fingerprint"]), (&url.into(), &fingerprint.as_str().into()));
    assert_eq!(shown["password_kept"], true);
    assert!(!ok(place.run(&["application", "show"])).contains("of the sidecar"));
}

#[test]
fn one_rotation_at_a_time() {
    let place = Place::with_vault();
    ok(place.run(&["proxy-key", "rotate", "--overlap", "1d"]));
    assert!(refused(place.run(&["proxy-key", "rotate", "--overlap", "1d"])).contains("command 1"));
}

#[test]
fn what_is_not_a_vault() {
    let place = Place::with_vault();
    let vault = fs::read(place.vault()).unwrap();
    let mut altered = vault.clone();
    *altered.last_mut().unwrap() ^= 1;
    for content in [b"".as_slice(), b"not a vault", &vault[..vault.len() - 1], &vault[..100], &altered] {
        fs::write(place.vault(), content).unwrap();
        let message = refused(place.run(&["user", "add", "alice"]));
        assert!(message.contains("not a vault, or damaged"), "{message}");
        assert_eq!(fs::read(place.vault()).unwrap(), content);
    }
    fs::remove_file(place.vault()).unwrap();
    assert!(refused(place.run(&["user", "add", "alice"])).contains("bootstrap"));
}

#[test]
fn a_second_writer_is_kept_out() {
    let place = Place::with_vault();
    let lock = File::create(place.path("clinic.vault.lock")).unwrap();
    lock.lock().unwrap();
    assert!(refused(place.run(&["user", "add", "alice"])).contains("try again"));
    ok(place.run(&["user", "show"]));
    drop(lock);
    ok(place.run(&["user", "add", "alice"]));
}

#[test]
fn concurrent_writers_lose_nothing() {
    let place = Place::with_vault();
    let children: Vec<_> = (0..8)
        .map(|i| {
            let mut command = place.command();
            command.env("TREFOIL_PASSPHRASE", PASSPHRASE).args(["user", "add", &format!("user{i}")]);
            (format!("user{i}"), command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        })
        .collect();
    let mut added = BTreeSet::new();
    for (uid, child) in children {
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            added.insert(uid);
        } else {
            assert!(stderr(&output).contains("try again"), "{}", stderr(&output));
        }
    }
    assert!(!added.is_empty());
    let users = place.json(&["user", "show"]);
    let shown =
        users["users"].as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap().to_owned());
    assert_eq!(shown.collect::<BTreeSet<_>>(), added);
}

#[test]
fn a_vault_behind_a_symbolic_link_stays_there() {
    let place = Place::with_vault();
    fs::rename(place.vault(), place.path("real.vault")).unwrap();
    std::os::unix::fs::symlink("real.vault", place.vault()).unwrap();
    ok(place.run(&["user", "add", "alice"]));
    assert!(fs::symlink_metadata(place.vault()).unwrap().is_symlink());
    assert_eq!(place.json(&["user", "show"])["users"][0]["user"], "alice");
}

#[test]
fn errors_say_what_to_do_next() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice", "bob"]));
    ok(place.run(&["user", "withdraw", "bob"]));
    let cases: [(&[&str], &str); 9] = [
        (&["user", "export", "bob", "--out", "bob.json"], "withdrawn"),
        (&["user", "withdraw", "bob"], "already"),
        (&["user", "add", "bob"], "another UId"),
        (&["user", "add", "alice"], "user export alice"),
        (&["user", "rekey", "carol"], "user show"),
        (&["push"], "application set"),
        (&["status", "--proxy"], "without --proxy"),
        (&["bootstrap"], "another --vault"),
        (&["handover", "accept", "x"], "clinic already"),
    ];
    for (arguments, remedy) in cases {
        let message = refused(place.run(arguments));
        assert!(message.contains(remedy), "{arguments:?}: {message}");
    }
    assert!(!place.path("bob.json").exists());
    assert!(refused(Place::empty().run(&["bootstrap"])).contains("--fingerprint"));
}

#[test]
fn one_bad_name_among_many_changes_nothing() {
    let place = Place::with_vault();
    fs::write(place.path("uids"), "carol\n bad\n").unwrap();
    assert!(refused(place.run(&["user", "add", "alice", "--from", "uids"])).contains("line 2"));
    assert!(refused(place.run(&["user", "add", "alice", "alice"])).contains("exists already"));
    assert_eq!(place.json(&["user", "show"])["users"], serde_json::json!([]));
    fs::write(place.path("uids"), "carol\n\ndora\n\n").unwrap();
    ok(place.run(&["user", "add", "alice", "--from", "uids"]));
    assert_eq!(place.deliveries().len(), 1, "one command for all");
    fs::write(place.path("uids"), "carol\ndora\nemil\n").unwrap();
    assert!(refused(place.run(&["user", "add", "--from", "uids"])).contains("carol exists already"));
    let added = place.json(&["user", "add", "--from", "uids", "--skip-existing"]);
    assert_eq!(added["users"], serde_json::json!(["emil"]));
    assert_eq!(place.json(&["user", "show"])["users"].as_array().unwrap().len(), 4);
}

#[test]
fn files_are_for_their_owner_alone() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice"]));
    place.user_bundle("alice");
    place.deliveries();
    let list = |directory: &Path| -> BTreeMap<String, u32> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry.path()))).collect()
    };
    let expected = ["alice.json", "clinic.vault", "clinic.vault.lock"];
    assert_eq!(list(place.0.path()), expected.map(|name| (name.to_owned(), 0o600)).into());
    let expected = [("command-00000001.json".to_owned(), 0o600)];
    assert_eq!(list(&place.path("commands")), expected.into());

    fs::set_permissions(place.vault(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(place.run(&["user", "show"])).contains("chmod 600"));
}

#[test]
fn out_replaces_user_bundles_only() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice"]));
    place.deliveries();
    let before = fs::read(place.vault()).unwrap();
    for taken in ["clinic.vault", "commands/command-00000001.json", ".", "/dev/null"] {
        let message = refused(place.run(&["user", "export", "alice", "--out", taken]));
        assert!(message.contains("choose another --out"), "{message}");
    }
    assert_eq!(fs::read(place.vault()).unwrap(), before, "nothing counts as exported");
    place.user_bundle("alice");
    ok(place.run(&["user", "export", "alice", "--out", "alice.json", "--confirm", "alice"]));
}

#[test]
fn json_answers() {
    let place = Place::with_vault();
    let added = place.json(&["user", "add", "alice"]);
    let expected = serde_json::json!({ "result": "users_changed", "op": "add", "users": ["alice"] });
    assert_eq!(added, expected);
    let exported = place.json(&["user", "export", "alice", "--out", "alice.json"]);
    assert_eq!((&exported["user"], &exported["pending"]), (&"alice".into(), &true.into()));
    place.json(&["user", "withdraw", "alice"]);

    let shown = place.json(&["user", "show", "alice"]);
    assert_eq!((&shown["tenant"], &shown["application"]), (&"clinic".into(), &"clinic-app".into()));
    let alice = &shown["users"][0];
    assert_eq!((&alice["state"], &alice["unconfirmed"]), (&"withdrawn".into(), &2.into()));
    let events: Vec<_> = alice["history"].as_array().unwrap().iter().map(|entry| &entry["event"]).collect();
    assert_eq!(events, ["added", "exported", "withdrawn"]);
    assert!(alice["history"][0]["at"].as_str().unwrap().ends_with('Z'));

    let error = refused(place.run(&["--json", "user", "show", "carol"]));
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert!(error["error"].as_str().unwrap().contains("carol"));
}

#[test]
fn no_share_is_ever_shown() {
    let place = Place::with_vault();
    let mut shown = ok(place.run(&["user", "add", "alice"]));
    let alice = place.user_bundle("alice");
    shown += &ok(place.run(&["user", "show", "alice"]));
    shown += &place.json(&["user", "show"]).to_string();
    shown += &place.json(&["outbox"]).to_string();
    shown += &place.json(&["outbox", "write", "--dir", "commands"]).to_string();
    let delivery = &place.deliveries()[0];
    for shares in [&alice.shares, &delivery.tka["alice"]] {
        assert!(!shown.contains(shares["main"].share.to_base64url().as_str()));
    }
    let vault = fs::read(place.vault()).unwrap();
    let tku = alice.shares["main"].share.to_base64url();
    assert!(!vault.windows(8).any(|window| window == &tku.as_bytes()[..8]));
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    let place = Place::empty();
    let cases: [&[&str]; 10] = [
        &[],
        &["user"],
        &["user", "add"],
        &["user", "add", ""],
        &["user", "add", " alice"],
        &["user", "add", "a\nb"],
        &["bootstrap", "--url", "https://proxy.example:6434"],
        &["bootstrap", "--url", "http://proxy.example:6434", "--fingerprint", "00"],
        &["proxy-key", "rotate", "--overlap", "1y"],
        &["--work-factor", "40", "user", "show"],
    ];
    for arguments in cases {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

fn killed(place: &Place, point: &str, arguments: &[&str]) {
    let mut command = place.command();
    command.env("TREFOIL_PASSPHRASE", PASSPHRASE).env("TREFOIL_KILL_AT", point);
    let output = command.args(arguments).output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{point} was not passed: {}", stderr(&output));
}

#[test]
fn a_hand_over_killed_before_its_key_is_written_is_prepared_again() {
    let place = Place::empty();
    killed(&place, "handover.prepared", &["handover", "prepare", "--out", "admin.jwk"]);
    assert!(place.vault().exists() && !place.path("admin.jwk").exists());
    ok(place.run(&["handover", "prepare", "--out", "admin.jwk"]));
    place.write_handover();
    ok(place.run(&["handover", "accept", "handover.jwe"]));
}

#[test]
fn an_export_killed_before_its_file_is_written_counts_as_one() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice"]));
    let export = ["user", "export", "alice", "--out", "alice.json"];
    killed(&place, "export.stored", &export);
    assert!(!place.path("alice.json").exists());
    assert!(refused(place.run(&export)).contains("--confirm alice"), "perhaps somebody has it");
    ok(place.run(&[&export[..], &["--confirm", "alice"]].concat()));
    assert!(place.path("alice.json").exists());
}
