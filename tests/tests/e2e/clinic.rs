//! A web application that knows nothing of Trefoil beyond its connection string (`tests/clinic/`), with all
//! parts around it: agents, the sidecar's two doors, proxy and PostgreSQL.

use crate::scripts::{node, output, python};
use crate::shared::cluster;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use trefoil_tests::cluster::free_port;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::leak::{Marker, Search};
use trefoil_tests::leash::Leash;
use trefoil_tests::programs::program;
use trefoil_tests::recorder::Recorder;
use trefoil_tests::stack::{Ordered, Part, ProxyOptions};
use trefoil_tests::tenant::Tenant;

const POLICY: &str = include_str!("../../clinic/policy.toml");
const SCHEMA: &str = include_str!("../../clinic/schema.sql");

/// `clinic`, as Werkzeug keeps it; few rounds, so that logging in takes no time.
const PASSWORD: &str =
    "pbkdf2:sha256:1000$pD1WqMfl6yLWshWK$6234daa01b14b3db9a3da0a9669ab734d1cdb4117888cae16405e0200d2651b1";

const READY: Duration = Duration::from_secs(30);

struct Clinic {
    direct: Endpoint,
    recorder: Recorder,
    /// As the scenes want them: agents, second door and application.
    environment: Vec<(&'static str, String)>,
    alice: String,
    _parts: Vec<Part>,
    _processes: Vec<Leash>,
}

impl Clinic {
    fn open() -> Self {
        let direct = cluster().create_database("clinic").unwrap();
        let dir = cluster().directory().join("clinic");
        let recorder = Recorder::start(direct.port).unwrap();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "clinic",
            database: &direct,
            recorder: Some(recorder.port()),
            configuration: "",
        };
        let keyspaces = ["main", "clinical", "finance"];
        let proxy = Ordered::proxy_with_keyspaces(&dir, &options, &keyspaces).unwrap().start().unwrap();
        let tenant = Tenant::bootstrap(&dir.join("tenant"), &proxy).unwrap();
        let [application, door] = [free_port().unwrap(), free_port().unwrap()];
        let sections = format!(
            "[user_from]\nsetting = \"app.current_user\"\n\n\
             [http]\nlisten = \"127.0.0.1:{door}\"\napplication = \"http://127.0.0.1:{application}\"\n"
        );
        let sidecar = Ordered::application(&dir, &proxy, &sections).unwrap().start().unwrap();
        tenant.set_application(&sidecar).unwrap();
        for (role, keyspace) in [("doctor", "clinical"), ("clerk", "finance")] {
            tenant.admin(&["role", "set", role, "--keyspace", "main", "--keyspace", keyspace]).unwrap();
        }
        tenant.admin(&["user", "add", "alice", "bob", "dora", "--role", "doctor"]).unwrap();
        tenant.admin(&["user", "add", "carol", "--role", "clerk", "--push"]).unwrap();
        let users = ["alice", "bob", "carol", "dora"];
        for user in users {
            tenant.export(user, &[]).unwrap();
        }
        prepare(&direct, sidecar.port(), &tenant);

        let url = format!(
            "postgresql+psycopg://clinic_app:clinic@127.0.0.1:{}/{}",
            sidecar.port(),
            direct.database
        );
        let command = python("tests/clinic/app.py");
        let mut words = vec!["env".to_owned(), format!("DATABASE_URL={url}"), format!("PORT={application}")];
        words.push(command.get_program().to_str().unwrap().to_owned());
        words.extend(command.get_args().map(|word| word.to_str().unwrap().to_owned()));
        let mut app = Leash::start("clinic", &words, "TERM", &dir.join("clinic.log"), None).unwrap();
        app.wait_for("serving on", READY).unwrap();

        let mut processes = vec![app];
        let mut agents = Vec::new();
        for user in users {
            let (agent, url) = agent(&dir, user, &tenant.user_bundle(user), door);
            processes.push(agent);
            agents.push(format!("{user:?}: {url:?}"));
        }
        let alice = agents[0].split('"').nth(3).unwrap().to_owned();
        let environment = vec![
            ("AGENTS", format!("{{{}}}", agents.join(", "))),
            ("DOOR", format!("http://127.0.0.1:{door}")),
            ("APPLICATION", format!("http://127.0.0.1:{application}")),
        ];
        let parts = vec![sidecar, proxy];
        Self { direct, recorder, environment, alice, _parts: parts, _processes: processes }
    }

