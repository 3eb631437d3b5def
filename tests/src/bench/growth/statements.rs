//! One session that never says the same twice.

use super::variants;
use crate::Result;
use crate::bench::bulk;
use crate::bench::data::PEOPLE;
use crate::bench::process::resident;
use crate::bench::setup::Setup;
use crate::bench::svg::{Chart, Curve};
use crate::bench::variant::{Variant, Way};
use std::time::Instant;

const WAYS: [Way; 3] = [Way::Direct, Way::NoPolicy, Way::Protected];
/// How many have been said when it is looked.
const PLACES: [u32; 7] = [1_000, 3_000, 10_000, 30_000, 50_000, 75_000, 100_000];

/// What a statement takes that nobody has said before, and the proxy's memory, by how many have been said.
pub(super) fn measure(setup: &Setup) -> Result<Vec<Curve>> {
    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for variant in variants(setup, &WAYS)? {
        let (time, size) = say(variant)?;
        times.push((variant.way.name().to_owned(), time));
        if !variant.between.is_empty() {
            sizes.push((variant.way.name().to_owned(), size));
        }
    }
    let curve = |title: &str, unit: &str, series| Curve {
        chart: Chart { title: title.to_owned(), unit: unit.to_owned(), series },
        places: PLACES.map(f64::from).to_vec(),
        axis: "different statements so far",
    };
    Ok(vec![
        curve("Time of a statement not seen before, since the last place", "µs", times),
        curve("Resident memory of the proxy", "MiB", sizes),
    ])
}

type Values = Vec<Option<f64>>;

fn say(variant: &Variant) -> Result<(Values, Values)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = bulk::connect(&variant.config()).await?;
        let (mut times, mut sizes, mut said) = (Vec::new(), Vec::new(), 0);
        for place in PLACES {
            let (begun, before) = (Instant::now(), said);
            while said < place {
                said += 1;
                let id = said % PEOPLE + 1;
                client.simple_query(&format!("SELECT name AS n{said} FROM people WHERE id = {id}")).await?;
            }
            times.push(Some(begun.elapsed().as_secs_f64() * 1e6 / f64::from(said - before)));
            let size = variant.between.first().map(|pid| resident(*pid)).transpose()?;
            sizes.push(size.map(|kibibytes| kibibytes as f64 / 1024.0));
        }
        Ok((times, sizes))
    })
}
