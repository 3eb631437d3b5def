//! Statements that write: INSERT, UPDATE, DELETE, MERGE, with RETURNING or without.

use super::kind::Kind;
use super::schema::{Class, Column, Table};
use super::scope::{Field, Generator, Source};
use super::shapes::Form;
use super::tree::Sql;
use crate::sql;

impl Generator {
    /// Any statement that writes; the second is whether it must be sent by itself.
    pub fn write(&mut self) -> Sql {
        match self.random.below(11) {
            0..=3 => self.insert(),
            4..=6 => self.update(),
            7 | 8 => self.delete(),
            9 if Form::Merge.is_on() => self.merge(),
            _ => self.writing_with(),
        }
    }

    /// Values for a column, of the kind that it takes.
    fn assigned(&mut self, column: &Column) -> Sql {
        match self.random.below(20) {
            0 => "DEFAULT".into(),
            1 if !column.constraint.contains("NOT NULL") => "NULL".into(),
            2 if column.kind == Kind::Varchar => self.some_value(Kind::Varchar),
            _ => self.value(column.kind),
        }
    }

    /// A table with some of its columns: the key first, and what must be there.
    pub fn inserted_columns(&mut self) -> (&'static Table, Vec<&'static Column>) {
        let table = self.table();
        let (first, rest) = table.columns.split_at(1);
        let count = self.random.below(5) + 1;
        let chosen = self.random.some_of(&rest.iter().collect::<Vec<_>>(), count);
        let needed = rest.iter().filter(|column| column.constraint == "NOT NULL");
        let needed: Vec<_> =
            needed.filter(|column| !chosen.iter().any(|other| other.name == column.name)).collect();
        (table, first.iter().chain(chosen).chain(needed).collect())
    }

    fn insert(&mut self) -> Sql {
        let (table, columns) = self.inserted_columns();
        let columns = columns.get(1..).unwrap_or_default();
        let alias = self.name();
        let body = if Form::ValuesIntoCells.is_on() && self.random.chance(15) {
            self.inserted_values(table, columns)
        } else if self.random.chance(25) {
            self.inserted_query(table, columns)
        } else {
            let names = std::iter::once(table.key()).chain(columns.iter().map(|column| column.name));
            let names = names.map(Sql::from).collect();
            let rows = (0..self.random.one_of([1, 1, 1, 2, 3]))
                .map(|_| {
                    let key = std::iter::once(self.new_key()).collect::<Vec<_>>();
                    key.into_iter().chain(columns.iter().map(|column| self.assigned(column))).collect()
                })
                .collect();
            Sql::Columns { names, rows }
        };
        let source = named(table, &alias);
        let conflict = self.on_conflict(table, &alias, &source);
        let returning = self.returning(&alias, &source.fields);
        sql![format!("INSERT INTO {} AS {alias} ", table.qualified()), body, conflict, returning]
    }

