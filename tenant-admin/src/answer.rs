//! What the commands answer: for people, or as one JSON object for programs. Commands put no key and no
//! share into it.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

/// Something was carried out, but the proxy has not confirmed all of it.
const UNCONFIRMED: u8 = 3;

/// What was to be verified is broken.
const BROKEN: u8 = 4;

/// The answer of a command in both forms.
pub(crate) struct Answer {
    text: String,
    json: serde_json::Result<serde_json::Value>,
    code: ExitCode,
}

impl Answer {
    /// An answer of a command that did all it should.
    pub(crate) fn new(outcome: &(impl Serialize + Display)) -> Self {
        Self { text: outcome.to_string(), json: serde_json::to_value(outcome), code: ExitCode::SUCCESS }
    }

    /// Of a command that has told of itself.
    pub(crate) fn told() -> Self {
        Self { text: String::new(), json: Ok(serde_json::Value::Null), code: ExitCode::SUCCESS }
    }

    /// The same, with exit code 3 if the proxy has yet to confirm something that it was sent.
    pub(crate) fn unconfirmed(mut self, unconfirmed: bool) -> Self {
        if unconfirmed {
            self.code = ExitCode::from(UNCONFIRMED);
        }
        self
    }

    /// The same, with exit code 4 if what was to be verified is broken.
    pub(crate) fn broken(mut self, broken: bool) -> Self {
        if broken {
            self.code = ExitCode::from(BROKEN);
        }
        self
    }

    /// Writes it to standard output.
    pub(crate) fn print(self, json: bool) -> io::Result<ExitCode> {
        let mut out = io::stdout().lock();
        if json {
            match self.json? {
                serde_json::Value::Null => {}
                json => writeln!(out, "{json}")?,
            }
        } else {
            write!(out, "{}", self.text)?;
        }
        Ok(self.code)
    }
}

/// Writes the error to standard error. Nothing is left to do when that fails too.
pub(crate) fn print_error(error: &anyhow::Error, json: bool) {
    let mut err = io::stderr().lock();
    let _ = if json {
        writeln!(err, "{}", serde_json::json!({ "error": error.to_string() }))
    } else {
        writeln!(err, "trefoil-admin: {error}")
    };
}

/// Seconds since 1970 as RFC 3339, UTC.
pub(crate) fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|at| Timestamp::from_second(at).ok());
    time.unwrap_or(Timestamp::MAX).to_string()
}

/// How long something took or takes, in the largest whole unit.
pub(crate) fn age(seconds: u64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (count, unit) = units
        .into_iter()
        .map(|(length, unit)| (seconds / length, unit))
        .find(|(count, _)| *count > 0)
        .unwrap_or((0, "second"));
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// So many things.
pub(crate) fn count(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Keyspaces with their epochs, and the roles that bring them.
pub(crate) struct Keyspaces<'a> {
    pub(crate) of: &'a BTreeMap<String, u8>,
    pub(crate) by_role: Option<&'a BTreeMap<String, Vec<String>>>,
}

impl Display for Keyspaces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, epoch) in self.of {
            write!(f, "{separator}{name} (epoch {epoch}")?;
            if let Some(roles) = self.by_role.and_then(|by_role| by_role.get(name)) {
                write!(f, ", by role {}", roles.join(", "))?;
            }
            f.write_str(")")?;
            separator = ", ";
        }
        Ok(())
    }
}
