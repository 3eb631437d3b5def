//! `make soak`: load, kills of the database, of clients and of the proxy, for as long as wanted. SECONDS,
//! default 600.

use std::time::Duration;
use trefoil_tests::{Error, Result, soak};

fn main() -> Result<()> {
    let seconds = match std::env::var("SECONDS").ok().filter(|value| !value.is_empty()) {
        Some(value) => value.parse().map_err(|_| Error::new(format!("SECONDS is not a number: {value}")))?,
        None => 600,
    };
    let figures = soak::run(Duration::from_secs(seconds))?;
    println!("{figures}");
    Ok(())
}
