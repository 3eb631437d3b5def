//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677, 5929), from verifiers, as
//! PostgreSQL speaks it: the name in the messages is not looked at. A user without a verifier takes the same
//! messages and the same time, and never gets in.

use super::verifier::{HASH, Verifier};
use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// Bytes of the server's nonce, as in PostgreSQL.
const NONCE: usize = 18;
/// Characters of a client's.
const CLIENT_NONCE: std::ops::RangeInclusive<usize> = 8..=256;
/// Longest message of a client, as in PostgreSQL (`PG_MAX_SASL_MESSAGE_LENGTH`).
pub(super) const MAX_MESSAGE: usize = 1024;
const BINDING_TYPE: &str = "tls-server-end-point";

/// A mechanism, by its name in SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Bound to the server's certificate.
    Plus,
    /// Bound to nothing.
    Plain,
}

impl Mechanism {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plus => "SCRAM-SHA-256-PLUS",
            Self::Plain => "SCRAM-SHA-256",
        }
    }
}

/// What the client's channel can be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// This, by `tls-server-end-point`.
    EndPoint(Vec<u8>),
    /// It could be, and the client is not offered it: one that could bind as well does not get in.
    Withheld,
    /// Nothing: no TLS, or one that ends before it reaches the client.
    None,
}

/// Why a client does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// It does not speak SCRAM as it must.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// It wants what is not offered.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Somebody stands between.
    #[error("{0}")]
    Binding(&'static str),
    /// Wrong password, or no such user.
    #[error("the proof is wrong")]
    Proof,
}

type Sha256Mac = Hmac<Sha256>;

/// One login, before the client's first message.
pub struct Server {
    verifier: Verifier,
    known: Choice,
    binding: Binding,
    nonce: String,
}

/// The same, after it.
pub struct Challenged {
    server: Server,
    /// What the client's last message must begin with.
    expected: String,
    /// `client-first-message-bare,server-first-message`.
    said: String,
}

impl Server {
    /// For a user who has a verifier, or one that `mock` makes up.
    pub fn new(verifier: Verifier, known: bool, binding: Binding) -> Self {
        let mut nonce = [0; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let nonce = Base64::encode_string(&nonce);
        Self { verifier, known: Choice::from(u8::from(known)), binding, nonce }
    }

    /// What is offered, the better first.
    pub fn mechanisms(&self) -> &'static [Mechanism] {
        match self.binding {
            Binding::EndPoint(_) => &[Mechanism::Plus, Mechanism::Plain],
            Binding::Withheld | Binding::None => &[Mechanism::Plain],
        }
    }

    /// Answers the client's first message.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn first(self, mechanism: &[u8], message: &[u8]) -> Result<(Challenged, String), ScramError> {
        let mechanism = self.mechanisms().iter().find(|offered| offered.name().as_bytes() == mechanism);
        let mechanism = *mechanism
            .ok_or(ScramError::Unsupported("client selected an invalid SASL authentication mechanism"))?;
        let message = text(message)?;
        let (header, bare) = self.header(mechanism, message)?;
        let nonce = client_nonce(bare)?;
        let Verifier { iterations, salt, .. } = &self.verifier;
        let nonce = format!("{nonce}{}", self.nonce);
        let answer = format!("r={nonce},s={},i={iterations}", Base64::encode_string(salt));
        let mut bound = header.as_bytes().to_vec();
        if let (Mechanism::Plus, Binding::EndPoint(end_point)) = (mechanism, &self.binding) {
            bound.extend_from_slice(end_point);
        }
        let expected = format!("c={},r={nonce}", Base64::encode_string(&bound));
        let said = format!("{bare},{answer}");
        Ok((Challenged { server: self, expected, said }, answer))
    }

    /// The GS2 header with its last comma, and what follows it.
    fn header<'a>(&self, mechanism: Mechanism, message: &'a str) -> Result<(&'a str, &'a str), ScramError> {
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed("no GS2 header"))?;
        let (authorization, bare) = rest.split_once(',').ok_or(ScramError::Malformed("no GS2 header"))?;
        match (flag, mechanism) {
            ("n", Mechanism::Plain) => {}
            // The client could, and was not told that the server can.
            ("y", Mechanism::Plain) if self.binding == Binding::None => {}
            ("y", Mechanism::Plain) => {
                return Err(ScramError::Binding("SCRAM channel binding negotiation error"));
            }
            (flag, Mechanism::Plus) if flag.strip_prefix("p=") == Some(BINDING_TYPE) => {}
            (flag, Mechanism::Plus) if flag.starts_with("p=") => {
                return Err(ScramError::Unsupported("unsupported SCRAM channel-binding type"));
            }
            _ => return Err(ScramError::Malformed("the mechanism and its channel-binding flag differ")),
        }
        if !authorization.is_empty() {
            return Err(ScramError::Unsupported(
                "client uses authorization identity, but it is not supported",
            ));
        }
        let header = message.get(..message.len() - bare.len()).unwrap_or_default();
        Ok((header, bare))
    }
}

