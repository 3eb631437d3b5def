//! What the statements of a text do to the settings that are followed, by their words alone: the tokens
//! are PostgreSQL's, the few forms that are understood are its grammar's, and every other form in which a
//! setting could change counts as having changed all of them.
//!
//! Functions inside the database cannot be seen.

mod reads;
mod set_config;
mod words;

pub(crate) use set_config::{Argument, Call};

use crate::user_from::{Name, UserFrom};
use std::ops::Range;
use trefoil_keys::lex::{Tokens, has_too_many_tokens};
use words::{Value, Words};

/// What goes upstream instead of an envelope or a share, without the quotes.
pub(crate) const REPLACEMENT: &[u8] = b"set";

/// A setting's new value, which may be an envelope: nothing here that holds one is shown by a log.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum New {
    /// What it was at the connection's start.
    Default,
    /// A value.
    Text(String),
    /// One that is not known.
    Unclear,
}

/// A setting changes.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Change {
    /// Which.
    pub(crate) name: Name,
    /// To what.
    pub(crate) value: New,
    /// Whether until the transaction's end only.
    pub(crate) local: bool,
}

/// What a statement does.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Effect {
    /// One setting.
    Set(Change),
    /// One setting, or another one: its parameters say.
    Call(Call),
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// Whatever it does, it may set something.
    Unclear,
    /// SAVEPOINT.
    Savepoint,
    /// ROLLBACK TO.
    RollbackTo,
    /// The transaction ends.
    End,
    /// A procedure runs, which may end transactions, and fail after that.
    Procedure,
    /// A prepared statement is dropped; all, if none is named.
    Deallocate(Option<String>),
    /// A statement or cursor of this connection is made that may set something when it runs.
    Hide,
    /// A statement or cursor that was made by SQL runs.
    Run,
}

impl Effect {
    /// Whether the user may be another one after it.
    pub(crate) fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Savepoint
                | Self::RollbackTo
                | Self::End
                | Self::Procedure
                | Self::Hide
                | Self::Deallocate(_)
        )
    }
}

/// One statement.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Statement {
    /// In order.
    pub(crate) effects: Vec<Effect>,
    /// Whether more may happen than these.
    pub(crate) touches_data: bool,
    /// Whether by its words it does nothing but read.
    pub(crate) plainly_reads: bool,
}

impl Statement {
    fn control(effects: Vec<Effect>) -> Self {
        Self { effects, touches_data: false, plainly_reads: true }
    }

    fn data(effects: Vec<Effect>) -> Self {
        Self { effects, touches_data: true, plainly_reads: false }
    }
}

/// All statements of a text.
#[derive(Default)]
pub(crate) struct Statements {
    /// In order; empty ones are left out.
    pub(crate) all: Vec<Statement>,
    /// Envelopes and shares between their quotes, which must not reach the database.
    pub(crate) replaced: Vec<Range<usize>>,
}

impl Statements {
    /// Whether all do nothing but read.
    pub(crate) fn plainly_read(&self) -> bool {
        self.all.iter().all(|statement| statement.plainly_reads)
    }

    /// What all do, in order.
    pub(crate) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.all.iter().flat_map(|statement| &statement.effects)
    }

    /// The text with what must not reach the database replaced; `None` if there is nothing.
    pub(crate) fn without_shares(&self, text: &[u8]) -> Option<Vec<u8>> {
        let (mut kept, mut end) = (Vec::new(), 0);
        for range in &self.replaced {
            kept.extend_from_slice(text.get(end..range.start)?);
            kept.extend_from_slice(REPLACEMENT);
            end = range.end;
        }
        kept.extend_from_slice(text.get(end..)?);
        (!self.replaced.is_empty()).then_some(kept)
    }
}

/// Reads a text. What is not UTF-8 in it becomes U+FFFD, which no value may have, and the proxy is left to
/// take shares out of such a text.
pub(crate) fn read(text: &[u8], from: &UserFrom) -> Statements {
    let valid = String::from_utf8_lossy(text);
    if has_too_many_tokens(&valid) {
        // The proxy refuses it.
        return Statements { all: vec![Statement::data(vec![Effect::Unclear])], replaced: Vec::new() };
    }
    let tokens = Tokens::of(&valid);
    let mut statements = Statements::default();
    let mut words = Words::new(&valid, &tokens, from);
    while let Some(mut one) = words.next_statement() {
        if !one.is_empty() {
            statements.all.push(classify(&mut one, &mut statements.replaced));
        }
    }
    if valid.len() != text.len() {
        statements.replaced.clear();
    }
    statements
}

