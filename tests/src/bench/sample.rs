//! What one run measured, and what several runs of the same come to.

use super::process::{Counted, Reading, forget_peak};
use crate::{Error, Result};

/// What a client saw of one run.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// How many transactions, or passes over a table, were done.
    pub(super) operations: u64,
    /// How many of them were done per second, logins left out.
    pub(super) rate: f64,
    /// Their latencies in µs, sorted.
    pub(super) latencies: Vec<u64>,
}

impl Seen {
    /// The latency that this share of the operations does not exceed, in µs.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the last")]
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).map_or(f64::NAN, |latency| *latency as f64)
    }
}

/// One run.
#[derive(Clone, Default)]
pub(super) struct Sample {
    pub(super) rate: f64,
    /// Latencies in µs.
    pub(super) median: f64,
    pub(super) p99: f64,
    /// Of each process between client and database, the proxy first.
    pub(super) costs: Vec<Cost>,
}

/// What one process spent.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// CPU time per operation, in µs.
    pub(super) cpu: f64,
    /// Context switches per operation.
    pub(super) switches: f64,
    /// System calls per operation, where they were counted.
    pub(super) calls: Option<f64>,
    /// Peak of resident memory, in KiB, where it may be reset.
    pub(super) peak: Option<f64>,
}

impl Sample {
    /// Of what `run` does, with what these processes spend on it meanwhile.
    pub(super) fn of(pids: &[u32], run: impl FnOnce() -> Result<Seen>) -> Result<Self> {
        let forgotten: Vec<bool> = pids.iter().map(|pid| forget_peak(*pid)).collect();
        let read = || pids.iter().map(|pid| Reading::of(*pid)).collect::<Result<Vec<_>>>();
        let before = read()?;
        let seen = run()?;
        if seen.operations == 0 {
            return Err(Error::new("nothing was done in the time given: set SECONDS higher"));
        }
        let per = |amount: f64| amount / seen.operations as f64;
        let costs = before.iter().zip(read()?).zip(forgotten).map(|((before, after), forgotten)| Cost {
            cpu: per((after.cpu - before.cpu) * 1e6),
            // Threads that have ended took their count along.
            switches: per(after.switches.saturating_sub(before.switches) as f64),
            calls: None,
            peak: forgotten.then_some(after.peak as f64),
        });
        Ok(Self {
            rate: seen.rate,
            median: seen.quantile(0.5),
            p99: seen.quantile(0.99),
            costs: costs.collect(),
        })
    }

    /// System calls per operation of each process; empty where nobody may count them. A run of its own:
    /// counting slows down what it counts.
    pub(super) fn calls(pids: &[u32], run: impl FnOnce() -> Result<Seen>) -> Result<Vec<f64>> {
        let counted = Counted::begin(pids);
        let seen = run()?;
        let calls = counted.and_then(Counted::end).unwrap_or_default();
        Ok(calls.into_iter().map(|calls| calls as f64 / seen.operations.max(1) as f64).collect())
    }
}

/// The medians of several runs.
#[derive(Clone)]
pub(super) struct Summary {
    /// Of each figure.
    pub(super) middle: Sample,
    /// How far the rates lie apart, as a part of their median.
    pub(super) spread: f64,
}

impl Summary {
    /// Of these runs, with the system calls that were counted apart from them.
    pub(super) fn of(samples: &[Sample], calls: &[f64]) -> Self {
        let middle = |figure: &dyn Fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
        let rates = || samples.iter().map(|sample| sample.rate);
        let rate = middle(&|sample| sample.rate);
        let spread = (rates().fold(f64::MIN, f64::max) - rates().fold(f64::MAX, f64::min)) / rate;
        let processes = samples.first().map_or(0, |sample| sample.costs.len());
        let costs = (0..processes).map(|process| {
            let cost = |figure: fn(&Cost) -> f64| {
                middle(&|sample| sample.costs.get(process).map_or(f64::NAN, figure))
            };
            Cost {
                cpu: cost(|cost| cost.cpu),
                switches: cost(|cost| cost.switches),
                calls: calls.get(process).copied(),
                peak: Some(cost(|cost| cost.peak.unwrap_or(f64::NAN))).filter(|peak| !peak.is_nan()),
            }
        });
        let middle = Sample {
            rate,
            median: middle(&|sample| sample.median),
            p99: middle(&|sample| sample.p99),
            costs: costs.collect(),
        };
        Self { middle, spread }
    }

    /// What the proxy, or the pooler, spent.
    pub(super) fn proxy(&self) -> Option<Cost> {
        self.middle.costs.first().copied()
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spread_are_those_of_the_runs() {
        let sample =
            |rate| Sample { rate, costs: vec![Cost { cpu: rate, ..Cost::default() }], ..Sample::default() };
        let summary = Summary::of(&[sample(90.0), sample(120.0), sample(100.0)], &[4.0]);
        assert_eq!((summary.middle.rate, summary.spread), (100.0, 0.3));
        let cost = summary.proxy().unwrap();
        assert_eq!((cost.cpu, cost.calls), (100.0, Some(4.0)));
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }

    #[test]
    fn quantiles_are_latencies_that_were_seen() {
        let seen = Seen { latencies: (1..=100).collect(), ..Seen::default() };
        assert_eq!((seen.quantile(0.5), seen.quantile(0.99), seen.quantile(1.0)), (51.0, 99.0, 100.0));
    }
}
