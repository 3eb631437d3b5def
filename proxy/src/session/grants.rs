//! Whether a user has shares in the keyspaces that a statement needs: said before anything of it goes up.
//!
//! A value that becomes a cell, and a column that is written, need the keyspace, and that of the part that
//! its mask shows; so does data of COPY, which is made to be read back. A result that is only read needs
//! it, or the policy says what is shown instead. What the database does with cells alone (join, group,
//! count, test for NULL) needs no key.

use crate::error::ClientError;
use crate::policy::{Denied, ProtectedColumn};
use crate::shares::{LiveEnvelope, not_granted};
use crate::sql::{Naming, Plan, ResultColumn};
use std::iter;
use std::sync::Arc;

/// Refuses what the user's shares do not reach. `cursors` are those that the plan fetches from, and
/// `fetched` their columns. `writes` says that it is not one that only reads.
pub(super) fn check(
    live: &LiveEnvelope,
    plan: &Plan,
    cursors: &[&Plan],
    fetched: &[Arc<[ResultColumn]>],
    writes: bool,
) -> Result<(), ClientError> {
    let need = |column: &ProtectedColumn, keyspace: &str| match live.grants(keyspace)? {
        true => Ok(()),
        false => Err(not_granted(column, keyspace)),
    };
    // A cursor that is declared and fetched in one text is not among the session's yet.
    let declared = plan.statements.iter().filter_map(|statement| match &statement.naming {
        Some(Naming::Declare { plan, .. }) => Some(plan.as_ref()),
        _ => None,
    });
    let run = iter::once(plan).chain(declared);
    for column in
        run.clone().chain(cursors.iter().copied()).flat_map(|plan| plan.sealed().chain(&plan.written))
    {
        need(column, &column.keyspace)?;
        if let Some(last) = column.denied.stored() {
            need(column, &last.keyspace)?;
        }
    }
    let copies = plan.statements.iter().filter_map(|statement| statement.copy.as_ref());
    for column in copies.flat_map(|copy| copy.cells.iter().flatten()) {
        need(column, &column.keyspace)?;
    }
    let results = run.flat_map(|plan| &plan.statements).filter_map(|statement| statement.results.as_ref());
    for result in results.chain(fetched).flat_map(|columns| columns.iter()) {
        let ResultColumn::Cell(column) = result else { continue };
        if live.grants(&column.keyspace)? {
            continue;
        }
        match &column.denied {
            Denied::Null | Denied::Text(_) if !writes => {}
            Denied::Last(last) if !writes => need(column, &last.keyspace)?,
            _ => return Err(not_granted(column, &column.keyspace)),
        }
    }
    Ok(())
}
