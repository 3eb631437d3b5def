//! Small statements while other sessions stream a million rows, over and over.

use super::there_and_back;
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

/// Latencies of one client, by how many stream beside it, and what these get.
pub(super) fn measure(setup: &Setup, seconds: u32) -> Result<Vec<Curve>> {
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); WAYS.len()];
    for streams in STREAMS {
        let pairs = there_and_back(setup, &WAYS, |variant| beside(setup, variant, streams, seconds))?;
        for (figures, [one, other]) in figures.iter_mut().zip(pairs) {
            figures.push(Figures {
                median: f64::midpoint(one.median, other.median),
                p99: f64::midpoint(one.p99, other.p99),
                rows: f64::midpoint(one.rows, other.rows),
            });
        }
    }
    let curve = |title: &str, unit: &str, figure: fn(&Figures) -> f64, from: usize| {
        let series = WAYS.iter().zip(&figures).map(|(way, of_way)| {
            let values = of_way.iter().skip(from).map(|figures| Some(figure(figures)));
            (way.name().to_owned(), values.collect())
        });
        let chart = Chart { title: title.to_owned(), unit: unit.to_owned(), series: series.collect() };
        Curve {
            chart,
            places: STREAMS.iter().skip(from).map(|count| *count as f64).collect(),
            axis: "sessions that stream a million rows",
        }
    };
    Ok(vec![
        curve("Median latency of a small statement beside streams", "µs", |figures| figures.median, 0),
        curve("99th percentile of the same", "µs", |figures| figures.p99, 0),
        curve("What all streams got meanwhile", "rows per second", |figures| figures.rows, 1),
    ])
}

/// Of one run.
#[derive(Clone)]
struct Figures {
    /// Latencies of the small statement, in µs.
    median: f64,
    p99: f64,
    /// Rows that all streams got per second.
    rows: f64,
}

fn beside(setup: &Setup, variant: &Variant, streams: usize, seconds: u32) -> Result<Figures> {
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
        let begun = Instant::now();
        let sample = Sample::of(&[], || run.against(variant));
        let (after, taken) = (delivered(), begun.elapsed());
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
        let Sample { median, p99, .. } = sample?;
        let rows = (after.iter().sum::<u64>() - before.iter().sum::<u64>()) as f64 / taken.as_secs_f64();
        Ok(Figures { median, p99, rows })
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
