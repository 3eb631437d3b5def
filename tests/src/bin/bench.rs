//! `make bench`: what Trefoil costs. SECONDS of one run, ROUNDS of each, ONLY loads with this in their name.

use trefoil_tests::Result;
use trefoil_tests::bench::{Options, run};

fn main() -> Result<()> {
    run(&Options::from_environment()?)
}
