//! Carrier 1: the frontend message `K` of protocol extension `_pq_.trefoil`, version `1`.
//!
//! `'K'`, int32 length (itself included), then user, envelope and application shares, each as a
//! uint16 length and that many bytes. It goes in front of a *request*: a Query or FunctionCall, or
//! everything up to the ReadyForQuery that answers the next Sync; COPY data belong to the request
//! that started the COPY; a Sync alone needs none. Another `K` in the middle of a request holds for
//! the messages after it. An empty envelope means the one of the connection's last `K` that had
//! one. The shares are never remembered: the proxy forgets them when the request ends.

use super::{MAX_VALUE, MalformedCarrier, checked};

/// The startup parameter by which a frontend asks for the extension.
pub const PARAMETER: &str = "_pq_.trefoil";

/// The version of the extension, as the parameter's value.
pub const VERSION: &str = "1";

/// The message's type byte.
pub const TYPE: u8 = b'K';

/// Longest body (the message without type and length). A longer one may be refused unread.
pub const MAX_BODY: usize = 3 * (2 + MAX_VALUE);

/// A `K` message, borrowed from its body. No `Debug`, so that it is never logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyMessage<'a> {
    /// The user's id; empty where there is none.
    pub user: &'a str,
    /// The envelope; empty: as before on this connection.
    pub envelope: &'a str,
    /// The application's shares in their text form; empty where there are none.
    pub app_share: &'a str,
}

impl<'a> KeyMessage<'a> {
    /// Reads a body: what follows type and length.
    pub fn decode(body: &'a [u8]) -> Result<Self, MalformedCarrier> {
        let (user, rest) = field(body)?;
        let (envelope, rest) = field(rest)?;
        let (app_share, rest) = field(rest)?;
        if rest.is_empty() { Ok(Self { user, envelope, app_share }) } else { Err(MalformedCarrier::Framing) }
    }

    /// Appends the whole message, type and length included; on an error `out` is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), MalformedCarrier> {
        let fields = [self.user, self.envelope, self.app_share];
        for value in fields {
            checked(value.as_bytes())?;
        }
        let length = fields.iter().fold(4, |sum, value| sum + 2 + value.len());
        let length = u32::try_from(length).map_err(|_| MalformedCarrier::TooLong)?;
        out.push(TYPE);
        out.extend_from_slice(&length.to_be_bytes());
        for value in fields {
            let length = u16::try_from(value.len()).map_err(|_| MalformedCarrier::TooLong)?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        Ok(())
    }
}

fn field(bytes: &[u8]) -> Result<(&str, &[u8]), MalformedCarrier> {
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or(MalformedCarrier::Framing)?;
    let (value, rest) =
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(MalformedCarrier::Framing)?;
    Ok((checked(value)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes() {
        let mut out = b"before".to_vec();
        KeyMessage { user: "alice", envelope: "", app_share: "main:AA" }.encode(&mut out).unwrap();
        assert_eq!(out, b"beforeK\0\0\0\x16\0\x05alice\0\0\0\x07main:AA".as_slice());
        let read = KeyMessage::decode(&out[11..]).unwrap();
        assert!(read.user == "alice" && read.envelope.is_empty() && read.app_share == "main:AA");
    }

    #[test]
    fn refused() {
        let reason = |body: &[u8]| KeyMessage::decode(body).err();
        assert_eq!(reason(b""), Some(MalformedCarrier::Framing));
        assert_eq!(reason(b"\0\0\0\0\0"), Some(MalformedCarrier::Framing));
        assert_eq!(reason(b"\0\0\0\0\0\x01"), Some(MalformedCarrier::Framing));
        assert_eq!(reason(b"\0\0\0\0\0\0x"), Some(MalformedCarrier::Framing));
        assert_eq!(reason(b"\0\x01\0\0\0\0\0"), Some(MalformedCarrier::NotPrintable));
        assert_eq!(reason(b"\0\x01\xff\0\0\0\0"), Some(MalformedCarrier::NotPrintable));
        let mut long = u16::MAX.to_be_bytes().to_vec();
        long.extend([b'a'; u16::MAX as usize]);
        long.extend([0; 4]);
        assert_eq!(reason(&long), Some(MalformedCarrier::TooLong));

        let mut out = Vec::new();
        let envelope = "e".repeat(MAX_VALUE + 1);
        let message = KeyMessage { user: "u", envelope: &envelope, app_share: "" };
        assert_eq!(message.encode(&mut out), Err(MalformedCarrier::TooLong));
        assert_eq!(
            KeyMessage { user: "a\0", ..message }.encode(&mut out),
            Err(MalformedCarrier::NotPrintable)
        );
        assert!(out.is_empty());
    }

    #[test]
    fn longest() {
        let value = "v".repeat(MAX_VALUE);
        let mut out = Vec::new();
        KeyMessage { user: &value, envelope: &value, app_share: &value }.encode(&mut out).unwrap();
        assert_eq!(out.len(), 5 + MAX_BODY);
        assert!(KeyMessage::decode(&out[5..]).is_ok_and(|m| m.app_share == value));
    }

    proptest! {
        #[test]
        fn round_trip(user in "\\PC{0,40}", envelope in "[A-Za-z0-9_.-]{0,400}", app_share in "\\PC{0,99}") {
            let message = KeyMessage { user: &user, envelope: &envelope, app_share: &app_share };
            let mut out = Vec::new();
            message.encode(&mut out).unwrap();
            prop_assert_eq!(out[1..5].to_vec(), u32::try_from(out.len() - 1).unwrap().to_be_bytes());
            prop_assert!(KeyMessage::decode(&out[5..]).is_ok_and(|read| read == message));
            prop_assert!(KeyMessage::decode(&out[5..out.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(message) = KeyMessage::decode(&body) {
                let mut out = Vec::new();
                message.encode(&mut out).unwrap();
                prop_assert_eq!(&out[5..], &body);
            }
        }
    }
}
