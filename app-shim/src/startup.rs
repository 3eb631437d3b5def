//! The packets with which a connection begins (PostgreSQL's protocol 3, "Start-up"), and the errors
//! that the shim itself tells an application.

use crate::settings::Beginning;
use crate::user_from::UserFrom;
use trefoil_keys::carrier::{Carriers, MalformedCarrier, message, options};

/// What a first packet asks for, its length already taken off.
pub(crate) enum Packet {
    /// Cancelling another connection's request.
    Cancel,
    /// A session: the packet for the proxy, complete, and what the application asked of the shim.
    Session(Vec<u8>, Beginning),
}

/// Reads the body of a first packet.
pub(crate) fn read(body: &[u8], from: &UserFrom) -> Result<Packet, Fatal> {
    let (code, parameters) = body.split_first_chunk::<4>().ok_or(Fatal::PROTOCOL)?;
    match (u16::from_be_bytes([code[0], code[1]]), u16::from_be_bytes([code[2], code[3]])) {
        (1234, 5678) => Ok(Packet::Cancel),
        (3, _) => session(code, parameters, from),
        _ => Err(Fatal::PROTOCOL),
    }
}

fn session(code: &[u8], parameters: &[u8], from: &UserFrom) -> Result<Packet, Fatal> {
    let mut carriers = Carriers::default();
    let mut from_options = Carriers::default();
    let mut role = None;
    let (mut settings, mut own) = (Vec::new(), Vec::new());
    let mut packet = vec![0; 4];
    packet.extend_from_slice(code);
    let mut rest = parameters;
    loop {
        let (name, after) = c_string(rest)?;
        if name.is_empty() {
            if !after.is_empty() {
                return Err(Fatal::PROTOCOL);
            }
            break;
        }
        let (value, after) = c_string(after)?;
        rest = after;
        if name == message::PARAMETER.as_bytes() {
            return Err(Fatal::ATTACHED);
        }
        if name == b"options" {
            let left = options::take(value, &mut from_options)?;
            let followed = options::settings(&left).into_iter();
            settings.extend(followed.filter_map(|(name, value)| Some((from.follows(&name)?, value))));
            if value.is_empty() || !left.is_empty() {
                pair(&mut packet, name, &left);
            }
        } else if !str::from_utf8(name).map_or(Ok(false), |name| carriers.set(name, value))? {
            pair(&mut packet, name, value);
            let [name, value] = [name, value].map(String::from_utf8_lossy);
            if name == "user" {
                role = Some(value.into_owned());
            } else if let Some(name) = from.follows(&name) {
                own.push((name, value.into_owned()));
            }
        }
    }
    // PostgreSQL, too, applies `options` first, parameters of their own after them.
    carriers.user = carriers.user.or(from_options.user);
    carriers.envelope = carriers.envelope.or(from_options.envelope);
    settings.append(&mut own);
    pair(&mut packet, message::PARAMETER.as_bytes(), message::VERSION.as_bytes());
    packet.push(0);
    let length = u32::try_from(packet.len()).map_err(|_| Fatal::PROTOCOL)?;
    if let Some(place) = packet.first_chunk_mut::<4>() {
        *place = length.to_be_bytes();
    }
    Ok(Packet::Session(packet, Beginning { carriers, role, settings }))
}

fn pair(packet: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        packet.extend_from_slice(text);
        packet.push(0);
    }
}

fn c_string(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fatal> {
    let end = bytes.iter().position(|&byte| byte == 0).ok_or(Fatal::PROTOCOL)?;
    let (text, rest) = bytes.split_at_checked(end).ok_or(Fatal::PROTOCOL)?;
    Ok((text, rest.get(1..).unwrap_or_default()))
}

/// Whether the body of a NegotiateProtocolVersion says that the peer does not know the extension.
pub(crate) fn is_refusal(body: &[u8]) -> bool {
    // Two int32 (minor version, count), then the names.
    let names = body.get(8..).unwrap_or_default();
    names.split(|&byte| byte == 0).any(|name| name == message::PARAMETER.as_bytes())
}

/// An error that ends a connection, in words that hold no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fatal {
    sqlstate: &'static str,
    message: &'static str,
    hint: &'static str,
}

