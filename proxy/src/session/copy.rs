//! COPY's data: passes for plain tables, is transformed for protected ones, and goes nowhere while no
//! COPY is known to run. What a client sends before the server has begun its COPY waits until then:
//! bytes sent up for a COPY that turns out not to run would be seen all the same.

use super::carriers::Keys;
use super::fault::Fault;
use super::frontend::{Done, LARGE_MESSAGE};
use super::splice::Splice;
use super::state::{BOUND, Fate, State, Streamed, Turn};
use crate::copy::{Direction, Format, Stream};
use crate::error::{ClientError, sqlstate};
use crate::policy::Purpose;
use crate::shares::Burst;
use crate::sql::CopyPlan;
use crate::value::{self, Settings};
use crate::wire::{bind, frame, frontend, rows, writer};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How much data is transformed at once.
const CHUNK: usize = 32 * 1024;

/// A COPY of something protected that was sent.
#[derive(Clone)]
pub(super) struct Copy {
    pub(super) plan: Arc<CopyPlan>,
    pub(super) keys: Option<Arc<Keys>>,
}

/// Its data on the way.
pub(super) struct Copying {
    copy: Copy,
    stream: Stream,
}

/// A COPY from the client that runs.
pub(super) enum CopyIn {
    /// Its data passes.
    Plain,
    /// Its data is transformed.
    Cells(Box<Copying>),
}

impl State {
    /// The server begins a COPY, from the client (`G`) or to it (`H`).
    pub(super) fn copy_begins(&mut self, tag: u8, copy: Option<Copy>) -> Result<(), Fault> {
        let from = tag == b'G';
        let copying = match copy {
            Some(copy) if copy.plan.from != from => {
                return Err(Fault::server("a COPY in the other direction"));
            }
            Some(copy) => {
                let direction = if from {
                    Direction::In { end_marker: self.parameters.csv_ends }
                } else {
                    Direction::Out
                };
                let layout = Arc::clone(&copy.plan.layout);
                let stream = Stream::new(layout, direction, self.environment.max_message);
                Some(Box::new(Copying { copy, stream }))
            }
            None => None,
        };
        if from {
            self.spare_syncs += self.queue.copy_begins();
            self.copying_in = Some(copying.map_or(CopyIn::Plain, CopyIn::Cells));
        } else {
            self.copying_out = copying;
        }
        Ok(())
    }

    /// A CopyData of the client.
    pub(super) fn copy_data_begins(
        &mut self,
        head: frame::Head,
        splice: &mut Splice<'_, '_>,
    ) -> Result<(), Turn> {
        let (left, fate) = match &self.copying_in {
            Some(CopyIn::Plain) => (head.size, Fate::Passes),
            Some(CopyIn::Cells(_)) => {
                splice.replace(frame::HEAD);
                (head.size - frame::HEAD, Fate::Copied)
            }
            None => {
                // With nothing to be answered, no COPY can begin: the server would pass over it, too.
                self.settle(splice)?;
                (head.size, Fate::Dropped)
            }
        };
        self.from_client = Streamed { left, fate };
        Ok(())
    }

    /// Data of a protected COPY, as much as has arrived: one burst for all of it.
    pub(super) fn copy_data(&mut self, splice: &mut Splice<'_, '_>) -> Result<(), Fault> {
        let Some(CopyIn::Cells(copying)) = &mut self.copying_in else { return Ok(()) };
        splice.make_room();
        splice.burst = None;
        let Copying { copy, stream } = copying.as_mut();
        let settings = &self.parameters.values;
        let shares = &self.environment.shares;
        let burst = copy.keys.as_ref().map(|keys| shares.burst(&keys.live, &keys.application));
        let mut seal = sealing(&copy.plan, burst, settings);
        let mut failed = None;
        let left = &mut self.from_client.left;
        while splice.waiting() < BOUND && failed.is_none() {
            let rest = splice.rest();
            if *left == 0 {
                let data = |head: &frame::Head| head.tag == b'd' && head.size <= LARGE_MESSAGE;
                let Some(head) = frame::head(rest)?.filter(data) else { break };
                splice.replace(frame::HEAD);
                *left = head.size - frame::HEAD;
                continue;
            }
            let count = rest.len().min(*left).min(CHUNK);
            let Some(bytes) = rest.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            *left -= count;
            failed = data(splice.replace(count), |out| stream.feed(bytes, &mut seal, out))?.err();
        }
        drop(seal);
        match failed {
            Some(error) => self.fail_copy(error, splice),
            None => Ok(()),
        }
    }

    /// CopyDone or CopyFail: the end of the COPY that runs.
    pub(super) fn copy_ends(
        &mut self,
        head: frame::Head,
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        if self.copying_in.is_none()
            && let Err(turn) = self.settle(splice)
        {
            return Ok(Done::Not(turn));
        }
        match self.copying_in.take() {
            None => {
                splice.replace(head.size);
            }
            Some(CopyIn::Plain) => splice.pass(head.size),
            Some(CopyIn::Cells(_)) if head.tag == b'f' => {
                splice.replace(head.size);
                // The reason that the client gives may quote a value, and would be logged.
                let message = "COPY from stdin failed: the client ended it";
                self.fail_copy(ClientError::new("57014", message, ""), splice)?;
            }
            Some(CopyIn::Cells(mut copying)) => {
                splice.burst = None;
                let out = splice.replace(head.size);
                let Copying { copy, stream } = copying.as_mut();
                let keys = copy.keys.as_ref();
                let burst = keys.map(|keys| self.environment.shares.burst(&keys.live, &keys.application));
                let mut seal = sealing(&copy.plan, burst, &self.parameters.values);
                let finished = data(out, |out| stream.finish(&mut seal, out))?;
                drop(seal);
                match finished {
                    Ok(()) => splice.replace(0).extend_from_slice(frontend::COPY_DONE),
                    Err(error) => self.fail_copy(error, splice)?,
                }
            }
        }
        Ok(Done::Yes)
    }

