//! The types of columns, with values that are worth trying. One line turns on a further type.

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`
    Text,
    /// `varchar(12)`
    Varchar,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `bool`
    Bool,
    /// `date`
    Date,
    /// `timestamptz`
    Timestamptz,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `numeric(12,2)`
    Numeric,
    /// `jsonb`
    Jsonb,
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 12] = [
        Self::Text,
        Self::Varchar,
        Self::Int2,
        Self::Int4,
        Self::Int8,
        Self::Bool,
        Self::Date,
        Self::Timestamptz,
        Self::Uuid,
        Self::Bytea,
        Self::Numeric,
        Self::Jsonb,
    ];

    /// As a column is defined.
    pub fn definition(self) -> &'static str {
        match self {
            Self::Varchar => "varchar(12)",
            Self::Numeric => "numeric(12,2)",
            other => other.cast(),
        }
    }

    /// As a value is cast: without modifiers.
    pub fn cast(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Varchar => "varchar",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamptz => "timestamptz",
            Self::Uuid => "uuid",
            Self::Bytea => "bytea",
            Self::Numeric => "numeric",
            Self::Jsonb => "jsonb",
        }
    }

    /// `pg_type.oid`
    pub fn oid(self) -> u32 {
        match self {
            Self::Text => 25,
            Self::Varchar => 1043,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Bool => 16,
            Self::Date => 1082,
            Self::Timestamptz => 1184,
            Self::Uuid => 2950,
            Self::Bytea => 17,
            Self::Numeric => 1700,
            Self::Jsonb => 3802,
        }
    }

    /// The type with this OID.
    pub fn with_oid(oid: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.oid() == oid)
    }

    /// Whether a literal can be written without quotes.
    pub fn is_bare(self, text: &str) -> bool {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Numeric => {
                text.bytes().any(|byte| byte.is_ascii_digit())
                    && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'.')
            }
            Self::Bool => matches!(text, "true" | "false"),
            _ => false,
        }
    }

    /// Values that rows hold and that conditions look for; the first is the simplest.
    pub fn pool(self) -> &'static [&'static str] {
        match self {
            Self::Text => &[
                "a",
                "",
                "O'Hara",
                "back\\slash",
                "Grüße 日本 🦀",
                "100%",
                "NULL",
                "$1",
                "x'; --",
                "tab\tand\nline",
                "\"q\" /* c */",
                "A",
            ],
            Self::Varchar => &["a", "", "twelve chars", "ümläut", "A", "b ", "b"],
            Self::Int2 => &["1", "0", "-2", "32767", "-32768", "7"],
            Self::Int4 => &["1", "0", "-2", "2147483647", "-2147483648", "42", "7"],
            Self::Int8 => &["1", "0", "-2", "9223372036854775807", "-8000000002", "42"],
            Self::Bool => &["true", "false"],
            Self::Date => &["2000-01-01", "1961-02-03", "0099-01-01", "2024-02-29", "infinity", "1999-12-31"],
            Self::Timestamptz => &[
                "2000-01-01 00:00:00+00",
                "2024-05-06 07:08:09.123456+02",
                "1999-12-31 23:59:59.9-11:30",
                "infinity",
                "1890-01-01 00:00:00+00",
            ],
            Self::Uuid => &[
                "00000000-0000-4000-8000-000000000001",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "AAAAAAAA-0000-4000-8000-000000000002",
            ],
            Self::Bytea => &["\\x00", "\\x", "\\xdeadbeef", "\\x5c275c"],
            Self::Numeric => &["1", "0", "-0.07", "120.50", "9999999999.99", "0.005", "7.1"],
            Self::Jsonb => &["1", "{}", "{\"b\": [1, 2.50, null], \"a\": \"é\"}", "\"s\"", "null"],
        }
    }

    /// Values that the type does not take.
    pub fn wrong(self) -> &'static [&'static str] {
        match self {
            Self::Text => &[],
            Self::Varchar => &["longer than twelve"],
            Self::Int2 => &["40000", "x", "1.5"],
            Self::Int4 => &["2147483648", "x", ""],
            Self::Int8 => &["9223372036854775808", "one"],
            Self::Bool => &["maybe"],
            Self::Date => &["2024-13-45", "2023-02-29"],
            Self::Timestamptz => &["2024-13-45 00:00:00+00"],
            Self::Uuid => &["not-a-uuid"],
            Self::Bytea => &["\\xzz"],
            Self::Numeric => &["99999999999.99", "x"],
            Self::Jsonb => &["{", "nope"],
        }
    }
}
