//! `make differential`: the differential test for as long as wanted. SECONDS, default 60; SEED, the
//! first seed, default random; FAILURES, how many are shown before it stops, default 1.

use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trefoil_tests::differential::Arena;
use trefoil_tests::{Error, Result};

fn main() -> Result<ExitCode> {
    let seconds = setting("SECONDS")?.unwrap_or(60);
    // Small numbers are easier to hand on.
    let random = std::hash::RandomState::new().build_hasher().finish() % 1_000_000_000;
    let seed = setting("SEED")?.unwrap_or(random);
    let failures = setting("FAILURES")?.and_then(|number| usize::try_from(number).ok()).unwrap_or(1);
    println!("starting from SEED={seed}");
    let mut arena = Arena::start()?;
    let start = Instant::now();
    let reports = arena.run_for(seed, Duration::from_secs(seconds), failures)?;
    for report in &reports {
        println!("\n{report}");
    }
    let (summary, seconds) = (arena.summary(), start.elapsed().as_secs());
    println!("{summary}; in {seconds} s; {} failures", reports.len());
    Ok(if reports.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn setting(name: &str) -> Result<Option<u64>> {
    match std::env::var(name).ok().filter(|value| !value.is_empty()) {
        Some(value) => {
            value.parse().map(Some).map_err(|_| Error::new(format!("{name} is not a number: {value}")))
        }
        None => Ok(None),
    }
}
