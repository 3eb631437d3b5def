//! The session's search path, asked of the server where a name's meaning depends on it, on the
//! session's own connection: so settings, defaults, roles and rights are all the server's own answer.

use super::fault::Fault;
use super::pending::{Kind, Pending};
use super::splice::Splice;
use super::state::{State, Turn};
use crate::error::{CACHED_PLAN_CHANGED, ClientError, sqlstate};
use crate::sql::{Plan, SearchPath};
use crate::wire::rows::Values;
use crate::wire::{Malformed, writer};
use std::sync::Arc;

/// Of the statement and the portal by which the server is asked.
const NAME: &[u8] = b"trefoil_path";

const QUESTION: &[u8] =
    b"SELECT pg_catalog.unnest(pg_catalog.current_schemas(true)), pg_catalog.current_schema()";

/// The search path, as far as it is known.
#[derive(Default)]
pub(super) struct PathCache {
    known: Option<Arc<SearchPath>>,
    /// It may have changed in the running transaction, whose end may take that back.
    changed: bool,
    /// The server did not answer.
    pub(super) failed: bool,
}

/// The question, while the answer comes.
#[derive(Default)]
pub(super) struct Asked {
    /// Whether it ends with a Sync of its own.
    pub(super) synced: bool,
    schemas: Vec<String>,
    creation: Option<String>,
    /// How many Closes are answered.
    closed: usize,
}

impl PathCache {
    pub(super) fn known(&self) -> Option<&Arc<SearchPath>> {
        self.known.as_ref()
    }

    /// A text with this plan is sent.
    pub(super) fn sent(&mut self, plan: &Plan) {
        if plan.changes_path || (plan.ends_transaction && self.changed) {
            self.known = None;
        }
        self.changed |= plan.changes_path;
    }

    /// The server has rolled something back, or failed.
    pub(super) fn rolled_back(&mut self) {
        if self.changed {
            self.known = None;
        }
    }

    pub(super) fn transaction_ended(&mut self) {
        self.rolled_back();
        self.changed = false;
    }

    /// The server has reported a setting; from PostgreSQL 18 on, the search path is among them.
    pub(super) fn reported(&mut self, name: &[u8]) {
        if name == b"search_path" {
            self.known = None;
        }
    }
}

impl State {
    /// Asks for the search path once all replies are there. Returns why it cannot be had.
    pub(super) fn ask_path(&mut self, out: &mut Splice<'_, '_>) -> Result<ClientError, Turn> {
        self.settle(out)?;
        if self.aborted || std::mem::take(&mut self.path.failed) {
            return Ok(ClientError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "the server did not say what the search_path is, and a name's meaning depends on it",
                "Qualify the name with its schema.",
            ));
        }
        let synced = !self.inside;
        // Its parts are constants.
        ask(out.replace(0), synced).map_err(|_| Turn::Blocked)?;
        self.queue.push(Kind::Path(Box::new(Asked { synced, ..Asked::default() })));
        Err(Turn::Blocked)
    }

    /// Refuses a plan that was made for another search path: the server would not keep its own either.
    pub(super) fn check_path(
        &mut self,
        plan: &Plan,
        out: &mut Splice<'_, '_>,
    ) -> Result<Result<(), ClientError>, Turn> {
        let Some(planned) = &plan.path else { return Ok(Ok(())) };
        match self.path.known() {
            Some(known) if known == planned => Ok(Ok(())),
            Some(_) => Ok(Err(ClientError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                CACHED_PLAN_CHANGED,
                "The search_path has changed since the statement was prepared: prepare it again.",
            ))),
            None => self.ask_path(out).map(Err),
        }
    }

    /// A reply to the question.
    pub(super) fn path_reply(&mut self, tag: u8, body: &[u8]) -> Result<(), Fault> {
        let Some(Pending { kind: Kind::Path(asked), .. }) = self.queue.front() else {
            return Err(Fault::server("to a question that was not asked"));
        };
        match tag {
            b'D' => {
                let mut values = Values::decode(body)?;
                let mut text = || {
                    let value = values.next_value()?;
                    Ok::<_, Malformed>(value.map(|name| String::from_utf8_lossy(name).into_owned()))
                };
                asked.schemas.extend(text()?);
                asked.creation = text()?;
                values.end()?;
            }
            b'3' => asked.closed += 1,
            _ => {}
        }
        if asked.closed == 2 && !asked.synced {
            self.path_answered();
        }
        Ok(())
    }

    /// A ReadyForQuery: whether it ends the answer.
    pub(super) fn path_ready(&mut self) -> bool {
        let ends =
            matches!(self.queue.front(), Some(Pending { kind: Kind::Path(asked), .. }) if asked.synced);
        if ends {
            self.path_answered();
        }
        ends
    }

    fn path_answered(&mut self) {
        if let Some(Pending { kind: Kind::Path(asked), .. }) = self.queue.pop()
            && !self.path.failed
        {
            self.path.known = Some(Arc::new(SearchPath::new(asked.schemas, asked.creation)));
        }
    }
}

/// Appends the question. Nothing of the client's is disturbed, the unnamed statement least of all.
fn ask(out: &mut Vec<u8>, synced: bool) -> Result<(), Malformed> {
    let none = [0; 2];
    writer::message(out, b'P', |out| {
        writer::string(out, NAME);
        writer::string(out, QUESTION);
        out.extend_from_slice(&none);
        Ok::<(), Malformed>(())
    })?;
    writer::message(out, b'B', |out| {
        writer::string(out, NAME);
        writer::string(out, NAME);
        (0..3).for_each(|_| out.extend_from_slice(&none));
        Ok::<(), Malformed>(())
    })?;
    writer::message(out, b'E', |out| {
        writer::string(out, NAME);
        out.extend_from_slice(&[0; 4]);
        Ok::<(), Malformed>(())
    })?;
    for kind in [b'P', b'S'] {
        writer::message(out, b'C', |out| {
            out.push(kind);
            writer::string(out, NAME);
            Ok::<(), Malformed>(())
        })?;
    }
    writer::message(out, if synced { b'S' } else { b'H' }, |_| Ok::<(), Malformed>(()))
}
