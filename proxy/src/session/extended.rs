//! The extended query protocol: Parse, Bind, Describe, Execute, Close.

use super::copy::Copy;
use super::fault::Fault;
use super::frontend::Done;
use super::names::{Portal, Prepared, Rows};
use super::pending::{Described, Kind};
use super::results::Shape;
use super::rewrite;
use super::splice::Splice;
use super::state::{BOUND, State, Turn};
use crate::error::{ClientError, Code};
use crate::sql::{self, Parameter, Plan};
use crate::wire::bind::{self, Bind};
use crate::wire::frontend::{self, Parse, StandIn, Target};
use crate::wire::{Malformed, frame};
use std::sync::Arc;

impl State {
    pub(super) fn parse(
        &mut self,
        size: usize,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        let parse = Parse::decode(body)?;
        let mut cut = None;
        let planned = match self.read_text(parse.text, &mut cut, splice) {
            Ok(planned) => planned,
            Err(turn) => return Ok(Done::Not(turn)),
        };
        let text = cut.as_deref().unwrap_or(parse.text);
        if let Err(error) = &planned {
            self.record_unplanned(error, text);
        }
        let sent = planned.and_then(|plan| {
            let declared = if plan.seals_parameters() { parse.types().len() } else { 0 };
            self.room_for_statement(parse.name, &plan, declared)?;
            if !plan.twins.is_empty() && parse.types().len() > plan.highest {
                return Err(ClientError::refused(
                    Code::ParameterInTwoClasses,
                    "a parameter is used for a protected column and for something else, and more parameters are declared than used",
                    "Declare the types of the parameters that the statement has, or use two parameters.",
                ));
            }
            self.wipe |= plan.statements.iter().any(|statement| !statement.settings.is_empty());
            let edited = match plan.edits.is_empty() {
                true => None,
                false => Some(
                    self.edit(&plan, text, splice).inspect_err(|error| self.record_refusal(error, &plan.summary))?,
                ),
            };
            Ok((plan, edited))
        });
        match sent {
            Ok((plan, edited)) => {
                let cells = plan.seals_parameters();
                if cells {
                    let text = edited.as_deref().unwrap_or(text);
                    rewrite::parse(splice.replace(size), &parse, text, &plan)?;
                } else if let Some(text) = edited.as_deref().or(cut.as_deref()) {
                    frontend::parse(splice.replace(size), parse.name, text, parse.types())?;
                } else {
                    splice.pass(size);
                }
                self.schema.sent(&plan);
                let declared = if cells { parse.types().collect() } else { Arc::default() };
                let prepared = Prepared { plan, declared, segment: self.segment };
                let undo = self.statements.put(parse.name, Some(prepared));
                self.queue.push(Kind::Parse(undo));
            }
            Err(error) => {
                frontend::stand_in(splice.replace(size), StandIn::Parse, parse.name)?;
                let undo = self.statements.put(parse.name, None);
                self.queue.push_refused(Kind::Parse(undo), error);
            }
        }
        Ok(Done::Yes)
    }

    /// Treats the beginning of a long Bind whose values need no understanding; false if it has to be
    /// held whole.
    pub(super) fn stream_bind(&mut self, rest: &[u8]) -> Result<bool, Fault> {
        let prefix = rest.get(frame::HEAD..).unwrap_or_default();
        if prefix.len() >= BOUND
            && !self.renaming
            && !self.before_copy
            && let Some((portal, statement)) = bind::names(prefix)
            && let Some(prepared) = self.statements.get(statement)
            && self.stands(prepared.segment)
            && is_plain(&prepared.plan)
            && self.room_for_portal(portal, &prepared.plan).is_ok()
            && self.schema.still_holds(&self.environment.plans, &prepared.plan).is_ok()
        {
            let plan = Arc::clone(&prepared.plan);
            self.put_portal(portal, Portal::bound(plan, None, self.segment));
            return Ok(true);
        }
        if prefix.len() > self.environment.max_message {
            return Err(Malformed::TooLong.into());
        }
        Ok(false)
    }

    fn put_portal(&mut self, name: &[u8], portal: Portal) {
        let undo = self.portals.put(name, Some(portal));
        self.queue.push(Kind::Bind(undo));
    }

