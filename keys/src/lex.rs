//! Where the tokens of a text begin and end, by the rules of PostgreSQL's `scan.l`. The grammar
//! decides what a statement means; this only finds the bytes to edit.

use std::ops::Range;

/// What a token is, as far as edits need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword without quotes.
    Word,
    /// A quoted identifier, `U&"…"` included.
    QuotedWord,
    /// A string constant of any form, its continuations and its `UESCAPE` included.
    String,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// `::`.
    Cast,
    /// Any other single character or operator.
    Other,
}

/// One token.
#[derive(Clone, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub range: Range<usize>,
}

/// Most tokens of a text that is read at all: of each the grammar makes up to 300 bytes.
pub const MAX_TOKENS: usize = 2_000_000;

/// Whether a text has more than [`MAX_TOKENS`]. Of a text that the grammar refuses the answer may be either.
pub fn has_too_many_tokens(text: &str) -> bool {
    // Each has a byte at least.
    let mut lexer = Lexer { text: text.as_bytes(), at: 0 };
    text.len() > MAX_TOKENS && (0..=MAX_TOKENS).all(|_| lexer.next_token().is_some())
}

/// The tokens of a text, comments and white space left out.
pub struct Tokens {
    tokens: Vec<Token>,
}

impl Tokens {
    /// Reads all tokens of `text`, which the grammar has accepted.
    pub fn of(text: &str) -> Self {
        let mut lexer = Lexer { text: text.as_bytes(), at: 0 };
        let mut tokens: Vec<Token> = Vec::new();
        while let Some(token) = lexer.next_token() {
            tokens.push(token);
        }
        Self { tokens: join_uescape(text, tokens) }
    }

    /// The highest `$n`; 0 if there is none.
    pub fn highest_parameter(&self, text: &str) -> usize {
        let parameters = self.tokens.iter().filter(|token| token.kind == Kind::Parameter);
        let numbers = parameters.filter_map(|t| text.get(t.range.clone())?.get(1..)?.parse().ok());
        numbers.max().unwrap_or(0)
    }

    /// The index of the token that begins at byte `at`.
    pub fn index_at(&self, at: usize) -> Option<usize> {
        self.tokens.binary_search_by(|t| t.range.start.cmp(&at)).ok()
    }

    /// The token with this index.
    pub fn get(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index)
    }

    /// From the first to the last token in `range`, semicolons left out.
    pub fn span(&self, text: &str, range: Range<usize>) -> Option<Range<usize>> {
        let mut inside = self
            .tokens
            .iter()
            .map(|token| &token.range)
            .filter(|token| range.contains(&token.start) && text.get((*token).clone()) != Some(";"));
        let first = inside.next()?;
        Some(first.start..inside.next_back().unwrap_or(first).end)
    }

    /// Whether the token is this word, whatever its case.
    pub fn is_word(&self, text: &str, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|t| {
            t.kind == Kind::Word && text.get(t.range.clone()).is_some_and(|s| s.eq_ignore_ascii_case(word))
        })
    }

    /// Whether the token is exactly this text.
    pub fn is(&self, text: &str, index: usize, what: &str) -> bool {
        self.get(index).is_some_and(|t| text.get(t.range.clone()) == Some(what))
    }

    /// The end of the type name whose first token has this index: words that belong to it,
    /// qualification, modifiers in parentheses, array bounds. Returns the byte past its end and the
    /// index of the token after it.
    pub fn type_name(&self, text: &str, first: usize) -> Option<(usize, usize)> {
        let mut index = first + 1;
        while self.is(text, index, ".") {
            index += 2;
        }
        let starts = |word| self.is_word(text, first, word);
        let two_words = (starts("double") && self.is_word(text, index, "precision"))
            || (starts("national") && index == first + 1);
        index += usize::from(two_words);
        if self.is_word(text, index, "varying") {
            index += 1;
        }
        index = self.parentheses(text, index);
        if starts("timestamp") || starts("time") {
            let with = self.is_word(text, index, "with") || self.is_word(text, index, "without");
            if with && self.is_word(text, index + 1, "time") && self.is_word(text, index + 2, "zone") {
                index += 3;
            }
        }
        loop {
            if self.is_word(text, index, "array") {
                index += 1;
            }
            if !self.is(text, index, "[") {
                break;
            }
            while !self.is(text, index, "]") {
                self.get(index)?;
                index += 1;
            }
            index += 1;
        }
        Some((self.get(index.checked_sub(1)?)?.range.end, index))
    }

    fn parentheses(&self, text: &str, mut index: usize) -> usize {
        if self.is(text, index, "(") {
            while !self.is(text, index, ")") && self.get(index).is_some() {
                index += 1;
            }
            index += 1;
        }
        index
    }
}

