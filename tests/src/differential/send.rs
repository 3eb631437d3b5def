//! The ways to send one statement: each is a list of exchanges, and the answers to all of them are
//! compared.

use super::statement::{Access, Copied, Protocol};
use super::tree::{Printed, Sql, Value};
use crate::frontend::{Frame, Frontend};
use crate::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

/// Messages that are sent together and answered up to ReadyForQuery.
pub struct Exchange {
    /// The messages.
    pub messages: BytesMut,
    /// What is given to a COPY that asks for data.
    pub data: Vec<u8>,
    /// Whether the order of the rows matters.
    pub ordered: bool,
}

/// A parameter with its format: 1 is binary.
pub type Parameter = (i16, Option<Vec<u8>>);

impl Exchange {
    /// A Query message.
    pub fn simple(text: &str, ordered: bool) -> Result<Self> {
        let mut messages = BytesMut::new();
        frontend::query(text, &mut messages)?;
        Ok(Self { messages, data: Vec::new(), ordered })
    }

    /// Sends it.
    pub fn send(&self, side: &mut Frontend) -> Result<()> {
        side.send_bytes(&self.messages)
    }

    /// Reads the answer.
    pub fn answer(&self, side: &mut Frontend) -> Result<Vec<Frame>> {
        let mut frames: Vec<Frame> = Vec::new();
        while frames.last().is_none_or(|frame| frame.tag != b'Z') {
            let frame = side.read()?;
            if frame.tag == b'G' {
                let mut messages = BytesMut::new();
                frontend::CopyData::new(self.data.as_slice())?.write(&mut messages);
                frontend::copy_done(&mut messages);
                side.send_bytes(&messages)?;
            }
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// How a statement is sent that is not sent as Parse, Bind, Execute.
pub fn exchanges(protocol: Protocol, sql: &Sql, ordered: bool) -> Result<Vec<Exchange>> {
    let text = sql.print(protocol != Protocol::Prepared);
    let simple = |text: &str, ordered| Exchange::simple(text, ordered);
    match protocol {
        Protocol::Prepared => {
            let arguments: Vec<String> =
                text.parameters.iter().map(|value| Sql::Value(value.clone()).print(true).text).collect();
            let list =
                if arguments.is_empty() { String::new() } else { format!(" ({})", arguments.join(", ")) };
            Ok(vec![
                simple(&format!("PREPARE \"p 1\" AS {}", text.text), false)?,
                simple(&format!("EXECUTE \"p 1\"{list}"), ordered)?,
                simple("DEALLOCATE \"p 1\"", false)?,
            ])
        }
        Protocol::Cursor(access) => {
            let (options, hold) = match access {
                Access::Whole => ("", ""),
                Access::Held => ("", " WITH HOLD"),
                Access::Scrolled => (" SCROLL", " WITH HOLD"),
                Access::Binary => (" BINARY", " WITH HOLD"),
            };
            let mut all = vec![simple(&format!("DECLARE c{options} CURSOR{hold} FOR {}", text.text), false)?];
            let steps: &[&str] = match (access, ordered) {
                (Access::Scrolled, true) => &[
                    "FETCH 2 FROM c",
                    "MOVE 1 IN c",
                    "FETCH BACKWARD 2 FROM c",
                    "FETCH ABSOLUTE 1 FROM c",
                    "FETCH LAST FROM c",
                ],
                (_, true) => &["FETCH c", "MOVE NEXT FROM c", "FETCH FORWARD 2 FROM c", "FETCH ALL FROM c"],
                (_, false) => &["FETCH ALL FROM c", "FETCH NEXT FROM c"],
            };
            for step in steps {
                all.push(simple(step, ordered)?);
            }
            all.push(simple("CLOSE c", false)?);
            Ok(all)
        }
        Protocol::CopyOut(copied) => {
            let (text, options) = (&text.text, copied.options());
            Ok(vec![simple(&format!("COPY ({text}) TO STDOUT{options}"), ordered)?])
        }
        Protocol::CopyIn(copied) => {
            let data = copied_rows(sql, copied);
            let mut exchange = simple(&format!("{}{}", text.text, copied.options()), false)?;
            exchange.data = data.into_bytes();
            Ok(vec![exchange])
        }
        Protocol::Simple | Protocol::Extended { .. } => Ok(vec![simple(&text.text, ordered)?]),
    }
}

/// The rows of the tree's `Columns` as COPY reads them.
fn copied_rows(sql: &Sql, copied: Copied) -> String {
    let mut data = String::new();
    let Sql::Row(items) = sql else { return data };
    for item in items {
        let Sql::Columns { rows, names } = item else { continue };
        if copied == Copied::Header {
            let names: Vec<_> = names.iter().map(|name| name.print(true).text).collect();
            data.push_str(&format!("{}\n", names.join(",")));
        }
        for row in rows {
            let values = row.iter().map(|value| match value {
                Sql::Value(Value { text: Some(text), .. }) => copied.value(text),
                _ => copied.null().to_owned(),
            });
            data.push_str(&values.collect::<Vec<_>>().join(copied.delimiter()));
            data.push('\n');
        }
    }
    data
}

impl Copied {
    fn options(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Delimited => " WITH (DELIMITER '|', NULL 'none')",
            Self::Csv => " WITH (FORMAT csv)",
            Self::Header => " WITH (FORMAT csv, HEADER, QUOTE '''', FORCE_QUOTE *)",
            Self::Binary => " WITH (FORMAT binary)",
        }
    }

    fn delimiter(self) -> &'static str {
        match self {
            Self::Text | Self::Binary => "\t",
            Self::Delimited => "|",
            Self::Csv | Self::Header => ",",
        }
    }

    fn null(self) -> &'static str {
        match self {
            Self::Text | Self::Binary => "\\N",
            Self::Delimited => "none",
            Self::Csv | Self::Header => "",
        }
    }

    fn value(self, text: &str) -> String {
        match self {
            Self::Text | Self::Binary | Self::Delimited => {
                text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('|', "\\|")
            }
            Self::Csv => format!("\"{}\"", text.replace('"', "\"\"")),
            Self::Header => format!("'{}'", text.replace('\'', "''")),
        }
    }
}

/// Writes Parse and Describe.
pub fn parse(printed: &Printed, buffer: &mut BytesMut) -> Result<()> {
    frontend::parse("", &printed.text, [], buffer)?;
    Ok(frontend::describe(b'S', "", buffer)?)
}

/// Writes Bind, Describe, Execute and Sync of what was parsed last; in portions, Execute comes twice.
pub fn execute(
    parameters: &[Parameter],
    binary_results: bool,
    portions: bool,
    buffer: &mut BytesMut,
) -> Result<()> {
    let written = frontend::bind(
        "",
        "",
        parameters.iter().map(|(format, _)| *format),
        parameters,
        |(_, value), buffer| match value {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        },
        [i16::from(binary_results)],
        buffer,
    );
    written.map_err(|_| Error::new("a Bind that is too long"))?;
    frontend::describe(b'P', "", buffer)?;
    if portions {
        frontend::execute("", 2, buffer)?;
    }
    frontend::execute("", 0, buffer)?;
    frontend::sync(buffer);
    Ok(())
}
