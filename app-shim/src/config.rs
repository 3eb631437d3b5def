//! Configuration of `sidecar` and `init`, and of `agent`: a TOML file, then `TREFOIL_…` environment variables, then
//! flags; checked once into [`Config`]. Unknown keys are errors.

mod agent;
mod check;
mod error;
mod http;
mod limits;
mod managed;
mod transport;
mod user_from;

pub(crate) use agent::{Agent, AgentArguments, Grant, Rule};
pub(crate) use error::ConfigError;
pub(crate) use http::Http;
pub(crate) use limits::ConnectionLimits;
pub(crate) use managed::{Admin, Managed, ProxyAdmin};
pub(crate) use transport::{DataPort, Listen, ProxyTls, Tls};

use crate::user_from::UserFrom;
use check::within;
use clap::Args;
use http::RawHttp;
use managed::{RawAdmin, RawProxyAdmin};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use transport::{RawListen, RawProxyTls, RawTls};
use trefoil_keys::lock::Lock;
use user_from::RawUserFrom;

/// Flags of `sidecar`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    config: Option<PathBuf>,
    /// Check configuration, state and user bundle, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// Address to listen on, such as 127.0.0.1:6433, or several with commas; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where trefoil-proxy listens, such as 127.0.0.1:6432 or the path of a socket
    #[arg(long, value_name = "HOST:PORT")]
    proxy: Option<String>,
    /// Bundle of a user (JSON) for whom the shim makes envelopes where the application names nobody
    #[arg(long, value_name = "FILE")]
    act_for: Option<String>,
    /// Form of the log: text or json
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
    /// Least severe event to log: error, warn, info, debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the application connects.
    pub(crate) listen: Listen,
    /// The proxy's data port.
    pub(crate) proxy: DataPort,
    /// The application's shares, and who changes them.
    pub(crate) managed: Managed,
    /// The door for the application's users.
    pub(crate) http: Option<Http>,
    /// The bundle of the user to act for.
    pub(crate) act_for: Option<PathBuf>,
    /// How the application says whose shares a statement needs.
    pub(crate) user_from: UserFrom,
    /// For how many seconds envelopes of the shim's own making hold.
    pub(crate) envelope_lifetime: u64,
    /// The longest statement, in bytes.
    pub(crate) max_message: usize,
    /// The account that the program becomes where it was started by root.
    pub(crate) user: Option<String>,
    /// Limits of connections.
    pub(crate) limits: ConnectionLimits,
    /// Form of the log.
    pub(crate) log_format: LogFormat,
    /// Least severe event that is logged.
    pub(crate) log_level: LogLevel,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object for each event.
    Json,
}

/// Least severe event that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// What happened.
    Info,
    /// More of it.
    Debug,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: RawListen,
    unix_socket: Option<PathBuf>,
    tls: Option<RawTls>,
    proxy: String,
    proxy_tls: Option<RawProxyTls>,
    state: Option<PathBuf>,
    lock: Option<Lock>,
    admin: Option<RawAdmin>,
    proxy_admin: Option<RawProxyAdmin>,
    http: Option<RawHttp>,
    act_for: Option<PathBuf>,
    user_from: Option<RawUserFrom>,
    envelope_lifetime: u64,
    max_message: u64,
    user: Option<String>,
    max_connections: u64,
    max_connections_per_address: Option<u64>,
    authentication_timeout: u64,
    log_format: LogFormat,
    log_level: LogLevel,
}

/// Every key, for the environment: `act_for` is `TREFOIL_ACT_FOR`, `lock.key_file` is
/// `TREFOIL_LOCK_KEY_FILE`.
const KEYS: [&str; 42] = [
    "listen",
    "unix_socket",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "tls.client_certificate",
    "tls.min_version",
    "proxy",
    "proxy_tls.mode",
    "proxy_tls.ca",
    "proxy_tls.certificate",
    "proxy_tls.key",
    "state",
    "lock.key_file",
    "lock.aws_kms",
    "lock.endpoint",
    "lock.region",
    "admin.listen",
    "admin.client_ca",
    "admin.certificate",
    "admin.key",
    "proxy_admin.url",
    "proxy_admin.fingerprint",
    "http.listen",
    "http.application",
    "http.certificate",
    "http.key",
    "http.response_timeout",
    "act_for",
    "user_from.comment",
    "user_from.claim",
    "user_from.setting",
    "user_from.role",
    "user_from.application_name",
    "envelope_lifetime",
    "max_message",
    "user",
    "max_connections",
    "max_connections_per_address",
    "authentication_timeout",
    "log_format",
    "log_level",
];
const DEFAULTS: [(&str, &str); 8] = [
    ("listen", "127.0.0.1:6433"),
    ("proxy", "127.0.0.1:6432"),
    ("envelope_lifetime", "60"),
    ("max_message", "67108864"),
    ("max_connections", "400"),
    ("authentication_timeout", "60"),
    ("log_format", "text"),
    ("log_level", "info"),
];
const LIFETIME: RangeInclusive<u64> = 2..=24 * 60 * 60;
/// PostgreSQL's own bound on a message is 1 GiB.
const MESSAGE_BYTES: RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024;

impl Arguments {
    /// A configuration file and no flags.
    pub(crate) fn of_file(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }
}

impl Config {
    /// Reads file, environment (by `variable`) and flags.
    pub(crate) fn load(
        arguments: &Arguments,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let flags = [
            ("listen", &arguments.listen),
            ("proxy", &arguments.proxy),
            ("act_for", &arguments.act_for),
            ("log_format", &arguments.log_format),
            ("log_level", &arguments.log_level),
        ];
        let raw = merge(arguments.config.as_deref(), &DEFAULTS, &KEYS, variable, &flags)?;
        Self::check(raw)
    }

