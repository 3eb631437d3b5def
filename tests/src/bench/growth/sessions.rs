//! More and more sessions that read all the time.

use super::there_and_back;
use crate::bench::load::{Mode, Script};
use crate::bench::pgbench::Run;
use crate::bench::sample::{Sample, Summary};
use crate::bench::setup::Setup;
use crate::bench::svg::{Chart, Curve};
use crate::bench::variant::Way;
use crate::endpoint::Endpoint;
use crate::{Error, Result};
use std::thread;
use std::time::Duration;

const WAYS: [Way; 4] = [Way::Direct, Way::PgBouncer, Way::NoPolicy, Way::Protected];
/// Seconds, beside those that logins take, of the run before the one that is measured.
const WARM_UP: u32 = 1;
/// From few to many: what an allocator keeps of more sessions would be in the peak of fewer.
const SESSIONS: [usize; 6] = [1, 4, 16, 64, 256, 1000];

/// Throughput, and the memory of what lies between.
pub(super) fn measure(setup: &Setup, seconds: u32) -> Result<Vec<Curve>> {
    let directory = setup.directory();
    let mut summaries: Vec<Vec<Summary>> = vec![Vec::new(); WAYS.len()];
    for clients in SESSIONS {
        let samples = there_and_back(setup, &WAYS, |variant| {
            let (script, mode) = (Script::SelectOnly, Mode::Prepared);
            let run = |seconds| Run { script, mode, clients, tls: false, seconds, directory: &directory };
            // A login at PgBouncer is done before there is a connection to the database, which it opens, one after
            // the other, while the first statement waits.
            run(WARM_UP).against(variant)?;
            let sample = Sample::of(&variant.between, || run(seconds).against(variant))?;
            if variant.way == Way::PgBouncer {
                release(&variant.endpoint)?;
            }
            Ok(sample)
        })?;
        for (summaries, samples) in summaries.iter_mut().zip(samples) {
            summaries.push(Summary::of(&samples, &[]));
        }
    }
    let curve = |title: &str, unit: &str, figure: &dyn Fn(&Summary) -> Option<f64>| {
        let series = WAYS.iter().zip(&summaries);
        let series = series.map(|(way, of_way)| (way.name().to_owned(), of_way.iter().map(figure).collect()));
        let chart = Chart {
            title: title.to_owned(),
            unit: unit.to_owned(),
            // Directly there is nobody whose memory it is.
            series: series.filter(|(_, values): &(_, Vec<_>)| values.iter().any(Option::is_some)).collect(),
        };
        Curve { chart, places: SESSIONS.iter().map(|count| *count as f64).collect(), axis: "sessions" }
    };
    Ok(vec![
        curve("Select-only, prepared", "transactions per second", &|summary| Some(summary.middle.rate)),
        curve("Peak memory of proxy or pooler", "MiB", &|summary| Some(summary.proxy()?.peak? / 1024.0)),
    ])
}

/// Has PgBouncer close its connections to the database: it keeps one for each client that it had, and a thousand
/// would weigh on the ways that come next.
fn release(pooler: &Endpoint) -> Result<()> {
    let console = pooler.database("pgbouncer");
    console.run("RECONNECT")?;
    for _ in 0..100 {
        if console.run("SHOW SERVERS")?.is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(Error::new("PgBouncer keeps its connections to the database"))
}
