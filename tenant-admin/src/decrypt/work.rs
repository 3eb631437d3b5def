//! One run: cells become values here and nowhere else.

use super::error::{DecryptError, Place, Problem};
use super::keyring::{Keyring, looks_like_a_cell};
use super::report::Report;
use super::schema::Schema;
use std::sync::Arc;
use trefoil_columns::policy::{LogicalType, Policy, ProtectedColumn, Purpose, QualifiedName};
use trefoil_columns::value::{self, Settings};
use zeroize::Zeroizing;

/// What a run works with.
pub(super) struct Work {
    configured: Policy,
    /// The same with its named types as the dump defines them, if it names any.
    resolved: Option<Policy>,
    pub(super) keyring: Keyring,
    pub(super) report: Report,
    /// A cell that does not open is listed and left; without this, it ends the run.
    pub(super) keep_going: bool,
    settings: Settings,
    cell: Vec<u8>,
    canonical: Zeroizing<Vec<u8>>,
}

/// How bytes stand in the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As text: `\x…`.
    Text,
    /// As they are.
    Binary,
}

impl Work {
    pub(super) fn new(policy: Policy, keyring: Keyring, keep_going: bool) -> Self {
        Self {
            configured: policy,
            resolved: None,
            keyring,
            report: Report::default(),
            keep_going,
            settings: Settings::default(),
            cell: Vec::new(),
            canonical: Zeroizing::default(),
        }
    }

    /// The policy, with its named types as far as the dump defines them.
    pub(super) fn policy(&self) -> &Policy {
        self.resolved.as_ref().unwrap_or(&self.configured)
    }

    /// Takes over the types that are known of the database.
    pub(super) fn resolve(&mut self, schema: &Schema) {
        self.resolved = schema.resolve(&self.configured);
    }

    /// Appends the value of a cell of this column, in the form in which the cell stands.
    pub(super) fn value(
        &mut self,
        column: &ProtectedColumn,
        stored: &[u8],
        form: Form,
        out: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        self.decode(stored, form)?;
        self.canonical.clear();
        self.keyring.open(column, &self.cell, &mut self.canonical)?;
        self.show(column, form, out)
    }

    /// Appends the value of whichever column's cell this is; the column, or `None` if it is none's.
    pub(super) fn recognise(
        &mut self,
        stored: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Arc<ProtectedColumn>>, Problem> {
        if self.decode(stored, Form::Text).is_err() {
            return Ok(None);
        }
        self.canonical.clear();
        let Some(column) = self.keyring.recognise(&self.cell, &mut self.canonical) else { return Ok(None) };
        self.show(&column, Form::Text, out)?;
        Ok(Some(column))
    }

    /// Whether a text is that of bytes in the form of a cell.
    pub(super) fn looks_like_a_cell(&mut self, stored: &str) -> bool {
        self.decode(stored.as_bytes(), Form::Text).is_ok() && looks_like_a_cell(&self.cell)
    }

    /// Makes sure that a value of a column which the policy does not name is no cell.
    pub(super) fn require_plain(
        &mut self,
        table: &QualifiedName,
        column: &str,
        stored: &[u8],
        form: Form,
    ) -> Result<(), Problem> {
        if (form == Form::Text && !stored.starts_with(b"\\x1")) || self.decode(stored, form).is_err() {
            return Ok(());
        }
        if !looks_like_a_cell(&self.cell) {
            return Ok(());
        }
        self.canonical.clear();
        if let Some(of) = self.keyring.recognise(&self.cell, &mut self.canonical) {
            return Err(Problem::Unnamed { of: Some(of.domain.clone()) });
        }
        if self.keyring.is_own(&self.cell, table, column) {
            return Err(Problem::Unnamed { of: None });
        }
        Ok(())
    }

    /// Compares a row of `trefoil.key_check` with the keys.
    pub(super) fn check(
        &mut self,
        line: u64,
        keyspace: &str,
        epoch: &str,
        value: &str,
    ) -> Result<(), DecryptError> {
        let (Ok(()), Ok(epoch)) = (self.decode(value.as_bytes(), Form::Text), epoch.parse::<u8>()) else {
            return Err(DecryptError::Form {
                line,
                problem: "a row of trefoil.key_check is not understood".to_owned(),
                remedy: "give the dump as pg_dump wrote it",
            });
        };
        match self.keyring.agrees(keyspace, epoch, &self.cell) {
            Some(true) => Ok(()),
            Some(false) => Err(DecryptError::ForeignKeys { line, keyspace: keyspace.to_owned(), epoch }),
            None => {
                self.report.note(format!(
                    "the database has a check value of keyspace {keyspace}, epoch {epoch}, for which there is no key here"
                ));
                Ok(())
            }
        }
    }

    /// A value did not open: the end, or an entry in the report.
    pub(super) fn failed(&mut self, line: u64, place: Place, problem: Problem) -> Result<(), DecryptError> {
        if !self.keep_going {
            return Err(DecryptError::Value { line, place, problem });
        }
        self.report.fail(line, &place, &problem);
        Ok(())
    }

    /// The type that the application sees in a column.
    pub(super) fn logical(&self, column: &ProtectedColumn) -> LogicalType {
        let resolved = self.policy().columns().get(column.id);
        resolved.map_or_else(|| column.logical.clone(), |column| column.logical.clone())
    }

    fn decode(&mut self, stored: &[u8], form: Form) -> Result<(), Problem> {
        self.cell.clear();
        if form == Form::Binary {
            self.cell.extend_from_slice(stored);
            return Ok(());
        }
        value::from_text(&LogicalType::Bytea, stored, Purpose::Assign, &self.settings, &mut self.cell)
            .map_err(|_| Problem::NotACell)
    }

    fn show(&self, column: &ProtectedColumn, form: Form, out: &mut Vec<u8>) -> Result<(), Problem> {
        let logical = &self.policy().columns().get(column.id).map_or(column, |column| column).logical;
        let start = out.len();
        let shown = match form {
            Form::Text => value::to_text(logical, &self.canonical, &self.settings, out),
            Form::Binary => value::to_binary(logical, &self.canonical, out),
        };
        shown.map_err(|error| {
            out.truncate(start);
            Problem::Unshown(format!("{error}; {}", error.hint))
        })
    }
}
