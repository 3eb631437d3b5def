//! The burst: the only place where a tenant key exists, for as long as no await can happen.

use super::keyring::{Keyring, seconds};
use super::live::Opened;
use super::rejection::Rejection;
use super::{ApplicationShare, LiveEnvelope};
use crate::error::{ClientError, Code};
use crate::policy::{Denied, Last, ProtectedColumn};
use std::sync::Arc;
use std::time::SystemTime;
use trefoil_keys::cell::partial::{Epochs, PartialKey};
use trefoil_keys::cell::{CellError, ColumnKey};
use trefoil_keys::secret::TenantKey;
use zeroize::Zeroizing;

/// One synchronous stretch of work on the cells of one request. Rebuilds TK for a keyspace when the first
/// cell under it needs it, derives column keys once each, and wipes all of it on drop. `!Send`: it cannot be
/// held across an await in a spawned task.
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// fn burst(burst: trefoil_proxy::shares::Burst) {
///     sent(burst);
/// }
/// ```
pub struct Burst {
    keyring: Arc<Keyring>,
    live: Arc<LiveEnvelope>,
    application: Arc<ApplicationShare>,
    /// By [`ProtectedColumn::id`].
    columns: Vec<Option<(u8, ColumnKey)>>,
    /// Keys of the parts that masks show, by the same.
    partials: Vec<Option<(u8, PartialKey)>>,
    /// By keyspace; there are few.
    tenant_keys: Vec<Opened>,
}

/// What a user gets to see of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A value of the column: its own, or what the policy puts in its place.
    Value,
    /// NULL.
    Null,
}

impl Burst {
    /// `opened` is what is rebuilt already.
    pub(super) fn new(
        keyring: Arc<Keyring>,
        live: Arc<LiveEnvelope>,
        application: Arc<ApplicationShare>,
        opened: Option<Opened>,
    ) -> Self {
        let tenant_keys = opened.into_iter().collect();
        Self { keyring, live, application, tenant_keys, columns: Vec::new(), partials: Vec::new() }
    }

    /// The envelope that it works under.
    pub fn live(&self) -> &Arc<LiveEnvelope> {
        &self.live
    }

    /// Whether it is one for these shares.
    pub fn is_of(&self, live: &Arc<LiveEnvelope>, application: &Arc<ApplicationShare>) -> bool {
        Arc::ptr_eq(&self.live, live) && Arc::ptr_eq(&self.application, application)
    }

    /// Encrypts canonical bytes into a cell of the column, appended to `out`.
    pub fn seal(
        &mut self,
        column: &ProtectedColumn,
        canonical: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        match column.denied.stored() {
            None => {
                let (epoch, key) = self.column(column)?;
                key.seal(*epoch, canonical, out);
                Ok(())
            }
            Some(last) => {
                // A writer needs both keys.
                self.column(column)?;
                self.partial(column, last)?;
                let text =
                    str::from_utf8(canonical).map_err(|_| cell_error(column, CellError::Unsealable))?;
                let full = self.columns.get_mut(column.id).and_then(Option::as_mut);
                let partial = self.partials.get_mut(column.id).and_then(Option::as_mut);
                let ((full_epoch, full), (partial_epoch, partial)) =
                    full.zip(partial).ok_or(Rejection::Keyspace)?;
                let epochs = Epochs { full: *full_epoch, partial: *partial_epoch };
                partial
                    .seal(full, epochs, canonical, last.visible(text).as_bytes(), out)
                    .map_err(|error| cell_error(column, error))
            }
        }
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

    /// The same for a statement that only reads: without a share in the column's keyspace, what the policy
    /// shows in place of the value.
    pub fn show(
        &mut self,
        column: &ProtectedColumn,
        cell: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Sight, ClientError> {
        let opened = self.columns.get(column.id).is_some_and(Option::is_some);
        if opened || self.live.grants(&column.keyspace)? {
            return self.open(column, cell, out).map(|()| Sight::Value);
        }
        self.masked(column, cell, out)
    }

    fn masked(
        &mut self,
        column: &ProtectedColumn,
        cell: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Sight, ClientError> {
        match &column.denied {
            Denied::Refuse => return Err(not_granted(column, &column.keyspace)),
            Denied::Null => return Ok(Sight::Null),
            Denied::Text(text) => out.extend_from_slice(text.as_bytes()),
            Denied::Last(last) => {
                let (_, key) = self.partial(column, last)?;
                let mut visible = Zeroizing::new(Vec::new());
                // A cell from before the policy had the mask shows stars alone.
                key.open(cell, &mut visible).map_err(|error| cell_error(column, error))?;
                last.show(&visible, out);
            }
        }
        Ok(Sight::Value)
    }

    fn partial(
        &mut self,
        column: &ProtectedColumn,
        last: &Last,
    ) -> Result<&mut (u8, PartialKey), ClientError> {
        if self.partials.len() <= column.id {
            self.partials.resize_with(column.id + 1, || None);
        }
        if self.partials.get(column.id).is_none_or(Option::is_none) {
            let (epoch, tk) = self.tenant_key(column, &last.keyspace)?;
            let key = PartialKey::derive(tk, &last.keyspace, &column.domain, column.mode);
            if let Some(place) = self.partials.get_mut(column.id) {
                *place = Some((epoch, key));
            }
        }
        self.partials.get_mut(column.id).and_then(Option::as_mut).ok_or_else(|| Rejection::Keyspace.into())
    }

    fn column(&mut self, column: &ProtectedColumn) -> Result<&mut (u8, ColumnKey), ClientError> {
        if self.columns.len() <= column.id {
            self.columns.resize_with(column.id + 1, || None);
        }
        if self.columns.get(column.id).is_none_or(Option::is_none) {
            let (epoch, tk) = self.tenant_key(column, &column.keyspace)?;
            let key = ColumnKey::derive(tk, &column.keyspace, &column.domain, column.mode);
            if let Some(place) = self.columns.get_mut(column.id) {
                *place = Some((epoch, key));
            }
        }
        self.columns.get_mut(column.id).and_then(Option::as_mut).ok_or_else(|| Rejection::Keyspace.into())
    }

    /// TK of a keyspace that is needed for this column.
    fn tenant_key(
        &mut self,
        column: &ProtectedColumn,
        keyspace: &str,
    ) -> Result<(u8, &TenantKey), ClientError> {
        let place = match self.tenant_keys.iter().position(|opened| opened.keyspace == keyspace) {
            Some(place) => place,
            None => {
                if !self.live.grants(keyspace)? {
                    return Err(not_granted(column, keyspace));
                }
                let now = || seconds(SystemTime::now());
                let opened = self
                    .live
                    .rebuild(&self.keyring, keyspace, &self.application, now)
                    .map_err(|rejection| rejection.logged(self.live.user()))?;
                self.tenant_keys.push(opened);
                self.tenant_keys.len() - 1
            }
        };
        let Opened { epoch, tk, .. } = self.tenant_keys.get(place).ok_or(Rejection::Keyspace)?;
        Ok((*epoch, tk))
    }
}

/// The refusal of what needs a share that the user does not have.
pub fn not_granted(column: &ProtectedColumn, keyspace: &str) -> ClientError {
    let (name, table) = (&column.name, &column.table);
    ClientError::refused(
        Code::KeyspaceNotGranted,
        format!(
            "column \"{name}\" of table \"{table}\" needs a share in keyspace \"{keyspace}\", which the user does not have"
        ),
        "Ask the tenant admin to grant the keyspace; after a grant the user needs a new bundle. Or leave the column out.",
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
