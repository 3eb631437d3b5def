use super::{Store, StoreError};
use crate::lock::Lock;
use std::path::PathBuf;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let Lock::KeyFile(path) = place.lock() else { unreachable!() };
        Lock::create_key_file(&path).unwrap();
        place
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn lock(&self) -> Lock {
        Lock::KeyFile(self.directory.path().join("lock.key"))
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.state(), &self.lock())
    }
}

fn put(store: &Store, table: &str, name: &str, value: &str) {
    store.write::<_, StoreError>(|changes| changes.put(table, name, value.as_bytes())).unwrap();
}

fn get(store: &Store, table: &str, name: &str) -> Option<String> {
    store
        .read::<_, StoreError>(|view| view.get(table, name))
        .unwrap()
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn what_was_written_is_there_again() {
    let place = Place::new();
    let store = Store::create(&place.state(), &place.lock()).unwrap();
    put(&store, "users", "alice", "one");
    put(&store, "users", "alice", "two");
    put(&store, "users", "bob", "three");
    put(&store, "others", "alice", "four");
    put(&store, "others", "", "");
    assert_eq!(get(&store, "users", "alice").as_deref(), Some("two"));
    assert_eq!(store.generation(), 5);
    drop(store);
    let store = place.open().unwrap();
    assert_eq!(store.generation(), 5);
    assert_eq!(get(&store, "users", "alice").as_deref(), Some("two"));
    assert_eq!(get(&store, "others", "alice").as_deref(), Some("four"));
    assert_eq!(get(&store, "others", "").as_deref(), Some(""));
    assert_eq!(get(&store, "users", "carol"), None);
    assert_eq!(get(&store, "none", "alice"), None);
    let mut names: Vec<_> = store
        .read::<_, StoreError>(|view| view.entries("users")?.map(|entry| Ok(entry?.0)).collect())
        .unwrap();
    names.sort();
    assert_eq!(names, ["alice", "bob"]);
    assert!(store.write::<_, StoreError>(|changes| changes.remove("users", "bob")).unwrap());
    assert!(!store.write::<_, StoreError>(|changes| changes.remove("users", "bob")).unwrap());
    assert_eq!(get(&store, "users", "bob"), None);
    assert_eq!(store.generation(), 6, "what changes nothing is no transaction");
}
