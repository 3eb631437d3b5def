//! The vault: its content as JSON, encrypted under a passphrase (age v1, recipient type scrypt) in one
//! file. It is replaced as a whole, under a lock that keeps a second writer out.

use crate::content::{Content, VERSION, WITHOUT_GRANTS};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use trefoil_keys::kill_point;
use trefoil_keys::private_file::{self, FileError};
use trefoil_passphrase::{LockError, SecretString, unlock};

/// Why a vault cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    #[error(
        "there is no vault at {0}; name another one with --vault, or make one with: trefoil-admin --vault {0} bootstrap, or handover prepare"
    )]
    Missing(PathBuf),
    #[error("{0} exists already and is left as it is; choose another --vault for a new tenant")]
    Exists(PathBuf),
    #[error("another trefoil-admin is at work on {0}; try again when it has ended")]
    Busy(PathBuf),
    #[error("cannot lock {path}: {source}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("wrong passphrase for the vault {0}")]
    WrongPassphrase(PathBuf),
    #[error("{0} is not a vault, or damaged; restore it from a backup")]
    NotAVault(PathBuf),
    #[error(
        "opening {path} would take too much work (scrypt work factor {required}); it was not made by trefoil-admin"
    )]
    TooMuchWork { path: PathBuf, required: u8 },
    #[error(
        "{path} has format version {found}, this program knows versions 2 and 3; use the release that wrote it (version 1 was never meant for production: bootstrap the tenant anew)"
    )]
    Version { path: PathBuf, found: u64 },
    #[error("cannot encrypt the vault: {0}")]
    Encrypt(io::Error),
    #[error(transparent)]
    File(#[from] FileError),
}

/// A place for a vault, and how much work guessing its passphrase shall be.
pub(crate) struct VaultFile {
    path: PathBuf,
    work_factor: Option<u8>,
}

/// Held while a vault is read, changed and written. Released by the operating system when the process
/// ends in whatever way; the lock file stays, because removing it would let two writers in.
pub(crate) struct Lock {
    _file: File,
}

impl VaultFile {
    /// Where the vault is, or is to be made.
    pub(crate) fn new(path: PathBuf, work_factor: Option<u8>) -> Self {
        // Behind a symbolic link, the file itself is to be replaced and not the link.
        Self { path: fs::canonicalize(&path).unwrap_or(path), work_factor }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that there is a vault.
    pub(crate) fn require(&self) -> Result<(), VaultError> {
        if self.path.exists() { Ok(()) } else { Err(VaultError::Missing(self.path.clone())) }
    }

    /// Makes sure that nothing would be overwritten.
    pub(crate) fn require_none(&self, _lock: &Lock) -> Result<(), VaultError> {
        match fs::symlink_metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(VaultError::Exists(self.path.clone())),
        }
    }

    /// Keeps other writers out until the lock is dropped; fails at once if there is one.
    pub(crate) fn lock(&self) -> Result<Lock, VaultError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |source| VaultError::Lock { path: path.clone(), source };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(VaultError::Busy(self.path.clone())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Decrypts and parses the vault.
    pub(crate) fn load(&self, passphrase: &SecretString) -> Result<Content, VaultError> {
        let sealed = private_file::read(&self.path)?;
        let content = unlock(&sealed, passphrase).map_err(|error| self.closed(error))?;
        // serde's messages may repeat what stands in the file: they go no further.
        let damaged = |_| VaultError::NotAVault(self.path.clone());
        #[derive(serde::Deserialize)]
        struct Header {
            version: u64,
        }
        let Header { version } = serde_json::from_slice(&content).map_err(damaged)?;
        let read = || serde_json::from_slice::<Content>(&content).map_err(damaged);
        match version {
            VERSION => read(),
            WITHOUT_GRANTS => read().map(Content::with_grants),
            found => Err(VaultError::Version { path: self.path.clone(), found }),
        }
    }

    /// Encrypts the content and replaces the vault by it.
    pub(crate) fn store(
        &self,
        lock: &Lock,
        content: &Content,
        passphrase: &SecretString,
    ) -> Result<(), VaultError> {
        let content = private_file::to_compact_json(content).map_err(|e| VaultError::Encrypt(e.into()))?;
        let sealed =
            trefoil_passphrase::lock(&content, passphrase, self.work_factor).map_err(VaultError::Encrypt)?;
        kill_point("vault.sealed");
        self.replace(lock, &sealed)
    }

    fn closed(&self, error: LockError) -> VaultError {
        let path = self.path.clone();
        match error {
            LockError::WrongPassphrase => VaultError::WrongPassphrase(path),
            LockError::Damaged => VaultError::NotAVault(path),
            LockError::TooMuchWork(required) => VaultError::TooMuchWork { path, required },
        }
    }

    /// Replaces the vault by what is encrypted already.
    pub(crate) fn replace(&self, _lock: &Lock, sealed: &[u8]) -> Result<(), VaultError> {
        Ok(private_file::write(&self.path, sealed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, SecretString, VaultError, VaultFile, private_file};
    use crate::content::{Claiming, Stage};
    use trefoil_passphrase::lock;

    /// What becomes of a vault that says it has this version.
    fn loaded(version: u64) -> Result<Content, VaultError> {
        let directory = tempfile::tempdir().unwrap();
        let claiming = Claiming {
            url: "https://proxy.example:6434".to_owned(),
            fingerprint: "ab".repeat(32).parse().unwrap(),
            claim: "a claim".to_owned(),
        };
        let mut json = serde_json::to_value(Content::new(Stage::Claiming(claiming))).unwrap();
        json["version"] = version.into();
        let passphrase = SecretString::from("correct horse battery staple");
        let path = directory.path().join("clinic.vault");
        let sealed = lock(json.to_string().as_bytes(), &passphrase, Some(2)).unwrap();
        private_file::write(&path, &sealed).unwrap();
        VaultFile::new(path, Some(2)).load(&passphrase)
    }

    #[test]
    fn the_version_before_is_read_and_becomes_this_one() {
        for version in [2, 3] {
            let json = serde_json::to_value(loaded(version).unwrap()).unwrap();
            assert_eq!(json["version"], 3);
        }
        for other in [0, 1, 4] {
            assert!(matches!(loaded(other), Err(VaultError::Version { found, .. }) if found == other));
        }
    }
}
