//! More and more sessions that read all the time.

use super::variants;
use crate::Result;
use crate::bench::load::{Mode, Script};
use crate::bench::pgbench::Run;
use crate::bench::sample::{Sample, Summary};
use crate::bench::setup::Setup;
use crate::bench::svg::{Chart, Curve};
use crate::bench::variant::Way;

const WAYS: [Way; 4] = [Way::Direct, Way::PgBouncer, Way::NoPolicy, Way::Protected];
const SESSIONS: [usize; 6] = [1, 4, 16, 64, 256, 1000];

/// Throughput, and the memory of what lies between.
pub(super) fn measure(setup: &Setup, seconds: f64) -> Result<Vec<Curve>> {
    let directory = setup.directory();
    let mut summaries: Vec<Vec<Summary>> = vec![Vec::new(); WAYS.len()];
    for clients in SESSIONS {
        for (variant, summaries) in variants(setup, &WAYS)?.into_iter().zip(&mut summaries) {
            let (script, mode) = (Script::SelectOnly, Mode::Prepared);
            let run = Run { script, mode, clients, tls: false, seconds, directory: &directory };
            let sample = Sample::of(&variant.between, || run.against(variant))?;
            summaries.push(Summary::of(&[sample], &[]));
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
        curve("Peak memory of proxy or pooler", "MiB", &|summary| Some(summary.proxy()?.peak / 1024.0)),
    ])
}
