//! The lines of `hba_file` and `ident_file`, as PostgreSQL reads its `pg_hba.conf` ("The pg_hba.conf File"):
//! fields between blanks, each a list of words that lose their meaning in quotes. A list goes on where a comma
//! follows its word at once: `a, b` is one, `a , b` is two fields.

use std::path::Path;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Without its quotes.
    pub(super) text: String,
    /// Whether it began with a quote: then it is a name, whatever it says.
    pub(super) quoted: bool,
}

impl Token {
    /// Whether it is this word, and no name.
    pub(super) fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }

    /// What follows a sign that PostgreSQL gives a meaning, where there is one.
    pub(super) fn after(&self, sign: char) -> Option<&str> {
        if self.quoted { None } else { self.text.strip_prefix(sign) }
    }
}

/// A line with something on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// Its fields; none is empty.
    pub(super) fields: Vec<Vec<Token>>,
}

impl Line {
    /// What is wrong with it, for whoever reads the log.
    pub(super) fn wrong(&self, file: &Path, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { file: file.display().to_string(), line: self.number, problem: problem.into() }
    }
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {problem}")]
pub struct SyntaxError {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// The lines of a file; one that ends in `\` goes on in the next.
pub(super) fn lines(text: &str, file: &Path) -> Result<Vec<Line>, SyntaxError> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut whole = line.to_owned();
        while let Some(kept) = whole.strip_suffix('\\') {
            whole.truncate(kept.len());
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next);
        }
        let mut line = Line { number: number + 1, fields: Vec::new() };
        match fields(&whole) {
            Some(fields) => line.fields = fields,
            None => return Err(line.wrong(file, "a quoted word has no end")),
        }
        if !line.fields.is_empty() {
            found.push(line);
        }
    }
    Ok(found)
}

/// None if a quote is not closed.
fn fields(line: &str) -> Option<Vec<Vec<Token>>> {
    let mut fields: Vec<Vec<Token>> = Vec::new();
    let mut rest = line.chars().peekable();
    // Whether the word that comes belongs to the field before it.
    let mut continues = false;
    loop {
        match rest.peek() {
            None | Some('#') => return Some(fields),
            Some(between) if *between == ',' || is_blank(*between) => {
                rest.next();
            }
            Some(_) => {
                let token = token(&mut rest)?;
                match fields.last_mut() {
                    Some(field) if continues => field.push(token),
                    _ => fields.push(vec![token]),
                }
                continues = rest.peek() == Some(&',');
            }
        }
    }
}

/// As PostgreSQL's `pg_isblank`.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r')
}

fn token(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let quoted = rest.peek() == Some(&'"');
    let mut text = String::new();
    let mut inside = false;
    while let Some(next) = rest.peek().copied() {
        if !inside && (next == ',' || next == '#' || is_blank(next)) {
            break;
        }
        rest.next();
        match next {
            '"' if inside && rest.peek() == Some(&'"') => {
                rest.next();
                text.push('"');
            }
            '"' => inside = !inside,
            other => text.push(other),
        }
    }
    (!inside).then_some(Token { text, quoted })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line's number, and its fields as they were understood.
    fn read(text: &str) -> Result<Vec<(usize, String)>, SyntaxError> {
        let shown =
            |token: &Token| if token.quoted { format!("'{}'", token.text) } else { token.text.clone() };
        let field = |field: &Vec<Token>| field.iter().map(shown).collect::<Vec<_>>().join(",");
        let whole = |line: &Line| line.fields.iter().map(field).collect::<Vec<_>>().join(" | ");
        Ok(lines(text, Path::new("f"))?.iter().map(|line| (line.number, whole(line))).collect())
    }

    #[test]
    fn fields_lists_quotes_and_comments_are_those_of_pg_hba_conf() {
        let text = "# all\n\nlocal\ta,b, \"c d\"  \"a\"\"b\"c\"#\"#no\n  x \\\ny\n\"all\"all,\n";
        let expected = [(3, "local | a,b,'c d' | 'a\"bc#'"), (4, "x | y"), (6, "'allall'")];
        assert_eq!(read(text).unwrap(), expected.map(|(number, line)| (number, line.to_owned())));
        // Each as PostgreSQL 15 shows it in pg_hba_file_rules.
        for (line, fields) in [
            ("a , b", "a | b"),
            ("a, b", "a,b"),
            ("a ,b", "a | b"),
            (",a b, c", "a | b,c"),
            ("a,,b", "a,b"),
            ("a, ,b", "a,b"),
            ("a,b ,c,d", "a,b | c,d"),
            ("\"a\" ,\"b\"", "'a' | 'b'"),
            ("a, # c", "a"),
            ("x\"y\" a\u{c}b", "xy | a\u{c}b"),
        ] {
            assert_eq!(read(line).unwrap(), [(1, fields.to_owned())], "{line}");
        }
        let says = read("\n\"a b\nc").unwrap_err().to_string();
        assert_eq!(says, "f, line 2: a quoted word has no end");
    }
}
