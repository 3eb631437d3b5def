//! The two sides: the same database twice, one reached straight, one through the proxy.

use super::answer::{Difference, difference, parameter_types, show};
use super::kind::Kind;
use super::schema;
use super::send::{Exchange, Parameter, exchanges, execute, parse};
use super::statement::{Case, Expected, Protocol, Statement};
use super::tree::{Printed, Value};
use crate::endpoint::Endpoint;
use crate::frontend::{Frame, Frontend, sqlstate};
use crate::{Error, Result};
use bytes::BytesMut;
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
        if statement.expected == Expected::Refused {
            return self.refused(statement);
        }
        let Protocol::Extended { binary_parameters, binary_results } = statement.protocol else {
            for exchange in exchanges(statement.protocol, &statement.sql, statement.ordered)? {
                if let (_, Some(difference)) = self.exchange(&exchange)? {
                    return Ok(Some(difference));
                }
            }
            return Ok(None);
        };
        let printed = statement.sql.print(false);
        let mut messages = BytesMut::new();
        parse(&printed, &mut messages)?;
        let mut types = Vec::new();
        if binary_parameters && !printed.parameters.is_empty() {
            frontend::sync(&mut messages);
            let described = Exchange { messages, data: Vec::new(), ordered: true };
            let (answer, difference) = self.exchange(&described)?;
            if difference.is_some() || sqlstate(&answer).is_some() {
                return Ok(difference);
            }
            types = parameter_types(&answer);
            messages = BytesMut::new();
        }
        let parameters = self.parameters(&printed, &types)?;
        execute(&parameters, binary_results, statement.ordered, &mut messages)?;
        let whole = Exchange { messages, data: Vec::new(), ordered: statement.ordered };
        Ok(self.exchange(&whole)?.1)
    }

    /// The proxy must refuse it, and nothing may come of it.
    fn refused(&mut self, statement: &Statement) -> Result<Option<Difference>> {
        let failed = self.plain.status == b'E';
        self.plain.query("refused")?;
        let exchange = match statement.protocol {
            Protocol::Extended { binary_results, .. } => {
                let printed = statement.sql.print(false);
                let parameters = self.parameters(&printed, &[])?;
                let mut messages = BytesMut::new();
                parse(&printed, &mut messages)?;
                execute(&parameters, binary_results, false, &mut messages)?;
                Exchange { messages, data: Vec::new(), ordered: false }
            }
            _ => Exchange::simple(&statement.sql.print(true).text, false)?,
        };
        exchange.send(&mut self.protected)?;
        let protected = exchange.answer(&mut self.protected)?;
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

    /// The plain side's answer, and what differs.
    fn exchange(&mut self, exchange: &Exchange) -> Result<(Vec<Frame>, Option<Difference>)> {
        exchange.send(&mut self.plain)?;
        exchange.send(&mut self.protected)?;
        let (plain, protected) = (exchange.answer(&mut self.plain)?, exchange.answer(&mut self.protected)?);
        self.count(&plain);
        let difference = difference(&plain, &protected, exchange.ordered);
        Ok((plain, difference))
    }

    fn count(&mut self, answer: &[Frame]) {
        let outcome = sqlstate(answer).unwrap_or_else(|| "success".to_owned());
        *self.outcomes.entry(outcome).or_default() += 1;
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
