//! The policy file (TOML) -> [`Policy`]. Strict: an unknown key, a wrong kind of value or a
//! contradiction is an error that names its line and column and what to do.
//!
//! ```toml
//! allow_functions = ["public.anonymise"]
//!
//! [tables."public.patients"]
//! ssn = { type = "text", mode = "deterministic", domain = "ssn", keyspace = "main", denied = "null" }
//! ```

use super::{DEFAULT_KEYSPACE, LogicalType, Policy, ProtectedColumn, QualifiedName, TablePolicy};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use trefoil_keys::cell::Mode;

/// What is wrong with a policy file, where, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}; {remedy}")]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Schemas whose tables cannot be protected, beside PostgreSQL's own `pg_…`.
const RESERVED_SCHEMAS: [&str; 2] = ["information_schema", "trefoil"];
/// The schema of temporary tables, whichever PostgreSQL gives a session.
const TEMPORARY: &str = "pg_temp";
/// PostgreSQL cuts longer names off (`NAMEDATALEN` - 1).
const MAX_NAME: usize = 63;
const MAX_DOMAIN: usize = 255;

pub(super) type Key<'t> = Spanned<Cow<'t, str>>;
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

impl Policy {
    /// Reads a policy file's text.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Parser { text, policy: Self::default(), domains: HashMap::new() }.file()
    }
}

pub(super) struct Parser<'t> {
    text: &'t str,
    policy: Policy,
    domains: HashMap<String, Arc<ProtectedColumn>>,
}

