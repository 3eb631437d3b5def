//! Many rows at once: fetched by a query, copied in, copied out; by a client of our own, which counts them.

use super::data::PEOPLE;
use super::load::Bulk;
use super::sample::Seen;
use super::variant::{Protection, Variant, Way};
use crate::endpoint::Endpoint;
use crate::{Error, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};

/// Rows of one fetch.
const FETCHED: u32 = 10_000;
/// What is sent at once of a COPY, as psql does it.
const PIECE: usize = 8192;
const ALL_PEOPLE: &str = "COPY people (id, name, ssn, born) TO STDOUT";

/// Passes over the table until the time is over, one at least.
pub(super) fn run(bulk: Bulk, variant: &Variant, seconds: u32) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut pass = Pass::prepare(bulk, variant).await?;
        let start = Instant::now();
        let (mut latencies, mut spent) = (Vec::new(), Duration::ZERO);
        while latencies.is_empty() || start.elapsed() < Duration::from_secs(seconds.into()) {
            pass.clear().await?;
            let begun = Instant::now();
            pass.run().await?;
            // As if it had been of all rows.
            let taken = begun.elapsed() * pass.full / pass.rows;
            spent += taken;
            latencies.push(u64::try_from(taken.as_micros()).unwrap_or(u64::MAX));
        }
        let operations = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
        latencies.sort_unstable();
        Ok(Seen {
            operations,
            rate: f64::from(pass.full) * operations as f64 / spent.as_secs_f64(),
            latencies,
        })
    })
}

/// One connection, and what is done on it over and over.
struct Pass {
    client: Client,
    bulk: Bulk,
    protection: Protection,
    /// Whether values come, and not cells.
    opened: bool,
    /// How many rows there are in a pass, and how many it counts for.
    rows: u32,
    full: u32,
    fetch: Option<Statement>,
    input: Bytes,
}

impl Pass {
    async fn prepare(bulk: Bulk, variant: &Variant) -> Result<Self> {
        let client = connect(&variant.config()).await?;
        let protection = variant.way.protection();
        let full = if bulk == Bulk::Fetch { FETCHED } else { PEOPLE };
        // pgcrypto would take minutes.
        let rows = if protection == Protection::Pgcrypto { full / 10 } else { full };
        let fetch = match bulk {
            Bulk::Fetch => Some(client.prepare(&people(protection, rows)).await?),
            _ => None,
        };
        if bulk == Bulk::CopyIn && protection.is_by_statement() {
            client
                .batch_execute("CREATE TEMP TABLE staging (id int, name text, ssn text, born date)")
                .await?;
        }
        let input = match bulk {
            Bulk::CopyIn if variant.way == Way::Cells => stored(&client).await?,
            Bulk::CopyIn => input(rows),
            _ => Bytes::new(),
        };
        let opened = variant.way != Way::Cells;
        Ok(Self { client, bulk, protection, opened, rows, full, fetch, input })
    }

    async fn clear(&self) -> Result<()> {
        if self.bulk == Bulk::CopyIn {
            self.client.batch_execute("TRUNCATE arrivals").await?;
            if self.protection.is_by_statement() {
                self.client.batch_execute("TRUNCATE staging").await?;
            }
        }
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let found = match (self.bulk, &self.fetch) {
            (Bulk::Fetch, Some(statement)) => fetch(&self.client, statement, self.opened).await?,
            (Bulk::CopyIn, _) => self.copy_in().await?,
            _ => {
                let text = if self.protection.is_by_statement() {
                    format!("COPY ({}) TO STDOUT", people(self.protection, self.rows))
                } else {
                    ALL_PEOPLE.to_owned()
                };
                copy_out(&self.client, &text, self.opened).await?
            }
        };
        if found == u64::from(self.rows) {
            return Ok(());
        }
        Err(Error::new(format!("{:?} of {} rows came to {found}", self.bulk, self.rows)))
    }

