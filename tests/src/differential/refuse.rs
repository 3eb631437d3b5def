//! Statements that must be refused: what the database could answer only if it saw the values, and
//! what would give it a value or mix the kinds.

use super::kind::Kind;
use super::schema::{Class, TABLES};
use super::scope::{Field, Generator};
use super::tree::Sql;
use crate::sql;

impl Generator {
    /// A statement that the proxy must refuse.
    pub fn refused(&mut self) -> Sql {
        let protected = |field: &Field| field.class != Class::Plain;
        let mut table = self.table();
        while table.columns.iter().all(|column| column.class == Class::Plain) {
            table = self.table();
        }
        let source = self.table_source(table);
        let Some(cell) = self.field(&source.fields, protected) else { unreachable!("it has a cell") };
        let (name, from) = (cell.sql.as_str(), source.sql);
        if let Class::Randomized(_) = cell.class
            && self.random.chance(40)
        {
            return match self.random.below(5) {
                0 => sql!["SELECT 1 FROM ", from, " WHERE ", name, " = ", self.some_value(cell.kind)],
                1 => sql!["SELECT DISTINCT ", name, " FROM ", from],
                2 => sql!["SELECT count(*) FROM ", from, " GROUP BY ", name],
                3 => sql!["SELECT count(DISTINCT ", name, ") FROM ", from],
                _ => sql!["SELECT 1 FROM ", from, " WHERE ", name, " IN (", self.some_value(cell.kind), ")"],
            };
        }
        let alias = name.rsplit_once('.').map(|(alias, _)| alias).unwrap_or_default();
        let value = self.some_value(cell.kind);
        match self.random.below(19) {
            0 => sql!["SELECT length(", name, "::text) FROM ", from],
            1 => sql!["SELECT ", name, " FROM ", from, " ORDER BY ", name],
            2 => sql!["SELECT min(", name, ") FROM ", from],
            3 => sql!["SELECT 1 FROM ", from, " WHERE ", name, self.random.one_of([" > ", " <= "]), value],
            4 => sql![
                "SELECT 1 FROM ",
                from,
                " WHERE ",
                name,
                " BETWEEN ",
                value,
                " AND ",
                self.some_value(cell.kind)
            ],
            5 => sql!["SELECT 1 FROM ", from, " WHERE ", name, "::text LIKE 'a%'"],
            6 => sql!["SELECT ", name, " || 'x' FROM ", from],
            7 => sql!["SELECT array_agg(", name, ") FROM ", from],
            8 => sql!["SELECT ", alias, " FROM ", from],
            9 => sql!["SELECT row_to_json(", alias, ") FROM ", from],
            10 => sql!["SELECT concat(", name, ", 'x') FROM ", from],
            11 => sql!["SELECT ", name, " FROM ", from, " UNION ALL SELECT label FROM wards"],
            12 => sql!["INSERT INTO wards (id, label) SELECT 900, ", name, " FROM ", from],
            13 => sql!["UPDATE wards SET label = (SELECT ", name, " FROM ", from, " LIMIT 1) WHERE id = 1"],
            14 => sql!["SELECT lag(", name, ") OVER (ORDER BY ", name, ") FROM ", from],
            15 => sql!["SELECT 1 FROM ", from, " JOIN wards w ON w.label = ", name],
            16 => sql!["UPDATE people SET name = lower(name)"],
            17 => self.across(&cell).unwrap_or_else(|| sql!["SELECT greatest(", name, ") FROM ", from]),
            _ => sql!["SELECT ROW (", name, ")::text FROM ", from],
        }
    }

    /// Cells of two domains compared or assigned.
    fn across(&mut self, cell: &Field) -> Option<Sql> {
        let others = TABLES.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)));
        let others: Vec<_> = others
            .filter(|(_, column)| {
                column.class != Class::Plain && column.class != cell.class && column.kind != Kind::Jsonb
            })
            .collect();
        let (table, column) = self.random.pick(&others).copied()?;
        let (own, _) = self.table_with((cell.kind, cell.class))?;
        let (a, b) = (self.name(), self.name());
        let own_column =
            own.columns.iter().find(|other| (other.kind, other.class) == (cell.kind, cell.class))?;
        Some(sql![format!(
            "SELECT 1 FROM {} {a}, {} {b} WHERE {a}.{} = {b}.{}",
            own.qualified(),
            table.qualified(),
            own_column.name,
            column.name
        )])
    }
}
