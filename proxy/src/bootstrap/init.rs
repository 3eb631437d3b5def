//! `trefoil-proxy init`: the proxy's store, keys and certificate, and the one-time password with which
//! the tenant admin fetches TK; or the hand-over itself, as a file sealed to the tenant admin's key; or
//! neither, for a proxy that takes a lost one's place.

use super::appointed::{Appointed, AppointmentError};
use super::{new_handover, trust};
use crate::state::{Bootstrap, Identity, NewState, OneTimePassword, Sequence, State, StateError, now};
use clap::Args;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::Version;
use trefoil_keys::envelope::{self, EnvelopeError, EnvelopePrivateKey, EnvelopePublicKey};
use trefoil_keys::kill_point;
use trefoil_keys::lock::{Lock, LockError};
use trefoil_keys::password::PasswordHash;
use trefoil_keys::private_file::{self, FileError};
use trefoil_keys::signing::{SigningError, SigningKey};
use trefoil_keys::store::{Store, StoreError};
use trefoil_keys::tls::{Fingerprint, SelfSigned, TlsError, certificate_request};
use zeroize::Zeroizing;

/// The first epoch of every keyspace.
const FIRST_EPOCH: u8 = 1;

/// Arguments of `init`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  trefoil-proxy init --config proxy.toml --tenant clinic --application clinic-app\n  trefoil-proxy init --config proxy.toml --appointment clinic.appointment"
)]
pub struct InitArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of the tenant
    #[arg(long, value_name = "NAME", value_parser = name, required_unless_present = "appointment")]
    pub tenant: Option<String>,
    /// Id of the application that the proxy serves
    #[arg(long, value_name = "ID", value_parser = name, required_unless_present = "appointment")]
    pub application: Option<String>,
    /// Take the place of a proxy that is lost, for the tenant key that there is: what trefoil-admin
    /// proxy appoint has written
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keyspace", "password_hash", "password_ttl", "seal_to"])]
    pub appointment: Option<PathBuf>,
    /// Keyspaces, each with a tenant key of its own
    #[arg(long, value_name = "NAME", num_args = 1.., default_value = "main", value_parser = name)]
    pub keyspace: Vec<String>,
    /// The hash of a one-time password that the tenant has chosen (trefoil-admin password-hash)
    #[arg(long, value_name = "HASH")]
    pub password_hash: Option<PasswordHash>,
    /// How long the one-time password counts, such as 24h or 45m
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub password_ttl: u64,
    /// Names and addresses for the certificate
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Also write a request for a certificate of the same key to this file (PEM)
    #[arg(long, value_name = "FILE")]
    pub csr: Option<PathBuf>,
    /// Replace the store of an unfinished or burnt bootstrap
    #[arg(long)]
    pub anew: bool,
    /// With --anew: replace the store whatever it holds; what is encrypted under its tenant key stays so
    #[arg(long, requires = "anew")]
    pub forget_everything: bool,
    /// Hand TK over in a file, sealed to the tenant admin's public key (JWK)
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with = "password_hash")]
    pub seal_to: Option<PathBuf>,
    /// Where to write the sealed hand-over
    #[arg(long, value_name = "FILE", requires = "seal_to")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err("a name has 1 to 64 letters, digits, or any of -_.".to_owned());
    }
    Ok(text.to_owned())
}

fn seconds(text: &str) -> Result<u64, String> {
    const MAX: u64 = 31 * 24 * 60 * 60;
    let unit = |c| match c {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(60 * 60),
        'd' => Some(24 * 60 * 60),
        _ => None,
    };
    text.chars()
        .last()
        .and_then(unit)
        .zip(text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u64>().ok()))
        .and_then(|(unit, number)| number.checked_mul(unit))
        .filter(|seconds| (1..=MAX).contains(seconds))
        .ok_or_else(|| "a time is a number with s, m, h or d, of at most 31 days".to_owned())
}

