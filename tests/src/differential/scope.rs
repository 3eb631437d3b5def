//! What a generator of statements knows: names in scope, names that are taken, and values.

use super::kind::Kind;
use super::random::Random;
use super::schema::{Class, Column, TABLES, Table};
use super::shapes::Form;
use super::tree::{Form as Written, Sql, Value};
use crate::sql;

/// A column in scope.
#[derive(Clone, Debug)]
pub struct Field {
    /// As an expression: `t1.ssn`.
    pub sql: String,
    /// Its bare name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// What it is for the proxy.
    pub class: Class,
    /// Whether it tells the rows of its source apart.
    pub key: bool,
}

/// Type and class of an expression.
pub type Shape = (Kind, Class);

/// An item of FROM with its columns.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its text.
    pub sql: Sql,
    /// Its columns.
    pub fields: Vec<Field>,
}

/// A WITH query in scope.
#[derive(Clone, Debug)]
pub struct With {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub fields: Vec<Field>,
}

/// Makes statements from a seed.
pub struct Generator {
    /// Chance.
    pub random: Random,
    /// WITH queries in scope.
    pub with: Vec<With>,
    names: usize,
    keys: usize,
}

impl Generator {
    /// The generator that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), with: Vec::new(), names: 0, keys: 100 }
    }

    /// A name that no other has; some need quotes.
    pub fn name(&mut self) -> String {
        self.names += 1;
        let number = self.names;
        match self.random.below(12) {
            0 => format!("\"T {number}\""),
            1 => format!("\"weird \"\"{number}\""),
            2 => format!("\"Größe{number}\""),
            _ => format!("t{number}"),
        }
    }

    /// A key that no row has; sometimes one that a row may have.
    pub fn new_key(&mut self) -> Sql {
        self.keys += 1;
        let key = if self.random.chance(12) { self.random.below(8) + 1 } else { self.keys };
        Sql::Value(Value { kind: Kind::Int4, text: Some(key.to_string()), form: Written::Bare })
    }

    /// The key of a row that is probably there.
    pub fn known_key(&mut self) -> Sql {
        let key = self.random.below(9) + 1;
        let form = self.random.one_of([Written::Bare, Written::Bare, Written::Parameter]);
        Sql::Value(Value { kind: Kind::Int4, text: Some(key.to_string()), form })
    }

    /// Any table.
    pub fn table(&mut self) -> &'static Table {
        match self.random.pick(TABLES) {
            Some(table) => table,
            None => unreachable!("there are tables"),
        }
    }

    /// A table with a column of this shape, and the column.
    pub fn table_with(&mut self, (kind, class): Shape) -> Option<(&'static Table, &'static Column)> {
        let columns = TABLES.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)));
        let fits: Vec<_> =
            columns.filter(|(_, column)| (column.kind, column.class) == (kind, class)).collect();
        self.random.pick(&fits).copied()
    }

    /// A value of this type in any form, NULL among them; usable where its type is known.
    pub fn value(&mut self, kind: Kind) -> Sql {
        match self.random.chance(7) {
            true => "NULL".into(),
            false => self.some_value(kind),
        }
    }

    /// A value that decides a result's form together with cells: its scale and its width are the
    /// column's.
    pub fn flowing_value(&mut self, kind: Kind) -> Sql {
        if matches!(kind, Kind::Int2 | Kind::Int8) {
            let text = self.text(kind);
            let form = self.random.one_of([Written::Quoted, Written::Cast, Written::Parameter]);
            return Sql::Value(Value { kind, text, form });
        }
        if kind != Kind::Numeric {
            return self.value(kind);
        }
        let text = self.random.one_of(["120.50", "-0.07", "9999999999.99"]);
        Sql::Value(Value { kind, text: Some(text.to_owned()), form: Written::Bare })
    }

    /// A value that is not NULL.
    pub fn some_value(&mut self, kind: Kind) -> Sql {
        let text = self.text(kind);
        let form = self.form(kind, text.as_deref());
        Sql::Value(Value { kind, text, form })
    }

    /// A value that carries its type.
    pub fn typed_value(&mut self, kind: Kind) -> Sql {
        let null = Form::TypedNull.is_on() && self.random.chance(10);
        let text = if null { None } else { self.text(kind) };
        let form = self.random.one_of([Written::Cast, Written::CastCall, Written::CastParameter]);
        Sql::Value(Value { kind, text, form })
    }

    /// The text of some value of this type.
    pub fn text(&mut self, kind: Kind) -> Option<String> {
        self.random.pick(kind.pool()).map(|text| (*text).to_owned())
    }

    fn form(&mut self, kind: Kind, text: Option<&str>) -> Written {
        match self.random.below(12) {
            0 => Written::Escaped,
            1 if text.is_some_and(|text| !text.contains("$q")) => Written::Dollars,
            2 => Written::Unicode,
            3 => Written::Cast,
            4 => Written::CastCall,
            5 | 6 if text.is_some_and(|text| kind.is_bare(text)) => Written::Bare,
            7..=9 => Written::Parameter,
            10 => Written::CastParameter,
            _ => Written::Quoted,
        }
    }

    /// One of the fields that fit.
    pub fn field(&mut self, fields: &[Field], fits: impl Fn(&Field) -> bool) -> Option<Field> {
        let fitting: Vec<&Field> = fields.iter().filter(|field| fits(field)).collect();
        self.random.pick(&fitting).map(|field| (*field).clone())
    }

    /// A table as an item of FROM, in one of the ways to write it.
    pub fn table_source(&mut self, table: &'static Table) -> Source {
        let alias = self.name();
        let named = if table.schema == "public" && self.random.chance(70) {
            table.name.to_owned()
        } else {
            table.qualified()
        };
        let only = if self.random.chance(8) { "ONLY " } else { "" };
        let word = self.random.one_of([" AS ", " ", " AS\t"]);
        let renames = self.random.chance(10);
        let names: Vec<String> = table
            .columns
            .iter()
            .map(|column| if renames { self.name() } else { column.name.to_owned() })
            .collect();
        let fields = fields(
            &alias,
            names
                .iter()
                .zip(table.columns)
                .enumerate()
                .map(|(number, (name, column))| (name.clone(), column.kind, column.class, number == 0)),
        );
        let list = if renames { format!(" ({})", names.join(", ")) } else { String::new() };
        Source { sql: sql![format!("{only}{named}{word}{alias}{list}")], fields }
    }

    /// A WITH query as an item of FROM.
    pub fn with_source(&mut self) -> Option<Source> {
        let with = self.random.pick(&self.with).cloned()?;
        let alias = self.name();
        let columns = with.fields.into_iter().map(|field| (field.name, field.kind, field.class, field.key));
        Some(Source { fields: fields(&alias, columns), sql: sql![format!("{} {alias}", with.name)] })
    }
}

/// The columns of a source under its alias.
pub fn fields(alias: &str, columns: impl Iterator<Item = (String, Kind, Class, bool)>) -> Vec<Field> {
    columns
        .map(|(name, kind, class, key)| Field { sql: format!("{alias}.{name}"), name, kind, class, key })
        .collect()
}
