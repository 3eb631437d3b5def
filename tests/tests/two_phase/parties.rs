//! PostgreSQL, the proxy, the sidecar that acts for alice, and the way to them.

use crate::add;
use crate::tenant::Tenant;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use trefoil_keys::bundle::{self, CheckValue};
use trefoil_keys::command::{Delivery, Operation};
use trefoil_keys::envelope::Sealed as _;
use trefoil_keys::handover::Handover;
use trefoil_keys::receipt::{Outcome, Receipt};
use trefoil_keys::signing::VerifyingKey;
use trefoil_keys::{check, tls};
use trefoil_tests::cluster::{Cluster, free_port};
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::leash::Leash;
use trefoil_tests::programs::program;
use trefoil_tests::tenant::write_private;

const LIMIT: Duration = Duration::from_secs(30);
const POLICY: &str = "[tables.\"public.notes\"]\nbody = { type = \"text\", mode = \"randomized\" }\n";

pub(crate) struct Parties {
    pub(crate) tenant: Tenant,
    proxy: Option<Leash>,
    sidecar: Option<Leash>,
    receipt_key: VerifyingKey,
    database: Endpoint,
    client: Https,
    proxy_admin: Https,
    dir: PathBuf,
    _cluster: Cluster,
}

/// Who was to die.
#[derive(Clone, Copy)]
pub(crate) enum Killed {
    Proxy,
    Sidecar,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    receipt: Option<Receipt>,
}

impl Answer {
    /// The code with which the proxy has refused.
    pub(crate) fn refusal(&self) -> String {
        match self.receipt.as_ref().map(|receipt| &receipt.outcome) {
            Some(Outcome::Refused { code, .. }) => code.clone(),
            _ => panic!("{}: {}", self.status, self.text),
        }
    }
}

/// One peer with a pinned certificate.
struct Https {
    runtime: Runtime,
    client: Client,
    url: String,
    login: Option<String>,
}

impl Https {
    fn new(port: u16, made: &Value, login: Option<String>) -> Self {
        let fingerprint = made["fingerprint"].as_str().unwrap().parse().unwrap();
        let tls = tls::pinned_client_config(fingerprint, None).unwrap();
        let client = trefoil_https::client::client(tls, Duration::from_secs(60)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, client, url: format!("https://127.0.0.1:{port}"), login }
    }

    fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Option<(u16, String)> {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        if let Some(password) = &self.login {
            request = request.basic_auth("clinic", Some(password));
        }
        let answer = self.runtime.block_on(trefoil_https::client::send(request, 1 << 20)).ok()?;
        Some((answer.status.as_u16(), answer.text().unwrap().to_owned()))
    }
}

