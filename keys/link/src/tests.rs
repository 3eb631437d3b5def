//! Both ends of a connection over loopback, with certificates of an authority made for the test.

use crate::{
    AcceptError, Accepted, Address, ClientTls, Clients, ConnectError, ServedTls, Source, Stream, Subject,
    Trust, accept, connect, end_point,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use trefoil_keys::tls::{self, Identity};

const START: &[u8] = b"\0\0\0\x0b\0\x03\0\0ab\0";
const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// An authority, and the files of what it has certified.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Writes certificate and key for a name, into files of that name unless others are given.
    fn certify(&self, name: &str, file: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let [chain, private] = ["crt", "key"].map(|kind| self.dir.path().join(format!("{file}.{kind}")));
        fs::write(&chain, certificate.pem()).unwrap();
        let mut out =
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&private);
        out.as_mut().unwrap().write_all(key.serialize_pem().as_bytes()).unwrap();
        (chain, private)
    }

    fn serves(&self, clients: Option<Clients>) -> ServedTls {
        let (certificate, key) = self.certify("localhost", "server");
        ServedTls::new(Source::Files { certificate, key }, clients, false, &[b"postgresql"]).unwrap()
    }

    fn identity(&self, name: &str) -> Identity {
        let (chain, key) = self.certify(name, name);
        let read = |path: &Path| fs::read(path).unwrap();
        (tls::certificates_from_pem(&read(&chain)).unwrap(), tls::private_key_from_pem(&read(&key)).unwrap())
    }
}

/// What the server makes of one connection.
async fn serve(tls: Option<&ServedTls>) -> (Address, tokio::task::JoinHandle<Result<Accepted, AcceptError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp("localhost".to_owned(), listener.local_addr().unwrap().port());
    let offer = tls.map(ServedTls::offer);
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        accept(Stream::Tcp(stream), offer).await
    });
    (address, accepted)
}

fn client(trust: &Trust, identity: Option<Identity>) -> ClientTls {
    ClientTls::new("localhost", trust, identity, false).unwrap()
}

