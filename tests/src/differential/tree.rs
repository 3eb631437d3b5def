//! Statements as trees that print themselves and know what can be left out of them. A reduced tree
//! may be no statement at all: then both servers say so, and the reduction is not taken.

use super::kind::Kind;

/// A piece of SQL.
#[derive(Clone, Debug)]
pub enum Sql {
    /// As it is.
    Text(String),
    /// A literal or a parameter.
    Value(Value),
    /// One after the other.
    Row(Vec<Sql>),
    /// Items of which at least so many must stay.
    List {
        /// What stands between two.
        separator: &'static str,
        /// How many must stay.
        least: usize,
        /// The items.
        items: Vec<Sql>,
    },
    /// What can be left out.
    Optional(Box<Sql>),
    /// The first of these; the others are simpler and may take its place.
    Either(Vec<Sql>),
    /// `(names) VALUES (row), …`: a column goes with its values. Rows that follow COPY are not printed.
    Columns {
        /// The names of the columns.
        names: Vec<Sql>,
        /// The values, each row as wide as the names.
        rows: Vec<Vec<Sql>>,
    },
}

/// A value with the form in which it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its type.
    pub kind: Kind,
    /// Its text form; `None` is NULL.
    pub text: Option<String>,
    /// How it is written.
    pub form: Form,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `'…'`
    Quoted,
    /// A number or `true`, where it is one.
    Bare,
    /// `E'…'`
    Escaped,
    /// `$q$…$q$`
    Dollars,
    /// `U&'…'`
    Unicode,
    /// `'…'::type`
    Cast,
    /// `CAST ('…' AS type)`
    CastCall,
    /// `$n`
    Parameter,
    /// `$n::type`
    CastParameter,
    /// `$n` of the parameter before it, whose value it has.
    AgainParameter,
}

/// A printed statement.
#[derive(Clone, Debug, Default)]
pub struct Printed {
    /// Its text.
    pub text: String,
    /// Its parameters.
    pub parameters: Vec<Value>,
    inline: bool,
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A row of pieces, each anything that becomes one.
#[macro_export]
macro_rules! sql {
    ($($piece:expr),* $(,)?) => { $crate::differential::tree::Sql::Row(vec![$($piece.into()),*]) };
}

impl Sql {
    /// Items with commas between them, of which one must stay.
    pub fn list(items: Vec<Sql>) -> Self {
        Self::List { separator: ", ", least: 1, items }
    }

    /// Something that can be left out.
    pub fn optional(item: Sql) -> Self {
        Self::Optional(Box::new(item))
    }

    /// Nothing.
    pub fn none() -> Self {
        Self::Row(Vec::new())
    }

    /// The text with its parameters, or with literals in their place.
    pub fn print(&self, inline: bool) -> Printed {
        let mut printed = Printed { inline, ..Printed::default() };
        self.write(&mut printed);
        printed
    }

    fn write(&self, to: &mut Printed) {
        match self {
            Self::Text(text) => to.text.push_str(text),
            Self::Value(value) => value.write(to),
            Self::Row(items) => items.iter().for_each(|item| item.write(to)),
            Self::List { separator, items, .. } => separated(items, separator, to),
            Self::Optional(item) => item.write(to),
            Self::Either(forms) => forms.first().into_iter().for_each(|form| form.write(to)),
            Self::Columns { names, rows } => {
                to.text.push('(');
                separated(names, ", ", to);
                to.text.push(')');
                if to.text.starts_with("COPY") {
                    return;
                }
                to.text.push_str(" VALUES ");
                for (number, row) in rows.iter().enumerate() {
                    to.text.push_str(if number == 0 { "(" } else { ", (" });
                    separated(row, ", ", to);
                    to.text.push(')');
                }
            }
        }
    }

    /// Every tree that is this one with one thing less; the bigger ones first.
    pub fn reductions(&self) -> Vec<Sql> {
        let mut reduced = Vec::new();
        match self {
            Self::Text(_) => {}
            Self::Value(value) => reduced.extend(value.reductions().into_iter().map(Sql::Value)),
            Self::Row(items) => below(items, &mut reduced, Self::Row),
            Self::List { separator, least, items } => {
                let list = |items| Self::List { separator, least: *least, items };
                if items.len() > *least {
                    let half = items.len().div_ceil(2).max(*least);
                    if items.len() > half + 1 {
                        reduced.push(list(items.iter().take(half).cloned().collect()));
                        reduced.push(list(items.iter().skip(items.len() - half).cloned().collect()));
                    }
                    reduced.extend((0..items.len()).map(|index| list(without(items, index))));
                }
                below(items, &mut reduced, list);
            }
            Self::Optional(item) => {
                reduced.push(Self::none());
                reduced.extend(item.reductions().into_iter().map(Self::optional));
            }
            Self::Either(forms) => {
                reduced.extend(forms.iter().skip(1).rev().cloned());
                if let Some(first) = forms.first() {
                    let rest = || forms.iter().skip(1).cloned();
                    reduced.extend(
                        first
                            .reductions()
                            .into_iter()
                            .map(|form| Self::Either(std::iter::once(form).chain(rest()).collect())),
                    );
                }
            }
            Self::Columns { names, rows } => {
                if rows.len() > 1 {
                    let fewer = |index| Self::Columns { names: names.clone(), rows: without(rows, index) };
                    reduced.extend((0..rows.len()).map(fewer));
                }
                if names.len() > 1 {
                    let fewer = |index| Self::Columns {
                        names: without(names, index),
                        rows: rows.iter().map(|row| without(row, index)).collect(),
                    };
                    reduced.extend((0..names.len()).map(fewer));
                }
                for (number, row) in rows.iter().enumerate() {
                    below(row, &mut reduced, |row| {
                        let mut rows = rows.clone();
                        if let Some(place) = rows.get_mut(number) {
                            *place = row;
                        }
                        Self::Columns { names: names.clone(), rows }
                    });
                }
            }
        }
        reduced
    }
}

fn separated(items: &[Sql], separator: &str, to: &mut Printed) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            to.text.push_str(separator);
        }
        item.write(to);
    }
}

