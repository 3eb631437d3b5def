//! Configuration of `agent`: which origin, whose share, and how much of it a request gets, by its path and
//! method.

use super::check::{address, within};
use super::http::response_timeout;
use super::transport::Version;
use super::{ConfigError, LIFETIME, LogFormat, LogLevel, merge};
use crate::envelope::Limits;
use crate::http::Origin;
use axum::http::Method;
use axum::http::uri::Authority;
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use trefoil_keys::envelope::{Scope, are_tables};
use trefoil_link::Trust;

/// Flags of `agent`.
#[derive(Debug, Default, Args)]
pub(crate) struct AgentArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    config: Option<PathBuf>,
    /// Check configuration and user bundle, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// Loopback address to listen on, such as 127.0.0.1:8480; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The address of the application: https, host and port
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// The user's bundle, locked by `agent import` or as trefoil-admin issued it
    #[arg(long, value_name = "FILE")]
    bundle: Option<String>,
    /// File descriptor to read the bundle's passphrase from, in place of a prompt
    #[arg(long, value_name = "FD")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Form of the log: text or json
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
    /// Least severe event to log: error, warn, info, debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The checked configuration.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Where the browser connects: a loopback address.
    pub(crate) listen: SocketAddr,
    /// Further names by which the browser knows that address, without a port.
    pub(crate) names: Vec<String>,
    /// The application.
    pub(crate) origin: Origin,
    /// Whose certificate the application may show.
    pub(crate) trust: Trust,
    /// Whether TLS 1.2 is spoken with it, too.
    pub(crate) tls12: bool,
    /// The user's bundle.
    pub(crate) bundle: PathBuf,
    /// What requests get, the first that fits; the last one fits all.
    pub(crate) rules: Vec<Rule>,
    /// How long the application may neither take nor send anything before it answers.
    pub(crate) response_timeout: Duration,
    /// Form of the log.
    pub(crate) log_format: LogFormat,
    /// Least severe event that is logged.
    pub(crate) log_level: LogLevel,
}

/// What requests of a kind get.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Pattern of the path: `*` is any part of a segment, `**` any part of the path.
    pub(crate) path: String,
    /// Methods; all if empty.
    pub(crate) methods: Vec<Method>,
    /// The envelope for methods that are safe, and for the others.
    pub(crate) grants: [Grant; 2],
}

/// An envelope of these limits, or none.
pub(crate) type Grant = Option<Limits>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: String,
    origin: String,
    bundle: PathBuf,
    #[serde(default)]
    names: Vec<String>,
    ca: Option<PathBuf>,
    min_version: Option<Version>,
    allow_cleartext: bool,
    envelope_lifetime: u64,
    response_timeout: Option<u64>,
    log_format: LogFormat,
    log_level: LogLevel,
    #[serde(default)]
    rule: Vec<RawRule>,
}

/// [`Rule`] as the file has it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    path: String,
    #[serde(default)]
    methods: Vec<String>,
    scope: Option<RawScope>,
    lifetime: Option<u64>,
    max_uses: Option<u32>,
    tables: Option<BTreeSet<String>>,
    audience: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawScope {
    None,
    Read,
    Write,
}

const KEYS: [&str; 10] = [
    "listen",
    "origin",
    "bundle",
    "ca",
    "min_version",
    "allow_cleartext",
    "envelope_lifetime",
    "response_timeout",
    "log_format",
    "log_level",
];
const DEFAULTS: [(&str, &str); 5] = [
    ("listen", "127.0.0.1:8480"),
    ("allow_cleartext", "false"),
    ("envelope_lifetime", "60"),
    ("log_format", "text"),
    ("log_level", "info"),
];
/// Each multiplies the time that a path takes to be looked at.
const MAX_WILDCARDS: usize = 3;

impl Agent {
    /// Reads file, environment (by `variable`) and flags.
    pub(crate) fn load(
        arguments: &AgentArguments,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let flags = [
            ("listen", &arguments.listen),
            ("origin", &arguments.origin),
            ("bundle", &arguments.bundle),
            ("log_format", &arguments.log_format),
            ("log_level", &arguments.log_level),
        ];
        Self::check(merge(arguments.config.as_deref(), &DEFAULTS, &KEYS, variable, &flags)?)
    }

