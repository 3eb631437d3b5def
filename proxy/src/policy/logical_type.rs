//! The types that a protected column can have for the application, with the numbers by which
//! PostgreSQL describes them on the wire (`pg_type`).

use std::fmt;
use thiserror::Error;

/// A logical type with its modifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogicalType {
    /// `text`
    Text,
    /// `varchar` or `varchar(n)`, n in characters.
    Varchar(Option<u32>),
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `boolean`
    Bool,
    /// `date`
    Date,
    /// `timestamp with time zone`, microseconds.
    Timestamptz,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `numeric(precision, scale)`: always with both, so that equal values are equal bytes.
    Numeric {
        /// Total digits, 1 to 1000.
        precision: u16,
        /// Digits after the point, 0 to `precision`.
        scale: u16,
    },
    /// `jsonb` (randomized only: its equality is not equality of text).
    Jsonb,
}

/// Type OIDs (`pg_type.oid`) that clients declare for parameters or see in descriptions.
pub mod oid {
    /// `boolean`
    pub const BOOL: u32 = 16;
    /// `bytea`
    pub const BYTEA: u32 = 17;
    /// `name`
    pub const NAME: u32 = 19;
    /// `bigint`
    pub const INT8: u32 = 20;
    /// `smallint`
    pub const INT2: u32 = 21;
    /// `integer`
    pub const INT4: u32 = 23;
    /// `text`
    pub const TEXT: u32 = 25;
    /// `json`
    pub const JSON: u32 = 114;
    /// `double precision`
    pub const FLOAT8: u32 = 701;
    /// The pseudo-type of a literal or parameter without a type of its own.
    pub const UNKNOWN: u32 = 705;
    /// `character(n)`
    pub const BPCHAR: u32 = 1042;
    /// `character varying`
    pub const VARCHAR: u32 = 1043;
    /// `date`
    pub const DATE: u32 = 1082;
    /// `timestamp without time zone`
    pub const TIMESTAMP: u32 = 1114;
    /// `timestamp with time zone`
    pub const TIMESTAMPTZ: u32 = 1184;
    /// `numeric`
    pub const NUMERIC: u32 = 1700;
    /// `uuid`
    pub const UUID: u32 = 2950;
    /// `jsonb`
    pub const JSONB: u32 = 3802;

    /// Whether the type's values are strings: `text`, `varchar`, `character(n)`, `name`.
    pub fn is_string(oid: u32) -> bool {
        matches!(oid, TEXT | VARCHAR | BPCHAR | NAME)
    }

    /// Whether it is `smallint`, `integer` or `bigint`.
    pub fn is_integer(oid: u32) -> bool {
        matches!(oid, INT2 | INT4 | INT8)
    }
}

/// Why a type name in a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogicalTypeError {
    /// No logical type has this name.
    #[error(
        "unknown type `{0}`: use one of text, varchar(n), smallint, integer, bigint, boolean, date, \
         timestamptz, uuid, bytea, numeric(precision, scale), jsonb"
    )]
    Unknown(String),
    /// `numeric` alone would keep each value's own scale, so that equal values were unequal bytes.
    #[error("numeric needs precision and scale, such as numeric(12,2)")]
    NumericUnbounded,
    /// Precision or scale out of range.
    #[error("numeric({0},{1}): precision must be 1 to 1000, and scale 0 to the precision")]
    NumericRange(u32, u32),
    /// Length out of range.
    #[error("varchar({0}): the length must be 1 to 10485760")]
    VarcharRange(u32),
    /// A modifier that is malformed, or on a type that takes none.
    #[error("`({1})` does not fit type {0}")]
    Modifier(&'static str, String),
}

/// What PostgreSQL adds to a length or precision in `atttypmod` (the size of a varlena header).
const TYPMOD_OFFSET: i32 = 4;

