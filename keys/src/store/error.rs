//! What can be wrong with a store, each with what to do about it.

use super::directory::STORE;
use crate::lock::LockError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store cannot be made, opened, read or written. The messages are whole and have no source, and
/// they repeat nothing of the store's content.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no state directory.
    #[error(
        "there is no state directory {0}; make the store first with the init command (trefoil-proxy init, trefoil-shim init)"
    )]
    NoDirectory(PathBuf),
    /// The directory holds no store.
    #[error(
        "{0} holds no store; make it first with the init command (trefoil-proxy init, trefoil-shim init)"
    )]
    NotInitialised(PathBuf),
    /// The directory holds the beginning of a store.
    #[error(
        "{0} holds a store whose making was interrupted; run the init command again (trefoil-proxy init, trefoil-shim init)"
    )]
    HalfMade(PathBuf),
    /// There is a store where one should be made.
    #[error("{0} holds a store already")]
    Exists(PathBuf),
    /// Others than the owner may enter the directory or open the file.
    #[error(
        "{path} can be read by others than its owner (mode {mode:03o}); run: chmod {} {path}",
        if path.ends_with(STORE) { "600" } else { "700" }
    )]
    Exposed {
        /// Directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has the store open.
    #[error("the store in {0} is in use by another process; one program at a time can have it open")]
    InUse(PathBuf),
    /// The file of an open store lies there no more.
    #[error(
        "the store in {0} was removed or replaced while this program had it open; nothing was written: end the program, and start it with the right store"
    )]
    Replaced(PathBuf),
    /// A write failed, and the store could not be opened again since.
    #[error("the store in {0} is closed since a write failed; it is opened again when the disk allows it")]
    Closed(PathBuf),
    /// A write failed, and whether it has happened is not known before the store is open again.
    #[error(
        "a write to the store in {0} failed, and whether it has happened shows when the disk allows to open the store again"
    )]
    Undecided(PathBuf),
    /// The lock does not give its key.
    #[error("the store in {directory} stays closed: {reason}")]
    Lock {
        /// The state directory.
        directory: PathBuf,
        /// Why.
        reason: LockError,
    },
    /// The lock gives a key, but not the one that the store was made with.
    #[error(
        "the store in {0} stays closed: wrong lock; the key is not the one that the store was made with (put the right key file back)"
    )]
    WrongLock(PathBuf),
    /// The content is not what this program wrote.
    #[error(
        "the store in {directory} has been tampered with or damaged: {what}; put back the whole directory from a backup, or make the store anew"
    )]
    Tampered {
        /// The state directory.
        directory: PathBuf,
        /// In which way.
        what: Tampering,
    },
    /// Of another version of the format.
    #[error(
        "the store in {directory} has format version {found}, this program reads version {}; use the program that wrote it, or a later one",
        super::VERSION
    )]
    Version {
        /// The state directory.
        directory: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The operating system said no.
    #[error("cannot {action} {path}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Directory or file.
        path: PathBuf,
        /// Why it failed.
        reason: io::Error,
    },
    /// The database said no.
    #[error("cannot {action} the store in {directory}: {reason}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The state directory.
        directory: PathBuf,
        /// Why it failed.
        reason: String,
    },
    /// A record is not the JSON that was asked for.
    #[error(
        "a record of {table} is not of the form that this program writes (line {line}, column {column}); use the program that wrote it"
    )]
    Json {
        /// The table.
        table: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A value could not be written as JSON, or not be sealed.
    #[error("a record of {table} cannot be written")]
    Unwritable {
        /// The table.
        table: String,
    },
    /// A put or remove failed and the transaction went on all the same.
    #[error("the transaction is given up because one of its writes failed")]
    GivenUp,
}

/// In which way a store is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Tampering {
    /// The file is no database.
    #[error("{STORE} is not a database")]
    NotADatabase,
    /// The database's own checks fail.
    #[error("the database {STORE} is damaged")]
    Damaged,
    /// Tables that a store does not have, or has in another form.
    #[error("the tables in {STORE} are not those of a store")]
    Tables,
    /// What the store keeps of its lock.
    #[error("its lock record is missing or malformed")]
    LockRecord,
    /// The head record.
    #[error("its head record is missing or altered")]
    Head,
    /// A record fails authentication.
    #[error("a record was altered, or comes from another place or another store")]
    Record,
    /// Fewer records than the head counts.
    #[error("records are missing ({found} of {expected})")]
    Missing {
        /// What the head says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// More records than the head counts.
    #[error("there are records too many ({found} in place of {expected})")]
    Added {
        /// What the head says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// All records are genuine, but not those that the head was made for.
    #[error("a record, or the head, was put back to an older state")]
    Old,
}

impl StoreError {
    /// Whether it passes when the disk is in order again.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Closed(_) | Self::Undecided(_) | Self::Io { .. })
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |reason| Self::Io { action, path: path.to_owned(), reason }
    }

    pub(super) fn tampered(directory: &Path, what: Tampering) -> Self {
        Self::Tampered { directory: directory.to_owned(), what }
    }

    pub(super) fn closed(directory: &Path) -> impl FnOnce(LockError) -> Self {
        move |reason| Self::Lock { directory: directory.to_owned(), reason }
    }

    /// Tells what the database reports apart by who has to do something about it.
    pub(super) fn database<E: Into<redb::Error>>(
        action: &'static str,
        directory: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |error| match error.into() {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::InUse(directory.to_owned())
            }
            // No version of ours has written another format of redb's.
            redb::Error::UpgradeRequired(_) => Self::tampered(directory, Tampering::NotADatabase),
            redb::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::tampered(directory, Tampering::NotADatabase)
            }
            redb::Error::Corrupted(_) => Self::tampered(directory, Tampering::Damaged),
            redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableDoesNotExist(_) => Self::tampered(directory, Tampering::Tables),
            other => Self::Database { action, directory: directory.to_owned(), reason: other.to_string() },
        }
    }
}
