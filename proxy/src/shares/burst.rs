//! The burst: the only place where a tenant key exists, for as long as no await can happen.

use super::keyring::{Keyring, seconds};
use super::rejection::Rejection;
use super::{ApplicationShare, LiveEnvelope};
use crate::error::{ClientError, Code};
use crate::policy::ProtectedColumn;
use std::sync::Arc;
use std::time::SystemTime;
use trefoil_keys::cell::{CellError, ColumnKey};
use trefoil_keys::secret::TenantKey;

/// One synchronous stretch of work on cells. Rebuilds TK for a keyspace when the first cell under
/// it needs it, derives column keys once each, and wipes all of it on drop. `!Send`: it cannot be
/// held across an await in a spawned task.
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// fn burst(burst: trefoil_proxy::shares::Burst<'_>) {
///     sent(burst);
/// }
/// ```
pub struct Burst<'a> {
    keyring: Arc<Keyring>,
    live: &'a LiveEnvelope,
    application: &'a ApplicationShare,
    /// By keyspace; there are few.
    tenant_keys: Vec<(String, u8, TenantKey)>,
    /// By [`ProtectedColumn::id`].
    columns: Vec<Option<(u8, ColumnKey)>>,
}

impl<'a> Burst<'a> {
    pub(super) fn new(
        keyring: Arc<Keyring>,
        live: &'a LiveEnvelope,
        application: &'a ApplicationShare,
    ) -> Self {
        Self { keyring, live, application, tenant_keys: Vec::new(), columns: Vec::new() }
    }

    /// Encrypts canonical bytes into a cell of the column, appended to `out`.
    pub fn seal(
        &mut self,
        column: &ProtectedColumn,
        canonical: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let (epoch, key) = self.column(column)?;
        key.seal(*epoch, canonical, out).map_err(|error| cell_error(column, error))
    }

    /// Decrypts a cell of the column into canonical bytes, appended to `out`.
    pub fn open(
        &mut self,
        column: &ProtectedColumn,
        cell: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let (_, key) = self.column(column)?;
        key.open(cell, out).map_err(|error| cell_error(column, error))
    }

    fn column(&mut self, column: &ProtectedColumn) -> Result<&mut (u8, ColumnKey), ClientError> {
        if self.columns.len() <= column.id {
            self.columns.resize_with(column.id + 1, || None);
        }
        if self.columns.get(column.id).is_none_or(Option::is_none) {
            let (epoch, tk) = self.tenant_key(column)?;
            let key = ColumnKey::derive(tk, &column.keyspace, &column.domain, column.mode);
            if let Some(place) = self.columns.get_mut(column.id) {
                *place = Some((epoch, key));
            }
        }
        self.columns.get_mut(column.id).and_then(Option::as_mut).ok_or_else(|| Rejection::Keyspace.into())
    }

    fn tenant_key(&mut self, column: &ProtectedColumn) -> Result<(u8, &TenantKey), ClientError> {
        let place = match self.tenant_keys.iter().position(|(name, ..)| *name == column.keyspace) {
            Some(place) => place,
            None => {
                if !self.live.keyspaces().any(|granted| granted == column.keyspace) {
                    return Err(not_granted(column));
                }
                let now = || seconds(SystemTime::now());
                let (epoch, tk) = self
                    .live
                    .rebuild(&self.keyring, &column.keyspace, self.application, now)
                    .map_err(|rejection| rejection.logged(self.live.user()))?;
                self.tenant_keys.push((column.keyspace.clone(), epoch, tk));
                self.tenant_keys.len() - 1
            }
        };
        let (_, epoch, tk) = self.tenant_keys.get(place).ok_or(Rejection::Keyspace)?;
        Ok((*epoch, tk))
    }
}

fn not_granted(column: &ProtectedColumn) -> ClientError {
    ClientError::refused(
        Code::KeyspaceNotGranted,
        format!(
            "column \"{}\" of table \"{}\" is in keyspace \"{}\", which the user's envelope does not grant",
            column.name, column.table, column.keyspace
        ),
        "Ask the tenant admin to grant the keyspace to the user, or leave the column out.",
    )
}

fn cell_error(column: &ProtectedColumn, error: CellError) -> ClientError {
    let hint = match error {
        CellError::Malformed => {
            "It was stored by other ways than through the proxy, or under another policy."
        }
        CellError::Rejected => {
            "It was altered, moved from another place, or written under another key or key domain."
        }
        CellError::Unsealable => "The value may be too long.",
    };
    ClientError::refused(
        Code::Corrupted,
        format!("column \"{}\" of table \"{}\": {error}", column.name, column.table),
        hint,
    )
}
