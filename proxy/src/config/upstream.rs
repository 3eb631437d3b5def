//! `[upstream]`: where the database server is, and how it is reached.

use super::{ConfigError, filled};
use crate::upstream::{Server, ServerError, Tls};
use serde::Deserialize;
use std::path::PathBuf;
use trefoil_link::{Address, Trust};

/// Where PostgreSQL is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Host name or address; with a leading `/`, the directory of its socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS; none for a Unix socket, and where it is switched off.
    pub tls: Option<Tls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    host: String,
    port: u16,
    #[serde(default)]
    tls: UpstreamTls,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    min_version: MinVersion,
}

/// How the server is known.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UpstreamTls {
    /// By a certificate in its name.
    #[default]
    VerifyFull,
    /// Not at all: in clear.
    Disable,
}

/// The oldest version of TLS that will do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum MinVersion {
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
    #[serde(rename = "1.2")]
    Tls12,
}

impl Upstream {
    /// The server, with the files for TLS read.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn server(&self) -> Result<Server, ServerError> {
        Server::new(Address::new(&self.host, self.port), self.tls.clone())
    }

    pub(super) fn check(raw: RawUpstream) -> Result<Self, ConfigError> {
        let RawUpstream { host, port, tls, ca, certificate, key, min_version } = raw;
        let host = filled("upstream.host", host)?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(ConfigError::Value {
                    key: "upstream.certificate",
                    problem: "a certificate and its private key belong together".to_owned(),
                    remedy: "set `upstream.certificate` and `upstream.key`, or neither",
                });
            }
        };
        if tls == UpstreamTls::Disable && (ca.is_some() || identity.is_some()) {
            return Err(ConfigError::Value {
                key: "upstream.tls",
                problem: "`ca`, `certificate` and `key` have no use without TLS".to_owned(),
                remedy: "remove them, or set `tls = \"verify-full\"`",
            });
        }
        let trust = ca.map_or(Trust::System, Trust::Authority);
        let tls12 = min_version == MinVersion::Tls12;
        let wanted = tls == UpstreamTls::VerifyFull && !host.starts_with('/');
        let tls = wanted.then(|| Tls { name: host.clone(), trust, identity, tls12 });
        Ok(Self { host, port, tls })
    }
}
