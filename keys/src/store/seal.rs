//! `database key = HMAC(names; table)[..16] ‖ HMAC(names; table ‖ name)`,
//! `sealed value = AES-256-SIV(records, database key; table ‖ name ‖ value)` (RFC 5297),
//! `digest of the set = XOR of HMAC(set; database key ‖ sealed value)`, with HMAC-SHA-256 and keys of
//! HKDF(lock key, store's id, purpose). Table and name have their lengths in front (8 bytes, big endian).

use crate::kdf::{self, Purpose};
use crate::lock::LockKey;
use crate::sealing;
use crate::secret::wipe_stack;
use aes_siv::siv::{Aes256Siv, IV_SIZE};
use aws_lc_rs::hmac;
use std::cell::RefCell;
use zeroize::Zeroizing;

const TABLE: usize = 16;
const NAME: usize = 32;
const LENGTH: usize = 8;

/// Where a record lies in the database: what all records of its table have in front, and its own.
pub(super) type Place = [u8; TABLE + NAME];

/// The keys of a store.
pub(super) struct Keys {
    // Boxed, so that moving them leaves no copy.
    names: Box<hmac::Key>,
    set: Box<hmac::Key>,
    records: Box<Zeroizing<[u8; 64]>>,
}

/// Comes with the store: says whether a lock key is the one that it was made with.
pub(super) fn check_value(lock_key: &LockKey, store_id: &str) -> [u8; 32] {
    let mut check = [0; 32];
    kdf::derive(lock_key.as_bytes(), "", store_id.as_bytes(), Purpose::StoreLockCheck, &mut check);
    check
}

impl Keys {
    pub(super) fn derive(lock_key: &LockKey, store_id: &str) -> Self {
        let derive = |purpose, key: &mut [u8]| {
            kdf::derive(lock_key.as_bytes(), "", store_id.as_bytes(), purpose, key);
        };
        let mac = |purpose| {
            let mut key = Zeroizing::new([0; 32]);
            derive(purpose, key.as_mut_slice());
            Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
        };
        let mut records = Box::new(Zeroizing::new([0; 64]));
        derive(Purpose::StoreRecords, records.as_mut_slice());
        Self { names: mac(Purpose::StoreNames), set: mac(Purpose::StoreSet), records }
    }

    /// First and last place that a record of this table can have.
    pub(super) fn places(&self, table: &str) -> (Place, Place) {
        (self.place_with(table, [0; NAME]), self.place_with(table, [0xff; NAME]))
    }

    pub(super) fn place(&self, table: &str, name: &str) -> Place {
        let mut mac = hmac::Context::with_key(&self.names);
        for field in [table, name] {
            mac.update(&length(field.as_bytes()));
            mac.update(field.as_bytes());
        }
        let mut own = [0; NAME];
        own.copy_from_slice(mac.sign().as_ref());
        self.place_with(table, own)
    }

    fn place_with(&self, table: &str, own: [u8; NAME]) -> Place {
        let mac = hmac::sign(&self.names, table.as_bytes());
        let mut place = [0; TABLE + NAME];
        for (target, source) in place.iter_mut().zip(mac.as_ref().iter().take(TABLE).chain(&own)) {
            *target = *source;
        }
        place
    }

    /// What a record adds to the digest of the set, and takes away from it when it goes.
    pub(super) fn member(&self, place: &Place, sealed: &[u8]) -> Digest {
        let mut mac = hmac::Context::with_key(&self.set);
        mac.update(place);
        mac.update(sealed);
        let mut digest = [0; 32];
        digest.copy_from_slice(mac.sign().as_ref());
        Digest(digest)
    }

    pub(super) fn sealer(&self) -> Sealer {
        Sealer(RefCell::new(sealing::siv(&self.records)))
    }
}

fn length(field: &[u8]) -> [u8; LENGTH] {
    (field.len() as u64).to_be_bytes()
}

/// The digest of a set of records, whatever their order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    pub(super) fn toggle(&mut self, member: Digest) {
        for (target, source) in self.0.iter_mut().zip(member.0) {
            *target ^= source;
        }
    }
}

/// AES-256-SIV for one transaction.
pub(super) struct Sealer(RefCell<Box<Aes256Siv>>);

/// AES-SIV leaves key schedules in frames that have returned.
impl Drop for Sealer {
    fn drop(&mut self) {
        wipe_stack();
    }
}

/// Name and value of a record.
pub(super) type Entry = (String, Zeroizing<Vec<u8>>);

impl Sealer {
    /// `None` if AES-SIV refuses.
    pub(super) fn seal(&self, associated_data: &[&[u8]], plaintext: &[u8]) -> Option<Vec<u8>> {
        // Sized once: the plaintext is in this buffer until it is encrypted in place.
        let mut sealed = Vec::with_capacity(IV_SIZE + plaintext.len());
        sealing::seal(&mut self.0.borrow_mut(), associated_data, plaintext, &mut sealed).ok()?;
        Some(sealed)
    }

    /// `None` if it fails authentication.
    pub(super) fn open(&self, associated_data: &[&[u8]], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
        sealing::open(&mut self.0.borrow_mut(), associated_data, sealed, &mut plaintext).ok()?;
        Some(plaintext)
    }

    pub(super) fn seal_record(
        &self,
        place: &Place,
        table: &str,
        name: &str,
        value: &[u8],
    ) -> Option<Vec<u8>> {
        let fields = [table.as_bytes(), name.as_bytes()];
        let size = fields.iter().map(|field| LENGTH + field.len()).sum::<usize>() + value.len();
        let mut plaintext = Zeroizing::new(Vec::with_capacity(size));
        for field in fields {
            plaintext.extend_from_slice(&length(field));
            plaintext.extend_from_slice(field);
        }
        plaintext.extend_from_slice(value);
        self.seal(&[place], &plaintext)
    }

    /// Name and value of the record at this place of this table; `None` if it is not one.
    pub(super) fn open_record(&self, place: &Place, table: &str, sealed: &[u8]) -> Option<Entry> {
        let (found, name, value) = self.open_any_record(place, sealed)?;
        (found == table).then_some((name, value))
    }

    /// Table, name and value of the record at this place.
    pub(super) fn open_any_record(
        &self,
        place: &Place,
        sealed: &[u8],
    ) -> Option<(String, String, Zeroizing<Vec<u8>>)> {
        let plaintext = self.open(&[place], sealed)?;
        let (table, rest) = split_field(&plaintext)?;
        let (name, value) = split_field(rest)?;
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        Some((text(table)?, text(name)?, Zeroizing::new(value.to_vec())))
    }
}

fn split_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
}
