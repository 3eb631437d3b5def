//! A client that writes, reads back and compares, and begins again whenever its connection is lost.

use super::ledger::Ledger;
use crate::endpoint::Endpoint;
use crate::frontend::{Frame, Frontend, bind, sqlstate};
use crate::{Error, Result};
use postgres_protocol::message::frontend;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const INSERT: &str = "INSERT INTO ledger (id, name, ssn, amount) VALUES ($1, $2, $3, $4)";
const UPDATE: &str = "UPDATE ledger SET name = $2, ssn = $3, amount = $4 WHERE id = $1";
const FIND: &str = "SELECT id, name, ssn, amount FROM ledger WHERE ssn = $1";

/// What becomes of a connection.
enum Trouble {
    /// It is lost: what it was asked last may have happened.
    Lost,
    /// A promise is broken.
    Broken(Error),
}

type Outcome = std::result::Result<(), Trouble>;

impl From<Error> for Trouble {
    fn from(_: Error) -> Self {
        // Whatever the harness's connection reports is the end of the connection.
        Self::Lost
    }
}

/// Works until told to stop. An error if anything is other than it must be.
pub(super) fn run(number: u64, endpoint: &Endpoint, stop: &AtomicBool) -> Result<Ledger> {
    let mut ledger = Ledger::new(number);
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while !stop.load(Ordering::Acquire) {
        let Ok(mut client) = Frontend::connect(endpoint, &[]) else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        loop {
            if stop.load(Ordering::Acquire) {
                return Ok(ledger);
            }
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match turn(&mut client, &mut ledger, random) {
                Ok(()) => {}
                Err(Trouble::Broken(error)) => return Err(error),
                Err(Trouble::Lost) => break,
            }
        }
        ledger.reconnected += 1;
    }
    Ok(ledger)
}

fn turn(client: &mut Frontend, ledger: &mut Ledger, random: u64) -> Outcome {
    let known = ledger.certain(random >> 8);
    match (random % 4, known) {
        (0, _) | (_, None) => {
            let id = ledger.create();
            write(client, ledger, INSERT, id)
        }
        (1, Some(id)) => write(client, ledger, UPDATE, id),
        (_, Some(id)) => {
            let second = ledger.certain(random >> 24).unwrap_or(id);
            read(client, ledger, [id, second])
        }
    }
}

fn write(client: &mut Frontend, ledger: &mut Ledger, text: &str, id: u64) -> Outcome {
    let version = ledger.begin(id);
    let key = id.to_string();
    let values = Ledger::values(id, version);
    let parameters: Vec<Option<&[u8]>> = [key.as_str()]
        .into_iter()
        .chain(values.iter().map(String::as_str))
        .map(|text| Some(text.as_bytes()))
        .collect();
    let frames = client.extended(text, &parameters, false)?;
    match sqlstate(&frames) {
        None if frames.iter().any(|frame| frame.tag == b'C') => {
            ledger.acknowledged(id, version);
            Ok(())
        }
        None => Err(Trouble::Broken(Error::new("a write without an answer"))),
        Some(state) => {
            // What the server itself has refused is not there; of a lost server nobody knows.
            if !is_loss(&state) {
                ledger.refused(id, version);
            }
            Err(judge(&state, &frames))
        }
    }
}

/// Two questions in one go, each answered by its own row.
fn read(client: &mut Frontend, ledger: &mut Ledger, ids: [u64; 2]) -> Outcome {
    let asked: Vec<(u64, String)> =
        ids.into_iter().filter_map(|id| Some((id, Ledger::ssn(id, ledger.version(id)?)))).collect();
    client.send(|buffer| {
        for (_, ssn) in &asked {
            frontend::parse("", FIND, [], buffer)?;
            bind("", "", &[Some(ssn.as_bytes())], false, false, buffer)?;
            frontend::execute("", 0, buffer)?;
            frontend::sync(buffer);
        }
        Ok::<_, Error>(())
    })?;
    for (id, _) in asked {
        let frames = client.until_ready()?;
        if let Some(state) = sqlstate(&frames) {
            return Err(judge(&state, &frames));
        }
        let rows: Vec<&Frame> = frames.iter().filter(|frame| frame.tag == b'D').collect();
        let [row] = rows.as_slice() else {
            return Err(Trouble::Broken(Error::new(format!("{} rows for row {id}", rows.len()))));
        };
        let columns: Vec<Option<String>> = row
            .columns()
            .into_iter()
            .map(|column| column.map(|text| String::from_utf8_lossy(&text).into_owned()))
            .collect();
        ledger.seen(id, &columns).map_err(Trouble::Broken)?;
    }
    Ok(())
}

/// What is said while a server or proxy goes down or comes up: connection exceptions, shutdown, no room.
fn is_loss(state: &str) -> bool {
    state.starts_with("08") || state.starts_with("57P") || matches!(state, "53300" | "58000")
}

fn judge(state: &str, frames: &[Frame]) -> Trouble {
    if is_loss(state) {
        return Trouble::Lost;
    }
    let error = frames.iter().find(|frame| frame.tag == b'E');
    let says = error.and_then(|frame| frame.field(b'M')).unwrap_or_default();
    Trouble::Broken(Error::new(format!("{state}: {says}")))
}