fn without<T: Clone>(items: &[T], index: usize) -> Vec<T> {
    items.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, item)| item.clone()).collect()
}

/// The lists in which one item is reduced.
fn below(items: &[Sql], reduced: &mut Vec<Sql>, make: impl Fn(Vec<Sql>) -> Sql) {
    for (index, item) in items.iter().enumerate() {
        for smaller in item.reductions() {
            let mut items = items.to_vec();
            if let Some(place) = items.get_mut(index) {
                *place = smaller;
            }
            reduced.push(make(items));
        }
    }
}

impl Value {
    fn write(&self, to: &mut Printed) {
        let kind = self.kind.cast();
        match self.form {
            Form::Parameter | Form::CastParameter if !to.inline => {
                to.parameters.push(self.clone());
                to.text.push_str(&format!("${}", to.parameters.len()));
                if self.form == Form::CastParameter {
                    to.text.push_str(&format!("::{kind}"));
                }
                return;
            }
            Form::AgainParameter if !to.inline && !to.parameters.is_empty() => {
                to.text.push_str(&format!("${}", to.parameters.len()));
                return;
            }
            _ => {}
        }
        let Some(text) = &self.text else {
            let cast = matches!(self.form, Form::Cast | Form::CastCall | Form::CastParameter);
            to.text.push_str(&if cast { format!("NULL::{kind}") } else { "NULL".to_owned() });
            return;
        };
        let quoted = format!("'{}'", text.replace('\'', "''"));
        let written = match self.form {
            Form::Quoted | Form::Parameter | Form::AgainParameter => quoted,
            Form::Bare if self.kind.is_bare(text) => text.clone(),
            Form::Bare => quoted,
            Form::Escaped => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
            Form::Dollars => format!("$q${text}$q$"),
            Form::Unicode => format!("U&{}", quoted.replace('\\', "\\\\").replace('ü', "\\00fc")),
            Form::Cast | Form::CastParameter => format!("{quoted}::{kind}"),
            Form::CastCall => format!("CAST ({quoted} AS {kind})"),
        };
        // Only a minus after a minus or a digit could change what a bare number is.
        if written.starts_with('-') && to.text.ends_with(['-', '+']) {
            to.text.push(' ');
        }
        to.text.push_str(&written);
    }

    fn reductions(&self) -> Vec<Value> {
        let mut simpler = Vec::new();
        if !matches!(self.form, Form::Quoted | Form::Bare) {
            simpler.push(Value { form: Form::Quoted, ..self.clone() });
        }
        if matches!(self.form, Form::Parameter | Form::AgainParameter) {
            return simpler;
        }
        let plain = self.kind.pool().first().map(|text| (*text).to_owned());
        if self.text.is_some() && self.text != plain {
            simpler.push(Value { text: plain, ..self.clone() });
        }
        simpler
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_prints_and_loses_one_thing_at_a_time() {
        let value = Value { kind: Kind::Text, text: Some("it's".to_owned()), form: Form::Parameter };
        let tree = sql![
            "SELECT ",
            Sql::list(vec!["a".into(), "b".into()]),
            Sql::optional(sql![" WHERE c = ", Sql::Value(value)])
        ];
        assert_eq!(tree.print(false).text, "SELECT a, b WHERE c = $1");
        assert_eq!(tree.print(false).parameters.len(), 1);
        assert_eq!(tree.print(true).text, "SELECT a, b WHERE c = 'it''s'");
        let smaller: Vec<_> = tree.reductions().iter().map(|tree| tree.print(true).text).collect();
        assert_eq!(smaller[0], "SELECT b WHERE c = 'it''s'");
        assert_eq!(smaller[2], "SELECT a, b");
    }

    #[test]
    fn a_column_goes_with_its_values() {
        let names = vec!["a".into(), "b".into()];
        let rows = vec![vec!["1".into(), "2".into()], vec!["3".into(), "4".into()]];
        let tree = Sql::Columns { names, rows };
        let smaller: Vec<_> = tree.reductions().iter().map(|tree| tree.print(true).text).collect();
        assert_eq!(
            smaller,
            ["(a, b) VALUES (3, 4)", "(a, b) VALUES (1, 2)", "(b) VALUES (2), (4)", "(a) VALUES (1), (3)"]
        );
    }
}
