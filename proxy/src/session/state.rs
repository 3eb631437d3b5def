//! What one session knows between two messages.

use super::Environment;
use super::carriers::{Keys, Presented};
use super::copy::{CopyIn, Copying};
use super::fault::Fault;
use super::grants;
use super::limits::Demand;
use super::names::{Names, Portal, Prepared};
use super::parameters::Parameters;
use super::path::PathCache;
use super::pending::Queue;
use super::results::{Scratch, Shape};
use super::schema::Schema;
use super::trail::{Access, Trail};
use crate::error::{ClientError, Code, sqlstate};
use crate::shares::Burst;
use crate::sql::{self, Plan, ResultColumn};
use std::sync::Arc;

/// Bytes that may wait for one side before the other is not read any more.
pub(super) const BOUND: usize = 128 * 1024;

/// Why a pass over received bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// More bytes are needed.
    More,
    /// The other side has to do something first.
    Blocked,
    /// The catalog has to be loaded (anew) first.
    Reload,
    /// The audit log has to be written first.
    Recording,
    /// The client has said goodbye.
    Terminated,
}

/// The rest of a message that is not held whole.
#[derive(Clone, Copy, Default)]
pub(super) struct Streamed {
    pub(super) left: usize,
    pub(super) fate: Fate,
}

/// What becomes of a message's bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// They go nowhere.
    #[default]
    Dropped,
    /// They go on.
    Passes,
    /// They are data of the COPY that runs.
    Copied,
}

/// What one session knows between two messages.
pub(super) struct State {
    pub(super) environment: Arc<Environment>,
    /// Whether the catalog is there, which the first ReadyForQuery waits for.
    pub(super) begun: bool,
    /// Whether the first ReadyForQuery has come.
    pub(super) ready: bool,
    pub(super) queue: Queue,
    pub(super) statements: Names<Prepared>,
    pub(super) portals: Names<Portal>,
    /// Messages up to a Sync or Query are one segment; this is the client's running one.
    pub(super) segment: u64,
    /// Segments below this one are answered: what they named stands.
    pub(super) answered: u64,
    /// The server has failed an extended query whose Sync has not been sent.
    pub(super) skipping: bool,
    /// The server reads a COPY whose end has not been sent.
    pub(super) copying_in: Option<CopyIn>,
    /// The server sends a COPY with cells.
    pub(super) copying_out: Option<Box<Copying>>,
    /// What the client is told when the server says that the COPY was ended by the proxy.
    pub(super) copy_refusal: Option<Box<ClientError>>,
    /// Syncs taken for passed over by a COPY that then failed: each may be answered after all.
    pub(super) spare_syncs: usize,
    /// A text was sent that changes names of statements or cursors if it succeeds, or reads them.
    pub(super) renaming: bool,
    /// A text was sent that reads a COPY from the client, which may not have begun: what else the client has to say
    /// may be taken for its failure.
    pub(super) before_copy: bool,
    /// The segment of the last text that changes how values are read, until the server has reported it.
    pub(super) form_changed: Option<u64>,
    /// The running transaction has failed, by the last ReadyForQuery.
    pub(super) aborted: bool,
    /// A Flush was sent so that all replies come.
    pub(super) flushed: bool,
    /// A share was among the bytes of this pass.
    pub(super) wipe: bool,
    pub(super) presented: Presented,
    pub(super) parameters: Parameters,
    pub(super) schema: Schema,
    pub(super) path: PathCache,
    /// Messages of the extended protocol were sent since the last Sync.
    pub(super) inside: bool,
    pub(super) from_client: Streamed,
    pub(super) from_server: Streamed,
    pub(super) scratch: Scratch,
    /// Where an audit log is kept.
    pub(super) trail: Option<Trail>,
}

impl State {
    pub(super) fn new(environment: Arc<Environment>, presented: Presented, trail: Option<Trail>) -> Self {
        Self {
            environment,
            begun: false,
            ready: false,
            queue: Queue::default(),
            statements: Names::default(),
            portals: Names::default(),
            segment: 1,
            answered: 1,
            skipping: false,
            copying_in: None,
            copying_out: None,
            copy_refusal: None,
            spare_syncs: 0,
            renaming: false,
            before_copy: false,
            form_changed: None,
            aborted: false,
            flushed: false,
            wipe: false,
            presented,
            parameters: Parameters::default(),
            schema: Schema::default(),
            path: PathCache::default(),
            inside: false,
            from_client: Streamed::default(),
            from_server: Streamed::default(),
            scratch: Scratch::default(),
            trail,
        }
    }

