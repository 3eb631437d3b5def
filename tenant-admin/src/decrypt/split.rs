//! Where the statements of a psql script end, line by line: as psql's own scanner (`psqlscan.l`) decides
//! it, with `standard_conforming_strings` on.

/// What the scanner is inside of.
enum Within {
    Nothing,
    /// A string constant; whether backslashes escape in it.
    String(bool),
    /// A quoted identifier.
    Name,
    /// A dollar-quoted constant with this delimiter.
    Dollar(Vec<u8>),
    /// Block comments, nested this deep.
    Comment(usize),
}

/// Finds the end of each statement.
pub(super) struct Splitter {
    within: Within,
    parentheses: usize,
    /// The first words of the statement: only a routine's definition has a body with semicolons.
    words: Vec<String>,
    /// `BEGIN` and `CASE` without their `END` in such a body.
    begun: usize,
}

/// As many words as tell `CREATE OR REPLACE PROCEDURE`.
const FIRST_WORDS: usize = 4;

impl Splitter {
    pub(super) fn new() -> Self {
        Self { within: Within::Nothing, parentheses: 0, words: Vec::new(), begun: 0 }
    }

    /// Scans `line` from byte `from`; returns the offset past the semicolon that ends the statement, or
    /// `None` where the line ends first.
    pub(super) fn end(&mut self, line: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
            at += match &mut self.within {
                Within::Nothing => {
                    let (length, ends) = self.step(line, at);
                    if ends {
                        *self = Self::new();
                        return Some(at + length);
                    }
                    length
                }
                Within::String(escapes) => match rest {
                    [b'\\', _, ..] if *escapes => 2,
                    [b'\'', b'\'', ..] => 2,
                    [b'\'', ..] => {
                        self.within = Within::Nothing;
                        1
                    }
                    _ => 1,
                },
                Within::Name => {
                    if rest.first() == Some(&b'"') {
                        self.within = Within::Nothing;
                    }
                    1
                }
                Within::Dollar(delimiter) => match memchr::memmem::find(rest, delimiter) {
                    Some(found) => {
                        let length = found + delimiter.len();
                        self.within = Within::Nothing;
                        length
                    }
                    None => rest.len(),
                },
                Within::Comment(depth) => match rest {
                    [b'/', b'*', ..] => {
                        *depth += 1;
                        2
                    }
                    [b'*', b'/', ..] => {
                        *depth -= 1;
                        if *depth == 0 {
                            self.within = Within::Nothing;
                        }
                        2
                    }
                    _ => 1,
                },
            };
        }
        None
    }

    /// One step outside of constants and comments: its length, and whether the statement ends with it.
    fn step(&mut self, line: &[u8], at: usize) -> (usize, bool) {
        let rest = line.get(at..).unwrap_or_default();
        let length = match rest {
            [b'-', b'-', ..] => rest.len(),
            [b'/', b'*', ..] => {
                self.within = Within::Comment(1);
                2
            }
            [b'\'', ..] => {
                self.within = Within::String(false);
                1
            }
            [b'e' | b'E', b'\'', ..] => {
                self.within = Within::String(true);
                2
            }
            [b'"', ..] => {
                self.within = Within::Name;
                1
            }
            [b'$', tag @ ..] => {
                let name = tag.iter().take_while(|byte| is_word(**byte)).count();
                if tag.get(name) != Some(&b'$') || tag.first().is_some_and(u8::is_ascii_digit) {
                    return (1, false);
                }
                self.within = Within::Dollar(rest.get(..name + 2).unwrap_or_default().to_vec());
                name + 2
            }
            [b'(', ..] => {
                self.parentheses += 1;
                1
            }
            [b')', ..] => {
                self.parentheses = self.parentheses.saturating_sub(1);
                1
            }
            [b';', ..] => return (1, self.parentheses == 0 && self.begun == 0),
            [first, ..] if is_word(*first) => {
                let length = rest.iter().take_while(|byte| is_word(**byte) || **byte == b'$').count();
                self.word(rest.get(..length).unwrap_or_default());
                length
            }
            _ => 1,
        };
        (length, false)
    }

    fn word(&mut self, word: &[u8]) {
        let word = String::from_utf8_lossy(word).to_ascii_lowercase();
        if self.parentheses == 0 && self.is_routine() {
            match word.as_str() {
                "begin" => self.begun += 1,
                "case" if self.begun > 0 => self.begun += 1,
                "end" => self.begun = self.begun.saturating_sub(1),
                _ => {}
            }
        }
        if self.words.len() < FIRST_WORDS {
            self.words.push(word);
        }
    }

    fn is_routine(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["create", "function" | "procedure", ..] | ["create", "or", "replace", "function" | "procedure"]
        )
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statements of a script, without the white space around them.
    fn statements(script: &str) -> Vec<String> {
        let mut splitter = Splitter::new();
        let (mut found, mut text) = (Vec::new(), String::new());
        for line in script.split_inclusive('\n') {
            let mut from = 0;
            while let Some(end) = splitter.end(line.as_bytes(), from) {
                text.push_str(&line[from..end]);
                found.push(std::mem::take(&mut text).trim().to_owned());
                from = end;
            }
            text.push_str(&line[from..]);
        }
        assert_eq!(text.trim(), "", "{script}");
        found
    }

    #[test]
    fn statements_end_at_their_semicolons() {
        for script in [
            "SELECT 'a;b', \"c;d\", E'\\';', '\\';",
            "COMMENT ON TABLE t IS 'it''s; -- here\n;';",
            "-- a; comment's\nSELECT /* ; /* ' */ ; */ 1;",
            "CREATE FUNCTION f() AS $f$ a; $$ ; $f$;",
            "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2));",
            "CREATE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;",
            "CREATE OR REPLACE PROCEDURE f()\n BEGIN ATOMIC\n SELECT 2;\nEND;",
            "SELECT a$b$c, $1;",
        ] {
            assert_eq!(statements(script), [script.trim()]);
        }
        assert_eq!(statements("BEGIN;\nSELECT 1; SELECT 2;\nEND;").len(), 4);
    }
}
