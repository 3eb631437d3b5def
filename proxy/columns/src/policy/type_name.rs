//! Type names as people write them in policies -> [`LogicalType`].

use super::{LogicalType, Precision, QualifiedName};
use std::sync::Arc;
use thiserror::Error;

/// Why a type name in a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogicalTypeError {
    /// No logical type has this name.
    #[error(
        "unknown type `{0}`: use one of text, varchar(n), char(n), smallint, integer, bigint, real, \
         double precision, numeric(precision, scale), boolean, date, time, timetz, timestamp, \
         timestamptz, interval, uuid, bytea, inet, cidr, macaddr, json, jsonb, the name of an enum or \
         domain with its schema, such as public.mood, or an array of any of these, such as text[]"
    )]
    Unknown(String),
    /// Precision or scale out of range.
    #[error("numeric({0},{1}): precision must be 1 to 1000, and scale 0 to the precision")]
    NumericRange(u32, u32),
    /// Length out of range.
    #[error("{0}({1}): the length must be 1 to 10485760")]
    LengthRange(&'static str, u32),
    /// A modifier that is malformed, or on a type that takes none.
    #[error("`({1})` does not fit type {0}")]
    Modifier(String, String),
}

impl LogicalType {
    /// Reads a type as PostgreSQL names it, in any case and spacing: `varchar(20)`,
    /// `timestamp with time zone`, `decimal(12, 2)`, `integer[]`, …; a type of the database's own by its
    /// name with its schema.
    pub fn parse(text: &str) -> Result<Self, LogicalTypeError> {
        let unknown = || LogicalTypeError::Unknown(text.trim().to_owned());
        let mut element = text.trim();
        while let Some(rest) = element.strip_suffix(']') {
            element = rest.trim_end().strip_suffix('[').ok_or_else(unknown)?.trim_end();
        }
        let scalar = match QualifiedName::folded(element) {
            Some(name) => Self::Named(Arc::new(name)),
            None => built_in(element, unknown)?,
        };
        Ok(if element.len() < text.trim().len() { Self::Array(Box::new(scalar)) } else { scalar })
    }
}

fn built_in(text: &str, unknown: impl Fn() -> LogicalTypeError) -> Result<LogicalType, LogicalTypeError> {
    // The modifier stands within the name: timestamp(3) with time zone.
    let (name, modifier) = match text.split_once('(') {
        Some((before, rest)) => {
            let (modifier, after) = rest.split_once(')').ok_or_else(&unknown)?;
            (format!("{before} {after}"), Some(modifier.trim()))
        }
        None => (text.to_owned(), None),
    };
    let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let plain = match name.as_str() {
        "varchar" | "character varying" => {
            return Ok(LogicalType::Varchar(length("character varying", modifier)?));
        }
        "char" | "character" => return Ok(LogicalType::Char(length("character", modifier)?.unwrap_or(1))),
        "bpchar" if modifier.is_some() => {
            return Ok(LogicalType::Char(length("character", modifier)?.ok_or_else(unknown)?));
        }
        "numeric" | "decimal" | "dec" => return numeric(modifier),
        "float" => return float(modifier),
        "time" | "time without time zone" => return Ok(LogicalType::Time(precision("time", modifier)?)),
        "timetz" | "time with time zone" => {
            return Ok(LogicalType::Timetz(precision("time with time zone", modifier)?));
        }
        "timestamp" | "timestamp without time zone" => {
            return Ok(LogicalType::Timestamp(precision("timestamp", modifier)?));
        }
        "timestamptz" | "timestamp with time zone" => {
            return Ok(LogicalType::Timestamptz(precision("timestamp with time zone", modifier)?));
        }
        "interval" => return Ok(LogicalType::Interval(precision("interval", modifier)?)),
        "text" => LogicalType::Text,
        "smallint" | "int2" => LogicalType::Int2,
        "integer" | "int4" | "int" => LogicalType::Int4,
        "bigint" | "int8" => LogicalType::Int8,
        "real" | "float4" => LogicalType::Float4,
        "double precision" | "float8" => LogicalType::Float8,
        "boolean" | "bool" => LogicalType::Bool,
        "date" => LogicalType::Date,
        "uuid" => LogicalType::Uuid,
        "bytea" => LogicalType::Bytea,
        "inet" => LogicalType::Inet,
        "cidr" => LogicalType::Cidr,
        "macaddr" => LogicalType::Macaddr,
        "json" => LogicalType::Json,
        "jsonb" => LogicalType::Jsonb,
        _ => return Err(unknown()),
    };
    match modifier {
        None => Ok(plain),
        Some(modifier) => Err(LogicalTypeError::Modifier(plain.sql_name(), modifier.to_owned())),
    }
}

fn length(name: &'static str, modifier: Option<&str>) -> Result<Option<u32>, LogicalTypeError> {
    let Some(modifier) = modifier else { return Ok(None) };
    match modifier.parse() {
        Ok(length @ 1..=10_485_760) => Ok(Some(length)),
        Ok(length) => Err(LogicalTypeError::LengthRange(name, length)),
        Err(_) => Err(LogicalTypeError::Modifier(name.to_owned(), modifier.to_owned())),
    }
}

fn precision(name: &'static str, modifier: Option<&str>) -> Result<Precision, LogicalTypeError> {
    let Some(modifier) = modifier else { return Ok(None) };
    match modifier.parse() {
        Ok(digits @ 0..=6) => Ok(Some(digits)),
        _ => Err(LogicalTypeError::Modifier(name.to_owned(), modifier.to_owned())),
    }
}

