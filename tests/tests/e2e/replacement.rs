//! Proxy or sidecar lost with all they had: the other parties make them anew for the tenant key that there
//! is, and what users hold stays good.

use crate::shared::{POLICY, cluster};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::programs::program;
use trefoil_tests::stack::{ProxyOptions, Stack};
use trefoil_tests::tenant::write_private;

const QUESTION: &str = "SELECT ssn FROM patients WHERE id = 1";

/// A tenant with a database of its own, and a row in it.
struct Scene {
    directory: tempfile::TempDir,
    stack: Stack,
    database: Endpoint,
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = cluster().create_database(name).unwrap();
        let endpoint = cluster().endpoint();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: name,
            database: endpoint,
            recorder: None,
            configuration: "",
        };
        let stack = Stack::start(directory.path(), &options, &["alice", "bob", "carol"], 0).unwrap();
        let scene = Self { directory, stack, database };
        scene.answered("CREATE TABLE patients (id int, name text, ssn text)");
        scene.answered("INSERT INTO patients (id, ssn) VALUES (1, 'x-1')");
        scene.reads();
        scene
    }

    fn dir(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// What alice is answered, with an envelope made as these options say.
    fn ask(&self, user: &str, options: &[&str], question: &str) -> Vec<Frame> {
        let envelope = self.stack.tenant.envelope(user, options).unwrap();
        let endpoint = self.database.through(self.stack.application.port());
        let mut client = Frontend::connect(&endpoint, &[]).unwrap();
        let comment = format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ ");
        client.query(&(comment + question)).unwrap()
    }

    fn answered(&self, statement: &str) {
        let frames = self.ask("alice", &[], statement);
        assert_eq!(sqlstate(&frames), None, "{frames:?}");
    }

    fn reads(&self) {
        let frames = self.ask("alice", &[], QUESTION);
        let row = frames.iter().find(|frame| frame.tag == b'D').unwrap_or_else(|| panic!("{frames:?}"));
        assert_eq!(row.columns(), [Some(b"x-1".to_vec())]);
    }

    fn refused(&self, user: &str) {
        let frames = self.ask(user, &[], QUESTION);
        assert_eq!(sqlstate(&frames).as_deref(), Some("28000"), "{frames:?}");
    }

    fn lose(&mut self, part: &str) {
        let parts = &mut self.stack;
        let leash = if part == "proxy" { &mut parts.proxy } else { &mut parts.application };
        leash.process_mut().stop();
        fs::remove_dir_all(self.dir().join(format!("{part}.state"))).unwrap();
        fs::remove_file(self.dir().join(format!("{part}.lock"))).unwrap();
    }

    fn init(&self, program_name: &str, file: &str, flags: &[&str]) -> Output {
        let mut command = Command::new(program(program_name).unwrap());
        command.arg("init").arg("--config").arg(self.dir().join(file)).arg("--json").args(flags);
        command.output().unwrap()
    }

    /// The new proxy's fingerprint.
    fn appointed(&self, flags: &[&str]) -> String {
        let file = self.path("appointment");
        self.admin(&["proxy", "appoint", "--out", &file]);
        let output = self.init("trefoil-proxy", "proxy.toml", &[&["--appointment", &file], flags].concat());
        made(&output)["fingerprint"].as_str().unwrap().to_owned()
    }

    /// Makes the new proxy known to the sidecar.
    fn sidecar_follows(&mut self, fingerprint: &str) {
        let file = self.dir().join("sidecar-application.toml");
        let configuration = fs::read_to_string(&file).unwrap();
        let configuration = configuration.replace(self.stack.proxy.fingerprint(), fingerprint);
        write_private(&file, &configuration).unwrap();
        self.stack.application.process_mut().stop();
        made(&self.init("trefoil-shim", "sidecar-application.toml", &["--new-proxy"]));
        self.stack.application.restart(&[]).unwrap();
    }

    fn admin(&self, arguments: &[&str]) -> Value {
        let printed = self.stack.tenant.admin(&[&["--json"], arguments].concat()).unwrap();
        serde_json::from_str(&printed).unwrap()
    }

    fn admin_fails(&self, arguments: &[&str]) -> String {
        self.stack.tenant.admin(arguments).err().unwrap().to_string()
    }

    /// Takes up the newest announcement, as alice's agent does.
    fn agent_hears(&self) {
        let file = self.path("announcement");
        let url = format!("{}/v1/announcement", self.stack.application.admin_url());
        let fetched = Command::new("curl").args(["-skf", "-o", &file, &url]).status().unwrap();
        assert!(fetched.success());
        self.stack.tenant.envelope("alice", &["--announcement", &file]).unwrap();
    }

    fn agrees(&self) {
        let status = self.admin(&["status"]);
        assert_eq!((&status["differences"], &status["state"]), (&serde_json::json!([]), &"ready".into()));
    }
}

