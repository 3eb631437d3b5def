//! Whether a statement plainly reads: by its words, in doubt no. The proxy decides what a statement may;
//! this only spares envelopes that may be used a few times.

use super::words::Words;
use trefoil_keys::lex::Kind;

/// With which it may begin.
const BEGINNINGS: [&str; 5] = ["select", "with", "values", "table", "show"];

/// Words that no plain read has.
const WRITES: [&str; 9] =
    ["insert", "update", "delete", "merge", "into", "copy", "share", "truncate", "nextval"];

/// Words before a parenthesis that call nothing, or nothing that writes.
const HARMLESS: [&str; 65] = [
    "all",
    "and",
    "any",
    "array",
    "array_agg",
    "as",
    "avg",
    "between",
    "by",
    "case",
    "cast",
    "char",
    "coalesce",
    "count",
    "cube",
    "current_setting",
    "date_trunc",
    "distinct",
    "else",
    "except",
    "exists",
    "extract",
    "filter",
    "from",
    "group",
    "having",
    "in",
    "intersect",
    "is",
    "join",
    "json_agg",
    "json_build_object",
    "jsonb_agg",
    "lateral",
    "length",
    "like",
    "limit",
    "lower",
    "materialized",
    "max",
    "min",
    "not",
    "now",
    "nullif",
    "numeric",
    "offset",
    "on",
    "or",
    "over",
    "rank",
    "row",
    "row_number",
    "select",
    "some",
    "string_agg",
    "sum",
    "then",
    "to_char",
    "union",
    "upper",
    "using",
    "values",
    "varchar",
    "when",
    "where",
];

/// Whether by its words the statement does nothing but read.
pub(super) fn plainly(words: &Words<'_>) -> bool {
    let begins = BEGINNINGS.contains(&words.first().to_ascii_lowercase().as_str());
    begins
        && words.calls().all(|(kind, word, called)| match kind {
            Some(Kind::Word) if called => HARMLESS.contains(&word.as_str()),
            Some(Kind::Word) => !WRITES.contains(&word.as_str()),
            Some(Kind::QuotedWord) => !called,
            _ => true,
        })
}