#[tokio::test]
async fn under_tls_both_ends_know_each_other() {
    let authority = Authority::new();
    let clients = Clients { authority: authority.file(), required: false };
    let served = authority.serves(Some(clients));
    for (trust, identity) in [
        (Trust::Authority(authority.file()), None),
        (Trust::Pinned(served.offer().fingerprint), Some(authority.identity("alice"))),
    ] {
        let shown = identity.is_some();
        let (address, accepted) = serve(Some(&served)).await;
        let mut stream = connect(&address, Some(&client(&trust, identity))).await.unwrap();
        stream.write_all(START).await.unwrap();
        stream.flush().await.unwrap();
        let Accepted { stream: server, packet, tls } = accepted.await.unwrap().ok().unwrap();
        assert_eq!(&packet[..], START);
        assert!(server.is_private() && stream.is_private());
        // Both compute the same channel binding.
        let binding = stream.peer_certificate().and_then(end_point);
        assert_eq!(binding.as_ref().map(Vec::len), Some(32));
        assert_eq!(tls.unwrap().end_point, binding);
        let subject = server.peer_certificate().and_then(Subject::read);
        assert_eq!(subject.map(|subject| subject.common_name), shown.then(|| "alice".to_owned()));
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_the_connection() {
    let (authority, other) = (Authority::new(), Authority::new());
    let served = authority.serves(None);
    let wrong_name = ClientTls::new("127.0.0.2", &Trust::Authority(authority.file()), None, false).unwrap();
    let stranger = other.serves(None).offer().fingerprint;
    for tls in [
        client(&Trust::Authority(other.file()), None),
        client(&Trust::Pinned(stranger), None),
        client(&Trust::System, None),
        wrong_name,
    ] {
        let (address, accepted) = serve(Some(&served)).await;
        let refused = connect(&address, Some(&tls)).await.err().unwrap();
        assert!(matches!(refused, ConnectError::Handshake(_)), "{refused}");
        assert!(matches!(accepted.await.unwrap(), Err(AcceptError::Handshake(_))));
    }
}

#[tokio::test]
async fn clients_must_show_a_certificate_where_it_is_required() {
    let (authority, other) = (Authority::new(), Authority::new());
    let served = authority.serves(Some(Clients { authority: authority.file(), required: true }));
    for (identity, welcome) in
        [(None, false), (Some(other.identity("eve")), false), (Some(authority.identity("alice")), true)]
    {
        let (address, accepted) = serve(Some(&served)).await;
        let tls = client(&Trust::Authority(authority.file()), identity);
        // In TLS 1.3 the client has finished before the server judges.
        if let Ok(mut stream) = connect(&address, Some(&tls)).await {
            stream.write_all(START).await.unwrap_or_default();
            stream.flush().await.unwrap_or_default();
        }
        assert_eq!(accepted.await.unwrap().is_ok(), welcome);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_left_before_anything_is_said() {
    let authority = Authority::new();
    let (address, accepted) = serve(None).await;
    let refused = connect(&address, Some(&client(&Trust::Authority(authority.file()), None))).await;
    assert!(matches!(refused, Err(ConnectError::NoTls)));
    assert!(matches!(accepted.await.unwrap(), Err(AcceptError::Io(_))));
}

/// What a client in clear gets for these bytes, and the packet or the error that the server makes of them.
async fn raw(tls: Option<&ServedTls>, sent: &[u8]) -> (Vec<u8>, Result<Vec<u8>, String>) {
    let (Address::Tcp(_, port), accepted) = serve(tls).await else { panic!() };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream.shutdown().await.unwrap();
    let accepted = accepted.await.unwrap();
    let accepted = accepted.map(|found| found.packet.to_vec()).map_err(|error| error.to_string());
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap_or_default();
    (answer, accepted)
}

#[tokio::test]
async fn requests_for_encryption_are_answered_and_the_packet_follows() {
    let gss = b"\0\0\0\x08\x04\xd2\x16\x30".as_slice();
    let (answer, accepted) = raw(None, &[gss, SSL, START].concat()).await;
    assert_eq!(answer, b"NN");
    assert_eq!(accepted.unwrap(), START);
    // The second one is no request any more.
    let (answer, accepted) = raw(None, &[SSL, gss, SSL].concat()).await;
    assert_eq!((answer.as_slice(), accepted.unwrap().as_slice()), (&b"NN"[..], SSL));
}

#[tokio::test]
async fn what_was_sent_ahead_of_the_handshake_is_never_taken_for_more() {
    let served = Authority::new().serves(None);
    let (answer, accepted) = raw(Some(&served), &[SSL, START].concat()).await;
    assert_eq!(answer.first(), Some(&b'S'));
    assert!(accepted.unwrap_err().starts_with("no TLS handshake"));
}

#[tokio::test]
async fn lengths_that_no_first_packet_has_are_refused_before_anything_is_kept() {
    for sent in [b"\0\0\0\x07".as_slice(), b"\xff\xff\xff\xff", b"\0\0\x27\x11", b"GET / HTTP/1.1\r\n"] {
        let says = raw(None, sent).await.1.unwrap_err();
        assert_eq!(says, "invalid length of the first packet", "{}", sent.escape_ascii());
    }
    assert!(raw(None, &START[..6]).await.1.unwrap_err().contains("eof"));
}

#[tokio::test]
async fn tls_from_the_first_byte_needs_alpn() {
    let authority = Authority::new();
    let served = authority.serves(None);
    for (alpn, welcome) in
        [(Some(b"postgresql".to_vec()), true), (None, false), (Some(b"http/1.1".to_vec()), false)]
    {
        let (Address::Tcp(_, port), accepted) = serve(Some(&served)).await else { panic!() };
        let mut config = Trust::Authority(authority.file()).client_config(None, false).unwrap();
        config.alpn_protocols = alpn.into_iter().collect();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        if let Ok(mut stream) = connector.connect("localhost".try_into().unwrap(), stream).await {
            stream.write_all(START).await.unwrap_or_default();
            stream.flush().await.unwrap_or_default();
        }
        assert_eq!(accepted.await.unwrap().is_ok(), welcome);
    }
}

#[tokio::test]
async fn a_reload_serves_new_connections_and_a_bad_file_changes_nothing() {
    let authority = Authority::new();
    let served = authority.serves(None);
    let before = served.offer().fingerprint;
    assert!(!served.reload().unwrap());
    authority.certify("localhost", "server");
    assert!(served.reload().unwrap());
    let after = served.offer().fingerprint;
    assert_ne!(before, after);
    fs::write(authority.dir.path().join("server.crt"), "nothing").unwrap();
    let says = served.reload().err().unwrap().to_string();
    assert!(says.contains("server.crt: no certificates in PEM"), "{says}");
    assert_eq!(served.offer().fingerprint, after);
}

#[test]
fn only_a_certificate_with_one_plain_name_has_a_subject() {
    let authority = Authority::new();
    let named = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &authority.issuer).unwrap();
        Subject::read(certificate.der()).map(|subject| subject.common_name)
    };
    assert_eq!(named("alice"), Some("alice".to_owned()));
    assert_eq!(named("alice\0.example"), None);
    assert_eq!(named(""), None);
    assert_eq!(Subject::read(b"nothing"), None);
}
