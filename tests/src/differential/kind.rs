//! The types of columns, with values that are worth trying. An entry turns on a further type.

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`
    Text,
    /// `varchar(12)`
    Varchar,
    /// `char(5)`
    Char,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `float4`
    Float4,
    /// `float8`
    Float8,
    /// `bool`
    Bool,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    Timetz,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    Timestamptz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `numeric(12,2)`
    Numeric,
    /// `inet`
    Inet,
    /// `cidr`
    Cidr,
    /// `macaddr`
    Macaddr,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `text[]`
    Texts,
    /// `int4[]`
    Integers,
}

/// What there is to say of a type.
struct Entry {
    kind: Kind,
    definition: &'static str,
    cast: &'static str,
    oid: u32,
    pool: &'static [&'static str],
    wrong: &'static [&'static str],
}

const ENTRIES: &[Entry] = &[
    Entry {
        kind: Kind::Text,
        definition: "text",
        cast: "text",
        oid: 25,
        pool: &[
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
        wrong: &[],
    },
    Entry {
        kind: Kind::Varchar,
        definition: "varchar(12)",
        cast: "varchar",
        oid: 1043,
        pool: &["a", "", "twelve chars", "ümläut", "A", "b ", "b"],
        wrong: &["longer than twelve"],
    },
    Entry {
        kind: Kind::Char,
        definition: "char(5)",
        cast: "bpchar",
        oid: 1042,
        pool: &["a", "", "a  ", "ümläu", "A"],
        wrong: &["longer"],
    },
    Entry {
        kind: Kind::Int2,
        definition: "int2",
        cast: "int2",
        oid: 21,
        pool: &["1", "0", "-2", "32767", "-32768", "7"],
        wrong: &["40000", "x", "1.5"],
    },
    Entry {
        kind: Kind::Int4,
        definition: "int4",
        cast: "int4",
        oid: 23,
        pool: &["1", "0", "-2", "2147483647", "-2147483648", "42", "7"],
        wrong: &["2147483648", "x", ""],
    },
    Entry {
        kind: Kind::Int8,
        definition: "int8",
        cast: "int8",
        oid: 20,
        pool: &["1", "0", "-2", "9223372036854775807", "-8000000002", "42"],
        wrong: &["9223372036854775808", "one"],
    },
    Entry {
        kind: Kind::Float4,
        definition: "float4",
        cast: "float4",
        oid: 700,
        pool: &["1", "-0", "0.1", "NaN", "Infinity", "1e30"],
        wrong: &["1e60", "x"],
    },
    Entry {
        kind: Kind::Float8,
        definition: "float8",
        cast: "float8",
        oid: 701,
        pool: &["1", "-0", "0.1", "NaN", "-Infinity", "1e300", "123456789.123456789"],
        wrong: &["1e600", "x"],
    },
    Entry {
        kind: Kind::Bool,
        definition: "bool",
        cast: "bool",
        oid: 16,
        pool: &["true", "false"],
        wrong: &["maybe"],
    },
    Entry {
        kind: Kind::Date,
        definition: "date",
        cast: "date",
        oid: 1082,
        pool: &["2000-01-01", "1961-02-03", "0099-01-01", "2024-02-29", "infinity", "1999-12-31"],
        wrong: &["2024-13-45", "2023-02-29"],
    },
    Entry {
        kind: Kind::Time,
        definition: "time",
        cast: "time",
        oid: 1083,
        pool: &["00:00:00", "23:59:59.999999", "24:00:00", "07:08:09.12"],
        wrong: &["25:00:00"],
    },
    Entry {
        kind: Kind::Timetz,
        definition: "timetz",
        cast: "timetz",
        oid: 1266,
        pool: &["00:00:00+00", "23:59:59.999999-11:30", "07:08:09.12+02"],
        wrong: &["25:00:00+00"],
    },
    Entry {
        kind: Kind::Timestamp,
        definition: "timestamp",
        cast: "timestamp",
        oid: 1114,
        pool: &["2000-01-01 00:00:00", "2024-05-06 07:08:09.123456", "infinity", "0099-12-31 23:59:59"],
        wrong: &["2024-13-45 00:00:00"],
    },
    Entry {
        kind: Kind::Timestamptz,
        definition: "timestamptz",
        cast: "timestamptz",
        oid: 1184,
        pool: &[
            "2000-01-01 00:00:00+00",
            "2024-05-06 07:08:09.123456+02",
            "1999-12-31 23:59:59.9-11:30",
            "infinity",
            "1890-01-01 00:00:00+00",
        ],
        wrong: &["2024-13-45 00:00:00+00"],
    },
    Entry {
        kind: Kind::Interval,
        definition: "interval",
        cast: "interval",
        oid: 1186,
        pool: &["1 day", "00:00:00", "1 year 2 mons -3 days 04:05:06.7", "-00:00:01"],
        wrong: &[],
    },
    Entry {
        kind: Kind::Uuid,
        definition: "uuid",
        cast: "uuid",
        oid: 2950,
        pool: &[
            "00000000-0000-4000-8000-000000000001",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "AAAAAAAA-0000-4000-8000-000000000002",
        ],
        wrong: &["not-a-uuid"],
    },
    Entry {
        kind: Kind::Bytea,
        definition: "bytea",
        cast: "bytea",
        oid: 17,
        pool: &["\\x00", "\\x", "\\xdeadbeef", "\\x5c275c"],
        wrong: &["\\xzz"],
    },
    Entry {
        kind: Kind::Numeric,
        definition: "numeric(12,2)",
        cast: "numeric",
        oid: 1700,
        pool: &["1", "0", "-0.07", "120.50", "9999999999.99", "0.005", "7.1"],
        wrong: &["99999999999.99", "x"],
    },
    Entry {
        kind: Kind::Inet,
        definition: "inet",
        cast: "inet",
        oid: 869,
        pool: &["10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32"],
        wrong: &["300.1.1.1"],
    },
    Entry {
        kind: Kind::Cidr,
        definition: "cidr",
        cast: "cidr",
        oid: 650,
        pool: &["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32"],
        wrong: &["10.0.0.1/8"],
    },
    Entry {
        kind: Kind::Macaddr,
        definition: "macaddr",
        cast: "macaddr",
        oid: 829,
        pool: &["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"],
        wrong: &["08:00"],
    },
    Entry {
        kind: Kind::Json,
        definition: "json",
        cast: "json",
        oid: 114,
        pool: &["1", "{}", "{\"b\": [1, 2.50, null],  \"a\": \"é\"}", "null"],
        wrong: &["{"],
    },
    Entry {
        kind: Kind::Jsonb,
        definition: "jsonb",
        cast: "jsonb",
        oid: 3802,
        pool: &["1", "{}", "{\"b\": [1, 2.50, null], \"a\": \"é\"}", "\"s\"", "null"],
        wrong: &["{", "nope"],
    },
    Entry {
        kind: Kind::Texts,
        definition: "text[]",
        cast: "text[]",
        oid: 1009,
        pool: &["{}", "{a,NULL,\"b c\"}", "{{a,b},{c,d}}", "{\"NULL\",\"\\\"\"}"],
        wrong: &["{"],
    },
    Entry {
        kind: Kind::Integers,
        definition: "int4[]",
        cast: "int4[]",
        oid: 1007,
        pool: &["{1}", "{}", "{1,NULL,-3}", "{{1,2},{3,4}}"],
        wrong: &["{x}"],
    },
];

impl Kind {
    fn entry(self) -> &'static Entry {
        match ENTRIES.iter().find(|entry| entry.kind == self) {
            Some(entry) => entry,
            None => unreachable!("every type has an entry"),
        }
    }

    /// As a column is defined.
    pub fn definition(self) -> &'static str {
        self.entry().definition
    }

    /// As a value is cast: without modifiers.
    pub fn cast(self) -> &'static str {
        self.entry().cast
    }

    /// The type with this OID (`pg_type.oid`).
    pub fn with_oid(oid: u32) -> Option<Self> {
        ENTRIES.iter().find(|entry| entry.oid == oid).map(|entry| entry.kind)
    }

    /// Values that rows hold and that conditions look for; the first is the simplest.
    pub fn pool(self) -> &'static [&'static str] {
        self.entry().pool
    }

    /// Values that the type does not take.
    pub fn wrong(self) -> &'static [&'static str] {
        self.entry().wrong
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

    /// Whether PostgreSQL compares values for equality.
    pub fn has_equality(self) -> bool {
        self != Self::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_an_entry_of_its_own() {
        for entry in ENTRIES {
            assert_eq!(Kind::with_oid(entry.oid), Some(entry.kind));
            assert_eq!(entry.kind.cast(), entry.cast);
            assert!(!entry.pool.is_empty());
        }
    }
}
