//! Whether a database holds cells, of whatever tenant.

use crate::policy::catalog::{Catalog, Kind, Relation};
use crate::policy::{Policy, ProtectedColumn, TablePolicy};
use std::collections::BTreeSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

const BYTEA: u32 = 17;

/// A look that finds nothing takes a pass over a table.
const BEFORE: &str = "SET row_security = off; SET statement_timeout = '5s'";
const AFTER: &str = "RESET statement_timeout";

/// Those of these tables that are not certainly empty, which needs no privilege on them. What is
/// elsewhere has no size here.
const NOT_EMPTY: &str = "
    SELECT oid FROM pg_catalog.pg_class
     WHERE oid = ANY ($1) AND (relkind = 'f' OR pg_catalog.pg_relation_size(oid) > 0)";

/// Whether a protected column of these keyspaces has values, or may have as it cannot be looked at.
pub(super) async fn may_be(
    client: &Client,
    catalog: &Catalog,
    policy: &Policy,
    keyspaces: &BTreeSet<&str>,
) -> Result<bool, Error> {
    let policy = catalog.policy(policy);
    let looks: Vec<_> = catalog
        .relations()
        .filter(|relation| relation.kind == Kind::Table)
        .filter_map(|relation| Some((relation.oid, look(relation, &relation.cells(policy), keyspaces)?)))
        .collect();
    let oids: Vec<u32> = looks.iter().map(|(oid, _)| *oid).collect();
    let rows = client.query(NOT_EMPTY, &[&oids]).await?;
    let filled = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<u32>, _>>()?;
    if filled.is_empty() {
        return Ok(false);
    }
    client.batch_execute(BEFORE).await?;
    let mut found = Ok(false);
    for (_, look) in looks.iter().filter(|(oid, _)| filled.contains(oid)) {
        found = match client.query_one(look, &[]).await {
            Ok(row) => row.try_get(0),
            Err(error) if tells_nothing(&error) => Ok(true),
            Err(error) => Err(error),
        };
        if !matches!(found, Ok(false)) {
            break;
        }
    }
    client.batch_execute(AFTER).await?;
    found
}

/// The query whether a table has a value where a cell would be: not where columns are still in clear.
fn look(relation: &Relation, cells: &TablePolicy, keyspaces: &BTreeSet<&str>) -> Option<String> {
    let asked = |column: &ProtectedColumn| keyspaces.contains(column.keyspace.as_str());
    let columns = relation.columns.iter().flatten();
    let columns: Vec<_> = columns
        .filter(|column| column.type_oid == BYTEA && cells.get(&column.name).is_some_and(|cell| asked(cell)))
        .map(|column| format!("{} IS NOT NULL", quoted(&column.name)))
        .collect();
    let (schema, name) = (quoted(&relation.name.schema), quoted(&relation.name.name));
    let any = columns.join(" OR ");
    (!columns.is_empty()).then(|| format!("SELECT EXISTS (SELECT FROM ONLY {schema}.{name} WHERE {any})"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn tells_nothing(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::QUERY_CANCELED].contains(code))
}
