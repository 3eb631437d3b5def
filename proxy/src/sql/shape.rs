//! What texts have in common that differ in literals alone, and so may share a plan: a client that writes its
//! values into the text is not analysed each time.
//!
//! Only texts are taken whose tokens can be told at a glance: words, numbers, strings in plain quotes, quoted
//! names and operators, without comments, parameters or backslashes.

use std::borrow::Cow;
use std::ops::Range;
use zeroize::Zeroizing;

// Stand for literals; a text with such bytes elsewhere has no shape.
const INTEGER: u8 = 0;
const DECIMAL: u8 = 1;
const STRING: u8 = 2;

/// A longer text has no shape.
const LONGEST: usize = 256 * 1024;

/// A text taken apart.
pub struct Shape {
    /// The text with one mark for each literal.
    pub text: Vec<u8>,
    /// The bytes of each literal in the original text.
    pub literals: Vec<Range<usize>>,
}

impl Shape {
    /// Takes a query apart; none if it has no literal, or what is not told at a glance.
    pub fn of(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST || !begins_with_a_query(text) {
            return None;
        }
        let mut shape = Vec::with_capacity(text.len());
        let mut literals = Vec::new();
        let mut at = 0;
        let mut before = b' ';
        while let Some(rest) = text.get(at..)
            && let Some((&byte, after)) = rest.split_first()
        {
            let length = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => count(rest, is_word),
                b'"' => quoted_name(rest)?,
                b'0'..=b'9' => {
                    let (length, mark) = number(rest)?;
                    shape.push(mark);
                    literals.push(at..at + length);
                    length
                }
                b'\'' => {
                    // The end of E'', U&'' and the like, or of a name.
                    if is_word(before) || matches!(before, b'&' | b'"') {
                        return None;
                    }
                    let length = string(rest)?;
                    shape.push(STRING);
                    literals.push(at..at + length);
                    length
                }
                // A comment.
                b'-' | b'/' if matches!(after.first(), Some(b'-' | b'*')) => return None,
                // Another statement.
                b';' if !after.trim_ascii().is_empty() => return None,
                b'.' if after.first().is_some_and(u8::is_ascii_digit) => return None,
                b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')' | b',' | b'.' | b'*' | b'=' | b'<' | b'>'
                | b'+' | b'-' | b'/' | b'%' | b'[' | b']' | b';' | b':' | b'|' | b'!' | b'~' => 1,
                _ => return None,
            };
            let token = rest.get(..length)?;
            if !matches!(byte, b'0'..=b'9' | b'\'') {
                shape.extend_from_slice(token);
            }
            before = *token.last()?;
            at += length;
        }
        let utf8 = text.is_ascii() || str::from_utf8(text).is_ok();
        (utf8 && !literals.is_empty()).then_some(Self { text: shape, literals })
    }

    /// Whether its literals are numbers alone.
    pub fn has_only_numbers(&self) -> bool {
        !self.text.contains(&STRING)
    }
}

/// Goes through a text and the text of its shape side by side.
pub(super) struct Places<'a> {
    /// Those that are still to come.
    pub(super) literals: &'a [Range<usize>],
    /// What the literals so far are longer than their marks.
    ahead: usize,
}

impl<'a> Places<'a> {
    pub(super) fn of(shape: &'a Shape) -> Self {
        Self { literals: &shape.literals, ahead: 0 }
    }

    /// The byte of the original text that stands at a place of the shape's. Places rise.
    pub(super) fn byte(&mut self, place: usize) -> usize {
        self.pass(|literal, ahead| literal.start < place + ahead);
        place + self.ahead
    }

    /// The place of a byte of the original text; none if it is within a literal. Bytes rise.
    pub(super) fn place(&mut self, byte: usize) -> Option<usize> {
        self.pass(|literal, _| literal.end <= byte);
        let within = self.literals.first().is_some_and(|literal| literal.start < byte);
        (!within).then_some(byte - self.ahead)
    }

    fn pass(&mut self, is_before: impl Fn(&Range<usize>, usize) -> bool) {
        while let Some((literal, rest)) = self.literals.split_first()
            && is_before(literal, self.ahead)
        {
            self.ahead += literal.len() - 1;
            self.literals = rest;
        }
    }
}

/// The value of a literal, as PostgreSQL reads it.
pub(super) fn value(literal: &str) -> Zeroizing<String> {
    let quoted = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let value = quoted.map_or(Cow::Borrowed(literal), |quoted| match quoted.contains('\'') {
        true => Cow::Owned(quoted.replace("''", "'")),
        false => Cow::Borrowed(quoted),
    });
    Zeroizing::new(value.into_owned())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn count(text: &[u8], what: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| what(**byte)).count()
}

/// Utility statements have numbers that mean something to a session, as `SET standard_conforming_strings = 0`.
fn begins_with_a_query(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let word = text.get(..count(text, is_word)).unwrap_or_default();
    ["select", "insert", "update", "delete", "with"]
        .iter()
        .any(|query| word.eq_ignore_ascii_case(query.as_bytes()))
}

