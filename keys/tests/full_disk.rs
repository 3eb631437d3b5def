//! A store whose disk is full: what it says of each write is what its file holds, and it goes on by
//! itself when there is room again. A limit on the size of files stands for the disk: it refuses the same
//! calls, in the middle of a write as well.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use trefoil_keys::lock::Lock;
use trefoil_keys::store::{Store, StoreError, View};

/// Names the directory to the process that a test starts: itself, for the limit holds for all of it.
const DIRECTORY: &str = "TREFOIL_TEST_STORE";
const LIMIT: Duration = Duration::from_secs(30);

/// No file may get larger than this many bytes; `None` takes the limit away.
fn room(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

fn alone(test: &str) {
    let directory = tempfile::tempdir().unwrap();
    // The signal that comes with the error would end the process.
    let output = Command::new("env")
        .arg("--ignore-signal=XFSZ")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn store() -> Option<(Store, PathBuf)> {
    let directory = std::env::var_os(DIRECTORY).map(PathBuf::from)?;
    let lock = Lock::KeyFile(directory.join("lock.key"));
    assert!(lock.create_if_missing().unwrap());
    let state = directory.join("state");
    Some((Store::create(&state, &lock).unwrap(), state.join("store.redb")))
}

fn put(store: &Store, name: &str, value: &[u8]) -> Result<(), StoreError> {
    store.write(|changes| changes.put("table", name, value))
}

fn length(file: &Path) -> u64 {
    file.metadata().unwrap().len()
}

/// Mends the store as often as it takes; what it shows then.
fn mended(store: &Store) -> Option<Vec<String>> {
    let mut seen = None;
    let end = Instant::now() + LIMIT;
    while let Err(error) = store.mend(|view| {
        seen = Some(names(view)?);
        Ok::<_, StoreError>(())
    }) {
        assert!(Instant::now() < end, "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
    seen
}

fn names(view: &View<'_>) -> Result<Vec<String>, StoreError> {
    view.entries("table")?.map(|entry| Ok(entry?.0)).collect()
}

fn holds(store: &Store, name: &str) -> bool {
    store.read::<_, StoreError>(|view| Ok(view.get("table", name)?.is_some())).unwrap()
}

#[test]
#[ignore = "runs in a process of its own"]
fn too_large_a_write() {
    let Some((store, file)) = store() else { return };
    put(&store, "before", b"1").unwrap();
    assert_eq!(store.fault(), None);
    room(Some(length(&file)));
    let large = vec![7; 4 << 20];
    for _ in 0..2 {
        let error = put(&store, "large", &large).unwrap_err();
        assert!(matches!(error, StoreError::Database { .. }), "{error}");
        assert!(store.fault().unwrap().contains("write the store"), "told at once");
        assert!(holds(&store, "before") && !holds(&store, "large"));
    }
    // What has room is written, without anybody's help.
    put(&store, "after", b"2").unwrap();
    assert_eq!(store.fault(), None);
    room(None);
    put(&store, "large", &large).unwrap();
    drop(store);
    let directory = file.parent().unwrap();
    let lock = Lock::KeyFile(directory.with_file_name("lock.key"));
    let store = Store::open(directory, &lock).unwrap();
    assert!(["before", "after", "large"].iter().all(|name| holds(&store, name)));
}

#[test]
fn a_write_that_has_no_room_is_undone_and_the_store_goes_on() {
    alone("too_large_a_write");
}

#[test]
#[ignore = "runs in a process of its own"]
fn no_write_at_all() {
    let Some((store, _)) = store() else { return };
    put(&store, "before", b"1").unwrap();
    room(Some(0));
    put(&store, "lost", b"2").unwrap_err();
    assert!(store.fault().is_some());
    // Closed, it says so, and is not opened as long as it cannot be.
    std::thread::sleep(Duration::from_millis(600));
    assert!(store.fault().is_some());
    assert!(put(&store, "lost", b"2").is_err());
    room(None);
    mended(&store);
    put(&store, "after", b"3").unwrap();
    assert_eq!(store.fault(), None);
    assert!(holds(&store, "before") && !holds(&store, "lost") && holds(&store, "after"));
}

#[test]
fn a_store_that_cannot_be_written_says_so_until_it_can() {
    alone("no_write_at_all");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_fault_anywhere_in_a_write() {
    let Some((store, file)) = store() else { return };
    put(&store, "0", &[1; 10_000]).unwrap();
    let (mut failed, mut closed) = (0, 0);
    // Page after page at the beginning, where the header is, then further apart.
    let places = (0..8).chain((8..).step_by(13)).map(|page| page * 4096);
    for place in places.take_while(|place| *place <= length(&file)) {
        let name = format!("at {place}");
        room(Some(place));
        let outcome = put(&store, &name, &[2; 30_000]);
        assert_eq!(outcome.is_err(), store.fault().is_some(), "at {place}");
        room(None);
        failed += u32::from(outcome.is_err());
        let seen = mended(&store);
        closed += u32::from(seen.is_some());
        match (outcome, seen) {
            (Ok(()), None) => assert!(holds(&store, &name), "at {place}"),
            // Whoever is told nothing certain is shown what is there.
            (Err(StoreError::Undecided(_)), Some(seen)) => {
                assert_eq!(seen.contains(&name), holds(&store, &name), "at {place}");
            }
            (Err(error), _) => assert!(!holds(&store, &name), "at {place}: {error}"),
            (Ok(()), Some(_)) => panic!("closed after a success"),
        }
        put(&store, "0", &[3; 10_000]).unwrap();
        assert_eq!(store.fault(), None);
    }
    eprintln!("{failed} failed, {closed} of them closed the store");
    assert!(failed > 5 && closed > 0);
}

#[test]
fn wherever_the_disk_fails_a_write_is_told_as_it_is() {
    alone("a_fault_anywhere_in_a_write");
}
