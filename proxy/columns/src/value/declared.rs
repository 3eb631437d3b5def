//! The type that a client declared for a parameter: which ones PostgreSQL converts to the column's
//! (`pg_cast`), and which of those are converted here.

use super::refusal;
use crate::error::ClientError;
use crate::policy::{LogicalType, Purpose, oid};

/// Whether a parameter so declared has the column's own type. One declared `unknown` gets the type
/// that the server infers, just as an undeclared one.
pub(super) fn is_own(logical: &LogicalType, declared: u32) -> bool {
    matches!(declared, 0 | oid::UNKNOWN) || declared == logical.oid() || declared == logical.own_oid()
}

/// Of an array column, the type of its elements and the one that the client declared for them: 0 for
/// the same.
pub(super) fn element(logical: &LogicalType, declared: u32) -> Option<(&LogicalType, u32)> {
    let LogicalType::Array(element) = logical else { return None };
    if is_own(logical, declared) {
        return Some((element, 0));
    }
    oid::element_of(declared).map(|declared| (element.as_ref(), declared))
}

/// Refuses a parameter that is declared with a type which PostgreSQL would not assign to the
/// column's, or compare with it, or whose conversion is not built.
pub(super) fn check(logical: &LogicalType, declared: u32, purpose: Purpose) -> Result<(), ClientError> {
    let fits = is_own(logical, declared)
        || match logical {
            LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => oid::is_string(declared),
            LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 => {
                oid::is_integer(declared) || declared == oid::NUMERIC
            }
            LogicalType::Numeric { .. } => oid::is_integer(declared) || declared == oid::FLOAT8,
            LogicalType::UnboundedNumeric => oid::is_integer(declared),
            LogicalType::Float4 | LogicalType::Float8 => {
                oid::is_integer(declared) || matches!(declared, oid::NUMERIC | oid::FLOAT4 | oid::FLOAT8)
            }
            LogicalType::Timestamp(_) => {
                declared == oid::DATE || (declared == oid::TIMESTAMPTZ && purpose == Purpose::Assign)
            }
            LogicalType::Timestamptz(_) => matches!(declared, oid::TIMESTAMP | oid::DATE),
            LogicalType::Inet => declared == oid::CIDR,
            LogicalType::Cidr => declared == oid::INET && purpose != Purpose::Assign,
            LogicalType::Jsonb => declared == oid::JSON && purpose == Purpose::Assign,
            LogicalType::Array(_) => {
                return match element(logical, declared) {
                    Some((element, declared)) => check(element, declared, purpose),
                    None => Err(refused(logical, purpose)),
                };
            }
            LogicalType::Domain(domain) => return check(&domain.base, declared, purpose),
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
    Err(refused(logical, purpose))
}

fn refused(logical: &LogicalType, purpose: Purpose) -> ClientError {
    match purpose {
        Purpose::Assign => refusal::not_assignable(logical),
        Purpose::Compare | Purpose::Flow => refusal::not_comparable(logical),
    }
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
                | oid::FLOAT4
                | oid::FLOAT8
                | oid::TIME
                | oid::TIMETZ
                | oid::INTERVAL
                | oid::INET
                | oid::CIDR
                | oid::MACADDR
        );
    match logical {
        LogicalType::Text | LogicalType::Varchar(_) | LogicalType::Char(_) => {
            !known || purpose == Purpose::Assign
        }
        LogicalType::Date | LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => {
            !known || matches!(declared, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ)
        }
        LogicalType::Time(_) | LogicalType::Timetz(_) | LogicalType::Interval(_) => {
            let time = matches!(declared, oid::TIME | oid::TIMETZ | oid::INTERVAL);
            !known || time || matches!(declared, oid::TIMESTAMP | oid::TIMESTAMPTZ)
        }
        LogicalType::Int2 | LogicalType::Int4 | LogicalType::Int8 | LogicalType::Numeric { .. } => {
            !known || matches!(declared, oid::FLOAT4 | oid::FLOAT8)
        }
        LogicalType::UnboundedNumeric => !known || matches!(declared, oid::FLOAT4 | oid::FLOAT8),
        LogicalType::Cidr => !known || declared == oid::INET,
        LogicalType::Json => !known || declared == oid::JSONB,
        // PostgreSQL has no other type that it would convert to an enum.
        LogicalType::Enum(_) => false,
        _ => !known,
    }
}