    fn check(raw: Raw) -> Result<Self, ConfigError> {
        let listen = loopback("listen", &raw.listen)?;
        let lifetime = within("envelope_lifetime", raw.envelope_lifetime, LIFETIME)?;
        let rest = RawRule { path: "**".to_owned(), ..RawRule::default() };
        let rules: Result<_, _> =
            raw.rule.into_iter().chain([rest]).map(|rule| rule.check(lifetime)).collect();
        Ok(Self {
            listen,
            names: raw.names.into_iter().map(name).collect::<Result<_, _>>()?,
            origin: origin(&raw.origin, raw.allow_cleartext)?,
            trust: raw.ca.map_or(Trust::System, Trust::Authority),
            tls12: raw.min_version == Some(Version::Tls12),
            bundle: raw.bundle,
            rules: rules?,
            response_timeout: response_timeout("response_timeout", raw.response_timeout)?,
            log_format: raw.log_format,
            log_level: raw.log_level,
        })
    }
}

impl RawRule {
    fn check(self, lifetime: u64) -> Result<Rule, ConfigError> {
        let wrong = |problem, remedy| ConfigError::Value { key: "rule", problem, remedy };
        let Self { path, methods, scope, lifetime: own_lifetime, max_uses, tables, audience } = self;
        let wildcards = path.replace("**", "*").matches('*').count();
        if !path.starts_with(['/', '*']) || wildcards > MAX_WILDCARDS {
            let remedy = "write it like /api/** or /users/*/photo, with three wildcards at most";
            return Err(wrong(format!("the path `{path}` is not a pattern"), remedy));
        }
        let limits = own_lifetime.is_some() || max_uses.is_some() || tables.is_some() || audience.is_some();
        if scope == Some(RawScope::None) && limits {
            let remedy = "take the limits away, or let it have scope read or write";
            return Err(wrong(format!("the path `{path}` gets no envelope, but limits of one"), remedy));
        }
        if max_uses == Some(0) || audience.as_ref().is_some_and(String::is_empty) {
            let remedy = "write max_uses = 1 or more and a name as audience, or neither";
            return Err(wrong(format!("the limits for the path `{path}` leave nothing"), remedy));
        }
        if tables.as_ref().is_some_and(|tables| !are_tables(tables)) {
            let remedy = "write them like public.patients, as PostgreSQL stores their names";
            return Err(wrong(format!("the tables for the path `{path}` are none"), remedy));
        }
        let methods = methods.iter().map(|method| {
            let malformed = |_| wrong(format!("`{method}` is not a method"), "write it like GET");
            method.parse().map_err(malformed)
        });
        let methods = methods.collect::<Result<_, _>>()?;
        let lifetime = within("rule.lifetime", own_lifetime.unwrap_or(lifetime), LIFETIME)?;
        let grant = |by_method| {
            let scope = match scope {
                None => by_method,
                Some(RawScope::None) => return None,
                Some(RawScope::Read) => Scope::Read,
                Some(RawScope::Write) => Scope::Write,
            };
            Some(Limits { scope, lifetime, max_uses, tables: tables.clone(), audience: audience.clone() })
        };
        Ok(Rule { path, methods, grants: [grant(Scope::Read), grant(Scope::Write)] })
    }
}

fn origin(text: &str, allow_cleartext: bool) -> Result<Origin, ConfigError> {
    let wrong = |problem, remedy| ConfigError::Value { key: "origin", problem, remedy };
    let origin: Origin =
        text.parse().map_err(|error| wrong(format!("{error}"), "write it like https://app.example"))?;
    if !origin.is_encrypted() && !origin.is_loopback() && !allow_cleartext {
        return Err(wrong(
            format!("envelopes would go to {origin} in clear, and whoever reads one can use it"),
            "use https, or set allow_cleartext = true if the way there is safe by other means",
        ));
    }
    Ok(origin)
}