impl Fatal {
    pub(crate) const PROTOCOL: Self = Self {
        sqlstate: "08P01",
        message: "trefoil-shim: malformed or unknown protocol message",
        hint: "Connect by PostgreSQL's protocol version 3.",
    };
    pub(crate) const ATTACHED: Self = Self {
        sqlstate: "08P01",
        message: "trefoil-shim: the connection comes from another shim",
        hint: "Put one shim between the application and the proxy.",
    };
    pub(crate) const CARRIER: Self = Self {
        sqlstate: "28000",
        message: "trefoil-shim: a startup parameter trefoil.* is malformed",
        hint: "Allowed are trefoil.user and trefoil.envelope, printable and up to 16384 bytes.",
    };
    pub(crate) const NO_PROXY: Self = Self {
        sqlstate: "08001",
        message: "trefoil-shim: the Trefoil proxy cannot be reached",
        hint: "Check that trefoil-proxy runs and that `proxy` in the shim's configuration names it.",
    };
    pub(crate) const NO_TLS: Self = Self {
        sqlstate: "08001",
        message: "trefoil-shim: the server at the proxy's address offers no TLS",
        hint: "Let `proxy` in the shim's configuration name a Trefoil proxy that has TLS; nothing was sent.",
    };
    pub(crate) const NO_TRUST: Self = Self {
        sqlstate: "08001",
        message: "trefoil-shim: no TLS with the Trefoil proxy, whose certificate may be another one",
        hint: "The shim's log says why; `ca` in [proxy_tls] says whose certificate it may show.",
    };
    pub(crate) const BROKEN_OFF: Self = Self {
        sqlstate: "08001",
        message: "trefoil-shim: the Trefoil proxy has broken off the login",
        hint: "The logs say why: the proxy may ask for a certificate, to be named in [proxy_tls].",
    };
    pub(crate) const IN_CLEAR: Self = Self {
        sqlstate: "28000",
        message: "trefoil-shim: connections over a network must be encrypted",
        hint: "Connect with sslmode=verify-full.",
    };
    pub(crate) const NO_CERTIFICATE: Self = Self {
        sqlstate: "28000",
        message: "trefoil-shim: connection requires a valid client certificate",
        hint: "Connect under TLS with sslcert and sslkey.",
    };
    pub(crate) const TOO_MANY: Self = Self {
        sqlstate: "53300",
        message: "trefoil-shim: sorry, too many clients already",
        hint: "Try again later, or raise max_connections.",
    };
    pub(crate) const TOO_SLOW: Self = Self {
        sqlstate: "57014",
        message: "trefoil-shim: canceling authentication due to timeout",
        hint: "Log in sooner, or raise authentication_timeout.",
    };
    pub(crate) const NOT_TREFOIL: Self = Self {
        sqlstate: "08P01",
        message: "trefoil-shim: the server is not a Trefoil proxy",
        hint: "Let `proxy` in the shim's configuration name trefoil-proxy, not the database.",
    };
    pub(crate) const TOO_LONG: Self = Self {
        sqlstate: "54000",
        message: "trefoil-shim: the statement is too long",
        hint: "Send values as parameters, or raise max_message.",
    };

    pub(crate) const DEFECT: Self = Self {
        sqlstate: "XX000",
        message: "trefoil-shim: the sidecar has failed in itself, and the session ends",
        hint: "Whether what was under way has happened is to be looked up. Please report it, with the sidecar's log.",
    };

