//! Clients that break off: in the middle of a message, in the middle of a transaction, with replies unread.

use super::ledger::MARKER;
use crate::endpoint::Endpoint;
use crate::frontend::Frontend;
use postgres_protocol::message::frontend;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Breaks connections off until it is told to stop; says how many.
pub(super) fn run(endpoint: &Endpoint, stop: &AtomicBool) -> u64 {
    let mut broken_off = 0;
    for round in 0_usize.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        let Ok(mut client) = Frontend::connect(endpoint, &[]) else {
            thread::sleep(Duration::from_millis(200));
            continue;
        };
        let mut message = bytes::BytesMut::new();
        let text = format!(
            "BEGIN; INSERT INTO ledger VALUES ({}, '{MARKER} half', '{MARKER} half', 1); SELECT * FROM ledger",
            9_000_000_000_000_u64 + u64::try_from(round).unwrap_or_default(),
        );
        if frontend::query(&text, &mut message).is_err() {
            break;
        }
        // Every length from nothing to all of it, in the course of time.
        let sent = round * 7 % (message.len() + 1);
        broken_off += u64::from(client.send_bytes(message.get(..sent).unwrap_or_default()).is_ok());
    }
    broken_off
}
