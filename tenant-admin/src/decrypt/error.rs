//! Why a dump was not decrypted: where, what, and what to do. Names only, never a value.

use std::fmt;
use std::io;
use std::path::PathBuf;
use trefoil_columns::policy::{PolicyError, QualifiedName};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecryptError {
    #[error("cannot read {path}: {reason}")]
    Open { path: PathBuf, reason: io::Error },
    #[error("{path}: {problem}")]
    Policy { path: PathBuf, problem: PolicyError },
    #[error("cannot read the input: {0}")]
    Read(io::Error),
    #[error(
        "the input is a dump in pg_dump's custom format; the plain format is needed: dump without -Fc, or turn it into plain text with pg_restore -f - FILE"
    )]
    CustomFormat,
    #[error("cannot write the output: {0}")]
    Write(io::Error),
    #[error("{0} exists already; choose another --output, or move it away")]
    OutputExists(PathBuf),
    #[error(
        "the policy has columns in keyspace {0}, for which there is no tenant key here; use the tenant's own vault, or its newest backup"
    )]
    NoKey(String),
    #[error("line {line}: {place}: {problem}")]
    Value { line: u64, place: Place, problem: Problem },
    #[error("line {line}: {problem}; {remedy}")]
    Form { line: u64, problem: String, remedy: &'static str },
    #[error(
        "line {line}: the database was encrypted under another tenant key of keyspace {keyspace}, epoch {epoch}; use the vault of the tenant whose dump this is"
    )]
    ForeignKeys { line: u64, keyspace: String, epoch: u8 },
    #[error(
        "the dump ends at line {0} without pg_dump's last line: it was cut off, and what followed is missing; dump again"
    )]
    CutOff(u64),
    #[error("{problem}; {remedy}")]
    Options { problem: String, remedy: &'static str },
    #[error(
        "everything else was decrypted, but {0} values did not open and are left as they are: see the list above"
    )]
    Left(u64),
}

/// Where a value stands.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a row.
    Column { table: QualifiedName, column: String },
    /// In a definition.
    Constant { statement: String },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column { table, column } => write!(f, "column \"{column}\" of table \"{table}\""),
            Self::Constant { statement } => write!(f, "a constant of {statement}"),
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(
        "the value is not a cell of this column's mode; it was not written through the proxy, or under another policy"
    )]
    NotACell,
    #[error(
        "the cell fails authentication: it was altered, moved from another place, or written under another key or key domain"
    )]
    Rejected,
    #[error(
        "the cell fails authentication, and none of keyspace {keyspace} has opened so far: this is not the vault of the tenant whose dump this is, or the cell was altered"
    )]
    NothingOpens { keyspace: String },
    #[error("the cell is of epoch {found} of keyspace {keyspace}; the tenant key here is of epoch {held}")]
    Epoch { keyspace: String, found: u8, held: u8 },
    #[error(
        "no key of the policy opens the cell: it was altered, or this is not the vault or the policy of the database that was dumped"
    )]
    Unknown,
    #[error("{0}")]
    Unshown(String),
    #[error("holds cells{of}, but the policy does not name it; use the policy under which the database was dumped, or add the column (of a partition in a dump without definitions: give them with --schema)", of = of.as_ref().map_or_else(String::new, |of| format!(" of domain \"{of}\"")))]
    Unnamed { of: Option<String> },
}
