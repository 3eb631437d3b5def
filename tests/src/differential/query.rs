//! Queries: selections, groups, windows, set operations, VALUES, WITH.

use super::kind::Kind;
use super::schema::Class;
use super::scope::{Field, Generator, Shape, Source, With, fields};
use super::tree::Sql;
use crate::sql;

/// A query with what it puts out.
pub struct Query {
    /// Its text.
    pub sql: Sql,
    /// Its columns, by bare name.
    pub outputs: Vec<Field>,
    /// Whether it orders its rows.
    pub ordered: bool,
}

impl Generator {
    /// Any query, with `outer` fields in scope.
    pub fn query(&mut self, outer: &[Field], depth: usize) -> Query {
        match self.random.below(20) {
            0 | 1 if depth > 0 => self.set_operation(outer, depth - 1),
            2..=4 if depth > 0 => self.with_query(outer, depth - 1),
            5..=7 => self.grouped(outer, depth),
            8 | 9 => self.windowed(depth),
            10 => self.values(),
            _ => {
                let source = self.from(outer, depth);
                self.select(source, None, outer, depth)
            }
        }
    }

    /// FROM: a table or more, a WITH query, subqueries, joined in any way.
    pub fn from(&mut self, outer: &[Field], depth: usize) -> Source {
        if depth > 0 && self.random.chance(12) {
            return self.merged_join(depth);
        }
        let mut all = self.source(&[], depth);
        let count = self.random.one_of([0, 0, 0, 1, 1, 2]);
        for last in (0..count).rev() {
            let next = match self.random.below(8) {
                0 if last == 0 => {
                    let next = self.source(&[], 0);
                    (sql![", ", next.sql], next.fields)
                }
                1 => {
                    let next = self.source(&[], 0);
                    (sql![" CROSS JOIN ", next.sql], next.fields)
                }
                2 if depth > 0 => {
                    let scope: Vec<Field> = all.fields.iter().chain(outer).cloned().collect();
                    let next = self.subquery_source(&scope, depth - 1, "LATERAL ");
                    let (left, right) =
                        self.random.one_of([(" CROSS JOIN ", ""), (" LEFT JOIN ", " ON true")]);
                    (sql![left, next.sql, right], next.fields)
                }
                3 => {
                    let next = self.source(&[], 0);
                    match self.link(&all.fields, &next.fields) {
                        Some(link) => (sql![" FULL JOIN ", next.sql, " ON ", link], next.fields),
                        None => (sql![" CROSS JOIN ", next.sql], next.fields),
                    }
                }
                _ => {
                    let next = self.source(&[], depth);
                    let scope: Vec<Field> = all.fields.iter().chain(&next.fields).cloned().collect();
                    let link = self.link(&all.fields, &next.fields).unwrap_or_else(|| "true".into());
                    let more = match self.random.below(3) {
                        0 => Sql::optional(sql![" AND ", self.condition(&scope, 0)]),
                        _ => Sql::none(),
                    };
                    let join =
                        self.random.one_of([" JOIN ", " INNER JOIN ", " LEFT JOIN ", " RIGHT OUTER JOIN "]);
                    (sql![join, next.sql, " ON ", link, more], next.fields)
                }
            };
            all.sql = sql![all.sql, Sql::optional(next.0)];
            all.fields.extend(next.1);
        }
        all
    }

    fn source(&mut self, outer: &[Field], depth: usize) -> Source {
        if self.random.chance(40)
            && let Some(with) = self.with_source()
        {
            return with;
        }
        match self.random.below(12) {
            0 if depth > 0 => self.subquery_source(outer, depth - 1, ""),
            1 => {
                let alias = self.name();
                let key = [("n".to_owned(), Kind::Int4, Class::Plain, true)];
                let sql = sql![format!("generate_series(1, 3) AS {alias} (n)")];
                Source { sql, fields: fields(&alias, key.into_iter()) }
            }
            _ => {
                let table = self.table();
                self.table_source(table)
            }
        }
    }

    fn subquery_source(&mut self, outer: &[Field], depth: usize, lateral: &str) -> Source {
        let query = self.query(outer, depth);
        let alias = self.name();
        let names: Vec<String> = query.outputs.iter().map(|_| self.name()).collect();
        let columns =
            names.iter().zip(query.outputs).map(|(name, out)| (name.clone(), out.kind, out.class, false));
        let columns = fields(&alias, columns);
        let names = names.join(", ");
        Source { sql: sql![lateral, "(", query.sql, format!(") AS {alias} ({names})")], fields: columns }
    }