    async fn copy_in(&self) -> Result<u64> {
        let protection = self.protection;
        if !protection.is_by_statement() {
            return copy_in(&self.client, "COPY arrivals (id, name, ssn, born) FROM STDIN", &self.input)
                .await;
        }
        copy_in(&self.client, "COPY staging FROM STDIN", &self.input).await?;
        let [name, born] = ["name", "born"].map(|column| protection.randomized(column));
        let ssn = protection.deterministic("ssn");
        let text = format!("INSERT INTO arrivals SELECT id, {name}, {ssn}, {born} FROM staging");
        Ok(self.client.execute(&text, &[]).await?)
    }
}

fn people(protection: Protection, rows: u32) -> String {
    let (name, born) = (protection.read("name", "text"), protection.read("born", "date"));
    let ssn = protection.read_deterministic("ssn");
    format!("SELECT id, {name}, {ssn}, {born} FROM people WHERE id <= {rows}")
}

/// Lines of COPY's text format.
fn input(rows: u32) -> Bytes {
    let mut text = String::new();
    for row in 1..=rows {
        let day = row % 28 + 1;
        text += &format!("{row}\tMargarete Weber {row}\t{}\t1961-02-{day:02}\n", 100_000_000 + row);
    }
    Bytes::from(text)
}

/// The same of what is in the table.
async fn stored(client: &Client) -> Result<Bytes> {
    let mut pieces = pin!(client.copy_out(ALL_PEOPLE).await?);
    let mut lines = Vec::new();
    while let Some(piece) = pieces.next().await {
        lines.extend_from_slice(&piece?);
    }
    Ok(Bytes::from(lines))
}

pub(super) async fn connect(config: &Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    // Its end, good or bad, shows on the client.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// How names begin.
const NAME: &[u8] = b"Margarete Weber ";
/// How social security numbers do.
const SSN: &[u8] = b"100";

/// Counts rows; where values are to be `opened`, those that are what they ought to be.
async fn fetch(client: &Client, statement: &Statement, opened: bool) -> Result<u64> {
    let mut rows = pin!(client.query_raw(statement, Vec::<i32>::new()).await?);
    let mut count = 0;
    while let Some(row) = rows.next().await {
        let row = row?;
        let (Sent(name), Sent(ssn), Sent(born)) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let is_right = name.starts_with(NAME) && ssn.starts_with(SSN) && born.len() == size_of::<i32>();
        count += u64::from(!opened || is_right);
    }
    Ok(count)
}

/// A value as it is sent, of whatever type.
struct Sent<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Sent<'a> {
    fn from_sql(
        _: &Type,
        value: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(value))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Counts lines; where values are to be `opened`, those that are what they ought to be.
async fn copy_out(client: &Client, text: &str, opened: bool) -> Result<u64> {
    let mut pieces = pin!(client.copy_out(text).await?);
    let mut rows = 0;
    while let Some(piece) = pieces.next().await {
        let line = piece?;
        let mut fields = line.split(|byte| *byte == b'\t').skip(1);
        let mut begins = |with| fields.next().is_some_and(|field| field.starts_with(with));
        rows +=
            u64::from(line.ends_with(b"\n") && (!opened || (begins(NAME) && begins(SSN) && begins(b"19"))));
    }
    Ok(rows)
}

async fn copy_in(client: &Client, text: &str, input: &Bytes) -> Result<u64> {
    let mut sink = pin!(client.copy_in::<_, Bytes>(text).await?);
    let mut rest = input.clone();
    while !rest.is_empty() {
        sink.feed(rest.split_to(PIECE.min(rest.len()))).await?;
    }
    Ok(sink.finish().await?)
}

/// Copies a table from one database into another.
pub(super) fn copy_between(from: &Endpoint, to: &Endpoint, table: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (from, to) = (from.connect().await?, to.connect().await?);
        let mut pieces = pin!(from.copy_out(&format!("COPY {table} TO STDOUT")).await?);
        let mut sink = pin!(to.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN")).await?);
        while let Some(piece) = pieces.next().await {
            sink.feed(piece?).await?;
        }
        sink.finish().await?;
        Ok(())
    })
}

/// Reads what a query returns, and counts it, until it ends or is to stop.
pub(super) async fn drain(client: &Client, text: &str, stop: &AtomicBool, rows: &AtomicU64) -> Result<()> {
    let mut stream = pin!(client.query_raw(text, Vec::<i32>::new()).await?);
    while let Some(row) = stream.next().await {
        drop(row?);
        rows.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Ok(())
}
