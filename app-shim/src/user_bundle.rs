//! The user's bundle at rest: locked under a passphrase, or plain as trefoil-admin issued it.

#[cfg(feature = "keyring")]
use crate::keyring;
use crate::sealing_key;
use anyhow::{Context as _, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use trefoil_keys::bundle::{self, UserBundle};
use trefoil_keys::private_file;
use trefoil_passphrase::{
    LockError, MAX_WORK_FACTOR, Passphrase, SecretString, Use, is_locked, lock, unlock,
};

/// What prompts call it.
const NAME: &str = "your share";

/// Flags of `agent import`.
#[derive(Args)]
pub(crate) struct Import {
    /// The bundle as trefoil-admin issued it (JSON)
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The locked bundle, which must not exist yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File descriptor to read the new passphrase from, in place of a prompt
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<u32>,
    /// Lock it with a random passphrase, which the system's keyring keeps
    #[cfg(feature = "keyring")]
    #[arg(long, conflicts_with = "passphrase_fd")]
    keyring: bool,
    /// scrypt's log2(N), for tests alone: without it, about one second of work is chosen.
    #[arg(long, hide = true, value_name = "LOG2_N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_WORK_FACTOR)))]
    work_factor: Option<u8>,
}

/// A bundle that was read.
pub(crate) struct Opened {
    /// It.
    pub(crate) bundle: UserBundle,
    /// Whether the file is locked.
    pub(crate) locked: bool,
}

/// Reads a bundle, and asks for its passphrase if it is locked.
pub(crate) fn open(path: &Path, passphrase_fd: Option<u32>) -> anyhow::Result<Opened> {
    let content = private_file::read(path)?;
    if !is_locked(&content) {
        return Ok(Opened { bundle: bundle::parse(&content, path)?, locked: false });
    }
    let passphrase = existing_passphrase(&content, passphrase_fd)?;
    let content = unlock(&content, &passphrase).map_err(|error| match error {
        LockError::WrongPassphrase => anyhow::anyhow!("wrong passphrase for {}", path.display()),
        error => anyhow::anyhow!("{}: {error}; import the bundle again", path.display()),
    })?;
    Ok(Opened { bundle: bundle::parse(&content, path)?, locked: true })
}

/// As it is given, else as the keyring has it, else as the user types it.
fn existing_passphrase(locked: &[u8], descriptor: Option<u32>) -> anyhow::Result<SecretString> {
    let passphrase = Passphrase::new(NAME, descriptor);
    if !passphrase.is_given()
        && let Some(found) = from_keyring(locked)
    {
        return Ok(found);
    }
    Ok(passphrase.obtain(Use::Existing)?.clone())
}

#[cfg(feature = "keyring")]
fn from_keyring(locked: &[u8]) -> Option<SecretString> {
    // Without a keyring, or with one that does not know the file, its user is asked.
    keyring::find(locked).unwrap_or_else(|error| {
        eprintln!("trefoil-shim: {error:#}");
        None
    })
}

#[cfg(not(feature = "keyring"))]
fn from_keyring(_: &[u8]) -> Option<SecretString> {
    None
}

/// Locks a bundle.
pub(crate) fn import(arguments: &Import) -> anyhow::Result<()> {
    let Import { bundle: path, out, work_factor, .. } = arguments;
    let content = private_file::read(path)?;
    if is_locked(&content) {
        bail!("{} is locked already; use it as it is", path.display());
    }
    let bundle: UserBundle = bundle::parse(&content, path)?;
    if out.exists() {
        bail!("{} exists already and is left as it is; choose another --out", out.display());
    }
    let passphrase = arguments.new_passphrase()?;
    let locked = lock(&content, &passphrase, *work_factor)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    let keeper = arguments.keep(&locked, &passphrase, &bundle.user)?;
    private_file::create(out, &locked)?;
    sealing_key::carry_over(path, out)?;
    println!(
        "the share of {} is in {}, locked by {keeper}; delete the plain one now: shred -u {}",
        bundle.user,
        out.display(),
        path.display()
    );
    Ok(())
}

impl Import {
    fn typed_passphrase(&self) -> anyhow::Result<SecretString> {
        Ok(Passphrase::new(NAME, self.passphrase_fd).obtain(Use::New)?.clone())
    }
}

#[cfg(feature = "keyring")]
impl Import {
    fn new_passphrase(&self) -> anyhow::Result<SecretString> {
        if self.keyring { keyring::random_passphrase() } else { self.typed_passphrase() }
    }

    /// Has the passphrase kept, and says by whom.
    fn keep(&self, locked: &[u8], passphrase: &SecretString, user: &str) -> anyhow::Result<&'static str> {
        if !self.keyring {
            return Ok("the passphrase");
        }
        keyring::keep(locked, passphrase, &format!("Trefoil: share of {user}"))?;
        Ok("the keyring")
    }
}

#[cfg(not(feature = "keyring"))]
impl Import {
    fn new_passphrase(&self) -> anyhow::Result<SecretString> {
        self.typed_passphrase()
    }

    fn keep(&self, _: &[u8], _: &SecretString, _: &str) -> anyhow::Result<&'static str> {
        Ok("the passphrase")
    }
}
