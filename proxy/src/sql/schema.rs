//! A catalog from a schema's DDL, for analysis without a database: `pg_dump --schema-only`, or what
//! an application's migrations hold.

use super::path::Path;
use super::resolve::Names;
use super::{Context, analyze, effect, location, views};
use crate::error::{ClientError, sqlstate};
use crate::policy::catalog::{Catalog, Reach, Relation};
use crate::policy::{Policy, QualifiedName};
use std::collections::HashSet;
use std::sync::Arc;

/// The catalog after all of these statements. What is not DDL, and psql's own commands, are passed
/// over. Protected columns may be written with their logical type, or as `bytea`.
pub fn schema(text: &str, policy: &Policy) -> Result<Arc<Catalog>, ClientError> {
    let text = without_psql_commands(text);
    let tree = pg_raw_parse::parse(&text).map_err(|_| not_sql())?;
    let mut catalog = Arc::new(Catalog::empty());
    for raw in tree.iter() {
        let statement = text.get(location::of_statement(&text, raw)).unwrap_or_default();
        let context = Context { policy, catalog: &catalog, prepared: &|_| None, audited: false };
        let after = match analyze(statement.as_bytes(), &context) {
            Ok(plan) => plan.catalog_after,
            // A dump shows protected columns as they are stored.
            Err(_) => {
                let names = Names { policy, catalog: &catalog, path: &Path::new(None) };
                let after = effect::after(raw.stmt(), names, None);
                // A view that is not followed is refused, as the proxy does it.
                let after = if views::makes_view(raw.stmt()) { after.map(reaching(&catalog)) } else { after };
                after.map(Arc::new)
            }
        };
        catalog = after.unwrap_or(catalog);
    }
    Ok(catalog)
}

/// Marks what a catalog has and `before` has not as a relation that reaches protected tables.
fn reaching(before: &Catalog) -> impl FnOnce(Catalog) -> Catalog {
    let known: HashSet<QualifiedName> = before.relations().map(|relation| relation.name.clone()).collect();
    move |mut after| {
        let new: Vec<Arc<Relation>> =
            after.relations().filter(|relation| !known.contains(&relation.name)).cloned().collect();
        for relation in new {
            after.replace(Relation { reach: Reach::Protected, ..relation.as_ref().clone() });
        }
        after
    }
}

/// Blanks out lines such as `\connect`, which pg_dump writes, too.
fn without_psql_commands(text: &str) -> String {
    let lines = text.lines().map(|line| if line.starts_with('\\') { "" } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn not_sql() -> ClientError {
    ClientError::new(
        sqlstate::SYNTAX_ERROR,
        "the schema is not in PostgreSQL's grammar",
        "Write it with pg_dump --schema-only, which leaves out data.",
    )
}
