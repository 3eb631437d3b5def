//! The tokens of one statement, and the small parts of PostgreSQL's grammar that SET is made of.

use super::{Change, Effect, New};
use crate::user_from::{Name, UserFrom};
use std::ops::Range;
use trefoil_keys::lex::{Kind, Tokens};

/// A setting's value in SET.
pub(super) enum Value {
    /// A string without escapes, with its place between the quotes.
    Literal(String, Range<usize>),
    /// A word in lower case, a quoted word as it is, or a number.
    Word(String),
    /// Anything else.
    Unclear,
}

/// Where in a statement we are.
#[derive(Clone)]
pub(super) struct Words<'a> {
    text: &'a str,
    tokens: &'a Tokens,
    pub(super) from: &'a UserFrom,
    /// Index of the token at hand.
    pub(super) at: usize,
    /// Index behind the statement's last token.
    end: usize,
}

impl<'a> Words<'a> {
    /// Before the first statement.
    pub(super) fn new(text: &'a str, tokens: &'a Tokens, from: &'a UserFrom) -> Self {
        Self { text, tokens, from, at: 0, end: 0 }
    }

    /// The statement that begins here, up to its semicolon; moves behind that.
    pub(super) fn next_statement(&mut self) -> Option<Self> {
        let (mut depth, start) = (0_usize, self.at);
        self.tokens.get(start)?;
        let mut end = start;
        while self.tokens.get(end).is_some() {
            match self.text_at(end) {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                ";" if depth == 0 => break,
                _ => {}
            }
            end += 1;
        }
        self.at = end + 1;
        Some(Self { at: start, end, ..self.clone() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// The token with this index, as it is written; empty behind the end of the text.
    fn text_at(&self, index: usize) -> &'a str {
        self.tokens.get(index).and_then(|token| self.text.get(token.range.clone())).unwrap_or_default()
    }

    fn kind(&self) -> Option<Kind> {
        (self.at < self.end).then(|| self.tokens.get(self.at).map(|token| token.kind)).flatten()
    }

    fn here(&self) -> &'a str {
        if self.at < self.end { self.text_at(self.at) } else { "" }
    }

    /// The first token, if it is a word without quotes.
    pub(super) fn first(&self) -> &'a str {
        if self.kind() == Some(Kind::Word) { self.here() } else { "" }
    }

    /// The same without the next `count` tokens.
    pub(super) fn skip(&self, count: usize) -> Self {
        Self { at: self.at + count, ..self.clone() }
    }

    /// Goes over this word without quotes, if it is here.
    pub(super) fn word(&mut self, lower: &str) -> bool {
        let found = self.first().eq_ignore_ascii_case(lower);
        self.at += usize::from(found);
        found
    }

    /// Goes over these two words, if they are here.
    pub(super) fn two_words(&mut self, first: &str, second: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.word(first) && ahead.word(second);
        if found {
            self.at = ahead.at;
        }
        found
    }

