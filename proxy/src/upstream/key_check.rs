//! `trefoil.key_check` in the database: by which tenant key its cells are encrypted. The first proxy
//! that meets a protected table writes it; every later one compares, so that a database never gets
//! cells of two keys unnoticed.

use std::collections::BTreeMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};
use trefoil_keys::bundle::CheckValue;

const EXISTS: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'trefoil' AND c.relname = 'key_check')";

const CREATE: [&str; 2] = [
    "CREATE SCHEMA IF NOT EXISTS trefoil",
    "CREATE TABLE IF NOT EXISTS trefoil.key_check
       (keyspace text, epoch int, value bytea NOT NULL, PRIMARY KEY (keyspace, epoch))",
];

const WRITE: &str =
    "INSERT INTO trefoil.key_check (keyspace, epoch, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

const READ: &str = "SELECT value FROM trefoil.key_check WHERE keyspace = $1 AND epoch = $2";

/// What the database says about the tenant keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same as the proxy's bundle, as far as it says anything.
    Agrees,
    /// It was encrypted under another tenant key.
    Differs,
}

/// Compares with the database's check values, and writes those that are missing if `write`.
pub(super) async fn verify(
    client: &Client,
    own: &BTreeMap<String, CheckValue>,
    write: bool,
) -> Result<Verdict, Error> {
    let exists: bool = client.query_one(EXISTS, &[]).await?.try_get(0)?;
    if !exists && !write {
        return Ok(Verdict::Agrees);
    }
    let outcome = compare(client, own, exists, write).await;
    match outcome {
        Err(error) if is_withheld(&error) => {
            tracing::warn!(
                sqlstate = error.code().map(SqlState::code),
                "trefoil.key_check cannot be read or written: allow the catalog user CREATE on the database; \
                 going by the bundle's check values alone"
            );
            Ok(Verdict::Agrees)
        }
        outcome => outcome,
    }
}

async fn compare(
    client: &Client,
    own: &BTreeMap<String, CheckValue>,
    exists: bool,
    write: bool,
) -> Result<Verdict, Error> {
    if !exists {
        for statement in CREATE {
            create(client, statement).await?;
        }
    }
    for (keyspace, check) in own {
        let epoch = i32::from(check.epoch);
        let mut row = client.query_opt(READ, &[keyspace, &epoch]).await?;
        if row.is_none() && write {
            client.execute(WRITE, &[keyspace, &epoch, &check.value]).await?;
            row = client.query_opt(READ, &[keyspace, &epoch]).await?;
        }
        if let Some(row) = row
            && row.try_get::<_, &[u8]>(0)? != check.value
        {
            return Ok(Verdict::Differs);
        }
    }
    Ok(Verdict::Agrees)
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
