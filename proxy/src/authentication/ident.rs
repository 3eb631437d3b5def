//! `ident_file`: which names in certificates are which users, in the syntax of PostgreSQL's `pg_ident.conf`
//! ("User Name Maps"). Regular expressions are those of the crate regex, which run in linear time.

use super::tokens::{Line, SyntaxError, lines};
use regex::Regex;
use std::path::Path;

/// All maps.
#[derive(Debug, Default)]
pub(super) struct Maps(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    map: String,
    system: System,
    user: User,
}

/// What is in the certificate.
#[derive(Debug)]
enum System {
    Exactly(String),
    Like(Regex),
}

#[derive(Debug)]
enum User {
    All,
    Exactly(String),
    /// With the first group of the expression between these.
    Around(String, String),
}

impl Entry {
    fn fits(&self, name: &str, user: &[u8]) -> bool {
        let group = match &self.system {
            System::Exactly(exactly) if exactly == name => "",
            System::Exactly(_) => return false,
            System::Like(expression) => match expression.captures(name) {
                Some(found) => found.get(1).map_or("", |group| group.as_str()),
                None => return false,
            },
        };
        match &self.user {
            User::All => true,
            User::Exactly(exactly) => exactly.as_bytes() == user,
            User::Around(before, after) => [before.as_str(), group, after].concat().as_bytes() == user,
        }
    }
}

impl Maps {
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, SyntaxError> {
        let entries = lines(text, file)?;
        let entries = entries.iter().map(|line| entry(line).map_err(|problem| line.wrong(file, problem)));
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// Whether there is a map of this name.
    pub(super) fn has(&self, map: &str) -> bool {
        self.0.iter().any(|entry| entry.map == map)
    }

    /// Whether a certificate in this name is this user's, by a map or for itself.
    pub(super) fn allow(&self, map: Option<&str>, name: &str, user: &[u8]) -> bool {
        match map {
            None => name.as_bytes() == user,
            Some(map) => self.0.iter().any(|entry| entry.map == map && entry.fits(name, user)),
        }
    }
}

fn entry(line: &Line) -> Result<Entry, String> {
    let mut words = Vec::new();
    for field in &line.fields {
        match field.as_slice() {
            [word] => words.push(word),
            _ => return Err("a list stands in the place of a name".to_owned()),
        }
    }
    let [map, system, user] = words.as_slice() else {
        return Err("a line is the name of a map, a name in certificates, and a user".to_owned());
    };
    let system = match system.after('/') {
        Some(expression) => System::Like(
            Regex::new(expression)
                .map_err(|error| format!("`{expression}` is no regular expression: {error}"))?,
        ),
        None => System::Exactly(system.text.clone()),
    };
    let user = match user {
        user if user.is("all") => User::All,
        user if user.after('+').is_some() || user.after('/').is_some() => {
            return Err(format!("`{}`: neither roles nor expressions are supported as a user", user.text));
        }
        user => match (user.text.split_once("\\1"), &system) {
            (None, _) => User::Exactly(user.text.clone()),
            (Some((before, after)), System::Like(expression)) if expression.captures_len() > 1 => {
                User::Around(before.to_owned(), after.to_owned())
            }
            _ => return Err("`\\1` stands for a group, and there is none".to_owned()),
        },
    };
    Ok(Entry { map: map.text.clone(), system, user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_users_by_their_map() {
        let text = "m  alice            app\n\
                    m  \"Bob B\"        bob\n\
                    m  \"/x\"           slash\n\
                    n  /^(.*)@a\\.example$ \\1\n\
                    n  /^(.*)@b$        b_\\1_x\n\
                    o  root             all\n";
        let maps = Maps::parse(text, Path::new("ident")).unwrap();
        for (map, name, user, allowed) in [
            (None, "alice", "alice", true),
            (None, "alice", "app", false),
            (Some("m"), "alice", "app", true),
            (Some("m"), "alice", "alice", false),
            (Some("m"), "Bob B", "bob", true),
            (Some("m"), "/x", "slash", true),
            (Some("n"), "eve@a.example", "eve", true),
            (Some("n"), "eve@a.example.org", "eve", false),
            (Some("n"), "eve@b", "b_eve_x", true),
            (Some("n"), "eve@b", "eve", false),
            (Some("o"), "root", "anybody", true),
            (Some("p"), "alice", "alice", false),
        ] {
            assert_eq!(maps.allow(map, name, user.as_bytes()), allowed, "{map:?} {name} {user}");
        }
        assert!(maps.has("m") && !maps.has("p"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_file_and_line() {
        for (text, reason) in [
            ("m a", "a line is"),
            ("m a b c", "a line is"),
            ("m a,b c", "a list"),
            ("m /( x", "no regular expression"),
            ("m a \\1", "there is none"),
            ("m /^a$ \\1", "there is none"),
            ("m a +b", "neither roles"),
        ] {
            let says = Maps::parse(text, Path::new("ident")).err().unwrap().to_string();
            assert!(says.starts_with("ident, line 1: ") && says.contains(reason), "{says}");
        }
    }
}
