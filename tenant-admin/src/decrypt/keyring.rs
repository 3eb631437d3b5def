//! The tenant keys, and the column keys that come from them: opens cells, and tells which column a cell
//! belongs to by trying. All of it is wiped when it is dropped.

use super::error::Problem;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use trefoil_columns::policy::{self, Policy, ProtectedColumn, QualifiedName};
use trefoil_keys::cell::{self, CellError, ColumnKey, Mode};
use trefoil_keys::check;
use trefoil_keys::secret::TenantKey;

/// The tenant key of each keyspace, with its epoch.
pub(crate) type Keys = BTreeMap<String, (u8, TenantKey)>;

/// The column keys of a policy. `!Send`, as the keys are.
pub(super) struct Keyring {
    keys: Keys,
    /// By [`ProtectedColumn::id`].
    columns: Vec<(Arc<ProtectedColumn>, ColumnKey)>,
    /// One column of each key: those of one domain share theirs.
    distinct: Vec<usize>,
    /// Keyspaces of which a cell has opened.
    proven: HashSet<String>,
}

impl Keyring {
    /// The keys of all columns. The error names a keyspace that has no key.
    pub(super) fn new(policy: &Policy, keys: Keys) -> Result<Self, String> {
        let mut columns = Vec::with_capacity(policy.columns().len());
        let (mut distinct, mut seen) = (Vec::new(), HashSet::new());
        for column in policy.columns() {
            let (_, tk) = keys.get(&column.keyspace).ok_or_else(|| column.keyspace.clone())?;
            let key = ColumnKey::derive(tk, &column.keyspace, &column.domain, column.mode);
            if seen.insert((column.keyspace.clone(), column.domain.clone(), column.mode)) {
                distinct.push(column.id);
            }
            columns.push((Arc::clone(column), key));
        }
        Ok(Self { keys, columns, distinct, proven: HashSet::new() })
    }

    /// Appends the canonical bytes of a cell of this column.
    pub(super) fn open(
        &mut self,
        column: &ProtectedColumn,
        cell: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let (_, key) = self.columns.get_mut(column.id).ok_or(Problem::NotACell)?;
        let held = self.keys.get(&column.keyspace).map_or(0, |(epoch, _)| *epoch);
        match key.open(cell, out) {
            Ok(()) => {
                if !self.proven.contains(&column.keyspace) {
                    self.proven.insert(column.keyspace.clone());
                }
                Ok(())
            }
            Err(CellError::Rejected) => match cell::epoch_of(cell) {
                Ok(found) if found != held => {
                    Err(Problem::Epoch { keyspace: column.keyspace.clone(), found, held })
                }
                _ if self.proven.contains(&column.keyspace) => Err(Problem::Rejected),
                _ => Err(Problem::NothingOpens { keyspace: column.keyspace.clone() }),
            },
            Err(_) => Err(Problem::NotACell),
        }
    }

    /// The column of the policy whose key opens this, its canonical bytes appended.
    pub(super) fn recognise(&mut self, cell: &[u8], out: &mut Vec<u8>) -> Option<Arc<ProtectedColumn>> {
        if !looks_like_a_cell(cell) {
            return None;
        }
        for id in &self.distinct {
            let (column, key) = self.columns.get_mut(*id)?;
            if key.open(cell, out).is_ok() {
                self.proven.insert(column.keyspace.clone());
                return Some(Arc::clone(column));
            }
        }
        None
    }

    /// Whether this is a cell of that column in a policy which names it without a domain.
    pub(super) fn is_own(&self, cell: &[u8], table: &QualifiedName, column: &str) -> bool {
        let domain = policy::own_domain(table, column);
        let opens = |keyspace: &str, tk: &TenantKey, mode: Mode| {
            ColumnKey::derive(tk, keyspace, &domain, mode).open(cell, &mut Vec::new()).is_ok()
        };
        looks_like_a_cell(cell)
            && self.keys.iter().any(|(keyspace, (_, tk))| {
                [Mode::Randomized, Mode::Deterministic].iter().any(|mode| opens(keyspace, tk, *mode))
            })
    }

    /// Whether a check value of the database is that of the key held; `None` if no such key is held.
    pub(super) fn agrees(&self, keyspace: &str, epoch: u8, value: &[u8]) -> Option<bool> {
        let (held, tk) = self.keys.get(keyspace)?;
        (*held == epoch).then(|| check::verify(tk, keyspace, epoch, value))
    }
}

/// Whether these bytes have the form of a cell: few other values do.
pub(super) fn looks_like_a_cell(bytes: &[u8]) -> bool {
    cell::has_form(bytes)
}
