//! An application's end of TLS: what comes to its port goes on under TLS, to a server whose certificate an
//! authority has signed. A connection that one end breaks off is broken off at the other, too.

use crate::{Error, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// SSLRequest of PostgreSQL's protocol.
const REQUEST: &[u8; 8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// Starts one to a port of the loopback interface, which goes on until this process ends; its own port.
///
/// # Errors
/// An authority's file that cannot be read, or no port.
pub fn start(server: u16, authority: &Path) -> Result<u16> {
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("TLS: {error}"));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).map_err(|error| failed(&error))?)
        .map_err(|error| failed(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((client, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move { drop(relay(client, server, connector).await) });
            }
        });
    });
    Ok(port)
}

async fn relay(client: TcpStream, server: u16, connector: TlsConnector) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    client.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST).await?;
    if stream.read_u8().await? != b'S' {
        return Ok(());
    }
    let secure =
        connector.connect(ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)), stream).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(secure);
    let upward = tokio::io::copy(&mut from_client, &mut to_server);
    let downward = tokio::io::copy(&mut from_server, &mut to_client);
    // Whichever ends first ends both.
    tokio::select! {
        ended = upward => ended.map(drop),
        ended = downward => ended.map(drop),
    }
}
