//! The one origin that requests are passed on to: scheme, host and port (RFC 6454), and nothing else.

use axum::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
    /// Cleartext HTTP/2 without asking first (RFC 9113, section 3.3).
    prior_knowledge: bool,
}

/// A text names no origin.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the address of a web server alone")]
pub(crate) struct MalformedOrigin(String);

impl FromStr for Origin {
    type Err = MalformedOrigin;

    fn from_str(text: &str) -> Result<Self, MalformedOrigin> {
        let malformed = || MalformedOrigin(text.to_owned());
        let (prior_knowledge, url) = match text.strip_prefix("h2c://") {
            Some(rest) => (true, format!("http://{rest}")),
            None => (false, text.to_owned()),
        };
        let parts = url.parse::<Uri>().map_err(|_| malformed())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(malformed());
        };
        let bare = parts.path_and_query.is_none_or(|path| path.as_str() == "/");
        let known = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
        if !bare || !known || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        // A default port is written by nobody, and compared with what others write.
        let default = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let authority = match authority.port_u16() {
            Some(port) if port == default => authority.host().parse().map_err(|_| malformed())?,
            None if authority.as_str() != authority.host() => return Err(malformed()),
            _ => authority,
        };
        Ok(Self { scheme, authority, prior_knowledge })
    }
}

/// As a browser writes it in `Origin`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl Origin {
    /// Whether nobody on the way can read or change what is sent.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether it speaks HTTP/2 over cleartext.
    pub(super) fn has_prior_knowledge(&self) -> bool {
        self.prior_knowledge
    }

    /// The URI of a resource.
    pub(super) fn at(&self, path: PathAndQuery) -> Option<Uri> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path).build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, written, encrypted, loopback) in [
            ("https://app.example", "https://app.example", true, false),
            ("https://app.example:443/", "https://app.example", true, false),
            ("https://app.example:8443", "https://app.example:8443", true, false),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", false, true),
            ("http://[::1]:80", "http://[::1]", false, true),
            ("h2c://localhost:1", "http://localhost:1", false, true),
        ] {
            let origin: Origin = text.parse().unwrap();
            let found = (origin.to_string(), origin.is_encrypted(), origin.is_loopback());
            assert_eq!(found, (written.to_owned(), encrypted, loopback));
            assert_eq!(origin.has_prior_knowledge(), text.starts_with("h2c"));
        }
        for text in [
            "app.example",
            "/",
            "ftp://app.example",
            "https://",
            "https://app.example/path",
            "https://app.example/?query",
            "https://user@app.example",
            "https://app.example:99999",
            "https://app.example:",
            "h2c://",
            "https://a b",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
