//! The SQL that comes with the crate `pg_raw_parse`, in the tests of its libpg_query: PostgreSQL's
//! regression tests, and statements from elsewhere.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One statement of the collection.
pub(crate) struct Statement {
    /// The name of its file.
    pub(crate) file: String,
    /// Its text, without the semicolon.
    pub(crate) text: String,
}

/// All statements, in the order of files and lines.
pub(crate) fn statements() -> Vec<Statement> {
    let mut files = Vec::new();
    sql_files(&parser_sources().join("libpg_query/test"), &mut files);
    files.sort();
    let mut statements = Vec::new();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let texts = split(&text).into_iter();
        statements.extend(texts.map(|text| Statement { file: file.clone(), text }));
    }
    statements
}

/// Where cargo keeps the sources of the parser's crate.
fn parser_sources() -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let parser = packages.iter().find(|package| package["name"] == "pg_raw_parse").unwrap();
    Path::new(parser["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

fn sql_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sql_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
}

/// Splits a script for psql: its own commands and the data of COPY are left out, its variables become
/// names.
fn split(script: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut quote: Option<String> = None;
    let mut copying = false;
    for line in script.lines() {
        if copying {
            copying = line != "\\.";
            continue;
        }
        if quote.is_none() && line.trim_start().starts_with('\\') {
            statement.clear();
            continue;
        }
        let mut rest = line;
        while let Some(next) = rest.chars().next() {
            let taken = match &quote {
                Some(end) if rest.starts_with(end.as_str()) => {
                    let length = end.len();
                    quote = None;
                    length
                }
                Some(_) => next.len_utf8(),
                None if rest.starts_with("--") => break,
                None if rest.starts_with("/*") => {
                    quote = Some("*/".to_owned());
                    2
                }
                None if next == '\'' || next == '"' => {
                    quote = Some(next.to_string());
                    1
                }
                None if next == '$' => match dollar_quote(rest) {
                    Some(tag) => {
                        quote = Some(tag.to_owned());
                        tag.len()
                    }
                    None => 1,
                },
                None if next == ';' => {
                    copying = ends_in_data(&statement);
                    statements.push(std::mem::take(&mut statement).trim().to_owned());
                    rest = &rest[1..];
                    continue;
                }
                None if next == ':'
                    && rest[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '\'') =>
                {
                    rest = &rest[1..];
                    continue;
                }
                None => next.len_utf8(),
            };
            statement.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        statement.push('\n');
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

fn ends_in_data(statement: &str) -> bool {
    let lower = statement.to_lowercase();
    lower.trim_start().starts_with("copy") && lower.contains("from stdin")
}

fn dollar_quote(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[1..end - 1];
    let starts_well = !tag.starts_with(|c: char| c.is_ascii_digit());
    (starts_well && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then(|| &text[..end])
}

/// The identifiers of a text, folded as PostgreSQL does; comments, constants and bodies left out.
pub(crate) fn words(text: &str) -> HashSet<String> {
    let mut words = HashSet::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if next == '\'' {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else if next == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 1);
            words.insert(rest[1..end].to_owned());
            (end + 1).min(rest.len())
        } else if let Some(tag) = (next == '$').then(|| dollar_quote(rest)).flatten() {
            rest[tag.len()..].find(tag).map_or(rest.len(), |end| end + 2 * tag.len())
        } else if next.is_alphabetic() || next == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
            words.insert(rest[..end].to_lowercase());
            end
        } else {
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    words
}
