//! What locks a store: a key file, or a key of AWS KMS.
//!
//! Either gives 32 bytes, the lock key, from which [`crate::store`] derives its own. There is no store
//! without a lock, and no other lock is ever tried than the one that is configured.

#[cfg(feature = "aws-kms")]
mod aws_kms;

use crate::private_file::{self, FileError};
use crate::secret::fill_random;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const LENGTH: usize = 32;

/// What a store is locked by. In a configuration file a table with exactly one of `key_file` and
/// `aws_kms`, the latter with `endpoint` and `region` if they are not those of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Configured")]
pub enum Lock {
    /// A file of mode 0600 that holds 32 bytes in base64url. It belongs on another disk or at least in
    /// another backup than the store.
    KeyFile(PathBuf),
    /// A symmetric key of AWS KMS, which wraps the lock key; the wrapped one lies in the store.
    /// Credentials come from where AWS's SDK looks for them.
    AwsKms {
        /// Key id, key ARN, alias name or alias ARN.
        key_id: String,
        /// URL of the service, if it is not the region's own.
        endpoint: Option<String>,
        /// Region, if it is not that of the environment.
        region: Option<String>,
    },
}

/// [`Lock`] as a configuration file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configured {
    key_file: Option<PathBuf>,
    aws_kms: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
}

impl TryFrom<Configured> for Lock {
    type Error = &'static str;

    fn try_from(configured: Configured) -> Result<Self, Self::Error> {
        match configured {
            Configured { key_file: Some(path), aws_kms: None, endpoint: None, region: None } => {
                Ok(Self::KeyFile(path))
            }
            Configured { key_file: None, aws_kms: Some(key_id), endpoint, region } => {
                Ok(Self::AwsKms { key_id, endpoint, region })
            }
            Configured { key_file: None, aws_kms: None, .. } => Err("a lock is key_file or aws_kms"),
            Configured { aws_kms: None, .. } => Err("endpoint and region go with aws_kms"),
            _ => Err("a lock is either key_file or aws_kms, not both"),
        }
    }
}

/// Why a lock does not give its key. The messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The key file does not exist.
    #[error(
        "no lock: the key file {0} does not exist; without it the store cannot be opened, so put it back from its backup"
    )]
    NoKeyFile(PathBuf),
    /// Unreadable, or exposed to others.
    #[error("no lock: {0}")]
    File(FileError),
    /// The file's content.
    #[error("no lock: {0} is no key file: it should hold 32 bytes in base64url (43 characters)")]
    MalformedKeyFile(PathBuf),
    /// There is a file already, which may be the lock of some store.
    #[error("{0} exists already and is left as it is: it may be the lock of a store")]
    KeyFileExists(PathBuf),
    /// Without the feature `aws-kms`.
    #[error(
        "no lock: this program is built without AWS KMS; build it with --features aws-kms, or lock by a key file"
    )]
    BuiltWithoutAwsKms,
    /// KMS, or the way to it, said no.
    #[error("no lock: AWS KMS key {key_id}: {reason}")]
    AwsKms {
        /// As configured.
        key_id: String,
        /// What to do about what.
        reason: String,
    },
    /// The store names another kind of lock than the configuration.
    #[error("wrong lock: the store is locked by {store}, the configuration names {configured}")]
    OtherKind {
        /// What the store says.
        store: String,
        /// What the configuration says.
        configured: &'static str,
    },
}

/// What a store keeps of its lock, in clear.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Wrapped {
    /// Nothing: the key is in the file.
    KeyFile,
    /// The lock key as KMS has encrypted it.
    AwsKms {
        /// ARN of the key that did.
        key_arn: String,
        /// `CiphertextBlob` in base64url.
        wrapped: String,
    },
}

impl Wrapped {
    fn describe(&self) -> String {
        match self {
            Self::KeyFile => "a key file".to_owned(),
            Self::AwsKms { key_arn, .. } => format!("the AWS KMS key {key_arn}"),
        }
    }
}

