//! `application set | remove | show`: where commands go, and how to log in there.

use crate::answer::Answer;
use crate::commands::{CommandError, Session, now};
use crate::network::{NetworkError, Peer, parse_url};
use crate::tenant::{ClientCertificate, Endpoint, MAIN, Password, Tenant, parse_name};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::PrivateKeyPem;
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::tls::{self, Fingerprint, Identity, TlsError};
use trefoil_passphrase::{SecretError, password};
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub(crate) enum ApplicationCommand {
    /// Say where the application's sidecar takes commands.
    Set(Set),
    /// Take a further pair of sidecar and proxy out.
    Remove {
        /// Its name.
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Show where commands go.
    Show,
}

#[derive(Args)]
pub(crate) struct Set {
    /// The name of a further pair of sidecar and proxy, which is a copy of the first one.
    #[arg(long, value_parser = parse_name, default_value = MAIN)]
    name: String,
    /// The sidecar's admin port.
    #[arg(long, value_parser = parse_url)]
    url: String,
    /// SHA-256 of the certificate there, as trefoil-shim init has printed it.
    #[arg(long, value_name = "HEX")]
    fingerprint: Fingerprint,
    #[command(flatten)]
    login: Login,
    /// Keep no password in the vault: it is asked for in each run that needs it.
    #[arg(long, conflicts_with = "password_fd")]
    ask_password: bool,
}

/// How to log in at a sidecar.
#[derive(Args)]
pub(crate) struct Login {
    /// Read the sidecar's password from this file descriptor instead of asking for it.
    #[arg(long, value_name = "N")]
    pub(crate) password_fd: Option<u32>,
    /// Client certificate (PEM), if the sidecar asks for one.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key (PKCS#8 in PEM).
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// Why there is no way to the application.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplicationError {
    #[error(
        "the vault does not know where the application's sidecar is; say it with: trefoil-admin application set --url … --fingerprint …, or carry the commands: trefoil-admin outbox write"
    )]
    Unknown,
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0} is not PEM text")]
    NotText(PathBuf),
    #[error("the client certificate: {0}")]
    Certificate(#[from] TlsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl Login {
    /// The client certificate, if one was named and is usable.
    pub(crate) fn certificate(&self) -> Result<Option<ClientCertificate>, ApplicationError> {
        let Some((chain, key)) = self.client_cert.as_deref().zip(self.client_key.as_deref()) else {
            return Ok(None);
        };
        let certificate = ClientCertificate { chain: read_text(chain)?, key: read_key(key)? };
        identity(&certificate)?;
        Ok(Some(certificate))
    }

    /// The password, read or asked for.
    pub(crate) fn password(&self) -> Result<Zeroizing<String>, SecretError> {
        password(self.password_fd, "password of the application's sidecar")
    }
}

fn read_text(path: &Path) -> Result<String, ApplicationError> {
    fs::read_to_string(path).map_err(|source| ApplicationError::Read { path: path.to_owned(), source })
}

fn read_key(path: &Path) -> Result<PrivateKeyPem, ApplicationError> {
    let content = private_file::read(path)?;
    let text = std::str::from_utf8(&content).map_err(|_| ApplicationError::NotText(path.to_owned()))?;
    Ok(PrivateKeyPem::new(Zeroizing::new(text.to_owned())))
}

/// The certificate as TLS takes it.
pub(crate) fn identity(certificate: &ClientCertificate) -> Result<Identity, TlsError> {
    let chain = tls::certificates_from_pem(certificate.chain.as_bytes())?;
    Ok((chain, tls::private_key_from_pem(certificate.key.as_str().as_bytes())?))
}

/// The first sidecar, with the password of the vault, or asked for now.
pub(crate) fn peer(tenant: &Tenant, password_fd: Option<u32>) -> Result<Peer, ApplicationError> {
    let first = peers(tenant, password_fd)?.into_iter().next();
    first.map(|(_, peer)| peer).ok_or(ApplicationError::Unknown)
}

