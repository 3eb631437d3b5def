//! `CREATE TABLE` as pg_dump writes it: the columns, the CHECKs that only cells pass, the parents.

use super::statement::Statement;
use std::ops::Range;
use trefoil_columns::policy::QualifiedName;

/// How the names of the CHECKs begin that only cells pass.
pub(super) const CHECK_PREFIX: &str = "trefoil_cell_";

/// A table's definition.
pub(super) struct Definition {
    pub(super) name: QualifiedName,
    pub(super) elements: Vec<Element>,
    /// What it inherits from, or is a partition of.
    pub(super) parents: Vec<QualifiedName>,
    /// The columns by whose hash its rows are spread over partitions.
    pub(super) hashed: Vec<String>,
}

/// What stands between two commas of a definition.
pub(super) struct Element {
    /// Its bytes, with the white space in front.
    pub(super) range: Range<usize>,
    pub(super) kind: ElementKind,
}

pub(super) enum ElementKind {
    /// A column.
    Column {
        name: String,
        /// Where its type stands; a partition's column may have none.
        type_range: Option<Range<usize>>,
    },
    /// The CHECK that only cells of a column pass.
    CellCheck {
        /// The column; `None` if that is not understood.
        column: Option<String>,
    },
    /// Any other constraint.
    Other,
}

impl Definition {
    /// Reads a statement; `None` if it does not define a table.
    pub(super) fn of(statement: &Statement) -> Option<Self> {
        if !statement.words(0, &["create"]) {
            return None;
        }
        let mut at = 1;
        while ["unlogged", "foreign", "temporary", "temp"].iter().any(|word| statement.words(at, &[word])) {
            at += 1;
        }
        if !statement.words(at, &["table"]) {
            return None;
        }
        at += 1;
        if statement.words(at, &["if", "not", "exists"]) {
            at += 3;
        }
        let (name, mut at) = statement.qualified(at)?;
        let mut definition = Self { name, elements: Vec::new(), parents: Vec::new(), hashed: Vec::new() };
        if statement.words(at, &["partition", "of"]) {
            let (parent, after) = statement.qualified(at + 2)?;
            definition.parents.push(parent);
            at = after;
        }
        if statement.is(at, "(") {
            let after = statement.after_parentheses(at)?;
            definition.elements = elements(statement, at, after)?;
            at = after;
        }
        for index in (at..).take_while(|index| statement.token(*index).is_some()) {
            if statement.words(index, &["inherits"]) {
                let mut parent = index + 2;
                while let Some((name, after)) = statement.qualified(parent) {
                    definition.parents.push(name);
                    parent = after + 1;
                }
            }
            if statement.words(index, &["partition", "by", "hash"]) {
                let after = statement.after_parentheses(index + 3)?;
                definition.hashed = (index + 4..after).filter_map(|index| statement.name(index)).collect();
            }
        }
        Some(definition)
    }
}

fn elements(statement: &Statement, open: usize, after: usize) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut first = open + 1;
    let mut depth = 0_usize;
    for index in open + 1..after {
        let last = index + 1 == after;
        if statement.is(index, "(") || statement.is(index, "[") {
            depth += 1;
        } else if !last && (statement.is(index, ")") || statement.is(index, "]")) {
            depth = depth.checked_sub(1)?;
        } else if last || (depth == 0 && statement.is(index, ",")) {
            if first < index {
                let range = statement.range(first - 1)?.end..statement.range(index)?.start;
                elements.push(Element { range, kind: kind(statement, first, index)? });
            }
            first = index + 1;
        }
    }
    Some(elements)
}

/// What the tokens from `first` to before `end` are.
fn kind(statement: &Statement, first: usize, end: usize) -> Option<ElementKind> {
    const CONSTRAINTS: [&str; 8] =
        ["constraint", "check", "unique", "primary", "foreign", "exclude", "like", "not"];
    if statement.words(first, &["constraint"]) {
        let cells =
            statement.name(first + 1)?.starts_with(CHECK_PREFIX) && statement.words(first + 2, &["check"]);
        return Some(if cells {
            ElementKind::CellCheck { column: checked(statement, first..end) }
        } else {
            ElementKind::Other
        });
    }
    if CONSTRAINTS.iter().any(|word| statement.words(first, &[word])) {
        return Some(ElementKind::Other);
    }
    let name = statement.name(first)?;
    let typed = first + 1 < end
        && !["with", "default", "not", "constraint", "generated"]
            .iter()
            .any(|word| statement.words(first + 1, &[word]));
    let type_range =
        if typed { Some(statement.range(first + 1)?.start..statement.type_name(first + 1)?.0) } else { None };
    Some(ElementKind::Column { name, type_range })
}

/// The column of whose cells a CHECK among these tokens makes sure.
pub(super) fn checked(statement: &Statement, tokens: Range<usize>) -> Option<String> {
    let at = statement
        .indices()
        .filter(|index| tokens.contains(index))
        .find(|index| statement.words(*index, &["octet_length"]))?;
    statement.is(at + 1, "(").then(|| statement.name(at + 2)).flatten()
}
