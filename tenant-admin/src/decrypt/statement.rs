//! One statement of a dump: its text, its tokens, and the names in it.

use super::error::DecryptError;
use std::ops::Range;
use trefoil_columns::lex::{Kind, Tokens};
use trefoil_columns::policy::QualifiedName;

/// A statement with the comments before it.
pub(super) struct Statement {
    /// As it stands in the dump, to the end of its last line.
    pub(super) text: String,
    /// Its tokens, the semicolon among them.
    tokens: Tokens,
    /// The line of its first token, from 1.
    pub(super) line: u64,
}

/// What goes into the place of some bytes of a statement.
pub(super) type Edit = (Range<usize>, String);

impl Statement {
    /// The statement that begins in line `line` of the dump with the comments before it.
    pub(super) fn new(text: Vec<u8>, line: u64) -> Result<Self, DecryptError> {
        let text = String::from_utf8(text).map_err(|_| DecryptError::Form {
            line,
            problem: "the dump is not in UTF-8".to_owned(),
            remedy: "dump again with pg_dump --encoding=UTF8",
        })?;
        let tokens = Tokens::of(&text);
        let before = tokens.get(0).and_then(|token| text.get(..token.range.start)).unwrap_or_default();
        let line = line + u64::try_from(before.matches('\n').count()).unwrap_or(u64::MAX - line);
        Ok(Self { text, tokens, line })
    }

    /// The range of a token.
    pub(super) fn range(&self, index: usize) -> Option<Range<usize>> {
        self.tokens.get(index).map(|token| token.range.clone())
    }

    /// The text of a token.
    pub(super) fn token(&self, index: usize) -> Option<&str> {
        self.text.get(self.range(index)?)
    }

    /// The kind of a token.
    pub(super) fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// Whether the token is exactly this text.
    pub(super) fn is(&self, index: usize, text: &str) -> bool {
        self.tokens.is(&self.text, index, text)
    }

    /// Whether the tokens from this one on are these words.
    pub(super) fn words(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.tokens.is_word(&self.text, index + n, word))
    }

    /// The end of the type name that begins at this token, and the token after it.
    pub(super) fn type_name(&self, index: usize) -> Option<(usize, usize)> {
        self.tokens.type_name(&self.text, index)
    }

    /// The identifier at this token, as PostgreSQL stores it.
    pub(super) fn name(&self, index: usize) -> Option<String> {
        let text = self.token(index)?;
        match self.kind(index)? {
            Kind::Word => Some(text.to_lowercase()),
            Kind::QuotedWord => Some(text.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\"")),
            _ => None,
        }
    }

    /// The qualified name at this token, and the token after it.
    pub(super) fn qualified(&self, index: usize) -> Option<(QualifiedName, usize)> {
        let (schema, name) = (self.name(index)?, self.name(index + 2)?);
        self.is(index + 1, ".").then(|| (QualifiedName::new(schema, name), index + 3))
    }

    /// The first qualified name.
    pub(super) fn first_qualified(&self) -> Option<QualifiedName> {
        self.indices().find_map(|index| Some(self.qualified(index)?.0))
    }

    /// The indices of all tokens.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        (0..).take_while(|index| self.tokens.get(*index).is_some())
    }

    /// The token after the parenthesis that closes the one at this token.
    pub(super) fn after_parentheses(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for index in (open..).take_while(|index| self.tokens.get(*index).is_some()) {
            if self.is(index, "(") {
                depth += 1;
            } else if self.is(index, ")") {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
        }
        None
    }

    /// The names in the parentheses at this token, and the token after them.
    pub(super) fn names(&self, open: usize) -> Option<(Vec<String>, usize)> {
        let after = self.after_parentheses(open)?;
        let mut names = Vec::new();
        let mut index = open + 1;
        while index + 1 < after {
            names.push(self.name(index)?);
            index += 2;
        }
        Some((names, after))
    }

    /// The value of the string constant at this token: of the forms that PostgreSQL writes.
    pub(super) fn string(&self, index: usize) -> Option<String> {
        if self.kind(index)? != Kind::String {
            return None;
        }
        let text = self.token(index)?;
        let (text, escapes) = match text.strip_prefix(['e', 'E']) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let inside = text.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
        Some(if escapes { inside.replace("\\\\", "\\") } else { inside })
    }

    /// The line of a token.
    pub(super) fn line_of(&self, index: usize) -> u64 {
        let first = self.range(0).map_or(0, |range| range.start);
        let token = self.range(index).map_or(first, |range| range.start);
        let between = self.text.get(first..token).unwrap_or_default();
        self.line + u64::try_from(between.matches('\n').count()).unwrap_or_default()
    }

    /// What it is, for messages: its first words up to a name.
    pub(super) fn title(&self) -> String {
        let words = self.indices().take_while(|index| {
            self.kind(*index) == Some(Kind::Word) && !self.is(index + 1, ".") && *index < 5
        });
        let mut title: Vec<String> = words.filter_map(|index| self.token(index).map(str::to_owned)).collect();
        title.extend(self.first_qualified().map(|name| name.to_string()));
        title.join(" ")
    }

    /// The text with these edits, which do not overlap.
    pub(super) fn edited(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|(range, _)| range.start);
        let mut text = String::with_capacity(self.text.len());
        let mut at = 0;
        for (range, with) in edits {
            text.push_str(self.text.get(at..range.start).unwrap_or_default());
            text.push_str(&with);
            at = range.end;
        }
        text.push_str(self.text.get(at..).unwrap_or_default());
        text
    }
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A qualified name as SQL writes it.
pub(super) fn quoted_qualified(name: &QualifiedName) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.name))
}

/// A string constant, with `standard_conforming_strings` on.
pub(super) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
