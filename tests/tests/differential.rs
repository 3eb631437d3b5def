//! The short run of the differential test: seeds that are always the same, and some that are not.
//! `make differential` runs on.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;
use trefoil_tests::differential::Arena;

#[test]
fn a_protected_database_answers_as_a_plain_one() {
    let random = std::hash::RandomState::new().build_hasher().finish() % 1_000_000_000;
    println!("fixed seeds from 1 on, and random ones from SEED={random} on");
    let mut arena = Arena::start().unwrap();
    for first in [1, random] {
        let reports = arena.run_for(first, Duration::from_secs(5), 1).unwrap();
        assert!(reports.is_empty(), "started from SEED={first}\n{}", reports.join("\n"));
    }
    println!("{}", arena.summary());
}
