//! A case: statements of a session, with transactions, savepoints and errors among them.

use super::kind::Kind;
use super::query::Query;
use super::schema::{Class, TABLES};
use super::scope::{Field, Generator};
use super::shapes::Form as Shapes;
use super::statement::{Access, Case, Copied, Expected, Protocol, Statement};
use super::tree::{Form, Sql, Value};
use crate::sql;

/// Clauses that lock rows, which DISTINCT does not go with.
const FOR_ROWS: [&str; 2] = [" FOR UPDATE", " FOR SHARE"];

/// How many statements a case has, at least.
const LENGTH: usize = 24;

/// The case that belongs to a seed.
pub fn case(seed: u64) -> Case {
    let mut session =
        Session { generator: Generator::new(seed), statements: Vec::new(), open: false, savepoints: 0 };
    while session.statements.len() < LENGTH {
        session.step();
    }
    if session.open {
        let end = session.generator.random.one_of(["COMMIT", "END", "ROLLBACK"]);
        session.statements.push(Statement::simple(end));
    }
    Case { seed, statements: session.statements }
}

/// A case in the making.
struct Session {
    generator: Generator,
    statements: Vec<Statement>,
    /// Whether a transaction is open, failed or not.
    open: bool,
    /// How many savepoints it has.
    savepoints: usize,
}

impl Session {
    fn step(&mut self) {
        let statement = match self.generator.random.below(100) {
            0..=9 => return self.control(),
            10..=15 => {
                let sql = self.generator.mistake();
                return self.failing(sql, Expected::Same);
            }
            16..=20 => {
                let sql = self.generator.refused();
                return self.failing(sql, Expected::Refused);
            }
            21..=25 => self.generator.several(),
            26 | 27 if Shapes::CopyIn.is_on() => self.generator.copied(),
            26..=60 => {
                let sql = self.generator.write();
                self.generator.sent(sql, Expected::Same, false)
            }
            _ => self.generator.read(),
        };
        self.statements.push(statement);
    }

    fn push(&mut self, text: &str) {
        let statement = self.generator.sent(text.into(), Expected::Same, false);
        self.statements.push(statement);
    }

    /// A statement that fails; in a transaction mostly with what makes it go on.
    fn failing(&mut self, sql: Sql, expected: Expected) {
        let saved = self.open && self.generator.random.chance(75);
        if saved {
            self.push("SAVEPOINT failing");
        }
        let mut statement = self.generator.sent(sql, expected, false);
        // The proxy may see at PREPARE what the server sees at EXECUTE.
        if statement.protocol == Protocol::Prepared {
            statement.protocol = Protocol::Simple;
        }
        self.statements.push(statement);
        if saved {
            self.push("ROLLBACK TO failing");
        }
    }

    /// Transactions and savepoints.
    fn control(&mut self) {
        if !self.open {
            self.open = true;
            self.savepoints = 0;
            let begin = self.generator.random.one_of([
                "BEGIN",
                "BEGIN",
                "START TRANSACTION",
                "BEGIN ISOLATION LEVEL SERIALIZABLE",
                "BEGIN TRANSACTION READ ONLY",
            ]);
            return self.push(begin);
        }
        match self.generator.random.below(6) {
            0 | 1 => {
                self.savepoints += 1;
                self.push(&format!("SAVEPOINT \"s {}\"", self.savepoints));
            }
            2 if self.savepoints > 0 => {
                let number = self.generator.random.below(self.savepoints) + 1;
                self.savepoints = number;
                self.push(&format!("ROLLBACK TO SAVEPOINT \"s {number}\""));
            }
            3 if self.savepoints > 0 => {
                self.push(&format!("RELEASE \"s {}\"", self.savepoints));
                self.savepoints -= 1;
            }
            _ => {
                self.open = false;
                let end = self.generator.random.one_of(["COMMIT", "COMMIT", "END", "ROLLBACK", "ABORT"]);
                self.push(end);
            }
        }
    }
}

impl Generator {
    /// Several statements in one text.
    fn several(&mut self) -> Statement {
        let count = self.random.below(2) + 2;
        let items = (0..count)
            .map(|_| match self.random.chance(50) {
                true => self.write(),
                false => self.query(&[], 1).sql,
            })
            .collect();
        Statement::simple(sql![Sql::List { separator: "; ", least: 1, items }])
    }

    /// COPY from the client.
    fn copied(&mut self) -> Statement {
        let format = self.random.one_of([Copied::Text, Copied::Delimited, Copied::Csv, Copied::Header]);
        let (table, columns) = self.inserted_columns();
        let names = columns.iter().map(|column| column.name.into()).collect();
        let rows = (0..self.random.below(3)).map(|_| {
            let values = columns.iter().enumerate().map(|(number, column)| match number {
                0 => self.new_key(),
                _ => self.value(column.kind),
            });
            values.collect()
        });
        let columns = Sql::Columns { names, rows: rows.collect() };
        let sql = sql![format!("COPY {} ", table.qualified()), columns, " FROM STDIN"];
        Statement { protocol: Protocol::CopyIn(format), ..Statement::simple(sql) }
    }

