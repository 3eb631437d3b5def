//! The part of the configuration for PostgreSQL's connections: where the sidecar listens, the TLS that it
//! offers there, and where the proxy is.
//!
//! Invariant: what can be configured here sends nothing in clear over a network.

use super::ConfigError;
use super::check::both;
use serde::Deserialize;
use std::path::PathBuf;
use trefoil_keys::tls::Fingerprint;
use trefoil_link::{Address, Trust};

/// Where the application connects.
#[derive(Debug)]
pub(crate) struct Listen {
    /// Hosts with ports, a name for all its addresses; without TLS on this machine alone.
    pub(crate) addresses: Vec<(String, u16)>,
    /// The file of a Unix socket.
    pub(crate) unix_socket: Option<PathBuf>,
    /// TLS.
    pub(crate) tls: Option<Tls>,
}

/// TLS as it is offered to the application.
#[derive(Debug)]
pub(crate) struct Tls {
    /// Files (PEM) of a certificate and its private key.
    pub(crate) certificate: (PathBuf, PathBuf),
    /// Certificates (PEM) of who issues those that clients show.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether a client without a certificate gets no further.
    pub(crate) clients_must: bool,
    /// Whether TLS 1.2 is spoken, too.
    pub(crate) tls12: bool,
}

/// The proxy's data port.
#[derive(Debug)]
pub(crate) struct DataPort {
    /// Where it is.
    pub(crate) address: Address,
    /// TLS; none for a proxy on this machine, unless asked for.
    pub(crate) tls: Option<ProxyTls>,
}

/// TLS towards the proxy.
#[derive(Clone, Debug)]
pub(crate) struct ProxyTls {
    /// The host, for which a certificate is.
    pub(crate) name: String,
    /// Whose certificate it may show.
    pub(crate) trust: Trust,
    /// Files (PEM) of the sidecar's own certificate and its private key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// One address or several; separated by commas where it is one text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawListen {
    One(String),
    Several(Vec<String>),
}

