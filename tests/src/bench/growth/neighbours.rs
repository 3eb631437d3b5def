//! Small statements while other sessions stream a million rows, over and over.

use super::variants;
use crate::bench::bulk;
use crate::bench::load::{Mode, Script};
use crate::bench::pgbench::Run;
use crate::bench::sample::Sample;
use crate::bench::setup::Setup;
use crate::bench::svg::{Chart, Curve};
use crate::bench::variant::{Variant, Way};
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const WAYS: [Way; 4] = [Way::Direct, Way::PgBouncer, Way::NoPolicy, Way::Protected];
const STREAMS: [usize; 4] = [0, 1, 2, 4];
/// A million rows, of which the policy protects the first column.
const STREAM: &str = "SELECT aid, bid, abalance, filler FROM tpcb.pgbench_accounts";

/// Latencies of one client, by how many stream beside it.
pub(super) fn measure(setup: &Setup, seconds: u32) -> Result<Vec<Curve>> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); WAYS.len()];
    for streams in STREAMS {
        for (variant, samples) in variants(setup, &WAYS)?.into_iter().zip(&mut samples) {
            samples.push(beside(setup, variant, streams, seconds)?);
        }
    }
    let curve = |title: &str, figure: fn(&Sample) -> f64| {
        let series = WAYS.iter().zip(&samples).map(|(way, of_way)| {
            (way.name().to_owned(), of_way.iter().map(|sample| Some(figure(sample))).collect())
        });
        let chart = Chart { title: title.to_owned(), unit: "µs".to_owned(), series: series.collect() };
        Curve {
            chart,
            places: STREAMS.iter().map(|count| *count as f64).collect(),
            axis: "sessions that stream a million rows",
        }
    };
    Ok(vec![
        curve("Median latency of a small statement beside streams", |sample| sample.median),
        curve("99th percentile of the same", |sample| sample.p99),
    ])
}

fn beside(setup: &Setup, variant: &Variant, streams: usize, seconds: u32) -> Result<Sample> {
    let stop = AtomicBool::new(false);
    let rows: Vec<AtomicU64> = (0..streams).map(|_| AtomicU64::new(0)).collect();
    let delivered = || rows.iter().map(|rows| rows.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let directory = setup.directory();
    thread::scope(|scope| {
        let threads: Vec<_> = rows.iter().map(|rows| scope.spawn(|| stream(variant, &stop, rows))).collect();
        let begun = Instant::now();
        while delivered().contains(&0) && begun.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(10));
        }
        let before = delivered();
        let (script, mode) = (Script::SelectOnly, Mode::Prepared);
        let run = Run { script, mode, clients: 1, tls: false, seconds, directory: &directory };
        let sample = Sample::of(&[], || run.against(variant));
        let after = delivered();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        if before.iter().zip(&after).any(|(before, after)| *before == 0 || before == after) {
            return Err(Error::new(format!(
                "not all streamed by {}: {before:?} rows, then {after:?}",
                variant.way
            )));
        }
        sample
    })
}

fn stream(variant: &Variant, stop: &AtomicBool, rows: &AtomicU64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = bulk::connect(&variant.config()).await?;
        while !stop.load(Ordering::Relaxed) {
            bulk::drain(&client, STREAM, stop, rows).await?;
        }
        Ok(())
    })
}
