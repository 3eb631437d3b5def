//! The parts of Trefoil around one PostgreSQL: a proxy, and sidecars in front of it.

use crate::endpoint::Endpoint;
use crate::leash::Leash;
use crate::programs::program;
use crate::tenant::{Tenant, write_private};
use crate::{Error, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const READY: Duration = Duration::from_secs(30);

/// A running program that listens on a loopback port.
pub struct Part {
    leash: Leash,
    port: u16,
}

impl Part {
    fn start(name: &str, command: &[String], dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let mut leash = Leash::start(name, command, "TERM", &log, None)?;
        let address = leash.wait_for("listening on", READY)?;
        // The port is the last number after a colon, whatever the log format puts around it.
        let digits = address.rsplit(':').next().unwrap_or_default();
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let port = digits.parse().map_err(|_| Error::new(format!("{name} listens on {address}?")))?;
        Ok(Self { leash, port })
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn process(&self) -> &Leash {
        &self.leash
    }

    /// The same, to ask whether it runs.
    pub fn process_mut(&mut self) -> &mut Leash {
        &mut self.leash
    }
}

/// What a proxy is started with.
pub struct ProxyOptions<'a> {
    /// The policy's text.
    pub policy: &'a str,
    /// The tenant whose shares it holds.
    pub tenant: &'a Tenant,
    /// The role with which it reads the catalog, and where PostgreSQL is.
    pub database: &'a Endpoint,
    /// The port of a recorder, where one stands between.
    pub recorder: Option<u16>,
    /// Further lines of its configuration, before the first section.
    pub configuration: &'a str,
}

/// Whether a proxy would take this policy with the tenant's shares; if not, the error is its own.
pub fn check_policy(policy: &Path, tenant: &Tenant) -> Result<()> {
    let output = Command::new(program("trefoil-proxy")?)
        .arg("--check")
        .arg("--policy")
        .arg(policy)
        .arg("--shares")
        .arg(tenant.proxy_bundle())
        // Not known yet, and not looked at.
        .args(["--listen", "127.0.0.1:0"])
        .env("TREFOIL_CATALOG_USER", "nobody")
        .env_remove("TREFOIL_CONFIG")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(error.trim().trim_start_matches("trefoil-proxy: ")))
}

/// Starts a proxy with its files in `dir`.
pub fn start_proxy(dir: &Path, options: &ProxyOptions<'_>) -> Result<Part> {
    fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
    let policy = dir.join("policy.toml");
    write_private(&policy, options.policy)?;
    let configuration = format!(
        "listen = \"127.0.0.1:0\"\npolicy = {policy:?}\nshares = {shares:?}\n{more}\n\
         [upstream]\nhost = \"127.0.0.1\"\nport = {port}\n\n[catalog]\nuser = {user:?}\npassword = {password:?}\n",
        shares = options.tenant.proxy_bundle(),
        more = options.configuration,
        port = options.recorder.unwrap_or(options.database.port),
        user = options.database.user,
        password = options.database.password,
    );
    let file = dir.join("proxy.toml");
    write_private(&file, &configuration)?;
    let command =
        [program("trefoil-proxy")?.display().to_string(), "--config".into(), file.display().to_string()];
    Part::start("proxy", &command, dir)
}

/// Starts a sidecar with its files in `dir`; acting for one user, or for whoever the application names.
pub fn start_sidecar(dir: &Path, tenant: &Tenant, proxy: &Part, act_for: Option<&str>) -> Result<Part> {
    fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
    let name = format!("sidecar-{}", act_for.unwrap_or("application"));
    let acting =
        act_for.map(|user| format!("act_for = {:?}\n", tenant.user_bundle(user))).unwrap_or_default();
    let configuration = format!(
        "listen = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:{}\"\nshares = {:?}\n{acting}",
        proxy.port(),
        tenant.application_bundle(),
    );
    let file = dir.join(format!("{name}.toml"));
    write_private(&file, &configuration)?;
    let program = program("trefoil-shim")?.display().to_string();
    let command = [program, "sidecar".into(), "--config".into(), file.display().to_string()];
    Part::start(&name, &command, dir)
}
