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
      ((at - pg_catalog.age(by)) & 4294967295) * (1 + (id::pg_catalog.int8 * 31 + part * 17 + class) % 1048573)))
    FROM written, now";

/// Reads it.
pub(super) async fn read(client: &Client) -> Result<String, Error> {
    client.query_one(FINGERPRINT, &[]).await?.try_get(0)
}
