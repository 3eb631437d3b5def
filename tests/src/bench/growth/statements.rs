//! One session that never says the same twice.

use super::variants;
use crate::bench::bulk;
use crate::bench::data::PEOPLE;
use crate::bench::process::resident;
use crate::bench::setup::Setup;
use crate::bench::svg::{Chart, Curve};
use crate::bench::variant::Way;
use crate::{Error, Result};
use std::ops::Range;
use std::time::Instant;
use tokio_postgres::Client;

const WAYS: [Way; 3] = [Way::Direct, Way::NoPolicy, Way::Protected];
/// How many have been said when it is looked.
const PLACES: [u32; 7] = [1_000, 3_000, 10_000, 30_000, 50_000, 75_000, 100_000];

/// How many are said before.
const WARM_UP: u32 = 2_000;

/// What a statement takes that nobody has said before, and the proxy's memory, by how many have been said. The ways
/// take turns from place to place.
pub(super) fn measure(setup: &Setup) -> Result<Vec<Curve>> {
    let variants = variants(setup, &WAYS)?;
    let series = || WAYS.map(|way| (way.name().to_owned(), Vec::new()));
    let (mut times, mut sizes) = (series(), series());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for variant in &variants {
            let client = bulk::connect(&variant.config()).await?;
            say(&client, "w", 0..WARM_UP).await?;
            clients.push(client);
        }
        let mut said = 0;
        for place in PLACES {
            for (way, client) in clients.iter().enumerate() {
                let begun = Instant::now();
                say(client, "n", said..place).await?;
                let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(place - said);
                let pid = variants.get(way).and_then(|variant| variant.between.first());
                let size = pid.map(|pid| resident(*pid)).transpose()?;
                times.get_mut(way).into_iter().for_each(|(_, times)| times.push(Some(each)));
                let size = size.map(|kibibytes| kibibytes as f64 / 1024.0);
                sizes.get_mut(way).into_iter().for_each(|(_, sizes)| sizes.push(size));
            }
            said = place;
        }
        Ok::<_, Error>(())
    })?;
    let curve = |title: &str, unit: &str, series: &[(String, Values)]| Curve {
        chart: Chart { title: title.to_owned(), unit: unit.to_owned(), series: series.to_vec() },
        places: PLACES.map(f64::from).to_vec(),
        axis: "different statements so far",
    };
    Ok(vec![
        curve("Time of a statement not seen before, since the last place", "µs", &times),
        // Directly there is nobody whose memory it is.
        curve("Resident memory of the proxy", "MiB", sizes.get(1..).unwrap_or_default()),
    ])
}

type Values = Vec<Option<f64>>;

async fn say(client: &Client, name: &str, numbers: Range<u32>) -> Result<()> {
    for number in numbers {
        let id = number % PEOPLE + 1;
        client.simple_query(&format!("SELECT name AS {name}{number} FROM people WHERE id = {id}")).await?;
    }
    Ok(())
}
