//! Stores against those who may change them: tampering with every part, crashes, and a model.

use super::directory::STORE;
use super::{ABOUT, HEAD, LOCK, RECORDS, Store, StoreError, Tampering, View};
use crate::lock::{Lock, LockError};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

/// A directory with a key file and room for a store.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        assert!(place.lock().create_if_missing().unwrap());
        place
    }

    fn with_store() -> (Self, Store) {
        let place = Self::new();
        let store = Store::create(&place.state(), &place.lock()).unwrap();
        (place, store)
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.state().join(STORE)
    }

    fn key_file(&self) -> PathBuf {
        self.directory.path().join("lock.key")
    }

    fn lock(&self) -> Lock {
        Lock::KeyFile(self.key_file())
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.state(), &self.lock())
    }

    fn refusal(&self) -> StoreError {
        self.open().err().expect("the store opens")
    }

    fn tampering(&self) -> Tampering {
        match self.refusal() {
            StoreError::Tampered { what, .. } => what,
            other => panic!("{other}"),
        }
    }

    /// Changes the database past the store, as one who has the disk and not the lock.
    fn behind_its_back(&self, change: impl FnOnce(&WriteTransaction)) {
        let transaction = Database::open(self.file()).unwrap().begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
    }

    fn records(&self) -> BTreeMap<[u8; 48], Vec<u8>> {
        let database = Database::open(self.file()).unwrap();
        let table = database.begin_read().unwrap().open_table(RECORDS).unwrap();
        let pair = |record: redb::Result<(redb::AccessGuard<_>, redb::AccessGuard<&[u8]>)>| {
            let (place, sealed): (redb::AccessGuard<&[u8; 48]>, _) = record.unwrap();
            (*place.value(), sealed.value().to_vec())
        };
        table.iter().unwrap().map(pair).collect()
    }

    fn about(&self, name: &str) -> Vec<u8> {
        let database = Database::open(self.file()).unwrap();
        let table = database.begin_read().unwrap().open_table(ABOUT).unwrap();
        table.get(name).unwrap().unwrap().value().to_vec()
    }

    fn put_record(&self, place: &[u8; 48], sealed: &[u8]) {
        self.behind_its_back(|transaction| {
            transaction.open_table(RECORDS).unwrap().insert(place, sealed).unwrap();
        });
    }

    fn put_about(&self, name: &str, value: &[u8]) {
        self.behind_its_back(|transaction| {
            transaction.open_table(ABOUT).unwrap().insert(name, value).unwrap();
        });
    }
}

fn put(store: &Store, table: &str, name: &str, value: &str) {
    store.write::<_, StoreError>(|changes| changes.put(table, name, value.as_bytes())).unwrap();
}

fn remove(store: &Store, table: &str, name: &str) -> bool {
    store.write::<_, StoreError>(|changes| changes.remove(table, name)).unwrap()
}

