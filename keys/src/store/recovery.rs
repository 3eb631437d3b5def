//! When the disk fails under a transaction: full, over a limit, or broken.
//!
//! redb refuses everything after a failed write, and whether that write has happened only the file tells.
//! So the database is closed, opened and verified again; what must be there is the head before the
//! transaction or the one after it. If it cannot be opened either, the store stays closed, and says why,
//! until [`Store::mend`] succeeds. Invariant: nobody is told that a write has happened or not unless the
//! verified file says so.
//!
//! After a failed fsync the kernel may show what never reached the disk: that this machine then loses
//! power as well is not provided for.

use super::directory::Directory;
use super::error::{StoreError, Tampering};
use super::head::Head;
use super::view::View;
use super::{CACHE_BYTES, Store, verify};
use redb::{Builder, Database};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Opening verifies all of the store: not more often than this while it fails.
const PAUSE: Duration = Duration::from_millis(500);

/// What the last transaction has left.
pub(super) struct Last {
    pub(super) head: Head,
    /// What the head is if the transaction has happened of which that is not known.
    undecided: Option<Head>,
    /// Why the last write failed.
    fault: Option<Fault>,
}

struct Fault {
    reason: String,
    /// When it was last tried whether it is over.
    tried: Instant,
}

impl Last {
    pub(super) fn written(head: Head) -> Self {
        Self { head, undecided: None, fault: None }
    }

    fn fail(&mut self, reason: String) {
        self.fault = Some(Fault { reason, tried: Instant::now() });
    }
}

/// A transaction that came to no end.
pub(super) struct Failed<T, E> {
    error: E,
    /// What the store itself says, if it was not `work` that wanted no more.
    reason: Option<String>,
    /// Head and outcome, if it may have happened.
    perhaps: Option<(Head, T)>,
}

impl<T, E: From<StoreError>> Failed<T, E> {
    /// `work` returned an error, perhaps because of a failure of the store.
    pub(super) fn by_work(error: E, reason: Option<String>) -> Self {
        Self { error, reason, perhaps: None }
    }

    /// The last step failed.
    pub(super) fn in_commit(error: StoreError, next: Head, outcome: T) -> Self {
        Self { perhaps: Some((next, outcome)), ..error.into() }
    }
}

impl<T, E: From<StoreError>> From<StoreError> for Failed<T, E> {
    fn from(error: StoreError) -> Self {
        Self { reason: Some(error.to_string()), error: error.into(), perhaps: None }
    }
}

/// Opens the database and lets it examine itself: a plain open would trust the file, and may panic over
/// what others have made of it.
pub(super) fn open_database(directory: &Directory) -> Result<Database, StoreError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .open(directory.store())
        .map_err(StoreError::database("open", &directory.path))
}

impl Store {
    /// Opens a store again that a failed write has closed, and shows `reload` what it holds: the write
    /// may have happened. It stays closed if `reload` fails. Nothing if it is open.
    ///
    /// # Errors
    /// Those of [`Store::open`] and of `reload`; [`StoreError::Closed`] if it was tried a moment ago.
    pub fn mend<E: From<StoreError>>(
        &self,
        reload: impl FnOnce(&View<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Seldom closed, and then the lock below decides.
        if self.database().is_some() {
            return Ok(());
        }
        let mut last = self.last();
        if self.database().is_some() {
            return Ok(());
        }
        if last.fault.as_ref().is_some_and(|fault| fault.tried.elapsed() < PAUSE) {
            return Err(self.closed().into());
        }
        let reopened = self.reopen(&last).inspect_err(|error| last.fail(error.to_string()));
        let (database, head) = reopened?;
        self.look_into(&database, reload)?;
        (last.head, last.undecided) = (head, None);
        self.put_database(Some(database));
        Ok(())
    }

    /// Why the store cannot be written: the last write failed, and so does another one now that changes
    /// nothing.
    pub fn fault(&self) -> Option<String> {
        let mut last = self.last();
        let fault = last.fault.as_mut()?;
        if fault.tried.elapsed() >= PAUSE && self.database().is_some() {
            fault.tried = Instant::now();
            let probe = self.attempt(&mut last, |changes| {
                changes.count_as_changed();
                Ok::<_, StoreError>(())
            });
            if let Err(failed) = probe {
                // What it says is the fault now.
                drop(self.decide(&mut last, failed));
            }
        }
        last.fault.as_ref().map(|fault| fault.reason.clone())
    }

    /// What comes of a transaction that failed: its outcome if it has happened all the same.
    pub(super) fn decide<T, E: From<StoreError>>(
        &self,
        last: &mut Last,
        failed: Failed<T, E>,
    ) -> Result<T, E> {
        let Failed { error, reason, perhaps } = failed;
        // After a failure of the disk no transaction begins; after others, one does.
        let is_usable = self.database().as_ref().is_none_or(|database| database.begin_write().is_ok());
        if is_usable {
            return Err(error);
        }
        let reason = reason.unwrap_or_else(|| self.closed().to_string());
        let (undecided, outcome) = perhaps.unzip();
        last.undecided = undecided;
        self.put_database(None);
        match self.reopen(last) {
            Ok((database, head)) => {
                let has_happened = head.generation != last.head.generation;
                *last = Last::written(head);
                last.fail(reason);
                self.put_database(Some(database));
                outcome.filter(|_| has_happened).ok_or(error)
            }
            Err(closed) => {
                last.fail(format!("{reason}; then: {closed}"));
                match undecided {
                    Some(_) => Err(StoreError::Undecided(self.directory.path.clone()).into()),
                    None => Err(error),
                }
            }
        }
    }

    /// The database with its head, which is one of the two that it can have.
    fn reopen(&self, last: &Last) -> Result<(Database, Head), StoreError> {
        let path = &self.directory.path;
        if self.directory.examine_store()? != self.file {
            return Err(StoreError::Replaced(path.clone()));
        }
        let database = open_database(&self.directory)?;
        let head = verify::verify(&database, path, &self.keys, &self.lock_record)?;
        if head != last.head && Some(head) != last.undecided {
            return Err(StoreError::tampered(path, Tampering::Old));
        }
        Ok((database, head))
    }

    fn put_database(&self, database: Option<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database;
    }

    pub(super) fn closed(&self) -> StoreError {
        StoreError::Closed(self.directory.path.clone())
    }
}