/// Why there is no new store. The messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error(
        "the store in {0} exists, and its bootstrap is finished: its users would lose access; if that is \
         meant, use --anew --forget-everything"
    )]
    Finished(PathBuf),
    /// There is one whose bootstrap is not finished.
    #[error("the store in {0} exists; use --anew to replace it")]
    Exists(PathBuf),
    /// There is one, and it is not known how far it got.
    #[error("{0}; to replace the store without looking at it, use --anew --forget-everything")]
    Unreadable(StoreError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its content.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate.
    #[error("the certificate: {0}")]
    Tls(TlsError),
    /// The new keys.
    #[error("no new key: {0}")]
    Key(EnvelopeError),
    /// The new keys.
    #[error("no new key: {0}")]
    Signing(SigningError),
    /// The tenant admin's key.
    #[error("{path}: {reason}; make it with trefoil-admin handover prepare")]
    Recipient {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The appointment.
    #[error(transparent)]
    Appointment(#[from] AppointmentError),
    /// An output file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The request for a certificate, which is public.
    #[error("cannot write {path}: {reason}")]
    Request {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The report.
    #[error("cannot print the report: {0}")]
    Report(std::io::Error),
}

impl From<TlsError> for InitError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<EnvelopeError> for InitError {
    fn from(error: EnvelopeError) -> Self {
        Self::Key(error)
    }
}

impl From<SigningError> for InitError {
    fn from(error: SigningError) -> Self {
        Self::Signing(error)
    }
}

/// What is printed. The password is in it once and nowhere else.
#[derive(Serialize)]
struct Report<'a> {
    fingerprint: Fingerprint,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handover: Option<&'a Path>,
    /// Key id of whom the hand-over is sealed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_to: Option<&'a str>,
    /// Of whom signed the appointment.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    csr: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_created: Option<&'a Path>,
}

/// Makes the store in `directory`; `listen` is the admin port's address.
pub fn run(
    arguments: &InitArguments,
    directory: &Path,
    lock: &Lock,
    listen: SocketAddr,
) -> Result<(), InitError> {
    may_replace(arguments, directory, lock)?;
    let names = (arguments.tenant.as_deref(), arguments.application.as_deref());
    let appointment = arguments.appointment.as_deref();
    let appointed = appointment.map(|path| Appointed::read(path, names, now())).transpose()?;
    let recipient = arguments.seal_to.as_deref().map(recipient).transpose()?;
    let lock_created = lock.create_if_missing()?;

    let names = match arguments.names.as_slice() {
        [] => vec!["localhost".to_owned(), listen.ip().to_string()],
        names => names.to_vec(),
    };
    let certificate = SelfSigned::generate(&names)?;
    if let Some(csr) = &arguments.csr {
        let request = certificate_request(&names, &certificate.private_key)?;
        std::fs::write(csr, request).map_err(|reason| InitError::Request { path: csr.clone(), reason })?;
    }
    let envelope_key = EnvelopePrivateKey::generate()?;
    let receipt_key = SigningKey::generate()?;
    let expires = now().saturating_add(arguments.password_ttl);
    let tenant_key = appointed.as_ref().map(Appointed::tenant_key);
    let mut password = None;
    let (identity, bootstrap, sequence) = match (appointed, &recipient, &arguments.out) {
        (Some(appointed), ..) => {
            let Appointed { identity, trust, sequence } = appointed;
            (identity, Bootstrap::Ready { claim_sha256: None, trust }, sequence)
        }
        (None, Some(recipient), Some(out)) => {
            let identity = identity(arguments);
            let keys = vec![envelope_key.public_key().clone()];
            let handover = new_handover(&identity, receipt_key.verifying_key().clone(), keys)?;
            // Before the store: a hand-over that belongs to no proxy opens nothing.
            private_file::write(out, envelope::seal(&handover, recipient)?.as_bytes())?;
            let bootstrap = Bootstrap::Ready { claim_sha256: None, trust: trust(&handover) };
            (identity, bootstrap, Sequence::default())
        }
        _ => {
            let hash = match &arguments.password_hash {
                Some(hash) => hash.clone(),
                None => {
                    let (hash, made) = PasswordHash::generate();
                    password = Some(made);
                    hash
                }
            };
            let bootstrap = Bootstrap::Open { password: OneTimePassword { hash, expires, wrong: 0 } };
            (identity(arguments), bootstrap, Sequence::default())
        }
    };
    let is_open = matches!(bootstrap, Bootstrap::Open { .. });
    let fingerprint = certificate.fingerprint();
    let new = NewState { identity, bootstrap, sequence, envelope_key, receipt_key, certificate };
    let store = Store::replace(directory, lock)?;
    kill_point("init.made");
    State::fill(&store, &new)?;

    let lock_file = match lock {
        Lock::KeyFile(path) if lock_created => Some(path.as_path()),
        _ => None,
    };
    let report = Report {
        fingerprint,
        password: password.as_deref().map(String::as_str),
        password_expires: is_open.then_some(expires),
        handover: arguments.out.as_deref(),
        sealed_to: recipient.as_ref().map(EnvelopePublicKey::kid),
        tenant_key,
        csr: arguments.csr.as_deref(),
        lock_created: lock_file,
    };
    print(&report, arguments.json).map_err(InitError::Report)
}

/// Who the proxy is if nobody has appointed it.
fn identity(arguments: &InitArguments) -> Identity {
    Identity {
        version: Version,
        tenant: arguments.tenant.clone().unwrap_or_default(),
        application: arguments.application.clone().unwrap_or_default(),
        keyspaces: arguments.keyspace.iter().map(|name| (name.clone(), FIRST_EPOCH)).collect(),
    }
}

/// Whether there is no store, or one that may go.
fn may_replace(arguments: &InitArguments, directory: &Path, lock: &Lock) -> Result<(), InitError> {
    if arguments.forget_everything || !Store::exists(directory) {
        return Ok(());
    }
    let store = Store::open(directory, lock).map_err(InitError::Unreadable)?;
    match State::bootstrap_of(&store)? {
        // Never filled: a former run was interrupted.
        None => Ok(()),
        Some(Bootstrap::Ready { .. }) => Err(InitError::Finished(directory.to_owned())),
        Some(_) if arguments.anew => Ok(()),
        Some(_) => Err(InitError::Exists(directory.to_owned())),
    }
}

fn recipient(path: &Path) -> Result<EnvelopePublicKey, InitError> {
    let unusable = |reason: String| InitError::Recipient { path: path.to_owned(), reason };
    let jwk = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    EnvelopePublicKey::from_jwk(&jwk).map_err(|error| unusable(error.to_string()))
}

fn print(report: &Report<'_>, json: bool) -> std::io::Result<()> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    if json {
        text = private_file::to_json(report)?;
    } else {
        describe(report, &mut text)?;
    }
    std::io::Write::write_all(&mut std::io::stdout().lock(), &text)
}

fn describe(report: &Report<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(lock) = report.lock_created {
        writeln!(out, "lock file:    {}", lock.display())?;
        writeln!(out, "              keep a copy apart from the store: without it nothing opens the store")?;
    }
    writeln!(out, "fingerprint:  {}", report.fingerprint)?;
    if let Some(csr) = report.csr {
        writeln!(out, "request:      {}", csr.display())?;
    }
    if let Some(password) = report.password {
        writeln!(out, "password:     {password}")?;
        writeln!(out, "              it is shown this once, and counts for one bootstrap")?;
    }
    if let Some(tenant_key) = &report.tenant_key {
        writeln!(out, "tenant's key: {tenant_key}")?;
        writeln!(out, "              compare it with what trefoil-admin proxy appoint has printed")?;
        writeln!(out, "next:         start trefoil-proxy; then, where the tenant's keys are:")?;
        let fingerprint = report.fingerprint;
        return writeln!(
            out,
            "              trefoil-admin proxy set --url https://… --fingerprint {fingerprint}"
        );
    }
    match report.handover {
        Some(handover) => {
            writeln!(out, "hand-over:    {}", handover.display())?;
            if let Some(kid) = report.sealed_to {
                writeln!(out, "sealed to:    {kid}")?;
                writeln!(
                    out,
                    "              compare it with what trefoil-admin handover prepare has printed"
                )?;
            }
            writeln!(out, "next:         trefoil-admin handover accept {}", handover.display())
        }
        None => {
            let fingerprint = report.fingerprint;
            writeln!(out, "next:         start trefoil-proxy; then, where the tenant's keys are to be:")?;
            writeln!(out, "              trefoil-admin bootstrap --url https://… --fingerprint {fingerprint}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{name, seconds};

    #[test]
    fn times_have_a_unit_and_a_bound() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("31d"), Ok(31 * 86_400));
        for wrong in
            ["", "h", "24", "0s", "-1h", "32d", "1w", "1é", "99999999999999999999d", "999999999999999999d"]
        {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(name("clinic-app.1").is_ok());
        for wrong in ["", " ", "a b", "a/b", &"a".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
