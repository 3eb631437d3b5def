//! Configuration: a TOML file, then `TREFOIL_…` environment variables, then flags; checked once into
//! [`Config`]. Unknown keys are errors. Relative paths start at the working directory.

mod arguments;
mod audit;
mod check;
mod error;
mod listen;
mod tls;
mod upstream;

pub use arguments::{Arguments, Command};
pub use error::ConfigError;
pub use listen::Listen;
pub use tls::Tls;
pub use upstream::Upstream;

use crate::audit::Options as AuditOptions;
use crate::authentication::Files;
use audit::RawAudit;
use check::{address, filled, number, seconds};
use listen::OneOrMore;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tls::RawTls;
use trefoil_keys::lock::Lock;
use upstream::RawUpstream;
use zeroize::Zeroizing;

/// The checked configuration.
pub struct Config {
    /// Where clients connect, how many, and how long until they have logged in.
    pub listen: Listen,
    /// TLS towards clients.
    pub tls: Tls,
    /// Where PostgreSQL is.
    pub upstream: Upstream,
    /// Who may log in, and how.
    pub authentication: Files,
    /// The proxy's own login, by which it reads catalogs.
    pub catalog: CatalogLogin,
    /// The policy file.
    pub policy: PathBuf,
    /// The proxy's own store, and where commands for it arrive.
    pub store: StoreConfig,
    /// The longest time from an envelope's `iat` to its expiry that is honoured.
    pub max_validity: Duration,
    /// How far an envelope's `iat` may lie in the future.
    pub clock_skew: Duration,
    /// The longest message, in bytes, that is held to be understood.
    pub max_message: usize,
    /// Named prepared statements that a session may have open at a time.
    pub max_statements: usize,
    /// Named portals and cursors that a session may have open at a time.
    pub max_portals: usize,
    /// The account that the program becomes where it was started by root.
    pub user: Option<String>,
    /// The memory for cached plans, in bytes.
    pub plan_cache_bytes: u64,
    /// How often the databases' catalogs are looked at for DDL that went past the proxy.
    pub catalog_poll: Duration,
    /// The audit log, if one is kept.
    pub audit: Option<AuditOptions>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Least severe event that is logged.
    pub log_level: LogLevel,
}

/// The proxy's own store, and where commands for it arrive.
pub struct StoreConfig {
    /// The store's directory.
    pub directory: PathBuf,
    /// What it is locked by.
    pub lock: Lock,
    /// Where the admin port listens.
    pub listen: SocketAddr,
    /// A certificate chain (PEM) other than the self-signed one; its fingerprint is the pinned one then.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM), where it is not the store's.
    pub key: Option<PathBuf>,
}

