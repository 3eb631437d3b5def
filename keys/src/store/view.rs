//! What is done within one transaction: look up, iterate, put, remove.

use super::error::{StoreError, Tampering};
use super::head::Head;
use super::seal::{Entry, Keys, Place, Sealer};
use crate::private_file;
use redb::{AccessGuard, ReadOnlyTable, ReadableTable, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use zeroize::Zeroizing;

type Key = &'static [u8; 48];
type Value = &'static [u8];

/// A record with all its names.
pub(super) struct Record {
    pub(super) table: String,
    pub(super) name: String,
    pub(super) value: Zeroizing<Vec<u8>>,
}

/// The records of a store as they were at one moment.
pub struct View<'a> {
    records: Records<'a>,
    keys: &'a Keys,
    sealer: Sealer,
    directory: &'a Path,
}

enum Records<'a> {
    Read(ReadOnlyTable<Key, Value>),
    Write(Table<'a, Key, Value>),
}

impl Records<'_> {
    fn get(&self, place: &Place) -> redb::Result<Option<AccessGuard<'_, Value>>> {
        match self {
            Self::Read(table) => table.get(place),
            Self::Write(table) => table.get(place),
        }
    }

    fn range(&self, first: &Place, last: &Place) -> redb::Result<redb::Range<'_, Key, Value>> {
        match self {
            Self::Read(table) => table.range::<&[u8; 48]>(first..=last),
            Self::Write(table) => table.range::<&[u8; 48]>(first..=last),
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn read(table: ReadOnlyTable<Key, Value>, keys: &'a Keys, directory: &'a Path) -> Self {
        Self { records: Records::Read(table), keys, sealer: keys.sealer(), directory }
    }

    /// Every record.
    pub(super) fn all(&self) -> Result<Vec<Record>, StoreError> {
        let range = self.records.range(&[0; 48], &[0xff; 48]);
        let range = range.map_err(StoreError::database("read", self.directory))?;
        let one = |record: redb::Result<(AccessGuard<'_, Key>, AccessGuard<'_, Value>)>| {
            let (place, sealed) = record.map_err(StoreError::database("read", self.directory))?;
            let opened = self.sealer.open_any_record(place.value(), sealed.value());
            let (table, name, value) =
                opened.ok_or_else(|| StoreError::tampered(self.directory, Tampering::Record))?;
            Ok(Record { table, name, value })
        };
        range.map(one).collect()
    }

    /// The value of this name in this table.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] if what is there fails authentication.
    pub fn get(&self, table: &str, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let place = self.keys.place(table, name);
        let found = self.records.get(&place).map_err(StoreError::database("read", self.directory))?;
        let Some(sealed) = found else { return Ok(None) };
        let (found, value) = self.open(&place, table, sealed.value())?;
        if found != name {
            return Err(StoreError::tampered(self.directory, Tampering::Record));
        }
        Ok(Some(value))
    }

    /// Names and values of this table, each once, in no order that means anything.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] in place of an entry that fails authentication.
    pub fn entries(
        &self,
        table: &str,
    ) -> Result<impl Iterator<Item = Result<Entry, StoreError>>, StoreError> {
        let (first, last) = self.keys.places(table);
        let range =
            self.records.range(&first, &last).map_err(StoreError::database("read", self.directory))?;
        Ok(range.map(move |record| {
            let (place, sealed) = record.map_err(StoreError::database("read", self.directory))?;
            self.open(place.value(), table, sealed.value())
        }))
    }

    /// [`View::get`] of a value that was put with [`Transaction::put_json`].
    ///
    /// # Errors
    /// Those of [`View::get`]; [`StoreError::Json`] if the value is not a `T`.
    pub fn get_json<T: DeserializeOwned>(&self, table: &str, name: &str) -> Result<Option<T>, StoreError> {
        self.get(table, name)?.map(|value| from_json(table, &value)).transpose()
    }

    /// [`View::entries`] of values that were put with [`Transaction::put_json`].
    ///
    /// # Errors
    /// Those of [`View::entries`]; [`StoreError::Json`] in place of an entry that is not a `T`.
    pub fn entries_json<T: DeserializeOwned>(
        &self,
        table: &str,
    ) -> Result<impl Iterator<Item = Result<(String, T), StoreError>>, StoreError> {
        Ok(self.entries(table)?.map(move |entry| {
            let (name, value) = entry?;
            Ok((name, from_json(table, &value)?))
        }))
    }

    fn open(&self, place: &Place, table: &str, sealed: &[u8]) -> Result<Entry, StoreError> {
        self.sealer
            .open_record(place, table, sealed)
            .ok_or_else(|| StoreError::tampered(self.directory, Tampering::Record))
    }
}