    pub(super) fn bind(
        &mut self,
        size: usize,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        let (portal, statement) = bind::names(body).ok_or(Malformed::Short("name"))?;
        let refuse = |error: ClientError, state: &mut Self, splice: &mut Splice<'_, '_>, size| {
            frontend::stand_in(splice.replace(size), StandIn::Bind, portal)?;
            let undo = state.portals.put(portal, None);
            state.queue.push_refused(Kind::Bind(undo), error);
            Ok(Done::Yes)
        };
        let Some(prepared) = self.statements.get(statement) else {
            return refuse(unknown_statement(statement), self, splice, size);
        };
        if !self.stands(prepared.segment) {
            return Ok(Done::Not(Turn::Blocked));
        }
        let fits = self.room_for_portal(portal, &prepared.plan);
        if let Err(error) =
            fits.and_then(|()| self.schema.still_holds(&self.environment.plans, &prepared.plan))
        {
            return refuse(error, self, splice, size);
        }
        let segment = self.segment;
        let prepared = prepared.clone();
        let plan = &prepared.plan;
        match self.check_names(plan, splice) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return refuse(error, self, splice, size),
            Err(turn) => return Ok(Done::Not(turn)),
        }
        let columns = self.columns(plan);
        if is_plain(plan) && columns.is_none() {
            self.put_portal(portal, Portal::bound(prepared.plan, None, segment));
            splice.pass(size);
            return Ok(Done::Yes);
        }
        if plan.protected {
            match self.check_form(splice) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return refuse(error, self, splice, size),
                Err(turn) => return Ok(Done::Not(turn)),
            }
        }
        match self.check_path(plan, splice) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return refuse(error, self, splice, size),
            Err(turn) => return Ok(Done::Not(turn)),
        }
        let bind = Bind::decode(body)?;
        let result = self.keys_for(plan, &mut splice.burst).map_err(Fault::from).and_then(|keys| {
            let shape = columns.as_ref().map(|columns| Shape::portal(columns, &bind.results)).transpose()?;
            let values = &self.parameters.values;
            let (out, burst) = match &keys {
                None => (splice.replace(0), None),
                Some(keys) => {
                    let (out, burst) = splice.replace_with_keys(0, keys, &self.environment.shares);
                    (out, Some(burst))
                }
            };
            let carried = rewrite::bind(out, &bind, &prepared, shape.as_ref(), burst, values)?;
            Ok((shape, carried))
        });
        match result {
            Ok((shape, carried)) => {
                splice.replace(size);
                for carrier in carried {
                    self.wipe = true;
                    self.presented.bound(carrier.name, carrier.value, carrier.local, segment);
                }
                let plan = Arc::clone(plan);
                self.put_portal(portal, Portal::bound(plan, shape, segment));
                Ok(Done::Yes)
            }
            Err(Fault::Refused(error)) => {
                self.record_refusal(&error, &prepared.plan.summary);
                refuse(error, self, splice, size)
            }
            Err(fatal) => Err(fatal),
        }
    }

    pub(super) fn describe(
        &mut self,
        size: usize,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        let known = match frontend::target(body)? {
            Target::Statement(name) => match self.statements.get(name) {
                Some(prepared) if !self.stands(prepared.segment) => return Ok(Done::Not(Turn::Blocked)),
                Some(prepared) => {
                    let prepared = prepared.clone();
                    match self.check_names(&prepared.plan, splice) {
                        Ok(checked) => checked
                            .map(|()| {
                                let columns = self.columns(&prepared.plan);
                                let found = prepared.plan.protected || columns.is_some();
                                let described = found.then(|| Box::new(Described { prepared, columns }));
                                Kind::DescribeStatement(described)
                            })
                            .map_err(|error| (Kind::DescribeStatement(None), error)),
                        Err(turn) => return Ok(Done::Not(turn)),
                    }
                }
                None => Err((Kind::DescribeStatement(None), unknown_statement(name))),
            },
            Target::Portal(name) => match self.portals.get(name) {
                Some(portal) if !self.stands(portal.segment) => return Ok(Done::Not(Turn::Blocked)),
                Some(portal) => Ok(Kind::DescribePortal(portal.shape.clone())),
                // A cursor that a function opened: only plain ones can be.
                None => Ok(Kind::DescribePortal(None)),
            },
        };
        match known {
            Ok(kind) => {
                splice.pass(size);
                self.queue.push(kind);
            }
            Err((kind, error)) => {
                frontend::stand_in(splice.replace(size), StandIn::Describe, b"")?;
                self.queue.push_refused(kind, error);
            }
        }
        Ok(Done::Yes)
    }

    pub(super) fn execute(
        &mut self,
        size: usize,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        let name = frontend::execute(body)?;
        let segment = self.segment;
        let ready = match self.portals.get(name) {
            Some(portal) if !self.stands(portal.segment) => return Ok(Done::Not(Turn::Blocked)),
            Some(portal) => {
                let (plan, shape) = (Arc::clone(&portal.plan), portal.shape.clone());
                let checked = match self.check_names(&plan, splice) {
                    Ok(Ok(())) if plan.protected || shape.is_some() => self.check_form(splice),
                    checked => checked,
                };
                let checked = checked.map(|checked| {
                    checked
                        .and_then(|()| self.check_fetched(&plan, &shape))
                        .and_then(|()| self.room_for_names(&plan))
                });
                let checked = match checked {
                    Ok(checked) => checked,
                    Err(turn) => return Ok(Done::Not(turn)),
                };
                for setting in plan.statements.iter().flat_map(|statement| &statement.settings) {
                    self.presented.change(setting, segment);
                }
                self.schema.sent(&plan);
                self.path.sent(&plan);
                self.renaming |= plan.names();
                self.before_copy |= plan.copies_in;
                if self.changes_form(&plan) {
                    self.form_changed = Some(segment);
                }
                let audited = checked.and_then(|()| {
                    let keys = self.keys_for(&plan, &mut splice.burst)?;
                    let access = self.access(keys.as_ref(), &plan)?;
                    Ok((keys, access))
                });
                if let Err(error) = &audited {
                    self.record_refusal(error, &plan.summary);
                }
                audited.map(|(keys, access)| {
                    if let Some(copy) = plan.copy() {
                        return (Kind::ExecuteCopy(Box::new(Copy { plan: Arc::clone(copy), keys })), access);
                    }
                    let rows = shape.zip(keys).map(|(shape, keys)| Box::new(Rows { shape, keys }));
                    (Kind::Execute(rows, Some(plan).filter(|plan| plan.names())), access)
                })
            }
            // A cursor that a function opened: only plain ones can be.
            None => Ok((Kind::Execute(None, None), None)),
        };
        match ready {
            Ok((kind, access)) => {
                splice.pass(size);
                self.queue.push_audited(kind, access);
            }
            Err(error) => {
                frontend::stand_in(splice.replace(size), StandIn::Execute, b"")?;
                self.queue.push_refused(Kind::Execute(None, None), error);
            }
        }
        Ok(Done::Yes)
    }

    /// Refuses to read the rows of a FETCH otherwise than its Bind has asked for.
    fn check_fetched(&self, plan: &Plan, shape: &Option<Shape>) -> Result<(), ClientError> {
        let Some(name) = plan.fetches().next() else { return Ok(()) };
        let agree = match (shape, self.columns(plan)) {
            (None, None) => true,
            (Some(shape), Some(columns)) => Arc::ptr_eq(shape.columns(), &columns),
            _ => false,
        };
        if agree { Ok(()) } else { Err(sql::names_changed(name)) }
    }

    pub(super) fn close(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let kind = match frontend::target(body)? {
            Target::Statement(name) => Kind::CloseStatement(self.statements.put(name, None)),
            Target::Portal(name) => Kind::ClosePortal(self.portals.put(name, None)),
        };
        self.queue.push(kind);
        Ok(())
    }
}

/// Whether neither parameters nor results need anything.
fn is_plain(plan: &Plan) -> bool {
    !plan.protected
        && plan.path.is_none()
        && plan.parameters.iter().all(|parameter| matches!(parameter, Parameter::Plain))
}

fn unknown_statement(name: &[u8]) -> ClientError {
    sql::unknown_statement(&String::from_utf8_lossy(name))
}
