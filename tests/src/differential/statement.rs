//! What a case is made of: statements, each with the way it is sent and what must come of it.

use super::tree::{Sql, Value};

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As a Query message, parameters written as literals.
    Simple,
    /// As Parse, Bind, Execute.
    Extended {
        /// The format of the parameters.
        binary_parameters: bool,
        /// The format of the results.
        binary_results: bool,
    },
    /// By PREPARE, EXECUTE and DEALLOCATE.
    Prepared,
    /// By DECLARE, FETCH, MOVE and CLOSE.
    Cursor(Access),
    /// As the query of a COPY to the client.
    CopyOut(Copied),
    /// A COPY from the client: the rows of the tree are its data.
    CopyIn(Copied),
}

/// How a cursor is declared and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Within a transaction.
    Whole,
    /// WITH HOLD.
    Held,
    /// SCROLL, and read backwards.
    Scrolled,
    /// BINARY.
    Binary,
}

/// The format of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Text.
    Text,
    /// Text, with another delimiter and another word for NULL.
    Delimited,
    /// CSV.
    Csv,
    /// CSV with a header and other quotes.
    Header,
    /// Binary, only to the client.
    Binary,
}

/// What must come of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The same on both sides.
    Same,
    /// The proxy refuses it. The other side is sent something that fails.
    Refused,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it says.
    pub sql: Sql,
    /// How it is sent.
    pub protocol: Protocol,
    /// What must come of it.
    pub expected: Expected,
    /// Whether it says in which order its rows come.
    pub ordered: bool,
}

/// Statements that run one after the other on a connection, from the rows with which tables start.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed from which it was made.
    pub seed: u64,
    /// What is run.
    pub statements: Vec<Statement>,
}

impl Statement {
    /// One whose answer is the same, sent in a Query message.
    pub fn simple(sql: impl Into<Sql>) -> Self {
        let (protocol, expected) = (Protocol::Simple, Expected::Same);
        Self { sql: sql.into(), protocol, expected, ordered: false }
    }

    /// Every statement that is this one with one thing less.
    pub fn reductions(&self) -> Vec<Statement> {
        let smaller = self.sql.reductions().into_iter().map(|sql| Self { sql, ..self.clone() });
        let text = Protocol::Extended { binary_parameters: false, binary_results: false };
        let simpler: &[Protocol] = match self.protocol {
            Protocol::Simple | Protocol::CopyIn(_) => &[],
            protocol if protocol == text => &[Protocol::Simple],
            _ => &[Protocol::Simple, text],
        };
        let simpler = simpler.iter().map(|protocol| Self { protocol: *protocol, ..self.clone() });
        simpler.chain(smaller).collect()
    }
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extended = matches!(self.protocol, Protocol::Extended { .. });
        let printed = self.sql.print(!extended && self.protocol != Protocol::Prepared);
        write!(f, "{};", printed.text)?;
        let mut notes = Vec::new();
        if self.protocol != Protocol::Simple {
            notes.push(format!("{:?}", self.protocol));
        }
        for (number, Value { text, kind, .. }) in printed.parameters.iter().enumerate() {
            notes.push(format!("${} = {text:?} ({kind:?})", number + 1));
        }
        if self.expected == Expected::Refused {
            notes.push("to be refused".to_owned());
        }
        if notes.is_empty() { Ok(()) } else { write!(f, "   -- {}", notes.join("; ")) }
    }
}