fn loopback(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let address = address(key, text)?;
    if !address.ip().is_loopback() {
        return Err(ConfigError::Value {
            key,
            problem: format!(
                "{address} is not a loopback address, and whoever reaches it acts with the shares"
            ),
            remedy: "listen on 127.0.0.1 or [::1]",
        });
    }
    Ok(address)
}

/// A name without a port.
fn name(text: String) -> Result<String, ConfigError> {
    match text.parse::<Authority>() {
        Ok(authority) if authority.host() == text => Ok(text.to_ascii_lowercase()),
        _ => Err(ConfigError::Value {
            key: "names",
            problem: format!("`{text}` is not a host's name"),
            remedy: "write it like clinic.localhost, without a port",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Agent, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let arguments = AgentArguments { config: Some(file.path().to_owned()), ..AgentArguments::default() };
        Agent::load(&arguments, |_| None).map_err(|error| error.to_string())
    }

    const FILE: &str = "origin = 'https://app.example'\nbundle = 'alice.trefoil'\n";

    #[test]
    fn rules_narrow_what_a_method_gets() {
        let agent = load(&format!(
            "{FILE}envelope_lifetime = 30\n[[rule]]\npath = '/static/**'\nscope = 'none'\n\
             [[rule]]\npath = '/pay'\nmethods = ['POST']\nmax_uses = 1\nlifetime = 5\naudience = 'bank'\n\
             [[rule]]\npath = '/socket'\nscope = 'write'\n"
        ))
        .unwrap();
        let limits = Limits::new;
        let counted =
            |scope| Some(Limits { max_uses: Some(1), audience: Some("bank".to_owned()), ..limits(scope, 5) });
        let grants: Vec<_> = agent.rules.into_iter().map(|rule| rule.grants).collect();
        let both = [Limits::new(Scope::Read, 30), Limits::new(Scope::Write, 30)].map(Some);
        let write = [Limits::new(Scope::Write, 30), Limits::new(Scope::Write, 30)].map(Some);
        assert_eq!(grants, [[None, None], [Scope::Read, Scope::Write].map(counted), write, both]);
    }

    #[test]
    fn refuses_with_the_reason() {
        assert!(load(FILE).is_ok());
        assert!(load("origin = 'http://127.0.0.1:1'\nbundle = 'a'").is_ok());
        assert!(!load(FILE).unwrap().tls12 && load(&format!("{FILE}min_version = '1.2'")).unwrap().tls12);
        assert!(load("origin = 'http://app.example'\nbundle = 'a'\nallow_cleartext = true").is_ok());
        for (text, reason) in [
            ("origin = 'http://app.example'\nbundle = 'a'".to_owned(), "in clear"),
            ("origin = 'https://app.example/x'\nbundle = 'a'".to_owned(), "web server alone"),
            ("origin = 'https://app.example'".to_owned(), "bundle"),
            (format!("{FILE}listen = '0.0.0.0:1'"), "loopback"),
            (format!("{FILE}names = ['clinic.localhost:1']"), "a host's name"),
            (format!("{FILE}envelope_lifetime = 1"), "between"),
            (format!("{FILE}min_version = '1.1'"), "1.1"),
            (format!("{FILE}[[rule]]\npath = 'api'"), "not a pattern"),
            (format!("{FILE}[[rule]]\npath = '/*/*/*/**'"), "not a pattern"),
            (format!("{FILE}[[rule]]\npath = '/'\nscope = 'admin'"), "admin"),
            (format!("{FILE}[[rule]]\npath = '/'\nscope = 'none'\nmax_uses = 1"), "limits of one"),
            (format!("{FILE}[[rule]]\npath = '/'\nmax_uses = 0"), "leave nothing"),
            (format!("{FILE}[[rule]]\npath = '/'\ntables = ['patients']"), "are none"),
            (format!("{FILE}[[rule]]\npath = '/'\nmethods = ['GE T']"), "not a method"),
            (format!("{FILE}[[rule]]\npath = '/'\nuses = 1"), "uses"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
