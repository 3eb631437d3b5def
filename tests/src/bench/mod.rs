//! `make bench`: what Trefoil costs, beside PostgreSQL alone, PgBouncer and pgcrypto. All ways to the same
//! server take turns, in one order and then in the other, so that whatever else the machine does hits all
//! alike; reported are medians. Of an even number of rounds drift cancels in them.

mod bulk;
mod data;
pub mod growth;
mod idle;
mod load;
mod machine;
mod micro;
mod page;
mod pgbench;
mod pooler;
mod process;
mod proof;
mod sample;
mod setup;
mod svg;
mod targets;
mod variant;

use crate::{Error, Result};
use idle::Idle;
use load::{Load, Work};
use micro::Micro;
use pgbench::Run;
use sample::{Sample, Seen, Summary};
use setup::Setup;
use targets::Results;
use variant::{Variant, Way};

/// How long and how often is measured.
pub struct Options {
    /// Of one run, in seconds.
    pub seconds: u32,
    /// How often each way has its turn.
    pub rounds: u32,
    /// The only loads that are measured: those with this in their name.
    pub only: Option<String>,
}

impl Options {
    /// From SECONDS (3), ROUNDS (4) and ONLY.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            seconds: setting("SECONDS", 3)?,
            rounds: setting("ROUNDS", 4)?,
            only: std::env::var("ONLY").ok().filter(|value| !value.is_empty()),
        })
    }
}

fn setting(name: &str, default: u32) -> Result<u32> {
    let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) else { return Ok(default) };
    number(&value).ok_or_else(|| Error::new(format!("{name} is not a whole number from 1 to 3600: {value}")))
}

fn number(value: &str) -> Option<u32> {
    value.parse().ok().filter(|number| (1..=3600).contains(number))
}

/// What ONLY calls them.
const IDLE: &str = "idle sessions";

/// What all ways came to under one load.
struct Outcome {
    load: Load,
    ways: Vec<(Way, Summary)>,
}

impl Outcome {
    fn summary(&self, way: Way) -> Option<&Summary> {
        self.ways.iter().find(|(other, _)| *other == way).map(|(_, summary)| summary)
    }

    fn rate(&self, way: Way) -> Option<f64> {
        self.summary(way).map(|summary| summary.middle.rate)
    }
}

impl Options {
    /// Whether what has this name is to be measured.
    fn want(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.to_lowercase().contains(&only.to_lowercase()))
    }

    /// Refuses to measure nothing of all that there is.
    fn want_any(&self, names: &[String]) -> Result<()> {
        if names.iter().any(|name| self.want(name)) {
            return Ok(());
        }
        let only = self.only.as_deref().unwrap_or_default();
        Err(Error::new(format!("ONLY={only} names nothing. There are:\n{}", names.join("\n"))))
    }
}

/// Measures all loads and idle sessions, and writes the page; with `only` it prints what it measures, and
/// writes nothing.
pub fn run(options: &Options) -> Result<()> {
    let names = Load::all().into_iter().map(Load::name).chain([IDLE.to_owned()]);
    options.want_any(&names.collect::<Vec<_>>())?;
    let loads: Vec<Load> = Load::all().into_iter().filter(|load| options.want(&load.name())).collect();
    let idle = if options.want(IDLE) { Some(Idle::measure()?) } else { None };
    if let Some(idle) = &idle {
        println!("{idle}");
    }
    let (mut outcomes, mut machine) = (Vec::new(), String::new());
    if !loads.is_empty() {
        let setup = Setup::start()?;
        let Options { seconds, rounds, .. } = options;
        let command = format!("make bench SECONDS={seconds} ROUNDS={rounds}");
        machine = machine::described(setup.endpoint(), &command)?;
        for load in loads {
            println!("\n{}", load.name());
            let outcome = measure(&setup, load, options)?;
            outcome.ways.iter().for_each(|(way, summary)| print(*way, summary));
            outcomes.push(outcome);
        }
    }
    let results = Results { outcomes, micro: Micro::read()?, idle };
    if options.only.is_some() {
        return Ok(());
    }
    println!("\n{}", results.targets());
    page::chart("performance.svg", &page::throughput(&results.outcomes))?;
    page::replace("loads", &page::loads(&results, &machine))
}

fn print(way: Way, Summary { middle, spread }: &Summary) {
    let costs: Vec<String> = (middle.costs.iter())
        .map(|cost| {
            let calls = cost.calls.map_or("?".to_owned(), |calls| format!("{calls:.2}"));
            let peak = cost.peak.map_or("?".to_owned(), |peak| format!("{:.0}", peak / 1024.0));
            format!("{} CPU, {:.2} switches, {calls} calls, {peak} MiB", page::time(cost.cpu), cost.switches)
        })
        .collect();
    println!(
        "  {way:<19} {:>9} /s ±{:>2.0} %  {:>9}, 99 %: {:>9}   {}",
        page::grouped(middle.rate),
        spread * 50.0,
        page::time(middle.median),
        page::time(middle.p99),
        costs.join(" + ")
    );
}

/// Measures one load on all its ways.
fn measure(setup: &Setup, load: Load, options: &Options) -> Result<Outcome> {
    let variants = || setup.variants.iter().filter(|variant| load.goes(variant.way));
    // What is warmed up and counted here is not measured.
    let calls = variants()
        .map(|variant| Sample::calls(&variant.between, || once(setup, load, variant, 1)))
        .collect::<Result<Vec<_>>>()?;
    let mut samples = vec![Vec::new(); calls.len()];
    for round in 0..options.rounds {
        let mut turns: Vec<_> = variants().zip(&mut samples).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (variant, samples) in turns {
            reset(load, variant)?;
            samples.push(Sample::of(&variant.between, || once(setup, load, variant, options.seconds))?);
            proof::written(load, variant)?;
        }
    }
    let ways = variants().zip(samples).zip(calls);
    let ways = ways.map(|((variant, samples), calls)| (variant.way, Summary::of(&samples, &calls)));
    Ok(Outcome { load, ways: ways.collect() })
}

fn reset(load: Load, variant: &Variant) -> Result<()> {
    let Work::Pgbench { script, .. } = load.0 else { return Ok(()) };
    script.reset().iter().try_for_each(|statement| variant.database.run(statement).map(drop))
}

fn once(setup: &Setup, load: Load, variant: &Variant, seconds: u32) -> Result<Seen> {
    let seen = match load.0 {
        Work::Bulk(bulk) => bulk::run(bulk, variant, seconds),
        Work::Pgbench { script, mode, clients, tls } => {
            Run { script, mode, clients, tls, seconds, directory: &setup.directory() }.against(variant)
        }
    };
    seen.map_err(|error| Error::new(format!("{} by {}: {error}", load.name(), variant.way)))
}
