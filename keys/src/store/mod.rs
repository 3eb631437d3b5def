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

mod error;
mod head;
mod seal;
mod view;

pub use error::{StoreError, Tampering};
pub use view::{Transaction, View};

use crate::lock::Lock;
use crate::secret::wipe_stack;
use base64ct::{Base64UrlUnpadded, Encoding};
use head::{Head, LockRecord};
use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableHandle,
};
use seal::{Digest, Keys, Sealer};
use serde::Deserialize;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use subtle::ConstantTimeEq;

const VERSION: u64 = 1;

const STORE: &str = "store.redb";
/// Becomes [`STORE`] when it is whole.
const NEW_STORE: &str = "store.redb.new";

const RECORDS: TableDefinition<&[u8; 48], &[u8]> = TableDefinition::new("records");
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const LOCK: &str = "lock";
const HEAD: &str = "head";

/// redb's cache would otherwise take up to a gigabyte.
const CACHE_BYTES: usize = 32 << 20;

/// An open store. Shared between threads by reference; one process at a time has it open.
pub struct Store {
    keys: Keys,
    /// The head of the last transaction; locked while there is one that writes.
    head: Mutex<Head>,
    lock_record: Vec<u8>,
    directory: PathBuf,
    database: Database,
    /// Held for its file lock, and the last to go.
    _exclusive: File,
}

impl Store {
    /// Makes an empty store in `directory`, which is made as well if it is missing (mode 0700; its
    /// parent must exist). If this is interrupted, there is no store and it can be done again.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a store; [`StoreError::Lock`]; those of [`Store::open`] about
    /// directories.
    pub fn create(directory: &Path, lock: &Lock) -> Result<Self, StoreError> {
        Self::make(directory, lock, false)
    }

    /// [`Store::create`] in place of the store that there may be, which is lost once this returns and
    /// untouched if it is interrupted.
    ///
    /// # Errors
    /// Those of [`Store::create`] but for [`StoreError::Exists`].
    pub fn replace(directory: &Path, lock: &Lock) -> Result<Self, StoreError> {
        Self::make(directory, lock, true)
    }