fn get(store: &Store, table: &str, name: &str) -> Option<String> {
    let value = store.read::<_, StoreError>(|view| view.get(table, name)).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn entries(view: &View<'_>, table: &str) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let mut found = BTreeMap::new();
    for entry in view.entries(table)? {
        let (name, value) = entry?;
        assert!(found.insert(name, value.to_vec()).is_none(), "each name once");
    }
    Ok(found)
}

fn names(store: &Store, table: &str) -> Vec<String> {
    store.read(|view| entries(view, table)).unwrap().into_keys().collect()
}

#[test]
fn what_was_written_is_there_again() {
    let (place, store) = Place::with_store();
    put(&store, "users", "alice", "one");
    put(&store, "users", "alice", "two");
    put(&store, "users", "bob", "three");
    put(&store, "others", "alice", "four");
    put(&store, "others", "", "");
    assert_eq!(get(&store, "users", "alice").as_deref(), Some("two"));
    drop(store);
    let store = place.open().unwrap();
    assert_eq!(store.generation(), 5);
    assert_eq!(get(&store, "users", "alice").as_deref(), Some("two"));
    assert_eq!(get(&store, "others", "alice").as_deref(), Some("four"));
    assert_eq!(get(&store, "others", "").as_deref(), Some(""));
    assert_eq!(get(&store, "users", "carol"), None);
    assert_eq!(get(&store, "", "alice"), None);
    assert_eq!(names(&store, "users"), ["alice", "bob"]);
    assert_eq!(names(&store, "others"), ["", "alice"]);
    assert!(names(&store, "user").is_empty());
    assert!(remove(&store, "users", "bob"));
    assert!(!remove(&store, "users", "bob"));
    assert_eq!(get(&store, "users", "bob"), None);
    assert_eq!(store.generation(), 6, "what changes nothing is no transaction");
    drop(store);
    assert_eq!(names(&place.open().unwrap(), "users"), ["alice"]);
}

#[test]
fn json_is_written_and_read() {
    let (_place, store) = Place::with_store();
    store.write::<_, StoreError>(|changes| changes.put_json("numbers", "odd", &[1, 3, 5])).unwrap();
    let odd: Option<Vec<u8>> = store.read::<_, StoreError>(|view| view.get_json("numbers", "odd")).unwrap();
    assert_eq!(odd, Some(vec![1, 3, 5]));
    let all: Vec<(String, Vec<u8>)> =
        store.read::<_, StoreError>(|view| view.entries_json("numbers")?.collect()).unwrap();
    assert_eq!(all, [("odd".to_owned(), vec![1, 3, 5])]);
    let wrong = store.read::<_, StoreError>(|view| view.get_json::<Vec<String>>("numbers", "odd"));
    let message = wrong.unwrap_err().to_string();
    assert!(message.contains("a record of numbers is not of the form"), "{message}");
}

#[test]
fn a_transaction_sees_what_it_has_written_and_others_do_not() {
    let (_place, store) = Place::with_store();
    put(&store, "users", "alice", "one");
    store
        .write::<_, StoreError>(|changes| {
            changes.put("users", "alice", b"two")?;
            changes.put("users", "bob", b"three")?;
            assert_eq!(changes.get("users", "alice")?.as_deref(), Some(&b"two".to_vec()));
            assert_eq!(entries(changes, "users")?.len(), 2);
            assert_eq!(get(&store, "users", "alice").as_deref(), Some("one"));
            assert_eq!(names(&store, "users"), ["alice"]);
            Ok(())
        })
        .unwrap();
    assert_eq!(names(&store, "users"), ["alice", "bob"]);
}

#[test]
fn an_error_or_a_panic_undoes_the_whole_transaction() {
    let (place, store) = Place::with_store();
    put(&store, "users", "alice", "one");
    let failed = store.write::<(), StoreError>(|changes| {
        changes.put("users", "alice", b"two")?;
        changes.put("users", "bob", b"three")?;
        Err(StoreError::GivenUp)
    });
    assert!(matches!(failed, Err(StoreError::GivenUp)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.write::<(), StoreError>(|changes| {
            changes.remove("users", "alice")?;
            panic!("in the middle of a transaction");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(get(&store, "users", "alice").as_deref(), Some("one"));
    assert_eq!(store.generation(), 1);
    put(&store, "users", "carol", "four");
    drop(store);
    assert_eq!(names(&place.open().unwrap(), "users"), ["alice", "carol"]);
}

#[test]
fn a_transaction_with_a_failed_write_is_not_committed() {
    let (_place, store) = Place::with_store();
    let keys_are_no_text = BTreeMap::from([(vec![1], 1)]);
    let outcome = store.write::<_, StoreError>(|changes| {
        changes.put("users", "alice", b"one")?;
        assert!(changes.put_json("users", "bob", &keys_are_no_text).is_err());
        Ok(())
    });
    assert!(matches!(outcome, Err(StoreError::GivenUp)));
    assert!(names(&store, "users").is_empty());
}

#[test]
fn threads_share_a_store() {
    let (place, store) = Place::with_store();
    store
        .write::<_, StoreError>(|changes| {
            changes.put("sum", "left", &[100])?;
            changes.put("sum", "right", &[100])
        })
        .unwrap();
    let start = Barrier::new(4);
    let byte = |view: &View<'_>, name| view.get("sum", name).map(|value| value.unwrap()[0]);
    thread::scope(|scope| {
        for writer in 0..4 {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..20 {
                    if writer == 0 {
                        let sum = store.read::<_, StoreError>(|view| {
                            Ok(u32::from(byte(view, "left")?) + u32::from(byte(view, "right")?))
                        });
                        assert_eq!(sum.unwrap(), 200);
                        continue;
                    }
                    let moved = store.write::<_, StoreError>(|changes| {
                        let (left, right) = (byte(changes, "left")?, byte(changes, "right")?);
                        changes.put("sum", "left", &[left - 1])?;
                        changes.put("sum", "right", &[right + 1])
                    });
                    moved.unwrap();
                }
            });
        }
    });
    drop(store);
    let store = place.open().unwrap();
    assert_eq!(store.generation(), 61);
    assert_eq!(store.read::<_, StoreError>(|view| byte(view, "left")).unwrap(), 40);
}

#[test]
fn neither_names_nor_values_are_in_the_file() {
    let (place, store) = Place::with_store();
    put(&store, "table-of-users", "name-of-alice", "value-of-alice");
    drop(store);
    let content = fs::read(place.file()).unwrap();
    let key = fs::read(place.key_file()).unwrap();
    for clear in [&b"table-of-users"[..], b"name-of-alice", b"value-of-alice", &key] {
        assert!(!content.windows(clear.len()).any(|window| window == clear));
    }
}

#[test]
fn what_is_missing_is_told_apart() {
    let place = Place::new();
    assert!(!Store::exists(&place.state()));
    let message = place.refusal().to_string();
    assert!(message.contains("no state directory") && message.contains("trefoil-proxy init"), "{message}");
    fs::create_dir(place.state()).unwrap();
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).unwrap();
    let message = place.refusal().to_string();
    assert!(message.contains("holds no store") && message.contains("trefoil-shim init"), "{message}");
    fs::write(place.state().join("store.redb.new"), "half").unwrap();
    let message = place.refusal().to_string();
    assert!(message.contains("interrupted; run the init command again"), "{message}");
    assert!(!Store::exists(&place.state()));
    drop(Store::create(&place.state(), &place.lock()).unwrap());
    assert!(Store::exists(&place.state()));
    assert_eq!(fs::read_dir(place.state()).unwrap().count(), 1);
    fs::remove_file(place.key_file()).unwrap();
    let message = place.refusal().to_string();
    assert!(message.contains("stays closed: no lock: the key file"), "{message}");
    assert!(!place.key_file().exists());
}

#[test]
fn a_store_is_replaced_only_on_demand() {
    let (place, store) = Place::with_store();
    put(&store, "users", "alice", "one");
    drop(store);
    let refused = Store::create(&place.state(), &place.lock()).err().unwrap();
    assert!(refused.to_string().ends_with("holds a store already"), "{refused}");
    assert_eq!(names(&place.open().unwrap(), "users"), ["alice"]);
    // Without a lock there is nothing to replace it by.
    let none = Lock::KeyFile(place.directory.path().join("none"));
    assert!(matches!(Store::replace(&place.state(), &none), Err(StoreError::Lock { .. })));
    assert_eq!(names(&place.open().unwrap(), "users"), ["alice"]);
    drop(Store::replace(&place.state(), &place.lock()).unwrap());
    assert!(names(&place.open().unwrap(), "users").is_empty());
}

#[test]
fn only_its_own_lock_opens_a_store() {
    let (place, store) = Place::with_store();
    drop(store);
    let other = Place::new();
    let wrong = Store::open(&place.state(), &other.lock()).err().unwrap();
    assert!(matches!(wrong, StoreError::WrongLock(_)));
    assert!(wrong.to_string().contains("wrong lock"), "{wrong}");
    let kms = Lock::AwsKms { key_id: "alias/x".to_owned(), endpoint: None, region: None };
    let wrong = Store::open(&place.state(), &kms).err().unwrap();
    assert!(matches!(wrong, StoreError::Lock { reason: LockError::OtherKind { .. }, .. }), "{wrong}");
    for content in ["", "AAAA", "not a key at all, but of the right length.."] {
        fs::write(place.key_file(), content).unwrap();
        let wrong = place.refusal().to_string();
        assert!(wrong.contains("is no key file"), "{wrong}");
        assert!(content.is_empty() || !wrong.contains(content), "{wrong}");
    }
}

#[test]
fn another_lock_takes_the_place_of_the_former() {
    let (place, store) = Place::with_store();
    for (table, name) in [("users", "alice"), ("users", "bob"), ("about", "alice")] {
        put(&store, table, name, &format!("{table} {name}"));
    }
    let other = Lock::KeyFile(place.directory.path().join("other.key"));
    let change = |from: &Lock, to: &Lock| Store::change_lock(&place.state(), from, to);
    assert!(matches!(change(&place.lock(), &other), Err(StoreError::InUse(_))));
    drop(store);
    assert!(matches!(change(&place.lock(), &other), Err(StoreError::Lock { .. })), "there is no such key");
    assert!(other.create_if_missing().unwrap());
    assert!(matches!(change(&other, &place.lock()), Err(StoreError::WrongLock(_))));
    assert_eq!(names(&place.open().unwrap(), "users"), ["alice", "bob"], "nothing has changed");

    change(&place.lock(), &other).unwrap();
    assert!(matches!(place.refusal(), StoreError::WrongLock(_)));
    let store = Store::open(&place.state(), &other).unwrap();
    assert_eq!(names(&store, "users"), ["alice", "bob"]);
    assert_eq!(get(&store, "about", "alice").as_deref(), Some("about alice"));
    put(&store, "users", "carol", "");
    drop(store);
    assert_eq!(names(&Store::open(&place.state(), &other).unwrap(), "users"), ["alice", "bob", "carol"]);
}

#[test]
fn what_others_can_read_is_refused() {
    let (place, store) = Place::with_store();
    drop(store);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(place.state()), mode(place.file()), mode(place.key_file())), (0o700, 0o600, 0o600));
    for (path, private) in [(place.state(), 0o700), (place.file(), 0o600), (place.key_file(), 0o600)] {
        for bit in [0o040, 0o004, 0o020, 0o001] {
            fs::set_permissions(&path, fs::Permissions::from_mode(private | bit)).unwrap();
            let message = place.refusal().to_string();
            assert!(message.contains("by others than its owner"), "{message}");
            assert!(message.contains(&format!("chmod {private:o} {}", path.display())), "{message}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(private)).unwrap();
        drop(place.open().unwrap());
    }
}

#[test]
fn a_store_is_open_once() {
    let (place, store) = Place::with_store();
    assert!(matches!(place.refusal(), StoreError::InUse(_)));
    assert!(matches!(Store::replace(&place.state(), &place.lock()), Err(StoreError::InUse(_))));
    assert!(matches!(Store::create(&place.state(), &place.lock()), Err(StoreError::InUse(_))));
    drop(store);
    drop(place.open().unwrap());
}

#[test]
fn nothing_is_written_to_a_file_that_was_replaced() {
    let (place, store) = Place::with_store();
    put(&store, "users", "alice", "one");
    let backup = fs::read(place.file()).unwrap();
    fs::remove_file(place.file()).unwrap();
    let write = || store.write::<_, StoreError>(|changes| changes.put("users", "bob", b"two"));
    assert!(matches!(write(), Err(StoreError::NotInitialised(_))));
    fs::write(place.file(), backup).unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(write(), Err(StoreError::Replaced(_))));
    drop(store);
    assert_eq!(names(&place.open().unwrap(), "users"), ["alice"]);
}

/// A closed store with three records, and how the database has them.
fn three_records() -> (Place, BTreeMap<[u8; 48], Vec<u8>>) {
    let (place, store) = Place::with_store();
    for name in ["alice", "bob", "carol"] {
        put(&store, "users", name, "the same for all");
    }
    drop(store);
    let records = place.records();
    assert_eq!(records.len(), 3);
    (place, records)
}

#[test]
fn a_removed_record_is_missed() {
    let (place, records) = three_records();
    let victim = *records.keys().next().unwrap();
    place.behind_its_back(|transaction| {
        transaction.open_table(RECORDS).unwrap().remove(&victim).unwrap();
    });
    assert_eq!(place.tampering(), Tampering::Missing { expected: 3, found: 2 });
    place.put_record(&victim, &records[&victim]);
    drop(place.open().unwrap());
}

#[test]
fn an_altered_record_is_refused() {
    let (place, records) = three_records();
    for (victim, sealed) in &records {
        for position in [0, 16, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            place.put_record(victim, &altered);
            assert_eq!(place.tampering(), Tampering::Record);
        }
        for other in [&sealed[..sealed.len() - 1], &[]] {
            place.put_record(victim, other);
            assert_eq!(place.tampering(), Tampering::Record);
        }
        place.put_record(victim, sealed);
    }
    drop(place.open().unwrap());
}

#[test]
fn swapped_records_are_refused() {
    let (place, records) = three_records();
    let places: Vec<_> = records.keys().collect();
    place.put_record(places[0], &records[places[1]]);
    place.put_record(places[1], &records[places[0]]);
    assert_eq!(place.tampering(), Tampering::Record);
}

#[test]
fn a_record_at_a_new_place_is_refused() {
    let (place, records) = three_records();
    place.put_record(&[7; 48], records.values().next().unwrap());
    assert_eq!(place.tampering(), Tampering::Record);
}

#[test]
fn an_older_state_of_a_record_is_refused() {
    let (place, old) = three_records();
    let store = place.open().unwrap();
    put(&store, "users", "alice", "a new value");
    drop(store);
    let new = place.records();
    let victim = old.keys().find(|place| old[*place] != new[*place]).unwrap();
    place.put_record(victim, &old[victim]);
    assert_eq!(place.tampering(), Tampering::Old);
}

#[test]
fn a_record_that_was_removed_does_not_come_back() {
    let (place, old) = three_records();
    let store = place.open().unwrap();
    assert!(remove(&store, "users", "alice"));
    drop(store);
    let new = place.records();
    let victim = old.keys().find(|place| !new.contains_key(*place)).unwrap();
    place.put_record(victim, &old[victim]);
    assert_eq!(place.tampering(), Tampering::Added { expected: 2, found: 3 });
}

#[test]
fn records_of_another_store_with_the_same_lock_are_refused() {
    let (place, records) = three_records();
    let other = place.directory.path().join("other");
    let store = Store::create(&other, &place.lock()).unwrap();
    for name in ["alice", "bob", "carol"] {
        put(&store, "users", name, "the same for all");
    }
    drop(store);
    // The same name lies elsewhere there, so whatever is copied is at a wrong place or sealed otherwise.
    let database = Database::open(other.join(STORE)).unwrap();
    let theirs = database.begin_read().unwrap().open_table(RECORDS).unwrap();
    let (their_place, their_sealed) = theirs.first().unwrap().unwrap();
    assert!(!records.contains_key(their_place.value()));
    let victim = records.keys().next().unwrap();
    place.put_record(victim, their_sealed.value());
    assert_eq!(place.tampering(), Tampering::Record);
    place.put_record(victim, &records[victim]);
    place.put_record(their_place.value(), their_sealed.value());
    assert_eq!(place.tampering(), Tampering::Record);
}

#[test]
fn an_older_or_foreign_head_is_refused() {
    let (place, records) = three_records();
    let old = place.about(HEAD);
    let store = place.open().unwrap();
    put(&store, "users", "alice", "a new value");
    drop(store);
    let new = place.about(HEAD);
    place.put_about(HEAD, &old);
    assert_eq!(place.tampering(), Tampering::Old);
    let mut altered = new.clone();
    altered[20] ^= 1;
    for wrong in [altered.as_slice(), &[], records.values().next().unwrap()] {
        place.put_about(HEAD, wrong);
        assert_eq!(place.tampering(), Tampering::Head);
    }
    place.behind_its_back(|transaction| {
        transaction.open_table(ABOUT).unwrap().remove(HEAD).unwrap();
    });
    assert_eq!(place.tampering(), Tampering::Head);
    place.put_about(HEAD, &new);
    drop(place.open().unwrap());
}

#[test]
fn the_lock_record_is_bound() {
    let (place, _) = three_records();
    let genuine = String::from_utf8(place.about(LOCK)).unwrap();
    let id = genuine.split('"').nth(5).unwrap();
    let tampered = |what| move |error: &StoreError| matches!(error, StoreError::Tampered { what: found, .. } if *found == what);
    type Check = Box<dyn Fn(&StoreError) -> bool>;
    let cases: [(String, Check); 6] = [
        (String::new(), Box::new(tampered(Tampering::LockRecord))),
        (genuine.replace("key_file", "none"), Box::new(tampered(Tampering::LockRecord))),
        (genuine.replace(r#""check":"#, r#""check":"A","#), Box::new(tampered(Tampering::LockRecord))),
        // Of a later version, whatever else it holds.
        (
            r#"{"version":2,"new":1}"#.to_owned(),
            Box::new(|e| matches!(e, StoreError::Version { found: 2, .. })),
        ),
        (genuine.replace(id, "AAAAAAAAAAAAAAAAAAAAAA"), Box::new(|e| matches!(e, StoreError::WrongLock(_)))),
        // Means the same, and is not what was written.
        (format!("{genuine} "), Box::new(tampered(Tampering::Head))),
    ];
    for (altered, expected) in cases {
        assert_ne!(altered, genuine);
        place.put_about(LOCK, altered.as_bytes());
        let refusal = place.refusal();
        assert!(expected(&refusal), "{altered}: {refusal}");
    }
    place.put_about(LOCK, genuine.as_bytes());
    drop(place.open().unwrap());
}

#[test]
fn other_tables_are_refused() {
    let added: [fn(&WriteTransaction); 3] = [
        |transaction| {
            transaction.open_table(TableDefinition::<u8, u8>::new("more")).unwrap();
        },
        |transaction| {
            transaction.open_multimap_table(redb::MultimapTableDefinition::<u8, u8>::new("more")).unwrap();
        },
        |transaction| {
            assert!(transaction.delete_table(RECORDS).unwrap());
            transaction.open_table(TableDefinition::<u8, u8>::new("records")).unwrap();
        },
    ];
    for add in added {
        let (place, _) = three_records();
        place.behind_its_back(add);
        assert_eq!(place.tampering(), Tampering::Tables);
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let (place, _) = three_records();
    let genuine = fs::read(place.file()).unwrap();
    for content in [&b""[..], b"x", &[0; 100_000], &genuine[..genuine.len() / 2], &genuine[..100]] {
        fs::write(place.file(), content).unwrap();
        let refusal = place.refusal();
        assert!(matches!(refusal, StoreError::Tampered { .. }), "{refusal}");
    }
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    assert!(matches!(place.refusal(), StoreError::Io { .. }));
}

/// What a transaction does to the model and to the store.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8, Vec<u8>),
    Remove(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        3 => (0..3_u8, 0..6_u8, value).prop_map(|(table, name, value)| Step::Put(table, name, value)),
        1 => (0..3_u8, 0..6_u8).prop_map(|(table, name)| Step::Remove(table, name)),
    ]
}

fn content(view: &View<'_>) -> Result<BTreeMap<(String, String), Vec<u8>>, StoreError> {
    let mut content = BTreeMap::new();
    for table in 0..3 {
        let table = format!("table {table}");
        for (name, value) in entries(view, &table)? {
            assert_eq!(view.get(&table, &name)?.as_deref(), Some(&value));
            content.insert((table.clone(), name), value);
        }
    }
    Ok(content)
}

const CASES: u32 = 24;

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn a_store_is_a_map(
        transactions in prop::collection::vec(
            (prop::collection::vec(step(), 0..6), any::<bool>(), any::<bool>()),
            0..12,
        ),
    ) {
        let (place, mut store) = Place::with_store();
        let mut model = BTreeMap::new();
        for (steps, abort, reopen) in transactions {
            let mut next = model.clone();
            let outcome = store.write::<_, StoreError>(|changes| {
                for step in &steps {
                    match step {
                        Step::Put(table, name, value) => {
                            let (table, name) = (format!("table {table}"), format!("name {name}"));
                            changes.put(&table, &name, value)?;
                            next.insert((table, name), value.clone());
                        }
                        Step::Remove(table, name) => {
                            let (table, name) = (format!("table {table}"), format!("name {name}"));
                            let was_there = changes.remove(&table, &name)?;
                            assert_eq!(was_there, next.remove(&(table, name)).is_some());
                        }
                    }
                }
                assert_eq!(content(changes)?, next);
                if abort { Err(StoreError::GivenUp) } else { Ok(()) }
            });
            assert_eq!(outcome.is_err(), abort);
            if !abort {
                model = next;
            }
            if reopen {
                drop(store);
                store = place.open().unwrap();
            }
            assert_eq!(store.read(content).unwrap(), model);
        }
    }

    /// Whoever changes bytes of the file gets a refusal, or has hit bytes that nothing uses.
    #[test]
    fn altered_bytes_of_the_file_change_nothing_silently(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let (place, _) = three_records();
        let mut bytes = fs::read(place.file()).unwrap();
        // Most of a new file is zeros in pages that are free.
        let used: Vec<_> = (0..bytes.len()).filter(|position| bytes[*position] != 0).collect();
        for (position, mask) in flips {
            bytes[*position.get(&used)] ^= mask;
        }
        fs::write(place.file(), bytes).unwrap();
        if let Ok(store) = place.open() {
            assert_eq!(names(&store, "users"), ["alice", "bob", "carol"]);
            assert_eq!(get(&store, "users", "bob").as_deref(), Some("the same for all"));
        }
    }
}