impl<'t> Parser<'t> {
    fn file(mut self) -> Result<Policy, PolicyError> {
        let file = DeTable::parse(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.error(offset, format!("not valid TOML: {}", error.message()), "correct the syntax")
        })?;
        for (key, value) in file.get_ref() {
            if key.get_ref() == "allow_functions" {
                self.allowed_functions(value)?;
                continue;
            }
            if key.get_ref() != "tables" {
                return Err(self.unknown(key, "write protected columns under [tables.\"schema.table\"]"));
            }
            for (key, value) in self.table(value, "`tables`")? {
                self.protected_table(key, value)?;
            }
        }
        Ok(self.policy)
    }

    fn allowed_functions(&mut self, value: &Value<'t>) -> Result<(), PolicyError> {
        let names = value.get_ref().as_array();
        for name in names.ok_or_else(|| self.wrong_kind(value, "`allow_functions`", "an array"))? {
            let text = self.string(name, "a function's name")?;
            let Some(name) = QualifiedName::parse(text) else {
                let problem = format!("`{text}` is not the name of a function with its schema");
                return Err(self.error(
                    name.span().start,
                    problem,
                    "write \"schema.function\", without arguments",
                ));
            };
            self.policy.allowed_functions.insert(name);
        }
        Ok(())
    }

    fn protected_table(&mut self, key: &Key<'t>, value: &Value<'t>) -> Result<(), PolicyError> {
        let at = key.span().start;
        let Some(name) = QualifiedName::parse(key.get_ref()) else {
            return Err(self.error(
                at,
                format!("`{}` is not the name of a table with its schema", key.get_ref()),
                "write [tables.\"schema.table\"]; a part with a dot in it stands in double quotes",
            ));
        };
        self.identifier(at, &name.schema)?;
        self.identifier(at, &name.name)?;
        let reserved = name.schema.starts_with("pg_") && name.schema != TEMPORARY;
        if RESERVED_SCHEMAS.contains(&name.schema.as_str()) || reserved {
            return Err(self.error(
                at,
                format!("tables of the schema `{}` cannot be protected", name.schema),
                "name a table of your own",
            ));
        }
        if self.policy.tables.contains_key(&name) {
            return Err(self.error(at, format!("`{name}` stands here twice"), "merge the two entries"));
        }
        let mut table = TablePolicy::new();
        for (key, value) in self.table(value, &format!("`{name}`"))? {
            self.identifier(key.span().start, key.get_ref())?;
            let column = Arc::new(self.column(&name, key, value)?);
            self.policy.has_floats |= column.logical.has_floats();
            self.policy.columns.push(Arc::clone(&column));
            table.insert(column.name.clone(), column);
        }
        if table.is_empty() {
            return Err(self.error(
                at,
                format!("`{name}` names no protected column"),
                "add one, or remove the table",
            ));
        }
        self.policy.schemas_of.entry(name.name.clone()).or_default().push(name.schema.clone());
        self.policy.tables.insert(name, table);
        Ok(())
    }

    fn column(
        &mut self,
        table: &QualifiedName,
        key: &Key<'t>,
        value: &Value<'t>,
    ) -> Result<ProtectedColumn, PolicyError> {
        let at = key.span().start;
        let name = key.get_ref().to_string();
        let (mut logical, mut mode, mut domain, mut keyspace, mut denied) = (None, None, None, None, None);
        for (key, value) in self.table(value, &format!("column `{name}`"))? {
            match key.get_ref().as_ref() {
                "type" => logical = Some((self.logical(value)?, value.span().start)),
                "mode" => mode = Some((self.mode(value)?, value.span().start)),
                "domain" => domain = Some(self.domain(value)?),
                "keyspace" => keyspace = Some(self.keyspace(value)?),
                "denied" => denied = Some(value),
                _ => {
                    const KEYS: &str = "a column has `type`, `mode`, `domain`, `keyspace` and `denied`";
                    return Err(self.unknown(key, KEYS));
                }
            }
        }
        let missing = |what: &str, remedy: &str| {
            self.error(at, format!("column `{name}` of `{table}` has no `{what}`"), remedy)
        };
        let (logical, _) = logical.ok_or_else(|| {
            missing("type", "add the type that the application sees, such as type = \"text\"")
        })?;
        let (mode, mode_at) =
            mode.ok_or_else(|| missing("mode", "add mode = \"deterministic\" or mode = \"randomized\""))?;
        if mode == Mode::Deterministic && !logical.supports_deterministic() {
            return Err(self.error(
                mode_at,
                format!("column `{name}` of `{table}`: values of its type that are equal may differ in their bytes"),
                "use mode = \"randomized\" for this type",
            ));
        }
        let keyspace = keyspace.unwrap_or_else(|| DEFAULT_KEYSPACE.to_owned());
        let denied = denied.map(|value| self.denied(value, &logical, &keyspace)).transpose()?;
        let column = ProtectedColumn {
            id: self.policy.columns.len(),
            domain: domain.unwrap_or_else(|| own_domain(table, &name)),
            keyspace,
            denied: denied.unwrap_or_default(),
            table: table.clone(),
            name,
            logical,
            mode,
        };
        self.join_domain(at, &column)?;
        Ok(column)
    }

    /// Columns of one domain can be compared with each other, so all that makes their cells must agree.
    fn join_domain(&mut self, at: usize, column: &ProtectedColumn) -> Result<(), PolicyError> {
        let Some(first) = self.domains.get(&column.domain) else {
            self.domains.insert(column.domain.clone(), Arc::new(column.clone()));
            return Ok(());
        };
        let differs = if first.logical != column.logical {
            "type"
        } else if first.mode != column.mode {
            "mode"
        } else if first.keyspace != column.keyspace {
            "keyspace"
        } else if first.denied != column.denied {
            "denied"
        } else {
            return Ok(());
        };
        Err(self.error(
            at,
            format!(
                "columns `{}.{}` and `{}.{}` share the domain `{}` but differ in `{differs}`, so they could never be joined",
                first.table, first.name, column.table, column.name, column.domain
            ),
            format!("give both the same `{differs}`, or different domains"),
        ))
    }

    fn logical(&self, value: &Value<'t>) -> Result<LogicalType, PolicyError> {
        LogicalType::parse(self.string(value, "`type`")?)
            .map_err(|error| self.error(value.span().start, error.to_string(), "correct `type`"))
    }

    fn mode(&self, value: &Value<'t>) -> Result<Mode, PolicyError> {
        const REMEDY: &str = "use \"deterministic\" (can be compared for equality) or \"randomized\"";
        match self.string(value, "`mode`")? {
            "randomized" => Ok(Mode::Randomized),
            "deterministic" => Ok(Mode::Deterministic),
            "ordered" => Err(self.error(
                value.span().start,
                "mode \"ordered\" comes in a later version".to_owned(),
                REMEDY,
            )),
            other => Err(self.error(value.span().start, format!("unknown mode `{other}`"), REMEDY)),
        }
    }

    fn domain(&self, value: &Value<'t>) -> Result<String, PolicyError> {
        let text = self.string(value, "`domain`")?;
        if text.is_empty() || text.len() > MAX_DOMAIN || text.contains(char::is_control) {
            return Err(self.error(
                value.span().start,
                "not a name for a domain".to_owned(),
                format!("use 1 to {MAX_DOMAIN} bytes without control characters"),
            ));
        }
        Ok(text.to_owned())
    }

    pub(super) fn keyspace(&self, value: &Value<'t>) -> Result<String, PolicyError> {
        let text = self.string(value, "`keyspace`")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(fits) {
            return Err(self.error(
                value.span().start,
                "not a name for a keyspace".to_owned(),
                format!("use 1 to {MAX_NAME} ASCII letters, digits, `_` and `-`"),
            ));
        }
        Ok(text.to_owned())
    }

    pub(super) fn table<'v>(&self, value: &'v Value<'t>, what: &str) -> Result<&'v DeTable<'t>, PolicyError> {
        value.get_ref().as_table().ok_or_else(|| self.wrong_kind(value, what, "a table"))
    }

    pub(super) fn string<'v>(&self, value: &'v Value<'t>, what: &str) -> Result<&'v str, PolicyError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong_kind(value, what, "a string"))
    }

    fn identifier(&self, at: usize, name: &str) -> Result<(), PolicyError> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
            return Err(self.error(
                at,
                format!("`{name}` cannot be a name in PostgreSQL"),
                format!("use the name as PostgreSQL stores it, 1 to {MAX_NAME} bytes"),
            ));
        }
        Ok(())
    }

    fn wrong_kind(&self, value: &Value<'t>, what: &str, wanted: &str) -> PolicyError {
        let found = value.get_ref().type_str();
        self.error(value.span().start, format!("{what} is of kind {found}"), format!("make it {wanted}"))
    }

    pub(super) fn unknown(&self, key: &Key<'t>, remedy: &str) -> PolicyError {
        self.error(key.span().start, format!("unknown key `{}`", key.get_ref()), remedy)
    }

    pub(super) fn error(&self, offset: usize, problem: String, remedy: impl Into<String>) -> PolicyError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        PolicyError {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            problem,
            remedy: remedy.into(),
        }
    }
}