    fn scene(&self, name: &str) {
        let environment: Vec<_> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        output(python("tests/clinic/scenes.py").arg(name), &environment);
    }
}

/// Makes the schema as somebody who has all shares, and hires the staff.
fn prepare(direct: &Endpoint, sidecar: u16, tenant: &Tenant) {
    let envelope = tenant.envelope("alice", &[]).unwrap();
    let through = direct.through(sidecar);
    let carrier = format!("/*trefoil_user='alice',trefoil_envelope='{envelope}'*/");
    for statement in SCHEMA.split(';').filter(|statement| !statement.trim().is_empty()) {
        through.run(&format!("{carrier} {statement}")).unwrap();
    }
    let staff = [("alice", "doctor"), ("bob", "doctor"), ("dora", "doctor"), ("carol", "clerk")];
    for (login, job) in staff {
        direct.run(&format!("INSERT INTO staff VALUES ('{login}', '{PASSWORD}', '{job}')")).unwrap();
    }
    direct.run("ALTER ROLE clinic_app PASSWORD 'clinic'").unwrap();
}

/// One user's agent, and where it listens.
fn agent(dir: &Path, user: &str, bundle: &Path, door: u16) -> (Leash, String) {
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let file = dir.join(format!("{user}.agent.toml"));
    let configuration =
        format!("listen = {listen:?}\norigin = \"http://127.0.0.1:{door}\"\nbundle = {bundle:?}\n");
    fs::write(&file, configuration).unwrap();
    let words = [program("trefoil-shim").unwrap().display().to_string(), "agent".to_owned()];
    let words = [&words[..], &["--config".to_owned(), file.display().to_string()]].concat();
    let log = dir.join(format!("{user}.agent.log"));
    let mut agent = Leash::start("agent", &words, "TERM", &log, None).unwrap();
    agent.wait_for(&listen, READY).unwrap();
    (agent, format!("http://{listen}"))
}

fn clinic() -> &'static Clinic {
    static CLINIC: OnceLock<Clinic> = OnceLock::new();
    CLINIC.get_or_init(Clinic::open)
}

#[test]
fn two_users_at_once_see_what_each_may() {
    clinic().scene("two_users_at_once_see_what_each_may");
}

#[test]
fn jobs_see_the_columns_that_they_have_shares_for() {
    clinic().scene("jobs_see_the_columns_that_they_have_shares_for");
}

#[test]
fn nothing_protected_is_read_or_written_without_an_agent() {
    let before = clinic().direct.run("SELECT count(*) FROM patients WHERE doctor = 'dora'").unwrap();
    clinic().scene("nothing_protected_without_an_agent");
    let after = clinic().direct.run("SELECT count(*) FROM patients WHERE doctor = 'dora'").unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_share_serves_nobody_but_its_user() {
    clinic().scene("a_share_serves_nobody_but_its_user");
}

#[test]
fn a_browser_works_through_the_agent() {
    let environment = [
        ("URL", clinic().alice.as_str()),
        ("LOGIN", "alice"),
        ("PASSWORD", "clinic"),
        ("FIND", "no such number"),
    ];
    let seen = output(&mut node("tests/clinic/browse.js"), &environment);
    assert!(seen.contains(r#""found":[]"#), "{seen}");
    assert!(seen.contains(r#""heading":"Browser Weber","visits":["seen by a browser"]"#), "{seen}");
    let markers = [Marker::text("Browser Weber"), Marker::text("seen by a browser")];
    let search = Search::new(&markers, 8).unwrap();
    for connection in clinic().recorder.sent() {
        assert_eq!(search.leaks(&connection), [], "it went to the database in clear");
    }
    let stored = clinic().direct.run("SELECT p::text, v::text FROM patients p, visits v").unwrap();
    assert_eq!(search.leaks(format!("{stored:?}").as_bytes()), []);
}
