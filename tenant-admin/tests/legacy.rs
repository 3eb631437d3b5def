//! Runs the program as an administrator or a script would.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use trefoil_keys::bundle::{self, ApplicationBundle, ProxyBundle, UserBundle};
use trefoil_keys::envelope::{EnvelopePrivateKey, EnvelopePublicKey};
use trefoil_keys::{check, share};

const PASSPHRASE: &str = "correct horse battery staple";

/// A directory with a vault in it. The vault is a copy: making an RSA key takes seconds.
struct Place(TempDir);

impl Place {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_vault() -> Self {
        static VAULT: OnceLock<Vec<u8>> = OnceLock::new();
        let content = VAULT.get_or_init(|| {
            let place = Self::empty();
            ok(place.run(&["tenant", "create", "clinic", "--application", "clinic-app"]));
            fs::read(place.vault()).unwrap()
        });
        let place = Self::empty();
        fs::write(place.vault(), content).unwrap();
        fs::set_permissions(place.vault(), fs::Permissions::from_mode(0o600)).unwrap();
        place
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
        ok(self.run(&["bundle", "user", uid, "--out", &format!("{uid}.json")]));
        bundle::read(&self.path(&format!("{uid}.json"))).unwrap()
    }

    fn application_bundle(&self) -> ApplicationBundle {
        ok(self.run(&["bundle", "application", "--out", "application.json"]));
        bundle::read(&self.path("application.json")).unwrap()
    }

    fn proxy_bundle(&self) -> ProxyBundle {
        ok(self.run(&["bundle", "proxy", "--out", "proxy.json"]));
        bundle::read(&self.path("proxy.json")).unwrap()
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
fn shares_of_one_user_give_the_tenant_key() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice"]));
    ok(place.run(&["user", "add", "bob"]));
    let (alice, application, proxy) =
        (place.user_bundle("alice"), place.application_bundle(), place.proxy_bundle());

    assert_eq!((alice.user.as_str(), alice.tenant.as_str()), ("alice", "clinic"));
    assert_eq!(alice.audience, "clinic-app");
    assert_eq!(application.application, "clinic-app");
    assert_eq!(proxy.applications, BTreeSet::from(["clinic-app".to_owned()]));

    let expected = &proxy.check_values["main"];
    let parts = |a: &str, p: &str| {
        let tk = share::combine(
            &alice.shares["main"].share,
            &application.users[a]["main"].share,
            &proxy.users[p]["main"].share,
        );
        check::verify(&tk, "main", expected.epoch, &expected.value)
    };
    assert!(parts("alice", "alice"));
    assert!(!parts("bob", "alice"));
    assert!(!parts("alice", "bob"));
    assert!(!parts("bob", "bob"));

    let public = EnvelopePublicKey::from_jwk(&alice.envelope_key).unwrap();
    let private = EnvelopePrivateKey::from_pkcs8_pem(proxy.envelope_keys[0].as_str()).unwrap();
    assert_eq!(public.kid(), private.public_key().kid());
}

#[test]
fn a_withdrawn_user_is_named_to_the_proxy_and_nowhere_else() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice"]));
    ok(place.run(&["user", "add", "bob"]));
    place.proxy_bundle();
    assert!(ok(place.run(&["user", "withdraw", "bob"])).contains("until the proxy"));

    let (application, proxy) = (place.application_bundle(), place.proxy_bundle());
    assert_eq!(application.users.keys().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(proxy.users.keys().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(proxy.withdrawn, BTreeSet::from(["bob".to_owned()]));

    let message = refused(place.run(&["bundle", "user", "bob", "--out", "bob.json"]));
    assert!(message.contains("withdrawn"), "{message}");
    assert!(!place.path("bob.json").exists());
    assert!(refused(place.run(&["user", "withdraw", "bob"])).contains("already"));
    assert!(refused(place.run(&["user", "add", "bob"])).contains("another UId"));
    assert!(refused(place.run(&["user", "add", "alice"])).contains("bundle user alice"));
    assert!(refused(place.run(&["user", "withdraw", "carol"])).contains("user show"));
}

#[test]
fn files_are_for_their_owner_alone() {
    let place = Place::empty();
    let mut create = place.command();
    create.env("TREFOIL_PASSPHRASE", PASSPHRASE).args(["tenant", "create", "clinic", "--application", "a"]);
    ok(create.output().unwrap());
    assert_eq!(mode(&place.vault()), 0o600);
    ok(place.run(&["user", "add", "alice"]));
    assert_eq!(mode(&place.vault()), 0o600);
    place.user_bundle("alice");
    place.application_bundle();
    place.proxy_bundle();
    let names: BTreeMap<String, u32> = fs::read_dir(place.0.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry.path())))
        .collect();
    let expected = ["alice.json", "application.json", "clinic.vault", "clinic.vault.lock", "proxy.json"];
    assert_eq!(names, expected.map(|name| (name.to_owned(), 0o600)).into());