/// The proxy's own login.
#[derive(Clone)]
pub struct CatalogLogin {
    /// Role.
    pub user: String,
    /// Password, where the server asks for one.
    pub password: Option<Zeroizing<String>>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// Least severe event that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// More of it.
    Debug,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: OneOrMore,
    unix_socket: Option<PathBuf>,
    max_connections: u64,
    max_connections_per_address: Option<u64>,
    authentication_timeout: u64,
    tls: RawTls,
    hba_file: Option<PathBuf>,
    ident_file: Option<PathBuf>,
    users_file: Option<PathBuf>,
    upstream: RawUpstream,
    catalog: RawCatalog,
    policy: PathBuf,
    state: PathBuf,
    lock: Lock,
    admin: RawAdmin,
    max_validity: u64,
    clock_skew: u64,
    max_message: u64,
    max_statements: u64,
    max_portals: u64,
    user: Option<String>,
    plan_cache_bytes: u64,
    catalog_poll: u64,
    audit: Option<RawAudit>,
    #[serde(default)]
    log_format: LogFormat,
    #[serde(default)]
    log_level: LogLevel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalog {
    user: String,
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdmin {
    listen: String,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Every key, for the environment: `upstream.host` is `TREFOIL_UPSTREAM_HOST`.
const KEYS: [&str; 47] = [
    "listen",
    "unix_socket",
    "max_connections",
    "max_connections_per_address",
    "authentication_timeout",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "tls.min_version",
    "tls.required",
    "hba_file",
    "ident_file",
    "users_file",
    "upstream.host",
    "upstream.port",
    "upstream.tls",
    "upstream.ca",
    "upstream.certificate",
    "upstream.key",
    "upstream.min_version",
    "catalog.user",
    "catalog.password",
    "policy",
    "state",
    "lock.key_file",
    "lock.aws_kms",
    "lock.endpoint",
    "lock.region",
    "admin.listen",
    "admin.certificate",
    "admin.key",
    "max_validity",
    "clock_skew",
    "max_message",
    "max_statements",
    "max_portals",
    "user",
    "plan_cache_bytes",
    "catalog_poll",
    "audit.file",
    "audit.blocking",
    "audit.max_bytes",
    "audit.keep",
    "audit.checkpoint_records",
    "audit.checkpoint_seconds",
    "log_format",
    "log_level",
];
const DEFAULTS: [(&str, &str); 15] = [
    ("listen", "127.0.0.1:6432"),
    ("max_connections", "4096"),
    ("authentication_timeout", "60"),
    ("tls.min_version", "1.3"),
    ("tls.required", "true"),
    ("admin.listen", "127.0.0.1:6434"),
    ("upstream.host", "127.0.0.1"),
    ("upstream.port", "5432"),
    ("max_validity", "60"),
    ("clock_skew", "5"),
    ("max_message", "67108864"),
    ("max_statements", "10000"),
    ("max_portals", "1000"),
    ("plan_cache_bytes", "67108864"),
    ("catalog_poll", "1"),
];
const MAX_VALIDITY: u64 = 24 * 60 * 60;
const MAX_SKEW: u64 = 5 * 60;
const MAX_POLL: u64 = 60;
/// PostgreSQL's own bound on a message is 1 GiB.
const MESSAGE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024;
/// Of statements, or of portals, in one session.
const NAMES: std::ops::RangeInclusive<u64> = 1..=1_000_000;

impl Config {
    /// Reads file, environment (by `variable`) and flags.
    pub fn load(
        arguments: &Arguments,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let text = arguments.config.as_deref().map(read).transpose()?;
        let raw = merge(text.as_deref(), arguments, variable).map_err(|reason| match &arguments.config {
            Some(file) => ConfigError::Keys { file: file.display().to_string(), reason },
            None => ConfigError::NoFile(reason),
        })?;
        Self::check(raw)
    }

    /// As whom the proxy's own connections log in; the database is still to be named.
    pub fn catalog_login(&self) -> tokio_postgres::Config {
        let mut login = tokio_postgres::Config::new();
        login.user(&self.catalog.user);
        if let Some(password) = &self.catalog.password {
            login.password(password.as_bytes());
        }
        login
    }

    fn check(raw: Raw) -> Result<Self, ConfigError> {
        Ok(Self {
            listen: Listen::check(
                raw.listen,
                raw.unix_socket,
                raw.max_connections,
                raw.max_connections_per_address,
                raw.authentication_timeout,
            )?,
            tls: Tls::check(raw.tls)?,
            upstream: Upstream::check(raw.upstream)?,
            authentication: Files { hba: raw.hba_file, ident: raw.ident_file, users: raw.users_file },
            catalog: CatalogLogin {
                user: filled("catalog.user", raw.catalog.user)?,
                password: raw.catalog.password.map(Zeroizing::new),
            },
            policy: raw.policy,
            store: store(raw.state, raw.lock, raw.admin)?,
            max_validity: seconds("max_validity", raw.max_validity, 1..=MAX_VALIDITY)?,
            clock_skew: seconds("clock_skew", raw.clock_skew, 0..=MAX_SKEW)?,
            max_message: number("max_message", raw.max_message, MESSAGE_BYTES)?,
            max_statements: number("max_statements", raw.max_statements, NAMES)?,
            max_portals: number("max_portals", raw.max_portals, NAMES)?,
            user: raw.user.map(|user| filled("user", user)).transpose()?,
            plan_cache_bytes: raw.plan_cache_bytes,
            catalog_poll: seconds("catalog_poll", raw.catalog_poll, 1..=MAX_POLL)?,
            audit: raw.audit.map(RawAudit::check).transpose()?,
            log_format: raw.log_format,
            log_level: raw.log_level,
        })
    }
}

/// Defaults, the file's text, environment and flags.
fn merge(
    text: Option<&str>,
    arguments: &Arguments,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Raw, config::ConfigError> {
    let mut builder = config::Config::builder();
    for (key, value) in DEFAULTS {
        builder = builder.set_default(key, value)?;
    }
    if let Some(text) = text {
        builder = builder.add_source(config::File::from_str(text, config::FileFormat::Toml));
    }
    for key in KEYS {
        builder = builder.set_override_option(key, variable(&variable_name(key)))?;
    }
    for (key, value) in [
        ("listen", &arguments.listen),
        ("upstream.host", &arguments.upstream_host),
        ("upstream.port", &arguments.upstream_port),
        ("policy", &arguments.policy),
        ("log_format", &arguments.log_format),
        ("log_level", &arguments.log_level),
    ] {
        builder = builder.set_override_option(key, value.clone())?;
    }
    builder.build()?.try_deserialize()
}

/// Whether an environment variable is one of ours.
pub fn is_known_variable(name: &str) -> bool {
    name == "TREFOIL_CONFIG" || KEYS.iter().any(|key| variable_name(key) == name)
}

fn variable_name(key: &str) -> String {
    format!("TREFOIL_{}", key.replace('.', "_").to_ascii_uppercase())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let name = || path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable { path: name(), reason })?;
    if let Err(error) = toml::de::DeTable::parse(&text) {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        return Err(ConfigError::Syntax { path: name(), line, problem: error.message().to_owned() });
    }
    Ok(text)
}

fn store(directory: PathBuf, lock: Lock, admin: RawAdmin) -> Result<StoreConfig, ConfigError> {
    let RawAdmin { listen, certificate, key } = admin;
    if key.is_some() && certificate.is_none() {
        return Err(ConfigError::Value {
            key: "admin.key",
            problem: "there is no certificate for it".to_owned(),
            remedy: "set `admin.certificate` too",
        });
    }
    let listen = address("admin.listen", &listen)?;
    Ok(StoreConfig { directory, lock, listen, certificate, key })
}

#[cfg(test)]
mod tests;