    /// Opens the store in `directory` and verifies all of it.
    ///
    /// # Errors
    /// See [`StoreError`]: each says what is wrong and what to do.
    pub fn open(directory: &Path, lock: &Lock) -> Result<Self, StoreError> {
        let exclusive = enter(directory)?;
        let path = directory.join(STORE);
        match fs::metadata(&path) {
            Ok(metadata) => private(&path, metadata.permissions().mode())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if directory.join(NEW_STORE).exists() {
                    StoreError::HalfMade(directory.to_owned())
                } else {
                    StoreError::NotInitialised(directory.to_owned())
                });
            }
            Err(error) => return Err(StoreError::io("examine", &path)(error)),
        }
        // A plain open would trust the file and may panic over what others have made of it.
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .open(&path)
            .map_err(StoreError::database("open", directory))?;
        let (keys, head, lock_record) = verify(&database, directory, lock)?;
        Ok(Self {
            keys,
            head: Mutex::new(head),
            lock_record,
            directory: directory.to_owned(),
            database,
            _exclusive: exclusive,
        })
    }

    /// Whether `directory` holds a store, of whatever state.
    pub fn exists(directory: &Path) -> bool {
        directory.join(STORE).exists()
    }

    /// How many transactions have changed the store since it was made.
    pub fn generation(&self) -> u64 {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Shows `look` the store as it is at this moment, whatever other threads write meanwhile.
    ///
    /// # Errors
    /// Those of `look`, and [`StoreError::Database`].
    pub fn read<T, E: From<StoreError>>(&self, look: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E> {
        let table = self
            .database
            .begin_read()
            .map_err(self.failed("read"))
            .and_then(|transaction| transaction.open_table(RECORDS).map_err(self.failed("read")))?;
        look(&View::read(table, &self.keys, &self.directory))
    }

    /// Lets `work` change the store: all of it, durably when this returns, or nothing if `work` returns
    /// an error or panics. Waits for the disk; one at a time, so `work` must not call this again.
    ///
    /// # Errors
    /// Those of `work`, with the store as before; [`StoreError::Database`], after which only opening it
    /// again tells whether the store has changed.
    pub fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Whoever panicked had not got as far as to change the head.
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = self.database.begin_write().map_err(self.failed("write"))?;
        transaction.set_durability(Durability::Immediate).map_err(self.failed("write"))?;
        let (outcome, next) = {
            let table = transaction.open_table(RECORDS).map_err(self.failed("write"))?;
            let mut changes = Transaction::new(table, &self.keys, *head, &self.directory);
            let outcome = work(&mut changes)?;
            (outcome, changes.finish()?)
        };
        if let Some(next) = next {
            put_head(&transaction, &next, &self.keys.sealer(), &self.lock_record, &self.directory)?;
            transaction.commit().map_err(self.failed("write"))?;
            *head = next;
        }
        Ok(outcome)
    }

    fn failed<R: Into<redb::Error>>(&self, action: &'static str) -> impl FnOnce(R) -> StoreError {
        StoreError::database(action, &self.directory)
    }

    fn make(directory: &Path, lock: &Lock, replace: bool) -> Result<Self, StoreError> {
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("make", directory)(error));
            }
            _ => {}
        }
        let exclusive = enter(directory)?;
        let path = directory.join(STORE);
        if !replace && path.exists() {
            return Err(StoreError::Exists(directory.to_owned()));
        }
        let store = head::new_id();
        let (lock_key, wrapped) = lock.fasten(&store).map_err(closed(directory))?;
        let check = Base64UrlUnpadded::encode_string(&seal::check_value(&lock_key, &store));
        let keys = Keys::derive(&lock_key, &store);
        drop(lock_key);
        wipe_stack();
        let lock_record = serde_json::to_vec(&LockRecord { version: VERSION, store, lock: wrapped, check })
            .map_err(|_| StoreError::Unwritable { table: LOCK.to_owned() })?;

        let new = directory.join(NEW_STORE);
        let io_error = |action| StoreError::io(action, &new);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove")(error)),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io_error("make"))?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(&new)
            .map_err(StoreError::database("make", directory))?;
        let head = Head::default();
        let failed = |action| StoreError::database(action, directory);
        let transaction = database.begin_write().map_err(StoreError::database("make", directory))?;
        transaction.open_table(RECORDS).map_err(StoreError::database("make", directory))?;
        {
            let mut about = transaction.open_table(ABOUT).map_err(StoreError::database("make", directory))?;
            about.insert(LOCK, lock_record.as_slice()).map_err(failed("make"))?;
        }
        put_head(&transaction, &head, &keys.sealer(), &lock_record, directory)?;
        transaction.commit().map_err(StoreError::database("make", directory))?;
        fs::rename(&new, &path).map_err(StoreError::io("make", &path))?;
        exclusive.sync_all().map_err(StoreError::io("sync", directory))?;
        Ok(Self {
            keys,
            head: Mutex::new(head),
            lock_record,
            directory: directory.to_owned(),
            database,
            _exclusive: exclusive,
        })
    }
}

fn put_head(
    transaction: &redb::WriteTransaction,
    head: &Head,
    sealer: &Sealer,
    lock_record: &[u8],
    directory: &Path,
) -> Result<(), StoreError> {
    let sealed =
        head.seal(sealer, lock_record).ok_or_else(|| StoreError::Unwritable { table: HEAD.to_owned() })?;
    let mut about = transaction.open_table(ABOUT).map_err(StoreError::database("write", directory))?;
    about.insert(HEAD, sealed.as_slice()).map_err(StoreError::database("write", directory))?;
    Ok(())
}

fn closed(directory: &Path) -> impl FnOnce(crate::lock::LockError) -> StoreError {
    move |reason| StoreError::Lock { directory: directory.to_owned(), reason }
}

/// Checks the state directory and takes it for this process.
fn enter(directory: &Path) -> Result<File, StoreError> {
    let metadata = fs::metadata(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::NoDirectory(directory.to_owned()),
        _ => StoreError::io("examine", directory)(error),
    })?;
    if !metadata.is_dir() {
        return Err(StoreError::io("open", directory)(io::ErrorKind::NotADirectory.into()));
    }
    private(directory, metadata.permissions().mode())?;
    let exclusive = File::open(directory).map_err(StoreError::io("open", directory))?;
    match exclusive.try_lock() {
        Ok(()) => Ok(exclusive),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", directory)(error)),
    }
}