    fs::set_permissions(place.vault(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(place.run(&["user", "show"])).contains("chmod 600"));
}

#[test]
fn an_existing_vault_is_never_overwritten() {
    let place = Place::with_vault();
    let before = fs::read(place.vault()).unwrap();
    let message = refused(place.run(&["tenant", "create", "other", "--application", "a"]));
    assert!(message.contains("exists already"), "{message}");
    assert_eq!(fs::read(place.vault()).unwrap(), before);
}

#[test]
fn out_replaces_bundles_of_its_kind_only() {
    let place = Place::with_vault();
    ok(place.run(&["user", "add", "alice"]));
    place.proxy_bundle();
    place.proxy_bundle();
    let before = fs::read(place.vault()).unwrap();
    for taken in ["clinic.vault", "proxy.json", ".", "/dev/null"] {
        let message = refused(place.run(&["bundle", "application", "--out", taken]));
        assert!(message.contains("choose another --out"), "{message}");
    }
    assert_eq!(fs::read(place.vault()).unwrap(), before);
    bundle::read::<ProxyBundle>(&place.path("proxy.json")).unwrap();
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
fn json_answers() {
    let place = Place::with_vault();
    let added = place.json(&["user", "add", "alice"]);
    assert_eq!(
        added,
        serde_json::json!({ "result": "user_added", "user": "alice", "keyspaces": { "main": 1 } })
    );
    let written = place.json(&["bundle", "user", "alice", "--out", "alice.json"]);
    assert_eq!((&written["kind"], &written["file"]), (&"user".into(), &"alice.json".into()));
    place.json(&["bundle", "proxy", "--out", "proxy.json"]);
    place.json(&["user", "add", "bob"]);
    place.json(&["user", "withdraw", "alice"]);

    let shown = place.json(&["user", "show", "alice"]);
    assert_eq!((&shown["tenant"], &shown["application"]), (&"clinic".into(), &"clinic-app".into()));
    let alice = &shown["users"][0];
    assert_eq!(alice["state"], "withdrawn");
    let events: Vec<_> = alice["history"].as_array().unwrap().iter().map(|entry| &entry["event"]).collect();
    assert_eq!(events, ["added", "user bundle issued", "proxy bundle issued", "withdrawn"]);
    assert!(alice["history"][0]["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(place.json(&["user", "show"])["users"].as_array().unwrap().len(), 2);

    let error = refused(place.run(&["--json", "user", "show", "carol"]));
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert!(error["error"].as_str().unwrap().contains("carol"));
}

#[test]
fn no_share_is_ever_shown() {
    let place = Place::with_vault();
    let mut shown = ok(place.run(&["user", "add", "alice"]));
    let alice = place.user_bundle("alice");
    let (application, proxy) = (place.application_bundle(), place.proxy_bundle());
    shown += &ok(place.run(&["user", "show", "alice"]));
    shown += &place.json(&["user", "show"]).to_string();
    shown += &place.json(&["bundle", "user", "alice", "--out", "alice.json"]).to_string();
    for shares in [&alice.shares, &application.users["alice"], &proxy.users["alice"]] {
        assert!(!shown.contains(shares["main"].share.to_base64url().as_str()));
    }
    let vault = fs::read(place.vault()).unwrap();
    let tku = alice.shares["main"].share.to_base64url();
    assert!(!vault.windows(8).any(|window| window == &tku.as_bytes()[..8]));
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    let place = Place::empty();
    let cases: [&[&str]; 7] = [
        &[],
        &["user"],
        &["user", "add", ""],
        &["user", "add", " alice"],
        &["user", "add", "a\nb"],
        &["bundle", "proxy"],
        &["--work-factor", "40", "user", "show"],
    ];
    for arguments in cases {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
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
