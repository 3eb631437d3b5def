//! The differential test: statements made from a seed run on a plain PostgreSQL and through the
//! proxy, and both must answer the same. What fails is made small and shown with its seed.

pub mod answer;
pub mod expression;
pub mod kind;
pub mod pair;
pub mod query;
pub mod random;
pub mod reduce;
pub mod refuse;
pub mod schema;
pub mod scope;
pub mod send;
pub mod session;
pub mod shapes;
pub mod statement;
pub mod tree;
pub mod write;

use crate::Result;
use crate::cluster::Cluster;
use crate::stack::{Part, ProxyOptions, Stack};
use pair::{Failure, Pair};
use statement::Case;
use std::time::{Duration, Instant};

/// How long a failing case is made smaller.
const REDUCTION: Duration = Duration::from_secs(60);

/// Both sides with all that runs for them.
pub struct Arena {
    pair: Pair,
    // Dropped in this order: whoever uses a part goes first.
    _stack: Stack,
    _cluster: Cluster,
}

impl Arena {
    /// Starts everything and makes the tables.
    pub fn start() -> Result<Self> {
        let cluster = Cluster::scratch()?;
        // Neither log is evidence here, and both would grow.
        cluster.endpoint().run("ALTER SYSTEM SET log_statement = 'none'")?;
        cluster.endpoint().run("ALTER SYSTEM SET log_min_messages = 'panic'")?;
        cluster.endpoint().run("SELECT pg_reload_conf()")?;
        let plain = cluster.create_database("plain")?;
        let protected = cluster.create_database("protected")?;
        let dir = &cluster.directory().join("parts");
        let options = ProxyOptions {
            policy: &schema::policy(),
            tenant: "differential",
            database: &protected,
            recorder: None,
            configuration: "",
        };
        let stack = Stack::start(dir, &options, &["alice"], 1)?;
        let sidecar = stack.acting.first().map_or(0, Part::port);
        let pair = Pair::new([&plain, &protected], &protected.through(sidecar))?;
        Ok(Self { pair, _stack: stack, _cluster: cluster })
    }

    /// How many statements were run, and what came of them.
    pub fn summary(&self) -> String {
        let outcomes = &self.pair.outcomes;
        let count: u64 = outcomes.values().sum();
        let list: Vec<_> = outcomes.iter().map(|(outcome, number)| format!("{outcome} {number}")).collect();
        format!("{count} statements: {}", list.join(", "))
    }

    /// Runs the case of a seed; if it fails, returns the report of what is left of it.
    pub fn run(&mut self, seed: u64) -> Result<Option<String>> {
        let case = session::case(seed);
        let Some(failure) = self.pair.run(&case)? else { return Ok(None) };
        let (case, failure) = reduce::reduce(&mut self.pair, case, failure, REDUCTION)?;
        Ok(Some(report(&case, &failure)))
    }

    /// Runs cases from this seed on until the time is over or so many have failed; returns the
    /// reports.
    pub fn run_for(&mut self, first: u64, limit: Duration, failures: usize) -> Result<Vec<String>> {
        let end = Instant::now() + limit;
        let mut reports = Vec::new();
        let mut seed = first;
        while Instant::now() < end && reports.len() < failures.max(1) {
            reports.extend(self.run(seed)?);
            seed = seed.wrapping_add(1);
        }
        Ok(reports)
    }
}

fn report(case: &Case, failure: &Failure) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let mut text = format!("seed {}: {}\n", case.seed, failure.difference.respect);
    for (number, statement) in case.statements.iter().enumerate() {
        let mark = if failure.statement == Some(number) { ">" } else { " " };
        text.push_str(&format!("{mark} {statement}\n"));
    }
    text.push_str(&format!(
        "  the plain side:\n{}  the protected side:\n{}",
        indented(&failure.difference.plain),
        indented(&failure.difference.protected)
    ));
    text
}
