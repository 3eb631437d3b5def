//! `docs/performance.md` and its charts: what was measured stands between two marks, the rest is written by
//! hand.

use super::Outcome;
use super::load::Work;
use super::micro::Micro;
use super::sample::{Cost, Summary};
use super::svg::{Chart, bars};
use super::targets::Results;
use super::variant::Way;
use crate::programs::source;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;

const PAGE: &str = "docs/performance.md";

/// Puts this in place of what stands in a section of the page.
pub(super) fn replace(section: &str, text: &str) -> Result<()> {
    let file = source().join(PAGE);
    let page = fs::read_to_string(&file).map_err(|error| Error::at(&file, &error))?;
    let page = replaced(&page, section, text)
        .ok_or_else(|| Error::new(format!("{PAGE} has no marks of the section {section}")))?;
    fs::write(&file, page).map_err(|error| Error::at(&file, &error))
}

fn replaced(page: &str, section: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {section}: begin -->\n"), format!("<!-- {section}: end -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n\n{end}{after}", text.trim_end()))
}

/// Writes a chart beside the page.
pub(super) fn chart(name: &str, svg: &str) -> Result<()> {
    let file = source().join("docs").join(name);
    fs::write(&file, svg).map_err(|error| Error::at(&file, &error))
}

/// The section `loads`: targets, ratios, and all figures of each load.
pub(super) fn loads(results: &Results, machine: &str) -> String {
    let Results { outcomes, micro, idle } = results;
    let mut out = format!("{machine}\n### Targets\n\n{}\n", results.targets());
    out += "### Throughput\n\nTransactions per second, of fetch and COPY rows; in parentheses of PgBouncer's and of direct.\n\n";
    out += &ratios(outcomes);
    out += "\n### Each load\n";
    for outcome in outcomes {
        out += &details(outcome);
    }
    if let Some(idle) = idle {
        put(&mut out, format_args!("\n### Idle sessions\n\n{idle}"));
    }
    if !micro.medians.is_empty() {
        out += &self::micro(micro);
    }
    out
}

/// Cells by type in a table of their own, with a line for each type.
fn micro(Micro { medians, origin }: &Micro) -> String {
    let mut out = format!("\n### Micro benchmarks\n\nMedians of `make bench-micro` of {origin}, in ns.\n\n");
    out += "| | ns |\n|---|---:|\n";
    let mut types: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for (name, median) in medians {
        let of_type = name.strip_prefix("cell by type/").and_then(|name| name.split_once(", "));
        match of_type {
            Some((name, what)) => drop(types.entry(name).or_default().insert(what, *median)),
            None => put(&mut out, format_args!("| {name} | {median:.0} |")),
        }
    }
    if types.is_empty() {
        return out;
    }
    let columns = ["text, encrypt", "text, decrypt", "binary, encrypt", "binary, decrypt"];
    put(&mut out, format_args!("\n| cell by type | {} |", columns.join(" | ")));
    put(&mut out, format_args!("|---|{}", "---:|".repeat(columns.len())));
    for (name, by_column) in types {
        let values =
            columns.map(|column| by_column.get(column).map_or("–".to_owned(), |ns| format!("{ns:.0}")));
        put(&mut out, format_args!("| {name} | {} |", values.join(" | ")));
    }
    out
}

fn ratios(outcomes: &[Outcome]) -> String {
    let names: Vec<&str> = Way::ALL.iter().map(|way| way.name()).collect();
    let mut out = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for outcome in outcomes {
        let mut line = format!("| {} |", outcome.load.name());
        for way in Way::ALL {
            line += &outcome.summary(way).map_or(" |".to_owned(), |summary| {
                let of = |other| match outcome.rate(other) {
                    Some(rate) => ratio(summary.middle.rate / rate),
                    None => "–".to_owned(),
                };
                format!(" {} ({}, {}) |", grouped(summary.middle.rate), of(Way::PgBouncer), of(Way::Direct))
            });
        }
        put(&mut out, format_args!("{line}"));
    }
    out
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

fn details(outcome: &Outcome) -> String {
    let unit = if matches!(outcome.load.0, Work::Bulk(_)) { "rows" } else { "transactions" };
    let mut out = format!(
        "\n**{}**\n\n| | {unit} per second | ± | median | 99 % | CPU | switches | system calls | peak |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        outcome.load.name()
    );
    for (way, Summary { middle, spread }) in &outcome.ways {
        put(
            &mut out,
            format_args!(
                "| {way} | {} | {:.0} % | {} | {} | {} | {} | {} | {} |",
                grouped(middle.rate),
                spread * 50.0,
                time(middle.median),
                time(middle.p99),
                costs(&middle.costs, |cost| time(cost.cpu)),
                costs(&middle.costs, |cost| format!("{:.2}", cost.switches)),
                costs(&middle.costs, |cost| cost
                    .calls
                    .map_or("–".to_owned(), |calls| format!("{calls:.2}"))),
                costs(&middle.costs, |cost| cost
                    .peak
                    .map_or("–".to_owned(), |peak| format!("{:.1} MiB", peak / 1024.0))),
            ),
        );
    }
    out
}

/// Of the proxy and, after a plus sign, of the sidecar.
fn costs(costs: &[Cost], figure: impl Fn(&Cost) -> String) -> String {
    costs.iter().map(figure).collect::<Vec<_>>().join(" + ")
}

/// The chart of all throughputs, as parts of PgBouncer's.
pub(super) fn throughput(outcomes: &[Outcome]) -> String {
    let groups: Vec<String> = outcomes.iter().map(|outcome| outcome.load.name()).collect();
    let series = Way::ALL.iter().filter(|way| **way != Way::PgBouncer).map(|way| {
        let values = outcomes.iter().map(|outcome| Some(outcome.rate(*way)? / outcome.rate(Way::PgBouncer)?));
        (way.name().to_owned(), values.collect())
    });
    let chart = Chart {
        title: "Throughput, PgBouncer's is 1".to_owned(),
        unit: "times PgBouncer's".to_owned(),
        series: series.collect(),
    };
    bars(&chart, &groups, 1.0)
}

/// µs, in the unit that fits.
pub(super) fn time(micros: f64) -> String {
    if micros < 1000.0 { format!("{micros:.1} µs") } else { format!("{:.1} ms", micros / 1000.0) }
}

/// A number with commas.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Adds a line.
pub(super) fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    *out += &format!("{line}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        assert_eq!(
            replaced(page, "x", "new\n").unwrap(),
            "a\n<!-- x: begin -->\nnew\n\n<!-- x: end -->\nb\n"
        );
        assert_eq!(replaced(page, "y", "new"), None);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([999.0, 1000.0, 1_234_567.0].map(grouped), ["999", "1,000", "1,234,567"]);
        assert_eq!([12.34, 1500.0].map(time), ["12.3 µs", "1.5 ms"]);
    }
}
