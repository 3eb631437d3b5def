//! The types that a protected column can have for the application, with the numbers by which
//! PostgreSQL describes them on the wire (`pg_type`).

use super::QualifiedName;
use super::oid;
use super::types::{Domain, Enum};
use std::fmt;
use std::sync::Arc;

/// Digits of a second that are kept, 0 to 6; `None` is all six.
pub type Precision = Option<u8>;

/// A logical type with its modifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogicalType {
    /// `text`
    Text,
    /// `varchar` or `varchar(n)`, n in characters.
    Varchar(Option<u32>),
    /// `char(n)`, n in characters.
    Char(u32),
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real` (randomized only, as is `double precision`: 0 and -0 are equal and shown as they are).
    Float4,
    /// `double precision`
    Float8,
    /// `boolean`
    Bool,
    /// `date`
    Date,
    /// `time without time zone`
    Time(Precision),
    /// `time with time zone`: equal only with the same offset.
    Timetz(Precision),
    /// `timestamp without time zone`
    Timestamp(Precision),
    /// `timestamp with time zone`
    Timestamptz(Precision),
    /// `interval` (randomized only: a month equals 30 days and is shown as a month).
    Interval(Precision),
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `numeric(precision, scale)`: the scale is the column's, so that equal values are equal bytes.
    Numeric {
        /// Total digits, 1 to 1000.
        precision: u16,
        /// Digits after the point, 0 to `precision`.
        scale: u16,
    },
    /// `numeric` with each value's own scale (randomized only: 1.0 equals 1.00).
    UnboundedNumeric,
    /// `inet`
    Inet,
    /// `cidr`
    Cidr,
    /// `macaddr`
    Macaddr,
    /// `json` (randomized only: it has no equality).
    Json,
    /// `jsonb` (randomized only: its equality is not equality of text).
    Jsonb,
    /// Values of another type in an array (randomized only).
    Array(Box<LogicalType>),
    /// A type of the database's own by its name, before a database's catalog has been asked.
    Named(Arc<QualifiedName>),
    /// An enum type of one database.
    Enum(Arc<Enum>),
    /// A domain of one database.
    Domain(Arc<Domain>),
}

/// What PostgreSQL adds to a length or precision in `atttypmod` (the size of a varlena header).
const TYPMOD_OFFSET: i32 = 4;
/// The fields of an `interval` without any named, in the upper half of `atttypmod`.
const INTERVAL_FULL_RANGE: i32 = 0x7fff << 16;

impl LogicalType {
    /// The type's OID as clients are told: a domain's is its base type's. 0 for a named type that no
    /// catalog has resolved.
    pub fn oid(&self) -> u32 {
        match self {
            Self::Text => oid::TEXT,
            Self::Varchar(_) => oid::VARCHAR,
            Self::Char(_) => oid::BPCHAR,
            Self::Int2 => oid::INT2,
            Self::Int4 => oid::INT4,
            Self::Int8 => oid::INT8,
            Self::Float4 => oid::FLOAT4,
            Self::Float8 => oid::FLOAT8,
            Self::Bool => oid::BOOL,
            Self::Date => oid::DATE,
            Self::Time(_) => oid::TIME,
            Self::Timetz(_) => oid::TIMETZ,
            Self::Timestamp(_) => oid::TIMESTAMP,
            Self::Timestamptz(_) => oid::TIMESTAMPTZ,
            Self::Interval(_) => oid::INTERVAL,
            Self::Uuid => oid::UUID,
            Self::Bytea => oid::BYTEA,
            Self::Numeric { .. } | Self::UnboundedNumeric => oid::NUMERIC,
            Self::Inet => oid::INET,
            Self::Cidr => oid::CIDR,
            Self::Macaddr => oid::MACADDR,
            Self::Json => oid::JSON,
            Self::Jsonb => oid::JSONB,
            Self::Array(element) => element.array_oid(),
            Self::Named(_) => 0,
            Self::Enum(own) => own.oid,
            Self::Domain(domain) => domain.base.oid(),
        }
    }

    /// The OID by which the database itself knows the type: a domain's own.
    pub fn own_oid(&self) -> u32 {
        match self {
            Self::Domain(domain) => domain.oid,
            other => other.oid(),
        }
    }

    /// The OID of arrays of this type (`typarray`).
    fn array_oid(&self) -> u32 {
        match self {
            Self::Enum(own) => own.array_oid,
            Self::Domain(domain) => domain.array_oid,
            other => oid::array_of(other.oid()).unwrap_or(0),
        }
    }

    /// `atttypmod`: -1 where there is none.
    pub fn typmod(&self) -> i32 {
        match self {
            Self::Varchar(Some(length)) | Self::Char(length) => {
                i32::try_from(*length).map_or(-1, |n| n.saturating_add(TYPMOD_OFFSET))
            }
            Self::Numeric { precision, scale } => {
                ((i32::from(*precision) << 16) | i32::from(*scale)).saturating_add(TYPMOD_OFFSET)
            }
            Self::Time(Some(digits))
            | Self::Timetz(Some(digits))
            | Self::Timestamp(Some(digits))
            | Self::Timestamptz(Some(digits)) => i32::from(*digits),
            Self::Interval(Some(digits)) => INTERVAL_FULL_RANGE | i32::from(*digits),
            // An array of a domain has none, for the domain has its own.
            Self::Array(element) if matches!(**element, Self::Domain(_)) => -1,
            Self::Array(element) => element.typmod(),
            Self::Domain(domain) => domain.base.typmod(),
            _ => -1,
        }
    }

    /// `typlen`: bytes of a value, -1 for types of variable length.
    pub fn size(&self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Date | Self::Float4 | Self::Enum(_) => 4,
            Self::Macaddr => 6,
            Self::Int8 | Self::Float8 | Self::Time(_) | Self::Timestamp(_) | Self::Timestamptz(_) => 8,
            Self::Timetz(_) => 12,
            Self::Interval(_) | Self::Uuid => 16,
            Self::Domain(domain) => domain.base.size(),
            Self::Text
            | Self::Varchar(_)
            | Self::Char(_)
            | Self::Bytea
            | Self::Numeric { .. }
            | Self::UnboundedNumeric
            | Self::Inet
            | Self::Cidr
            | Self::Json
            | Self::Jsonb
            | Self::Array(_)
            | Self::Named(_) => -1,
        }
    }

    /// The type's name without its modifier, as PostgreSQL's messages spell it: of a domain its base
    /// type's, of an array its elements'.
    pub fn base_name(&self) -> &str {
        match self {
            Self::Text => "text",
            Self::Varchar(_) => "character varying",
            Self::Char(_) => "character",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Time(_) => "time without time zone",
            Self::Timetz(_) => "time with time zone",
            Self::Timestamp(_) => "timestamp without time zone",
            Self::Timestamptz(_) => "timestamp with time zone",
            Self::Interval(_) => "interval",
            Self::Uuid => "uuid",
            Self::Bytea => "bytea",
            Self::Numeric { .. } | Self::UnboundedNumeric => "numeric",
            Self::Inet => "inet",
            Self::Cidr => "cidr",
            Self::Macaddr => "macaddr",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Array(element) => element.base_name(),
            Self::Named(name) => &name.name,
            Self::Enum(own) => &own.name.name,
            Self::Domain(domain) => domain.base.base_name(),
        }
    }

    /// The type as `format_type` shows it: `character varying(20)`, `numeric(12,2)`, …
    pub fn sql_name(&self) -> String {
        self.to_string()
    }

    /// Whether equal values are equal bytes, so that the deterministic mode keeps equality. Not known
    /// of a named type: then it holds until the catalog tells.
    pub fn supports_deterministic(&self) -> bool {
        match self {
            Self::Float4
            | Self::Float8
            | Self::Interval(_)
            | Self::UnboundedNumeric
            | Self::Json
            | Self::Jsonb
            | Self::Array(_) => false,
            Self::Domain(domain) => domain.base.supports_deterministic(),
            _ => true,
        }
    }

    /// Whether assignment rounds, cuts, pads or refuses values that comparison takes as they are.
    pub fn alters_assigned(&self) -> bool {
        match self {
            Self::Varchar(Some(_))
            | Self::Char(_)
            | Self::Numeric { .. }
            | Self::Time(Some(_))
            | Self::Timetz(Some(_))
            | Self::Timestamp(Some(_))
            | Self::Timestamptz(Some(_))
            | Self::Interval(Some(_))
            | Self::Cidr => true,
            Self::Array(element) => element.alters_assigned(),
            Self::Domain(domain) => domain.checked || domain.base.alters_assigned(),
            _ => false,
        }
    }

    /// Whether it is the type of the database's own with this name, or made of it.
    pub fn is_made_of(&self, schema: Option<&str>, name: &str) -> bool {
        let own = |own: &QualifiedName| own.name == name && schema.is_none_or(|schema| own.schema == schema);
        match self {
            Self::Named(of) => own(of),
            Self::Enum(of) => own(&of.name),
            Self::Domain(of) => own(&of.name) || of.base.is_made_of(schema, name),
            Self::Array(element) => element.is_made_of(schema, name),
            _ => false,
        }
    }

    /// Whether it is `real` or `double precision`, or made of it.
    pub fn has_floats(&self) -> bool {
        match self {
            Self::Float4 | Self::Float8 => true,
            Self::Array(element) => element.has_floats(),
            Self::Domain(domain) => domain.base.has_floats(),
            _ => false,
        }
    }

    /// Whether a catalog must tell what it is.
    pub fn is_named(&self) -> bool {
        match self {
            Self::Named(_) => true,
            Self::Array(element) => element.is_named(),
            _ => false,
        }
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Varchar(Some(length)) => write!(f, "character varying({length})"),
            Self::Char(length) => write!(f, "character({length})"),
            Self::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            Self::Time(Some(digits)) => write!(f, "time({digits}) without time zone"),
            Self::Timetz(Some(digits)) => write!(f, "time({digits}) with time zone"),
            Self::Timestamp(Some(digits)) => write!(f, "timestamp({digits}) without time zone"),
            Self::Timestamptz(Some(digits)) => write!(f, "timestamp({digits}) with time zone"),
            Self::Interval(Some(digits)) => write!(f, "interval({digits})"),
            Self::Array(element) => write!(f, "{element}[]"),
            Self::Named(name) => write!(f, "{name}"),
            Self::Enum(own) => write!(f, "{}", own.name),
            Self::Domain(domain) => write!(f, "{}", domain.name),
            _ => f.write_str(self.base_name()),
        }
    }
}
