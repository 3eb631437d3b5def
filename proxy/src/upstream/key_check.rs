//! `trefoil.key_check` in the database: by which tenant key its cells are encrypted. The first proxy
//! that meets a protected table writes it, if there are no cells yet, and remembers that it did; from then
//! on the check value must be there and the same, so that a database never gets cells of two keys unnoticed.

mod cells;
mod command;

pub use command::{WriteCheckValueArguments, run as write_check_value};

use crate::policy::Policy;
use crate::policy::catalog::Catalog;
use crate::state::{SeenDatabase, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};
use trefoil_keys::bundle::CheckValue;

const DATABASE: &str = "
    SELECT oid, datname::text, pg_catalog.to_regclass('trefoil.key_check') IS NOT NULL,
      pg_catalog.has_database_privilege(oid, 'CREATE')
      FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";

const CREATE: [&str; 2] = [
    "CREATE SCHEMA IF NOT EXISTS trefoil",
    "CREATE TABLE IF NOT EXISTS trefoil.key_check
       (keyspace text, epoch int, value bytea NOT NULL, PRIMARY KEY (keyspace, epoch))",
];

const WRITE: &str =
    "INSERT INTO trefoil.key_check (keyspace, epoch, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

const READ: &str = "SELECT keyspace, epoch, value FROM trefoil.key_check";

/// What the database says about the tenant keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same as the proxy, as far as it has to say anything.
    Agrees,
    /// It was encrypted under another tenant key.
    Differs,
    /// It had a check value and has it no longer.
    Missing,
    /// It never had a check value, as far as is known, and may hold cells.
    Unproven,
}

/// What may be done about a check value that was never there.
pub(super) enum Absent<'c> {
    /// There is nothing to protect yet.
    Leave,
    /// Written, whatever the tables hold: they were made through the proxy.
    Write,
    /// Written if the protected tables of this catalog hold no cells of those keyspaces.
    WriteIfEmpty(&'c Catalog, &'c Policy),
}

/// Check values by keyspace and epoch.
type Found = BTreeMap<(String, i32), Vec<u8>>;

/// Compares with the database's check values, and writes those that were never there as `absent` says.
pub(super) async fn verify(
    client: &Client,
    own: &BTreeMap<String, CheckValue>,
    state: Option<&Arc<State>>,
    absent: Absent<'_>,
) -> Result<Verdict, Error> {
    if own.is_empty() {
        return Ok(Verdict::Agrees);
    }
    let row = client.query_one(DATABASE, &[]).await?;
    let (oid, name, exists): (u32, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // What cannot be remembered might have been seen.
    let Ok(seen) = state.map_or(Ok(None), |state| state.seen(oid)) else { return Ok(Verdict::Missing) };
    let seen = seen.map(|seen| seen.epochs).unwrap_or_default();
    // Without the right to write it, a database is served unchecked until it has a check value.
    let writable = exists || row.try_get(3)?;
    let outcome = compare(client, own, &seen, exists, absent, writable).await;
    let found = match outcome {
        Err(error) if is_withheld(&error) => {
            tracing::warn!(
                sqlstate = error.code().map(SqlState::code),
                "trefoil.key_check cannot be read or written: allow the catalog user CREATE on the database"
            );
            return Ok(if seen.is_empty() { Verdict::Agrees } else { Verdict::Missing });
        }
        Err(error) => return Err(error),
        Ok(None) => return Ok(Verdict::Unproven),
        Ok(Some(found)) => found,
    };
    let mut met = seen.clone();
    for (keyspace, check) in own {
        match found.get(&(keyspace.clone(), i32::from(check.epoch))) {
            Some(value) if *value == check.value => {
                met.insert(keyspace.clone(), check.epoch);
            }
            Some(_) => return Ok(Verdict::Differs),
            None if seen.get(keyspace) == Some(&check.epoch) => return Ok(Verdict::Missing),
            None => {}
        }
    }
    if met != seen
        && let Some(state) = state
    {
        remember(state, oid, SeenDatabase { name, epochs: met }).await;
    }
    Ok(Verdict::Agrees)
}

/// None if check values are not there and must not be written.
async fn compare(
    client: &Client,
    own: &BTreeMap<String, CheckValue>,
    seen: &BTreeMap<String, u8>,
    exists: bool,
    absent: Absent<'_>,
    writable: bool,
) -> Result<Option<Found>, Error> {
    let found = if exists { read(client).await? } else { Found::new() };
    let never_seen: Vec<_> = own
        .iter()
        .filter(|(keyspace, check)| {
            seen.get(*keyspace) != Some(&check.epoch)
                && !found.contains_key(&((*keyspace).clone(), i32::from(check.epoch)))
        })
        .collect();
    if never_seen.is_empty() {
        return Ok(Some(found));
    }
    match absent {
        Absent::Leave => return Ok(Some(found)),
        Absent::WriteIfEmpty(catalog, policy)
            if writable && cells::may_be(client, catalog, policy, &names(&never_seen)).await? =>
        {
            return Ok(None);
        }
        Absent::Write | Absent::WriteIfEmpty(..) => {}
    }
    put(client, WRITE, never_seen.into_iter()).await?;
    read(client).await.map(Some)
}

/// The keyspaces of check values.
fn names<'c>(values: &[(&'c String, &'c CheckValue)]) -> BTreeSet<&'c str> {
    values.iter().map(|(keyspace, _)| keyspace.as_str()).collect()
}

async fn read(client: &Client) -> Result<Found, Error> {
    let rows = client.query(READ, &[]).await?;
    rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?))).collect()
}

async fn put<'c>(
    client: &Client,
    statement: &str,
    values: impl Iterator<Item = (&'c String, &'c CheckValue)>,
) -> Result<(), Error> {
    for statement in CREATE {
        create(client, statement).await?;
    }
    for (keyspace, check) in values {
        client.execute(statement, &[keyspace, &i32::from(check.epoch), &check.value]).await?;
    }
    Ok(())
}

/// A database that is not remembered is met anew next time.
async fn remember(state: &Arc<State>, oid: u32, seen: SeenDatabase) {
    let state = Arc::clone(state);
    let remembered = tokio::task::spawn_blocking(move || state.see(oid, &seen)).await;
    if let Ok(Err(error)) = remembered {
        tracing::error!(%error, "not remembered that a database has the tenant key's check value");
    }
}

/// `IF NOT EXISTS` does not help two that create at once: the second sees a duplicate.
async fn create(client: &Client, statement: &str) -> Result<(), Error> {
    match client.batch_execute(statement).await {
        Err(error) if is_duplicate(&error) => Ok(()),
        outcome => outcome,
    }
}

fn is_duplicate(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_TABLE].contains(code)
    })
}

fn is_withheld(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code)
    })
}