impl Parties {
    /// A finished bootstrap, alice and bob, and a row that alice has written.
    pub(crate) fn start() -> Self {
        let cluster = Cluster::scratch().unwrap();
        let database = cluster.create_database("clinic").unwrap();
        let dir = cluster.directory().join("parts");
        fs::create_dir_all(&dir).unwrap();
        let [pg, admin, shim, shim_admin] = [(); 4].map(|()| free_port().unwrap());
        write_private(&dir.join("policy.toml"), POLICY).unwrap();
        let config = format!(
            "listen = \"127.0.0.1:{pg}\"\npolicy = \"{dir}/policy.toml\"\nstate = \"{dir}/proxy\"\n\
             [lock]\nkey_file = \"{dir}/proxy.lock\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [upstream]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"disable\"\n[catalog]\nuser = {user:?}\npassword = {password:?}\n",
            dir = dir.display(),
            port = database.port,
            user = database.user,
            password = database.password,
        );
        write_private(&dir.join("proxy.toml"), &config).unwrap();
        let made = init(&dir, "trefoil-proxy", &["--tenant", "clinic", "--application", "app"]);
        let proxy = start(&dir, "trefoil-proxy", &[], None);
        let proxy_admin = Https::new(admin, &made, None);
        let (handover, receipt_key) = bootstrap(&proxy_admin, &made);

        let acting = dir.join("alice.json");
        let config = format!(
            "listen = \"127.0.0.1:{shim}\"\nproxy = \"127.0.0.1:{pg}\"\nstate = \"{dir}/shim\"\nact_for = {acting:?}\n\
             [lock]\nkey_file = \"{dir}/shim.lock\"\n[admin]\nlisten = \"127.0.0.1:{shim_admin}\"\n\
             [proxy_admin]\nurl = \"https://127.0.0.1:{admin}\"\nfingerprint = {fingerprint}\n",
            dir = dir.display(),
            fingerprint = made["fingerprint"],
        );
        write_private(&dir.join("shim.toml"), &config).unwrap();
        let made = init(&dir, "trefoil-shim", &[]);
        let client = Https::new(shim_admin, &made, Some(made["password"].as_str().unwrap().to_owned()));
        let mut tenant = Tenant::new(handover);
        let added = [tenant.delivery(add("alice"))];
        bundle::write(&acting, &tenant.bundle("alice")).unwrap();
        let mut parties = Self {
            tenant,
            proxy: Some(proxy),
            sidecar: None,
            receipt_key,
            database: database.through(shim),
            client,
            proxy_admin,
            dir,
            _cluster: cluster,
        };
        parties.restart_sidecar(None);
        assert_eq!(parties.deliver(&added[0], &add("alice")).status, 200);
        parties.tenant.applied();
        parties.apply(add("bob"));
        let database = &parties.database;
        database.run("CREATE TABLE notes (id int, body text)").unwrap();
        database.run("INSERT INTO notes VALUES (1, 'of alice')").unwrap();
        parties
    }

    /// Sends a command to the proxy past the sidecar; it must be applied.
    #[track_caller]
    pub(crate) fn apply_past_the_sidecar(&mut self, delivery: &Delivery) {
        let command = delivery.command.clone().into_bytes();
        let (status, text) = self.proxy_admin.send(Method::POST, "/v1/commands", command).unwrap();
        assert_eq!(status, 200, "{text}");
        self.tenant.applied();
    }

    /// The sidecar begins anew at the proxy's number, with the shares that it has.
    pub(crate) fn forget_receipts(&mut self) {
        self.sidecar = None;
        init(&self.dir, "trefoil-shim", &["--new-proxy"]);
        self.restart_sidecar(None);
    }

    pub(crate) fn start_proxy(&mut self, kill_at: Option<&str>) {
        self.proxy = Some(start(&self.dir, "trefoil-proxy", &[], kill_at));
    }

    pub(crate) fn stop_proxy(&mut self) {
        self.proxy = None;
    }

    pub(crate) fn restart_sidecar(&mut self, kill_at: Option<&str>) {
        if let Some(mut sidecar) = self.sidecar.take()
            && sidecar.running()
        {
            sidecar.signal("KILL").unwrap();
        }
        self.sidecar = Some(start(&self.dir, "trefoil-shim", &["sidecar"], kill_at));
    }

