//! What the server says: replies pass, are rewritten, or are replaced, each by the entry of the queue
//! that it answers.

use super::carriers::Keys;
use super::copy::Copy;
use super::fault::Fault;
use super::names::{Portal, Prepared};
use super::pending::{Kind, Pending};
use super::results::{self, Known, Shape};
use super::splice::Splice;
use super::state::{BOUND, Fate, State, Streamed, Turn};
use crate::error::CACHED_PLAN_CHANGED;
use crate::error::ClientError;
use crate::sql::{Naming, Plan, ResultColumn};
use crate::wire::backend::{self, Failure, Severity, Transaction};
use crate::wire::{Malformed, frame};
use std::sync::Arc;

/// What a reply is to become.
enum Reply {
    /// It passes.
    Pass,
    /// It passes, and nothing more comes for its entry.
    Last,
    /// A description of rows with cells.
    Describe(Shape, bool),
    /// A description of a statement's rows, which is the last reply for it.
    DescribeStatement(Arc<[ResultColumn]>),
    /// A description of a statement's parameters.
    Parameters(Prepared),
    /// A row with cells.
    Row(Shape, Arc<Keys>),
    /// Data of a COPY with cells.
    Copied,
    /// To a question of the proxy's own: not for the client.
    Own,
}

impl State {
    /// Treats what the server has sent. Returns how many bytes are done with.
    pub(super) fn backend(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Result<Turn, Fault>) {
        let mut splice = Splice::new(input, out);
        let turn = self.backend_messages(&mut splice);
        (splice.finish(), turn)
    }

    fn backend_messages(&mut self, splice: &mut Splice<'_, '_>) -> Result<Turn, Fault> {
        loop {
            if splice.waiting() >= BOUND {
                return Ok(Turn::Blocked);
            }
            let rest = splice.rest();
            if self.from_server.left > 0 {
                if rest.is_empty() {
                    return Ok(Turn::More);
                }
                let count = rest.len().min(self.from_server.left);
                self.from_server.left -= count;
                splice.pass(count);
                continue;
            }
            let Some(head) = frame::head(rest)? else { return Ok(Turn::More) };
            if self.ready && !matches!(head.tag, b'N' | b'A' | b'S') && !self.may_answer()? {
                return Ok(Turn::Recording);
            }
            let body = rest.get(frame::HEAD..head.size);
            let reply = match (head.tag, body) {
                // Rows and COPY data are not held if nothing is to be done with them.
                (b'D' | b'd', _) => self.data(head.tag)?,
                (_, None) => Reply::Pass,
                (b'N' | b'A', _) => Reply::Pass,
                (b'S', Some(body)) => {
                    let (name, value) = backend::parameter_status(body)?;
                    self.parameters.set(name, value);
                    self.path.reported(name);
                    Reply::Pass
                }
                (b'E', Some(body)) => {
                    self.error(head, body, splice)?;
                    continue;
                }
                (b'Z', Some(body)) => {
                    let status = backend::ready_for_query(body)?;
                    if self.path_ready() {
                        splice.replace(head.size);
                        continue;
                    }
                    if !self.begun || (self.schema.dirty && status == Transaction::Idle) {
                        return Ok(Turn::Reload);
                    }
                    if self.ready {
                        self.ready_for_query(status)?;
                    } else if let Some(trail) = &mut self.trail {
                        trail.begun();
                    }
                    self.ready = true;
                    splice.pass(head.size);
                    continue;
                }
                (b'K', _) if !self.ready => Reply::Pass,
                (_, _) if !self.ready => return Err(Fault::server("before the session was ready")),
                (tag, Some(body)) => self.reply(tag, body)?,
            };
            let Some(body) = body else {
                let streams = matches!((head.tag, &reply), (b'D' | b'd', Reply::Pass));
                if streams {
                    self.from_server = Streamed { left: head.size, fate: Fate::Passes };
                    continue;
                }
                if head.size > self.environment.max_message {
                    return Err(Malformed::TooLong.into());
                }
                return Ok(Turn::More);
            };
            self.answer(reply, head, body, splice)?;
        }
    }

