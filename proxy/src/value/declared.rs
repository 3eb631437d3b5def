//! The type that a client declared for a parameter: which ones PostgreSQL converts to the column's
//! (`pg_cast`), and which of those are converted here.

use super::refusal;
use crate::error::ClientError;
use crate::policy::{LogicalType, Purpose, oid};

/// Whether a parameter so declared has the column's own type. One declared `unknown` gets the type
/// that the server infers, just as an undeclared one.
pub(super) fn is_own(logical: &LogicalType, declared: u32) -> bool {
    matches!(declared, 0 | oid::UNKNOWN) || declared == logical.oid()
}

/// Refuses a parameter that is declared with a type which PostgreSQL would not assign to the
/// column's, or compare with it, or whose conversion is not built.
pub(super) fn check(logical: &LogicalType, declared: u32, purpose: Purpose) -> Result<(), ClientError> {
    let fits = is_own(logical, declared)
        || match logical {
            LogicalType::Text | LogicalType::Varchar(_) => oid::is_string(declared),
            LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
                oid::is_integer(declared) || declared == oid::NUMERIC
            }
            LogicalType::Numeric { .. } => oid::is_integer(declared) || declared == oid::FLOAT8,
            LogicalType::Timestamptz => declared == oid::TIMESTAMP,
            LogicalType::Jsonb => declared == oid::JSON && purpose == Purpose::Assign,
            _ => false,
        };
    if fits {
        return Ok(());
    }
    if may_convert(logical, declared, purpose) {
        return Err(refusal::unsupported(
            format!("a parameter of the declared type is not supported for a column of type {logical}"),
            "Declare the parameter with the column's type, or leave its type to the server.",
        ));
    }
    Err(match purpose {
        Purpose::Assign => refusal::not_assignable(logical),
        Purpose::Compare | Purpose::Flow => refusal::not_comparable(logical),
    })
}

/// Whether PostgreSQL may convert the declared type, which is not one that is converted here.
fn may_convert(logical: &LogicalType, declared: u32, purpose: Purpose) -> bool {
    let known = oid::is_string(declared)
        || oid::is_integer(declared)
        || matches!(
            declared,
            oid::BOOL
                | oid::BYTEA
                | oid::JSON
                | oid::NUMERIC
                | oid::UUID
                | oid::JSONB
                | oid::DATE
                | oid::TIMESTAMP
                | oid::TIMESTAMPTZ
        );
    match logical {
        LogicalType::Text | LogicalType::Varchar(_) => !known || purpose == Purpose::Assign,
        LogicalType::Date | LogicalType::Timestamptz => {
            !known || matches!(declared, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ)
        }
        _ => !known,
    }
}
