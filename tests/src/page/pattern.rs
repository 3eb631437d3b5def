//! Lines that differ each time: `…` stands for anything within a line, a line of `…` alone for any number
//! of lines, and `‹name›` for a word that is the same wherever the page writes that name, in commands too.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// The words that names stand for, so far.
#[derive(Clone, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// Puts in the words for the names in a text; an unknown name is an error.
    pub(super) fn fill(&self, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        for token in tokens(text) {
            match token {
                Token::Text(text) => out.push_str(text),
                Token::Anything => out.push('…'),
                Token::Name(name) => match self.0.get(name) {
                    Some(word) => out.push_str(word),
                    None => return Err(Error::new(format!("nothing printed before is called ‹{name}›"))),
                },
            }
        }
        Ok(out)
    }
}

/// Whether these lines are what the patterns say; then, and only then, names are learnt from them.
pub(super) fn matches(shown: &[String], seen: &[String], names: &mut Names) -> bool {
    let Some((first, shown)) = shown.split_first() else { return seen.is_empty() };
    if first == "…" {
        return (0..=seen.len())
            .any(|skipped| matches(shown, seen.get(skipped..).unwrap_or_default(), names));
    }
    let Some((line, seen)) = seen.split_first() else { return false };
    let mut learnt = names.clone();
    let same = matches_line(&tokens(first), line, &mut learnt) && matches(shown, seen, &mut learnt);
    if same {
        *names = learnt;
    }
    same
}

/// The lines printed, each as the pattern that matches it where there is one.
pub(super) fn merge(shown: &[String], seen: &[String], names: &mut Names) -> Vec<String> {
    let mut left: Vec<&String> = shown.iter().filter(|line| *line != "…").collect();
    let mut pattern_of = |line: &String| {
        let found = left.iter().position(|pattern| matches_line(&tokens(pattern), line, names));
        found.map_or_else(|| line.clone(), |found| left.remove(found).clone())
    };
    seen.iter().map(&mut pattern_of).collect()
}

enum Token<'t> {
    Text(&'t str),
    Anything,
    Name(&'t str),
}

fn tokens(mut text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    while let Some(start) = text.find(['…', '‹']) {
        let (before, rest) = text.split_at(start);
        tokens.push(Token::Text(before));
        let name = rest.strip_prefix('‹').and_then(|rest| rest.split_once('›'));
        text = match name {
            Some((name, rest)) => {
                tokens.push(Token::Name(name));
                rest
            }
            None => {
                tokens.push(Token::Anything);
                rest.trim_start_matches(['…', '‹'])
            }
        };
    }
    tokens.push(Token::Text(text));
    tokens
}

fn matches_line(tokens: &[Token<'_>], line: &str, names: &mut Names) -> bool {
    let Some((first, tokens)) = tokens.split_first() else { return line.is_empty() };
    let ends = || line.char_indices().map(|(at, _)| at).chain([line.len()]);
    match first {
        Token::Text(text) => line.strip_prefix(text).is_some_and(|rest| matches_line(tokens, rest, names)),
        Token::Anything => {
            ends().any(|end| line.get(end..).is_some_and(|rest| matches_line(tokens, rest, names)))
        }
        Token::Name(name) => {
            if let Some(word) = names.0.get(*name).cloned() {
                return line.strip_prefix(&word).is_some_and(|rest| matches_line(tokens, rest, names));
            }
            ends().skip(1).any(|end| {
                let (word, rest) = line.split_at(end);
                let mut learnt = names.clone();
                learnt.0.insert((*name).to_owned(), word.to_owned());
                let same = !word.contains(' ') && matches_line(tokens, rest, &mut learnt);
                if same {
                    *names = learnt;
                }
                same
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(shown: &str, seen: &str) -> bool {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        matches(&lines(shown), &lines(seen), &mut Names::default())
    }

    #[test]
    fn placeholders_stand_for_what_differs_and_for_nothing_else() {
        for (shown, seen, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a\nb", false),
            ("at …, done", "at 12:00, done", true),
            ("at …, done", "at 12:00, failed", false),
            ("…\nlast", "first\nsecond\nlast", true),
            ("first\n…", "first", true),
            ("first\n…\nlast", "first\nsecond", false),
            ("key ‹k›\nagain ‹k›.", "key ab\nagain ab.", true),
            ("key ‹k›\nagain ‹k›.", "key ab\nagain abc.", false),
            ("key ‹k›", "key a b", false),
            ("key ‹k›", "key ", false),
        ] {
            assert_eq!(same(shown, seen), expected, "{shown} / {seen}");
        }
    }
}