    /// Two sources joined by the names of their columns.
    fn merged_join(&mut self, depth: usize) -> Source {
        let shape = self.random.one_of([
            (Kind::Text, Class::Deterministic("ssn")),
            (Kind::Date, Class::Deterministic("day")),
            (Kind::Numeric, Class::Deterministic("money")),
            (Kind::Int4, Class::Plain),
        ]);
        let merged = self.name();
        let side = |this: &mut Self| {
            let (alias, key) = (this.name(), this.name());
            let Some((table, column)) = this.table_with(shape) else { unreachable!("a shape of the schema") };
            let source = this.table_source(table);
            let at = table.columns.iter().position(|other| other.name == column.name).unwrap_or(0);
            let name =
                |index: usize| source.fields.get(index).map(|field| field.sql.clone()).unwrap_or_default();
            let filter = match depth {
                0 => Sql::none(),
                _ => Sql::optional(sql![" WHERE ", this.condition(&source.fields, 0)]),
            };
            let select = format!("(SELECT {} AS {key}, {} AS {merged} FROM ", name(0), name(at));
            let fields = fields(&alias, [(key, Kind::Int4, Class::Plain, true)].into_iter());
            (sql![select, source.sql, filter, format!(") AS {alias}")], fields)
        };
        let (left, right) = (side(self), side(self));
        let sql = match self.random.below(3) {
            0 => {
                let join =
                    self.random.one_of([" NATURAL JOIN ", " NATURAL LEFT JOIN ", " NATURAL FULL JOIN "]);
                sql![left.0, join, right.0]
            }
            _ => {
                let join = self.random.one_of([" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "]);
                sql![left.0, join, right.0, format!(" USING ({merged})")]
            }
        };
        let shared = Field { sql: merged.clone(), name: merged, kind: shape.0, class: shape.1, key: false };
        Source { sql, fields: left.1.into_iter().chain(right.1).chain([shared]).collect() }
    }

    /// SELECT … FROM … WHERE …, of these shapes or of any.
    pub fn select(
        &mut self,
        source: Source,
        shapes: Option<&[Shape]>,
        outer: &[Field],
        depth: usize,
    ) -> Query {
        let scope: Vec<Field> = source.fields.iter().chain(outer).cloned().collect();
        let mut outputs = Vec::new();
        let mut targets = Vec::new();
        let any: Vec<Shape>;
        let shapes = match shapes {
            Some(shapes) => shapes,
            None => {
                let count = self.random.below(4) + 1;
                any =
                    (0..count).filter_map(|_| self.random.pick(&scope).map(|f| (f.kind, f.class))).collect();
                &any
            }
        };
        for shape in shapes {
            let name = self.name();
            let value = self.expression(*shape, &scope, depth.min(1));
            targets.push(sql![value, format!(" AS {name}")]);
            outputs.push(Field { sql: name.clone(), name, kind: shape.0, class: shape.1, key: false });
        }
        let filter = self.filter(&scope, depth);
        let comparable = outputs.iter().all(|out| out.class.has_equality() && out.kind.has_equality());
        let distinct = if comparable && self.random.chance(8) { "DISTINCT " } else { "" };
        let sql = sql!["SELECT ", distinct, Sql::list(targets), " FROM ", source.sql, filter];
        Query { sql, outputs, ordered: false }
    }

    pub(super) fn filter(&mut self, scope: &[Field], depth: usize) -> Sql {
        if self.random.chance(30) {
            return Sql::none();
        }
        Sql::optional(sql![" WHERE ", self.condition(scope, depth)])
    }

