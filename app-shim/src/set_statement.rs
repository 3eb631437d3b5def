//! Recognises `SET [LOCAL | SESSION] trefoil."user" = '…'` and its kin where one such statement is
//! the whole text. Only plain forms: a value with a backslash, a comment between the words or a
//! second statement is left to the proxy, which has PostgreSQL's grammar, as is `set_config`: on a
//! connection with a shim the proxy refuses those that carry an envelope or a share.

use std::ops::Range;
use trefoil_keys::carrier::checked;

/// One of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `trefoil.user`
    User,
    /// `trefoil.envelope`
    Envelope,
    /// `trefoil.app_share`
    AppShare,
}

/// A recognised statement.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SetStatement {
    /// What it sets.
    pub(crate) name: Name,
    /// To what; `None` for an empty string, DEFAULT and RESET.
    pub(crate) value: Option<String>,
    /// Whether it lasts until the transaction's end only.
    pub(crate) local: bool,
}

/// What goes upstream instead of an envelope or a share, without the quotes.
pub(crate) const REPLACEMENT: &[u8] = b"set";

/// Recognises a statement, with the place of its value between the quotes where it has to be
/// replaced by [`REPLACEMENT`].
pub(crate) fn recognise(text: &[u8]) -> Option<(SetStatement, Option<Range<usize>>)> {
    let mut scan = Scan { text, at: 0 };
    scan.space();
    let reset = scan.word(b"reset");
    if !reset && !scan.word(b"set") {
        return None;
    }
    let mut local = false;
    if !reset {
        local = scan.word(b"local");
        if !local {
            scan.word(b"session");
        }
    }
    scan.word(b"trefoil").then_some(())?;
    scan.byte(b'.').then_some(())?;
    scan.space();
    let name = [(Name::User, &b"user"[..]), (Name::Envelope, b"envelope"), (Name::AppShare, b"app_share")]
        .into_iter()
        .find_map(|(name, spelling)| scan.name(spelling).then_some(name))?;
    let (value, range) = if reset {
        (None, None)
    } else {
        (scan.byte(b'=') || scan.word(b"to")).then_some(())?;
        scan.space();
        if scan.word(b"default") { (None, None) } else { scan.literal()? }
    };
    while scan.byte(b';') {}
    if scan.at != text.len() {
        return None;
    }
    let range = range.filter(|_| name != Name::User && value.is_some());
    Some((SetStatement { name, value, local }, range))
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let space = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
        self.at += self.rest().iter().take_while(space).count();
    }

    /// A keyword or unquoted identifier, in any case, with the space after it.
    fn word(&mut self, lower: &[u8]) -> bool {
        let rest = self.rest();
        let found = rest.get(..lower.len()).is_some_and(|word| word.eq_ignore_ascii_case(lower))
            && !rest.get(lower.len()).is_some_and(|&next| is_identifier(next));
        if found {
            self.at += lower.len();
            self.space();
        }
        found
    }

    /// An identifier, quoted or not. `user` itself needs no quotes here: PostgreSQL refuses it.
    fn name(&mut self, lower: &[u8]) -> bool {
        let quoted = self.rest().strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(lower));
        if quoted.is_some_and(|rest| rest.starts_with(b"\"")) {
            self.at += lower.len() + 2;
            self.space();
            return true;
        }
        self.word(lower)
    }

    fn byte(&mut self, byte: u8) -> bool {
        let found = self.rest().first() == Some(&byte);
        if found {
            self.at += 1;
            self.space();
        }
        found
    }

    /// `'…'` with `''` for a quote; a backslash would depend on a setting.
    fn literal(&mut self) -> Option<(Option<String>, Option<Range<usize>>)> {
        let rest = self.rest().strip_prefix(b"'")?;
        let mut value = Vec::new();
        let mut read = 0;
        loop {
            match rest.get(read..)? {
                [b'\'', b'\'', ..] => {
                    value.push(b'\'');
                    read += 2;
                }
                [b'\'', ..] => break,
                [b'\\', ..] | [] => return None,
                [byte, ..] => {
                    value.push(*byte);
                    read += 1;
                }
            }
        }
        let range = self.at + 1..self.at + 1 + read;
        self.at = range.end + 1;
        self.space();
        let value = checked(&value).ok()?;
        Some(((!value.is_empty()).then(|| value.to_owned()), Some(range)))
    }
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Name, Option<String>, bool, Option<&str>)> {
        let (SetStatement { name, value, local }, range) = recognise(text.as_bytes())?;
        Some((name, value, local, range.map(|range| &text[range])))
    }

    fn some(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn recognised() {
        use Name::{AppShare, Envelope, User};
        for (text, expected) in [
            ("SET trefoil.\"user\" = 'alice'", (User, some("alice"), false, None)),
            ("set local Trefoil . \"user\"='o''neill' ; ;", (User, some("o'neill"), true, None)),
            ("\n SET\tSESSION trefoil.envelope TO 'a.b'", (Envelope, some("a.b"), false, Some("a.b"))),
            ("SET LOCAL trefoil.\"envelope\" TO'x';", (Envelope, some("x"), true, Some("x"))),
            ("SET trefoil.app_share='main:AA'", (AppShare, some("main:AA"), false, Some("main:AA"))),
            ("SET trefoil.envelope = ''", (Envelope, None, false, None)),
            ("SET trefoil.envelope TO DEFAULT", (Envelope, None, false, None)),
            ("SET LOCAL trefoil.envelope = default", (Envelope, None, true, None)),
            ("RESET trefoil.envelope;", (Envelope, None, false, None)),
            ("reset trefoil.\"user\"", (User, None, false, None)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn left_to_the_proxy() {
        for text in [
            "",
            "SET",
            "SETtrefoil.envelope = 'a'",
            "SET trefoil.envelopes = 'a'",
            "SET trefoil.\"Envelope\" = 'a'",
            "SET \"trefoil.envelope\" = 'a'",
            "SET my.trefoil.envelope = 'a'",
            "SET trefoil.envelope = 'a', 'b'",
            "SET trefoil.envelope = 'a",
            "SET trefoil.envelope = 'a\\'; SELECT 1; '",
            "SET trefoil.envelope = E'a'",
            "SET trefoil.envelope = a",
            "SET trefoil.envelope 'a'",
            "SET trefoil.envelope = 'a'; SELECT 1",
            "SET trefoil.envelope = 'a' 'b'",
            "SET /* x */ trefoil.envelope = 'a'",
            "SET trefoil.envelope = 'a' -- x",
            "SET trefoil.envelope = 'a\0'",
            "SET LOCAL SESSION trefoil.envelope = 'a'",
            "RESET trefoil.envelope = 'a'",
            "RESET LOCAL trefoil.envelope",
            "SET search_path = 'trefoil.envelope'",
            "SELECT 'SET trefoil.envelope = ''a'''",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
