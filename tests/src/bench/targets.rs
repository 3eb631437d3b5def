//! What was promised, beside what was measured.

use super::Outcome;
use super::idle::Idle;
use super::load::{Bulk, Load, Mode, Script, Work};
use super::micro::Micro;
use super::page::grouped;
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

/// A value, and where it was met.
type Worst = Option<(f64, String)>;

/// One promise, with the worst value of it.
struct Target {
    what: &'static str,
    bound: Bound,
    unit: &'static str,
    worst: Worst,
    /// The worst through the sidecar, for which nothing is promised.
    sidecar: Worst,
}

impl Results {
    /// The table.
    pub(super) fn targets(&self) -> String {
        let mut out = String::from(
            "| target | asked for | measured | | through the sidecar |\n|---|---|---|---|---|\n",
        );
        for Target { what, bound, unit, worst, sidecar } in self.all_targets() {
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
                    let verdict = if met { "met" } else { "**missed**" };
                    (format!("{}{unit}{place}", rounded(value)), verdict)
                }
            };
            let sidecar =
                sidecar.map_or(String::new(), |(value, place)| format!("{}{unit}{place}", rounded(value)));
            out += &format!("| {what} | {asked} {limit}{unit} | {measured} | {verdict} | {sidecar} |\n");
        }
        out
    }

    fn all_targets(&self) -> Vec<Target> {
        use Bound::{AtLeast, AtMost};
        let micro = |name: &str, unit: f64| self.micro.slowest(name).map(|ns| (ns / unit, String::new()));
        let idle = self.idle.as_ref();
        let held = idle.map(|idle| (idle.sessions as f64, String::new()));
        let (select, point, prepared) =
            (script(Script::SelectOnly), script(Script::PointSelect), mode(Mode::Prepared));
        let any = |_| true;
        let rate = |summary: &Summary| summary.middle.rate;
        let cpu = |summary: &Summary| summary.proxy().map_or(f64::NAN, |cost| cost.cpu);
        let all_cpu = |summary: &Summary| summary.middle.costs.iter().map(|cost| cost.cpu).sum();
        let alone = |what, bound, unit, worst| Target { what, bound, unit, worst, sidecar: None };
        let of_loads = |what, bound, worst, sidecar| Target { what, bound, unit: "", worst, sidecar };
        let slower = |wanted: &dyn Fn(Load) -> bool, ways| self.worst(wanted, ways, rate, false);
        let longer = |wanted: &dyn Fn(Load) -> bool, ways| self.worst(wanted, ways, rate, true);
        let (fetch, copy_in, copy_out) = (bulk(Bulk::Fetch), bulk(Bulk::CopyIn), bulk(Bulk::CopyOut));
        let of_direct = |what, wanted: &dyn Fn(Load) -> bool| {
            let through = |way| longer(wanted, [Way::Direct, way]);
            of_loads(what, AtMost(2.0), through(Way::Protected), through(Way::ProtectedSidecar))
        };
        let of_pgcrypto = |what, way| {
            let through = |mine| slower(&any, [mine, way]);
            of_loads(what, AtLeast(3.0), through(Way::Protected), through(Way::ProtectedSidecar))
        };
        vec![
            of_loads(
                "no policy: throughput of select-only, of PgBouncer's",
                AtLeast(1.0),
                slower(&select, [Way::NoPolicy, Way::PgBouncer]),
                slower(&select, [Way::NoPolicySidecar, Way::PgBouncer]),
            ),
            of_loads(
                "protected point select, prepared: throughput, of PgBouncer's without encryption",
                AtLeast(0.95),
                slower(&point, [Way::Protected, Way::PgBouncer]),
                slower(&point, [Way::ProtectedSidecar, Way::PgBouncer]),
            ),
            of_loads(
                "no policy: CPU per prepared transaction, of PgBouncer's",
                AtMost(1.0),
                self.worst(&prepared, [Way::NoPolicy, Way::PgBouncer], cpu, true),
                self.worst(&prepared, [Way::NoPolicySidecar, Way::PgBouncer], all_cpu, true),
            ),
            of_loads(
                "protected: the same",
                AtMost(1.3),
                self.worst(&prepared, [Way::Protected, Way::PgBouncer], cpu, true),
                self.worst(&prepared, [Way::ProtectedSidecar, Way::PgBouncer], all_cpu, true),
            ),
            of_direct("fetch of 10,000 rows, three protected columns: time, of direct", &fetch),
            of_direct("COPY in, three protected columns: time, of direct", &copy_in),
            of_direct("COPY out, three protected columns: time, of direct", &copy_out),
            of_pgcrypto("everything protected: throughput, of pgcrypto's", Way::Pgcrypto),
            of_pgcrypto("the same, of pgcrypto's that does not stretch its key", Way::PgcryptoUnstretched),
            alone("key opening", AtMost(5.0), " µs", micro("key/", 1e3)),
            alone(
                "memory per idle session, TLS off",
                AtMost(32.0),
                " KiB",
                idle.map(|idle| (idle.clear, String::new())),
            ),
            alone("idle sessions held", AtLeast(5000.0), "", held),
            alone(
                "cell of 16 bytes, encrypt and decrypt, each",
                AtMost(150.0),
                " ns",
                micro("cell of 16 bytes/", 1.0),
            ),
            alone(
                "analysis of a statement not seen before, 10 columns",
                AtMost(30.0),
                " µs",
                micro("analysis", 1e3),
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
    ) -> Worst {
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
    move |load| matches!(load.0, Work::Pgbench { mode, tls: false, .. } if mode == wanted)
}

fn bulk(wanted: Bulk) -> impl Fn(Load) -> bool {
    move |load| load.0 == Work::Bulk(wanted)
}

/// To what such a measurement is worth.
fn rounded(value: f64) -> String {
    if value < 1000.0 { format!("{value:.2}") } else { grouped(value) }
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
        let micro = Micro { medians: vec![("key/opening".to_owned(), 4000.0)], ..Micro::default() };
        let results = Results { outcomes, micro, idle: None };
        let table = results.targets();
        assert!(
            table.contains(&format!("| at least 1 | 0.90 ({}) | **missed** |  |", second.name())),
            "{table}"
        );
        assert!(table.contains("| key opening | at most 5 µs | 4.00 µs | met |  |"), "{table}");
        assert!(table.contains("| idle sessions held | at least 5000 | not measured |  |  |"), "{table}");
    }
}