/// The nonce in `client-first-message-bare`. Extensions are not known here, so there are none.
fn client_nonce(bare: &str) -> Result<&str, ScramError> {
    if bare.starts_with("m=") {
        return Err(ScramError::Unsupported("client requires an unsupported SCRAM extension"));
    }
    let (name, nonce) = bare.split_once(',').ok_or(ScramError::Malformed("no nonce"))?;
    if !name.starts_with("n=") {
        return Err(ScramError::Malformed("no name"));
    }
    let nonce = nonce.strip_prefix("r=").ok_or(ScramError::Malformed("no nonce"))?;
    let printable = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    if !nonce.bytes().all(printable) || !CLIENT_NONCE.contains(&nonce.len()) {
        return Err(ScramError::Malformed("invalid nonce"));
    }
    Ok(nonce)
}

impl Challenged {
    /// Judges the client's last message; the answer proves that the verifier is known here.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn last(self, message: &[u8]) -> Result<String, ScramError> {
        let Self { server, expected, said } = self;
        let (without_proof, proof) =
            text(message)?.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        if !bool::from(without_proof.as_bytes().ct_eq(expected.as_bytes())) {
            let nonce = |text: &str| text.split_once(",r=").map(|(_, nonce)| nonce.to_owned());
            return Err(if nonce(without_proof) == nonce(&expected) {
                ScramError::Binding("SCRAM channel binding check failed")
            } else {
                ScramError::Malformed("nonce does not match, or attributes are none that were asked for")
            });
        }
        let mut bytes = Zeroizing::new([0; HASH]);
        let decoded = Base64::decode(proof, bytes.as_mut_slice()).map(<[u8]>::len);
        if decoded != Ok(HASH) {
            return Err(ScramError::Malformed("invalid proof"));
        }
        let said = format!("{said},{without_proof}");
        let Verifier { stored_key, server_key, .. } = &server.verifier;
        let signature = sign(stored_key, said.as_bytes())?;
        // The proof is the client's key XOR the signature.
        for (byte, signed) in bytes.iter_mut().zip(&signature) {
            *byte ^= signed;
        }
        let fits = Sha256::digest(bytes.as_slice()).as_slice().ct_eq(stored_key.as_slice());
        let answer = format!("v={}", Base64::encode_string(&sign(server_key, said.as_bytes())?));
        if bool::from(fits & server.known) { Ok(answer) } else { Err(ScramError::Proof) }
    }
}

/// What a user without a verifier is challenged by: the same at each login, and nobody's.
pub(super) fn mock(secret: &[u8; HASH], user: &[u8], iterations: u32) -> Verifier {
    let salt = sign(secret, user).unwrap_or_default();
    let mut key = Zeroizing::new([0; HASH]);
    rand::rng().fill_bytes(key.as_mut_slice());
    Verifier {
        iterations,
        salt: salt.get(..16).unwrap_or_default().to_vec(),
        stored_key: key.clone(),
        server_key: key,
    }
}

