//! Statement texts, in Query and Parse: carriers taken off, planned, edited.

use super::fault::Fault;
use super::frontend::Done;
use super::limits::Demand;
use super::pending::{Kind, Query};
use super::rewrite;
use super::schema::Planned;
use super::splice::Splice;
use super::state::{State, Turn};
use crate::error::{ClientError, sqlstate};
use crate::sql::{self, Plan};
use crate::wire::frontend::{self, StandIn};
use std::cell::Cell;
use std::sync::Arc;
use trefoil_keys::carrier::comment;

impl State {
    /// Takes the carriers off a text and finds its plan.
    pub(super) fn read_text(
        &mut self,
        text: &[u8],
        cut: &mut Option<Vec<u8>>,
        out: &mut Splice<'_, '_>,
    ) -> Result<Result<Arc<Plan>, ClientError>, Turn> {
        if self.schema.dirty {
            // What the DDL before came to must be known first.
            self.settle(out)?;
        }
        match comment::take(text) {
            Ok(None) => {}
            Ok(Some(taken)) => {
                self.wipe = true;
                self.presented.comment(taken.carriers);
                *cut = Some(taken.text);
            }
            Err(error) => {
                self.wipe = true;
                return Ok(Err(ClientError::new(sqlstate::INVALID_AUTHORIZATION, error.to_string(), "")));
            }
        }
        let text = cut.as_deref().unwrap_or(text);
        let asked = Cell::new(false);
        let statements = &self.statements;
        let prepared = |name: &str| {
            asked.set(true);
            statements.get(name.as_bytes()).map(|found| Arc::clone(&found.plan))
        };
        let planned =
            self.schema.plan(&self.environment.plans, text, &self.parameters, &prepared, self.path.known());
        if asked.get() && !matches!(planned, Planned::Reload) {
            // A name may stand for another statement once the replies have come.
            self.settle(out)?;
        }
        match planned {
            Planned::Plan(plan) => {
                // Under standard_conforming_strings off, a backslash makes another text of it.
                if (plan.protected || text.contains(&b'\\'))
                    && let Err(error) = self.check_form(out)?
                {
                    return Ok(Err(error));
                }
                Ok(Ok(plan))
            }
            Planned::Refused(mut error) => {
                error.position = error.position.map(|at| characters(text, at));
                Ok(Err(error))
            }
            Planned::Reload => Err(Turn::Reload),
            Planned::NeedsPath => self.ask_path(out).map(Err),
        }
    }

    /// Waits until every message is answered.
    pub(super) fn settle(&mut self, out: &mut Splice<'_, '_>) -> Result<(), Turn> {
        if self.queue.is_empty() {
            return Ok(());
        }
        self.flush(out);
        Err(Turn::Blocked)
    }

    /// Has the server send all replies that it has, once.
    pub(super) fn flush(&mut self, out: &mut Splice<'_, '_>) {
        if !std::mem::replace(&mut self.flushed, true) {
            out.replace(0).extend_from_slice(frontend::FLUSH);
        }
    }

    /// Waits until the server has reported all changes of how values are read; an error if it cannot
    /// before this segment ends.
    pub(super) fn check_form(&mut self, out: &mut Splice<'_, '_>) -> Result<Result<(), ClientError>, Turn> {
        match self.form_changed {
            None => Ok(Ok(())),
            Some(segment) if segment == self.segment => Ok(Err(sql::form_changed())),
            Some(_) => {
                self.settle(out)?;
                Ok(Ok(()))
            }
        }
    }

