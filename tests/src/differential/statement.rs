//! What a case is made of: statements, each with the way it is sent and what must come of it.

use super::tree::{Form, Printed, Sql, Value};

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

    /// Text and parameters, as the protocol wants them.
    pub fn print(&self) -> Printed {
        self.sql.print(self.protocol == Protocol::Simple)
    }

    /// Every statement that is this one with one thing less.
    pub fn reductions(&self) -> Vec<Statement> {
        let smaller = self.sql.reductions().into_iter().map(|sql| Self { sql, ..self.clone() });
        let simple = Self { protocol: Protocol::Simple, ..self.clone() };
        let text = Protocol::Extended { binary_parameters: false, binary_results: false };
        let text = Self { protocol: text, ..self.clone() };
        let simpler = [simple, text]
            .into_iter()
            .filter(|other| self.protocol != Protocol::Simple && other.protocol != self.protocol);
        simpler.chain(smaller).collect()
    }
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let printed = self.print();
        write!(f, "{};", printed.text)?;
        let mut notes = Vec::new();
        if let Protocol::Extended { binary_parameters, binary_results } = self.protocol {
            let format = |binary| if binary { "binary" } else { "text" };
            notes.push(format!("extended, results in {}", format(binary_results)));
            for (number, Value { text, kind, form }) in printed.parameters.iter().enumerate() {
                debug_assert!(matches!(form, Form::Parameter | Form::CastParameter));
                notes.push(format!("${} = {text:?} ({kind:?}, {})", number + 1, format(binary_parameters)));
            }
        }
        if self.expected == Expected::Refused {
            notes.push("to be refused".to_owned());
        }
        if notes.is_empty() { Ok(()) } else { write!(f, "   -- {}", notes.join("; ")) }
    }
}
