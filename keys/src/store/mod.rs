//! Shares and keys at rest: named values in tables, encrypted, tamper-evident, crash-safe.
//!
//! A store is the file `store.redb` in a state directory: a redb database in which names and values are
//! sealed under keys that the [lock](crate::lock) gives, and a head record that says what the set of
//! records must be (the formulas: `seal.rs`). Invariant: a store that is open was whole when it was
//! opened. Changed, removed, added, swapped or older records and those of other stores are found by
//! [`Store::open`], which then refuses.
//!
//! It cannot see the whole file put back to an older state of its own, which is as genuine as the newer
//! one: the tenant admin's `status` sees it by the sequence number of the last command. Nor does it
//! hide how many records there are, in how many tables, and how long each value is.
//!
//! A write that fails on the disk, which may be full, is decided by looking again (`recovery.rs`).

mod directory;
mod error;
mod head;
mod recovery;
mod seal;
mod verify;
mod view;

pub use error::{StoreError, Tampering};
pub use view::{Transaction, View};

use crate::lock::Lock;
use crate::secret::wipe_stack;
use base64ct::{Base64UrlUnpadded, Encoding};
use directory::{Directory, FileId};
use head::{Head, LockRecord};
use recovery::{Failed, Last};
use redb::{Builder, Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};
use seal::Keys;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use view::Record;

const VERSION: u64 = 1;

const RECORDS: TableDefinition<&[u8; 48], &[u8]> = TableDefinition::new("records");
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const LOCK: &str = "lock";
const HEAD: &str = "head";

/// redb's cache would otherwise take up to a gigabyte.
const CACHE_BYTES: usize = 32 << 20;

/// An open store. Shared between threads by reference; one process at a time has it open.
pub struct Store {
    keys: Keys,
    /// What the last transaction has left; locked while there is one that writes.
    last: Mutex<Last>,
    lock_record: Vec<u8>,
    /// None while it is closed: a write has failed, and opening the database again as well.
    database: RwLock<Option<Database>>,
    file: FileId,
    /// The last to go: the database is closed before another process may open it.
    directory: Directory,
}

impl Store {
    /// Makes an empty store in `directory`, which is made as well if it is missing (mode 0700; its
    /// parent must exist). If this is interrupted, there is no store and it can be done again.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a store; [`StoreError::Lock`]; those of [`Store::open`] about
    /// directories.
    pub fn create(directory: &Path, lock: &Lock) -> Result<Self, StoreError> {
        let directory = Directory::make(directory)?;
        if directory.holds_store() {
            return Err(StoreError::Exists(directory.path));
        }
        Self::make(directory, lock, &[])
    }

    /// [`Store::create`] in place of the store that there may be, which is lost once this returns and
    /// untouched if it is interrupted.
    ///
    /// # Errors
    /// Those of [`Store::create`] but for [`StoreError::Exists`].
    pub fn replace(directory: &Path, lock: &Lock) -> Result<Self, StoreError> {
        Self::make(Directory::make(directory)?, lock, &[])
    }

    /// Puts the store's records under another lock, which alone opens it from then on. If this is
    /// interrupted, the store is as it was.
    ///
    /// # Errors
    /// Those of [`Store::open`] with `from`, and of [`Store::create`] with `to`.
    pub fn change_lock(directory: &Path, from: &Lock, to: &Lock) -> Result<(), StoreError> {
        let store = Self::open(directory, from)?;
        let records = store.read(|view| view.all())?;
        // The directory stays this process's until the new store is in its place.
        let Self { directory, database, .. } = store;
        drop(database);
        Self::make(directory, to, &records).map(drop)
    }

    /// Opens the store in `directory` and verifies all of it.
    ///
    /// # Errors
    /// See [`StoreError`]: each says what is wrong and what to do.
    pub fn open(directory: &Path, lock: &Lock) -> Result<Self, StoreError> {
        let directory = Directory::enter(directory)?;
        let file = directory.examine_store()?;
        let database = recovery::open_database(&directory)?;
        let (keys, head, lock_record) = verify::unlock_and_verify(&database, &directory.path, lock)?;
        Ok(Self::with(keys, head, lock_record, database, (file, directory)))
    }

    /// Whether `directory` holds a store, of whatever state.
    pub fn exists(directory: &Path) -> bool {
        directory.join(directory::STORE).exists()
    }

    /// How many transactions have changed the store since it was made.
    pub fn generation(&self) -> u64 {
        self.last().head.generation
    }

    /// Shows `look` the store as it is at this moment, whatever other threads write meanwhile.
    ///
    /// # Errors
    /// Those of `look`, [`StoreError::Closed`] and [`StoreError::Database`].
    pub fn read<T, E: From<StoreError>>(&self, look: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E> {
        self.look_into(self.database().as_ref().ok_or_else(|| self.closed())?, look)
    }

    /// Lets `work` change the store: all of it, durably when this returns, or nothing if `work` returns
    /// an error or panics. Waits for the disk; one at a time, so `work` must not call this again.
    ///
    /// # Errors
    /// Those of `work`, [`StoreError::Replaced`] and [`StoreError::Database`], all with the store as
    /// before; [`StoreError::Undecided`], if the disk has failed and does not tell whether the store has
    /// changed; [`StoreError::Closed`] from then on, until [`Store::mend`] opens it.
    pub fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut last = self.last();
        match self.attempt(&mut last, work) {
            Ok(outcome) => Ok(outcome),
            Err(failed) => self.decide(&mut last, failed),
        }
    }

