//! What a client may be told: SQLSTATE, message, hint. Only this type becomes an ErrorResponse, and
//! nothing in it may carry a protected value, a literal, or a share.

mod code;

pub use code::Code;

use std::fmt;

/// An error fit to be shown to a client. Built only from names (tables, columns, types, modes) and
/// fixed text.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientError {
    /// Five-character SQLSTATE, as PostgreSQL uses it for the same situation.
    pub sqlstate: &'static str,
    /// What happened and where: names table and column, never a value.
    pub message: String,
    /// What to do about it; empty when there is nothing to add.
    pub hint: String,
    /// Trefoil's own code, where PostgreSQL would not have refused.
    pub code: Option<Code>,
    /// Byte offset (from 0) into the statement text, where one token is to blame.
    pub position: Option<usize>,
    /// What it is about, where analysis knows that.
    pub about: Option<Box<About>>,
}

/// What a refused statement is about, for the audit log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its tables, as `schema.table`.
    pub tables: Vec<String>,
    /// The protected columns because of which it is refused, as `schema.table.column`.
    pub columns: Vec<String>,
}

impl ClientError {
    /// An error as PostgreSQL itself would report it.
    pub fn new(sqlstate: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), hint: hint.into(), code: None, position: None, about: None }
    }

    /// A refusal of the proxy's own.
    pub fn refused(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(code.sqlstate(), message, hint) }
    }

    /// The same error, pointing at the byte offset `position` of the statement.
    #[must_use]
    pub fn at(mut self, position: Option<usize>) -> Self {
        self.position = position;
        self
    }

    /// The same error, because of a protected column, `schema.table.column`.
    #[must_use]
    pub fn of_column(mut self, column: String) -> Self {
        self.about.get_or_insert_default().columns.push(column);
        self
    }

    /// The same error, of a statement over these tables, each `schema.table`.
    #[must_use]
    pub fn over(mut self, tables: Vec<String>) -> Self {
        if !tables.is_empty() {
            self.about.get_or_insert_default().tables = tables;
        }
        self
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ClientError {}

/// What PostgreSQL says where a prepared statement no longer fits its tables. Drivers prepare it again.
pub const CACHED_PLAN_CHANGED: &str = "cached plan must not change result type";

/// SQLSTATEs used by more than one module, by PostgreSQL's own names.
pub mod sqlstate {
    /// Feature not supported.
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    /// Protocol violation.
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    /// String data right truncation.
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    /// Numeric value out of range.
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    /// Invalid text representation.
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    /// Invalid binary representation.
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    /// Invalid datetime format.
    pub const INVALID_DATETIME_FORMAT: &str = "22007";
    /// Datetime field overflow.
    pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
    /// Invalid authorization specification: share missing, rejected or expired.
    pub const INVALID_AUTHORIZATION: &str = "28000";
    /// Prepared statement does not exist.
    pub const INVALID_SQL_STATEMENT_NAME: &str = "26000";
    /// Portal does not exist.
    pub const INVALID_CURSOR_NAME: &str = "34000";
    /// Insufficient privilege: the policy or the envelope's scope forbids it.
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// Syntax error.
    pub const SYNTAX_ERROR: &str = "42601";
    /// Undefined column.
    pub const UNDEFINED_COLUMN: &str = "42703";
    /// Ambiguous column.
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    /// Undefined table.
    pub const UNDEFINED_TABLE: &str = "42P01";
    /// Datatype mismatch.
    pub const DATATYPE_MISMATCH: &str = "42804";
    /// Program limit exceeded.
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    /// Statement too complex.
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    /// Internal error: a defect of the proxy.
    pub const INTERNAL_ERROR: &str = "XX000";
    /// I/O error.
    pub const IO_ERROR: &str = "58030";
    /// Data corrupted: a cell did not authenticate.
    pub const DATA_CORRUPTED: &str = "XX001";
}
