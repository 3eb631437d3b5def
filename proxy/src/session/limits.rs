//! What a request asks of the envelope that it runs under, held against the envelope's limits.

use super::names::{Names, Portal};
use crate::error::{ClientError, Code};
use crate::shares::LiveEnvelope;
use crate::sql::{Beyond, Plan};
use std::sync::Arc;

/// A text's plan, and those of the cursors that it fetches from.
pub(super) struct Demand<'a> {
    plan: &'a Plan,
    fetched: Vec<Arc<Plan>>,
    /// A cursor that a function has opened is among them.
    unknown: bool,
}

impl<'a> Demand<'a> {
    /// What a text asks by itself, without what it fetches.
    pub(super) fn of(plan: &'a Plan) -> Self {
        Self { plan, fetched: Vec::new(), unknown: false }
    }

    /// With what it fetches.
    pub(super) fn with(plan: &'a Plan, portals: &Names<Portal>) -> Self {
        let mut demand = Self::of(plan);
        for name in plan.fetches() {
            match portals.get(name.as_bytes()) {
                Some(portal) => demand.fetched.push(Arc::clone(&portal.plan)),
                None => demand.unknown = true,
            }
        }
        demand
    }

    fn plans(&self) -> impl Iterator<Item = &Plan> {
        std::iter::once(self.plan).chain(self.fetched.iter().map(AsRef::as_ref))
    }

    /// Whether it writes.
    pub(super) fn writes(&self) -> bool {
        self.plans().any(|plan| plan.writes)
    }

    /// Refuses what the envelope is not for.
    pub(super) fn check(&self, live: &LiveEnvelope) -> Result<(), ClientError> {
        if !live.may_write() && self.writes() {
            return Err(ClientError::refused(
                Code::ReadScope,
                "the envelope's scope is read, and the statement writes",
                "Present an envelope of scope write; a function of your own that changes nothing is to be \
                 declared STABLE.",
            ));
        }
        let Some(allowed) = live.tables() else { return Ok(()) };
        let unknown = self.unknown.then_some(Beyond::Unknown);
        match self.plans().find_map(|plan| plan.tables.beyond(allowed)).or(unknown) {
            None => Ok(()),
            Some(Beyond::Table(table)) => Err(beyond(&format!("\"{table}\" is not among them"))),
            Some(Beyond::Unknown) => Err(beyond("which ones the statement touches cannot be told")),
        }
    }
}

fn beyond(what: &str) -> ClientError {
    ClientError::refused(
        Code::TableLimit,
        format!("the envelope is for some tables only, and {what}"),
        "Present an envelope whose claim tables names every table of the statement, and those behind its \
         views, or one without that claim: DDL and functions of your own need that.",
    )
}
