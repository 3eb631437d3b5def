//! The claim `tables`: names as `schema.table`, each part as PostgreSQL stores it; a part with a dot or a
//! double quote in it stands in double quotes, doubled inside, as in SQL and in the proxy's policy.

use std::collections::BTreeSet;

/// How many tables an envelope may name.
pub const MAX_TABLES: usize = 256;

/// Longest part of a name in bytes: PostgreSQL's NAMEDATALEN less one.
const MAX_PART: usize = 63;

/// Whether these can be the claim `tables`: at least one, not too many, each a qualified name.
pub fn are_tables(names: &BTreeSet<String>) -> bool {
    (1..=MAX_TABLES).contains(&names.len()) && names.iter().all(|name| is_qualified(name))
}

fn is_qualified(name: &str) -> bool {
    let table = after_part(name).and_then(|rest| rest.strip_prefix('.'));
    table.and_then(after_part).is_some_and(str::is_empty)
}

/// What follows the first part of a name.
fn after_part(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let length = text.find(['.', '"']).unwrap_or(text.len());
        return (1..=MAX_PART).contains(&length).then(|| text.split_at(length).1);
    };
    let (mut rest, mut length) = (quoted, 0);
    loop {
        let (inside, after) = rest.split_once('"')?;
        length += inside.len();
        match after.strip_prefix('"') {
            Some(more) => {
                length += 1;
                rest = more;
            }
            None => return (1..=MAX_PART).contains(&length).then_some(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_TABLES, are_tables};

    #[test]
    fn qualified_names_are_tables_and_nothing_else_is() {
        let one = |name: &str| are_tables(&[name.to_owned()].into());
        let (longest, longer) = ("x".repeat(63), "x".repeat(64));
        let doubled = format!("p.\"{}\"\"\"", "x".repeat(62));
        for name in [
            "public.patients",
            "p.Ä b",
            r#"public."a.b""#,
            r#""a""b"."c""#,
            &format!("p.{longest}"),
            &doubled,
        ] {
            assert!(one(name), "{name}");
        }
        for name in [
            "",
            "patients",
            ".patients",
            "public.",
            "a.b.c",
            r#"public."""#,
            r#"public."a"#,
            r#"public."a"b"#,
            r#"public.a"b""#,
            &format!("p.{longer}"),
            &format!("p.\"x{}\"\"\"", &longest[..62]),
        ] {
            assert!(!one(name), "{name}");
        }
    }

    #[test]
    fn their_number_is_bounded() {
        let names = |count: usize| (0..count).map(|n| format!("public.t{n}")).collect();
        assert!(are_tables(&names(MAX_TABLES)) && !are_tables(&names(MAX_TABLES + 1)));
        assert!(!are_tables(&names(0)));
    }
}