fn float(modifier: Option<&str>) -> Result<LogicalType, LogicalTypeError> {
    match modifier.map(str::parse::<u8>) {
        Some(Ok(1..=24)) => Ok(LogicalType::Float4),
        None | Some(Ok(25..=53)) => Ok(LogicalType::Float8),
        _ => Err(LogicalTypeError::Modifier("float".to_owned(), modifier.unwrap_or_default().to_owned())),
    }
}

fn numeric(modifier: Option<&str>) -> Result<LogicalType, LogicalTypeError> {
    let Some(modifier) = modifier else { return Ok(LogicalType::UnboundedNumeric) };
    let malformed = |_| LogicalTypeError::Modifier("numeric".to_owned(), modifier.to_owned());
    let (precision, scale) = modifier.split_once(',').unwrap_or((modifier, "0"));
    let precision: u32 = precision.trim().parse().map_err(malformed)?;
    let scale: u32 = scale.trim().parse().map_err(malformed)?;
    match (u16::try_from(precision), u16::try_from(scale)) {
        (Ok(precision @ 1..=1000), Ok(scale)) if scale <= precision => {
            Ok(LogicalType::Numeric { precision, scale })
        }
        _ => Err(LogicalTypeError::NumericRange(precision, scale)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(element: LogicalType) -> LogicalType {
        LogicalType::Array(Box::new(element))
    }

    fn named(schema: &str, name: &str) -> LogicalType {
        LogicalType::Named(Arc::new(QualifiedName::new(schema, name)))
    }

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
            (
                "timestamp with time zone",
                LogicalType::Timestamptz(None),
                "timestamp with time zone",
                1184,
                -1,
                8,
            ),
            ("timestamptz", LogicalType::Timestamptz(None), "timestamp with time zone", 1184, -1, 8),
            ("uuid", LogicalType::Uuid, "uuid", 2950, -1, 16),
            ("bytea", LogicalType::Bytea, "bytea", 17, -1, -1),
            ("decimal(12, 2)", numeric, "numeric(12,2)", 1700, 786_438, -1),
            ("jsonb", LogicalType::Jsonb, "jsonb", 3802, -1, -1),
            ("CHAR", LogicalType::Char(1), "character(1)", 1042, 5, -1),
            ("bpchar(7)", LogicalType::Char(7), "character(7)", 1042, 11, -1),
            ("float(24)", LogicalType::Float4, "real", 700, -1, 4),
            ("float", LogicalType::Float8, "double precision", 701, -1, 8),
            (
                "numeric(12)",
                LogicalType::Numeric { precision: 12, scale: 0 },
                "numeric(12,0)",
                1700,
                786_436,
                -1,
            ),
            ("decimal", LogicalType::UnboundedNumeric, "numeric", 1700, -1, -1),
            ("time", LogicalType::Time(None), "time without time zone", 1083, -1, 8),
            ("time(3) with time zone", LogicalType::Timetz(Some(3)), "time(3) with time zone", 1266, 3, 12),
            ("timestamp(0)", LogicalType::Timestamp(Some(0)), "timestamp(0) without time zone", 1114, 0, 8),
            ("timestamptz(6)", LogicalType::Timestamptz(Some(6)), "timestamp(6) with time zone", 1184, 6, 8),
            ("interval(2)", LogicalType::Interval(Some(2)), "interval(2)", 1186, 2_147_418_114, 16),
            ("inet", LogicalType::Inet, "inet", 869, -1, -1),
            ("cidr", LogicalType::Cidr, "cidr", 650, -1, -1),
            ("macaddr", LogicalType::Macaddr, "macaddr", 829, -1, 6),
            ("json", LogicalType::Json, "json", 114, -1, -1),
            ("varchar(5)[][]", array(LogicalType::Varchar(Some(5))), "character varying(5)[]", 1015, 9, -1),
            ("date [ ]", array(LogicalType::Date), "date[]", 1182, -1, -1),
            ("public.mood", named("public", "mood"), "public.mood", 0, -1, -1),
            ("Public.\"Odd.Mood\"[]", array(named("public", "Odd.Mood")), "public.Odd.Mood[]", 0, -1, -1),
        ] {
            let logical = LogicalType::parse(text).unwrap();
            assert_eq!(logical, expected);
            assert!(logical.is_named() || LogicalType::parse(&logical.sql_name()) == Ok(logical.clone()));
            assert_eq!(
                (logical.sql_name().as_str(), logical.oid(), logical.typmod(), logical.size()),
                (name, oid, typmod, size)
            );
        }
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        for (text, message) in [
            ("numeric(12,x)", "`(12,x)` does not fit type numeric"),
            ("numeric(2,3)", "numeric(2,3): precision must be 1 to 1000, and scale 0 to the precision"),
            ("numeric(1001,0)", "numeric(1001,0): precision must be 1 to 1000, and scale 0 to the precision"),
            ("varchar(0)", "character varying(0): the length must be 1 to 10485760"),
            ("varchar()", "`()` does not fit type character varying"),
            ("timestamptz(7)", "`(7)` does not fit type timestamp with time zone"),
            ("char(0)", "character(0): the length must be 1 to 10485760"),
            ("float(54)", "`(54)` does not fit type float"),
            ("text(3)", "`(3)` does not fit type text"),
            ("interval(-1)", "`(-1)` does not fit type interval"),
        ] {
            assert_eq!(LogicalType::parse(text).unwrap_err().to_string(), message);
        }
        for text in [
            "",
            "money",
            "varchar(20",
            "interval day",
            "[]",
            "pg_catalog.",
            "a.b.c",
            "public.mood(3)",
            "bpchar",
        ] {
            assert!(matches!(LogicalType::parse(text), Err(LogicalTypeError::Unknown(_))), "{text}");
        }
    }
}
