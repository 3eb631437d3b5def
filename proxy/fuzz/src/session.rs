//! The session's state machine as a whole: a client that says anything in any order, in pieces, and a server
//! that does what PostgreSQL does, or fails, whenever the input has it. The input's first byte says how shares
//! are presented; then each byte is a step, with the bytes that the step takes.
//!
//! Held throughout: no protected value, envelope or share goes to the server, in whatever state it is.

mod client;
mod server;

use super::corpus::TABLES;
use super::tenant::TENANT;
use client::{CARRIERS, Client, STATEMENTS};
use server::Server;
use std::sync::LazyLock;
use trefoil_keys::carrier::Carriers;
use trefoil_proxy::session::fuzzed::{Machine, Setting};

/// What may wait on its way, beside what is held of one message: four buffers of the session's bound.
const BOUND: usize = 1 << 20;

static SETTING: LazyLock<Setting> = LazyLock::new(|| {
    let (policy, catalog) = &*TABLES;
    Setting::new(policy, catalog, &TENANT.shares).expect("no files")
});

/// The rest of the input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// Runs a session; whether it lasted until the input's end.
pub fn run(data: &[u8]) -> bool {
    super::statements::tolerate_the_parsers_panics();
    let mut input = Input(data);
    let how = input.byte();
    let mut session = Session::begin(how);
    while !input.0.is_empty() {
        let step = input.byte();
        match step & 0x1f {
            0..=19 => session.client.says(step & 0x1f, &mut input),
            20..=28 => session.server_treats(&mut input),
            29 => {
                // A server of another mind.
                session.server.honest = false;
                let count = usize::from(input.byte());
                session.replies.extend_from_slice(input.bytes(count));
            }
            30 => session.piece = usize::from(input.byte()) + 1,
            _ => session.piece = usize::MAX,
        }
        if !session.pump() {
            return false;
        }
    }
    true
}

struct Session {
    machine: Machine,
    client: Client,
    server: Server,
    /// From the server, not treated yet.
    replies: Vec<u8>,
    /// To the server, not treated yet.
    upstream: Vec<u8>,
    /// How much of what the client has said arrives at once.
    piece: usize,
    /// What has arrived of it.
    arrived: Vec<u8>,
}

impl Session {
    fn begin(how: u8) -> Self {
        let extension = how & 1 != 0;
        let mut carriers = Carriers::default();
        if how & 2 == 0 {
            for (name, value) in CARRIERS.iter().zip(&TENANT.carriers) {
                carriers.set(name, value.as_bytes()).expect("a carrier");
            }
        }
        let mut session = Self {
            machine: Machine::new(&SETTING, extension, carriers),
            client: Client::new(extension),
            server: Server::new(how & 4 != 0),
            replies: Server::first_words(),
            upstream: Vec::new(),
            piece: usize::MAX,
            arrived: Vec::new(),
        };
        assert!(session.pump() && session.replies.is_empty(), "a session that does not begin");
        session
    }

    /// What arrives is treated, as far as that goes; false once the session has ended.
    fn pump(&mut self) -> bool {
        let mut shown = Vec::new();
        loop {
            let before = (self.replies.len(), self.arrived.len(), self.client.said.len());
            shown.clear();
            let count = self.client.said.len().min(self.piece);
            self.arrived.extend(self.client.said.drain(..count));
            let upstream = self.upstream.len();
            let goes_on = self.machine.backend(&mut self.replies, &mut shown)
                && self.machine.frontend(&mut self.arrived, &mut self.upstream);
            assert!(shown.len() < BOUND && self.upstream.len() - upstream < BOUND, "a buffer without bound");
            self.server.arrives(&self.upstream[upstream..], self.client.framed);
            if !goes_on {
                return false;
            }
            if (self.replies.len(), self.arrived.len(), self.client.said.len()) == before {
                return true;
            }
        }
    }

    fn server_treats(&mut self, input: &mut Input<'_>) {
        let count = usize::from(input.byte() & 7) + 1;
        for fate in input.bytes(count) {
            if !self.server.treats_one(&mut self.upstream, *fate, &mut self.replies) {
                break;
            }
        }
    }
}

/// Each statement by both protocols, as drivers have it, and a COPY with its data.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for number in 0..STATEMENTS.len() {
        let [low, high] = [number & 0xff, number >> 8].map(|byte| u8::try_from(byte).unwrap_or_default());
        let (how, name) = ([0, 1, 4][usize::from(low % 3)], low & 3);
        let presented: &[u8] = if how & 1 == 0 { &[] } else { &[13, 0] };
        let prepares = [2, name, low, high, 0, 6, 0, name, 4, 0, name, low, high, 0, 7, 0, 9];
        let treats_all = [20, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        let ends = [11, 0, 0, 12, 0, 9, 20, 3, 0, 0, 0, 0];
        seeds.push([&[how], presented, &prepares, &treats_all, &ends].concat());
        seeds.push([&[how], presented, &[0, low, high], &treats_all, &ends].concat());
    }
    seeds
}
