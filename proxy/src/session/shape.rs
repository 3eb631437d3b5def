//! What texts have in common that differ in numbers alone, and so share a plan where nothing in them is
//! protected: a client that writes its values into the text is not analysed each time.
//!
//! Only texts are taken whose tokens can be told at a glance: words, numbers and operators, without quotes,
//! comments, parameters or backslashes.

/// Stands for a number; no text that PostgreSQL takes has this byte outside of quotes.
const NUMBER: u8 = 0;

/// The text with one mark for each number; none if it has no number, or what is not told at a glance.
pub(super) fn of(text: &[u8]) -> Option<Vec<u8>> {
    if !begins_with_a_query(text) {
        return None;
    }
    let mut shape = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut numbers = false;
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                let (word, after) = rest.split_at_checked(length)?;
                shape.extend_from_slice(word);
                rest = after;
            }
            b'0'..=b'9' => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                rest = rest.get(length..)?;
                // 1.5, 1e5, 0x1f, 1_000: numbers too, but of other kinds.
                if rest.first().is_some_and(|next| is_word(*next) || *next == b'.') {
                    return None;
                }
                shape.push(NUMBER);
                numbers = true;
            }
            // A comment.
            b'-' | b'/' if matches!(after.first(), Some(b'-' | b'*')) => return None,
            // Another statement.
            b';' if !after.trim_ascii().is_empty() => return None,
            b'.' if after.first().is_some_and(u8::is_ascii_digit) => return None,
            b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')' | b',' | b'.' | b'*' | b'=' | b'<' | b'>' | b'+'
            | b'-' | b'/' | b'%' | b'[' | b']' | b';' => {
                shape.push(byte);
                rest = after;
            }
            _ => return None,
        }
    }
    numbers.then_some(shape)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Utility statements have numbers that mean something to a session, as `SET standard_conforming_strings = 0`.
fn begins_with_a_query(text: &[u8]) -> bool {
    let word = text.split(|byte| !is_word(*byte)).next().unwrap_or_default();
    ["select", "insert", "update", "delete"].iter().any(|query| word.eq_ignore_ascii_case(query.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn texts_that_differ_in_numbers_have_one_shape() {
        let shape = of(b"SELECT abalance FROM pgbench_accounts WHERE aid = 17;").unwrap();
        assert_eq!(shape, b"SELECT abalance FROM pgbench_accounts WHERE aid = \0;");
        assert_eq!(of(b"SELECT abalance FROM pgbench_accounts WHERE aid = 4711;"), Some(shape));
        let update = |n| format!("UPDATE t1 SET a = a + {n} WHERE b IN ({n}, {n})");
        assert_eq!(of(update(1).as_bytes()), of(update(23).as_bytes()));
        assert_ne!(of(b"SELECT a1 FROM t WHERE b = 1"), of(b"SELECT a2 FROM t WHERE b = 1"));
        assert_ne!(of(b"SELECT 1 -1"), of(b"SELECT 1 +1"));
    }

    #[test]
    fn what_is_not_told_at_a_glance_has_none() {
        for text in [
            "SELECT a FROM t",
            "SELECT 1, 'a'",
            "SELECT 1, \"a\"",
            "SELECT $1 + 1",
            "SELECT $$a$$, 1",
            "SELECT 1 -- a",
            "SELECT 1 --1",
            "SELECT 1 /* a */",
            "SELECT 1 /*1*/",
            "SELECT 1.5",
            "SELECT .5",
            "SELECT 1.",
            "SELECT 1e5",
            "SELECT 0x1f",
            "SELECT 1_000",
            "SELECT 1a",
            "SELECT 1::int",
            "SELECT 1, \u{e9}",
            "SELECT 1 \0",
            "SET standard_conforming_strings = 0",
            "BEGIN; SET statement_timeout = 1",
            "SELECT 1; SET standard_conforming_strings = 0",
            "FETCH 5 FROM c",
            "",
        ] {
            assert_eq!(of(text.as_bytes()), None, "{text}");
        }
    }
}