    /// The ErrorResponse.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut body = Vec::new();
        for (field, text) in
            [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', self.sqlstate), (b'M', self.message), (b'H', self.hint)]
        {
            body.push(field);
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [&b"E"[..], &length.to_be_bytes(), &body].concat()
    }
}

impl From<MalformedCarrier> for Fatal {
    fn from(_: MalformedCarrier) -> Self {
        Self::CARRIER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_from::Name;

    const V3: &[u8] = b"\0\x03\0\0";

    fn read(body: &[u8]) -> Result<Packet, Fatal> {
        super::read(body, &UserFrom::default())
    }

    fn start(parameters: &[u8]) -> Result<(Vec<u8>, Carriers), Fatal> {
        match read(&[V3, parameters].concat())? {
            Packet::Session(packet, Beginning { carriers, .. }) => {
                assert_eq!(packet[..4], u32::try_from(packet.len()).unwrap().to_be_bytes());
                assert_eq!(&packet[4..8], V3);
                Ok((packet[8..].to_vec(), carriers))
            }
            _ => panic!("not a session"),
        }
    }

    #[test]
    fn parameters_keep_their_order() {
        let (packet, carriers) =
            start(b"user\0u\0trefoil.user\0alice\0x\0\xff\0TREFOIL.Envelope\0e.f\0database\0d\0\0").unwrap();
        assert_eq!(packet, b"user\0u\0x\0\xff\0database\0d\0_pq_.trefoil\x001\0\0");
        assert_eq!((carriers.user.as_deref(), carriers.envelope.as_deref()), (Some("alice"), Some("e.f")));
    }

    #[test]
    fn inside_options() {
        let (packet, carriers) =
            start(b"options\0-c trefoil.user=a -c x=y --trefoil.envelope=e\0trefoil.user\0b\0\0").unwrap();
        assert_eq!(packet, b"options\0 -c x=y\0_pq_.trefoil\x001\0\0");
        assert_eq!((carriers.user.as_deref(), carriers.envelope.as_deref()), (Some("b"), Some("e")));
        let (packet, _) = start(b"options\0-c trefoil.user=a\0user\0u\0\0").unwrap();
        assert_eq!(packet, b"user\0u\0_pq_.trefoil\x001\0\0");
    }

    #[test]
    fn what_is_followed() {
        let from = UserFrom { setting: Some("app.user".to_owned()), role: true, ..UserFrom::default() };
        let parameters = b"App.User\0bob\0options\0-c app.user=alice -c role=web -c x.y=z\0user\0login\0\0";
        let packet = super::read(&[V3, parameters].concat(), &from);
        let Ok(Packet::Session(_, Beginning { role, settings, .. })) = packet else { panic!("refused") };
        assert_eq!(role.as_deref(), Some("login"));
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // PostgreSQL applies `options` first.
        assert_eq!(settings, [(Name::Setting, "alice"), (Name::Role, "web"), (Name::Setting, "bob")]);
    }

    #[test]
    fn refused() {
        let reason = |parameters: &[u8]| start(parameters).err().unwrap();
        for malformed in [&b""[..], b"user", b"user\0", b"user\0u\0", b"user\0u\0\0x"] {
            assert_eq!(reason(malformed), Fatal::PROTOCOL);
        }
        assert_eq!(reason(b"trefoil.usr\0a\0\0"), Fatal::CARRIER);
        assert_eq!(reason(b"trefoil.user\0\x01\0\0"), Fatal::CARRIER);
        assert_eq!(reason(b"_pq_.trefoil\x001\0\0"), Fatal::ATTACHED);
        // Encryption within TLS, or for the second time.
        assert!(read(b"\x04\xd2\x16\x2f").is_err_and(|fatal| fatal == Fatal::PROTOCOL));
        assert!(read(b"\x04\xd2\x16\x30").is_err_and(|fatal| fatal == Fatal::PROTOCOL));
        assert!(matches!(read(b"\x04\xd2\x16\x2e\0\0\0\0\0\0\0\0"), Ok(Packet::Cancel)));
        assert!(read(b"\0\x02\0\0").is_err_and(|fatal| fatal == Fatal::PROTOCOL));
        assert!(read(b"\0").is_err());
    }

    #[test]
    fn refusal_of_the_extension() {
        assert!(is_refusal(b"\0\x03\0\0\0\0\0\x01_pq_.trefoil\0"));
        assert!(is_refusal(b"\0\x03\0\0\0\0\0\x02_pq_.x\0_pq_.trefoil\0"));
        assert!(!is_refusal(b"\0\x03\0\0\0\0\0\x01_pq_.trefoils\0"));
        assert!(!is_refusal(b"\0\x03\0\0\0\0\0\0"));
    }

    #[test]
    fn error_bytes() {
        let fatal = Fatal { sqlstate: "28000", message: "m", hint: "h" };
        assert_eq!(fatal.to_bytes(), b"E\0\0\0\x20SFATAL\0VFATAL\0C28000\0Mm\0Hh\0\0");
    }
}
