//! Which relation a name means. Names that could mean a protected table and something else are
//! decided by the search path that the server reports, or refused.

use super::path::Path;
use super::refusal;
use crate::error::ClientError;
use crate::policy::catalog::{Catalog, Reach, Relation};
use crate::policy::{Policy, ProtectedColumn, QualifiedName};
use pg_raw_parse::nodes;
use std::sync::Arc;

/// The schema under which the catalog shows the session's own temporary relations.
pub(super) const TEMPORARY: &str = "pg_temp";

/// What a relation's name means.
pub(super) enum Meaning<'c> {
    /// It touches nothing protected.
    Plain(&'c Arc<Relation>),
    /// A table with protected columns, named in the policy, or a view or child of one whose columns say
    /// what they hold.
    Protected(&'c Arc<Relation>),
    /// Another relation through which a protected table is reached.
    Reaching(&'c Arc<Relation>),
    /// In the policy, but not in the catalog.
    NotCreated(QualifiedName),
    /// Neither in the policy nor in the catalog.
    Unknown,
    /// Unqualified, and more than one relation of that name, one of them sensitive.
    Ambiguous,
}

/// Looks names up in policy and catalog.
#[derive(Clone, Copy)]
pub(super) struct Names<'c> {
    pub(super) policy: &'c Policy,
    pub(super) catalog: &'c Arc<Catalog>,
    pub(super) path: &'c Path<'c>,
}

impl<'c> Names<'c> {
    /// What `name` means, in `schema` if that is given.
    pub(super) fn meaning(self, schema: Option<&str>, name: &str) -> Meaning<'c> {
        match schema {
            Some(schema) => self.qualified(&QualifiedName::new(schema, name)),
            None => self.unqualified(name),
        }
    }

    fn qualified(self, name: &QualifiedName) -> Meaning<'c> {
        match (self.catalog.relation(name), self.policy.table(name).is_some()) {
            (Some(relation), true) => Meaning::Protected(relation),
            (Some(relation), false) => match relation.reach {
                Reach::None => Meaning::Plain(relation),
                Reach::Followed => Meaning::Protected(relation),
                Reach::Protected => Meaning::Reaching(relation),
            },
            (None, true) => Meaning::NotCreated(name.clone()),
            (None, false) => Meaning::Unknown,
        }
    }

    fn unqualified(self, name: &str) -> Meaning<'c> {
        if let Some(only) = self.only(name) {
            return self.qualified(&only.name);
        }
        let temporary = QualifiedName::new(TEMPORARY, name);
        let candidates = self.candidates(name);
        match candidates.as_slice() {
            [] => Meaning::Unknown,
            [only] => self.qualified(only),
            _ if self.are_sensitive(&candidates) => match self.path.schemas() {
                None => Meaning::Ambiguous,
                Some(mut schemas) => schemas
                    .find_map(|schema| self.catalog.relation(&QualifiedName::new(schema, name)))
                    .map_or(Meaning::Unknown, |relation| self.qualified(&relation.name)),
            },
            [first, ..] => {
                let meant = if candidates.contains(&temporary) { &temporary } else { first };
                self.qualified(meant)
            }
        }
    }

    /// The one relation that an unqualified name can mean, where there are no two.
    fn only(self, name: &str) -> Option<&'c Arc<Relation>> {
        let [only] = self.catalog.named(name) else { return None };
        let mut protected = self.policy.schemas_with_table(name).iter();
        protected.all(|schema| *schema == only.name.schema).then_some(only)
    }

    /// What an unqualified name can mean.
    pub(super) fn candidates(self, name: &str) -> Vec<QualifiedName> {
        let mut candidates: Vec<QualifiedName> =
            self.catalog.named(name).iter().map(|r| r.name.clone()).collect();
        for schema in self.policy.schemas_with_table(name) {
            let protected = QualifiedName::new(schema.as_str(), name);
            if !candidates.contains(&protected) {
                candidates.push(protected);
            }
        }
        candidates
    }

    fn are_sensitive(self, candidates: &[QualifiedName]) -> bool {
        candidates.iter().any(|candidate| !matches!(self.qualified(candidate), Meaning::Plain(_)))
    }

    /// Whether an unqualified name means one relation or another by the search path, and one of them is
    /// sensitive.
    pub(super) fn is_by_path(self, name: &str) -> bool {
        if self.only(name).is_some() {
            return false;
        }
        let candidates = self.candidates(name);
        candidates.len() > 1 && self.are_sensitive(&candidates)
    }

    /// The schema of what a name means, where the search path decides that.
    pub(super) fn schema_by_path(self, schema: Option<&str>, name: &str) -> Option<&'c str> {
        if schema.is_some() || !self.is_by_path(name) {
            return None;
        }
        match self.meaning(None, name) {
            Meaning::Plain(relation) | Meaning::Protected(relation) | Meaning::Reaching(relation) => {
                Some(&relation.name.schema)
            }
            Meaning::NotCreated(_) | Meaning::Unknown | Meaning::Ambiguous => None,
        }
    }

    /// What the name of a relation means where it is made.
    pub(super) fn made(self, range: &nodes::RangeVar) -> Meaning<'c> {
        let name = range.relname().unwrap_or_default();
        match range.schemaname() {
            None if self.is_by_path(name) => match self.path.creation() {
                None => Meaning::Ambiguous,
                Some(schema) => self.qualified(&QualifiedName::new(schema, name)),
            },
            schema => self.meaning(schema, name),
        }
    }

    /// Whether an unqualified name has exactly one candidate, so that its columns are known.
    pub(super) fn is_unique(self, schema: Option<&str>, name: &str) -> bool {
        schema.is_some() || self.catalog.named(name).len() == 1 || self.is_by_path(name)
    }

    /// What a RangeVar means, where anything but a known relation is an error.
    pub(super) fn relation(self, range: &nodes::RangeVar) -> Result<Meaning<'c>, Unresolved> {
        let name = range.relname().unwrap_or_default();
        let at = super::offset(range.location);
        match self.meaning(range.schemaname(), name) {
            Meaning::Unknown => Err(Unresolved::Unknown(refusal::unknown_relation(name).at(at))),
            Meaning::NotCreated(name) => {
                Err(Unresolved::Unknown(refusal::unknown_relation(&name.name).at(at)))
            }
            Meaning::Ambiguous => Err(Unresolved::Refused(refusal::ambiguous_relation(name).at(at))),
            Meaning::Reaching(relation) => {
                Err(Unresolved::Refused(refusal::reaches_protected(&relation.name).at(at)))
            }
            meaning @ (Meaning::Plain(_) | Meaning::Protected(_)) => Ok(meaning),
        }
    }

    /// The protected column whose cells a column of `table` holds; an error if the catalog shows it as
    /// anything but `bytea`, for then the database holds it in clear, or does not have its type.
    pub(super) fn protected_column(
        self,
        table: &Relation,
        column: &crate::policy::catalog::Column,
    ) -> Result<Option<Arc<ProtectedColumn>>, ClientError> {
        let Some(protected) = table.cell(column, self.policy) else { return Ok(None) };
        if column.type_oid != BYTEA {
            return Err(refusal::not_migrated(protected));
        }
        if protected.logical.is_named() {
            return Err(refusal::unresolved_type(protected));
        }
        Ok(Some(Arc::clone(protected)))
    }
}

/// `pg_type` OID of `bytea`, the type of every protected column in the database.
pub(super) const BYTEA: u32 = 17;

/// Why a name means no usable relation.
pub(super) enum Unresolved {
    /// The catalog does not show it; it may be new.
    Unknown(ClientError),
    /// Refused for good.
    Refused(ClientError),
}