/// What a lock gives: 32 bytes, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct LockKey(Box<[u8; LENGTH]>);

impl LockKey {
    fn zero() -> Self {
        Self(Box::new([0; LENGTH]))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl Lock {
    /// Makes a key file with a random key at `path`, durably and with mode 0600.
    ///
    /// # Errors
    /// [`LockError::KeyFileExists`] if there is a file; nothing is ever overwritten.
    /// [`LockError::File`] if it cannot be written.
    pub fn create_key_file(path: &Path) -> Result<(), LockError> {
        let mut key = LockKey::zero();
        fill_random(key.0.as_mut_slice());
        let text = Zeroizing::new(Base64UrlUnpadded::encode_string(key.as_bytes()));
        private_file::create(path, text.as_bytes()).map_err(|error| {
            if error.is_already_there() {
                LockError::KeyFileExists(path.to_owned())
            } else {
                LockError::File(error)
            }
        })
    }

    /// Makes the key file if the lock is one and the file is missing, for programs that set a store up.
    /// Whether it was made.
    ///
    /// # Errors
    /// [`LockError::File`] if it cannot be written.
    pub fn create_if_missing(&self) -> Result<bool, LockError> {
        let Self::KeyFile(path) = self else { return Ok(false) };
        match Self::create_key_file(path) {
            Ok(()) => Ok(true),
            Err(LockError::KeyFileExists(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => "a key file",
            Self::AwsKms { .. } => "a key of AWS KMS",
        }
    }

    /// The lock key for a store that is being made, and what the store has to keep of it.
    pub(crate) fn fasten(&self, store_id: &str) -> Result<(LockKey, Wrapped), LockError> {
        match self {
            Self::KeyFile(path) => Ok((read_key_file(path)?, Wrapped::KeyFile)),
            #[cfg(feature = "aws-kms")]
            Self::AwsKms { key_id, endpoint, region } => {
                aws_kms::Key { key_id, endpoint: endpoint.as_deref(), region: region.as_deref() }
                    .generate(store_id)
            }
            #[cfg(not(feature = "aws-kms"))]
            Self::AwsKms { .. } => {
                let _ = store_id;
                Err(LockError::BuiltWithoutAwsKms)
            }
        }
    }

    /// The lock key of a store that keeps `wrapped`.
    pub(crate) fn unlock(&self, store_id: &str, wrapped: &Wrapped) -> Result<LockKey, LockError> {
        match (self, wrapped) {
            (Self::KeyFile(path), Wrapped::KeyFile) => read_key_file(path),
            #[cfg(feature = "aws-kms")]
            (Self::AwsKms { key_id, endpoint, region }, Wrapped::AwsKms { wrapped, .. }) => {
                aws_kms::Key { key_id, endpoint: endpoint.as_deref(), region: region.as_deref() }
                    .unwrap(store_id, wrapped)
            }
            #[cfg(not(feature = "aws-kms"))]
            (Self::AwsKms { .. }, Wrapped::AwsKms { .. }) => {
                let _ = store_id;
                Err(LockError::BuiltWithoutAwsKms)
            }
            _ => Err(LockError::OtherKind { store: wrapped.describe(), configured: self.describe() }),
        }
    }
}

fn read_key_file(path: &Path) -> Result<LockKey, LockError> {
    let content = private_file::read(path).map_err(|error| {
        if error.is_not_found() { LockError::NoKeyFile(path.to_owned()) } else { LockError::File(error) }
    })?;
    let text = content.strip_suffix(b"\n").unwrap_or(&content);
    let mut key = LockKey::zero();
    match Base64UrlUnpadded::decode(text, key.0.as_mut_slice()) {
        Ok(decoded) if decoded.len() == LENGTH => Ok(key),
        _ => Err(LockError::MalformedKeyFile(path.to_owned())),
    }
}
