//! The part of the configuration for a sidecar that the tenant admin manages: state directory, its
//! lock, the HTTPS interface, and the proxy's admin port.

use super::ConfigError;
use super::check::{address, both};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use trefoil_keys::lock::Lock;
use trefoil_keys::tls::Fingerprint;

/// A sidecar that the tenant admin manages.
#[derive(Debug)]
pub(crate) struct Managed {
    /// The state directory.
    pub(crate) state: PathBuf,
    /// What locks the store in it.
    pub(crate) lock: Lock,
    /// The HTTPS interface for the tenant admin.
    pub(crate) admin: Admin,
    /// The proxy's admin port.
    pub(crate) proxy_admin: ProxyAdmin,
}

/// The HTTPS interface for the tenant admin.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Certificates (PEM) of who issues the client certificates that are then required.
    pub(crate) client_ca: Option<PathBuf>,
    /// Files (PEM) of a certificate and its private key, in place of the store's own.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// The proxy's admin port.
#[derive(Debug)]
pub(crate) struct ProxyAdmin {
    /// `https://host:port`, without a path.
    pub(crate) url: String,
    /// Of the proxy's certificate.
    pub(crate) fingerprint: Fingerprint,
}

/// [`Admin`] as the file has it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    listen: Option<String>,
    client_ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// [`ProxyAdmin`] as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxyAdmin {
    url: String,
    fingerprint: String,
}

const LISTEN: &str = "127.0.0.1:6435";

impl Managed {
    pub(super) fn check(
        state: Option<PathBuf>,
        lock: Option<Lock>,
        admin: Option<RawAdmin>,
        proxy_admin: Option<RawProxyAdmin>,
    ) -> Result<Self, ConfigError> {
        let missing =
            |key, remedy| move || ConfigError::Value { key, problem: "it is missing".to_owned(), remedy };
        let state =
            state.ok_or_else(missing("state", "name the state directory in the file that --config gives"))?;
        let lock = lock.ok_or_else(missing(
            "lock",
            "name what locks the state: [lock] with key_file, or with aws_kms",
        ))?;
        let proxy_admin = proxy_admin.ok_or_else(missing(
            "proxy_admin",
            "name the proxy's admin port: [proxy_admin] with url and fingerprint",
        ))?;
        let admin = admin.unwrap_or_default().check()?;
        Ok(Self { state, lock, admin, proxy_admin: proxy_admin.check()? })
    }
}

impl RawAdmin {
    fn check(self) -> Result<Admin, ConfigError> {
        let remedy = "name both files, or neither to use the certificate that init made";
        let certificate = both("admin.certificate", self.certificate, self.key, remedy)?;
        let listen = address("admin.listen", self.listen.as_deref().unwrap_or(LISTEN))?;
        Ok(Admin { listen, client_ca: self.client_ca, certificate })
    }
}

impl RawProxyAdmin {
    fn check(self) -> Result<ProxyAdmin, ConfigError> {
        let url = self.url.trim_end_matches('/').to_owned();
        let host = url.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(ConfigError::Value {
                key: "proxy_admin.url",
                problem: format!("`{url}` is not the address of an HTTPS server"),
                remedy: "write it like https://127.0.0.1:6434",
            });
        }
        let fingerprint = self.fingerprint.parse().map_err(|_| ConfigError::Value {
            key: "proxy_admin.fingerprint",
            problem: format!("`{}` is not the SHA-256 fingerprint of a certificate", self.fingerprint),
            remedy: "copy it from what trefoil-proxy init has printed: 64 hexadecimal digits",
        })?;
        Ok(ProxyAdmin { url, fingerprint })
    }
}