    /// `(columns) SELECT … FROM (VALUES …)`, as object mappers insert.
    fn inserted_values(&mut self, table: &'static Table, columns: &[&'static Column]) -> Sql {
        let names: Vec<&str> =
            std::iter::once(table.key()).chain(columns.iter().map(|column| column.name)).collect();
        let alias = self.name();
        let inner: Vec<String> = names.iter().map(|_| self.name()).collect();
        let rows = (0..=self.random.below(2)).map(|_| {
            let key = self.new_key();
            let values = columns.iter().map(|column| self.typed_value(column.kind)).collect::<Vec<_>>();
            sql!["(", Sql::list(std::iter::once(key).chain(values).collect()), ")"]
        });
        let rows = Sql::list(rows.collect());
        let targets: Vec<String> = inner.iter().map(|name| format!("{alias}.{name}")).collect();
        let (names, targets, inner) = (names.join(", "), targets.join(", "), inner.join(", "));
        sql![format!("({names}) SELECT {targets} FROM (VALUES "), rows, format!(") AS {alias} ({inner})")]
    }

    /// `(columns) SELECT …` of one row or none, so that no order decides what conflicts with what.
    fn inserted_query(&mut self, table: &'static Table, columns: &[&'static Column]) -> Sql {
        let names = std::iter::once(table.key()).chain(columns.iter().map(|column| column.name));
        let names = names.collect::<Vec<_>>().join(", ");
        let from = self.table();
        let source = self.table_source(from);
        let mut values = vec![self.new_key()];
        for column in columns {
            let value = match column.class {
                Class::Plain => self.expression((column.kind, column.class), &source.fields, 0),
                class => match self.field(&source.fields, |f| (f.kind, f.class) == (column.kind, class)) {
                    Some(field) => field.sql.into(),
                    None => self.value(column.kind),
                },
            };
            values.push(value);
        }
        let key = source.fields.first().map(|field| field.sql.clone()).unwrap_or_default();
        sql![
            format!("({names}) SELECT "),
            Sql::list(values),
            " FROM ",
            source.sql,
            format!(" WHERE {key} = "),
            self.known_key()
        ]
    }

    fn on_conflict(&mut self, table: &'static Table, alias: &str, source: &Source) -> Sql {
        if self.random.chance(60) {
            return Sql::none();
        }
        let unique = table
            .columns
            .iter()
            .filter(|c| c.constraint.contains("UNIQUE") || c.constraint.contains("PRIMARY"));
        let unique: Vec<&str> = unique.map(|column| column.name).collect();
        let target = self.random.pick(&unique).copied().unwrap_or_default();
        if self.random.chance(40) {
            let target = if self.random.chance(50) { format!("({target}) ") } else { String::new() };
            return Sql::optional(sql![" ON CONFLICT ", target, "DO NOTHING"]);
        }
        let fits: Vec<&'static Column> = table.columns.iter().filter(|c| c.constraint.is_empty()).collect();
        let count = self.random.below(3) + 1;
        let set = self.random.some_of(&fits, count);
        let set = set
            .into_iter()
            .map(|column| match self.random.below(3) {
                0 => sql![column.name, " = ", self.assigned(column)],
                1 => sql![column.name, " = excluded.", column.name],
                _ => sql![
                    column.name,
                    " = COALESCE(excluded.",
                    column.name,
                    format!(", {alias}.{})", column.name)
                ],
            })
            .collect();
        let filter = match self.random.below(3) {
            0 => Sql::optional(sql![" WHERE ", self.condition(&source.fields, 0)]),
            _ => Sql::none(),
        };
        Sql::optional(sql![format!(" ON CONFLICT ({target}) DO UPDATE SET "), Sql::list(set), filter])
    }

    fn update(&mut self) -> Sql {
        let table = self.table();
        let alias = self.name();
        let target = named(table, &alias);
        let from = match self.random.chance(25) {
            true => self.joined_by_key(&target),
            false => None,
        };
        let scope: Vec<Field> =
            target.fields.iter().chain(from.iter().flat_map(|(source, _)| &source.fields)).cloned().collect();
        let one_row = self.random.chance(50);
        let fits =
            |column: &&Column| column.constraint.is_empty() || one_row && column.constraint != "PRIMARY KEY";
        let fits: Vec<&'static Column> = table.columns.iter().filter(fits).collect();
        let count = self.random.below(3) + 1;
        let columns = self.random.some_of(&fits, count);
        let set = self.assignments(&columns, &scope);
        let mut conditions = Vec::new();
        if one_row {
            conditions.push(sql![format!("{alias}.{} = ", table.key()), self.known_key()]);
        } else if self.random.chance(80) {
            conditions.push(self.condition(&scope, 1));
        }
        let from = from.map_or_else(Sql::none, |(source, link)| {
            conditions.push(link);
            sql![" FROM ", source.sql]
        });
        let filter = match conditions.is_empty() {
            true => Sql::none(),
            false => sql![" WHERE ", Sql::List { separator: " AND ", least: 1, items: conditions }],
        };
        let returning = self.returning(&alias, &scope);
        sql![format!("UPDATE {} AS {alias} SET ", table.qualified()), set, from, filter, returning]
    }

    /// The items of SET, one by one or as rows.
    fn assignments(&mut self, columns: &[&'static Column], scope: &[Field]) -> Sql {
        let value = |this: &mut Self, column: &'static Column| match this.random.below(3) {
            0 => this.assigned(column),
            _ if column.constraint.contains("UNIQUE") => this.assigned(column),
            _ => this.expression((column.kind, column.class), scope, 1),
        };
        let [first, second, ..] = columns else {
            let items = columns.iter().map(|column| sql![column.name, " = ", value(self, column)]);
            return Sql::list(items.collect());
        };
        match self.random.below(6) {
            0 => sql![
                format!("({}, {}) = (", first.name, second.name),
                value(self, first),
                ", ",
                value(self, second),
                ")"
            ],
            1 => sql![
                format!("({}, {}) = ROW (", first.name, second.name),
                value(self, first),
                ", ",
                value(self, second),
                ")"
            ],
            2 if !first.constraint.contains("UNIQUE") && !second.constraint.contains("UNIQUE") => {
                let from =
                    |this: &mut Self, column: &Column| this.expression((column.kind, column.class), scope, 0);
                let values = sql![from(self, first), ", ", from(self, second)];
                sql![format!("({}, {}) = (SELECT ", first.name, second.name), values, ")"]
            }
            _ => {
                let items = columns.iter().map(|column| sql![column.name, " = ", value(self, column)]);
                Sql::list(items.collect())
            }
        }
    }

    /// A table of which at most one row goes with each row of the target.
    fn joined_by_key(&mut self, target: &Source) -> Option<(Source, Sql)> {
        let table = self.table();
        let source = self.table_source(table);
        let key = source.fields.first()?.clone();
        let with = self.field(&target.fields, |field| (field.kind, field.class) == (key.kind, key.class))?;
        Some((source, sql![key.sql, " = ", with.sql]))
    }

    fn delete(&mut self) -> Sql {
        let table = self.table();
        let alias = self.name();
        let target = named(table, &alias);
        let using = match self.random.chance(30) {
            true => {
                let other = self.table();
                let source = self.table_source(other);
                self.link(&target.fields, &source.fields).map(|link| (source, link))
            }
            false => None,
        };
        let filter = match self.random.chance(50) {
            true => sql![format!("{alias}.{} = ", table.key()), self.known_key()],
            false => self.condition(&target.fields, 1),
        };
        // What the joined rows hold is not returned: several may go with one, and any of them counts.
        let returning = self.returning(&alias, &target.fields);
        let (using, link) = match using {
            Some((source, link)) => (sql![" USING ", source.sql], sql![link, " AND "]),
            None => (Sql::none(), Sql::none()),
        };
        sql![
            format!("DELETE FROM {} AS {alias}", table.qualified()),
            using,
            " WHERE ",
            link,
            filter,
            returning
        ]
    }

    fn merge(&mut self) -> Sql {
        let table = self.table();
        let alias = self.name();
        let target = named(table, &alias);
        let other = self.table();
        let source = self.table_source(other);
        let (Some(key), Some(at)) = (target.fields.first().cloned(), source.fields.first().cloned()) else {
            unreachable!("every table has a key")
        };
        let scope: Vec<Field> = target.fields.iter().chain(&source.fields).cloned().collect();
        let fits: Vec<&'static Column> = table.columns.iter().filter(|c| c.constraint.is_empty()).collect();
        let count = self.random.below(2) + 1;
        let columns = self.random.some_of(&fits, count);
        let set = columns
            .iter()
            .map(|column| sql![column.name, " = ", self.expression((column.kind, column.class), &scope, 1)]);
        let set = Sql::list(set.collect());
        let and = match self.random.chance(40) {
            true => Sql::optional(sql![" AND ", self.condition(&scope, 0)]),
            false => Sql::none(),
        };
        let matched = match self.random.below(4) {
            0 => "DELETE".into(),
            1 => "DO NOTHING".into(),
            _ => sql!["UPDATE SET ", set],
        };
        let needed = table.columns.iter().skip(1).filter(|column| column.constraint == "NOT NULL");
        let columns: Vec<&'static Column> =
            needed.chain(columns.iter().copied().filter(|c| c.constraint.is_empty())).collect();
        let names = std::iter::once(table.key()).chain(columns.iter().map(|column| column.name));
        let names = names.map(Sql::from).collect();
        let mut values = vec![sql![at.sql.clone(), " + 500"]];
        for column in &columns {
            values.push(
                match self.field(&source.fields, |f| (f.kind, f.class) == (column.kind, column.class)) {
                    Some(field) if self.random.chance(60) => field.sql.into(),
                    _ => self.some_value(column.kind),
                },
            );
        }
        let insert = sql!["INSERT ", Sql::Columns { names, rows: vec![values] }];
        let link = sql![format!(" ON {} = {}", key.sql, at.sql)];
        sql![
            format!("MERGE INTO {} AS {alias} USING ", table.qualified()),
            source.sql,
            link,
            Sql::optional(sql![" WHEN MATCHED", and, " THEN ", matched]),
            Sql::optional(sql![" WHEN NOT MATCHED THEN ", insert])
        ]
    }

    /// A WITH query that writes, read by the statement after it.
    fn writing_with(&mut self) -> Sql {
        let name = self.name();
        let table = self.table();
        let alias = self.name();
        let target = named(table, &alias);
        let returned: Vec<Field> = {
            let count = self.random.below(3) + 1;
            self.random.some_of(&target.fields, count)
        };
        let list: Vec<&str> = returned.iter().map(|field| field.sql.as_str()).collect();
        let list = list.join(", ");
        let columns: Vec<String> = returned.iter().map(|_| self.name()).collect();
        let fits: Vec<&'static Column> = table.columns.iter().filter(|c| c.constraint.is_empty()).collect();
        let Some(column) = self.random.pick(&fits).copied() else { return self.update() };
        let filter = sql![format!(" WHERE {alias}.{} = ", table.key()), self.known_key()];
        let writing = match self.random.below(3) {
            0 => sql![format!("DELETE FROM {} AS {alias}", table.qualified()), filter],
            _ => sql![
                format!("UPDATE {} AS {alias} SET {} = ", table.qualified(), column.name),
                self.assigned(column),
                filter
            ],
        };
        sql![
            format!("WITH {name} ({}) AS (", columns.join(", ")),
            writing,
            format!(" RETURNING {list}) SELECT {} FROM {name}", columns.join(", "))
        ]
    }

    fn returning(&mut self, alias: &str, fields: &[Field]) -> Sql {
        match self.random.below(5) {
            0 => Sql::optional(sql![format!(" RETURNING {alias}.*")]),
            1 | 2 => {
                let count = self.random.below(3) + 1;
                let shown = self.random.some_of(fields, count);
                let items = shown.iter().map(|field| match self.random.below(4) {
                    0 => sql![field.sql.as_str(), " AS ", self.name()],
                    1 => {
                        let name = self.name();
                        sql![self.expression((field.kind, field.class), fields, 1), " AS ", name]
                    }
                    _ => field.sql.as_str().into(),
                });
                Sql::optional(sql![" RETURNING ", Sql::list(items.collect())])
            }
            _ => Sql::none(),
        }
    }
}

/// The target of a statement under its alias.
fn named(table: &'static Table, alias: &str) -> Source {
    let columns = table.columns.iter().enumerate();
    let columns = columns.map(|(number, c)| (c.name.to_owned(), c.kind, c.class, number == 0));
    Source { sql: Sql::none(), fields: super::scope::fields(alias, columns) }
}
