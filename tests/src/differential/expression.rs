//! Expressions: conditions, and values of a wanted type and class.

use super::kind::Kind;
use super::schema::Class;
use super::scope::{Field, Generator, Shape};
use super::shapes::Form;
use super::tree::{Form as Written, Sql, Value};
use crate::sql;

impl Generator {
    /// A condition over these fields.
    pub fn condition(&mut self, fields: &[Field], depth: usize) -> Sql {
        let condition = match self.random.below(10) {
            0 if depth > 0 => sql!["NOT (", self.condition(fields, depth - 1), ")"],
            1 | 2 if depth > 0 => {
                let separator = self.random.one_of([" AND ", " OR "]);
                let count = self.random.below(2) + 2;
                let items = (0..count).map(|_| self.condition(fields, depth - 1)).collect();
                sql!["(", Sql::List { separator, least: 1, items }, ")"]
            }
            3 if depth > 0 => self.subquery_condition(fields, depth - 1),
            4 | 5 => self.plain_condition(fields),
            _ => self.cell_condition(fields, depth),
        };
        Sql::Either(vec![condition, "true".into()])
    }

    fn plain_condition(&mut self, fields: &[Field]) -> Sql {
        let Some(field) = self.field(fields, |field| field.class == Class::Plain) else {
            return "true".into();
        };
        let name = field.sql.as_str();
        match (self.random.below(8), field.kind) {
            (0, _) => sql![name, self.random.one_of([" IS NULL", " IS NOT NULL"])],
            (1, Kind::Text) => sql![name, " LIKE ", self.some_value(Kind::Text), " || '%'"],
            (2, Kind::Int4) => sql![name, " % 2 = ", self.random.one_of(["0", "1"])],
            (3, kind) => sql![name, " BETWEEN ", self.value(kind), " AND ", self.value(kind)],
            (4, Kind::Text) => sql!["length(", name, ") > ", self.random.one_of(["0", "1", "4"])],
            (_, kind) => {
                let operator = self.random.one_of([" = ", " <> ", " < ", " >= ", " IS NOT DISTINCT FROM "]);
                sql![name, operator, self.value(kind)]
            }
        }
    }

    /// A condition of a cell, of any form that the proxy supports.
    fn cell_condition(&mut self, fields: &[Field], depth: usize) -> Sql {
        if self.random.chance(15)
            && let Some(field) = self.field(fields, |field| field.class != Class::Plain)
        {
            return sql![field.sql, self.random.one_of([" IS NULL", " IS NOT NULL"])];
        }
        let equal = |field: &Field| matches!(field.class, Class::Deterministic(_));
        let Some(field) = self.field(fields, equal) else { return self.plain_condition(fields) };
        let (name, kind) = (field.sql.as_str(), field.kind);
        let operator = self.random.one_of([" = ", " = ", " <> ", " != "]);
        match self.random.below(14) {
            0 => sql![self.some_value(kind), operator, name],
            1 => {
                let not = self.random.one_of([" ", " NOT "]);
                let items = (0..=self.random.below(3)).map(|_| self.flowing_value(kind)).collect();
                sql![name, not, "IN (", Sql::list(items), ")"]
            }
            2 => {
                let word = self.random.one_of([" IS DISTINCT FROM ", " IS NOT DISTINCT FROM "]);
                sql![name, word, self.value(kind)]
            }
            3 => match self.field(fields, |other| (other.kind, other.class) == (kind, field.class)) {
                Some(other) => sql![name, operator, other.sql],
                None => "true".into(),
            },
            4 => {
                let Some(other) = self.field(fields, |other| other.class.has_equality()) else {
                    return "true".into();
                };
                let row = self.random.one_of(["ROW (", "("]);
                let values = sql![self.value(kind), ", ", self.some_value(other.kind)];
                sql!["(", name, ", ", other.sql, ")", operator, row, values, ")"]
            }
            5 if Form::AnyOfArray.is_on() => {
                let items = (0..=self.random.below(2)).map(|_| self.typed_value(kind)).collect();
                let word = self.random.one_of([" = ANY (ARRAY[", " <> ALL (ARRAY["]);
                sql![name, word, Sql::list(items), "])"]
            }
            6 => sql!["NULLIF(", name, ", ", self.some_value(kind), ") IS NULL"],
            7 => {
                sql!["COALESCE(", name, ", ", self.flowing_value(kind), ")", operator, self.some_value(kind)]
            }
            8 => sql![
                "CASE ",
                name,
                " WHEN ",
                self.some_value(kind),
                " THEN true ELSE ",
                self.random.one_of(["false", "NULL", "true"]),
                " END"
            ],
            9 if depth > 0 => {
                let value = self.cell((kind, field.class), fields, depth - 1);
                sql![name, operator, value]
            }
            10 => {
                let Some(other) = self.field(fields, equal) else { return "true".into() };
                let rows = (0..=self.random.below(2))
                    .map(|_| sql!["(", self.some_value(kind), ", ", self.some_value(other.kind), ")"])
                    .collect();
                sql!["(", name, ", ", other.sql, ") IN (", Sql::list(rows), ")"]
            }
            11 if Form::AnyOfArrayValue.is_on() && matches!(kind, Kind::Text | Kind::Int4) => {
                let array = if kind == Kind::Text { Kind::Texts } else { Kind::Integers };
                let word = self.random.one_of([" = ANY (", " <> ALL ("]);
                sql![name, word, self.some_value(array), ")"]
            }
            12 if Form::TwoClasses.is_on() => self.parameter_twice(&field, fields),
            _ => sql![name, operator, self.value(kind)],
        }
    }

