//! What the client says: each message passes, is rewritten, or a stand-in goes in its place.

use super::fault::Fault;
use super::pending::Kind;
use super::splice::Splice;
use super::state::{BOUND, Fate, State, Streamed, Turn};
use crate::error::{ClientError, Code, sqlstate};
use crate::wire::frontend::{self, StandIn};
use crate::wire::{Malformed, frame};
use trefoil_keys::carrier::message as key_message;
use trefoil_keys::panics::panic_point;

/// Longest message that PostgreSQL accepts where neither text nor values are in it.
const SMALL_MESSAGE: usize = 10_000;
/// Longest of all that it accepts, with its type byte (`PQ_LARGE_MESSAGE_LIMIT`).
pub(super) const LARGE_MESSAGE: usize = 0x3fff_ffff;

/// What became of a message.
pub(super) enum Done {
    /// It is treated.
    Yes,
    /// It has to wait.
    Not(Turn),
}

impl State {
    /// Treats what the client has sent. Returns how many bytes are done with.
    pub(super) fn frontend(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Result<Turn, Fault>) {
        let mut splice = Splice::new(input, out);
        let turn = self.frontend_messages(&mut splice);
        (splice.finish(), turn)
    }

    fn frontend_messages(&mut self, splice: &mut Splice<'_, '_>) -> Result<Turn, Fault> {
        loop {
            if splice.waiting() >= BOUND {
                return Ok(Turn::Blocked);
            }
            let rest = splice.rest();
            if self.from_client.left > 0 {
                if rest.is_empty() {
                    return Ok(Turn::More);
                }
                if self.from_client.fate == Fate::Copied && self.copying_in.is_some() {
                    self.copy_data(splice)?;
                    continue;
                }
                let count = rest.len().min(self.from_client.left);
                self.from_client.left -= count;
                match self.from_client.fate {
                    Fate::Passes => splice.pass(count),
                    _ => {
                        splice.replace(count);
                    }
                }
                continue;
            }
            if self.queue.is_full() {
                // Without a Sync the server may keep its replies.
                self.flush(splice);
                return Ok(Turn::Blocked);
            }
            let Some(head) = frame::head(rest)? else { return Ok(Turn::More) };
            let body = rest.get(frame::HEAD..head.size);
            if !self.ready {
                match (head.tag, body) {
                    (b'X', Some(_)) => {
                        splice.pass(head.size);
                        return Ok(Turn::Terminated);
                    }
                    (b'X', None) if head.size <= SMALL_MESSAGE => return Ok(Turn::More),
                    (b'X', None) => return Err(Malformed::TooLong.into()),
                    _ => return Ok(Turn::Blocked),
                }
            }
            self.check_size(head)?;
            if self.skipping && !matches!(head.tag, b'S' | b'X' | key_message::TYPE) {
                // The server passes over it: so does this side, and nothing changes.
                self.from_client = Streamed { left: head.size, fate: Fate::Dropped };
                continue;
            }
            if head.tag == b'd' {
                match self.copy_data_begins(head, splice) {
                    Ok(()) => continue,
                    Err(turn) => return Ok(turn),
                }
            }
            let Some(body) = body else {
                match head.tag {
                    b'B' if self.stream_bind(rest)? => {
                        self.from_client = Streamed { left: head.size, fate: Fate::Passes };
                    }
                    _ => return Ok(Turn::More),
                }
                continue;
            };
            match self.message(head, body, splice)? {
                Done::Yes => self.flushed = false,
                Done::Not(turn) => return Ok(turn),
            }
            if head.tag == b'X' {
                return Ok(Turn::Terminated);
            }
        }
    }

    fn check_size(&self, head: frame::Head) -> Result<(), Malformed> {
        let limit = match head.tag {
            b'd' | b'B' => LARGE_MESSAGE,
            b'Q' | b'P' | b'F' => self.environment.max_message,
            key_message::TYPE if self.presented.extension => key_message::MAX_BODY + frame::HEAD,
            b'D' | b'E' | b'C' | b'S' | b'H' | b'X' | b'c' | b'f' => SMALL_MESSAGE + frame::HEAD,
            _ => return Err(Malformed::Field("type")),
        };
        if head.size <= limit { Ok(()) } else { Err(Malformed::TooLong) }
    }

    fn message(
        &mut self,
        head: frame::Head,
        body: &[u8],
        splice: &mut Splice<'_, '_>,
    ) -> Result<Done, Fault> {
        if self.copying_in.is_some() && b"QPBDECF".contains(&head.tag) {
            // The server fails the COPY over such a message, and does without it.
            splice.replace(head.size);
            let message = format!("unexpected message type 0x{:02X} during COPY from stdin", head.tag);
            self.fail_copy(ClientError::new(sqlstate::PROTOCOL_VIOLATION, message, ""), splice)?;
            return Ok(Done::Yes);
        }
        let waits = self.before_copy || (self.renaming && head.tag != b'F');
        if waits && b"QPBDECF".contains(&head.tag) {
            if let Err(turn) = self.settle(splice) {
                return Ok(Done::Not(turn));
            }
            (self.renaming, self.before_copy) = (false, false);
        }
        panic_point("session.message", body);
        let done = self.treat(head, body, splice)?;
        self.inside |= matches!(done, Done::Yes) && b"PBDEC".contains(&head.tag);
        Ok(done)
    }

    fn treat(&mut self, head: frame::Head, body: &[u8], splice: &mut Splice<'_, '_>) -> Result<Done, Fault> {
        match head.tag {
            b'Q' => return self.query(head.size, body, splice),
            b'P' => return self.parse(head.size, body, splice),
            b'B' => return self.bind(head.size, body, splice),
            b'D' => return self.describe(head.size, body, splice),
            b'E' => return self.execute(head.size, body, splice),
            b'C' => self.close(body)?,
            b'S' => {
                if self.copying_in.is_some() {
                    self.spare_syncs += 1;
                } else {
                    self.queue.push(Kind::Sync { segment: self.segment });
                    self.end_segment(splice);
                }
                self.skipping = false;
            }
            b'F' => {
                frontend::stand_in(splice.replace(head.size), StandIn::FunctionCall, b"")?;
                let refusal = ClientError::refused(
                    Code::FunctionCall,
                    "function calls by the FunctionCall message are not supported",
                    "Call the function in a SELECT.",
                );
                self.queue.push_refused(Kind::FunctionCall { segment: self.segment }, refusal);
                self.end_segment(splice);
                return Ok(Done::Yes);
            }
            b'c' | b'f' => return self.copy_ends(head, splice),
            key_message::TYPE => {
                self.wipe = true;
                self.presented.message(body).map_err(|error| Fault::from(error).into_fatal())?;
                splice.replace(head.size);
                return Ok(Done::Yes);
            }
            // Flush, Terminate.
            _ => {}
        }
        splice.pass(head.size);
        Ok(Done::Yes)
    }

    /// The request's last message is treated.
    pub(super) fn end_segment(&mut self, splice: &mut Splice<'_, '_>) {
        splice.burst = None;
        self.segment += 1;
        self.inside = false;
        self.presented.request_ended();
    }
}
