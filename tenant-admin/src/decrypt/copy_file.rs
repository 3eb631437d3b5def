//! A file as `COPY table TO` wrote it: the data of one table, without definitions around it.

use super::error::DecryptError;
use super::reader::Reader;
use super::rows::{Rows, text_layout};
use super::schema::Schema;
use super::work::Work;
use clap::{Args, ValueEnum};
use std::io::Write;
use trefoil_columns::copy::{Format, Header, Layout};
use trefoil_columns::policy::QualifiedName;
use zeroize::Zeroizing;

/// What tells that the input is no dump, and how it is written.
#[derive(Args)]
pub(crate) struct CopyOptions {
    /// The input is a COPY file of this table.
    #[arg(long, value_name = "SCHEMA.TABLE", value_parser = table, requires = "columns")]
    copy_table: Option<QualifiedName>,
    /// Its columns, in their order.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "copy_table")]
    columns: Vec<String>,
    /// Its format.
    #[arg(long, value_enum, default_value = "text", requires = "copy_table")]
    format: CopyFormat,
    /// Its first line names the columns.
    #[arg(long, requires = "copy_table")]
    header: bool,
    /// What stands between its fields; a tab in text, a comma in CSV.
    #[arg(long, value_name = "CHARACTER", requires = "copy_table")]
    delimiter: Option<char>,
    /// What stands for NULL; \N in text, nothing in CSV.
    #[arg(long, value_name = "TEXT", requires = "copy_table")]
    null: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CopyFormat {
    Text,
    Csv,
    Binary,
}

fn table(text: &str) -> Result<QualifiedName, String> {
    QualifiedName::parse(text)
        .ok_or_else(|| "write schema.table; a part with a dot in double quotes".to_owned())
}

impl CopyOptions {
    /// The table, if the input is a COPY file.
    pub(super) fn table(&self) -> Option<&QualifiedName> {
        self.copy_table.as_ref()
    }

    fn layout(&self) -> Result<Layout, DecryptError> {
        let text = text_layout();
        let (format, delimiter, null) = match self.format {
            CopyFormat::Text => (Format::Text, text.delimiter, text.null.clone()),
            CopyFormat::Csv => (Format::Csv, b',', Vec::new()),
            CopyFormat::Binary => (Format::Binary, text.delimiter, text.null.clone()),
        };
        let delimiter = match self.delimiter {
            None => delimiter,
            Some(character) => {
                u8::try_from(character).ok().filter(u8::is_ascii).ok_or_else(|| DecryptError::Options {
                    problem: "a delimiter is one ASCII character".to_owned(),
                    remedy: "give the one with which the file was written",
                })?
            }
        };
        let header = if self.header { Header::Skipped } else { Header::None };
        let null = self.null.clone().map_or(null, String::into_bytes);
        Ok(Layout { format, header, delimiter, null, ..text })
    }
}

/// Writes the file to `out`, with values in the place of cells.
pub(super) fn decrypt(
    mut reader: Reader,
    work: &mut Work,
    schema: &Schema,
    table: &QualifiedName,
    options: &CopyOptions,
    out: &mut dyn Write,
) -> Result<(), DecryptError> {
    let cells = schema.cells(work.policy(), table);
    if !options.columns.iter().any(|column| cells.contains_key(column)) {
        return Err(DecryptError::Options {
            problem: format!("the policy protects none of these columns of \"{table}\""),
            remedy: "give --columns as the database names them, and the policy of that database",
        });
    }
    if options.format == CopyFormat::Binary && work.keep_going {
        return Err(DecryptError::Options {
            problem: "--keep-going cannot tell the rows of binary files apart".to_owned(),
            remedy: "copy the table as text or CSV",
        });
    }
    let mut data = Rows::new(work, schema, table.clone(), options.columns.clone(), options.layout()?);
    let mut shown = Zeroizing::new(Vec::new());
    let mut write = |shown: &mut Vec<u8>| {
        let written = out.write_all(shown).map_err(DecryptError::Write);
        shown.clear();
        written
    };
    while reader.next()?.is_some() {
        data.feed(work, reader.line(), reader.number, &mut shown)?;
        write(&mut shown)?;
    }
    data.finish(work, reader.number, &mut shown)?;
    write(&mut shown)?;
    work.report.table(table).rows += data.rows().saturating_sub(u64::from(options.header));
    out.flush().map_err(DecryptError::Write)
}
