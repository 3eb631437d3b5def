//! The tables of the differential test: one schema, from which come the definitions, the policy under
//! which one side protects it, and the rows that every case starts with.

use super::kind::Kind;
use super::tree::{Form, Sql, Value};

/// What a column is for the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not protected.
    Plain,
    /// Protected without equality, in this key domain.
    Randomized(&'static str),
    /// Protected with equality, in this key domain.
    Deterministic(&'static str),
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name as it is written.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is for the proxy.
    pub class: Class,
    /// The rest of its definition.
    pub constraint: &'static str,
}

/// A table. Its first column is its primary key, an integer and plain.
#[derive(Debug)]
pub struct Table {
    /// Its schema.
    pub schema: &'static str,
    /// Its name as it is written.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// How many rows it starts with.
    pub rows: usize,
}

const fn plain(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, class: Class::Plain, constraint: "" }
}

const fn key(name: &'static str) -> Column {
    Column { name, kind: Kind::Int4, class: Class::Plain, constraint: "PRIMARY KEY" }
}

const fn random(name: &'static str, kind: Kind, domain: &'static str) -> Column {
    Column { name, kind, class: Class::Randomized(domain), constraint: "" }
}

const fn fixed(name: &'static str, kind: Kind, domain: &'static str) -> Column {
    Column { name, kind, class: Class::Deterministic(domain), constraint: "" }
}

const fn constrained(column: Column, constraint: &'static str) -> Column {
    Column { constraint, ..column }
}

/// The tables; a table refers only to tables before it.
pub const TABLES: &[Table] = &[
    Table {
        schema: "public",
        name: "wards",
        rows: 4,
        columns: &[
            key("id"),
            constrained(plain("label", Kind::Text), "UNIQUE"),
            plain("floor", Kind::Int4),
            plain("opened", Kind::Date),
        ],
    },
    Table {
        schema: "public",
        name: "people",
        rows: 8,
        columns: &[
            key("id"),
            constrained(fixed("ssn", Kind::Text, "ssn"), "UNIQUE"),
            random("name", Kind::Text, "prose"),
            plain("ward", Kind::Int4),
            fixed("born", Kind::Date, "day"),
            fixed("grade", Kind::Int2, "grade"),
            fixed("visits", Kind::Int4, "visits"),
            fixed("account", Kind::Int8, "account"),
            plain("remark", Kind::Text),
            random("insured", Kind::Bool, "insured"),
            fixed("token", Kind::Uuid, "token"),
            fixed("balance", Kind::Numeric, "money"),
            fixed("code", Kind::Varchar, "code"),
            random("seen", Kind::Timestamptz, "seen"),
            random("photo", Kind::Bytea, "photo"),
            random("notes", Kind::Jsonb, "notes"),
            plain("amount", Kind::Numeric),
        ],
    },
    Table {
        schema: "public",
        name: "visits",
        rows: 8,
        columns: &[
            key("id"),
            constrained(fixed("person", Kind::Text, "ssn"), "NOT NULL"),
            random("reason", Kind::Text, "prose"),
            plain("cost", Kind::Int4),
            fixed("day", Kind::Date, "day"),
            fixed("paid", Kind::Numeric, "money"),
            plain("ward", Kind::Int4),
        ],
    },
    Table {
        schema: "public",
        name: "letters",
        rows: 4,
        columns: &[
            key("id"),
            constrained(
                fixed("person", Kind::Text, "ssn"),
                "REFERENCES people (ssn) ON UPDATE CASCADE ON DELETE SET NULL",
            ),
            random("body", Kind::Text, "prose"),
            fixed("code", Kind::Varchar, "code"),
            plain("stamp", Kind::Text),
        ],
    },
    Table {
        schema: "public",
        name: "samples",
        rows: 7,
        columns: &[
            key("id"),
            fixed("c", Kind::Char, "c"),
            random("f4", Kind::Float4, "f4"),
            random("f8", Kind::Float8, "f8"),
            fixed("t", Kind::Time, "t"),
            random("tz", Kind::Timetz, "tz"),
            fixed("ts", Kind::Timestamp, "ts"),
            random("span", Kind::Interval, "span"),
            fixed("host", Kind::Inet, "host"),
            fixed("net", Kind::Cidr, "net"),
            fixed("mac", Kind::Macaddr, "mac"),
            random("doc", Kind::Json, "doc"),
            random("words", Kind::Texts, "words"),
            random("numbers", Kind::Integers, "numbers"),
            fixed("day", Kind::Date, "day"),
            plain("fraction", Kind::Float8),
        ],
    },
    Table {
        schema: "other",
        name: "\"Odd \"\"Table\"",
        rows: 4,
        columns: &[
            key("\"Key\""),
            fixed("\"Secret Col\"", Kind::Text, "ssn"),
            plain("\"select\"", Kind::Int4),
            fixed("\"Konto.Nr\"", Kind::Int8, "account"),
            constrained(plain("plain", Kind::Text), "DEFAULT 'made up'"),
        ],
    },
];

