//! The tenant admin against a real proxy and a real sidecar: whatever is killed, refused, carried or
//! forged, there is one tenant key, and vault and proxy agree again in the end.

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use trefoil_tests::cluster::free_port;
use trefoil_tests::leash::Leash;
use trefoil_tests::programs::program;
use trefoil_tests::tenant::write_private;

const READY: Duration = Duration::from_secs(30);
const POLICY: &str = include_str!("../../corpus/policy.toml");

/// A proxy without a database, for which nobody asks here.
struct Proxy {
    directory: PathBuf,
    admin: u16,
    port: u16,
    fingerprint: String,
    password: String,
    leash: Leash,
}

fn init(program_name: &str, configuration: &Path, flags: &[&str]) -> Value {
    let mut command = Command::new(program(program_name).unwrap());
    command.arg("init").arg("--config").arg(configuration).arg("--json").args(flags);
    serde_json::from_slice(&succeeded(command.output().unwrap()).stdout).unwrap()
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn start(name: &str, configuration: &Path, admin: u16, variable: &str) -> Leash {
    let (program_name, subcommand) =
        if name == "proxy" { ("trefoil-proxy", None) } else { ("trefoil-shim", Some("sidecar")) };
    let mut command = vec!["env".to_owned(), variable.to_owned()];
    command.push(program(program_name).unwrap().display().to_string());
    command.extend(subcommand.map(str::to_owned));
    command.extend(["--config".to_owned(), configuration.display().to_string()]);
    let log = configuration.with_extension("log");
    let mut leash = Leash::start(name, &command, "TERM", &log, None).unwrap();
    leash.wait_for(&format!("127.0.0.1:{admin}"), READY).unwrap();
    leash
}

const NO_KILL: &str = "TREFOIL_TEST=1";

impl Proxy {
    fn new(directory: &Path) -> Self {
        let (port, admin) = (free_port().unwrap(), free_port().unwrap());
        write_private(&directory.join("policy.toml"), POLICY).unwrap();
        let configuration = format!(
            "listen = \"127.0.0.1:{port}\"\npolicy = {:?}\nstate = {:?}\n[lock]\nkey_file = {:?}\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n[upstream]\nhost = \"127.0.0.1\"\nport = 1\ntls = \"disable\"\n\
             [catalog]\nuser = \"nobody\"\npassword = \"none\"\n",
            directory.join("policy.toml"),
            directory.join("proxy.state"),
            directory.join("proxy.lock"),
        );
        let file = directory.join("proxy.toml");
        write_private(&file, &configuration).unwrap();
        let printed = init("trefoil-proxy", &file, &["--tenant", "clinic", "--application", "clinic-app"]);
        let leash = start("proxy", &file, admin, NO_KILL);
        Self {
            directory: directory.to_owned(),
            admin,
            port,
            fingerprint: text(&printed, "fingerprint"),
            password: text(&printed, "password"),
            leash,
        }
    }

    fn restart(&mut self, variable: &str) {
        self.leash.stop();
        self.leash = start("proxy", &self.directory.join("proxy.toml"), self.admin, variable);
    }

    fn anew(&mut self) {
        self.leash.stop();
        let file = self.directory.join("proxy.toml");
        let flags = ["--tenant", "clinic", "--application", "clinic-app", "--anew"];
        let printed = init("trefoil-proxy", &file, &flags);
        self.fingerprint = text(&printed, "fingerprint");
        self.password = text(&printed, "password");
        self.leash = start("proxy", &file, self.admin, NO_KILL);
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.admin)
    }

    /// Sends it the commands of these files, past the sidecar; each must be applied.
    fn takes(&self, files: &[String]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tls = trefoil_keys::tls::pinned_client_config(self.fingerprint.parse().unwrap(), None).unwrap();
        let client = trefoil_https::client::client(tls, READY).unwrap();
        for file in files {
            let delivery: Value =
                serde_json::from_slice(&fs::read(self.directory.join(file)).unwrap()).unwrap();
            let request = client.post(format!("{}/v1/commands", self.url())).body(text(&delivery, "command"));
            let answer = runtime.block_on(trefoil_https::client::send(request, 1 << 20)).unwrap();
            assert_eq!(answer.status, 200, "{:?}", answer.text());
        }
    }
}