    /// Whether something that this segment made may be used in the running one: nothing that may
    /// still turn out to have failed.
    pub(super) fn stands(&self, segment: u64) -> bool {
        segment == self.segment || segment < self.answered
    }

    /// The keys that a plan needs, if it does.
    pub(super) fn keys_for(
        &mut self,
        plan: &Plan,
        burst: &mut Option<Burst>,
    ) -> Result<Option<Arc<Keys>>, ClientError> {
        let demand = Demand::with(plan, &self.portals);
        let (mut cursors, mut fetched) = (Vec::new(), Vec::new());
        for portal in plan.fetches().filter_map(|name| self.portals.get(name.as_bytes())) {
            cursors.push(portal.plan.as_ref());
            fetched
                .extend(portal.shape.as_ref().filter(|shape| shape.has_cells()).map(Shape::columns).cloned());
        }
        let cells = !fetched.is_empty()
            || cursors.iter().any(|cursor: &&Plan| cursor.keyed() || !cursor.written.is_empty());
        if !plan.protected && !cells {
            return self.presented.may_run(&self.environment.shares, &demand).map(|()| None);
        }
        self.environment.shares.check_open()?;
        if !(demand.writes() || cells || plan.keyed() || !plan.written.is_empty()) {
            return self.presented.may_run(&self.environment.shares, &demand).map(|()| None);
        }
        self.schema.check_keys()?;
        let granted = self.presented.keys(&self.environment.shares, &demand, burst).and_then(|keys| {
            grants::check(&keys.live, plan, &cursors, &fetched, demand.writes()).map(|()| Some(keys))
        });
        granted.inspect_err(|_| *burst = None)
    }

    /// Records, where an audit log is kept, that a statement which uses keys is about to be sent.
    pub(super) fn access(
        &mut self,
        keys: Option<&Arc<Keys>>,
        plan: &Plan,
    ) -> Result<Option<Box<Access>>, ClientError> {
        let (Some(trail), Some(keys)) = (&mut self.trail, keys) else { return Ok(None) };
        let cursors: Vec<&Portal> =
            plan.fetches().filter_map(|name| self.portals.get(name.as_bytes())).collect();
        trail.access(keys, plan, &cursors).map(Some)
    }

    /// Records that a statement is refused, where it is over protected tables. `summary` is what is known
    /// of it.
    pub(super) fn record_refusal(&self, error: &ClientError, summary: &str) {
        if let Some(trail) = &self.trail
            && (error.code.is_some()
                || error.sqlstate == sqlstate::INVALID_AUTHORIZATION
                || !summary.is_empty())
        {
            trail.refused(self.presented.user(), error, summary);
        }
    }

    /// The same of what could not be analysed.
    pub(super) fn record_unplanned(&self, error: &ClientError, text: &[u8]) {
        if self.trail.is_some() {
            // Where these settings are others, literals are not where they seem to be; and what is not in
            // the grammar may have its literals anywhere.
            let unclear =
                [Code::SessionForm, Code::TextForm, Code::NotInGrammar, Code::NotUtf8, Code::TooDeep];
            let summary = match (error.code, str::from_utf8(text)) {
                (Some(code), Ok(text)) if !unclear.contains(&code) => {
                    format!("\"fingerprint\":\"{}\"", sql::fingerprint(text))
                }
                _ => String::new(),
            };
            self.record_refusal(error, &summary);
        }
    }

    /// Whether the answer to come may be treated: what it is of is recorded.
    pub(super) fn may_answer(&mut self) -> Result<bool, Fault> {
        let Some(trail) = &mut self.trail else { return Ok(true) };
        let Some(access) = self.queue.front().and_then(|entry| entry.access.as_mut()) else {
            return Ok(true);
        };
        let Some(ticket) = access.ticket() else { return Ok(true) };
        let included = trail.includes(ticket).map_err(Fault::Fatal)?;
        if included {
            access.recorded();
        }
        Ok(included)
    }

    /// The session ends with this: so does the statement that is being answered.
    pub(super) fn ends(&mut self, error: &ClientError) {
        if let Some(access) = self.queue.front().and_then(|entry| entry.access.as_mut()) {
            access.failed(error.sqlstate.as_bytes(), error.code);
        }
    }

    /// The columns of what a plan's only statement returns, where cells may be among them. The names of
    /// cursors must stand still.
    pub(super) fn columns(&self, plan: &Plan) -> Option<Arc<[ResultColumn]>> {
        let statement = plan.statements.first()?;
        match &statement.fetches {
            None => statement.results.clone(),
            Some(name) => {
                let portal = self.portals.get(name.as_bytes())?;
                portal.shape.as_ref().map(|shape| Arc::clone(shape.columns()))
            }
        }
    }
}
