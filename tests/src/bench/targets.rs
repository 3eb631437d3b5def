//! What was promised, beside what was measured.

use super::Outcome;
use super::idle::Idle;
use super::load::{Bulk, Load, Mode, Script, Work};
use super::micro::Micro;
use super::sample::Summary;
use super::variant::Way;

/// Everything that one measuring came to.
pub(super) struct Results {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) micro: Micro,
    pub(super) idle: Option<Idle>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One promise, with the worst value of it and where that was met.
struct Target {
    what: &'static str,
    bound: Bound,
    unit: &'static str,
    worst: Option<(f64, String)>,
}

impl Results {
    /// The table.
    pub(super) fn targets(&self) -> String {
        let mut out = String::from("| target | asked for | measured | |\n|---|---|---|---|\n");
        for Target { what, bound, unit, worst } in self.all_targets() {
            let (asked, limit) = match bound {
                Bound::AtLeast(limit) => ("at least", limit),
                Bound::AtMost(limit) => ("at most", limit),
            };
            let (measured, verdict) = match worst {
                None => ("not measured".to_owned(), ""),
                Some((value, place)) => {
                    let met = match bound {
                        Bound::AtLeast(limit) => value >= limit,
                        Bound::AtMost(limit) => value <= limit,
                    };
                    (format!("{value:.2}{unit}{place}"), if met { "met" } else { "**missed**" })
                }
            };
            out += &format!("| {what} | {asked} {limit}{unit} | {measured} | {verdict} |\n");
        }
        out
    }

    fn all_targets(&self) -> Vec<Target> {
        use Bound::{AtLeast, AtMost};
        let micro = |name: &str, unit: f64| self.micro.slowest(name).map(|ns| (ns / unit, String::new()));
        let idle = self.idle.as_ref();
        let held = idle.map(|idle| (idle.sessions as f64, String::new()));
        let (select, prepared) = (script(Script::SelectOnly), mode(Mode::Prepared));
        let prepared_select = |load: Load| select(load) && prepared(load);
        let (point, any) = (script(Script::PointSelect), |_| true);
        let rate = |summary: &Summary| summary.middle.rate;
        let cpu = |summary: &Summary| summary.proxy().map_or(f64::NAN, |cost| cost.cpu);
        let target = |what, bound, unit, worst| Target { what, bound, unit, worst };
        vec![
            target(
                "no policy: throughput of select-only, of PgBouncer's",
                AtLeast(1.0),
                "",
                self.worst(&select, [Way::NoPolicy, Way::PgBouncer], rate, false),
            ),
            target(
                "protected point select, prepared: throughput, of PgBouncer's without encryption",
                AtLeast(0.95),
                "",
                self.worst(&point, [Way::Protected, Way::PgBouncer], rate, false),
            ),
            target(
                "no policy: the proxy's CPU per prepared transaction, of PgBouncer's",
                AtMost(1.0),
                "",
                self.worst(&prepared_select, [Way::NoPolicy, Way::PgBouncer], cpu, true),
            ),
            target(
                "protected: the same",
                AtMost(1.3),
                "",
                self.worst(&prepared_select, [Way::Protected, Way::PgBouncer], cpu, true),
            ),
            target(
                "fetch of 10,000 rows, three protected columns: time, of direct",
                AtMost(2.0),
                "",
                self.worst(&bulk(&[Bulk::Fetch]), [Way::Direct, Way::Protected], rate, true),
            ),
            target(
                "COPY in and out, three protected columns: time, of direct",
                AtMost(2.0),
                "",
                self.worst(&bulk(&[Bulk::CopyIn, Bulk::CopyOut]), [Way::Direct, Way::Protected], rate, true),
            ),
            target(
                "everything protected: throughput, of pgcrypto's",
                AtLeast(3.0),
                "",
                self.worst(&any, [Way::Protected, Way::Pgcrypto], rate, false),
            ),
            target("key opening", AtMost(5.0), " µs", micro("key/", 1e3)),
            target(
                "memory per idle session, TLS off",
                AtMost(32.0),
                " KiB",
                idle.map(|idle| (idle.clear, String::new())),
            ),
            target("idle sessions held", AtLeast(5000.0), "", held),
            target(
                "cell of 16 bytes, encrypt or decrypt",
                AtMost(150.0),
                " ns",
                micro("cell of 16 bytes/", 1.0),
            ),
            target(
                "analysis of a statement not seen before, 10 columns",
                AtMost(30.0),
                " µs",
                micro("analysis/", 1e3),
            ),
        ]
    }

    /// The lowest, or highest, of what `figure` gives for the first way, as a part of the second's.
    fn worst(
        &self,
        wanted: &dyn Fn(Load) -> bool,
        [one, other]: [Way; 2],
        figure: impl Fn(&Summary) -> f64,
        highest: bool,
    ) -> Option<(f64, String)> {
        let outcomes = self.outcomes.iter().filter(|outcome| wanted(outcome.load));
        let ratios = outcomes.filter_map(|outcome| {
            let ratio = figure(outcome.summary(one)?) / figure(outcome.summary(other)?);
            Some((ratio, format!(" ({})", outcome.load.name())))
        });
        ratios.reduce(|one, other| if (one.0 >= other.0) == highest { one } else { other })
    }
}

fn script(wanted: Script) -> impl Fn(Load) -> bool {
    move |load| matches!(load.0, Work::Pgbench { script, tls: false, .. } if script == wanted)
}

fn mode(wanted: Mode) -> impl Fn(Load) -> bool {
    move |load| matches!(load.0, Work::Pgbench { mode, .. } if mode == wanted)
}

fn bulk(wanted: &'static [Bulk]) -> impl Fn(Load) -> bool {
    move |load| matches!(load.0, Work::Bulk(bulk) if wanted.contains(&bulk))
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    fn outcome(load: Load, rates: &[(Way, f64)]) -> Outcome {
        let summary = |rate| Summary::of(&[Sample { rate, ..Sample::default() }], &[]);
        Outcome { load, ways: rates.iter().map(|(way, rate)| (*way, summary(*rate))).collect() }
    }

    #[test]
    fn the_worst_load_decides_about_a_target() {
        let [first, second, ..] = Load::all()[..] else { panic!("two loads") };
        let outcomes = vec![
            outcome(first, &[(Way::NoPolicy, 120.0), (Way::PgBouncer, 100.0)]),
            outcome(second, &[(Way::NoPolicy, 90.0), (Way::PgBouncer, 100.0)]),
        ];
        let results =
            Results { outcomes, micro: Micro(vec![("key/opening".to_owned(), 4000.0)]), idle: None };
        let table = results.targets();
        assert!(
            table.contains(&format!("| at least 1 | 0.90 ({}) | **missed** |", second.name())),
            "{table}"
        );
        assert!(table.contains("| key opening | at most 5 µs | 4.00 µs | met |"), "{table}");
        assert!(table.contains("| idle sessions held | at least 5000 | not measured |  |"), "{table}");
    }
}