impl Table {
    /// With its schema.
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The column that is its key.
    pub fn key(&self) -> &'static str {
        self.columns.first().map_or("id", |column| column.name)
    }
}

impl Class {
    /// Whether values can be compared for equality.
    pub fn has_equality(self) -> bool {
        !matches!(self, Self::Randomized(_))
    }
}

/// A name as the catalog has it.
fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

/// The policy under which the tables are protected.
pub fn policy() -> String {
    let mut text = String::new();
    for table in TABLES {
        let lines: String = table.columns.iter().filter_map(policy_line).collect();
        if !lines.is_empty() {
            text.push_str(&format!(
                "[tables.{:?}]
{lines}
",
                table.qualified()
            ));
        }
    }
    text
}

fn policy_line(column: &Column) -> Option<String> {
    let (mode, domain) = match column.class {
        Class::Plain => return None,
        Class::Randomized(domain) => ("randomized", domain),
        Class::Deterministic(domain) => ("deterministic", domain),
    };
    let (name, kind) = (folded(column.name), column.kind.definition());
    Some(format!("{name:?} = {{ type = \"{kind}\", mode = \"{mode}\", domain = \"{domain}\" }}\n"))
}

/// The statements that make the tables.
pub fn definitions() -> Vec<String> {
    let mut statements = vec!["CREATE SCHEMA other".to_owned()];
    for table in TABLES {
        let columns: Vec<_> = table
            .columns
            .iter()
            .map(|column| format!("{} {} {}", column.name, column.kind.definition(), column.constraint))
            .collect();
        statements.push(format!("CREATE TABLE {} ({})", table.qualified(), columns.join(", ")));
    }
    statements
}

/// The text that gives every table the rows with which it starts.
pub fn rows() -> String {
    let insert = |table: &Table| {
        let names = table.columns.iter().map(|column| column.name.into()).collect();
        let rows = (0..table.rows).map(|row| seed_row(table, row)).collect();
        format!("INSERT INTO {} {}", table.qualified(), Sql::Columns { names, rows }.print(true).text)
    };
    TABLES.iter().map(insert).collect::<Vec<_>>().join("; ")
}

/// The text that keeps these rows, as the server stores them, for `restore`.
pub fn keep() -> String {
    let kept = |(number, table): (usize, &Table)| {
        format!("CREATE TABLE kept_{number} AS TABLE {}", table.qualified())
    };
    TABLES.iter().enumerate().map(kept).collect::<Vec<_>>().join("; ")
}

/// The text that brings every table back to them.
pub fn restore() -> String {
    let names: Vec<_> = TABLES.iter().map(Table::qualified).collect();
    let copy =
        |(number, table): (usize, &Table)| format!("; INSERT INTO {} TABLE kept_{number}", table.qualified());
    let copies: String = TABLES.iter().enumerate().map(copy).collect();
    format!("TRUNCATE {}{copies}", names.join(", "))
}

fn seed_row(table: &Table, row: usize) -> Vec<Sql> {
    let value = |(number, column): (usize, &Column)| {
        let pool = column.kind.pool();
        // Every column walks through its pool at its own pace; keys and what is unique do not repeat.
        let walks = column.constraint.contains("UNIQUE") || column.constraint.starts_with("REFERENCES");
        let at = if walks { row } else { row * (number % 3 + 1) + number };
        let text = pool.get(at % pool.len().max(1)).map(|text| (*text).to_owned());
        let null = column.constraint.is_empty() && (row * 5 + number * 3).is_multiple_of(7);
        let text = match number {
            0 => Some((row + 1).to_string()),
            _ if null => None,
            _ => text,
        };
        Sql::Value(Value { kind: column.kind, text, form: Form::Quoted })
    };
    table.columns.iter().enumerate().map(value).collect()
}

/// The queries that show all that is in the tables.
pub fn dump() -> Vec<String> {
    TABLES
        .iter()
        .map(|table| format!("SELECT * FROM {} ORDER BY {}", table.qualified(), table.key()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_policy_and_rows_come_from_one_schema() {
        assert!(policy().contains("[tables.\"other.\\\"Odd"), "{}", policy());
        assert!(policy().contains("\"Secret Col\" = { type = \"text\", mode = \"deterministic\""));
        assert!(definitions().iter().any(|text| text.contains("ssn text UNIQUE")));
        assert!(rows().starts_with("INSERT INTO public.wards "));
        assert!(restore().starts_with("TRUNCATE public.wards, "));
    }
}
