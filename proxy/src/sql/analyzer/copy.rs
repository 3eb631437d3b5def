//! COPY: which columns its data has, how it is written, and which of them are cells.

use super::super::plan::{CopyPlan, Edit};
use super::super::scope::{Frame, Out};
use super::super::{offset, refusal};
use super::insert::quoted;
use super::{Analysis, Analyzer};
use crate::copy::{Column, Format, Header, Layout};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{CopyStmt, DefElem};
use std::sync::Arc;

impl<'a> Analyzer<'a> {
    /// COPY in either direction; leaves its plan in `self.copy`.
    pub(super) fn copy(&mut self, copy: &'a CopyStmt) -> Analysis<()> {
        if copy.is_program || copy.filename().is_some() {
            return Err(refusal::server_side_copy().into());
        }
        let columns = match copy.query() {
            Node::None => self.copied_table(copy)?,
            query => {
                let targets = self.query(query)?;
                self.settled_outs(targets, &[])?
            }
        };
        let layout = layout(copy, &columns)?;
        if copy.is_from {
            columns.iter().for_each(|column| self.writes(column.cell.as_ref()));
        }
        let cells = columns.into_iter().map(|column| column.cell).collect();
        self.copy = Some(CopyPlan { from: copy.is_from, layout: Arc::new(layout), cells });
        Ok(())
    }

    /// The columns of a table's COPY. A list that was left out is written into the text, so that the
    /// server takes the same columns.
    fn copied_table(&mut self, copy: &'a CopyStmt) -> Analysis<Vec<Out>> {
        let range = copy.relation().ok_or_else(refusal::not_understood)?;
        let table = self.table(range)?;
        if !table.complete {
            return Err(refusal::unknown_columns().at(offset(range.location)).into());
        }
        let columns = if copy.attlist().is_empty() {
            let at = self.end_of_target(range)?;
            let names: Vec<String> = table.columns.iter().map(|c| quoted(&c.name)).collect();
            self.edits.push(Edit::Text { range: at..at, with: format!(" ({})", names.join(", ")) });
            table.columns.clone()
        } else {
            let mut columns = Vec::with_capacity(copy.attlist().len());
            for name in copy.attlist() {
                let name = name.as_str().ok_or_else(refusal::not_understood)?;
                let column = table.columns.iter().find(|column| column.name == name);
                columns.push(column.ok_or_else(|| refusal::unknown_column(name))?.clone());
            }
            columns
        };
        self.scope.frames.push(Frame::of(table));
        let condition = self.plain(copy.where_clause(), "a condition");
        self.scope.frames.pop();
        condition?;
        Ok(columns)
    }
}

