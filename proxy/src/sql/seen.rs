//! What the analysis of a text looked up in the catalog, so that its plan can be held against a newer
//! catalog without the text: a prepared statement may outlive what it names.

use super::path::Path;
use super::resolve::{Meaning, Names};
use super::{Context, Refusal, calls, children};
use crate::policy::QualifiedName;
use crate::policy::catalog::{Relation, TEXT_RUNNERS};
use pg_raw_parse::Node;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names that a text uses, with what they meant.
#[derive(Default)]
pub(crate) struct Seen {
    /// The version of the last catalog for which this was found to hold.
    holds_for: AtomicU64,
    relations: Vec<Name>,
    /// With what each was among those that are not PostgreSQL's own.
    functions: Vec<(String, Option<bool>)>,
}

struct Name {
    schema: Option<String>,
    name: String,
    /// All relations that it may mean.
    candidates: Vec<Arc<Relation>>,
    /// Whether it was, or may have been, the name of a protected table.
    sensitive: bool,
}

impl Seen {
    /// About how many bytes it holds; relations are the catalog's.
    pub(super) fn size(&self) -> usize {
        let relation = |name: &Name| {
            let schema = name.schema.as_ref().map_or(0, String::len);
            size_of::<Name>() + schema + name.name.len() + size_of_val(&*name.candidates)
        };
        let function = |(name, _): &(String, Option<bool>)| size_of::<(String, Option<bool>)>() + name.len();
        self.relations.iter().map(relation).sum::<usize>()
            + self.functions.iter().map(function).sum::<usize>()
    }

    /// Gives back what memory it has and does not need.
    pub(super) fn shrink(&mut self) {
        self.relations.shrink_to_fit();
        self.functions.shrink_to_fit();
    }

    /// Adds what a statement names.
    pub(super) fn add(&mut self, statement: Node<'_>, names: Names<'_>) -> Result<(), Refusal> {
        if names.policy.is_empty() {
            return Ok(());
        }
        children::walk(statement, |node| {
            match node {
                Node::RangeVar(range) => {
                    let name = range.relname().unwrap_or_default();
                    self.function(name, names);
                    let by_path = names.schema_by_path(range.schemaname(), name);
                    let schema = range.schemaname().or(by_path);
                    self.relations.push(Name {
                        schema: schema.map(str::to_owned),
                        name: name.to_owned(),
                        candidates: candidates(schema, name, names),
                        sensitive: is_sensitive(schema, name, names),
                    });
                }
                Node::FuncCall(call) => {
                    let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
                    self.function(name, names);
                }
                Node::ColumnRef(column) if column.fields().iter().count() > 1 => {
                    let last = column.fields().iter().next_back().and_then(Node::as_str);
                    last.into_iter().for_each(|name| self.function(name, names));
                }
                _ => calls::named(node).into_iter().for_each(|(name, _)| self.function(name, names)),
            }
            Ok(())
        })
    }

    fn function(&mut self, name: &str, names: Names<'_>) {
        // The policy's own exceptions are not among the names that are looked up here.
        if !names.catalog.function_reaches(name)
            && !TEXT_RUNNERS.contains(&name)
            && !self.functions.iter().any(|(seen, _)| seen == name)
        {
            self.functions.push((name.to_owned(), names.catalog.own_function(name)));
        }
    }

    /// It was looked up in the catalog of this version.
    pub(super) fn found_in(&mut self, version: u64) {
        *self.holds_for.get_mut() = version;
    }

    /// Whether a plan by this means the same under another catalog: where it is over protected tables,
    /// every relation must be as it was; where it is not, none may have become one of them.
    pub(super) fn holds(&self, protected: bool, context: &Context<'_>) -> bool {
        let version = context.catalog.version();
        if self.holds_for.load(Ordering::Relaxed) == version {
            return true;
        }
        // What the path decided was qualified by it.
        let path = Path::new(None);
        let names = Names { policy: context.policy, catalog: context.catalog, path: &path };
        let same = |name: &Name| {
            let schema = name.schema.as_deref();
            if protected {
                candidates(schema, &name.name, names) == name.candidates
            } else {
                name.sensitive
                    || (!is_sensitive(schema, &name.name, names)
                        && over(&candidates(schema, &name.name, names)).eq(over(&name.candidates)))
            }
        };
        let holds = self.relations.iter().all(same)
            && self.functions.iter().all(|(name, own)| {
                !names.catalog.function_reaches(name) && names.catalog.own_function(name) == *own
            });
        if holds {
            self.holds_for.store(version, Ordering::Relaxed);
        }
        holds
    }
}

fn is_sensitive(schema: Option<&str>, name: &str, names: Names<'_>) -> bool {
    !matches!(names.meaning(schema, name), Meaning::Plain(_) | Meaning::Unknown)
}

/// The protected tables that are read through what a name may mean.
fn over(candidates: &[Arc<Relation>]) -> impl Iterator<Item = &QualifiedName> {
    candidates.iter().flat_map(|relation| &relation.over)
}

fn candidates(schema: Option<&str>, name: &str, names: Names<'_>) -> Vec<Arc<Relation>> {
    let is_meant = |relation: &&Arc<Relation>| schema.is_none_or(|schema| relation.name.schema == schema);
    names.catalog.named(name).iter().filter(is_meant).cloned().collect()
}