    fn check(raw: Raw) -> Result<Self, ConfigError> {
        let managed = Managed::check(raw.state, raw.lock, raw.admin, raw.proxy_admin)?;
        Ok(Self {
            listen: Listen::check(raw.listen, raw.unix_socket, raw.tls)?,
            proxy: DataPort::check(&raw.proxy, raw.proxy_tls, managed.proxy_admin.fingerprint)?,
            managed,
            http: raw.http.map(RawHttp::check).transpose()?,
            user_from: RawUserFrom::check(raw.user_from, raw.act_for.is_some())?,
            act_for: raw.act_for,
            envelope_lifetime: within("envelope_lifetime", raw.envelope_lifetime, LIFETIME)?,
            max_message: usize::try_from(within("max_message", raw.max_message, MESSAGE_BYTES)?)
                .unwrap_or(usize::MAX),
            user: raw.user,
            limits: ConnectionLimits::check(
                raw.max_connections,
                raw.max_connections_per_address,
                raw.authentication_timeout,
            )?,
            log_format: raw.log_format,
            log_level: raw.log_level,
        })
    }
}

/// Defaults, file, environment and flags, each over the ones before.
fn merge<T: DeserializeOwned>(
    file: Option<&Path>,
    defaults: &[(&str, &str)],
    keys: &[&str],
    variable: impl Fn(&str) -> Option<String>,
    flags: &[(&str, &Option<String>)],
) -> Result<T, ConfigError> {
    let text = file.map(read).transpose()?;
    let layers = || {
        let mut builder = config::Config::builder();
        for (key, value) in defaults {
            builder = builder.set_default(key, *value)?;
        }
        if let Some(text) = &text {
            builder = builder.add_source(config::File::from_str(text, config::FileFormat::Toml));
        }
        for key in keys {
            let name = format!("TREFOIL_{}", key.replace('.', "_").to_ascii_uppercase());
            builder = builder.set_override_option(key, variable(&name))?;
        }
        for (key, value) in flags {
            builder = builder.set_override_option(key, (*value).clone())?;
        }
        builder.build()?.try_deserialize()
    };
    layers().map_err(|reason| match file {
        Some(file) => ConfigError::Keys { file: file.display().to_string(), reason },
        None => ConfigError::NoFile(reason),
    })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.display().to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const FILE: &str = "listen = '127.0.0.1:0'\nstate = 'a'\nact_for = 'u.json'\nenvelope_lifetime = 30\n\
        lock = { key_file = 'k' }\n[proxy_admin]\nurl = 'https://127.0.0.1:1'\n\
        fingerprint = '0000000000000000000000000000000000000000000000000000000000000000'\n";

    fn load(file: &str, variables: &[(&str, &str)], listen: Option<&str>) -> Result<Config, String> {
        let mut on_disk = tempfile::NamedTempFile::new().unwrap();
        on_disk.write_all(file.as_bytes()).unwrap();
        let arguments = Arguments {
            config: Some(on_disk.path().to_owned()),
            listen: listen.map(str::to_owned),
            ..Arguments::default()
        };
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        Config::load(&arguments, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let config = load(FILE, &[], None).unwrap();
        let listens = |config: &Config| format!("{:?}", config.listen.addresses);
        assert_eq!(
            (listens(&config), config.proxy.address.to_string()),
            (r#"[("127.0.0.1", 0)]"#.to_owned(), "127.0.0.1:6432".to_owned())
        );
        assert_eq!((config.envelope_lifetime, config.log_format), (30, LogFormat::Text));
        let variables = [("TREFOIL_LISTEN", "127.0.0.1:1"), ("TREFOIL_ENVELOPE_LIFETIME", "9")];
        let config = load(FILE, &variables, None).unwrap();
        assert_eq!((listens(&config).as_str(), config.envelope_lifetime), (r#"[("127.0.0.1", 1)]"#, 9));
        assert_eq!(listens(&load(FILE, &variables, Some("[::1]:2")).unwrap()), r#"[("::1", 2)]"#);
    }

    #[test]
    fn says_once_and_in_which_file_what_is_wrong() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nobody = 1").unwrap();
        let name = file.path().display().to_string();
        for (config, reason) in [
            (Some(file.path().to_owned()), name.as_str()),
            (Some("/nonexistent".into()), "/nonexistent: No such file"),
            (None, "--config"),
        ] {
            let arguments = Arguments { config, ..Arguments::default() };
            let error = Config::load(&arguments, |_| None).err().unwrap();
            assert!(error.to_string().contains(reason), "{error}");
            assert!(std::error::Error::source(&error).is_none(), "{error}");
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        for (file, reason) in [
            (FILE.replace("127.0.0.1", "0.0.0.0"), "loopback"),
            (FILE.replace("= 30", "= 30\nauthentication_timeout = 0"), "between"),
            (FILE.replace("= 30", "= 30\nmax_connections = 0"), "between"),
            (FILE.replace("127.0.0.1:0", "here"), "not an address"),
            (FILE.replace("= 30", "= 1"), "between"),
            (FILE.replace("act_for", "act_four"), "act_four"),
            (FILE.replace("state = 'a'", ""), "`state`"),
            (FILE.replace("state = 'a'", "state = 'a'\nproxy = 'x'"), "neither a host"),
            (FILE.replace("state = 'a'", "state = 'a'\nlog_format = 'xml'"), "xml"),
            (FILE.to_owned() + "[user_from]\nrole = true", "act_for"),
        ] {
            let error = load(&file, &[], None).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