    fn answer(
        &mut self,
        reply: Reply,
        head: frame::Head,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<(), Fault> {
        match reply {
            Reply::Pass => splice.pass(head.size),
            Reply::Last => {
                splice.pass(head.size);
                self.queue.pop();
            }
            Reply::Describe(shape, last) => {
                let catalog = self.schema.current();
                let known = Known { policy: self.environment.plans.policy(), catalog: &catalog };
                results::shaped_description(&shape, body, known, splice.replace(head.size))?;
                if last {
                    self.queue.pop();
                }
            }
            Reply::DescribeStatement(columns) => {
                let catalog = self.schema.current();
                let known = Known { policy: self.environment.plans.policy(), catalog: &catalog };
                results::description(&columns, None, body, known, splice.replace(head.size))?;
                self.queue.pop();
            }
            Reply::Parameters(prepared) => {
                let out = splice.replace(head.size);
                results::parameter_description(&prepared.plan, &prepared.declared, body, out)?;
            }
            Reply::Row(shape, keys) => self.rows(&shape, &keys, splice)?,
            Reply::Copied => self.copy_rows(splice)?,
            Reply::Own => {
                self.path_reply(head.tag, body)?;
                splice.replace(head.size);
            }
        }
        Ok(())
    }

    /// Rows of one result, as many as have arrived whole.
    fn rows(&mut self, shape: &Shape, keys: &Keys, splice: &mut Splice<'_, '_>) -> Result<(), Fault> {
        splice.make_room();
        let mut access = self.queue.front().and_then(|entry| entry.access.as_mut());
        while splice.waiting() < BOUND {
            let rest = splice.rest();
            let Some(head) = frame::head(rest)?.filter(|head| head.tag == b'D') else { break };
            let Some(body) = rest.get(frame::HEAD..head.size) else { break };
            let (values, scratch) = (&self.parameters.values, &mut self.scratch);
            let (out, burst) = splice.replace_with_keys(head.size, keys, &self.environment.shares);
            results::row(shape, body, burst, values, scratch, out).map_err(Fault::into_fatal)?;
            if let Some(access) = &mut access {
                access.count(1);
            }
        }
        Ok(())
    }

    /// A DataRow or CopyData.
    fn data(&mut self, tag: u8) -> Result<Reply, Fault> {
        let Some(Pending { kind, refusal: None, access }) = self.queue.front() else {
            return Err(Fault::server("data that nothing asked for"));
        };
        let reply = match (tag, kind) {
            (b'd', _) if self.copying_out.is_some() => Ok(Reply::Copied),
            (b'D', Kind::Execute(Some(rows), _)) => {
                Ok(Reply::Row(rows.shape.clone(), Arc::clone(&rows.keys)))
            }
            (b'D', Kind::Path(_)) => Ok(Reply::Own),
            (b'D', Kind::Query(query)) => match (&query.shape, &query.keys) {
                (Some(shape), Some(keys)) => Ok(Reply::Row(shape.clone(), Arc::clone(keys))),
                (Some(shape), None) if shape.has_cells() => {
                    Err(Fault::server("cells that nothing asked for"))
                }
                _ => Ok(Reply::Pass),
            },
            (_, Kind::Execute(..) | Kind::Query(_)) => Ok(Reply::Pass),
            _ => Err(Fault::server("data that nothing asked for")),
        };
        if let (Ok(Reply::Pass), Some(access)) = (&reply, access) {
            access.count(1);
        }
        reply
    }

    /// Any other reply.
    fn reply(&mut self, tag: u8, body: &[u8]) -> Result<Reply, Fault> {
        let Some(Pending { kind, refusal: None, access }) = self.queue.front() else {
            // Success of what had to fail would mean that something else was executed.
            return Err(Fault::server("to nothing, or to a refused message"));
        };
        match (tag, access) {
            (b'C', Some(access)) => access.completed(backend::tag_rows(backend::command_tag(body)?)),
            (b'I', Some(access)) => access.completed(None),
            (b's', Some(access)) => access.suspended(),
            _ => {}
        }
        let reply = match (tag, kind) {
            (b'1' | b'2' | b'3' | b'C', Kind::Path(_)) => Reply::Own,
            (b'1', Kind::Parse(_)) | (b'2', Kind::Bind(_)) => Reply::Last,
            (b'3', Kind::CloseStatement(_) | Kind::ClosePortal(_)) => Reply::Last,
            (b't', Kind::DescribeStatement(None)) => Reply::Pass,
            (b't', Kind::DescribeStatement(Some(described))) => Reply::Parameters(described.prepared.clone()),
            (b'T', Kind::DescribeStatement(Some(described))) => match &described.columns {
                Some(columns) => Reply::DescribeStatement(Arc::clone(columns)),
                None => Reply::Last,
            },
            (b'T', Kind::DescribePortal(Some(shape))) => Reply::Describe(shape.clone(), true),
            (b'T' | b'n', Kind::DescribeStatement(_) | Kind::DescribePortal(_)) => Reply::Last,
            (b'T', Kind::Query(query)) => {
                let statement = query.plan.as_ref().and_then(|plan| plan.statements.get(query.statement));
                query.shape = statement.and_then(|statement| match &statement.fetches {
                    None => statement.results.as_ref().map(Shape::simple),
                    Some(name) => self.portals.get(name.as_bytes()).and_then(Portal::fetched),
                });
                match &query.shape {
                    Some(shape) => Reply::Describe(shape.clone(), false),
                    None => Reply::Pass,
                }
            }
            (b'C', Kind::Query(query)) => {
                let (plan, statement) = (query.plan.clone(), query.statement);
                query.statement += 1;
                query.shape = None;
                self.completed(body, plan.as_deref(), statement)?;
                Reply::Pass
            }
            (b'C', Kind::Execute(_, plan)) => {
                let plan = plan.take();
                self.completed(body, plan.as_deref(), 0)?;
                Reply::Last
            }
            (b'I' | b's', Kind::Execute(..)) => Reply::Last,
            (b'I', Kind::Query(_)) => Reply::Pass,
            (b'C', Kind::ExecuteCopy(_)) => {
                self.completed(body, None, 0)?;
                Reply::Last
            }
            (b'c', Kind::Execute(..) | Kind::ExecuteCopy(_) | Kind::Query(_)) => {
                self.copy_out_ends()?;
                Reply::Pass
            }
            (b'G' | b'H', Kind::Execute(..)) => {
                self.copy_begins(tag, None)?;
                Reply::Pass
            }
            (b'G' | b'H', Kind::ExecuteCopy(copy)) => {
                let copy = copy.clone();
                self.copy_begins(tag, Some(*copy))?;
                Reply::Pass
            }
            (b'G' | b'H', Kind::Query(query)) => {
                let statement = query.plan.as_ref().and_then(|plan| plan.statements.get(query.statement));
                let plan = statement.and_then(|statement| statement.copy.clone());
                let copy = plan.map(|plan| Copy { plan, keys: query.keys.clone() });
                self.copy_begins(tag, copy)?;
                Reply::Pass
            }
            _ => return Err(Fault::server("of another kind than was due")),
        };
        Ok(reply)
    }

    fn completed(&mut self, body: &[u8], plan: Option<&Plan>, statement: usize) -> Result<(), Malformed> {
        if let Some(naming) =
            plan.and_then(|plan| plan.statements.get(statement)).and_then(|s| s.naming.as_ref())
        {
            self.rename(naming);
        }
        self.spare_syncs = 0;
        self.copying_in = None;
        match backend::command_tag(body)? {
            b"ROLLBACK" => {
                self.path.rolled_back();
                self.schema.rolled_back();
                self.presented.roll_back(self.answered);
            }
            // AND CHAIN may follow: the transaction's settings end all the same.
            b"COMMIT" => self.presented.transaction_ended(self.answered),
            _ => {}
        }
        Ok(())
    }

    /// SQL has changed what names stand for.
    fn rename(&mut self, naming: &Naming) {
        match naming {
            Naming::Prepare { name, plan, declared } => {
                let (plan, declared) = (Arc::clone(plan), Arc::clone(declared));
                self.statements.put(name.as_bytes(), Some(Prepared { plan, declared, segment: 0 }));
            }
            Naming::Deallocate(name) => {
                self.statements.put(name.as_bytes(), None);
            }
            Naming::DeallocateAll => self.statements.retain(|_| false),
            Naming::Declare { name, plan, hold, binary } => {
                let columns = plan.statements.first().and_then(|statement| statement.results.as_ref());
                let portal = Portal {
                    plan: Arc::clone(plan),
                    shape: columns.map(Shape::simple),
                    segment: self.answered,
                    hold: *hold,
                    binary: *binary,
                };
                self.portals.put(name.as_bytes(), Some(portal));
            }
            Naming::Close(name) => {
                self.portals.put(name.as_bytes(), None);
            }
            Naming::CloseAll => self.portals.retain(|_| false),
            Naming::DiscardAll => {
                self.statements.retain(|_| false);
                self.portals.retain(|_| false);
            }
        }
    }

    /// An ErrorResponse: passes, or is replaced by the refusal that it stands for.
    fn error(&mut self, head: frame::Head, body: &[u8], splice: &mut Splice<'_, '_>) -> Result<(), Fault> {
        if !self.ready {
            let code = backend::error_field(body, b'C').unwrap_or_default();
            tracing::warn!(sqlstate = ?String::from_utf8_lossy(code), "the database has ended the session before it began");
        }
        if backend::severity(body)? == Severity::Fatal || !self.ready {
            if let Some(access) = self.queue.front().and_then(|entry| entry.access.as_mut()) {
                access.failed(backend::error_field(body, b'C').unwrap_or_default(), None);
            }
            splice.pass(head.size);
            return Ok(());
        }
        let ended = self.copy_ended(body);
        let Some(entry) = self.queue.front() else { return Err(Fault::server("an error of nothing")) };
        if let Kind::Path(asked) = &entry.kind
            && asked.synced
        {
            // The statement that it was asked for is refused.
            splice.replace(head.size);
            self.path.failed = true;
            return Ok(());
        }
        let refusal = entry.refusal.take().or(ended);
        if let Some(access) = &mut entry.access {
            match &refusal {
                None => access.failed(backend::error_field(body, b'C').unwrap_or_default(), None),
                Some(refusal) => access.failed(refusal.sqlstate.as_bytes(), refusal.code),
            }
        }
        match refusal {
            None => splice.pass(head.size),
            // What the server would have said to anything but the end of the transaction.
            Some(_) if self.aborted => refused(&aborted(), Severity::Error, splice.replace(head.size))?,
            Some(refusal) => refused(&refusal, Severity::Error, splice.replace(head.size))?,
        }
        self.path.rolled_back();
        self.schema.rolled_back();
        self.presented.roll_back(self.answered);
        if !matches!(entry.kind, Kind::Query(_) | Kind::FunctionCall { .. } | Kind::Sync { .. }) {
            self.skipping = !self.queue.fail(&mut self.statements, &mut self.portals);
        }
        Ok(())
    }

    fn ready_for_query(&mut self, status: Transaction) -> Result<(), Fault> {
        let segment = match self.queue.front() {
            Some(Pending { kind: Kind::Query(query), refusal: None, .. }) => query.segment,
            Some(Pending {
                kind: Kind::Sync { segment } | Kind::FunctionCall { segment },
                refusal: None,
                ..
            }) => *segment,
            None if self.spare_syncs > 0 => {
                self.spare_syncs -= 1;
                self.skipping = false;
                return Ok(());
            }
            _ => return Err(Fault::server("ready before its time")),
        };
        self.queue.pop();
        self.answered = segment + 1;
        self.aborted = status == Transaction::Failed;
        self.form_changed = self.form_changed.filter(|changed| *changed > segment);
        if status == Transaction::Idle {
            self.path.transaction_ended();
            self.portals.retain(|portal| portal.hold || portal.segment > segment);
            self.presented.transaction_ended(segment);
        }
        Ok(())
    }
}

fn aborted() -> ClientError {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    ClientError::new("25P02", message, "")
}

/// Appends a refusal as an ErrorResponse.
pub(super) fn refused(error: &ClientError, severity: Severity, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let detail = error.code.map(|code| format!("Trefoil error {}: see docs/errors.md.", code.id()));
    backend::error_response(
        out,
        &Failure {
            severity,
            code: error.sqlstate,
            message: &error.message,
            detail: detail.as_deref().unwrap_or_default(),
            hint: &error.hint,
            position: error.position,
            routine: if error.message == CACHED_PLAN_CHANGED { "RevalidateCachedQuery" } else { "" },
        },
    )
}
