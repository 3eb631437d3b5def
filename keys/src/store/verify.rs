//! Whether what a database holds is exactly what this store has written.

use super::error::{StoreError, Tampering};
use super::head::{Head, LockRecord};
use super::seal::{self, Digest, Keys, Sealer};
use super::{ABOUT, HEAD, LOCK, RECORDS, VERSION};
use crate::lock::Lock;
use base64ct::{Base64UrlUnpadded, Encoding};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableHandle};
use serde::Deserialize;
use std::cmp::Ordering;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Opens the lock, and compares the set of records with the head.
pub(super) fn unlock_and_verify(
    database: &Database,
    directory: &Path,
    lock: &Lock,
) -> Result<(Keys, Head, Vec<u8>), StoreError> {
    let lock_record = read_about(database, directory, LOCK)?;
    let lock_record = lock_record.ok_or_else(|| StoreError::tampered(directory, Tampering::LockRecord))?;
    let keys = unlock(directory, lock, &lock_record)?;
    let head = verify(database, directory, &keys, &lock_record)?;
    Ok((keys, head, lock_record))
}

/// Compares the set of records with the head, which belongs to this lock record.
pub(super) fn verify(
    database: &Database,
    directory: &Path,
    keys: &Keys,
    lock_record: &[u8],
) -> Result<Head, StoreError> {
    if read_about(database, directory, LOCK)?.as_deref() != Some(lock_record) {
        return Err(StoreError::tampered(directory, Tampering::LockRecord));
    }
    let sealer = keys.sealer();
    let head = read_about(database, directory, HEAD)?
        .and_then(|sealed| Head::open(&sealer, lock_record, &sealed))
        .ok_or_else(|| StoreError::tampered(directory, Tampering::Head))?;
    let transaction = database.begin_read().map_err(StoreError::database("read", directory))?;
    verify_set(&transaction, keys, &sealer, &head, directory)?;
    Ok(head)
}

fn unlock(directory: &Path, lock: &Lock, lock_record: &[u8]) -> Result<Keys, StoreError> {
    // Fields of a later version are no reason to call the store damaged.
    #[derive(Deserialize)]
    struct Header {
        version: u64,
    }
    let malformed = |_| StoreError::tampered(directory, Tampering::LockRecord);
    let Header { version } = serde_json::from_slice(lock_record).map_err(malformed)?;
    if version != VERSION {
        return Err(StoreError::Version { directory: directory.to_owned(), found: version });
    }
    let LockRecord { store, lock: wrapped, check, .. } =
        serde_json::from_slice(lock_record).map_err(malformed)?;
    let lock_key = lock.unlock(&store, &wrapped).map_err(StoreError::closed(directory))?;
    let expected = Base64UrlUnpadded::decode_vec(&check)
        .map_err(|_| StoreError::tampered(directory, Tampering::LockRecord))?;
    if !bool::from(seal::check_value(&lock_key, &store).ct_eq(&expected)) {
        return Err(StoreError::WrongLock(directory.to_owned()));
    }
    Ok(Keys::derive(&lock_key, &store))
}

fn read_about(database: &Database, directory: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::database("read", directory))?;
    only_our_tables(&transaction, directory)?;
    let about = transaction.open_table(ABOUT).map_err(StoreError::database("read", directory))?;
    let value = about.get(name).map_err(StoreError::database("read", directory))?;
    Ok(value.map(|value| value.value().to_vec()))
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
        Ordering::Less => Tampering::Missing { expected: head.count, found: count },
        Ordering::Greater => Tampering::Added { expected: head.count, found: count },
        Ordering::Equal => Tampering::Old,
    };
    for record in records.iter().map_err(failed())? {
        let (place, sealed) = record.map_err(failed())?;
        if sealer.open(&[place.value()], sealed.value()).is_none() {
            what = Tampering::Record;
        }
    }
    Err(StoreError::tampered(directory, what))
}