fn made(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_lost_proxy_is_made_anew_and_the_users_own_shares_stay() {
    let mut scene = Scene::new("lost_proxy");
    let url = scene.stack.proxy.admin_url();
    scene.admin(&["user", "withdraw", "carol", "--push"]);
    // A command that the lost proxy had applied, and whose receipt is still on its way.
    scene.admin(&["user", "rekey", "bob"]);
    let (out, receipts) = (scene.path("out"), scene.path("receipts"));
    let files = scene.admin(&["outbox", "write", "--dir", &out]);
    let sidecar = scene.stack.application.admin_url();
    scene
        .stack
        .tenant
        .admin_with(
            scene.stack.application.password(),
            &[
                "deliver",
                files["files"][0].as_str().unwrap(),
                "--url",
                &sidecar,
                "--fingerprint",
                scene.stack.application.fingerprint(),
                "--receipts",
                &receipts,
                "--password-fd",
                "0",
            ],
        )
        .unwrap();
    let receipt = fs::read_dir(&receipts).unwrap().next().unwrap().unwrap().path();

    scene.lose("proxy");
    let appointment = scene.path("appointment");
    scene.admin(&["proxy", "appoint", "--out", &appointment]);
    let altered = scene.path("altered");
    let text = fs::read_to_string(&appointment).unwrap();
    write_private(Path::new(&altered), &text.replacen('.', ".e", 1)).unwrap();
    let output = scene.init("trefoil-proxy", "proxy.toml", &["--appointment", &altered]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("altered"));
    let fingerprint = scene.appointed(&[]);
    scene.stack.proxy.restart(&[]).unwrap();
    scene.refused("alice");

    // Not before it is pinned.
    let told = scene.admin_fails(&["proxy", "set", "--url", &url, "--fingerprint", &"00".repeat(32)]);
    assert!(told.contains("fingerprint"), "{told}");
    let set = scene.admin(&["proxy", "set", "--url", &url, "--fingerprint", &fingerprint]);
    assert_eq!(set["replaced"]["users"], 2, "{set}");
    assert_eq!((&set["replaced"]["given_up"], &set["replaced"]["announcement"]), (&1.into(), &1.into()));
    assert!(set["replaced"]["unannounced"].is_null(), "{set}");
    let told = scene.admin_fails(&["receipt", receipt.to_str().unwrap()]);
    assert!(told.contains("not one of this tenant's proxy"), "{told}");

    scene.sidecar_follows(&fingerprint);
    assert_eq!(scene.admin(&["renew-shares"])["users"], 2);
    scene.agrees();
    // The old RSA key is dead, and with it envelopes to it; the share in the user's old file is not.
    scene.refused("alice");
    scene.agent_hears();
    scene.reads();
    scene.refused("carol");
    let again = scene.admin(&["proxy", "set", "--url", &url, "--fingerprint", &fingerprint]);
    assert!(again["replaced"].is_null(), "{again}");
    scene.admin(&["user", "add", "dora", "emil", "--push"]);
    scene.agrees();
}

#[test]
fn a_lost_sidecar_is_made_anew_and_the_users_own_shares_stay() {
    let mut scene = Scene::new("lost_sidecar");
    scene.lose("sidecar-application");
    let made = made(&scene.init("trefoil-shim", "sidecar-application.toml", &["--anew"]));
    scene.stack.application.restart(&[]).unwrap();
    scene.refused("alice");
    let url = scene.stack.application.admin_url();
    let (fingerprint, password) = (made["fingerprint"].as_str().unwrap(), made["password"].as_str().unwrap());
    let arguments = ["application", "set", "--url", &url, "--fingerprint", fingerprint, "--password-fd", "0"];
    scene.stack.tenant.admin_with(password, &arguments).unwrap();
    scene.refused("alice");
    assert_eq!(scene.admin(&["renew-shares"])["users"], 3);
    scene.reads();
    scene.agrees();
}

#[test]
fn a_proxy_that_was_set_back_is_made_anew() {
    let mut scene = Scene::new("set_back");
    let url = scene.stack.proxy.admin_url();
    let (state, backup) = (scene.dir().join("proxy.state/store.redb"), scene.dir().join("backup"));
    scene.stack.proxy.process_mut().stop();
    fs::copy(&state, &backup).unwrap();
    scene.stack.proxy.restart(&[]).unwrap();
    scene.admin(&["user", "withdraw", "carol", "--push"]);
    scene.stack.proxy.process_mut().stop();
    fs::copy(&backup, &state).unwrap();
    scene.stack.proxy.restart(&[]).unwrap();

    // The proxy has carol again. Nothing takes it for the tenant's as it is.
    let old = scene.stack.proxy.fingerprint().to_owned();
    for arguments in
        [&["user", "add", "dora", "--push"][..], &["proxy", "set", "--url", &url, "--fingerprint", &old]]
    {
        let told = scene.admin_fails(arguments);
        assert!(told.contains("set back") && told.contains("proxy appoint"), "{told}");
    }
    let file = scene.path("appointment");
    scene.admin(&["proxy", "appoint", "--out", &file]);
    scene.stack.proxy.process_mut().stop();
    for flags in [&[][..], &["--anew"]] {
        let flags = [&["--appointment", &file], flags].concat();
        let output = scene.init("trefoil-proxy", "proxy.toml", &flags);
        assert!(String::from_utf8_lossy(&output.stderr).contains("--anew --forget-everything"));
    }
    let fingerprint = scene.appointed(&["--anew", "--forget-everything"]);
    scene.stack.proxy.restart(&[]).unwrap();
    scene.admin(&["proxy", "set", "--url", &url, "--fingerprint", &fingerprint]);
    scene.sidecar_follows(&fingerprint);
    assert_eq!(scene.admin(&["renew-shares"])["users"], 3);
    scene.agent_hears();
    scene.reads();
    scene.refused("carol");
    scene.agrees();
}

#[test]
fn a_proxy_of_another_tenant_key_is_never_taken() {
    let scene = Scene::new("own_key");
    let other = Scene::new("other_key");
    let (url, pin) = (other.stack.proxy.admin_url(), other.stack.proxy.fingerprint());
    let told = scene.admin_fails(&["proxy", "set", "--url", &url, "--fingerprint", pin]);
    assert!(told.contains("about tenant other_key"), "{told}");

    // The same names, but bootstrapped anew, or not at all.
    let directory = tempfile::tempdir().unwrap();
    let options = ProxyOptions {
        policy: POLICY,
        tenant: "own_key",
        database: cluster().endpoint(),
        recorder: None,
        configuration: "",
    };
    let proxy = trefoil_tests::stack::Ordered::proxy(directory.path(), &options).unwrap().start().unwrap();
    let (url, pin) = (proxy.admin_url(), proxy.fingerprint());
    let told = scene.admin_fails(&["proxy", "set", "--url", &url, "--fingerprint", pin]);
    assert!(told.contains("bootstrap is not finished"), "{told}");
    trefoil_tests::tenant::Tenant::bootstrap(&directory.path().join("tenant"), &proxy).unwrap();
    let told = scene.admin_fails(&["proxy", "set", "--url", &url, "--fingerprint", pin]);
    assert!(told.contains("signed by another key"), "{told}");
    scene.agrees();
    scene.reads();
}
