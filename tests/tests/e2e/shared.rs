//! What all tests of this process share: one PostgreSQL, one tenant, one proxy, three sidecars; each
//! test has a database of its own. Nobody drops a static: the leashes end with the process.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use trefoil_tests::cluster::Cluster;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::recorder::Recorder;
use trefoil_tests::stack::{Part, ProxyOptions, Stack};
use trefoil_tests::tenant::Tenant;

/// The policy of all tests.
pub(crate) const POLICY: &str = include_str!("../../corpus/policy.toml");

pub(crate) struct Shared {
    pub(crate) cluster: &'static Cluster,
    pub(crate) tenant: Tenant,
    pub(crate) proxy: Part,
    pub(crate) recorder: Recorder,
    alice: Part,
    bob: Part,
    application: Part,
}

impl Shared {
    /// One of the sidecars.
    pub(crate) fn sidecar(&self) -> &Part {
        &self.application
    }
}

/// One test's database, by every way that leads to it.
pub(crate) struct Database {
    /// Straight to PostgreSQL.
    pub(crate) direct: Endpoint,
    /// Through the proxy, with no shares attached.
    pub(crate) proxy: Endpoint,
    /// Through the sidecar that acts for alice.
    pub(crate) alice: Endpoint,
    /// Through the sidecar that acts for bob.
    pub(crate) bob: Endpoint,
    /// Through a sidecar that acts for whom the application names.
    pub(crate) application: Endpoint,
}

/// The PostgreSQL of this process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::scratch().unwrap())
}

/// The audit log of the shared proxy: every test's statements are in it, each before its answer.
pub(crate) fn audit_log() -> PathBuf {
    cluster().directory().join("audit.log")
}

/// The parts that all tests share, started by the first that asks.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = cluster();
        let dir = &cluster.directory().join("parts");
        let recorder = Recorder::start(cluster.endpoint().port).unwrap();
        let options = ProxyOptions {
            policy: POLICY,
            tenant: "tests",
            database: cluster.endpoint(),
            recorder: Some(recorder.port()),
            // An envelope of limited use counts from so many seconds after the start on.
            configuration: &format!("clock_skew = 1\naudit.file = {:?}\n", audit_log()),
        };
        let stack = Stack::start(dir, &options, &["alice", "bob", "carol"], 2).unwrap();
        let Stack { acting, application, proxy, tenant } = stack;
        let [alice, bob] = acting.try_into().ok().unwrap();
        Shared { cluster, tenant, proxy, recorder, alice, bob, application }
    })
}

/// A new, empty database.
pub(crate) fn database() -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let shared = shared();
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let direct = shared.cluster.create_database(&name).unwrap();
    Database {
        proxy: direct.through(shared.proxy.port()),
        alice: direct.through(shared.alice.port()),
        bob: direct.through(shared.bob.port()),
        application: direct.through(shared.application.port()),
        direct,
    }
}

/// A database with the corpus's schema and rows in it.
pub(crate) fn clinic() -> Database {
    let database = database();
    create_schema(&database.alice);
    database
}

/// Runs the corpus's schema, statement by statement.
pub(crate) fn create_schema(endpoint: &Endpoint) {
    run_schema(endpoint, include_str!("../../corpus/schema.sql"));
}

/// The table `patients` once more, under a name that the policy does not know.
pub(crate) fn create_unprotected_twin(endpoint: &Endpoint) {
    let schema = include_str!("../../corpus/schema.sql").lines();
    let tables: Vec<&str> = schema.filter(|line| !line.contains(" VIEW ")).collect();
    run_schema(endpoint, &tables.join("\n").replace(" patients ", " people "));
}

fn run_schema(endpoint: &Endpoint, schema: &str) {
    let mut frontend = trefoil_tests::frontend::Frontend::connect(endpoint, &[]).unwrap();
    for statement in schema.lines().filter(|line| !line.starts_with("--")) {
        let frames = frontend.query(statement).unwrap();
        let error = frames.iter().find(|frame| frame.tag == b'E');
        assert!(error.is_none(), "{statement}\n{error:?}");
    }
}

/// Both texts are the same; if not, the lines that differ.
pub(crate) fn assert_same(seen: &str, expected: &str) {
    let mut differing = Vec::new();
    let (mut left, mut right) = (seen.lines(), expected.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => break,
            (seen, expected) if seen != expected => {
                differing.push(format!(
                    "expected {}\n     got {}",
                    expected.unwrap_or("-"),
                    seen.unwrap_or("-")
                ));
            }
            _ => {}
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
