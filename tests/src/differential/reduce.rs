//! Makes a failing case small: first fewer statements, then smaller ones, as long as it fails in the
//! same respect.

use super::pair::{Failure, Pair};
use super::statement::Case;
use crate::Result;
use std::time::{Duration, Instant};

/// A smaller case that fails in the same respect, with its failure.
pub fn reduce(pair: &mut Pair, case: Case, failure: Failure, limit: Duration) -> Result<(Case, Failure)> {
    let end = Instant::now() + limit;
    let mut best = (case, failure);
    if let Some(last) = best.1.statement {
        best.0.statements.truncate(last + 1);
    }
    let mut chunk = best.0.statements.len().div_ceil(2);
    while chunk > 0 && Instant::now() < end {
        let mut at = 0;
        while at < best.0.statements.len() {
            let mut smaller = best.0.clone();
            smaller.statements.drain(at..(at + chunk).min(smaller.statements.len()));
            if !take(pair, smaller, &mut best)? {
                at += chunk;
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    let mut at = 0;
    while at < best.0.statements.len() && Instant::now() < end {
        let reductions =
            best.0.statements.get(at).map(|statement| statement.reductions()).unwrap_or_default();
        let mut taken = false;
        for statement in reductions {
            let mut smaller = best.0.clone();
            if let Some(place) = smaller.statements.get_mut(at) {
                *place = statement;
            }
            taken = take(pair, smaller, &mut best)?;
            if taken || Instant::now() > end {
                break;
            }
        }
        if !taken {
            at += 1;
        }
    }
    Ok(best)
}

/// Whether the smaller case fails in the same respect; then it becomes the best one.
fn take(pair: &mut Pair, smaller: Case, best: &mut (Case, Failure)) -> Result<bool> {
    let failed = pair.run(&smaller)?;
    let Some(failure) = failed.filter(|failure| failure.difference.respect == best.1.difference.respect)
    else {
        return Ok(false);
    };
    *best = (smaller, failure);
    Ok(true)
}
