//! The catalog as this session sees it: the database's snapshot, or what its own DDL makes of that
//! until the transaction has ended and the catalog was loaded anew.

use super::parameters::Parameters;
use super::plans::Plans;
use crate::error::{CACHED_PLAN_CHANGED, ClientError, Code, sqlstate};
use crate::policy::catalog::Catalog;
use crate::sql::{Context, Plan, Refusal, SearchPath};
use crate::upstream::CatalogCell;
use arc_swap::Guard;
use std::ops::Deref;
use std::sync::Arc;

/// A catalog held for a while.
type Snapshot = Arc<Catalog>;

/// The catalog to plan by, for as long as one message is treated. The database's own is borrowed from the cell
/// that all sessions share, without counting.
pub(super) enum Current<'a> {
    Shared(Guard<Snapshot>),
    Own(&'a Snapshot),
    None(Snapshot),
}

impl Deref for Current<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        match self {
            Self::Shared(catalog) => catalog,
            Self::Own(catalog) => catalog,
            Self::None(catalog) => catalog,
        }
    }
}

/// What the session sees.
#[derive(Default)]
pub(super) struct Schema {
    cell: Option<Arc<CatalogCell>>,
    /// After DDL of the running transaction.
    local: Option<Snapshot>,
    /// The version of a snapshot, and that snapshot with this session's temporary relations. One
    /// that is gone may stay here: none has the name of a protected table.
    temporary: Option<(u64, Snapshot)>,
    /// DDL was sent: to be loaded anew when the transaction has ended.
    pub(super) dirty: bool,
    /// DDL was sent and something rolled back: `local` and the snapshot both may be wrong.
    uncertain: bool,
    /// The text at hand was analysed, found lacking, and the catalog loaded anew for it.
    retried: bool,
}

/// What came of a text.
pub(super) enum Planned {
    /// Its plan.
    Plan(Arc<Plan>),
    /// It depends on the search path, which has to be asked for.
    NeedsPath,
    /// It names what the catalog does not show: load that anew and try again.
    Reload,
    /// Refused.
    Refused(ClientError),
}

impl Schema {
    /// Uses a database's catalog.
    pub(super) fn open(&mut self, cell: Arc<CatalogCell>) {
        self.cell = Some(cell);
    }

    /// Refuses what needs keys where the database was encrypted under another tenant key.
    pub(super) fn check_keys(&self) -> Result<(), ClientError> {
        self.cell.as_ref().map_or(Ok(()), |cell| cell.check_keys())
    }

    /// The catalog to plan by.
    pub(super) fn current(&mut self) -> Current<'_> {
        match (&self.local, &self.cell) {
            (Some(local), _) => Current::Own(local),
            (None, Some(cell)) => {
                let shared = cell.current.load();
                match &mut self.temporary {
                    None => Current::Shared(shared),
                    Some((version, merged)) => {
                        if *version != shared.version()
                            && let Some(anew) = shared.with_temporary_of(merged)
                        {
                            (*version, *merged) = (shared.version(), Arc::new(anew));
                        }
                        Current::Own(merged)
                    }
                }
            }
            (None, None) => Current::None(Arc::new(Catalog::empty())),
        }
    }

    /// Refuses a plan whose relations have changed since it was made, as the server would if it saw
    /// another result. Without any change it costs the comparison of two numbers.
    pub(super) fn still_holds(&mut self, plans: &Plans, plan: &Plan) -> Result<(), ClientError> {
        let catalog = self.current();
        if plan.holds_for(&Context {
            policy: plans.policy(),
            catalog: &catalog,
            prepared: &|_| None,
            audited: false,
        }) {
            return Ok(());
        }
        Err(ClientError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            CACHED_PLAN_CHANGED,
            "A relation that the statement names has changed: prepare it again.",
        ))
    }

    /// Analyses a text.
    pub(super) fn plan(
        &mut self,
        plans: &Plans,
        text: &[u8],
        parameters: &Parameters,
        prepared: &dyn Fn(&str) -> Option<Arc<Plan>>,
        path: Option<&Arc<SearchPath>>,
    ) -> Planned {
        let mut result = plans.plan(text, &self.current(), parameters, prepared, path);
        if self.uncertain
            && result.is_ok()
            && let Some(cell) = &self.cell
        {
            let before = plans.plan(text, &cell.current.load_full(), parameters, prepared, path);
            let plain = |plan: &Result<Option<Arc<Plan>>, Refusal>| {
                plan.as_ref().is_ok_and(|plan| plan.as_ref().is_none_or(|plan| !plan.protected))
            };
            if !plain(&result) || !plain(&before) {
                result = Err(Refusal::Refused(ClientError::refused(
                    Code::UncertainCatalog,
                    "a protected table may have changed: DDL of this transaction was rolled back in part",
                    "End the transaction first.",
                )));
            }
        }
        match result {
            Ok(Some(plan)) => {
                self.retried = false;
                Planned::Plan(plan)
            }
            Ok(None) => Planned::NeedsPath,
            Err(Refusal::UnknownRelation(_)) if !std::mem::replace(&mut self.retried, true) => {
                Planned::Reload
            }
            Err(Refusal::UnknownRelation(error) | Refusal::Refused(error)) => {
                self.retried = false;
                Planned::Refused(error)
            }
        }
    }

    /// A text with this plan is sent.
    pub(super) fn sent(&mut self, plan: &Plan) {
        if let Some(after) = &plan.catalog_after {
            self.local = Some(Arc::clone(after));
            if let (true, Some(cell)) = (plan.protected, &self.cell) {
                cell.founds_tables();
            }
        }
        self.dirty |= plan.changes_catalog || plan.catalog_after.is_some();
    }

    /// The server has rolled something back, or failed.
    pub(super) fn rolled_back(&mut self) {
        self.uncertain |= self.local.is_some();
    }

    /// The catalog is loaded anew, outside of a transaction.
    pub(super) fn reloaded(&mut self) {
        self.dirty = false;
        self.uncertain = false;
        if let (Some(local), Some(cell)) = (self.local.take(), &self.cell) {
            let shared = cell.current.load_full();
            let merged = shared.with_temporary_of(&local).map(Arc::new);
            self.temporary = merged.map(|merged| (shared.version(), merged));
        }
    }
}