fn private(path: &Path, mode: u32) -> Result<(), StoreError> {
    let mode = mode & 0o777;
    if mode & 0o077 != 0 { Err(StoreError::Exposed { path: path.to_owned(), mode }) } else { Ok(()) }
}

/// Opens the lock, and compares the set of records with the head.
fn verify(database: &Database, directory: &Path, lock: &Lock) -> Result<(Keys, Head, Vec<u8>), StoreError> {
    // Fields of a later version are no reason to call the store damaged.
    #[derive(Deserialize)]
    struct Header {
        version: u64,
    }
    let tampered = |what| StoreError::tampered(directory, what);
    let transaction = database.begin_read().map_err(StoreError::database("read", directory))?;
    only_our_tables(&transaction, directory)?;
    let about = transaction.open_table(ABOUT).map_err(StoreError::database("read", directory))?;
    let value = |name| match about.get(name) {
        Ok(guard) => Ok(guard.map(|guard| guard.value().to_vec())),
        Err(error) => Err(StoreError::database("read", directory)(error)),
    };

    let lock_record = value(LOCK)?.ok_or_else(|| tampered(Tampering::LockRecord))?;
    let malformed = |_| tampered(Tampering::LockRecord);
    let Header { version } = serde_json::from_slice(&lock_record).map_err(malformed)?;
    if version != VERSION {
        return Err(StoreError::Version { directory: directory.to_owned(), found: version });
    }
    let LockRecord { store, lock: wrapped, check, .. } =
        serde_json::from_slice(&lock_record).map_err(malformed)?;
    let lock_key = lock.unlock(&store, &wrapped).map_err(closed(directory))?;
    let expected = Base64UrlUnpadded::decode_vec(&check).map_err(|_| tampered(Tampering::LockRecord))?;
    if !bool::from(seal::check_value(&lock_key, &store).ct_eq(&expected)) {
        return Err(StoreError::WrongLock(directory.to_owned()));
    }
    let keys = Keys::derive(&lock_key, &store);
    drop(lock_key);

    let sealer = keys.sealer();
    let head = value(HEAD)?
        .and_then(|sealed| Head::open(&sealer, &lock_record, &sealed))
        .ok_or_else(|| tampered(Tampering::Head))?;
    verify_set(&transaction, &keys, &sealer, &head, directory)?;
    drop(sealer);
    Ok((keys, head, lock_record))
}

fn only_our_tables(transaction: &ReadTransaction, directory: &Path) -> Result<(), StoreError> {
    let tables = transaction.list_tables().map_err(StoreError::database("read", directory))?;
    let multimaps = transaction.list_multimap_tables().map_err(StoreError::database("read", directory))?;
    let mut names: Vec<_> = tables.map(|table| table.name().to_owned()).collect();
    names.sort_unstable();
    if names != [ABOUT.name(), RECORDS.name()] || multimaps.count() > 0 {
        return Err(StoreError::tampered(directory, Tampering::Tables));
    }
    Ok(())
}

fn verify_set(
    transaction: &ReadTransaction,
    keys: &Keys,
    sealer: &Sealer,
    head: &Head,
    directory: &Path,
) -> Result<(), StoreError> {
    let failed = || StoreError::database("read", directory);
    let records = transaction.open_table(RECORDS).map_err(StoreError::database("read", directory))?;
    let (mut count, mut digest) = (0, Digest::default());
    for record in records.iter().map_err(failed())? {
        let (place, sealed) = record.map_err(failed())?;
        digest.toggle(keys.member(place.value(), sealed.value()));
        count += 1;
    }
    // The digest is of the sealed bytes: equal, they are what this store has written, each at its place.
    if count == head.count && bool::from(digest.0.ct_eq(&head.digest.0)) {
        return Ok(());
    }
    let mut what = match count.cmp(&head.count) {
        std::cmp::Ordering::Less => Tampering::Missing { expected: head.count, found: count },
        std::cmp::Ordering::Greater => Tampering::Added { expected: head.count, found: count },
        std::cmp::Ordering::Equal => Tampering::Old,
    };
    for record in records.iter().map_err(failed())? {
        let (place, sealed) = record.map_err(failed())?;
        if sealer.open(&[place.value()], sealed.value()).is_none() {
            what = Tampering::Record;
        }
    }
    Err(StoreError::tampered(directory, what))
}

#[cfg(test)]
mod tests;