    /// Waits until the kill point has done its work.
    pub(crate) fn has_died(&mut self, who: Killed, point: &str) {
        let leash = match who {
            Killed::Proxy => &mut self.proxy,
            Killed::Sidecar => &mut self.sidecar,
        };
        let leash = leash.as_mut().unwrap();
        let end = Instant::now() + LIMIT;
        while leash.running() {
            assert!(Instant::now() < end, "{point}: still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `None` if there is no answer.
    pub(crate) fn try_deliver(&self, delivery: &Delivery, op: &Operation) -> Option<Answer> {
        let path = match op {
            Operation::Add { .. } => "/v1/AddUser",
            Operation::AddBatch => "/v1/AddUsers",
            Operation::Change { .. } => "/v1/ChangeKey",
            Operation::Withdraw { .. } => "/v1/WithdrawUser",
            Operation::Renew => "/v1/RenewShares",
            Operation::AddKeyspace { .. } => "/v1/AddKeyspace",
            Operation::RotateKey { .. } => "/v1/RotateKey",
        };
        let (status, text) = self.client.send(Method::POST, path, delivery.to_json().unwrap().to_vec())?;
        let receipt = matches!(status, 200 | 422).then(|| self.receipt_key.verify(&text).unwrap());
        Some(Answer { status, text, receipt })
    }

    pub(crate) fn deliver(&self, delivery: &Delivery, op: &Operation) -> Answer {
        self.try_deliver(delivery, op).expect("no answer")
    }

    /// Delivers the next command, which must be applied.
    #[track_caller]
    pub(crate) fn apply(&mut self, op: Operation) {
        let delivery = self.tenant.delivery(op.clone());
        let answer = self.deliver(&delivery, &op);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let receipt = answer.receipt.unwrap();
        assert_eq!((receipt.seq, receipt.outcome), (self.tenant.next(), Outcome::Applied));
        self.tenant.applied();
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, text) = self.client.send(Method::GET, path, Vec::new()).unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn users(&self) -> Vec<String> {
        self.get("/v1/users")["users"].as_object().unwrap().keys().cloned().collect()
    }

    /// Waits until nothing is in doubt any more.
    #[track_caller]
    pub(crate) fn settled(&self) {
        let end = Instant::now() + LIMIT;
        while !self.get("/v1/pending")["pending"].is_null() {
            assert!(Instant::now() < end, "still in doubt");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the shares of user, application and proxy fit together.
    pub(crate) fn reads_as_alice(&self) -> bool {
        match self.database.run("SELECT body FROM notes") {
            Ok(rows) => rows == [[Some("of alice".to_owned())]],
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("share"), "{error}");
                false
            }
        }
    }
}

/// Runs `init`, and returns what it prints.
fn init(dir: &Path, name: &str, more: &[&str]) -> Value {
    let mut command = Command::new(program(name).unwrap());
    command.args(["init", "--json", "--config"]).arg(config(dir, name)).args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn config(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{}.toml", name.trim_start_matches("trefoil-")))
}

fn start(dir: &Path, name: &str, arguments: &[&str], kill_at: Option<&str>) -> Leash {
    let kill_at = format!("TREFOIL_KILL_AT={}", kill_at.unwrap_or_default());
    let mut command = vec!["/usr/bin/env".to_owned(), kill_at, program(name).unwrap().display().to_string()];
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    command.extend(["--config".to_owned(), config(dir, name).display().to_string()]);
    let log = dir.join(format!("{name}.log"));
    let mut leash = Leash::start(name, &command, "TERM", &log, None).unwrap();
    // The order in which the two lines come is the programs' own affair.
    leash.wait_for(" listening on ", LIMIT).unwrap();
    leash.wait_for("admin port at ", LIMIT).unwrap();
    leash
}

/// What `trefoil-admin bootstrap` does.
fn bootstrap(proxy: &Https, made: &Value) -> (Handover, VerifyingKey) {
    let claim = Base64UrlUnpadded::encode_string(&[7; 32]);
    let body = json!({"password": made["password"], "claim": claim});
    let path = |name: &str| format!("/v1/bootstrap/{name}");
    let (status, text) = proxy.send(Method::POST, &path("claim"), body.to_string().into_bytes()).unwrap();
    assert_eq!(status, 200, "{text}");
    let handover = Handover::from_claims(text.as_bytes()).unwrap();
    let value = |(name, key): (&String, &trefoil_keys::handover::KeyspaceKey)| {
        let value = check::value(&key.key, name, key.epoch);
        (name.clone(), CheckValue { epoch: key.epoch, value })
    };
    let check_values: BTreeMap<_, _> = handover.keyspaces.iter().map(value).collect();
    let body = json!({"claim": claim, "check_values": check_values});
    let (status, text) = proxy.send(Method::POST, &path("confirm"), body.to_string().into_bytes()).unwrap();
    assert_eq!(status, 200, "{text}");
    let receipt_key = handover.receipt_key.clone();
    (handover, receipt_key)
}
