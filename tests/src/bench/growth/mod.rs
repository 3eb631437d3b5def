//! `make bench-growth`: how figures grow with sessions, with what others do meanwhile, with statements, and
//! with the policy.

mod neighbours;
mod policy;
mod sessions;
mod statements;

use super::page::{self, put};
use super::setup::Setup;
use super::svg::{Curve, lines};
use super::variant::{Variant, Way};
use super::{Options, machine};
use crate::{Error, Result};

/// What some of the curves are measured by, with how many seconds a run takes.
type Part = fn(&Setup, u32) -> Result<Vec<Curve>>;

/// What ONLY calls the part that sets up everything for itself.
const POLICY: &str = "policy";

/// Measures all curves, and puts them into the page; with `only` it prints what it measures, and writes
/// nothing.
pub fn run(options: &Options) -> Result<()> {
    let mut curves = Vec::new();
    let mut add = |more: Vec<Curve>| {
        more.iter().for_each(|curve| println!("\n{}", table(curve)));
        curves.extend(more);
    };
    let mut machine = String::new();
    let parts: [(&str, Part); 3] = [
        ("sessions", sessions::measure),
        ("neighbours", neighbours::measure),
        ("statements", |setup, _| statements::measure(setup)),
    ];
    let names = parts.iter().map(|(name, _)| *name).chain([POLICY]);
    options.want_any(&names.map(str::to_owned).collect::<Vec<_>>())?;
    for (name, measure) in parts {
        if options.want(name) {
            // Of its own: a part leaves memory in the proxies, and connections in PgBouncer.
            let setup = Setup::start()?;
            let command = format!("make bench-growth SECONDS={}", options.seconds);
            machine = machine::described(setup.endpoint(), &command)?;
            add(measure(&setup, options.seconds)?);
        }
    }
    if options.want(POLICY) {
        add(policy::measure()?);
    }
    if options.only.is_some() {
        return Ok(());
    }
    let tables: Vec<String> = curves.iter().map(table).collect();
    page::chart("performance-growth.svg", &lines(&curves))?;
    page::replace(
        "growth",
        &format!(
            "{machine}Points over sessions and streams are means of two runs, the others are of one.\n\n{}",
            tables.join("\n")
        ),
    )
}

/// A curve in figures.
fn table(Curve { chart, places, axis }: &Curve) -> String {
    let names: Vec<&str> = chart.series.iter().map(|(name, _)| name.as_str()).collect();
    let mut out = format!("**{}**, {}\n\n", chart.title, chart.unit);
    put(&mut out, format_args!("| {axis} | {} |\n|---:|{}", names.join(" | "), "---:|".repeat(names.len())));
    for (number, place) in places.iter().enumerate() {
        let values = chart.series.iter().map(|(_, values)| match values.get(number).copied().flatten() {
            Some(value) if value < 100.0 => format!("{value:.1}"),
            Some(value) => page::grouped(value),
            None => "–".to_owned(),
        });
        let values: Vec<String> = values.collect();
        put(&mut out, format_args!("| {} | {} |", page::grouped(*place), values.join(" | ")));
    }
    out
}

/// What each of these ways comes to, there and back, so that drift cancels in the mean.
fn there_and_back<T>(
    setup: &Setup,
    ways: &[Way],
    measure: impl Fn(&Variant) -> Result<T>,
) -> Result<Vec<[T; 2]>> {
    let variants = variants(setup, ways)?;
    let measure = |variant: &&Variant| measure(variant);
    let there = variants.iter().map(measure).collect::<Result<Vec<_>>>()?;
    let back = variants.iter().rev().map(measure).collect::<Result<Vec<_>>>()?;
    Ok(there.into_iter().zip(back.into_iter().rev()).map(<[T; 2]>::from).collect())
}

/// The variants of these ways.
fn variants<'s>(setup: &'s Setup, ways: &[Way]) -> Result<Vec<&'s Variant>> {
    let find = |way: &Way| setup.variants.iter().find(|variant| variant.way == *way);
    ways.iter().map(find).collect::<Option<_>>().ok_or_else(|| Error::new("not a way that is set up"))
}