/// Digits, with a point among them or not. 1e5, 0x1f, 1_000, 1. are numbers too, but of other kinds; 007 is read
/// as 7.
fn number(text: &[u8]) -> Option<(usize, u8)> {
    let digits = |text: &[u8]| count(text, |byte| byte.is_ascii_digit());
    let whole = digits(text);
    let (length, mark) = match text.get(whole..)? {
        [b'.', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => {
            (whole + 1 + digits(rest), DECIMAL)
        }
        _ => (whole, INTEGER),
    };
    let next = text.get(length).copied().unwrap_or(b' ');
    if whole > 1 && text.first() == Some(&b'0') {
        return None;
    }
    (!is_word(next) && next != b'.').then_some((length, mark))
}

/// Up to its closing quote; a quote is written twice. With a backslash it depends on the session.
fn string(text: &[u8]) -> Option<usize> {
    let mut length = 1;
    loop {
        length += count(text.get(length..)?, |byte| !matches!(byte, b'\'' | b'\\' | 0));
        match text.get(length..)? {
            [b'\'', b'\'', ..] => length += 2,
            [b'\'', ..] => return Some(length + 1),
            _ => return None,
        }
    }
}

fn quoted_name(text: &[u8]) -> Option<usize> {
    let length = 1 + count(text.get(1..)?, |byte| byte != b'"' && byte != b'\\' && !byte.is_ascii_control());
    (text.get(length) == Some(&b'"')).then_some(length + 1)
}

#[cfg(test)]
mod tests {
    use super::{Places, Shape, value};

    fn of(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        Shape::of(text.as_ref()).map(|shape| shape.text)
    }

    #[test]
    fn texts_that_differ_in_literals_have_one_shape() {
        let shape = of("SELECT abalance FROM pgbench_accounts WHERE aid = 17;").unwrap();
        assert_eq!(shape, b"SELECT abalance FROM pgbench_accounts WHERE aid = \0;");
        assert_eq!(of("SELECT abalance FROM pgbench_accounts WHERE aid = 4711;"), Some(shape));
        let update = |n| format!("UPDATE t1 SET a = a + {n} WHERE b IN ({n}, {n})");
        assert_eq!(of(update(1)), of(update(23)));
        assert_ne!(of("SELECT a1 FROM t WHERE b = 1"), of("SELECT a2 FROM t WHERE b = 1"));
        assert_ne!(of("SELECT 1 -1"), of("SELECT 1 +1"));
        let insert = |text| format!("INSERT INTO \"t\" (\"a\", b) VALUES ({text}, 1)");
        assert_eq!(of(insert("'a'")), of(insert("'O''Brien, (\"\u{e9}\") -- /* $1 '")));
        assert_eq!(of(insert("''")), of(insert("''''")));
        assert_ne!(of(insert("''")), of(insert("'', ''")));
        assert_eq!(of(insert("1.5")), of(insert("17.25")));
        assert_ne!(of(insert("1.5")), of(insert("1")));
        assert_ne!(of(insert("'1'")), of(insert("1")));
        assert_eq!(of("SELECT '1'::int"), of("SELECT '2'::int"));
    }

    #[test]
    fn what_is_not_told_at_a_glance_has_none() {
        for text in [
            "SELECT a FROM t",
            "SELECT $1 + 1",
            "SELECT $$a$$, 1",
            "SELECT 1 -- a",
            "SELECT 1 --1",
            "SELECT 1 /* a */",
            "SELECT 1 /*1*/",
            "SELECT .5",
            "SELECT 1.",
            "SELECT 1..2",
            "SELECT 1.5.2",
            "SELECT 1.5e3",
            "SELECT 1e5",
            "SELECT 0x1f",
            "SELECT 1_000",
            "SELECT 007",
            "SELECT 00.7",
            "SELECT 1a",
            "SELECT 1, \u{e9}",
            "SELECT 1 \0",
            "SELECT 1 \u{1}",
            "SELECT 'a\0'",
            "SELECT 1, \"\u{2}\"",
            "SELECT 1, \"a",
            "SELECT 1, U&\"a\"",
            "SELECT 'a",
            "SELECT 'a''",
            "SELECT 'a\\'",
            "SELECT E'a'",
            "SELECT N'a'",
            "SELECT U&'a'",
            "SELECT \"a\"'a'",
            "SET standard_conforming_strings = 0",
            "BEGIN; SET statement_timeout = 1",
            "SELECT 1; SET standard_conforming_strings = 0",
            "FETCH 5 FROM c",
            "",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of(b"SELECT '\xff'"), None);
    }

    #[test]
    fn bytes_are_found_by_their_places_and_places_by_bytes() {
        let text = "SELECT 'abc', 17, '' FROM t WHERE a = 4711";
        let shape = Shape::of(text.as_bytes()).unwrap();
        let (mut places, mut back) = (Places::of(&shape), Places::of(&shape));
        let mut found = Vec::new();
        for byte in 0..=text.len() {
            let within = shape.literals.iter().any(|literal| literal.start < byte && byte < literal.end);
            let place = places.place(byte);
            assert_eq!(place.is_none(), within, "{byte}");
            found.extend(place.map(|place| (byte, place)));
        }
        assert!(found.iter().all(|(byte, place)| back.byte(*place) == *byte));
        let literals: Vec<_> = shape.literals.iter().map(|literal| &text[literal.clone()]).collect();
        assert_eq!(literals, ["'abc'", "17", "''", "4711"]);
    }

    #[test]
    fn a_literals_value_is_what_postgresql_reads() {
        let values = ["17", "1.5", "''", "'a'", "''''", "'O''Brien'", "'''a'''''"].map(value);
        let expected = ["17", "1.5", "", "a", "'", "O'Brien", "'a''"];
        assert!(values.iter().zip(expected).all(|(value, expected)| value.as_str() == expected));
    }
}