/// The sidecars of all pairs, the first one first. A password that is asked for is that of all: they are
/// copies.
pub(crate) fn peers(tenant: &Tenant, password_fd: Option<u32>) -> Result<Peers, ApplicationError> {
    let mut asked: Option<Zeroizing<String>> = None;
    let mut peers = Vec::new();
    for (name, endpoint) in tenant.pairs() {
        let identity = endpoint.client.as_ref().map(identity).transpose()?;
        let password = match (&endpoint.password, password_fd, &asked) {
            (Some(password), None, _) => Zeroizing::new(password.as_str().to_owned()),
            (_, _, Some(asked)) => asked.clone(),
            _ => {
                let password = password(password_fd, "password of the application's sidecar")?;
                asked.insert(password).clone()
            }
        };
        let peer = Peer::new(&endpoint.url, endpoint.fingerprint, identity)?;
        peers.push((name.to_owned(), peer.with_login(&tenant.name, password)));
    }
    if peers.is_empty() { Err(ApplicationError::Unknown) } else { Ok(peers) }
}

/// Sidecars with the names of their pairs; never none.
pub(crate) type Peers = Vec<(String, Peer)>;

pub(crate) fn run(session: &Session, command: ApplicationCommand) -> Result<Answer, CommandError> {
    match command {
        ApplicationCommand::Set(arguments) => set(session, arguments),
        ApplicationCommand::Remove { name } => {
            session.change(|tenant, now| tenant.remove_pair(&name, now))?;
            show(session)
        }
        ApplicationCommand::Show => show(session),
    }
}

fn set(session: &Session, arguments: Set) -> Result<Answer, CommandError> {
    let Set { name, url, fingerprint, login, ask_password } = arguments;
    let mut opened = session.open()?;
    let tenant = opened.tenant()?;
    let client = login.certificate()?;
    let password = if ask_password { None } else { Some(Password::new(login.password()?)) };
    let former = tenant.pairs().find(|(former, _)| *former == name);
    let other = former.is_some_and(|(_, former)| former.fingerprint != fingerprint);
    // A sidecar that was made anew has lost what it was given before.
    if other && tenant.renewal().is_some() {
        tenant.begin_renewal_again(now()?);
    }
    let endpoint = Endpoint { url: url.clone(), fingerprint, password, client };
    tenant.set_pair(&name, endpoint, now()?)?;
    opened.store()?;
    let pair = Some(name).filter(|name| name != MAIN);
    Ok(Answer::new(&ApplicationSet { pair, url, fingerprint }))
}

fn show(session: &Session) -> Result<Answer, CommandError> {
    let tenant = session.read()?;
    let endpoint = tenant.endpoint.as_ref().ok_or(ApplicationError::Unknown)?;
    let Endpoint { url, fingerprint, password, client } = endpoint;
    Ok(Answer::new(&Shown {
        application: &tenant.application,
        url,
        fingerprint: *fingerprint,
        password_kept: password.is_some(),
        client_certificate: client.as_ref().map(fingerprint_of).transpose()?,
        further: tenant.pairs().skip(1).map(|(name, pair)| (name, pair.url.as_str())).collect(),
    }))
}

fn fingerprint_of(certificate: &ClientCertificate) -> Result<Fingerprint, ApplicationError> {
    let chain = tls::certificates_from_pem(certificate.chain.as_bytes())?;
    Ok(Fingerprint::of(chain.first().map(AsRef::as_ref).unwrap_or_default()))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "application")]
struct Shown<'a> {
    application: &'a str,
    url: &'a str,
    fingerprint: Fingerprint,
    /// In the vault; else it is asked for.
    password_kept: bool,
    /// Its fingerprint, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<Fingerprint>,
    /// Addresses of further pairs by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    further: BTreeMap<&'a str, &'a str>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Application {}", self.application)?;
        writeln!(f, "  url                 {}", self.url)?;
        writeln!(f, "  fingerprint         {}", self.fingerprint)?;
        writeln!(
            f,
            "  password            {}",
            if self.password_kept { "in the vault" } else { "asked for" }
        )?;
        match &self.client_certificate {
            None => writeln!(f, "  client certificate  none"),
            Some(fingerprint) => writeln!(f, "  client certificate  {fingerprint}"),
        }?;
        self.further.iter().try_for_each(|(name, url)| writeln!(f, "  pair {name:<14} {url}"))
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "application_set")]
struct ApplicationSet {
    /// Its name, if it is a further one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<String>,
    url: String,
    fingerprint: Fingerprint,
}

impl fmt::Display for ApplicationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pair {
            None => writeln!(f, "Commands go to {}.", self.url)?,
            Some(pair) => writeln!(f, "Commands go to {} as well, pair {pair}.", self.url)?,
        }
        writeln!(f, "Next: trefoil-admin status, to see whether it answers.")
    }
}