/// Reads the options. What PostgreSQL refuses never comes to data; what it might read in another way
/// than is read here is refused.
fn layout(copy: &CopyStmt, columns: &[Out]) -> Analysis<Layout> {
    let name = |option: &&DefElem| option.defname().map(str::to_lowercase);
    let options: Vec<(String, &DefElem)> =
        copy.options().iter().filter_map(|option| Some((name(&option)?, option))).collect();
    let of = |name: &str| options.iter().find(|(known, _)| known == name).map(|(_, option)| option.arg());
    let format = match of("format").map(word) {
        None => Format::Text,
        Some(Some("text")) => Format::Text,
        Some(Some("csv")) => Format::Csv,
        Some(Some("binary")) => Format::Binary,
        Some(_) => return Err(refusal::copy_option("format", "Use text, csv or binary.").into()),
    };
    let csv = format == Format::Csv;
    let byte = |name: &str, default: u8| match of(name).map(word) {
        None => Ok(default),
        Some(Some(text)) => match text.as_bytes() {
            // A line must be a line in whatever way it is read.
            [b'\n' | b'\r' | 0] => Err(refusal::copy_option(name, "Use another character.")),
            [b'\\'] if name == "quote" => Err(refusal::copy_option(name, "Use another character.")),
            [byte] => Ok(*byte),
            _ => Err(refusal::copy_option(name, "Use a single one-byte character.")),
        },
        Some(None) => Err(refusal::copy_option(name, "Use a single one-byte character.")),
    };
    let text = |name: &str| match of(name).map(word) {
        None => Ok(None),
        // A cell must not be taken for it.
        Some(Some(text)) if text.starts_with("\\x") || text.starts_with("\\\\x") => {
            Err(refusal::copy_option(name, "Choose a string that cannot begin a bytea."))
        }
        Some(Some(text)) if !text.contains(['\n', '\r']) => Ok(Some(text.as_bytes().to_vec())),
        Some(_) => Err(refusal::copy_option(name, "Use a string without newlines.")),
    };
    for (name, _) in &options {
        match name.as_str() {
            "format" | "freeze" | "delimiter" | "null" | "default" | "header" | "quote" | "escape"
            | "force_quote" | "force_not_null" | "force_null" | "log_verbosity" => {}
            "encoding" => {
                let utf8 = of(name).and_then(word).is_some_and(|encoding| {
                    matches!(encoding.to_lowercase().as_str(), "utf8" | "utf-8" | "utf_8" | "unicode")
                });
                if !utf8 {
                    return Err(refusal::copy_option(name, "Use UTF8.").into());
                }
            }
            "on_error" if of(name).and_then(word).is_some_and(|choice| choice == "stop") => {}
            "on_error" => {
                let hint = "A value that the type rejects ends the COPY. Leave such rows out of the data.";
                return Err(refusal::copy_option(name, hint).into());
            }
            other => return Err(refusal::copy_option(other, "Leave it out.").into()),
        }
    }
    if options.iter().enumerate().any(|(at, (name, _))| options.iter().skip(at + 1).any(|(n, _)| n == name)) {
        return Err(refusal::copy_option("twice the same", "Give each option once.").into());
    }
    let quote = byte("quote", b'"')?;
    Ok(Layout {
        format,
        header: header(of("header"))?,
        delimiter: byte("delimiter", if csv { b',' } else { b'\t' })?,
        null: text("null")?.unwrap_or_else(|| if csv { Vec::new() } else { b"\\N".to_vec() }),
        default: text("default")?,
        quote,
        escape: byte("escape", quote)?,
        columns: described(columns, [of("force_quote"), of("force_not_null"), of("force_null")])?,
    })
}

fn described(columns: &[Out], forced: [Option<Node<'_>>; 3]) -> Analysis<Vec<Column>> {
    let names = |list: Option<Node<'_>>| match list {
        None => Some(Vec::new()),
        Some(Node::A_Star(_)) => Some(columns.iter().map(|column| column.name.clone()).collect()),
        Some(Node::NodeList(list)) => {
            list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        }
        Some(_) => None,
    };
    let [quote, not_null, null] = forced.map(names);
    let (Some(quote), Some(not_null), Some(null)) = (quote, not_null, null) else {
        return Err(refusal::copy_option("force_…", "Give a list of columns.").into());
    };
    let describe = |column: &Out| Column {
        name: column.name.clone(),
        cell: column.cell.is_some(),
        force_quote: quote.contains(&column.name),
        force_not_null: not_null.contains(&column.name),
        force_null: null.contains(&column.name),
    };
    Ok(columns.iter().map(describe).collect())
}

/// The option's argument as a string.
fn word(argument: Node<'_>) -> Option<&str> {
    match argument {
        Node::String(string) => string.sval(),
        _ => None,
    }
}

fn header(argument: Option<Node<'_>>) -> Analysis<Header> {
    let choice = match argument {
        None => return Ok(Header::None),
        Some(Node::None) => true,
        Some(Node::Boolean(given)) => given.boolval,
        Some(Node::Integer(given)) if matches!(given.ival, 0 | 1) => given.ival == 1,
        Some(given) => match word(given).map(str::to_lowercase).as_deref() {
            Some("true" | "on") => true,
            Some("false" | "off") => false,
            Some("match") => return Ok(Header::Match),
            _ => return Err(refusal::copy_option("header", "Use true, false or match.").into()),
        },
    };
    Ok(if choice { Header::Skipped } else { Header::None })
}