    /// One parameter beside a cell and beside a plain field.
    fn parameter_twice(&mut self, cell: &Field, fields: &[Field]) -> Sql {
        let plain = self.field(fields, |other| other.kind == cell.kind && other.class == Class::Plain);
        let Some(plain) = plain else { return "true".into() };
        let value = Value { kind: cell.kind, text: self.text(cell.kind), form: Written::Parameter };
        let again = Value { form: Written::AgainParameter, ..value.clone() };
        let (first, second) = (cell.sql.as_str(), plain.sql.as_str());
        sql!["(", first, " = ", Sql::Value(value), " OR ", second, " = ", Sql::Value(again), ")"]
    }

    /// A condition with a query in it, correlated or not.
    fn subquery_condition(&mut self, fields: &[Field], depth: usize) -> Sql {
        let not = self.random.one_of(["", "NOT "]);
        if self.random.chance(50) {
            let table = self.table();
            let source = self.table_source(table);
            let link = self.link(&source.fields, fields).unwrap_or_else(|| "true".into());
            let all: Vec<Field> = source.fields.iter().chain(fields).cloned().collect();
            let more = Sql::optional(sql![" AND ", self.condition(&all, depth)]);
            return sql![not, "EXISTS (SELECT 1 FROM ", source.sql, " WHERE ", link, more, ")"];
        }
        let Some(field) = self.field(fields, |field| field.class.has_equality()) else {
            return "true".into();
        };
        let Some((table, column)) = self.table_with((field.kind, field.class)) else { return "true".into() };
        let source = self.table_source(table);
        let at = table.columns.iter().position(|other| other.name == column.name).unwrap_or(0);
        let inner = source.fields.get(at).map(|field| field.sql.clone()).unwrap_or_default();
        let all: Vec<Field> = source.fields.iter().chain(fields).cloned().collect();
        let filter = Sql::optional(sql![" WHERE ", self.condition(&all, depth)]);
        if Form::RowWithSubquery.is_on() && self.random.chance(20) {
            let row = self.known_key();
            let word = self.random.one_of([" = ", " IN "]);
            let key = source.fields.first().map(|field| field.sql.clone()).unwrap_or_default();
            let left = format!("({}, 1){word}(SELECT {inner}, 1 FROM ", field.sql);
            return sql![left, source.sql, format!(" WHERE {key} = "), row, ")"];
        }
        let word = self.random.one_of([" IN (", " NOT IN (", " = ANY (", " <> ALL ("]);
        sql![field.sql, word, "SELECT ", inner, " FROM ", source.sql, filter, ")"]
    }