fn from_json<T: DeserializeOwned>(table: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Json {
        table: table.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

/// A [`View`] of what the transaction has made of the store so far, and the means to change it.
pub struct Transaction<'a> {
    view: View<'a>,
    /// What the head becomes.
    head: Head,
    changed: bool,
    /// Why it can only be given up.
    failure: Option<String>,
}

impl<'a> std::ops::Deref for Transaction<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        &self.view
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(table: Table<'a, Key, Value>, keys: &'a Keys, head: Head, directory: &'a Path) -> Self {
        let view = View { records: Records::Write(table), keys, sealer: keys.sealer(), directory };
        Self { view, head, changed: false, failure: None }
    }

    /// Puts `value` under this name into this table, in place of what was there.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Unwritable`]; the transaction can then only be given up.
    pub fn put(&mut self, table: &str, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let result = self.try_put(table, name, value);
        self.note(result)
    }

    /// Puts `value` as JSON.
    ///
    /// # Errors
    /// Those of [`Transaction::put`].
    pub fn put_json<T: Serialize + ?Sized>(
        &mut self,
        table: &str,
        name: &str,
        value: &T,
    ) -> Result<(), StoreError> {
        match private_file::to_compact_json(value) {
            Ok(json) => self.put(table, name, &json),
            Err(_) => self.note(Err(StoreError::Unwritable { table: table.to_owned() })),
        }
    }

    /// Removes this name from this table. Whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Database`]; the transaction can then only be given up.
    pub fn remove(&mut self, table: &str, name: &str) -> Result<bool, StoreError> {
        let result = self.try_remove(table, name);
        self.note(result)
    }

    /// Counts as a transaction of its own although no record changes.
    pub(super) fn count_as_changed(&mut self) {
        self.changed = true;
    }

    /// Why it can only be given up, if it can.
    pub(super) fn failure(self) -> Option<String> {
        self.failure
    }

    fn note<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| self.failure = Some(error.to_string()))
    }

    fn try_put(&mut self, table: &str, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let View { records, keys, sealer, directory } = &mut self.view;
        let Records::Write(records) = records else { return Err(StoreError::GivenUp) };
        let place = keys.place(table, name);
        let sealed = sealer
            .seal_record(&place, table, name, value)
            .ok_or_else(|| StoreError::Unwritable { table: table.to_owned() })?;
        let former =
            records.insert(&place, sealed.as_slice()).map_err(StoreError::database("write", directory))?;
        match former {
            Some(former) => self.head.digest.toggle(keys.member(&place, former.value())),
            None => self.head.count += 1,
        }
        self.head.digest.toggle(keys.member(&place, &sealed));
        self.changed = true;
        Ok(())
    }

    fn try_remove(&mut self, table: &str, name: &str) -> Result<bool, StoreError> {
        let View { records, keys, directory, .. } = &mut self.view;
        let Records::Write(records) = records else { return Err(StoreError::GivenUp) };
        let place = keys.place(table, name);
        let former = records.remove(&place).map_err(StoreError::database("write", directory))?;
        let Some(former) = former else { return Ok(false) };
        self.head.digest.toggle(keys.member(&place, former.value()));
        // Below zero only if the file was changed under us, which the next open finds.
        self.head.count = self.head.count.saturating_sub(1);
        self.changed = true;
        Ok(true)
    }

    /// The head after the transaction, or `None` if nothing was changed.
    pub(super) fn finish(self) -> Result<Option<Head>, StoreError> {
        if self.failure.is_some() {
            return Err(StoreError::GivenUp);
        }
        Ok(self.changed.then(|| Head { generation: self.head.generation + 1, ..self.head }))
    }
}
