//! Where a server is: a host with a port, or a socket file.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or address, and a port.
    Tcp(String, u16),
    /// A socket file.
    Unix(PathBuf),
}

/// A text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a host with a port nor the path of a socket")]
pub struct MalformedAddress(String);

impl Address {
    /// From a host as libpq takes it: one that begins with `/` is the directory of the socket.
    pub fn new(host: &str, port: u16) -> Self {
        if host.starts_with('/') {
            Self::Unix(PathBuf::from(format!("{host}/.s.PGSQL.{port}")))
        } else {
            Self::Tcp(host.to_owned(), port)
        }
    }

    /// Whether nothing that is sent there leaves this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(host, _) => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }
}

/// `host:port`, `[::1]:port`, or the path of a socket, which begins with `/`.
impl FromStr for Address {
    type Err = MalformedAddress;

    fn from_str(text: &str) -> Result<Self, MalformedAddress> {
        let malformed = || MalformedAddress(text.to_owned());
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') || bare.unwrap_or(host).is_empty() {
            return Err(malformed());
        }
        let port = port.parse().map_err(|_| malformed())?;
        Ok(Self::Tcp(bare.unwrap_or(host).to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (text, local) in [
            ("127.0.0.1:5432", true),
            ("[::1]:5432", true),
            ("localhost:1", true),
            ("/run/trefoil/proxy.sock", true),
            ("db.example:5432", false),
            ("10.0.0.1:5432", false),
            ("[2001:db8::1]:5432", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (text, local));
        }
        for text in ["", "localhost", ":5432", "::1:5432", "[]:1", "host:", "host:70000"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert_eq!(Address::new("/run", 5432).to_string(), "/run/.s.PGSQL.5432");
    }
}
