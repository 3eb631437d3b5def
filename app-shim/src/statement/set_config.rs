//! `SELECT set_config('name', 'value', local) [, …]`, as libraries and servers such as PostgREST send it:
//! with strings or parameters, and with nothing else in the statement.

use super::words::Words;
use super::{Change, Effect, New};
use crate::user_from::UserFrom;

/// One argument.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Argument {
    /// A string.
    Text(String),
    /// NULL.
    Null,
    /// `$n`.
    Parameter(usize),
}

/// One call.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Call {
    name: Argument,
    value: Argument,
    local: Argument,
}

impl Call {
    /// What it does, with the values of its parameters: `None` for one that cannot be read.
    pub(crate) fn effect(
        &self,
        from: &UserFrom,
        parameter: impl Fn(usize) -> Option<Argument>,
    ) -> Option<Effect> {
        let known = |argument: &Argument| match argument {
            Argument::Parameter(number) => parameter(*number),
            known => Some(known.clone()),
        };
        let name = match known(&self.name) {
            Some(Argument::Text(name)) => from.follows(&name)?,
            // An error of the database's.
            Some(Argument::Null) => return None,
            _ => return Some(Effect::Unclear),
        };
        let local = match known(&self.local) {
            Some(Argument::Text(local)) => boolean(&local),
            _ => None,
        };
        let value = match known(&self.value) {
            Some(Argument::Text(value)) => New::Text(value),
            Some(Argument::Null) => New::Default,
            _ => New::Unclear,
        };
        Some(match local {
            Some(local) => Effect::Set(Change { name, value, local }),
            None => Effect::Unclear,
        })
    }
}

/// A word or string; the last of each kind is a parameter in binary form.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "on" | "yes" | "y" | "1" | "\u{1}" => Some(true),
        "false" | "f" | "off" | "no" | "n" | "0" | "\0" => Some(false),
        _ => None,
    }
}

/// The calls, if the statement consists of nothing else; those of settings that are not followed are left
/// out.
pub(super) fn calls(words: &mut Words<'_>) -> Option<Vec<Effect>> {
    let mut calls = Vec::new();
    loop {
        let mut schema = words.clone();
        if schema.name()? == "pg_catalog" && schema.symbol(".") {
            *words = schema;
        }
        (words.name()? == "set_config" && words.symbol("(")).then_some(())?;
        let name = argument(words)?;
        words.symbol(",").then_some(())?;
        let value = argument(words)?;
        words.symbol(",").then_some(())?;
        let local = argument(words)?;
        words.symbol(")").then_some(())?;
        if words.word("as") || !(words.is_empty() || words.is_comma()) {
            words.name()?;
        }
        let other = matches!(&name, Argument::Text(name) if words.from.follows(name).is_none());
        if !other {
            calls.push(Effect::Call(Call { name, value, local }));
        }
        if words.is_empty() {
            return Some(calls);
        }
        words.symbol(",").then_some(())?;
    }
}

fn argument(words: &mut Words<'_>) -> Option<Argument> {
    let argument = if let Some(number) = words.parameter() {
        Argument::Parameter(number)
    } else if let Some((text, _)) = words.literal() {
        Argument::Text(text)
    } else if words.word("null") {
        Argument::Null
    } else {
        let word = words.name()?;
        boolean(&word)?;
        Argument::Text(word)
    };
    // Of these types, a text stays as it is.
    while words.symbol("::") {
        let plain = ["text", "varchar", "bool", "boolean"].iter().any(|plain| words.word(plain));
        plain.then_some(())?;
    }
    Some(argument)
}
