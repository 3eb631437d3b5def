//! A process that writes to a store is killed in the middle of it, again and again: what it had been
//! told was written is there, and nothing is there by halves.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use trefoil_keys::lock::Lock;
use trefoil_keys::store::{Store, StoreError, View};

/// Names the directory to the processes that this test starts: itself, in the role of a test.
const DIRECTORY: &str = "TREFOIL_TEST_STORE";

fn lock(directory: &Path) -> Lock {
    Lock::KeyFile(directory.join("lock.key"))
}

fn state(directory: &Path) -> PathBuf {
    directory.join("state")
}

fn number(view: &View<'_>, table: &str, name: &str) -> Result<u64, StoreError> {
    Ok(view.get_json(table, name)?.unwrap_or(0))
}

/// The directory, if this process was started to be killed.
fn victim() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn start(test: &str, directory: &Path) -> (Child, impl Iterator<Item = u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.filter_map(|line| line.unwrap().strip_prefix("written ")?.parse().ok()))
}

/// For who holds and leaves locks: a process that another test is about to become has its files for a moment.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Each transaction counts up in two tables, adds a record, and removes one of a while ago.
#[test]
#[ignore = "runs until it is killed"]
fn writes_for_ever() {
    let Some(directory) = victim() else { return };
    let store = Store::open(&state(&directory), &lock(&directory)).unwrap();
    loop {
        let written = store.write::<_, StoreError>(|changes| {
            let next = number(changes, "one", "count")? + 1;
            changes.put_json("one", "count", &next)?;
            changes.put_json("history", &next.to_string(), &next)?;
            if let Some(past) = next.checked_sub(20) {
                changes.remove("history", &past.to_string())?;
            }
            changes.put_json("two", "count", &next)?;
            Ok(next)
        });
        println!("written {}", written.unwrap());
    }
}

#[test]
fn a_killed_writer_leaves_all_of_its_transactions_or_nothing_of_the_last() {
    let _turn = alone();
    let directory = tempfile::tempdir().unwrap();
    let (state, lock) = (state(directory.path()), lock(directory.path()));
    assert!(lock.create_if_missing().unwrap());
    drop(Store::create(&state, &lock).unwrap());
    let mut before = 0;
    for round in 0..40 {
        let (child, mut written) = start("writes_for_ever", directory.path());
        // The lines after these are written at the same time as the kill.
        let told = written.by_ref().nth(round % 5).unwrap();
        assert!(matches!(Store::open(&state, &lock), Err(StoreError::InUse(_))), "one process at a time");
        kill(child);
        let told = written.last().unwrap_or(told);

        let store = Store::open(&state, &lock).unwrap();
        let count = store
            .read::<_, StoreError>(|view| {
                let count = number(view, "one", "count")?;
                assert_eq!(number(view, "two", "count")?, count);
                let mut history: Vec<u64> = view
                    .entries_json("history")?
                    .map(|entry| Ok(entry?.1))
                    .collect::<Result<_, StoreError>>()?;
                history.sort_unstable();
                assert_eq!(history, (count.saturating_sub(19).max(1)..=count).collect::<Vec<_>>());
                Ok(count)
            })
            .unwrap();
        assert_eq!(store.generation(), count);
        assert!(count == told || count == told + 1, "told {told}, found {count}");
        assert!(count > before);
        before = count;
    }
}

/// Replaces the store again and again; each new one gets a record.
#[test]
#[ignore = "runs until it is killed"]
fn replaces_for_ever() {
    let Some(directory) = victim() else { return };
    for round in 1_u64.. {
        let store = Store::replace(&state(&directory), &lock(&directory)).unwrap();
        store.write::<_, StoreError>(|changes| changes.put_json("one", "round", &round)).unwrap();
        println!("written {round}");
    }
}

#[test]
fn whoever_is_killed_while_making_a_store_leaves_the_old_one_or_the_new_one() {
    let _turn = alone();
    let directory = tempfile::tempdir().unwrap();
    let (state, lock) = (state(directory.path()), lock(directory.path()));
    assert!(lock.create_if_missing().unwrap());
    for round in 0..40 {
        let (child, mut written) = start("replaces_for_ever", directory.path());
        let told = written.by_ref().nth(round % 3).unwrap();
        kill(child);
        let told = written.last().unwrap_or(told);
        let store = Store::open(&state, &lock).unwrap();
        let found = store.read(|view| number(view, "one", "round")).unwrap();
        // Zero: the new one is made, and its record is not yet written.
        assert!([0, told, told + 1].contains(&found), "told {told}, found {found}");
    }
    drop(Store::replace(&state, &lock).unwrap());
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "what was half-made is gone");
}
