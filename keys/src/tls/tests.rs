//! Handshakes between two configurations, in memory.

use super::{
    Fingerprint, Identity, OtherCertificate, SelfSigned, Serving, TlsError, certificate_request,
    certificates_from_pem, client_authority, pinned_client_config, private_key_from_pem, server_config,
};
use proptest::prelude::{any, proptest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConfig, ServerConnection};
use std::sync::Arc;

fn names() -> Vec<String> {
    vec!["proxy.example".to_owned(), "127.0.0.1".to_owned()]
}

fn self_signed() -> SelfSigned {
    SelfSigned::generate(&names()).unwrap()
}

/// Carries bytes between both ends until neither has more to say.
fn shake_hands(
    client: ClientConfig,
    server: ServerConfig,
) -> Result<(Connection, Connection), rustls::Error> {
    let name = ServerName::try_from("another.example").unwrap();
    let mut client = Connection::Client(ClientConnection::new(Arc::new(client), name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(Arc::new(server)).unwrap());
    while client.wants_write() || server.wants_write() {
        for flight in [true, false] {
            let (from, to) = if flight { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut bytes = Vec::new();
            while from.wants_write() {
                from.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                to.read_tls(&mut bytes).unwrap();
                to.process_new_packets()?;
            }
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

#[test]
fn the_pinned_server_is_accepted_whatever_its_name() {
    let server = self_signed();
    let client = pinned_client_config(server.fingerprint(), None).unwrap();
    let (client, server) =
        shake_hands(client, server_config(server.identity(), Serving::default()).unwrap()).unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

#[test]
fn another_server_is_refused() {
    let (server, other) = (self_signed(), self_signed());
    assert_ne!(server.fingerprint(), other.fingerprint());
    let client = pinned_client_config(other.fingerprint(), None).unwrap();
    let refused =
        shake_hands(client, server_config(server.identity(), Serving::default()).unwrap()).err().unwrap();
    let expected = OtherCertificate { found: server.fingerprint(), expected: other.fingerprint() };
    assert_eq!(OtherCertificate::in_error(&refused), Some(expected), "{refused}");
}

/// The certificate is public: whoever shows it must have its key.
#[test]
fn a_copied_certificate_without_its_key_is_refused() {
    #[derive(Debug)]
    struct Copied(Arc<rustls::sign::CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Copied {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let (server, thief) = (self_signed(), self_signed());
    // The library itself does not put the two together.
    let (_, key) = thief.identity();
    let mixed = (vec![server.certificate.clone()], key.clone_key());
    assert!(matches!(server_config(mixed, Serving::default()), Err(TlsError::Unusable(_))));

    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let copied = rustls::sign::CertifiedKey::new(vec![server.certificate.clone()], key);
    let mut config = server_config(thief.identity(), Serving::default()).unwrap();
    config.cert_resolver = Arc::new(Copied(Arc::new(copied)));
    let client = pinned_client_config(server.fingerprint(), None).unwrap();
    let refused = shake_hands(client, config).err().unwrap();
    let expected = rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature);
    assert_eq!(refused, expected);
}

/// Neither end has code for TLS 1.2 unless another crate asks for it; then this shows that it stays unused.
#[test]
fn both_ends_offer_one_protocol() {
    let server = self_signed();
    let client = pinned_client_config(server.fingerprint(), None).unwrap();
    assert_eq!(client.alpn_protocols, [b"http/1.1"]);
    let mut client =
        ClientConnection::new(Arc::new(client), ServerName::try_from("a.example").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    // Extension supported_versions (RFC 8446, section 4.2.1) with 0x0304 alone.
    let supported_versions = [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04];
    assert!(hello.windows(supported_versions.len()).any(|window| window == supported_versions));
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn client(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["tenant.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }
}

#[test]
fn with_an_authority_only_its_clients_get_through() {
    let (server, authority) = (self_signed(), Authority::new());
    let shake_hands = |client: Option<Identity>| {
        let roots = client_authority(certificates_from_pem(authority.0.pem().as_bytes()).unwrap()).unwrap();
        let config =
            server_config(server.identity(), Serving { clients: Some(roots), ..Serving::default() }).unwrap();
        shake_hands(pinned_client_config(server.fingerprint(), client).unwrap(), config)
    };
    assert!(shake_hands(Some(authority.client())).is_ok());
    assert!(shake_hands(None).is_err());
    assert!(shake_hands(Some(Authority::new().client())).is_err());
    assert!(shake_hands(Some(self_signed().identity())).is_err());
}

#[test]
fn a_request_is_for_the_same_key_and_names() {
    let server = self_signed();
    let request = certificate_request(&names(), &server.private_key).unwrap();
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let der = rustls::pki_types::CertificateSigningRequestDer::from(pem_body(&request));
    let contains = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
    let key = KeyPair::try_from(server.private_key.as_slice()).unwrap();
    assert!(contains(key.public_key_raw()));
    assert!(contains(b"proxy.example") && contains(&[127, 0, 0, 1]));
    assert!(matches!(certificate_request(&names(), b"x"), Err(TlsError::PrivateKey)));
}

fn pem_body(pem: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&body).unwrap()
}

#[test]
fn names_that_no_certificate_holds() {
    assert!(matches!(SelfSigned::generate(&["Zoë".to_owned()]), Err(TlsError::Names(_))));
}

#[test]
fn what_is_no_pem() {
    let server = self_signed();
    let key = KeyPair::try_from(server.private_key.as_slice()).unwrap().serialize_pem();
    assert!(private_key_from_pem(key.as_bytes()).is_ok());
    for text in
        ["", "x", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"]
    {
        assert!(matches!(certificates_from_pem(text.as_bytes()), Err(TlsError::Certificates)), "{text}");
        assert!(matches!(private_key_from_pem(text.as_bytes()), Err(TlsError::PrivateKey)), "{text}");
    }
    assert!(matches!(certificates_from_pem(key.as_bytes()), Err(TlsError::Certificates)));
    assert!(matches!(client_authority(vec![b"x".to_vec().into()]), Err(TlsError::ClientAuthority(_))));
}

proptest! {
    #[test]
    fn fingerprints_there_and_back(der in any::<Vec<u8>>()) {
        let fingerprint = Fingerprint::of(&der);
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.to_uppercase().parse(), Ok(fingerprint));
        let pairs: Vec<_> = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        assert_eq!(pairs.join(":").parse(), Ok(fingerprint));
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,100}") {
        let _ = text.parse::<Fingerprint>();
    }
}

#[test]
fn what_is_no_fingerprint() {
    let text = Fingerprint::of(b"").to_string();
    assert_eq!(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let colons = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
    let colons = colons.join(":");
    for wrong in [
        "",
        &text[2..],
        &text[1..],
        &format!("{text}00"),
        &format!("{text}:"),
        &format!(":{text}"),
        &format!("{colons}:"),
        &colons.replacen(':', "", 1),
        &text.replacen("e3", "+3", 1),
        &text.replacen("e3", "g3", 1),
        &text.replacen("e3", "é", 1),
        &format!("sha256:{text}"),
    ] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}