/// A sidecar in front of it.
struct Sidecar {
    admin: u16,
    fingerprint: String,
    password: String,
    file: PathBuf,
    leash: Leash,
}

impl Sidecar {
    fn new(proxy: &Proxy) -> Self {
        let (port, admin) = (free_port().unwrap(), free_port().unwrap());
        let file = proxy.directory.join("sidecar.toml");
        let configuration = format!(
            "listen = \"127.0.0.1:{port}\"\nproxy = \"127.0.0.1:{}\"\nstate = {:?}\n[lock]\nkey_file = {:?}\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n[proxy_admin]\nurl = {:?}\nfingerprint = {:?}\n",
            proxy.port,
            proxy.directory.join("sidecar.state"),
            proxy.directory.join("sidecar.lock"),
            proxy.url(),
            proxy.fingerprint,
        );
        write_private(&file, &configuration).unwrap();
        let printed = init("trefoil-shim", &file, &[]);
        Self {
            admin,
            fingerprint: text(&printed, "fingerprint"),
            password: text(&printed, "password"),
            leash: start("sidecar", &file, admin, NO_KILL),
            file,
        }
    }

    /// Begins anew at the proxy's number, without receipts of its own.
    fn forget_receipts(&mut self) {
        self.leash.stop();
        init("trefoil-shim", &self.file, &["--new-proxy"]);
        self.leash = start("sidecar", &self.file, self.admin, NO_KILL);
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.admin)
    }
}

/// A tenant admin with a vault.
struct Admin<'a> {
    directory: &'a Path,
    vault: &'static str,
}

impl<'a> Admin<'a> {
    fn new(directory: &'a Path) -> Self {
        Self { directory, vault: "vault" }
    }

    fn vault(&self) -> PathBuf {
        self.directory.join(self.vault)
    }

    /// Runs with a password on standard input; `kill` names a kill point.
    fn run(&self, kill: &str, password: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("trefoil-admin").unwrap());
        command
            .current_dir(self.directory)
            .args(["--vault", self.vault, "--work-factor", "4", "--json"])
            .args(arguments)
            .env("TREFOIL_PASSPHRASE", "throwaway passphrase")
            .env("TREFOIL_KILL_AT", kill)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who does not want it has closed it.
        drop(writeln!(child.stdin.take().unwrap(), "{password}"));
        child.wait_with_output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> Value {
        let output = succeeded(self.run("", "", arguments));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, password: &str, arguments: &[&str]) -> String {
        let output = self.run("", password, arguments);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        text(&error, "error")
    }