    /// One transaction; what it has left goes into `last`.
    fn attempt<T, E: From<StoreError>>(
        &self,
        last: &mut Last,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, Failed<T, E>> {
        let database = self.database();
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        let mut transaction = database.begin_write().map_err(self.failed("write"))?;
        transaction.set_durability(Durability::Immediate).map_err(self.failed("write"))?;
        let (outcome, next) = {
            let table = transaction.open_table(RECORDS).map_err(self.failed("write"))?;
            let mut changes = Transaction::new(table, &self.keys, last.head, &self.directory.path);
            match work(&mut changes) {
                Ok(outcome) => (outcome, changes.finish()?),
                Err(error) => return Err(Failed::by_work(error, changes.failure())),
            }
        };
        let Some(next) = next else { return Ok(outcome) };
        self.put_head(&transaction, &next)?;
        // What is written to a file that lies there no more would be lost with this process.
        if self.directory.examine_store()? != self.file {
            return Err(StoreError::Replaced(self.directory.path.clone()).into());
        }
        match transaction.commit().map_err(self.failed("write")) {
            Ok(()) => {
                *last = Last::written(next);
                Ok(outcome)
            }
            Err(error) => Err(Failed::in_commit(error, next, outcome)),
        }
    }

    fn with(
        keys: Keys,
        head: Head,
        lock_record: Vec<u8>,
        database: Database,
        (file, directory): (FileId, Directory),
    ) -> Self {
        let (last, database) = (Mutex::new(Last::written(head)), RwLock::new(Some(database)));
        Self { keys, last, lock_record, database, file, directory }
    }

    fn make(directory: Directory, lock: &Lock, records: &[Record]) -> Result<Self, StoreError> {
        let store = head::new_id();
        let (lock_key, wrapped) = lock.fasten(&store).map_err(StoreError::closed(&directory.path))?;
        let check = Base64UrlUnpadded::encode_string(&seal::check_value(&lock_key, &store));
        let keys = Keys::derive(&lock_key, &store);
        drop(lock_key);
        wipe_stack();
        let lock_record = serde_json::to_vec(&LockRecord { version: VERSION, store, lock: wrapped, check })
            .map_err(|_| StoreError::Unwritable { table: LOCK.to_owned() })?;

        let (path, file) = directory.new_store()?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(StoreError::database("make", &directory.path))?;
        let transaction = database.begin_write().map_err(StoreError::database("make", &directory.path))?;
        let store = Self::with(keys, Head::default(), lock_record, database, (file, directory));
        store.put_lock_record(&transaction).map_err(store.failed("make"))?;
        let mut last = store.last();
        if let Some(head) = store.put_all(&transaction, records)? {
            *last = Last::written(head);
        }
        store.put_head(&transaction, &last.head)?;
        drop(last);
        transaction.commit().map_err(store.failed("make"))?;
        store.directory.adopt_new_store()?;
        Ok(store)
    }

    fn put_all(
        &self,
        transaction: &WriteTransaction,
        records: &[Record],
    ) -> Result<Option<Head>, StoreError> {
        let table = transaction.open_table(RECORDS).map_err(self.failed("make"))?;
        let mut changes = Transaction::new(table, &self.keys, Head::default(), &self.directory.path);
        for Record { table, name, value } in records {
            changes.put(table, name, value)?;
        }
        changes.finish()
    }

    fn put_lock_record(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        transaction.open_table(RECORDS)?;
        transaction.open_table(ABOUT)?.insert(LOCK, self.lock_record.as_slice())?;
        Ok(())
    }

    fn put_head(&self, transaction: &WriteTransaction, head: &Head) -> Result<(), StoreError> {
        let sealed = head
            .seal(&self.keys.sealer(), &self.lock_record)
            .ok_or_else(|| StoreError::Unwritable { table: HEAD.to_owned() })?;
        let mut about = transaction.open_table(ABOUT).map_err(self.failed("write"))?;
        about.insert(HEAD, sealed.as_slice()).map_err(self.failed("write"))?;
        Ok(())
    }

    fn look_into<T, E: From<StoreError>>(
        &self,
        database: &Database,
        look: impl FnOnce(&View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let table = database
            .begin_read()
            .map_err(self.failed("read"))
            .and_then(|transaction| transaction.open_table(RECORDS).map_err(self.failed("read")))?;
        look(&View::read(table, &self.keys, &self.directory.path))
    }

    /// Whoever panicked had not got as far as to change the head.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed<R: Into<redb::Error>>(&self, action: &'static str) -> impl FnOnce(R) -> StoreError {
        StoreError::database(action, &self.directory.path)
    }
}

#[cfg(test)]
mod tests;