    /// Waits until the names that a plan runs stand still; an error if one of them stands for something
    /// else than when the plan was made.
    pub(super) fn check_names(
        &mut self,
        plan: &Plan,
        out: &mut Splice<'_, '_>,
    ) -> Result<Result<(), ClientError>, Turn> {
        if plan.executes.is_empty() && plan.fetches().next().is_none() {
            return Ok(Ok(()));
        }
        self.settle(out)?;
        for (name, was) in &plan.executes {
            match self.statements.get(name.as_bytes()) {
                Some(found) if Arc::ptr_eq(&found.plan, was) => {
                    if let Err(error) = self.schema.still_holds(&self.environment.plans, was) {
                        return Ok(Err(error));
                    }
                }
                Some(_) => return Ok(Err(sql::names_changed(name))),
                None => return Ok(Err(sql::unknown_statement(name))),
            }
        }
        Ok(Ok(()))
    }

    /// Whether something that a plan fetches changes how values are read or shown.
    pub(super) fn changes_form(&self, plan: &Plan) -> bool {
        let fetched = |name| self.portals.get(name).is_some_and(|portal| portal.plan.changes_form);
        plan.changes_form || plan.fetches().any(|name| fetched(name.as_bytes()))
    }

    pub(super) fn query(
        &mut self,
        size: usize,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        let original = frontend::query_text(body)?;
        let mut cut = None;
        let planned = match self.read_text(original, &mut cut, splice) {
            Ok(planned) => planned,
            Err(turn) => return Ok(Done::Not(turn)),
        };
        let checked = match &planned {
            Ok(plan) => match self.check_names(plan, splice) {
                Ok(checked) => checked,
                Err(turn) => return Ok(Done::Not(turn)),
            },
            Err(_) => Ok(()),
        };
        let text = cut.as_deref().unwrap_or(original);
        let segment = self.segment;
        if let Err(error) = &planned {
            self.record_unplanned(error, text);
        }
        let sent = checked.and(planned).and_then(|plan| {
            self.room_for_names(&plan)?;
            // The text's own SETs come first: it may need the keys that it brings.
            for setting in plan.statements.iter().flat_map(|statement| &statement.settings) {
                self.wipe = true;
                self.presented.change(setting, segment);
            }
            let prepared = self.keys_for(&plan, &mut splice.burst).and_then(|keys| {
                let edited = if plan.edits.is_empty() { None } else { Some(self.edit(&plan, text, splice)?) };
                let access = self.access(keys.as_ref(), &plan)?;
                Ok((keys, edited, access))
            });
            if let Err(error) = &prepared {
                self.record_refusal(error, &plan.summary);
            }
            prepared.map(|(keys, edited, access)| (plan, keys, edited, access))
        });
        match sent {
            Ok((plan, keys, edited, access)) => {
                match edited.as_deref().or(cut.as_deref()) {
                    None => splice.pass(size),
                    Some(text) => frontend::query(splice.replace(size), text)?,
                }
                self.schema.sent(&plan);
                self.path.sent(&plan);
                self.renaming |= plan.names();
                self.before_copy |= plan.copies_in;
                if self.changes_form(&plan) {
                    self.form_changed = Some(segment);
                }
                // A plain text's replies are relayed as they are.
                let plan = Some(plan).filter(|plan| plan.protected || plan.names());
                let query = Query { plan, statement: 0, shape: None, keys, segment };
                self.queue.push_audited(Kind::Query(Box::new(query)), access);
            }
            Err(error) => {
                frontend::stand_in(splice.replace(size), StandIn::Query, b"")?;
                let query = Query { plan: None, statement: 0, shape: None, keys: None, segment };
                self.queue.push_refused(Kind::Query(Box::new(query)), error);
            }
        }
        self.end_segment(splice);
        Ok(Done::Yes)
    }

    pub(super) fn edit(
        &mut self,
        plan: &Plan,
        text: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Vec<u8>, ClientError> {
        let shares = &self.environment.shares;
        let burst = if plan.keyed() {
            let keys = self.presented.keys(shares, &Demand::of(plan), &mut splice.burst)?;
            Some(keys.burst(shares, &mut splice.burst))
        } else {
            None
        };
        rewrite::edited(text, plan, burst, &self.parameters.values, &self.presented)
    }
}

/// A byte offset from 0 as characters from 1.
fn characters(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    1 + before.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
