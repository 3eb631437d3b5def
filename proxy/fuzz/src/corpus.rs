//! The tests' corpus: tables of which some are protected, and statements over them.

use pg_raw_parse::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use trefoil_proxy::policy::{Policy, catalog::Catalog};
use trefoil_proxy::sql;

const STATEMENTS: [&str; 8] = [
    include_str!("../../../tests/corpus/statements/copy.txt"),
    include_str!("../../../tests/corpus/statements/cursor.txt"),
    include_str!("../../../tests/corpus/statements/ddl.txt"),
    include_str!("../../../tests/corpus/statements/evil.txt"),
    include_str!("../../../tests/corpus/statements/forms.txt"),
    include_str!("../../../tests/corpus/statements/queries.txt"),
    include_str!("../../../tests/corpus/statements/types.txt"),
    include_str!("../../../tests/corpus/statements/views.txt"),
];

/// Stands for a protected value wherever a statement of the corpus has a marker.
pub const MARKER: &str = "MARKER-7f3a";

/// A statement with its parameters; `None` is NULL.
pub struct Case {
    /// The text.
    pub text: String,
    /// The parameters, as text.
    pub parameters: Vec<Option<String>>,
}

/// The policy and the tables.
pub static TABLES: LazyLock<(Arc<Policy>, Arc<Catalog>)> = LazyLock::new(|| {
    let policy = Policy::parse(include_str!("../../../tests/corpus/policy.toml")).expect("the corpus's");
    let catalog = sql::schema(include_str!("../../../tests/corpus/schema.sql"), &policy);
    (Arc::new(policy), catalog.expect("the corpus's"))
});

/// The statements. What a line means stands in `queries.txt`; lines with a marker that is free to appear
/// are left out.
pub static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let lines = STATEMENTS.iter().flat_map(|file| file.lines());
    let lines = lines.filter(|line| !line.starts_with('#') && !line.contains("{f}"));
    let case = |line: &str| {
        let filled = line
            .replace("{t}", MARKER)
            .replace("{x}", "4d41524b45522d37663361")
            .replace("{i}", "730190733")
            .replace("{u}", "73019073-0000-4000-8000-730190730733")
            .replace("{d}", "7301-09-07")
            .replace("{n}", "7301907.33");
        let mut parts = filled.split(" | ").skip(2).map(|part| part.trim_end_matches(" |"));
        let text = parts.next()?.to_owned();
        let parameters = parts.map(|part| Some(part.to_owned()).filter(|part| part != "NULL")).collect();
        Some(Case { text, parameters })
    };
    lines.filter_map(case).collect()
});

/// The words that occur most often in the statements.
pub static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut counts = BTreeMap::<String, usize>::new();
    for token in CASES.iter().flat_map(|case| tokens(&case.text)) {
        *counts.entry(token).or_default() += 1;
    }
    let mut words: Vec<_> = counts.into_iter().filter(|(word, _)| word.len() > 1).collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    words.into_iter().map(|(word, _)| word).take(128).collect()
});

/// Pieces of a text: words, strings, and what stands between.
pub fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(next) = rest.chars().next() {
        let end = if next == '\'' {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else if next.is_alphanumeric() || next == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            next.len_utf8()
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    tokens
}

/// Protected tables of the corpus.
const PROTECTED: [&str; 2] = ["patients", "visits"];

/// Statements that carry no value of a table that they name.
const WITHOUT_VALUES: [&str; 12] = [
    "drop",
    "lock",
    "grant",
    "revoke",
    "vacuum",
    "analyze",
    "comment",
    "reindex",
    "cluster",
    "truncate",
    "alter sequence",
    "create sequence",
];

/// Whether a statement of the text reads or writes a protected table, by the parser's own walk over the
/// tree, which is not the analysis's.
pub fn names_protected(text: &str) -> bool {
    let Ok(tree) = pg_raw_parse::parse(text) else { return false };
    tree.iter().any(|raw| {
        let lower = text.to_lowercase();
        let statement =
            usize::try_from(raw.stmt_location).ok().and_then(|at| lower.get(at..)).unwrap_or(&lower);
        let start = statement.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        if WITHOUT_VALUES.iter().any(|form| statement[start..].starts_with(form)) {
            return false;
        }
        let (mut named, mut locked, mut ctes) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut look = |node: Node<'_>| match node {
            Node::RangeVar(range)
                if matches!(range.schemaname(), None | Some("public"))
                    && range.relname().is_some_and(|name| PROTECTED.contains(&name)) =>
            {
                named.push(range.location);
            }
            // FOR UPDATE OF names what stands in FROM.
            Node::LockingClause(locking) => locked.extend(locking.locked_rels().iter().filter_map(|node| {
                if let Node::RangeVar(range) = node { Some(range.location) } else { None }
            })),
            Node::CommonTableExpr(cte) => ctes.extend(cte.ctename().map(str::to_owned)),
            _ => {}
        };
        // It panics at what is no query, after all that it knows.
        let walk = || pg_raw_parse::walk::walk(raw.stmt(), &mut look);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(walk)).ok();
        named.iter().any(|at| !locked.contains(at)) && !PROTECTED.iter().any(|name| ctes.contains(*name))
    })
}