/// `U&'…' UESCAPE '!'` is one constant.
fn join_uescape(text: &str, tokens: Vec<Token>) -> Vec<Token> {
    let mut joined: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let uescape = token.kind == Kind::Word
            && text.get(token.range.clone()).is_some_and(|s| s.eq_ignore_ascii_case("uescape"))
            && joined.last().is_some_and(|t| {
                matches!(t.kind, Kind::String | Kind::QuotedWord)
                    && text.get(t.range.clone()).is_some_and(|s| s.starts_with(['U', 'u']))
            })
            && rest.peek().is_some_and(|t| t.kind == Kind::String);
        match (uescape, joined.last_mut(), rest.peek()) {
            (true, Some(last), Some(character)) => {
                last.range.end = character.range.end;
                rest.next();
            }
            _ => joined.push(token),
        }
    }
    joined
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next_token(&mut self) -> Option<Token> {
        self.skip_white(false);
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let kind = self.scan();
        Some(Token { kind, range: start..self.at })
    }

    fn scan(&mut self) -> Kind {
        match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'\'', ..) => self.string(0, false),
            (b'e' | b'E', b'\'', _) => self.string(1, true),
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', _) => self.string(1, false),
            (b'u' | b'U', b'&', b'\'') => self.string(2, false),
            (b'u' | b'U', b'&', b'"') => self.quoted_word(2),
            (b'"', ..) => self.quoted_word(0),
            (b'$', b'0'..=b'9', _) => {
                self.at += 1;
                self.skip_while(|b| b.is_ascii_digit());
                Kind::Parameter
            }
            (b'$', ..) => self.dollar_quoted(),
            (b'0'..=b'9', ..) | (b'.', b'0'..=b'9', _) => self.number(),
            (b, ..) if is_word_start(b) => {
                self.skip_while(|b| is_word_start(b) || b.is_ascii_digit() || b == b'$');
                Kind::Word
            }
            (b'.', b'.', _) => {
                self.at += 2;
                Kind::Other
            }
            (b':', b':', _) => {
                self.at += 2;
                Kind::Cast
            }
            _ => {
                self.at += 1;
                Kind::Other
            }
        }
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        self.at += self.rest().iter().take_while(|b| keep(**b)).count();
    }

    /// Skips white space and comments; with `continuation`, tells whether a newline was among them
    /// and stops before a block comment, as string continuation demands.
    fn skip_white(&mut self, continuation: bool) -> bool {
        let mut newline = false;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\n' | b'\r', _) => {
                    newline = true;
                    self.at += 1;
                }
                (b' ' | b'\t' | 0x0b | 0x0c, _) => self.at += 1,
                (b'-', b'-') => self.skip_while(|b| b != b'\n' && b != b'\r'),
                (b'/', b'*') if !continuation => self.block_comment(),
                _ => return newline,
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A quoted string whose quote stands `prefix` bytes ahead, with its continuations.
    fn string(&mut self, prefix: usize, backslashes: bool) -> Kind {
        self.at += prefix + 1;
        loop {
            match self.peek(0) {
                _ if self.at >= self.text.len() => break,
                b'\\' if backslashes => self.at += 2,
                b'\'' if self.peek(1) == b'\'' => self.at += 2,
                b'\'' => {
                    self.at += 1;
                    let end = self.at;
                    let newline = self.skip_white(true);
                    if newline && self.peek(0) == b'\'' {
                        self.at += 1;
                    } else {
                        self.at = end;
                        break;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.text.len());
        Kind::String
    }

    fn quoted_word(&mut self, prefix: usize) -> Kind {
        self.at += prefix + 1;
        while self.at < self.text.len() {
            let closes = self.peek(0) == b'"';
            let doubled = closes && self.peek(1) == b'"';
            self.at += if doubled { 2 } else { 1 };
            if closes && !doubled {
                break;
            }
        }
        Kind::QuotedWord
    }

    fn dollar_quoted(&mut self) -> Kind {
        let tag = self.rest().iter().skip(1).take_while(|b| is_word_start(**b) || b.is_ascii_digit()).count();
        if self.peek(tag + 1) != b'$' {
            self.at += 1;
            return Kind::Other;
        }
        let length = tag + 2;
        let delimiter = self.rest().get(..length).unwrap_or_default();
        let body = self.rest().get(length..).unwrap_or_default();
        let end = memchr::memmem::find(body, delimiter).map_or(body.len(), |i| i + length);
        self.at += length + end;
        Kind::String
    }

    fn number(&mut self) -> Kind {
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B') {
            self.at += 2;
            self.skip_while(|b| b.is_ascii_hexdigit() || b == b'_');
            return Kind::Number;
        }
        let digits = |b: u8| b.is_ascii_digit() || b == b'_';
        self.skip_while(digits);
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_while(digits);
        }
        let signed = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + signed).is_ascii_digit() {
            self.at += 1 + signed;
            self.skip_while(digits);
        }
        Kind::Number
    }
}

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

