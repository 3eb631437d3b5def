//! The two sides: the same database twice, one reached straight, one through the proxy.

use super::answer::{Difference, difference, parameter_types, show};
use super::kind::Kind;
use super::schema;
use super::statement::{Case, Expected, Protocol, Statement};
use super::tree::{Printed, Value};
use crate::endpoint::Endpoint;
use crate::frontend::{Frame, Frontend, sqlstate};
use crate::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use std::collections::{BTreeMap, HashMap};

/// Why a case failed.
pub struct Failure {
    /// The number of the statement, from 0; `None` where the tables differ at the end.
    pub statement: Option<usize>,
    /// What differed.
    pub difference: Difference,
}

/// Both sides, and connections beside them: to PostgreSQL itself on both sides, where the tables are
/// filled anew for each case. The plain one also turns values into their binary forms.
pub struct Pair {
    endpoints: [Endpoint; 2],
    plain: Frontend,
    protected: Frontend,
    beside: [Frontend; 2],
    restore: String,
    dump: Vec<String>,
    encoded: HashMap<(u32, String), Option<Vec<u8>>>,
    /// What came of the statements: how many succeeded, and how many failed with each SQLSTATE.
    pub outcomes: BTreeMap<String, u64>,
}

/// A parameter with its format: 1 is binary.
type Parameter = (i16, Option<Vec<u8>>);

impl Pair {
    /// Connects, and makes the tables on both sides: `direct` are the two databases, `proxied` is the
    /// way to the second through the proxy.
    pub fn new(direct: [&Endpoint; 2], proxied: &Endpoint) -> Result<Self> {
        let [plain, protected] = direct;
        let mut pair = Self {
            plain: Frontend::connect(plain, &[])?,
            protected: Frontend::connect(proxied, &[])?,
            beside: [Frontend::connect(plain, &[])?, Frontend::connect(protected, &[])?],
            endpoints: [plain.clone(), proxied.clone()],
            restore: schema::restore(),
            dump: schema::dump(),
            encoded: HashMap::new(),
            outcomes: BTreeMap::new(),
        };
        for definition in schema::definitions().into_iter().chain([schema::rows()]) {
            for side in [&mut pair.plain, &mut pair.protected] {
                run(side, &definition)?;
            }
        }
        for side in &mut pair.beside {
            run(side, &schema::keep())?;
        }
        Ok(pair)
    }

    /// Runs a case from its beginning.
    pub fn run(&mut self, case: &Case) -> Result<Option<Failure>> {
        self.begin()?;
        for (number, statement) in case.statements.iter().enumerate() {
            match self.statement(statement) {
                Ok(None) => {}
                Ok(Some(difference)) => return Ok(Some(Failure { statement: Some(number), difference })),
                Err(error) => {
                    self.reconnect()?;
                    let respect = "a broken connection".to_owned();
                    let (plain, protected) = (String::new(), error.to_string());
                    let difference = Difference { respect, plain, protected };
                    return Ok(Some(Failure { statement: Some(number), difference }));
                }
            }
        }
        self.same_state()
    }

    fn reconnect(&mut self) -> Result<()> {
        let [plain, protected] = &self.endpoints;
        self.plain = Frontend::connect(plain, &[])?;
        self.protected = Frontend::connect(protected, &[])?;
        Ok(())
    }

    /// Leaves what the last case left, and fills the tables anew.
    fn begin(&mut self) -> Result<()> {
        for side in [&mut self.plain, &mut self.protected] {
            if side.status != b'I' {
                side.query("ROLLBACK")?;
            }
            run(side, "DEALLOCATE ALL; CLOSE ALL")?;
        }
        for side in &mut self.beside {
            run(side, &self.restore)?;
        }
        Ok(())
    }

    fn same_state(&mut self) -> Result<Option<Failure>> {
        for side in [&mut self.plain, &mut self.protected] {
            if side.status != b'I' {
                side.query("ROLLBACK")?;
            }
        }
        for query in &self.dump {
            let (plain, protected) = (self.plain.query(query)?, self.protected.query(query)?);
            if let Some(mut difference) = difference(&plain, &protected, true) {
                difference.respect = format!("after {query}: {}", difference.respect);
                return Ok(Some(Failure { statement: None, difference }));
            }
        }
        Ok(None)
    }

