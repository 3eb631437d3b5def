//! The search path, where a name means one relation or another by it. Such a name goes upstream with
//! the schema written before it, so that the server means the same relation, or none.

use super::resolve::TEMPORARY;
use std::cell::Cell;

/// The schemas in which a session looks unqualified names up, as its server says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SearchPath {
    /// In order, those that are implied included.
    schemas: Vec<String>,
    /// Where relations are made.
    creation: Option<String>,
}

impl SearchPath {
    /// From `current_schemas(true)` and `current_schema()`.
    pub fn new(schemas: impl IntoIterator<Item = String>, creation: Option<String>) -> Self {
        Self { schemas: schemas.into_iter().map(own).collect(), creation: creation.map(own) }
    }
}

/// The session's temporary schema has a number for the server; the catalog has but this one.
fn own(schema: String) -> String {
    if schema.starts_with("pg_temp_") { TEMPORARY.to_owned() } else { schema }
}

/// What analysis has of the path, and whether it looked.
pub(super) struct Path<'c> {
    known: Option<&'c SearchPath>,
    asked: Cell<bool>,
}

impl<'c> Path<'c> {
    /// The path, if it is known.
    pub(super) fn new(known: Option<&'c SearchPath>) -> Self {
        Self { known, asked: Cell::new(false) }
    }

    /// Whether it is known.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Whether a name's meaning depended on it.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.get()
    }

    /// The schemas, the session's temporary one first where the path does not say.
    pub(super) fn schemas(&self) -> Option<impl Iterator<Item = &'c str>> {
        self.asked.set(true);
        let schemas = self.known.map(|path| &path.schemas)?;
        let implied = (!schemas.iter().any(|schema| schema == TEMPORARY)).then_some(TEMPORARY);
        Some(implied.into_iter().chain(schemas.iter().map(String::as_str)))
    }

    /// The schema in which relations are made.
    pub(super) fn creation(&self) -> Option<&'c str> {
        self.asked.set(true);
        self.known?.creation.as_deref()
    }
}
