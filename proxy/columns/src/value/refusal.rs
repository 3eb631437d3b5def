//! The errors of this module: PostgreSQL's SQLSTATE and wording for the same situation, without the
//! value that PostgreSQL would quote.

use crate::error::{ClientError, Code, sqlstate};
use crate::policy::LogicalType;

const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
const UNDEFINED_FUNCTION: &str = "42883";

/// Text that is not a value of the type.
pub(super) fn syntax(logical: &LogicalType) -> ClientError {
    let name = match logical {
        LogicalType::Jsonb => "json",
        LogicalType::Time(_) => "time",
        LogicalType::Timestamp(_) => "timestamp",
        other => other.base_name(),
    };
    let state = match logical {
        LogicalType::Date
        | LogicalType::Time(_)
        | LogicalType::Timetz(_)
        | LogicalType::Timestamp(_)
        | LogicalType::Timestamptz(_)
        | LogicalType::Interval(_) => sqlstate::INVALID_DATETIME_FORMAT,
        _ => sqlstate::INVALID_TEXT_REPRESENTATION,
    };
    ClientError::new(state, format!("invalid input syntax for type {name}"), "")
}

/// A number that the type cannot hold.
pub(super) fn out_of_range(logical: &LogicalType) -> ClientError {
    match logical {
        LogicalType::Date => ClientError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range", ""),
        LogicalType::Timestamp(_) | LogicalType::Timestamptz(_) => {
            ClientError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range", "")
        }
        LogicalType::Time(_) | LogicalType::Timetz(_) => {
            ClientError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "time out of range", "")
        }
        LogicalType::Interval(_) => {
            ClientError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range", "")
        }
        _ => ClientError::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value is out of range for type {logical}"),
            "",
        ),
    }
}

/// An offset from UTC that no zone has.
pub(super) fn displacement() -> ClientError {
    ClientError::new("22009", "time zone displacement out of range", "")
}

/// Text that is none of an enum's labels.
pub(super) fn not_a_label(name: &str) -> ClientError {
    ClientError::new(
        sqlstate::INVALID_TEXT_REPRESENTATION,
        format!("invalid input value for enum {name}"),
        "",
    )
}

/// A value for a domain whose CHECKs nobody can evaluate over cells.
pub(super) fn checked_domain(domain: &str) -> ClientError {
    unsupported(
        format!("a value cannot be stored as domain {domain}: its CHECK cannot be evaluated over cells"),
        "Put the check into the application, and drop it from the domain.",
    )
}

/// NULL in an array of a domain that is NOT NULL.
pub(super) fn null_in_domain(domain: &str) -> ClientError {
    ClientError::new("23502", format!("domain {domain} does not allow null values"), "")
}

/// A type of the database's own that its catalog does not show.
pub(super) fn unresolved(logical: &LogicalType) -> ClientError {
    unsupported(
        format!("type {logical} of the policy is not known in this database"),
        "Create the type, or correct its name in the policy.",
    )
}

/// An array in binary form whose elements are of another type than its column's.
pub(super) fn other_elements(logical: &LogicalType) -> ClientError {
    ClientError::new(
        sqlstate::DATATYPE_MISMATCH,
        format!("binary data has another array element type than {logical}"),
        "",
    )
}

/// Bytes that are not text.
pub(super) fn not_text() -> ClientError {
    ClientError::new(CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"", "")
}

/// A parameter in binary form that is too short for its type.
pub(super) fn truncated() -> ClientError {
    ClientError::new(sqlstate::PROTOCOL_VIOLATION, "insufficient data left in message", "")
}

/// A parameter in binary form that its type does not read.
pub(super) fn malformed(logical: &LogicalType) -> ClientError {
    ClientError::new(
        sqlstate::INVALID_BINARY_REPRESENTATION,
        format!("incorrect binary data format for type {logical}"),
        "",
    )
}

/// A form that PostgreSQL may accept and this proxy does not read.
pub(super) fn unsupported(message: String, hint: &str) -> ClientError {
    ClientError::refused(Code::ValueForm, message, hint)
}

/// A value too large to be kept.
pub(super) fn too_large(logical: &LogicalType) -> ClientError {
    ClientError::new(PROGRAM_LIMIT_EXCEEDED, format!("value is too large for type {logical}"), "")
}

/// A parameter declared with a type that PostgreSQL does not assign to the column's.
pub(super) fn not_assignable(logical: &LogicalType) -> ClientError {
    ClientError::refused(
        Code::DeclaredType,
        format!("column is of type {logical} but the parameter is declared with another type"),
        "Declare the parameter with the column's type, or leave its type to the server.",
    )
}

/// A parameter declared with a type that PostgreSQL does not compare with the column's.
pub(super) fn not_comparable(logical: &LogicalType) -> ClientError {
    ClientError::new(
        UNDEFINED_FUNCTION,
        format!("operator does not exist: {logical} and the parameter's declared type"),
        "Declare the parameter with the column's type, or leave its type to the server.",
    )
}

/// Decrypted bytes that are not a value of the column's type: the policy's type was changed, or
/// another client wrote them.
pub(super) fn corrupted(logical: &LogicalType) -> ClientError {
    ClientError::refused(
        Code::Corrupted,
        format!("the stored value is not of type {logical}"),
        "Check whether the policy's type for this column was changed after values were stored.",
    )
}
