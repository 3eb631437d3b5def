//! The state directory: nobody else may enter it, and one process at a time has it.

use super::error::StoreError;
use crate::private_file;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The store.
pub(super) const STORE: &str = "store.redb";
/// Becomes [`STORE`] when it is whole.
const NEW_STORE: &str = "store.redb.new";

/// A state directory that this process has to itself until this is dropped.
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Held for its file lock.
    exclusive: File,
}

/// Device and inode of a store.
#[derive(PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl Directory {
    /// [`Directory::enter`] after making the directory if it is missing.
    pub(super) fn make(path: &Path) -> Result<Self, StoreError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                let parent = private_file::directory_of(path);
                let synced = File::open(parent).and_then(|parent| parent.sync_all());
                synced.map_err(StoreError::io("sync", parent))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("make", path)(error)),
        }
        Self::enter(path)
    }

    /// Checks the directory and takes it for this process.
    pub(super) fn enter(path: &Path) -> Result<Self, StoreError> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoDirectory(path.to_owned()),
            _ => StoreError::io("examine", path)(error),
        })?;
        if !metadata.is_dir() {
            return Err(StoreError::io("open", path)(io::ErrorKind::NotADirectory.into()));
        }
        private(path, &metadata)?;
        let exclusive = File::open(path).map_err(StoreError::io("open", path))?;
        match exclusive.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), exclusive }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    pub(super) fn holds_store(&self) -> bool {
        self.store().exists()
    }

    /// An empty file, readable by its owner alone, in place of what an interrupted making has left.
    pub(super) fn new_store(&self) -> Result<(PathBuf, FileId), StoreError> {
        let path = self.path.join(NEW_STORE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path)(error));
            }
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let metadata = file.and_then(|file| file.metadata()).map_err(StoreError::io("make", &path))?;
        Ok((path, FileId::of(&metadata)))
    }

    /// Makes the new store the store, durably.
    pub(super) fn adopt_new_store(&self) -> Result<(), StoreError> {
        let path = self.store();
        fs::rename(self.path.join(NEW_STORE), &path).map_err(StoreError::io("make", &path))?;
        self.exclusive.sync_all().map_err(StoreError::io("sync", &self.path))
    }

    /// Checks the store's file.
    pub(super) fn examine_store(&self) -> Result<FileId, StoreError> {
        let path = self.store();
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if self.path.join(NEW_STORE).exists() {
                    StoreError::HalfMade(self.path.clone())
                } else {
                    StoreError::NotInitialised(self.path.clone())
                });
            }
            Err(error) => return Err(StoreError::io("examine", &path)(error)),
        };
        if !metadata.is_file() {
            return Err(StoreError::io("open", &path)(io::ErrorKind::InvalidInput.into()));
        }
        private(&path, &metadata)?;
        Ok(FileId::of(&metadata))
    }
}

fn private(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 { Err(StoreError::Exposed { path: path.to_owned(), mode }) } else { Ok(()) }
}