/// [`Tls`] as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    client_certificate: Option<ClientCertificate>,
    min_version: Option<Version>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClientCertificate {
    Required,
    Optional,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Version {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// [`ProxyTls`] as the file has it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxyTls {
    mode: Option<Mode>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Disable,
    Require,
}

impl Listen {
    pub(super) fn check(
        listen: RawListen,
        unix_socket: Option<PathBuf>,
        tls: Option<RawTls>,
    ) -> Result<Self, ConfigError> {
        let texts = match listen {
            RawListen::One(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
            RawListen::Several(texts) => texts,
        };
        let tls = tls.map(RawTls::check).transpose()?;
        let addresses = texts.iter().map(|text| tcp(text, tls.is_some()));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() && unix_socket.is_none() {
            return Err(ConfigError::Value {
                key: "listen",
                problem: "it is empty, and there is no `unix_socket`".to_owned(),
                remedy: "name an address like 127.0.0.1:6433",
            });
        }
        if unix_socket.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(ConfigError::Value {
                key: "unix_socket",
                problem: "it is not the path of a file from the root".to_owned(),
                remedy: "write it like /run/trefoil/.s.PGSQL.6433, which is found by `psql -h /run/trefoil -p 6433`",
            });
        }
        Ok(Self { addresses, unix_socket, tls })
    }
}

fn tcp(text: &str, encrypted: bool) -> Result<(String, u16), ConfigError> {
    let refuse = |problem, remedy| Err(ConfigError::Value { key: "listen", problem, remedy });
    let address = match text.parse() {
        Ok(address @ Address::Tcp(..)) => address,
        _ => {
            let remedy = "write it like 127.0.0.1:6433, [::1]:6433 or localhost:6433; a socket's path is `unix_socket`";
            return refuse(format!("`{text}` is not an address with a port"), remedy);
        }
    };
    match (address.is_local(), address) {
        (local, Address::Tcp(host, port)) if local || encrypted => Ok((host, port)),
        _ => refuse(
            format!(
                "{text} is not a loopback address, and passwords and data would cross a network in clear"
            ),
            "name certificate and key in [tls], or listen on 127.0.0.1 or [::1]",
        ),
    }
}

impl RawTls {
    fn check(self) -> Result<Tls, ConfigError> {
        let remedy = "name both files, or take [tls] away to listen in clear on loopback addresses";
        let certificate =
            both("tls.certificate", self.certificate, self.key, remedy)?.ok_or(ConfigError::Value {
                key: "tls.certificate",
                problem: "it is missing".to_owned(),
                remedy,
            })?;
        if self.client_certificate.is_some() && self.client_ca.is_none() {
            return Err(ConfigError::Value {
                key: "tls.client_certificate",
                problem: "there is nothing to verify client certificates with".to_owned(),
                remedy: "name the certificates of who issues them by client_ca",
            });
        }
        Ok(Tls {
            certificate,
            clients_must: self.client_ca.is_some()
                && self.client_certificate != Some(ClientCertificate::Optional),
            client_ca: self.client_ca,
            tls12: self.min_version == Some(Version::Tls12),
        })
    }
}

impl DataPort {
    /// Without a CA, the certificate is the one with the fingerprint by which the admin port is known.
    pub(super) fn check(
        proxy: &str,
        tls: Option<RawProxyTls>,
        known: Fingerprint,
    ) -> Result<Self, ConfigError> {
        let address: Address = proxy.parse().map_err(|error| ConfigError::Value {
            key: "proxy",
            problem: format!("{error}"),
            remedy: "write it like 127.0.0.1:6432, or /run/trefoil/.s.PGSQL.6432",
        })?;
        let RawProxyTls { mode, ca, certificate, key } = tls.unwrap_or_default();
        let remedy = "name both files, or neither to show the proxy no certificate";
        let certificate = both("proxy_tls.certificate", certificate, key, remedy)?;
        let refuse =
            |problem: String, remedy| Err(ConfigError::Value { key: "proxy_tls.mode", problem, remedy });
        let asked = mode == Some(Mode::Require) || ca.is_some() || certificate.is_some();
        match (&address, mode) {
            (Address::Tcp(..), Some(Mode::Disable)) if !address.is_local() => refuse(
                format!(
                    "the proxy at {address} is not on this machine, and shares would cross a network in clear"
                ),
                "take it away: TLS is then required",
            ),
            (_, Some(Mode::Disable)) if asked => {
                refuse("it is off, and certificates are named".to_owned(), "take them away, or the mode")
            }
            (Address::Unix(_), _) if asked => refuse(
                format!("{address} is a Unix socket, which has no TLS"),
                "take [proxy_tls] away, or name the proxy by host and port",
            ),
            (Address::Tcp(name, _), _) if asked || !address.is_local() => {
                let trust = ca.map_or(Trust::Pinned(known), Trust::Authority);
                let tls = ProxyTls { name: name.clone(), trust, certificate };
                Ok(Self { address, tls: Some(tls) })
            }
            _ => Ok(Self { address, tls: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "0000000000000000000000000000000000000000000000000000000000000001";

    fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> T {
        let source = config::File::from_str(text, config::FileFormat::Toml);
        config::Config::builder().add_source(source).build().unwrap().try_deserialize().unwrap()
    }

    fn port(proxy: &str, tls: &str) -> Result<DataPort, String> {
        let tls = (tls != "none").then(|| parsed(tls));
        DataPort::check(proxy, tls, PIN.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_proxy_elsewhere_is_never_spoken_to_in_clear() {
        let pinned = || Some(Trust::Pinned(PIN.parse().unwrap()));
        let authority = || Some(Trust::Authority("a".into()));
        for (proxy, tls, expected) in [
            ("127.0.0.1:1", "none", None),
            ("localhost:1", "mode = 'disable'", None),
            ("/run/proxy", "none", None),
            ("[::1]:1", "mode = 'require'", pinned()),
            ("localhost:1", "ca = 'a'", authority()),
            ("proxy.example:1", "none", pinned()),
            ("10.0.0.1:1", "certificate = 'c'\nkey = 'k'", pinned()),
            ("10.0.0.1:1", "ca = 'a'\nmode = 'require'", authority()),
        ] {
            let found = port(proxy, tls).unwrap();
            assert_eq!(found.tls.map(|tls| tls.trust), expected, "{proxy} {tls}");
        }
        for (proxy, tls, reason) in [
            ("10.0.0.1:1", "mode = 'disable'", "in clear"),
            ("proxy.example:1", "mode = 'disable'\nca = 'a'", "in clear"),
            ("127.0.0.1:1", "mode = 'disable'\nca = 'a'", "certificates are named"),
            ("/run/proxy", "mode = 'require'", "no TLS"),
            ("10.0.0.1:1", "certificate = 'c'", "only one of"),
            ("proxy", "none", "neither a host"),
        ] {
            let error = port(proxy, tls).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    fn listen(text: &str) -> Result<Listen, String> {
        #[derive(Deserialize)]
        struct Raw {
            listen: RawListen,
            unix_socket: Option<PathBuf>,
            tls: Option<RawTls>,
        }
        let Raw { listen, unix_socket, tls } = parsed(text);
        Listen::check(listen, unix_socket, tls).map_err(|error| error.to_string())
    }

    #[test]
    fn other_addresses_than_loopback_need_a_certificate() {
        const TLS: &str = "[tls]\ncertificate = 'c'\nkey = 'k'\n";
        let several = listen("listen = ['127.0.0.1:1', '[::1]:2']").unwrap();
        assert_eq!((several.addresses.len(), several.tls.is_none()), (2, true));
        assert_eq!(listen("listen = '127.0.0.1:1, [::1]:2'").unwrap().addresses, several.addresses);
        assert!(listen("listen = []\nunix_socket = '/run/x'").is_ok());
        let tls = listen(&format!("listen = '0.0.0.0:1'\n{TLS}")).unwrap().tls.unwrap();
        assert!(!tls.tls12 && !tls.clients_must);
        for (more, must) in [("", true), ("client_certificate = 'optional'", false)] {
            let text = format!("listen = '[::]:1'\n{TLS}client_ca = 'a'\nmin_version = '1.2'\n{more}");
            let tls = listen(&text).unwrap().tls.unwrap();
            assert_eq!((tls.clients_must, tls.tls12), (must, true));
        }
        for (text, reason) in [
            ("listen = ['127.0.0.1:1', '10.0.0.1:1']".to_owned(), "loopback"),
            ("listen = 'here'".to_owned(), "not an address"),
            ("listen = []".to_owned(), "empty"),
            ("listen = []\nunix_socket = 'here'".to_owned(), "from the root"),
            ("listen = '[::]:1'\n[tls]\ncertificate = 'c'".to_owned(), "only one of"),
            ("listen = '[::]:1'\n[tls]\nclient_ca = 'c'".to_owned(), "missing"),
            (format!("listen = '[::1]:1'\n{TLS}client_certificate = 'required'"), "verify client"),
        ] {
            let error = listen(&text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
