//! A number for the state of a database's catalog: another one after any DDL that plans depend on.
//! It is cheap enough to be asked for every second, so that DDL past the proxy is noticed.

use tokio_postgres::{Client, Error};

/// Each row of the catalog counts by its place and the transaction that wrote it: a committed change
/// of any changes the sum, whichever transaction was first. `age` is taken from a fixed transaction,
/// because a difference of ages stays the same while ages grow.
const FINGERPRINT: &str = "
    WITH now AS MATERIALIZED (SELECT pg_catalog.age('3'::pg_catalog.xid)::pg_catalog.int8 AS at),
    written (class, id, part, by) AS (
      SELECT 1, oid, 0, xmin FROM pg_catalog.pg_namespace
      UNION ALL SELECT 2, oid, 0, xmin FROM pg_catalog.pg_class
        WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
      UNION ALL SELECT 3, attrelid, attnum, xmin FROM pg_catalog.pg_attribute WHERE attrelid >= 16384 AND attnum > 0
      UNION ALL SELECT 4, oid, 0, xmin FROM pg_catalog.pg_rewrite WHERE oid >= 16384
      UNION ALL SELECT 5, oid, 0, xmin FROM pg_catalog.pg_proc WHERE oid >= 16384
      UNION ALL SELECT 6, inhrelid, inhseqno, xmin FROM pg_catalog.pg_inherits
      UNION ALL SELECT 7, oid, 0, xmin FROM pg_catalog.pg_type WHERE oid >= 16384 AND typtype IN ('d', 'e')
      UNION ALL SELECT 8, oid, 0, xmin FROM pg_catalog.pg_enum
      UNION ALL SELECT 9, oid, 0, xmin FROM pg_catalog.pg_trigger
      UNION ALL SELECT 10, oid, 0, xmin FROM pg_catalog.pg_constraint WHERE oid >= 16384)
    SELECT pg_catalog.concat(pg_catalog.count(*), ' ', pg_catalog.sum(
      ((at - pg_catalog.age(by)) & 4294967295) * (1 + (id::pg_catalog.int8 * 31 + part * 17 + class) % 1048573))),
      pg_catalog.pg_current_snapshot()::pg_catalog.text
    FROM written, now";

/// Which transactions have ended. While that stays the same, every row does: all that changes a catalog has a
/// transaction number. A standby does not list which ones run.
const SNAPSHOT: &str = "
    SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_snapshot()::pg_catalog.text END";

/// The state of a catalog.
#[derive(Clone)]
pub(super) struct Fingerprint {
    sum: String,
    /// In which it was read.
    snapshot: String,
}

impl Fingerprint {
    /// Reads it: some ten milliseconds for a thousand tables.
    pub(super) async fn read(client: &Client) -> Result<Self, Error> {
        let row = client.query_one(FINGERPRINT, &[]).await?;
        Ok(Self { sum: row.try_get(0)?, snapshot: row.try_get(1)? })
    }

    /// The state now, where this one was known: read again only if a transaction has ended since that may have
    /// changed something.
    pub(super) async fn read_again(&self, client: &Client) -> Result<Self, Error> {
        let snapshot: Option<String> = client.query_one(SNAPSHOT, &[]).await?.try_get(0)?;
        if snapshot.is_some_and(|now| now == self.snapshot) {
            Ok(self.clone())
        } else {
            Self::read(client).await
        }
    }

    /// Whether plans made by one are good by the other.
    pub(super) fn is_of_same_catalog(&self, other: &Self) -> bool {
        self.sum == other.sum
    }
}
