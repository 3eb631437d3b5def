//! Who gets through the proxy to the database, as whom, and what is seen of it on the way: by a PostgreSQL
//! that has a user for each of its methods, under TLS and without.

mod binding;
mod certificates;
mod passthrough;
pub(crate) mod scram;
mod strange;

use crate::shared::cluster;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use trefoil_tests::authority::{Authority, Certified};
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::Frontend;
use trefoil_tests::programs::program;
use trefoil_tests::recorder::Recorder;
use trefoil_tests::stack::{Ordered, Part, ProxyOptions};
use trefoil_tests::tenant::write_private;

/// The password of each role that has one.
pub(crate) const PASSWORD: &str = "QZpass8Word";

/// What the database asks each of these roles for, and by which links it lets it in.
const ROLES: &str = "\
hostssl all auth_cert     127.0.0.1/32 cert
hostssl all auth_tls      127.0.0.1/32 scram-sha-256
host    all auth_scram    127.0.0.1/32 scram-sha-256
host    all auth_md5      127.0.0.1/32 md5
host    all auth_password,memory_password 127.0.0.1/32 password
host    all auth_trust    127.0.0.1/32 trust
host    all auth_reject   127.0.0.1/32 reject
host    all auth_cert,auth_tls 127.0.0.1/32 reject
";

pub(crate) struct Setting {
    pub(crate) authority: Authority,
    /// Of the proxy, in the name of the role `auth_cert`.
    pub(crate) identity: Certified,
    directory: PathBuf,
}

/// The roles, and TLS at the shared PostgreSQL.
pub(crate) fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        let cluster = cluster();
        let directory = cluster.directory().join("authentication");
        let authority = Authority::new(&directory.join("authority")).unwrap();
        let served = authority.certify(&["127.0.0.1"]).unwrap();
        let identity = authority.certify(&["auth_cert"]).unwrap();
        let rules = cluster.data().join("pg_hba.conf");
        let others = fs::read_to_string(&rules).unwrap();
        fs::write(&rules, format!("{ROLES}{others}")).unwrap();
        for text in [
            "CREATE ROLE auth_cert LOGIN",
            "CREATE ROLE auth_trust LOGIN",
            "CREATE ROLE auth_reject LOGIN",
        ] {
            cluster.endpoint().run(text).unwrap();
        }
        for (role, encryption) in
            [("scram", "scram-sha-256"), ("tls", "scram-sha-256"), ("password", "scram-sha-256"), ("md5", "md5")]
        {
            let text = format!(
                "SET password_encryption = '{encryption}'; CREATE ROLE auth_{role} LOGIN PASSWORD '{PASSWORD}'"
            );
            cluster.endpoint().run(&text).unwrap();
        }
        // The new rules hold for connections from then on, too.
        cluster.offer_tls(&served, &authority.file()).unwrap();
        Setting { authority, identity, directory }
    })
}

/// A proxy, and a recorder between it and the database.
pub(crate) struct Proxy {
    pub(crate) part: Part,
    pub(crate) recorder: Recorder,
    pub(crate) directory: PathBuf,
}

/// What a proxy is made with.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// In the place of `tls = "disable"`.
    pub(crate) upstream: Option<&'a str>,
    /// The text of `hba_file`.
    pub(crate) hba: Option<&'a str>,
    /// The text of `ident_file`.
    pub(crate) ident: Option<&'a str>,
    /// The text of `users_file`.
    pub(crate) users: Option<&'a str>,
    /// The section `[tls]`.
    pub(crate) tls: Option<&'a str>,
    /// Where the database is, in the place of the shared one.
    pub(crate) port: Option<u16>,
}

impl Proxy {
    pub(crate) fn start(options: &Options<'_>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = setting().directory.join(format!("proxy-{number}"));
        fs::create_dir_all(&directory).unwrap();
        let mut configuration = String::new();
        let files = [("hba_file", options.hba), ("ident_file", options.ident), ("users_file", options.users)];
        for (key, text) in files {
            let Some(text) = text else { continue };
            let file = directory.join(key);
            write_private(&file, text).unwrap();
            configuration += &format!("{key} = {file:?}\n");
        }
        configuration += &options.tls.map(|section| format!("[tls]\n{section}\n")).unwrap_or_default();
        let recorder = Recorder::start(options.port.unwrap_or(cluster().endpoint().port)).unwrap();
        let proxy = ProxyOptions {
            policy: "",
            tenant: "authentication",
            database: cluster().endpoint(),
            recorder: Some(recorder.port()),
            configuration: &configuration,
        };
        let mut part = Ordered::proxy(&directory, &proxy).unwrap().start().unwrap();
        if let Some(upstream) = options.upstream {
            part.configure(&[("tls = \"disable\"".to_owned(), upstream.to_owned())]).unwrap();
        }
        Self { part, recorder, directory }
    }

    /// As this user with this password.
    pub(crate) fn endpoint(&self, user: &str, password: &str) -> Endpoint {
        Endpoint {
            user: user.to_owned(),
            password: password.to_owned(),
            ..cluster().endpoint().through(self.part.port())
        }
    }

    /// Whom the database takes a client for, or why there is none.
    pub(crate) fn role(&self, user: &str, password: &str) -> Result<String, String> {
        role(&self.endpoint(user, password), &[])
    }

    pub(crate) fn log(&self) -> String {
        self.part.process().output()
    }

    /// Whether these bytes were sent to the database.
    pub(crate) fn sent(&self, text: &str) -> bool {
        self.recorder.sent().iter().any(|sent| memchr::memmem::find(sent, text.as_bytes()).is_some())
    }
}

/// Whom the database takes a client for, and whether by TLS.
pub(crate) fn role(endpoint: &Endpoint, parameters: &[(&str, &str)]) -> Result<String, String> {
    let mut client = Frontend::connect(endpoint, parameters).map_err(|error| error.to_string())?;
    let text = "SELECT session_user || CASE WHEN ssl THEN ' by TLS' ELSE '' END \
                FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let frames = client.query(text).map_err(|error| error.to_string())?;
    let row = frames.iter().find(|frame| frame.tag == b'D').ok_or_else(|| format!("{frames:?}"))?;
    Ok(String::from_utf8(row.columns()[0].clone().unwrap()).unwrap())
}

/// `[upstream]` under TLS, by this authority.
pub(crate) fn tls(authority: &Path) -> String {
    format!("tls = \"verify-full\"\nca = {authority:?}")
}

/// The same with the proxy's own certificate.
pub(crate) fn tls_with_identity() -> String {
    let Setting { authority, identity, .. } = setting();
    let Certified { certificate, key } = identity;
    format!("{}\ncertificate = {certificate:?}\nkey = {key:?}", tls(&authority.file()))
}

/// What `trefoil-proxy explain` says of a database, which it logs in at as the proxy does for its catalogs.
pub(crate) fn explain(url: &str, more: &[&str]) -> String {
    let policy = setting().directory.join("policy.toml");
    fs::write(&policy, "").unwrap();
    let mut command = Command::new(program("trefoil-proxy").unwrap());
    command.arg("explain").arg("--policy").arg(&policy).args(["--url", url]).args(more);
    let output = command.env("PGPASSWORD", PASSWORD).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What psql says to `SELECT session_user` by this connection string.
pub(crate) fn psql(connection: &str, password: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-c", "SELECT session_user", connection])
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