fn sign(key: &[u8; HASH], text: &[u8]) -> Result<[u8; HASH], ScramError> {
    // No length of a key is refused by HMAC.
    let mut mac = Sha256Mac::new_from_slice(key).map_err(|_| ScramError::Proof)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().into())
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::Malformed("too long"));
    }
    str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use postgres_protocol::password::scram_sha_256;

    fn verifier() -> Verifier {
        scram_sha_256(b"pencil").parse().unwrap()
    }

    fn end_point() -> Binding {
        Binding::EndPoint(vec![7; 32])
    }

    /// PostgreSQL's client in Rust logs in.
    fn log_in(
        server: Server,
        mechanism: Mechanism,
        password: &str,
        bound: ChannelBinding,
    ) -> Result<(), ScramError> {
        let mut client = ScramSha256::new(password.as_bytes(), bound);
        let (challenged, answer) = server.first(mechanism.name().as_bytes(), client.message())?;
        client.update(answer.as_bytes()).unwrap();
        let last = challenged.last(client.message())?;
        client.finish(last.as_bytes()).unwrap();
        Ok(())
    }

    #[test]
    fn the_right_password_gets_in_and_the_server_proves_itself() {
        let end = ChannelBinding::tls_server_end_point;
        for (binding, mechanism, bound) in [
            (Binding::None, Mechanism::Plain, ChannelBinding::unsupported()),
            (Binding::None, Mechanism::Plain, ChannelBinding::unrequested()),
            (end_point(), Mechanism::Plain, ChannelBinding::unsupported()),
            (end_point(), Mechanism::Plus, end(vec![7; 32])),
        ] {
            log_in(Server::new(verifier(), true, binding), mechanism, "pencil", bound).unwrap();
        }
    }

    #[test]
    fn a_wrong_password_an_unknown_user_and_somebody_between_are_refused() {
        let unsupported = ChannelBinding::unsupported;
        let refused =
            |server, mechanism, password, bound| log_in(server, mechanism, password, bound).unwrap_err();
        let plain = |password| {
            refused(Server::new(verifier(), true, Binding::None), Mechanism::Plain, password, unsupported())
        };
        assert_eq!(plain("pencils"), ScramError::Proof);
        // Even one who has the right verifier in the place of the one made up.
        let unknown = Server::new(verifier(), false, Binding::None);
        assert_eq!(refused(unknown, Mechanism::Plain, "pencil", unsupported()), ScramError::Proof);
        let between = ChannelBinding::tls_server_end_point(vec![8; 32]);
        let server = || Server::new(verifier(), true, end_point());
        assert!(matches!(refused(server(), Mechanism::Plus, "pencil", between), ScramError::Binding(_)));
        let downgraded = ChannelBinding::unrequested();
        assert!(matches!(refused(server(), Mechanism::Plain, "pencil", downgraded), ScramError::Binding(_)));
        let not_offered = ChannelBinding::tls_server_end_point(vec![7; 32]);
        let none = Server::new(verifier(), true, Binding::None);
        assert!(matches!(refused(none, Mechanism::Plus, "pencil", not_offered), ScramError::Unsupported(_)));
    }

    #[test]
    fn unknown_users_are_challenged_alike_at_each_login() {
        let of = |user: &[u8]| mock(&[1; 32], user, 4096);
        assert_eq!(of(b"eve").salt, of(b"eve").salt);
        assert_ne!(of(b"eve").salt, of(b"bob").salt);
        assert_ne!(of(b"eve").stored_key, of(b"eve").stored_key);
        assert_eq!((of(b"eve").salt.len(), of(b"eve").iterations), (16, 4096));
    }

    #[test]
    fn first_messages_of_another_form_are_refused() {
        let server = || Server::new(verifier(), true, end_point());
        let good = "n,,n=,r=abcdefghijkl";
        assert!(server().first(b"SCRAM-SHA-256", good.as_bytes()).is_ok());
        let long = format!("n,,n=,r={}", "a".repeat(257));
        let longer = format!("n,,n=,r=abcdefghijkl{}", ",x=1".repeat(300));
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=",
            "n,,r=abcdefghijkl",
            "n,,r=abcdefghijkl,n=",
            "n,,n=,r=",
            "n,,n=,r=short",
            "n,a=root,n=,r=abcdefghijkl",
            "n,,m=x,n=,r=abcdefghijkl",
            "n,,n=,r=abcdefghijkl,r=abcdefghijkl",
            "n,,n=,r=abcdefghijkl,x=1",
            "n,,n=,r=abcd efghijkl",
            "n,,n=,r=abcdefgh\u{e9}jkl",
            "x,,n=,r=abcdefghijkl",
            "p=tls-server-end-point,,n=,r=abcdefghijkl",
            "p=tls-unique,,n=,r=abcdefghijkl",
            "y,,n=,r=abcdefghijkl",
            long.as_str(),
            longer.as_str(),
        ] {
            assert!(server().first(b"SCRAM-SHA-256", message.as_bytes()).is_err(), "{message}");
        }
        for mechanism in ["SCRAM-SHA-1", "", "SCRAM-SHA-256-PLUS"] {
            assert!(server().first(mechanism.as_bytes(), good.as_bytes()).is_err(), "{mechanism}");
        }
        assert!(server().first(b"SCRAM-SHA-256", b"n,,n=,r=abcdefghijkl\xff").is_err());
    }

    #[test]
    fn last_messages_of_another_form_are_refused() {
        let challenged =
            || Server::new(verifier(), true, Binding::None).first(b"SCRAM-SHA-256", b"n,,n=,r=abcdefghijkl");
        let proof = Base64::encode_string(&[0; 32]);
        for change in ["good", "x=1,{}", "{},x=1", "{},r=2", "short", "m"] {
            let (challenged, answer) = challenged().unwrap();
            let nonce = answer.split(',').next().unwrap().to_owned();
            let good = format!("c=biws,{nonce}");
            let message = match change {
                "good" => format!("{good},p={proof}"),
                "short" => format!("{good},p={}", Base64::encode_string(&[0; 31])),
                "m" => format!("m=1,{good},p={proof}"),
                other => format!("{},p={proof}", other.replace("{}", &good)),
            };
            let refused = challenged.last(message.as_bytes()).unwrap_err();
            assert_eq!(refused == ScramError::Proof, change == "good", "{message}: {refused}");
        }
        let (challenged, _) = challenged().unwrap();
        assert!(matches!(challenged.last(b"c=biws,r=other,p=AA=="), Err(ScramError::Malformed(_))));
    }
}