    /// A statement that fails on its own account.
    fn mistake(&mut self) -> Sql {
        let key = self.new_key();
        match self.random.below(12) {
            0 => "SELECT 1 / 0".into(),
            1 => "SELECT ssn, 1 / (id - 1) FROM people".into(),
            2 => "SELECT ssn, no_such_column FROM people".into(),
            3 => "SELECT person FROM no_such_table".into(),
            4 => "SELECT FROM WHERE people".into(),
            5 => sql!["INSERT INTO people (id, ssn) VALUES (1, ", self.some_value(Kind::Text), ")"],
            6 => sql!["INSERT INTO letters (id, person) VALUES (", key, ", 'nobody')"],
            7 => sql![
                "INSERT INTO visits (id, person, day) VALUES (",
                key,
                ", NULL, ",
                self.value(Kind::Date),
                ")"
            ],
            8 => "SELECT label + 1 FROM wards".into(),
            _ => {
                let columns =
                    TABLES.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)));
                let columns: Vec<_> = columns.filter(|(_, column)| !column.kind.wrong().is_empty()).collect();
                let Some((table, column)) = self.random.pick(&columns).copied() else {
                    return "SELECT 1 / 0".into();
                };
                let text = self.random.pick(column.kind.wrong()).map(|text| (*text).to_owned());
                let form = self.random.one_of([Form::Quoted, Form::Parameter, Form::Escaped]);
                let value = Sql::Value(Value { kind: column.kind, text, form });
                let (name, column, key) = (table.qualified(), column.name, table.key());
                sql![format!("UPDATE {name} SET {column} = "), value, format!(" WHERE {key} = 1")]
            }
        }
    }

    /// Sent in any way, with a comment here and there.
    fn sent(&mut self, sql: Sql, expected: Expected, ordered: bool) -> Statement {
        let protocol = match self.random.below(20) {
            0..=7 => Protocol::Simple,
            8 if Shapes::Prepare.is_on() && preparable(&sql) => Protocol::Prepared,
            _ => Protocol::Extended {
                binary_parameters: self.random.chance(40),
                binary_results: self.random.chance(50),
            },
        };
        let comment = match self.random.below(20) {
            0 => "/* it's a \"comment\" $1 */ ",
            1 => "-- what?; it's\n",
            _ => return Statement { sql, protocol, expected, ordered },
        };
        Statement { sql: sql![Sql::optional(comment.into()), sql], protocol, expected, ordered }
    }

    /// A query by itself.
    fn read(&mut self) -> Statement {
        let query = match self.random.below(10) {
            0..=3 => self.listed(),
            4 => Query { sql: self.starred(), outputs: Vec::new(), ordered: false },
            _ => self.query(&[], 2),
        };
        let mut statement = self.sent(query.sql, Expected::Same, query.ordered);
        match self.random.below(20) {
            0 | 1 if Shapes::Cursor.is_on() => {
                let access = [Access::Whole, Access::Held, Access::Scrolled, Access::Binary];
                statement.protocol = Protocol::Cursor(self.random.one_of(access));
            }
            2 if Shapes::CopyOut.is_on() => {
                // The header of a binary COPY comes with the first row, so rows cannot be sorted.
                let last = if statement.ordered { Copied::Binary } else { Copied::Text };
                let format = [Copied::Text, Copied::Delimited, Copied::Csv, Copied::Header, last];
                statement.protocol = Protocol::CopyOut(self.random.one_of(format));
            }
            _ => {}
        }
        statement
    }

    /// `*`, of one source or of all.
    fn starred(&mut self) -> Sql {
        let source = self.from(&[], 1);
        let filter = self.filter(&source.fields, 1);
        sql!["SELECT * FROM ", source.sql, filter]
    }

    /// Rows of tables in a total order, with all that may go with one.
    fn listed(&mut self) -> Query {
        let source = self.from(&[], 0);
        let keys: Vec<String> =
            source.fields.iter().filter(|field| field.key).map(|field| field.sql.clone()).collect();
        let shown = self.random.below(4) + 1;
        let mut targets: Vec<Sql> = self
            .random
            .some_of(&source.fields, shown)
            .iter()
            .map(|field| field.sql.as_str().into())
            .collect();
        let plain: Vec<Field> = source.fields.iter().filter(|f| f.class == Class::Plain).cloned().collect();
        if let Some(field) = self.random.pick(&plain).cloned() {
            targets.push(self.expression((field.kind, field.class), &source.fields, 1));
        }
        let filter = self.filter(&source.fields, 2);
        let last = match self.random.below(6) {
            0 => sql![Sql::optional(sql![" LIMIT ", self.random.one_of(["0", "1", "3"])])],
            1 => sql![" OFFSET 1 ROWS FETCH FIRST 2 ROWS ONLY"],
            2 => sql![Sql::optional(" LIMIT 2 OFFSET 1".into())],
            3 => sql![Sql::optional(self.random.one_of([" FOR UPDATE", " FOR SHARE SKIP LOCKED"]).into())],
            _ => Sql::none(),
        };
        let distinct = match (self.random.below(8), keys.first()) {
            (0, Some(key)) if !FOR_ROWS.iter().any(|word| last.print(true).text.starts_with(word)) => {
                Sql::optional(format!("DISTINCT ON ({key}) ").into())
            }
            _ => Sql::none(),
        };
        let by = self.random.one_of([" DESC", " NULLS FIRST", "", ""]);
        let order = keys.iter().map(|key| sql![key.as_str(), by]).collect();
        // With an outer join, rows without a key on one side are told apart by the other's.
        let sql = sql![
            "SELECT ",
            distinct,
            Sql::list(targets),
            " FROM ",
            source.sql,
            filter,
            " ORDER BY ",
            Sql::list(order),
            last
        ];
        Query { sql, outputs: Vec::new(), ordered: true }
    }
}

/// Whether PREPARE is right for it by now: not with an array, or one parameter in two places.
fn preparable(sql: &Sql) -> bool {
    let text = sql.print(false).text;
    let twice = (1..10).any(|number| text.matches(&format!("${number}")).count() > 1);
    let array = ["ARRAY[", "ANY ($", "ALL ($"].iter().any(|form| text.contains(form));
    Shapes::PreparedArray.is_on() || !(twice || array)
}
