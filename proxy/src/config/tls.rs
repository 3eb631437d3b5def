//! TLS towards clients.

use super::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain (PEM); without one, the admin port's certificate is shown here, too.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM), where it is not the store's.
    pub key: Option<PathBuf>,
    /// The authorities (PEM) whose certificates clients may show.
    pub client_ca: Option<PathBuf>,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub tls12: bool,
    /// Whether connections in clear are refused that come from another machine.
    pub required: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    min_version: String,
    required: bool,
}

impl Tls {
    pub(super) fn check(raw: RawTls) -> Result<Self, ConfigError> {
        let RawTls { certificate, key, client_ca, min_version, required } = raw;
        if key.is_some() && certificate.is_none() {
            return Err(ConfigError::Value {
                key: "tls.key",
                problem: "there is no certificate for it".to_owned(),
                remedy: "set `tls.certificate` too",
            });
        }
        let tls12 = match min_version.as_str() {
            "1.2" => true,
            "1.3" => false,
            other => {
                return Err(ConfigError::Value {
                    key: "tls.min_version",
                    problem: format!("`{other}` is no version of TLS that is spoken here"),
                    remedy: "write \"1.3\", or \"1.2\" for old clients",
                });
            }
        };
        Ok(Self { certificate, key, client_ca, tls12, required })
    }
}