    /// Goes over this symbol, if it is here.
    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.kind(), Some(Kind::Other | Kind::Cast)) && self.here() == symbol;
        self.at += usize::from(found);
        found
    }

    pub(super) fn is_comma(&self) -> bool {
        self.clone().symbol(",")
    }

    /// The parameter that is here.
    pub(super) fn parameter(&mut self) -> Option<usize> {
        let here = self.here();
        let number = here.get(1..).filter(|_| self.kind() == Some(Kind::Parameter))?.parse().ok()?;
        self.at += 1;
        Some(number)
    }

    /// An identifier: in lower case, or without its quotes.
    pub(super) fn name(&mut self) -> Option<String> {
        let here = self.here();
        let name = match self.kind()? {
            Kind::Word => here.to_ascii_lowercase(),
            Kind::QuotedWord => here.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\""),
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    /// A setting's name with its dots.
    pub(super) fn dotted_name(&mut self) -> Option<String> {
        let mut name = self.name()?;
        while self.symbol(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Some(name)
    }

    /// A string without escapes, with its place between the quotes.
    pub(super) fn literal(&mut self) -> Option<(String, Range<usize>)> {
        let here = self.here();
        let inside = here.strip_prefix('\'')?.strip_suffix('\'')?;
        // A backslash means something or not by a setting; a quote alone belongs to a continuation.
        let plain = inside.replace("''", "");
        if plain.contains(['\\', '\'', '\u{fffd}']) {
            return None;
        }
        let start = self.tokens.get(self.at)?.range.start + 1;
        self.at += 1;
        Some((inside.replace("''", "'"), start..start + inside.len()))
    }

    /// Whether `=` or TO is here.
    pub(super) fn is_assignment(&self) -> bool {
        self.clone().assignment()
    }

    /// Goes over `=` or TO, if it is here.
    pub(super) fn assignment(&mut self) -> bool {
        self.symbol("=") || self.word("to")
    }

    /// A value with which the statement ends.
    pub(super) fn value(&mut self) -> Value {
        let value = match self.kind() {
            Some(Kind::String) => self.literal().map(|(text, range)| Value::Literal(text, range)),
            Some(Kind::Word | Kind::QuotedWord) => self.name().map(Value::Word),
            Some(Kind::Number) => {
                let number = self.here();
                self.at += 1;
                // As PostgreSQL would write it.
                let canonical = number.parse::<u64>().is_ok_and(|value| value.to_string() == number);
                canonical.then(|| Value::Word(number.to_owned()))
            }
            _ => None,
        };
        value.filter(|_| self.is_empty()).unwrap_or(Value::Unclear)
    }

    /// Whether an identifier in quotes is next, which is no keyword.
    pub(super) fn is_quoted(&self) -> bool {
        self.kind() == Some(Kind::QuotedWord)
    }

    /// What SET ROLE and SET SESSION AUTHORIZATION end with.
    pub(super) fn identity(&mut self, name: Name, local: bool) -> Vec<Effect> {
        let special = if name == Name::Role { "none" } else { "default" };
        let quoted = self.is_quoted();
        let value = match self.value() {
            Value::Literal(role, _) => New::Text(role),
            Value::Word(word) if word == special && !quoted => New::Default,
            Value::Word(role) => New::Text(role),
            Value::Unclear => New::Unclear,
        };
        // NONE is a role of its own beside the one that the connection may have begun with.
        let value =
            if name == Name::Role && value == New::Default { New::Text(special.to_owned()) } else { value };
        self.set(name, value, local)
    }

    /// The change, if the setting is followed.
    pub(super) fn set(&self, name: Name, value: New, local: bool) -> Vec<Effect> {
        if self.from.role { vec![Effect::Set(Change { name, value, local })] } else { Vec::new() }
    }

    /// Whether the statement calls `set_config` for what may be followed, or does the same by the view
    /// `pg_settings`.
    pub(super) fn may_set(&self) -> bool {
        let (mut updates, mut settings) = (false, false);
        let mut words = self.clone();
        while !words.is_empty() {
            let unicode = words.kind() == Some(Kind::QuotedWord) && words.here().starts_with(['U', 'u']);
            let name = words.name();
            if name.is_none() {
                words.at += 1;
            }
            updates |= name.as_deref() == Some("update");
            settings |= name.as_deref() == Some("pg_settings");
            if (unicode || name.as_deref() == Some("set_config")) && words.symbol("(") {
                let first = words.literal().filter(|_| words.symbol(","));
                if unicode || first.is_none_or(|(name, _)| self.from.follows(&name).is_some()) {
                    return true;
                }
            }
        }
        updates && settings
    }

    /// Whether it is a function with a body in SQL, whose semicolons end nothing.
    pub(super) fn has_atomic_body(&self) -> bool {
        (self.at..self.end).any(|at| Self { at, ..self.clone() }.two_words("begin", "atomic"))
    }

    /// The words and what is called: each token as a word in lower case (empty if it is none), with
    /// whether a parenthesis follows.
    pub(super) fn calls(&self) -> impl Iterator<Item = (Option<Kind>, String, bool)> {
        (self.at..self.end).map(|at| {
            let here = Self { at, ..self.clone() };
            (here.kind(), here.first().to_ascii_lowercase(), here.skip(1).symbol("("))
        })
    }
}