    /// Runs a statement on both sides and says what differs.
    fn statement(&mut self, statement: &Statement) -> Result<Option<Difference>> {
        let printed = statement.print();
        if statement.expected == Expected::Refused {
            return self.refused(statement, &printed);
        }
        let Protocol::Extended { binary_parameters, binary_results } = statement.protocol else {
            let mut message = BytesMut::new();
            frontend::query(&printed.text, &mut message)?;
            return self.exchange(&message, statement.ordered);
        };
        let types = if binary_parameters && !printed.parameters.is_empty() {
            let mut message = BytesMut::new();
            frontend::parse("", &printed.text, [], &mut message)?;
            frontend::describe(b'S', "", &mut message)?;
            frontend::sync(&mut message);
            self.send(&message)?;
            let (plain, protected) = self.receive()?;
            let differs = difference(&plain, &protected, true);
            if differs.is_some() || sqlstate(&plain).is_some() {
                self.count(&plain);
                return Ok(differs);
            }
            parameter_types(&plain)
        } else {
            Vec::new()
        };
        let parameters = self.parameters(&printed, &types)?;
        let mut message = BytesMut::new();
        if types.is_empty() {
            frontend::parse("", &printed.text, [], &mut message)?;
            frontend::describe(b'S', "", &mut message)?;
        }
        execute(&parameters, binary_results, &mut message)?;
        self.exchange(&message, statement.ordered)
    }

    /// The proxy must refuse it, and nothing may come of it.
    fn refused(&mut self, statement: &Statement, printed: &Printed) -> Result<Option<Difference>> {
        let parameters = self.parameters(printed, &[])?;
        let failed = self.plain.status == b'E';
        self.plain.query("refused")?;
        let protected = match statement.protocol {
            Protocol::Simple => self.protected.query(&printed.text)?,
            Protocol::Extended { binary_results, .. } => {
                let mut message = BytesMut::new();
                frontend::parse("", &printed.text, [], &mut message)?;
                execute(&parameters, binary_results, &mut message)?;
                self.protected.send_bytes(&message)?;
                self.protected.until_ready()?
            }
        };
        self.count(&protected);
        let code = sqlstate(&protected);
        let refused = code.as_ref().is_some_and(|code| code.starts_with("0A") || code.starts_with("42"));
        if refused || failed && code.as_deref() == Some("25P02") {
            return Ok(None);
        }
        Ok(Some(Difference {
            respect: "was not refused".to_owned(),
            plain: "a refusal was expected".to_owned(),
            protected: show(&protected),
        }))
    }

    fn exchange(&mut self, message: &[u8], ordered: bool) -> Result<Option<Difference>> {
        self.send(message)?;
        let (plain, protected) = self.receive()?;
        self.count(&plain);
        Ok(difference(&plain, &protected, ordered))
    }

    fn count(&mut self, answer: &[Frame]) {
        let outcome = sqlstate(answer).unwrap_or_else(|| "success".to_owned());
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.plain.send_bytes(message)?;
        self.protected.send_bytes(message)
    }

    fn receive(&mut self) -> Result<(Vec<Frame>, Vec<Frame>)> {
        Ok((self.plain.until_ready()?, self.protected.until_ready()?))
    }

    /// The values of the parameters; binary where the server has said of which type each is.
    fn parameters(&mut self, printed: &Printed, types: &[u32]) -> Result<Vec<Parameter>> {
        let mut parameters = Vec::with_capacity(printed.parameters.len());
        for (index, Value { text, .. }) in printed.parameters.iter().enumerate() {
            let encoded = match (text, types.get(index)) {
                (Some(text), Some(oid)) => self.binary(*oid, text)?,
                _ => None,
            };
            parameters.push(match encoded {
                Some(bytes) => (1, Some(bytes)),
                None => (0, text.as_ref().map(|text| text.as_bytes().to_vec())),
            });
        }
        Ok(parameters)
    }

    /// A value's binary form, as the server itself makes it; `None` if the type does not take it.
    fn binary(&mut self, oid: u32, text: &str) -> Result<Option<Vec<u8>>> {
        let key = (oid, text.to_owned());
        if let Some(known) = self.encoded.get(&key) {
            return Ok(known.clone());
        }
        let Some(kind) = Kind::with_oid(oid) else { return Ok(None) };
        let query = format!("SELECT $1::{}", kind.cast());
        let [helper, _] = &mut self.beside;
        let frames = helper.extended(&query, &[Some(text.as_bytes())], true)?;
        let row = frames.iter().find(|frame| frame.tag == b'D').map(Frame::columns);
        let bytes = row.and_then(|columns| columns.into_iter().next().flatten());
        self.encoded.insert(key, bytes.clone());
        Ok(bytes)
    }
}

/// Runs a text that may not fail.
fn run(side: &mut Frontend, text: &str) -> Result<()> {
    let frames = side.query(text)?;
    match sqlstate(&frames) {
        Some(_) => Err(Error::new(format!("{text}\n{}", show(&frames)))),
        None => Ok(()),
    }
}

/// Writes Bind, Describe, Execute and Sync of what was parsed last.
fn execute(parameters: &[Parameter], binary_results: bool, buffer: &mut BytesMut) -> Result<()> {
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
    frontend::execute("", 0, buffer)?;
    frontend::sync(buffer);
    Ok(())
}
