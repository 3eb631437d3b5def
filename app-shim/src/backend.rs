//! The proxy's messages on their way to the application: looks at the few that tell how a
//! transaction goes, and changes none.

use crate::frontend::Frontend;
use crate::startup::{Fatal, is_refusal};
use trefoil_link::MAX_PACKET;

/// Bytes within which the command tags that matter end, their NUL included.
const TAG: usize = 24;

/// Where in the stream of messages we are.
#[derive(Default)]
pub(crate) struct Backend {
    passing: usize,
    started: bool,
}

impl Backend {
    /// Whether the server has been ready for a request.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether everything seen so far ends with a whole message.
    pub(crate) fn between_messages(&self) -> bool {
        self.passing == 0
    }

    /// Scans what has arrived and says how much of it may be passed on.
    pub(crate) fn scan(&mut self, arrived: &[u8], frontend: &mut Frontend) -> Result<usize, Fatal> {
        let mut rest = arrived;
        loop {
            let (_, after) = rest.split_at(self.passing.min(rest.len()));
            self.passing -= rest.len() - after.len();
            rest = after;
            let Some((&[kind, a, b, c, d], body)) = rest.split_first_chunk::<5>() else { break };
            let length = u32::from_be_bytes([a, b, c, d]).checked_sub(4).ok_or(Fatal::PROTOCOL)?;
            let length = usize::try_from(length).map_err(|_| Fatal::PROTOCOL)?;
            let needed = match kind {
                b'Z' | b'v' if length > MAX_PACKET => return Err(Fatal::PROTOCOL),
                b'Z' | b'v' => length,
                b'C' => length.min(TAG),
                _ => 0,
            };
            let Some(body) = body.get(..needed) else { break };
            match kind {
                b'Z' => {
                    self.started = true;
                    frontend.ready(body.first().copied().unwrap_or_default());
                }
                b'v' if !self.started && is_refusal(body) => return Err(Fatal::NOT_TREFOIL),
                b'C' => frontend.completed(body.strip_suffix(b"\0").unwrap_or_default()),
                b'E' => frontend.failed(),
                b'1' | b'3' => frontend.done(),
                _ => {}
            }
            self.passing = length + 5;
        }
        Ok(arrived.len() - rest.len())
    }
}