    /// A comparison of a field of one side with one of the other.
    pub fn link(&mut self, left: &[Field], right: &[Field]) -> Option<Sql> {
        let pairs: Vec<(&Field, &Field)> = left
            .iter()
            .flat_map(|a| right.iter().map(move |b| (a, b)))
            .filter(|(a, b)| (a.kind, a.class) == (b.kind, b.class) && a.class.has_equality())
            .collect();
        let cells: Vec<_> = pairs.iter().filter(|(a, _)| a.class != Class::Plain).copied().collect();
        let chosen = if self.random.chance(70) && !cells.is_empty() { cells } else { pairs };
        let (a, b) = self.random.pick(&chosen)?;
        Some(sql![a.sql.clone(), " = ", b.sql.clone()])
    }

    /// An expression of this type and class.
    pub fn expression(&mut self, (kind, class): Shape, fields: &[Field], depth: usize) -> Sql {
        if class != Class::Plain {
            return self.cell((kind, class), fields, depth);
        }
        let field = self.field(fields, |field| (field.kind, field.class) == (kind, class));
        let Some(field) = field.filter(|_| self.random.chance(75)) else { return self.typed_value(kind) };
        let name = field.sql.as_str();
        match (self.random.below(8), kind) {
            (0, Kind::Int4) => sql![name, " % 1000 + ", self.random.one_of(["1", "-3"])],
            (1, Kind::Text) => sql!["upper(", name, ")"],
            (2, Kind::Text) => sql![name, " || 'x'"],
            (3, _) => sql!["COALESCE(", name, ", ", self.value(kind), ")"],
            (4, _) if depth > 0 => {
                let when = self.condition(fields, 0);
                sql!["CASE WHEN ", when, " THEN ", name, " ELSE ", self.value(kind), " END"]
            }
            (5, Kind::Int4) if depth > 0 => self.count(fields, depth),
            _ => name.into(),
        }
    }

    fn count(&mut self, fields: &[Field], depth: usize) -> Sql {
        let table = self.table();
        let source = self.table_source(table);
        let all: Vec<Field> = source.fields.iter().chain(fields).cloned().collect();
        let filter = Sql::optional(sql![" WHERE ", self.condition(&all, depth - 1)]);
        sql!["(SELECT count(*)::int4 FROM ", source.sql, filter, ")"]
    }

    /// A cell of this domain: a field, a choice, or another row's.
    fn cell(&mut self, (kind, class): Shape, fields: &[Field], depth: usize) -> Sql {
        let fits = |field: &Field| (field.kind, field.class) == (kind, class);
        let Some(field) = self.field(fields, fits).filter(|_| self.random.chance(85)) else {
            return self.cell_of_another_row((kind, class));
        };
        let name = field.sql.as_str();
        if (kind.definition() != kind.cast() || kind == Kind::Cidr) && !Form::LostModifier.is_on() {
            return name.into();
        }
        match self.random.below(12) {
            0 => sql!["COALESCE(", name, ", ", self.flowing_value(kind), ")"],
            1 | 2 if depth > 0 => {
                let when = self.condition(fields, depth - 1);
                let other = match self.field(fields, fits) {
                    Some(other) if self.random.chance(50) => other.sql.into(),
                    _ => self.flowing_value(kind),
                };
                sql!["CASE WHEN ", when, " THEN ", name, " ELSE ", other, " END"]
            }
            3 if class.has_equality() => sql!["NULLIF(", name, ", ", self.some_value(kind), ")"],
            4 => sql!["(", name, ")"],
            5 => sql![name, "::", kind.cast()],
            6 if depth > 0 => self.cell_of_another_row((kind, class)),
            _ => name.into(),
        }
    }

    fn cell_of_another_row(&mut self, shape: Shape) -> Sql {
        let Some((table, column)) = self.table_with(shape) else { return "NULL".into() };
        let alias = self.name();
        let (from, key) = (table.qualified(), table.key());
        let row = self.known_key();
        sql![format!("(SELECT {alias}.{} FROM {from} {alias} WHERE {alias}.{key} = ", column.name), row, ")"]
    }
}