    /// Ends the COPY from this side: the rest of its data is held until the server has said so, and
    /// then goes nowhere.
    pub(super) fn fail_copy(&mut self, error: ClientError, splice: &mut Splice<'_, '_>) -> Result<(), Fault> {
        self.copying_in = None;
        self.from_client.fate = Fate::Dropped;
        self.copy_refusal = Some(Box::new(error));
        Ok(frontend::copy_fail(splice.replace(0))?)
    }

    /// An error has come: no COPY runs any more. Returns what to say in its place if it says that
    /// the proxy ended the COPY; what the server found wrong before that stands.
    pub(super) fn copy_ended(&mut self, body: &[u8]) -> Option<Box<ClientError>> {
        self.copying_in = None;
        self.copying_out = None;
        let ours = memchr::memmem::find(body, frontend::REFUSED).is_some();
        self.copy_refusal.take().filter(|_| ours)
    }

    /// The server has sent all data of a COPY.
    pub(super) fn copy_out_ends(&mut self) -> Result<(), Fault> {
        let Some(mut copying) = self.copying_out.take() else { return Ok(()) };
        let mut rest = Vec::new();
        let mut none = |_: usize, _: &[u8], _: &mut Vec<u8>| Ok(());
        copying.stream.finish(&mut none, &mut rest).map_err(|error| Fault::from(error).into_fatal())?;
        if rest.is_empty() { Ok(()) } else { Err(Fault::server("COPY data that ends within a row")) }
    }

    /// Rows of a COPY with cells, as many as have arrived whole: one burst for all of them.
    pub(super) fn copy_rows(&mut self, splice: &mut Splice<'_, '_>) -> Result<(), Fault> {
        let Some(copying) = &mut self.copying_out else { return Ok(()) };
        splice.make_room();
        splice.burst = None;
        let Copying { copy, stream } = copying.as_mut();
        let shares = &self.environment.shares;
        let burst = copy.keys.as_ref().map(|keys| shares.burst(&keys.live, &keys.application));
        let mut open = opening(&copy.plan, burst, &self.parameters.values);
        let mut access = self.queue.front().and_then(|entry| entry.access.as_mut());
        while splice.waiting() < BOUND {
            let rest = splice.rest();
            let Some(head) = frame::head(rest)?.filter(|head| head.tag == b'd') else { break };
            let Some(body) = rest.get(frame::HEAD..head.size) else { break };
            data(splice.replace(head.size), |out| stream.feed(body, &mut open, out))?
                .map_err(|error| Fault::from(error).into_fatal())?;
            if let Some(access) = &mut access {
                // The server sends each row by itself.
                access.count(1);
            }
        }
        Ok(())
    }
}

/// Appends a CopyData with what `write` appends, if that is anything. After an error, what it had
/// appended before is data all the same.
fn data(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>,
) -> Result<Result<(), ClientError>, Fault> {
    let start = out.len();
    let mut written = Ok(());
    writer::message(out, b'd', |out| {
        written = write(out);
        Ok::<(), Fault>(())
    })?;
    if out.len() == start + frame::HEAD {
        out.truncate(start);
    }
    Ok(written)
}

fn no_keys() -> ClientError {
    ClientError::new(sqlstate::INVALID_AUTHORIZATION, "no user share", "")
}

/// Values of the client, as the copy's format has them, into cells.
fn sealing<'c>(
    plan: &'c CopyPlan,
    mut burst: Option<Burst>,
    settings: &'c Settings,
) -> impl FnMut(usize, &[u8], &mut Vec<u8>) -> Result<(), ClientError> + 'c {
    let mut canonical = Zeroizing::new(Vec::new());
    move |index, value, cell| {
        let column = plan.cells.get(index).and_then(Option::as_ref).ok_or_else(no_keys)?;
        canonical.clear();
        if plan.layout.format == Format::Binary {
            value::from_binary(&column.logical, 0, value, Purpose::Assign, settings, &mut canonical)?;
        } else {
            value::from_text(&column.logical, value, Purpose::Assign, settings, &mut canonical)?;
        }
        burst.as_mut().ok_or_else(no_keys)?.seal(column, &canonical, cell)
    }
}

/// Cells of the server into values, as the copy's format has them.
fn opening<'c>(
    plan: &'c CopyPlan,
    mut burst: Option<Burst>,
    settings: &'c Settings,
) -> impl FnMut(usize, &[u8], &mut Vec<u8>) -> Result<(), ClientError> + 'c {
    let (mut cell, mut canonical) = (Vec::new(), Zeroizing::new(Vec::new()));
    move |index, value, shown| {
        let column = plan.cells.get(index).and_then(Option::as_ref).ok_or_else(no_keys)?;
        let burst = burst.as_mut().ok_or_else(no_keys)?;
        canonical.clear();
        if plan.layout.format == Format::Binary {
            burst.open(column, value, &mut canonical)?;
            return value::to_binary(&column.logical, &canonical, shown);
        }
        cell.clear();
        let hex = rows::bytea(value, bind::Format::Text, &mut cell).map_err(|_| {
            ClientError::new(
                sqlstate::DATA_CORRUPTED,
                format!("column \"{}\" is not a bytea", column.name),
                "",
            )
        })?;
        burst.open(column, &cell, &mut canonical)?;
        if !hex && column.logical.oid() == super::results::BYTEA {
            rows::escape(&canonical, shown);
            return Ok(());
        }
        value::to_text(&column.logical, &canonical, settings, shown)
    }
}
