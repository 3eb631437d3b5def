//! The short run of the soak. `make soak` runs on.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::Duration;

#[test]
fn nothing_acknowledged_is_lost_when_database_proxy_and_clients_are_killed() {
    println!("{}", trefoil_tests::soak::run(Duration::from_secs(10)).unwrap());
}