    fn killed(&self, point: &str, password: &str, arguments: &[&str]) {
        let output = self.run(point, password, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{point} was not passed: {said}");
    }

    fn bootstrap(&self, proxy: &Proxy) {
        succeeded(self.run("", &proxy.password, &bootstrap(&proxy.url(), &proxy.fingerprint)));
    }

    fn set_application(&self, sidecar: &Sidecar) {
        let url = sidecar.url();
        let arguments = [
            "application",
            "set",
            "--url",
            &url,
            "--fingerprint",
            &sidecar.fingerprint,
            "--password-fd",
            "0",
        ];
        succeeded(self.run("", &sidecar.password, &arguments));
    }

    /// Vault and proxy agree on keys, numbers and epochs, and nothing is unconfirmed.
    fn assert_agreement(&self, arguments: &[&str]) {
        let status = self.ok(&[&["status"], arguments].concat());
        assert_eq!(status["differences"], serde_json::json!([]), "{status}");
        assert_eq!((&status["state"], &status["unconfirmed"]), (&"ready".into(), &0.into()));
    }
}

fn bootstrap<'a>(url: &'a str, fingerprint: &'a str) -> [&'a str; 7] {
    ["bootstrap", "--url", url, "--fingerprint", fingerprint, "--password-fd", "0"]
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_bootstrap_killed_anywhere_is_finished_by_the_next_run() {
    for point in ["admin.claiming", "admin.claimed", "admin.stored", "admin.confirmed"] {
        let dir = directory();
        let proxy = Proxy::new(dir.path());
        let admin = Admin::new(dir.path());
        admin.killed(point, &proxy.password, &bootstrap(&proxy.url(), &proxy.fingerprint));
        succeeded(admin.run("", &proxy.password, &["bootstrap", "--password-fd", "0"]));
        admin.assert_agreement(&["--proxy"]);
        assert!(admin.refused("", &["bootstrap"]).contains("finished"));
    }
    let dir = directory();
    let proxy = Proxy::new(dir.path());
    let admin = Admin::new(dir.path());
    admin.killed("admin.ready", &proxy.password, &bootstrap(&proxy.url(), &proxy.fingerprint));
    assert!(admin.refused("", &["bootstrap"]).contains("finished"));
    admin.assert_agreement(&["--proxy"]);
    for point in ["bootstrap.claiming", "bootstrap.claimed", "bootstrap.confirmed"] {
        let dir = directory();
        let mut proxy = Proxy::new(dir.path());
        let admin = Admin::new(dir.path());
        proxy.restart(&format!("TREFOIL_KILL_AT={point}"));
        admin.refused(&proxy.password, &bootstrap(&proxy.url(), &proxy.fingerprint));
        proxy.restart(NO_KILL);
        succeeded(admin.run("", &proxy.password, &["bootstrap", "--password-fd", "0"]));
        admin.assert_agreement(&["--proxy"]);
    }
}

#[test]
fn who_claims_second_burns_the_bootstrap_and_both_are_told() {
    let dir = directory();
    let mut proxy = Proxy::new(dir.path());
    let first = Admin::new(dir.path());
    let second = Admin { directory: dir.path(), vault: "second" };
    let url = proxy.url();
    first.killed("admin.stored", &proxy.password, &bootstrap(&url, &proxy.fingerprint));
    assert!(second.refused(&proxy.password, &bootstrap(&url, &proxy.fingerprint)).contains("burnt"));
    let told = first.refused(&proxy.password, &["bootstrap", "--password-fd", "0"]);
    assert!(told.contains("burnt") && told.contains("init --anew"), "{told}");
    // What was never confirmed is no obstacle to another proxy.
    proxy.anew();
    first.bootstrap(&proxy);
    first.assert_agreement(&["--proxy"]);
}

#[test]
fn five_wrong_passwords_burn_the_bootstrap() {
    let dir = directory();
    let proxy = Proxy::new(dir.path());
    let admin = Admin::new(dir.path());
    let url = proxy.url();
    for left in (1..5).rev() {
        let told = admin.refused("00000-00000-00000-00000", &bootstrap(&url, &proxy.fingerprint));
        assert!(told.contains(&format!("{left} more")), "{told}");
    }
    assert!(admin.refused("wrong", &bootstrap(&url, &proxy.fingerprint)).contains("not counted"));
    let last = admin.refused("00000-00000-00000-00000", &bootstrap(&url, &proxy.fingerprint));
    assert!(last.contains("burnt"), "{last}");
    assert!(admin.refused(&proxy.password, &bootstrap(&url, &proxy.fingerprint)).contains("burnt"));
}

#[test]
fn a_wrong_fingerprint_gets_nothing_and_makes_no_vault() {
    let dir = directory();
    let proxy = Proxy::new(dir.path());
    let admin = Admin::new(dir.path());
    let wrong = "00".repeat(32);
    let told = admin.refused(&proxy.password, &bootstrap(&proxy.url(), &wrong));
    assert!(
        told.contains(&format!("is {}, expected {wrong}; nothing was sent", proxy.fingerprint)),
        "{told}"
    );
    assert!(!admin.vault().exists());
    admin.bootstrap(&proxy);
    // The finished vault is nobody's to overwrite.
    let before = fs::read(admin.vault()).unwrap();
    let told = admin.refused(&proxy.password, &bootstrap(&proxy.url(), &proxy.fingerprint));
    assert!(told.contains("another --vault"), "{told}");
    assert_eq!(fs::read(admin.vault()).unwrap(), before);
}

#[test]
fn a_hand_over_by_files() {
    let dir = directory();
    let admin = Admin::new(dir.path());
    admin.ok(&["handover", "prepare", "--out", "admin.jwk"]);
    let jwk = fs::read(dir.path().join("admin.jwk")).unwrap();
    // Prepared again, it is the same key.
    admin.ok(&["handover", "prepare", "--out", "again.jwk"]);
    assert_eq!(fs::read(dir.path().join("again.jwk")).unwrap(), jwk);
    assert!(admin.refused("", &["user", "add", "alice"]).contains("handover accept"));

    let mut proxy = Proxy::new(dir.path());
    proxy.leash.stop();
    let (key, file) = (dir.path().join("admin.jwk"), dir.path().join("handover.jwe"));
    init(
        "trefoil-proxy",
        &dir.path().join("proxy.toml"),
        &[
            "--tenant",
            "clinic",
            "--application",
            "clinic-app",
            "--anew",
            "--seal-to",
            key.to_str().unwrap(),
            "--out",
            file.to_str().unwrap(),
        ],
    );
    let handover = fs::read_to_string(&file).unwrap();
    let middle = handover.len() / 2;
    let altered = if &handover[middle..=middle] == "A" { "B" } else { "A" };
    let altered = [&handover[..middle], altered, &handover[middle + 1..]].concat();
    fs::write(dir.path().join("altered.jwe"), altered).unwrap();
    assert!(admin.refused("", &["handover", "accept", "altered.jwe"]).contains("altered"));

    let other = Admin { directory: dir.path(), vault: "other" };
    other.ok(&["handover", "prepare", "--out", "other.jwk"]);
    assert!(other.refused("", &["handover", "accept", "handover.jwe"]).contains("sealed to"));

    admin.killed("handover.accepted", "", &["handover", "accept", "handover.jwe"]);
    assert!(admin.refused("", &["handover", "accept", "handover.jwe"]).contains("clinic already"));
    admin.ok(&["user", "add", "alice"]);
}

/// Proxy, sidecar, and a vault that knows both.
fn everything(dir: &Path) -> (Proxy, Sidecar, Admin<'_>) {
    let proxy = Proxy::new(dir);
    let admin = Admin::new(dir);
    admin.bootstrap(&proxy);
    let sidecar = Sidecar::new(&proxy);
    admin.set_application(&sidecar);
    (proxy, sidecar, admin)
}

#[test]
fn commands_killed_anywhere_are_confirmed_once_by_the_next_push() {
    let dir = directory();
    let (_proxy, _sidecar, admin) = everything(dir.path());
    for point in ["user.stored", "push.answered", "push.stored"] {
        admin.killed(point, "", &["user", "add", &format!("{point}-user"), "--push"]);
        admin.ok(&["push"]);
        admin.assert_agreement(&[]);
    }
    admin.killed("rotation.stored", "", &["proxy-key", "rotate", "--overlap", "30d"]);
    admin.ok(&["push"]);
    admin.assert_agreement(&[]);
    assert_eq!(admin.ok(&["proxy-key", "announce", "--push"])["retires"].as_object().unwrap().len(), 1);
    let status = admin.ok(&["status"]);
    assert_eq!(status["seq"], 4, "each was applied once");
}

#[test]
fn users_are_exported_once_unless_somebody_confirms() {
    let dir = directory();
    let (_proxy, _sidecar, admin) = everything(dir.path());
    admin.ok(&["user", "add", "alice", "bob", "--push"]);
    let export = ["user", "export", "alice", "--out", "alice.json"];
    admin.ok(&export);
    let first = fs::read(dir.path().join("alice.json")).unwrap();
    assert!(admin.refused("", &export).contains("--confirm alice"));
    let told = admin.refused("", &[&export[..], &["--confirm", "bob"]].concat());
    assert!(told.contains("but the user is alice"), "{told}");
    admin.ok(&[&export[..], &["--confirm", "alice"]].concat());
    assert_eq!(fs::read(dir.path().join("alice.json")).unwrap(), first);
    admin.ok(&["user", "rekey", "alice", "--push"]);
    admin.ok(&export);
    assert_ne!(fs::read(dir.path().join("alice.json")).unwrap(), first);

    admin.ok(&["user", "withdraw", "bob", "--push"]);
    let told = admin.refused("", &["user", "export", "bob", "--out", "bob.json"]);
    assert!(told.contains("withdrawn"), "{told}");
    assert!(!dir.path().join("bob.json").exists());
    admin.assert_agreement(&[]);
}

#[test]
fn commands_and_receipts_that_somebody_carries() {
    let dir = directory();
    let (_proxy, sidecar, admin) = everything(dir.path());
    admin.ok(&["user", "add", "alice"]);
    admin.ok(&["user", "add", "bob"]);
    let outbox = admin.ok(&["outbox"]);
    assert_eq!(outbox["unconfirmed"].as_array().unwrap().len(), 2);
    assert_eq!(outbox["unconfirmed"][0]["command"], "user add alice");
    assert!(outbox["unconfirmed"][0]["age_seconds"].is_u64());

    let files = admin.ok(&["outbox", "write", "--dir", "out"]);
    let files: Vec<&str> =
        files["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    // The carrier has no vault. The order on the command line does not matter.
    let carrier = Admin { directory: dir.path(), vault: "none" };
    let url = sidecar.url();
    let arguments = [
        "deliver",
        files[1],
        files[0],
        "--url",
        &url,
        "--fingerprint",
        &sidecar.fingerprint,
        "--receipts",
        "in",
        "--password-fd",
        "0",
    ];
    for _ in 0..2 {
        let delivered = succeeded(carrier.run("", &sidecar.password, &arguments));
        let delivered: Value = serde_json::from_slice(&delivered.stdout).unwrap();
        assert_eq!(delivered["receipts"].as_array().unwrap().len(), 2, "{delivered}");
    }
    assert!(!dir.path().join("none").exists());

    // A receipt of another tenant's proxy, and one that was altered.
    let receipt = fs::read_to_string(dir.path().join("in/receipt-00000001.jws")).unwrap();
    let altered = receipt.trim().to_owned() + "A";
    fs::write(dir.path().join("altered.jws"), altered).unwrap();
    assert!(admin.refused("", &["receipt", "altered.jws"]).contains("altered"));
    let elsewhere = directory();
    let (_proxy, _sidecar, stranger) = everything(elsewhere.path());
    stranger.ok(&["user", "add", "alice"]);
    let own = dir.path().join("in/receipt-00000001.jws");
    let told = stranger.refused("", &["receipt", own.to_str().unwrap()]);
    assert!(told.contains("not one of this tenant's proxy"), "{told}");

    let taken = admin.ok(&["receipt", "in/receipt-00000002.jws", "in/receipt-00000001.jws"]);
    assert_eq!((&taken["applied"], &taken["left"]), (&2.into(), &0.into()));
    let again = admin.ok(&["receipt", "in/receipt-00000001.jws"]);
    assert_eq!((&again["applied"], &again["known_before"]), (&0.into(), &1.into()));
    admin.assert_agreement(&[]);
}

#[test]
fn a_renewal_killed_anywhere_goes_on_where_it_was() {
    let dir = directory();
    let (_proxy, _sidecar, admin) = everything(dir.path());
    admin.ok(&["user", "add", "alice", "bob", "carol", "dora", "emil", "--push"]);
    admin.ok(&["user", "withdraw", "dora", "--push"]);
    let renew = ["renew-shares", "--batch", "1"];
    for point in ["renewal.stored", "push.answered", "renewal.pushed"] {
        admin.killed(point, "", &renew);
    }
    let renewed = admin.ok(&renew);
    assert_eq!(renewed["users"], 3, "the one that was pushed and not told of as well: {renewed}");
    assert_eq!((&renewed["resumed"], &renewed["left"]), (&true.into(), &0.into()), "{renewed}");
    admin.assert_agreement(&[]);
    // Each batch was applied once: two commands before, and one for each of four users.
    assert_eq!(admin.ok(&["status"])["seq"], 6);
    assert_eq!(admin.ok(&renew)["users"], 4, "and once more is once more");
}

#[test]
fn an_older_vault_takes_over_the_proxys_numbers() {
    let dir = directory();
    let (_proxy, _sidecar, admin) = everything(dir.path());
    let old = fs::read(admin.vault()).unwrap();
    admin.ok(&["user", "add", "alice", "--push"]);
    write_private(&admin.vault(), "").unwrap();
    fs::write(admin.vault(), old).unwrap();
    let status = admin.run("", "", &["status"]);
    assert_eq!(status.status.code(), Some(3), "a difference");
    admin.ok(&["user", "add", "bob", "--push"]);
    let synced = admin.ok(&["user", "sync"]);
    assert_eq!(synced["found"], serde_json::json!(["alice"]));
    let told = admin.refused("", &["user", "export", "alice", "--out", "alice.json"]);
    assert!(told.contains("user rekey alice"), "{told}");
    admin.ok(&["user", "rekey", "alice", "--push"]);
    admin.ok(&["user", "export", "alice", "--out", "alice.json"]);
    admin.assert_agreement(&[]);
}

/// What `renew-shares` did, whatever it left undone.
fn renewed(admin: &Admin<'_>) -> (Option<i32>, Value) {
    let output = admin.run("", "", &["renew-shares"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn an_older_vault_renews_no_share_that_a_newer_one_may_have_replaced() {
    let dir = directory();
    let (_proxy, _sidecar, admin) = everything(dir.path());
    admin.ok(&["user", "add", "alice", "bob", "carol", "dora", "--push"]);
    let old = fs::read(admin.vault()).unwrap();
    admin.ok(&["user", "withdraw", "bob", "dora", "--push"]);
    admin.ok(&["user", "rekey", "alice", "--push"]);
    fs::write(admin.vault(), old).unwrap();
    // The very first command would make the stolen share of alice valid again.
    let (code, answer) = renewed(&admin);
    assert_eq!((code, &answer["users"], &answer["confirmed"]), (Some(3), &0.into(), &0.into()), "{answer}");
    assert_eq!(answer["without_share"], serde_json::json!(["alice", "bob", "carol", "dora"]));
    assert!(
        admin.ok(&["user", "show"])["users"]
            .as_array()
            .unwrap()
            .iter()
            .all(|user| user["share_unknown"] == true)
    );
    let status = admin.run("", "", &["status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&status.stdout).contains("the shares of 4 users are unknown"));
    assert!(admin.refused("", &["user", "export", "alice", "--out", "a.json"]).contains("user rekey alice"));

    // A new share for each; who was withdrawn shows.
    for uid in ["bob", "dora"] {
        let output = admin.run("", "", &["user", "rekey", uid, "--push"]);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(user_state(&admin, uid), "withdrawn");
    }
    admin.ok(&["user", "rekey", "alice", "carol", "--push"]);
    admin.assert_agreement(&[]);
    let (code, answer) = renewed(&admin);
    assert_eq!((code, &answer["users"], &answer["left"]), (Some(0), &2.into(), &0.into()), "{answer}");
    admin.ok(&["user", "export", "alice", "--out", "alice.json"]);
}

#[test]
fn what_the_proxy_refuses_is_undone_and_shown() {
    let dir = directory();
    let (_proxy, _sidecar, admin) = everything(dir.path());
    let old = fs::read(admin.vault()).unwrap();
    admin.ok(&["user", "add", "alice", "--push"]);
    fs::write(admin.vault(), old).unwrap();
    // The older vault does not know alice, the proxy does.
    let output = admin.run("", "", &["user", "add", "alice", "--push"]);
    assert_eq!(output.status.code(), Some(3));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["receipts"]["refused"][0]["command"], "user add alice", "{answer}");
    // All of a batch, or nothing.
    let output = admin.run("", "", &["user", "add", "alice", "bob", "--push"]);
    assert_eq!(output.status.code(), Some(3));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused = &answer["receipts"]["refused"][0];
    assert_eq!(refused["command"], "user add of 2 users, alice to bob", "{answer}");
    assert_eq!(refused["message"], "user alice is there already");
    assert_eq!(admin.ok(&["outbox"])["refused"].as_array().unwrap().len(), 2);
    let users = admin.ok(&["user", "show"]);
    assert_eq!(users["users"].as_array().unwrap().len(), 0, "{users}");
    admin.ok(&["user", "add", "bob", "--push"]);
    admin.assert_agreement(&[]);
}

#[test]
fn a_proxy_that_is_away_leaves_commands_unconfirmed() {
    let dir = directory();
    let (mut proxy, _sidecar, admin) = everything(dir.path());
    proxy.leash.stop();
    let output = admin.run("", "", &["user", "add", "alice", "--push", "--wait", "0"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(admin.ok(&["outbox"])["unconfirmed"].as_array().unwrap().len(), 1);
    proxy.restart(NO_KILL);
    admin.ok(&["push"]);
    admin.assert_agreement(&[]);
}

/// Writes the outbox to files, in order.
fn written(admin: &Admin<'_>) -> Vec<String> {
    let files = admin.ok(&["outbox", "write", "--dir", "out"]);
    files["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned()).collect()
}

fn user_state(admin: &Admin<'_>, uid: &str) -> Value {
    let users = admin.ok(&["user", "show"]);
    let mut users = users["users"].as_array().unwrap().iter();
    users.find(|user| user["user"] == uid).map_or(Value::Null, |user| user["state"].clone())
}

#[test]
fn commands_that_reach_the_proxy_past_the_sidecar_are_confirmed_whichever_comes_first() {
    let dir = directory();
    let (proxy, sidecar, admin) = everything(dir.path());
    admin.ok(&["user", "add", "alice"]);
    admin.ok(&["user", "add", "bob"]);
    let files = written(&admin);
    proxy.takes(&files);
    let url = sidecar.url();
    let deliver = |file: &str| {
        let arguments = ["deliver", file, "--url", &url, "--fingerprint", &sidecar.fingerprint];
        let arguments = [&arguments[..], &["--receipts", "in", "--password-fd", "0"]].concat();
        let output = admin.run("", &sidecar.password, &arguments);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };
    let (code, answer) = deliver(&files[1]);
    assert_eq!((code, &answer["held"][0]["code"]), (Some(3), &"early".into()), "{answer}");
    let (code, answer) = deliver(&files[0]);
    assert_eq!(code, Some(0), "{answer}");
    let pushed = admin.ok(&["push"]);
    assert_eq!((&pushed["applied"], &pushed["left"]), (&2.into(), &0.into()), "{pushed}");
    admin.assert_agreement(&[]);
    assert_eq!(admin.ok(&["status"])["seq"], 2, "each was applied once");
    admin.ok(&["user", "withdraw", "alice", "bob", "--push"]);
}

#[test]
fn a_push_undoes_nothing_that_the_proxy_has_applied() {
    let dir = directory();
    let (proxy, mut sidecar, admin) = everything(dir.path());
    admin.ok(&["user", "add", "alice", "--push"]);
    admin.ok(&["user", "withdraw", "alice"]);
    admin.ok(&["user", "add", "bob"]);
    proxy.takes(&written(&admin));
    sidecar.forget_receipts();
    let pushed = admin.ok(&["push"]);
    assert_eq!((&pushed["applied"], &pushed["left"]), (&2.into(), &0.into()), "{pushed}");
    assert_eq!(user_state(&admin, "alice"), "withdrawn");
    assert_eq!(user_state(&admin, "bob"), "active");
    admin.assert_agreement(&[]);
    admin.ok(&["user", "rekey", "bob", "--push"]);
}
