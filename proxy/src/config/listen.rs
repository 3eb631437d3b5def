//! Where clients connect, how many at a time, and how long they may take to log in.

use super::ConfigError;
use super::check::{number, seconds};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use trefoil_link::Address;

/// As many as PostgreSQL's own bound on sessions is far below.
const MAX_CONNECTIONS: u64 = 262_143;
/// PostgreSQL's bound.
const MAX_TIMEOUT: u64 = 600;

/// Where clients connect, how many at a time, and how long they may take to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Hosts with ports. A name stands for all its addresses.
    pub addresses: Vec<(String, u16)>,
    /// The socket file.
    pub unix_socket: Option<PathBuf>,
    /// Sessions at a time.
    pub max_connections: usize,
    /// Of them, from one address (IPv6: one /64).
    pub max_connections_per_address: usize,
    /// From the connection to the login.
    pub authentication_timeout: Duration,
}

/// One text, with commas between its parts, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Listen {
    pub(super) fn check(
        listen: OneOrMore,
        unix_socket: Option<PathBuf>,
        max_connections: u64,
        max_connections_per_address: Option<u64>,
        authentication_timeout: u64,
    ) -> Result<Self, ConfigError> {
        let texts: Vec<String> = match listen {
            OneOrMore::One(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            OneOrMore::More(texts) => texts,
        };
        let addresses = texts.iter().map(|text| tcp(text)).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() && unix_socket.is_none() {
            return Err(ConfigError::Value {
                key: "listen",
                problem: "there is no address, and no `unix_socket` either".to_owned(),
                remedy: "name one of them, as in listen = \"127.0.0.1:6432\"",
            });
        }
        if let Some(path) = unix_socket.as_ref().filter(|path| !path.is_absolute() || path.is_dir()) {
            return Err(ConfigError::Value {
                key: "unix_socket",
                problem: format!("`{}` is not the absolute path of a socket file", path.display()),
                remedy: "name the file, as in /run/trefoil/.s.PGSQL.6432, so that psql -h /run/trefoil -p 6432 finds it",
            });
        }
        let per_address = max_connections_per_address.unwrap_or(max_connections);
        Ok(Self {
            addresses,
            unix_socket,
            max_connections: number("max_connections", max_connections, 1..=MAX_CONNECTIONS)?,
            max_connections_per_address: number(
                "max_connections_per_address",
                per_address,
                1..=MAX_CONNECTIONS,
            )?,
            authentication_timeout: seconds(
                "authentication_timeout",
                authentication_timeout,
                1..=MAX_TIMEOUT,
            )?,
        })
    }
}

fn tcp(text: &str) -> Result<(String, u16), ConfigError> {
    match text.parse() {
        Ok(Address::Tcp(host, port)) => Ok((host, port)),
        Ok(Address::Unix(_)) => Err(ConfigError::Value {
            key: "listen",
            problem: format!("`{text}` is the path of a socket"),
            remedy: "name it by `unix_socket`",
        }),
        Err(_) => Err(ConfigError::Value {
            key: "listen",
            problem: format!("`{text}` is not an address with a port"),
            remedy: "write it like 127.0.0.1:6432, [::1]:6432 or localhost:6432, or several as a list",
        }),
    }
}
