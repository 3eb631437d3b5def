//! `make bench-growth`: how what Trefoil costs grows. SECONDS of one run, ONLY curves with this in their name
//! (sessions, neighbours, statements, policy).

use trefoil_tests::Result;
use trefoil_tests::bench::{Options, growth};

fn main() -> Result<()> {
    growth::run(&Options::from_environment()?)
}
