//! Kill points end a debug build, and only at the name that was asked for.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

#[test]
fn reaches_a_kill_point() {
    trefoil_keys::kill_point("test.reached");
}

/// Runs the test above in a process of its own.
fn with_kill_at(name: &str) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "reaches_a_kill_point"]).env("TREFOIL_KILL_AT", name).output().unwrap().status
}

#[test]
fn the_process_dies_at_the_named_kill_point() {
    let expected = cfg!(debug_assertions).then_some(9);
    assert_eq!(with_kill_at("test.reached").signal(), expected);
}

#[test]
fn the_process_lives_past_others() {
    for name in ["", "test", "test.reached2", "bootstrap.claimed"] {
        assert!(with_kill_at(name).success(), "{name}");
    }
}