impl LogicalType {
    /// The type's OID.
    pub fn oid(&self) -> u32 {
        match self {
            Self::Text => oid::TEXT,
            Self::Varchar(_) => oid::VARCHAR,
            Self::Int2 => oid::INT2,
            Self::Int4 => oid::INT4,
            Self::Int8 => oid::INT8,
            Self::Bool => oid::BOOL,
            Self::Date => oid::DATE,
            Self::Timestamptz => oid::TIMESTAMPTZ,
            Self::Uuid => oid::UUID,
            Self::Bytea => oid::BYTEA,
            Self::Numeric { .. } => oid::NUMERIC,
            Self::Jsonb => oid::JSONB,
        }
    }

    /// `atttypmod`: -1 where there is none.
    pub fn typmod(&self) -> i32 {
        match self {
            Self::Varchar(Some(length)) => {
                i32::try_from(*length).map_or(-1, |n| n.saturating_add(TYPMOD_OFFSET))
            }
            Self::Numeric { precision, scale } => {
                ((i32::from(*precision) << 16) | i32::from(*scale)).saturating_add(TYPMOD_OFFSET)
            }
            _ => -1,
        }
    }

    /// `typlen`: bytes of a value, -1 for types of variable length.
    pub fn size(&self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Date => 4,
            Self::Int8 | Self::Timestamptz => 8,
            Self::Uuid => 16,
            Self::Text | Self::Varchar(_) | Self::Bytea | Self::Numeric { .. } | Self::Jsonb => -1,
        }
    }

    /// The type's name without its modifier, as PostgreSQL's messages spell it.
    pub fn base_name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Varchar(_) => "character varying",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Timestamptz => "timestamp with time zone",
            Self::Uuid => "uuid",
            Self::Bytea => "bytea",
            Self::Numeric { .. } => "numeric",
            Self::Jsonb => "jsonb",
        }
    }

    /// The type as `format_type` shows it: `character varying(20)`, `numeric(12,2)`, …
    pub fn sql_name(&self) -> String {
        self.to_string()
    }

    /// Whether equal values are equal bytes, so that the deterministic mode keeps equality.
    pub fn supports_deterministic(&self) -> bool {
        *self != Self::Jsonb
    }

    /// Reads a type as PostgreSQL names it, in any case and spacing: `varchar(20)`,
    /// `timestamp with time zone`, `decimal(12, 2)`, …
    pub fn parse(text: &str) -> Result<Self, LogicalTypeError> {
        let unknown = || LogicalTypeError::Unknown(text.trim().to_owned());
        let (name, modifier) = match text.split_once('(') {
            Some((name, rest)) => (name, Some(rest.trim_end().strip_suffix(')').ok_or_else(unknown)?.trim())),
            None => (text, None),
        };
        let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
        let plain = match name.as_str() {
            "varchar" | "character varying" => return varchar(modifier),
            "numeric" | "decimal" | "dec" => return numeric(modifier),
            "text" => Self::Text,
            "smallint" | "int2" => Self::Int2,
            "integer" | "int4" | "int" => Self::Int4,
            "bigint" | "int8" => Self::Int8,
            "boolean" | "bool" => Self::Bool,
            "date" => Self::Date,
            "timestamptz" | "timestamp with time zone" => Self::Timestamptz,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytea,
            "jsonb" => Self::Jsonb,
            _ => return Err(unknown()),
        };
        match modifier {
            None => Ok(plain),
            Some(modifier) => Err(LogicalTypeError::Modifier(plain.base_name(), modifier.to_owned())),
        }
    }
}

fn varchar(modifier: Option<&str>) -> Result<LogicalType, LogicalTypeError> {
    let Some(modifier) = modifier else { return Ok(LogicalType::Varchar(None)) };
    match modifier.parse() {
        Ok(length @ 1..=10_485_760) => Ok(LogicalType::Varchar(Some(length))),
        Ok(length) => Err(LogicalTypeError::VarcharRange(length)),
        Err(_) => Err(LogicalTypeError::Modifier("character varying", modifier.to_owned())),
    }
}