    fn grouped(&mut self, outer: &[Field], depth: usize) -> Query {
        let source = self.from(outer, depth.min(1));
        let groupable: Vec<Field> = source
            .fields
            .iter()
            .filter(|f| f.class.has_equality() && f.kind.has_equality())
            .cloned()
            .collect();
        let count = self.random.below(2) + 1;
        let keys = self.random.some_of(&groupable, count);
        let mut targets = Vec::new();
        let mut outputs = Vec::new();
        let mut put = |this: &mut Self, value: Sql, kind: Kind, class: Class| {
            let name = this.name();
            targets.push(sql![value, format!(" AS {name}")]);
            outputs.push(Field { sql: name.clone(), name, kind, class, key: false });
        };
        for key in &keys {
            put(self, key.sql.clone().into(), key.kind, key.class);
        }
        put(self, "count(*)".into(), Kind::Int8, Class::Plain);
        if let Some(field) = self.random.pick(&source.fields).cloned() {
            let distinct = field.class.has_equality() && field.kind.has_equality() && self.random.chance(50);
            let word = if distinct { "DISTINCT " } else { "" };
            let mut value = sql![format!("count({word}{})", field.sql)];
            if self.random.chance(30) {
                let only = self.condition(&source.fields, 0);
                value = sql![value, Sql::optional(sql![" FILTER (WHERE ", only, ")"])];
            }
            put(self, value, Kind::Int8, Class::Plain);
        }
        if let Some(field) = self.field(&source.fields, |f| f.class == Class::Plain && f.kind == Kind::Int4) {
            put(self, sql![format!("max({})", field.sql)], Kind::Int4, Class::Plain);
        }
        let filter = self.filter(&source.fields, depth.min(1));
        let names: Vec<&str> = keys.iter().map(|key| key.sql.as_str()).collect();
        let group = match (self.random.below(6), names.as_slice()) {
            (_, []) => Sql::none(),
            (0, names) => sql![" GROUP BY ROLLUP (", names.join(", "), ")"],
            (1, names) => sql![" GROUP BY CUBE (", names.join(", "), ")"],
            (2, [first, ..]) => {
                sql![format!(" GROUP BY GROUPING SETS (({}), ({first}), ())", names.join(", "))]
            }
            (3, names) => {
                let numbers: Vec<_> = (1..=names.len()).map(|number| number.to_string()).collect();
                sql![" GROUP BY ", numbers.join(", ")]
            }
            (_, names) => sql![" GROUP BY ", names.join(", ")],
        };
        let having = match self.random.below(3) {
            0 => Sql::optional(sql![" HAVING count(*) > ", self.random.one_of(["0", "1", "2"])]),
            1 if !keys.is_empty() => Sql::optional(sql![" HAVING ", self.condition(&keys, 0)]),
            _ => Sql::none(),
        };
        let sql = sql!["SELECT ", Sql::list(targets), " FROM ", source.sql, filter, group, having];
        Query { sql, outputs, ordered: false }
    }

    fn windowed(&mut self, depth: usize) -> Query {
        let table = self.table();
        let source = self.table_source(table);
        let key = source.fields.first().map(|field| field.sql.clone()).unwrap_or_default();
        let groupable = |f: &Field| f.class.has_equality() && f.kind.has_equality();
        let by = self.field(&source.fields, groupable).map(|field| field.sql).unwrap_or_default();
        let window = format!("PARTITION BY {by} ORDER BY {key}");
        let (over, clause) = match self.random.chance(40) {
            true => ("w".to_owned(), format!(" WINDOW w AS ({window})")),
            false => (format!("({window})"), String::new()),
        };
        let call = self.random.one_of(["row_number()", "count(*)", "rank()", "ntile(2)"]);
        let filter = self.filter(&source.fields, depth.min(1));
        let shown = self.random.pick(&source.fields).cloned();
        let shown: Vec<Field> = shown.into_iter().collect();
        let name = self.name();
        let value = sql![format!("({call} OVER {over})::int8 AS {name}")];
        let mut targets = vec![value];
        let mut outputs =
            vec![Field { sql: name.clone(), name, kind: Kind::Int8, class: Class::Plain, key: false }];
        for field in shown {
            let name = self.name();
            targets.push(sql![format!("{} AS {name}", field.sql)]);
            outputs.push(Field { sql: name.clone(), name, key: false, ..field });
        }
        let sql = sql!["SELECT ", Sql::list(targets), " FROM ", source.sql, filter, clause];
        Query { sql, outputs, ordered: false }
    }

    fn values(&mut self) -> Query {
        let kinds = [Kind::Int4, self.random.one_of([Kind::Text, Kind::Date, Kind::Numeric])];
        let rows = (0..=self.random.below(2))
            .map(|_| sql!["(", self.typed_value(kinds[0]), ", ", self.typed_value(kinds[1]), ")"])
            .collect();
        let outputs = kinds.iter().enumerate().map(|(number, kind)| {
            let name = format!("column{}", number + 1);
            Field { sql: name.clone(), name, kind: *kind, class: Class::Plain, key: false }
        });
        Query { sql: sql!["VALUES ", Sql::list(rows)], outputs: outputs.collect(), ordered: false }
    }

