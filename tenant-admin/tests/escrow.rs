//! Losing a vault and having it back: escrow, backup, restore, and the vault's history.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use trefoil_keys::bundle::Version;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EnvelopePublicKey};
use trefoil_keys::escrow::{Sheet, recover};
use trefoil_keys::handover::{Handover, KeyspaceKey};
use trefoil_keys::private_file;
use trefoil_keys::secret::TenantKey;
use trefoil_keys::signing::SigningKey;

const PASSPHRASE: &str = "correct horse battery staple";
const TK: [u8; 32] = [42; 32];

/// A directory with the vault of a tenant whose key came by hand-over.
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
            let jwk = fs::read_to_string(place.path("admin.jwk")).unwrap();
            let proxy_key = include_str!("../../keys/tests/vectors/proxy-key.pem");
            let proxy_key = EnvelopePrivateKey::from_pkcs8_pem(proxy_key).unwrap();
            let handover = Handover {
                version: Version,
                tenant: "clinic".to_owned(),
                application: "clinic-app".to_owned(),
                keyspaces: BTreeMap::from([(
                    "main".to_owned(),
                    KeyspaceKey { epoch: 1, key: TenantKey::from_bytes(TK.into()) },
                )]),
                signing_key: SigningKey::generate().unwrap(),
                receipt_key: SigningKey::generate().unwrap().verifying_key().clone(),
                envelope_keys: vec![EnvelopePublicKey::from_jwk(&proxy_key.public_key().to_jwk()).unwrap()],
            };
            let sealed =
                envelope::seal(&handover, &EnvelopePublicKey::from_jwk(jwk.trim()).unwrap()).unwrap();
            fs::write(place.path("handover.jwe"), sealed).unwrap();
            ok(place.run(&["handover", "accept", "handover.jwe"]));
            fs::read(place.vault()).unwrap()
        });
        let place = Self::empty();
        private_file::create(&place.vault(), content).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn vault(&self) -> PathBuf {
        self.path("clinic.vault")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-admin"));
        command.current_dir(self.0.path()).env_remove("TREFOIL_VAULT").env("TREFOIL_PASSPHRASE", PASSPHRASE);
        command.args(["--vault", "clinic.vault", "--work-factor", "4"]).stdin(Stdio::null());
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&ok(self.run(&[&["--json"], arguments].concat()))).unwrap()
    }

    /// The files of a set of 3 of 5.
    fn split(&self) -> Vec<String> {
        let answer =
            self.json(&["escrow", "split", "--threshold", "3", "--shares", "5", "--out-dir", "sheets"]);
        answer["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned()).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    stderr(&output)
}

/// The tenant key that sheets give.
fn key_of(place: &Place, files: &[String]) -> [u8; 32] {
    let sheets: Vec<Sheet> = files
        .iter()
        .map(|file| Sheet::parse(&fs::read_to_string(place.path(file)).unwrap()).unwrap())
        .collect();
    *recover(&sheets).unwrap().keys[&("main".to_owned(), 1)].as_bytes()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn with_two_of_five_sheets_lost_a_new_vault_has_the_same_tenant_key() {
    let place = Place::with_vault();
    let files = place.split();
    assert_eq!(files.len(), 5);
    assert!(files.iter().all(|file| mode(&place.path(file)) == 0o600));
    fs::remove_file(place.vault()).unwrap();
    for lost in [&files[0], &files[3]] {
        fs::remove_file(place.path(lost)).unwrap();
    }
    let left = [files[4].clone(), files[1].clone(), files[2].clone()];
    let answer = place.json(&["escrow", "recover", &left[0], &left[1], &left[2]]);
    assert_eq!(answer["tenant"], "clinic");
    assert_eq!(answer["keyspaces"]["main"], 1);
    // What the new vault holds is seen by what it puts in escrow.
    assert_eq!(key_of(&place, &place.split()[..3]), TK);
    let history = place.json(&["vault", "history"]);
    assert!(history["entries"][0]["event"]["escrow_recovered"]["set"].is_string());
}

#[test]
fn recovering_needs_enough_sheets_of_one_set_and_replaces_no_vault() {
    let place = Place::with_vault();
    let (one, other) = (place.split(), place.split());
    let recover = |files: &[&String]| {
        let mut arguments = vec!["--vault", "new.vault", "escrow", "recover"];
        arguments.extend(files.iter().map(|file| file.as_str()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-admin"));
        command.current_dir(place.0.path()).env("TREFOIL_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
        command.args(["--work-factor", "4"]).args(arguments).output().unwrap()
    };
    assert!(refused(recover(&[&one[0], &one[1]])).contains("2 of the 3 sheets"));
    assert!(refused(recover(&[&one[0], &one[1], &other[2]])).contains("sheets of one set"));
    assert!(refused(recover(&[&one[0], &one[1], &one[0]])).contains("given twice"));
    assert!(!place.path("new.vault").exists());
    ok(recover(&[&one[0], &one[1], &one[4]]));
    assert!(refused(recover(&[&one[0], &one[1], &one[4]])).contains("exists already"));
}

#[test]
fn check_tells_of_a_sheet_and_of_a_slip_in_typing_it() {
    let place = Place::with_vault();
    let file = &place.split()[1];
    let answer = place.json(&["escrow", "check", file]);
    assert_eq!((answer["number"].as_u64(), answer["sheets"].as_u64()), (Some(2), Some(5)));
    assert_eq!(answer["tenant"], "clinic");
    let text = fs::read_to_string(place.path(file)).unwrap();
    let line = text.lines().find(|line| line.starts_with("  4 ")).unwrap();
    let slip = line.replace(&line[5..6], if &line[5..6] == "7" { "8" } else { "7" });
    private_file::create(&place.path("typed"), text.replace(line, &slip).as_bytes()).unwrap();
    let message = refused(place.run(&["escrow", "check", "typed"]));
    assert!(message.contains("line 4") && !message.contains(&line[5..10]), "{message}");
}

#[test]
fn a_backup_is_exact_and_replaces_nothing() {
    let place = Place::with_vault();
    ok(place.run(&["vault", "backup", "--out", "copy"]));
    assert_eq!(fs::read(place.path("copy")).unwrap(), fs::read(place.vault()).unwrap());
    assert_eq!(mode(&place.path("copy")), 0o600);
    refused(place.run(&["vault", "backup", "--out", "copy"]));
    fs::remove_file(place.vault()).unwrap();
    ok(place.run(&["vault", "restore", "copy"]));
    assert_eq!(fs::read(place.path("copy")).unwrap(), fs::read(place.vault()).unwrap());
}

#[test]
fn an_older_backup_replaces_a_newer_vault_only_if_asked() {
    let place = Place::with_vault();
    ok(place.run(&["vault", "backup", "--out", "copy"]));
    ok(place.run(&["user", "add", "alice"]));
    let newer = fs::read(place.vault()).unwrap();
    assert!(
        refused(place.run(&["vault", "restore", "copy"])).contains("1 entries of its history would be lost")
    );
    assert_eq!(fs::read(place.vault()).unwrap(), newer);
    let head = place.json(&["vault", "history"])["head"].as_str().unwrap().to_owned();
    ok(place.run(&["vault", "history", "--contains", &head]));
    assert_eq!(place.json(&["vault", "restore", "copy", "--replace"])["lost"], 1);
    assert!(refused(place.run(&["vault", "history", "--contains", &head])).contains("has no entry"));
    // The other way round nothing is lost.
    fs::write(place.path("copy"), newer).unwrap();
    assert_eq!(place.json(&["vault", "restore", "copy"])["lost"], 0);
    ok(place.run(&["vault", "history", "--contains", &head]));
}

#[test]
fn what_does_not_open_is_not_restored() {
    let place = Place::with_vault();
    let before = fs::read(place.vault()).unwrap();
    let mut damaged = before.clone();
    *damaged.last_mut().unwrap() ^= 1;
    private_file::create(&place.path("damaged"), &damaged).unwrap();
    refused(place.run(&["vault", "restore", "damaged", "--replace"]));
    assert_eq!(fs::read(place.vault()).unwrap(), before);
}

#[test]
fn a_second_writer_is_kept_out() {
    let place = Place::with_vault();
    let lock = File::create(place.path("clinic.vault.lock")).unwrap();
    lock.lock().unwrap();
    for arguments in [&["user", "add", "alice"][..], &["vault", "restore", "clinic.vault"]] {
        assert!(refused(place.run(arguments)).contains("at work"));
    }
    drop(lock);
    ok(place.run(&["user", "add", "alice"]));
}

#[test]
fn killed_before_the_write_the_old_vault_is_there() {
    let place = Place::with_vault();
    let before = fs::read(place.vault()).unwrap();
    let killed =
        place.command(&["user", "add", "alice"]).env("TREFOIL_KILL_AT", "vault.sealed").output().unwrap();
    assert_eq!(killed.status.code(), None, "it was to be killed");
    assert_eq!(fs::read(place.vault()).unwrap(), before);
    ok(place.run(&["user", "add", "alice"]));
    assert_ne!(fs::read(place.vault()).unwrap(), before);
}

#[test]
fn the_new_passphrase_opens_the_vault_and_the_old_one_does_not() {
    let place = Place::with_vault();
    fs::write(place.path("new"), "another one, as long\n").unwrap();
    let mut command = place.command(&["vault", "passphrase", "--new-passphrase-fd", "0"]);
    ok(command.stdin(File::open(place.path("new")).unwrap()).output().unwrap());
    assert!(refused(place.run(&["vault", "history"])).contains("wrong passphrase"));
    ok(place
        .command(&["vault", "history"])
        .env("TREFOIL_PASSPHRASE", "another one, as long")
        .output()
        .unwrap());
}