/// The key domain of a column without one of its own: `schema.table.column`, with odd parts quoted so that no two columns have the same.
pub fn own_domain(table: &QualifiedName, column: &str) -> String {
    [&table.schema, &table.name, column].map(quoted).join(".")
}

fn quoted(part: &str) -> Cow<'_, str> {
    if part.contains(['.', '"']) {
        Cow::Owned(format!("\"{}\"", part.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, usize, String) {
        let error = Policy::parse(text).err().unwrap();
        assert!(!error.remedy.is_empty());
        (error.line, error.column, error.problem)
    }

    #[test]
    fn reads_columns_with_and_without_defaults() {
        let policy = Policy::parse(
            r#"
            [tables."public.patients"]
            ssn = { type = "text", mode = "deterministic", domain = "ssn", keyspace = "billing" }
            born = { type = "date", mode = "randomized" }
            [tables."public.claims"]
            ssn = { type = "text", mode = "deterministic", domain = "ssn", keyspace = "billing" }
            "#,
        )
        .unwrap();
        assert_eq!(policy.columns().len(), 3);
        assert!(policy.columns().iter().enumerate().all(|(i, c)| c.id == i));
        let patients = policy.table(&QualifiedName::new("public", "patients")).unwrap();
        let born = &patients["born"];
        assert_eq!((&born.logical, born.mode), (&LogicalType::Date, Mode::Randomized));
        assert_eq!((born.domain.as_str(), born.keyspace.as_str()), ("public.patients.born", "main"));
        assert_eq!(patients["ssn"].domain, "ssn");
        assert_eq!(patients["ssn"].keyspace, "billing");
        assert_eq!(policy.schemas_with_table("patients"), ["public"]);
        assert!(policy.schemas_with_table("nobody").is_empty());
        assert!(policy.table(&QualifiedName::new("private", "patients")).is_none());
        assert!(!policy.is_empty());
        assert!(Policy::parse("").unwrap().is_empty());
    }

    #[test]
    fn names_are_taken_as_stored_and_odd_ones_quoted() {
        let policy = Policy::parse(
            r#"
            [tables.'"a.b"."c""d"']
            "E.f" = { type = "text", mode = "randomized" }
            [tables.'Odd.Näme']
            x = { type = "text", mode = "randomized" }
            "#,
        )
        .unwrap();
        let table = policy.table(&QualifiedName::new("a.b", "c\"d")).unwrap();
        assert_eq!(table["E.f"].domain, r#""a.b"."c""d"."E.f""#);
        assert!(policy.table(&QualifiedName::new("Odd", "Näme")).is_some());
    }

    #[test]
    fn says_where_and_what() {
        for (text, line, column, problem) in [
            ("table = 1", 1, 1, "unknown key `table`"),
            ("allow_functions = [\"f\"]", 1, 20, "`f` is not the name of a function with its schema"),
            ("\n[tables.patients]", 2, 9, "not the name of a table with its schema"),
            ("[tables.\"a.b.c\"]", 1, 9, "not the name of a table with its schema"),
            ("[tables.'\"a.b']", 1, 9, "not the name of a table with its schema"),
            ("[tables.\"pg_catalog.pg_class\"]", 1, 9, "cannot be protected"),
            ("[tables.\"a.b\"]", 1, 9, "names no protected column"),
            ("tables = 1", 1, 10, "of kind integer"),
            ("[tables.\"a.b\"]\nc = 1", 2, 5, "of kind integer"),
            ("[tables.\"a.b\"]\nc = {}", 2, 1, "has no `type`"),
            ("[tables.\"a.b\"]\nc = { type = \"text\" }", 2, 1, "has no `mode`"),
            ("[tables.\"a.b\"]\nc = { type = \"txt\" }", 2, 14, "txt"),
            ("[tables.\"a.b\"]\nc = { type = 7 }", 2, 14, "of kind integer"),
            ("[tables.\"a.b\"]\nc = { mode = \"ordered\" }", 2, 14, "later version"),
            ("[tables.\"a.b\"]\nc = { mode = \"x\" }", 2, 14, "unknown mode `x`"),
            ("[tables.\"a.b\"]\nc = { 'ä' = 1, tpye = 1 }", 2, 16, "unknown key `tpye`"),
            ("[tables.\"a.b\"]\nc = { domain = \"\" }", 2, 16, "name for a domain"),
            ("[tables.\"a.b\"]\nc = { keyspace = \"a:b\" }", 2, 18, "name for a keyspace"),
            ("[tables.\"a.b\"]\n\"\" = {}", 2, 1, "cannot be a name"),
            ("[tables.\"a.b\"]\nc = { type = \"jsonb\", mode = \"deterministic\" }", 2, 30, "equal"),
            ("[tables.\"a.b\"\n", 1, 14, "not valid TOML"),
        ] {
            let found = error(text);
            assert!(found.2.contains(problem), "{text:?}: {found:?}");
            assert_eq!((found.0, found.1), (line, column), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn one_table_under_two_spellings_is_an_error() {
        let column = "c = { type = \"text\", mode = \"randomized\" }";
        let text = format!("[tables.'a.b']\n{column}\n[tables.'\"a\".b']\n{column}");
        assert!(error(&text).2.contains("twice"));
    }

    #[test]
    fn columns_of_one_domain_must_agree() {
        let first = r#"{ type = "text", mode = "deterministic", domain = "d" }"#;
        for (second, differs) in [
            (r#"{ type = "int4", mode = "deterministic", domain = "d" }"#, "type"),
            (r#"{ type = "text", mode = "randomized", domain = "d" }"#, "mode"),
            (r#"{ type = "text", mode = "deterministic", domain = "d", keyspace = "k" }"#, "keyspace"),
        ] {
            let found = error(&format!("[tables.\"a.b\"]\nc = {first}\nd = {second}"));
            assert!(found.2.contains(&format!("differ in `{differs}`")), "{found:?}");
            assert_eq!((found.0, found.1), (3, 1));
        }
        assert!(Policy::parse(&format!("[tables.\"a.b\"]\nc = {first}\nd = {first}")).is_ok());
    }
}