fn numeric(modifier: Option<&str>) -> Result<LogicalType, LogicalTypeError> {
    let modifier = modifier.ok_or(LogicalTypeError::NumericUnbounded)?;
    let malformed = |_| LogicalTypeError::Modifier("numeric", modifier.to_owned());
    let (precision, scale) = modifier.split_once(',').ok_or(LogicalTypeError::NumericUnbounded)?;
    let precision: u32 = precision.trim().parse().map_err(malformed)?;
    let scale: u32 = scale.trim().parse().map_err(malformed)?;
    match (u16::try_from(precision), u16::try_from(scale)) {
        (Ok(precision @ 1..=1000), Ok(scale)) if scale <= precision => {
            Ok(LogicalType::Numeric { precision, scale })
        }
        _ => Err(LogicalTypeError::NumericRange(precision, scale)),
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base_name())?;
        match self {
            Self::Varchar(Some(length)) => write!(f, "({length})"),
            Self::Numeric { precision, scale } => write!(f, "({precision},{scale})"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_postgresql_names_and_aliases() {
        let numeric = LogicalType::Numeric { precision: 12, scale: 2 };
        for (text, expected, name, oid, typmod, size) in [
            ("text", LogicalType::Text, "text", 25, -1, -1),
            (" VARCHAR ( 20 ) ", LogicalType::Varchar(Some(20)), "character varying(20)", 1043, 24, -1),
            ("character  varying", LogicalType::Varchar(None), "character varying", 1043, -1, -1),
            ("int2", LogicalType::Int2, "smallint", 21, -1, 2),
            ("int", LogicalType::Int4, "integer", 23, -1, 4),
            ("bigint", LogicalType::Int8, "bigint", 20, -1, 8),
            ("bool", LogicalType::Bool, "boolean", 16, -1, 1),
            ("date", LogicalType::Date, "date", 1082, -1, 4),
            ("timestamp with time zone", LogicalType::Timestamptz, "timestamp with time zone", 1184, -1, 8),
            ("timestamptz", LogicalType::Timestamptz, "timestamp with time zone", 1184, -1, 8),
            ("uuid", LogicalType::Uuid, "uuid", 2950, -1, 16),
            ("bytea", LogicalType::Bytea, "bytea", 17, -1, -1),
            ("decimal(12, 2)", numeric, "numeric(12,2)", 1700, 786_438, -1),
            ("jsonb", LogicalType::Jsonb, "jsonb", 3802, -1, -1),
        ] {
            let logical = LogicalType::parse(text).unwrap();
            assert_eq!(logical, expected);
            assert_eq!(LogicalType::parse(&logical.sql_name()), Ok(logical.clone()));
            assert_eq!(
                (logical.sql_name().as_str(), logical.oid(), logical.typmod(), logical.size()),
                (name, oid, typmod, size)
            );
            assert_eq!(logical.supports_deterministic(), text != "jsonb");
        }
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        for (text, message) in [
            ("numeric", "numeric needs precision and scale, such as numeric(12,2)"),
            ("numeric(12)", "numeric needs precision and scale, such as numeric(12,2)"),
            ("numeric(12,x)", "`(12,x)` does not fit type numeric"),
            ("numeric(2,3)", "numeric(2,3): precision must be 1 to 1000, and scale 0 to the precision"),
            ("numeric(1001,0)", "numeric(1001,0): precision must be 1 to 1000, and scale 0 to the precision"),
            ("varchar(0)", "varchar(0): the length must be 1 to 10485760"),
            ("varchar()", "`()` does not fit type character varying"),
            ("timestamptz(3)", "`(3)` does not fit type timestamp with time zone"),
        ] {
            assert_eq!(LogicalType::parse(text).unwrap_err().to_string(), message);
        }
        for text in ["", "money", "text[]", "varchar(20", "timestamp", "varchar(20)[]"] {
            assert!(matches!(LogicalType::parse(text), Err(LogicalTypeError::Unknown(_))), "{text}");
        }
    }
}