#[cfg(test)]
mod tests {
    use super::{Kind, Tokens};

    fn words(text: &str) -> Vec<&str> {
        Tokens::of(text).tokens.iter().map(|t| &text[t.range.clone()]).collect()
    }

    #[test]
    fn every_form_of_string_is_one_token() {
        for form in [
            "'a''b'",
            r"E'a\'b'",
            "$$a'b$$",
            "$tag$a$$b$tag$",
            "U&'d!0061t' UESCAPE '!'",
            "'a'\n  'b'",
            "'a' -- c\n 'b'",
            "N'x'",
            "b'01'",
            "x'1F'",
            "''",
            "'\\'",
        ] {
            let text = format!("select {form}, 1");
            let tokens = Tokens::of(&text);
            assert_eq!(tokens.get(1).map(|t| &text[t.range.clone()]), Some(form), "{form}");
            assert_eq!(tokens.get(1).map(|t| t.kind), Some(Kind::String));
            assert!(tokens.is(&text, 2, ","), "{form}");
        }
    }

    #[test]
    fn comments_and_white_space_are_no_tokens() {
        assert_eq!(words("a/* /* 'x' */ */b--c\n.d"), ["a", "b", ".", "d"]);
    }

    #[test]
    fn strings_on_one_line_are_two() {
        assert_eq!(words("'a' 'b'"), ["'a'", "'b'"]);
    }

    #[test]
    fn numbers_words_and_parameters() {
        assert_eq!(
            words("-1.5e-3+$12::int4[1..2]a$b"),
            ["-", "1.5e-3", "+", "$12", "::", "int4", "[", "1", "..", "2", "]", "a$b"]
        );
    }

    #[test]
    fn type_names_end_where_they_end() {
        for name in [
            "text",
            "varchar(20)",
            "character varying (3)",
            "double precision",
            "timestamp(3) with time zone",
            "time without time zone",
            "pg_catalog.int4",
            "numeric(10, 2)[]",
            "int array[3]",
            "national character varying(2)",
        ] {
            let text = format!("x::{name} = 1");
            let (end, next) = Tokens::of(&text).type_name(&text, 2).unwrap();
            assert_eq!(&text[3..end], name);
            assert!(Tokens::of(&text).is(&text, next, "="));
        }
    }

    #[test]
    fn unterminated_text_ends_at_its_end() {
        for text in ["'abc", "\"abc", "$$abc", "/* abc", "E'\\", "U&'", "$"] {
            for token in Tokens::of(text).tokens {
                assert!(token.range.end <= text.len(), "{text}");
            }
        }
    }
}