fn classify(words: &mut Words<'_>, replaced: &mut Vec<Range<usize>>) -> Statement {
    let first = words.first().to_ascii_lowercase();
    match first.as_str() {
        "set" => Statement::control(set(words, replaced)),
        "reset" => Statement::control(reset(words)),
        "discard" => {
            let all = words.skip(1).word("all");
            Statement::control(if all { vec![Effect::DiscardAll] } else { Vec::new() })
        }
        "begin" | "start" | "release" | "close" | "listen" | "unlisten" | "notify" => {
            Statement::control(Vec::new())
        }
        "commit" | "end" | "abort" => Statement::control(vec![Effect::End]),
        "rollback" => {
            let mut rest = words.skip(1);
            let _ = rest.word("work") || rest.word("transaction");
            Statement::control(vec![if rest.word("to") { Effect::RollbackTo } else { Effect::End }])
        }
        "savepoint" => Statement::control(vec![Effect::Savepoint]),
        "prepare" if words.skip(1).word("transaction") => Statement::control(vec![Effect::End]),
        "prepare" | "declare" => {
            Statement::data(if words.may_set() { vec![Effect::Hide] } else { Vec::new() })
        }
        "deallocate" => {
            let mut rest = words.skip(1);
            let _ = rest.word("prepare");
            let name = if rest.word("all") { None } else { rest.name() };
            Statement::control(vec![Effect::Deallocate(name)])
        }
        "execute" | "fetch" | "move" => Statement::data(vec![Effect::Run]),
        "do" => Statement::data(vec![Effect::Unclear]),
        "call" => {
            let mut call = query(words);
            call.effects.push(Effect::Procedure);
            call
        }
        "create" if words.has_atomic_body() => Statement::data(vec![Effect::Unclear]),
        "select" => match set_config::calls(&mut words.skip(1)) {
            Some(calls) => Statement::control(calls),
            None => query(words),
        },
        _ => query(words),
    }
}

/// A statement without a form of its own.
fn query(words: &Words<'_>) -> Statement {
    if words.may_set() {
        return Statement::data(vec![Effect::Unclear]);
    }
    // EXPLAIN and CREATE TABLE AS can run what was prepared.
    let runs = words.calls().any(|(_, word, _)| word == "execute");
    let effects = if runs { vec![Effect::Run] } else { Vec::new() };
    Statement { plainly_reads: reads::plainly(words), ..Statement::data(effects) }
}

fn set(words: &mut Words<'_>, replaced: &mut Vec<Range<usize>>) -> Vec<Effect> {
    let mut rest = words.skip(1);
    let local = rest.word("local");
    let session = !local && rest.word("session");
    if (session && rest.word("authorization")) || rest.two_words("session", "authorization") {
        return rest.identity(Name::Authorization, local);
    }
    let start = rest.at;
    if rest.word("role") && !rest.is_assignment() {
        return rest.identity(Name::Role, local);
    }
    rest.at = start;
    let Some(name) = rest.dotted_name() else { return vec![Effect::Unclear] };
    let Some(name) = rest.from.follows(&name) else { return Vec::new() };
    let is_assignment = rest.assignment();
    let quoted = rest.is_quoted();
    let value = if is_assignment { rest.value() } else { Value::Unclear };
    let value = match value {
        Value::Literal(text, range) => {
            if matches!(name, Name::Envelope | Name::AppShare) && !text.is_empty() {
                replaced.push(range);
            }
            New::Text(text)
        }
        Value::Word(word) if word == "default" && !quoted => New::Default,
        Value::Word(word) => New::Text(word),
        Value::Unclear => New::Unclear,
    };
    vec![Effect::Set(Change { name, value, local })]
}

fn reset(words: &mut Words<'_>) -> Vec<Effect> {
    let mut rest = words.skip(1);
    if rest.two_words("session", "authorization") {
        return rest.set(Name::Authorization, New::Default, false);
    }
    let Some(name) = rest.dotted_name() else { return vec![Effect::Unclear] };
    match rest.from.follows(&name) {
        Some(name) => vec![Effect::Set(Change { name, value: New::Default, local: false })],
        None if name == "all" => vec![Effect::ResetAll],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
