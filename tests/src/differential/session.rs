//! A case: statements of a session, with transactions, savepoints and errors among them.

use super::query::Query;
use super::schema::Class;
use super::scope::{Field, Generator};
use super::statement::{Case, Expected, Protocol, Statement};
use super::tree::Sql;
use crate::sql;

/// How many statements a case has.
const LENGTH: usize = 24;

/// The case that belongs to a seed.
pub fn case(seed: u64) -> Case {
    let mut generator = Generator::new(seed);
    let mut statements = Vec::new();
    while statements.len() < LENGTH {
        generator.step(&mut statements);
    }
    Case { seed, statements }
}

impl Generator {
    fn step(&mut self, statements: &mut Vec<Statement>) {
        let statement = self.read();
        statements.push(statement);
    }

    /// Sent in any way, with a comment here and there.
    fn sent(&mut self, sql: Sql, expected: Expected, ordered: bool) -> Statement {
        let protocol = match self.random.below(5) {
            0 | 1 => Protocol::Simple,
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
        self.sent(query.sql, Expected::Same, query.ordered)
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
            _ => Sql::none(),
        };
        let by = self.random.one_of([" DESC", " NULLS FIRST", "", ""]);
        let order = keys.iter().map(|key| sql![key.as_str(), by]).collect();
        // With an outer join, rows without a key on one side are told apart by the other's.
        let sql = sql![
            "SELECT ",
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