    fn set_operation(&mut self, outer: &[Field], depth: usize) -> Query {
        let random = self.random.chance(25);
        let cell = if random {
            (Kind::Text, Class::Randomized("prose"))
        } else {
            self.random.one_of([
                (Kind::Text, Class::Deterministic("ssn")),
                (Kind::Date, Class::Deterministic("day")),
                (Kind::Numeric, Class::Deterministic("money")),
                (Kind::Int8, Class::Deterministic("account")),
                (Kind::Varchar, Class::Deterministic("code")),
            ])
        };
        let shapes = [cell, self.random.one_of([(Kind::Int4, Class::Plain), (Kind::Text, Class::Plain)])];
        let count = self.random.below(2) + 1;
        let shapes = shapes.get(..count).unwrap_or_default();
        let branch = |this: &mut Self| {
            let Some((table, _)) = this.table_with(cell) else { unreachable!("a shape of the schema") };
            let source = this.table_source(table);
            this.select(source, Some(shapes), outer, depth)
        };
        let (left, right) = (branch(self), branch(self));
        let word = if random {
            " UNION ALL "
        } else {
            self.random.one_of([
                " UNION ",
                " UNION ALL ",
                " INTERSECT ",
                " EXCEPT ",
                " INTERSECT ALL ",
                " EXCEPT ALL ",
            ])
        };
        let sql = Sql::Either(vec![sql![left.sql.clone(), word, right.sql.clone()], left.sql, right.sql]);
        Query { sql, outputs: left.outputs, ordered: false }
    }

    fn with_query(&mut self, outer: &[Field], depth: usize) -> Query {
        let known = self.with.len();
        let mut definitions = Vec::new();
        let mut recursive = "";
        for _ in 0..=self.random.below(2) {
            let name = self.name();
            let (definition, outputs) = if self.random.chance(15) {
                recursive = "RECURSIVE ";
                self.recursive(&name)
            } else {
                let query = self.query(&[], depth.min(1));
                let names: Vec<String> = query.outputs.iter().map(|_| self.name()).collect();
                let renamed = query
                    .outputs
                    .into_iter()
                    .zip(&names)
                    .map(|(out, name)| Field { name: name.clone(), ..out });
                let outputs: Vec<Field> = renamed.collect();
                let how = self.random.one_of(["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
                (sql![format!("{name} ({}) AS {how}(", names.join(", ")), query.sql, ")"], outputs)
            };
            definitions.push(definition);
            self.with.push(With { name, fields: outputs });
        }
        let source = self.from(outer, 0);
        let main = self.select(source, None, outer, depth);
        self.with.truncate(known);
        let sql = sql![Sql::optional(sql!["WITH ", recursive, Sql::list(definitions), " "]), main.sql];
        Query { sql, ..main }
    }

    fn recursive(&mut self, name: &str) -> (Sql, Vec<Field>) {
        let shape = (Kind::Text, Class::Deterministic("ssn"));
        let Some((table, column)) = self.table_with(shape) else { unreachable!("a shape of the schema") };
        let word = self.random.one_of(["UNION", "UNION ALL"]);
        let (from, key, cell) = (table.qualified(), table.key(), column.name);
        let start = self.known_key();
        let step = match self.random.chance(50) {
            true => sql![format!("SELECT n + 1, s FROM {name} WHERE n < 3")],
            false => sql![format!(
                "SELECT r.n + 1, q.{cell} FROM {name} r JOIN {from} q ON q.{key} = r.n + 1 WHERE r.n < 4"
            )],
        };
        let outputs =
            [("n", Kind::Int4, Class::Plain), ("s", shape.0, shape.1)].map(|(name, kind, class)| Field {
                sql: name.to_owned(),
                name: name.to_owned(),
                kind,
                class,
                key: false,
            });
        let definition = sql![
            format!("{name} (n, s) AS (SELECT 1, {cell} FROM {from} WHERE {key} = "),
            start,
            format!(" {word} "),
            step,
            ")"
        ];
        (definition, outputs.to_vec())
    }
}
