//! From a statement text to its plan: the cache that all sessions share, and the catalog that one
//! session sees.

use super::parameters::Parameters;
use crate::error::{ClientError, Code};
use crate::policy::{Policy, catalog::Catalog};
use crate::sql::{self, Context, Plan, Refusal, SearchPath, Shape};
use quick_cache::{Equivalent, Weighter, sync::Cache};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What an entry costs beside its text and what its plan holds: the plan itself, the cache's own, and what the
/// allocator adds, as measured.
const OVERHEAD: u64 = 720;

/// The tree of a text of so many bytes or more may take much memory, and long to be made.
const LARGE: usize = 512 * 1024;

/// One at a time in the whole program, while other tasks of this thread go on elsewhere.
fn alone<T>(analyze: impl FnOnce() -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    tokio::task::block_in_place(|| {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        analyze()
    })
}

struct Key {
    catalog: u64,
    /// Where the text's meaning depends on it.
    path: Option<Arc<SearchPath>>,
    text: Text<Box<[u8]>>,
}

/// A text, or the text of a shape, whose marks a text could have, too.
#[derive(Clone, Copy, Hash, PartialEq, Eq)]
enum Text<T> {
    Own(T),
    Shape(T),
}

impl<T: AsRef<[u8]>> Text<T> {
    fn as_bytes(&self) -> Text<&[u8]> {
        match self {
            Self::Own(text) => Text::Own(text.as_ref()),
            Self::Shape(text) => Text::Shape(text.as_ref()),
        }
    }
}

impl Text<&[u8]> {
    fn to_key(self) -> Text<Box<[u8]>> {
        match self {
            Self::Own(text) => Text::Own(text.into()),
            Self::Shape(text) => Text::Shape(text.into()),
        }
    }
}

struct Lookup<'a>(u64, Option<&'a SearchPath>, Text<&'a [u8]>);

#[derive(Clone)]
enum Entry {
    Plan(Arc<Plan>),
    /// The text's plans are kept by search path.
    ByPath,
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
        self.2.hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Lookup(self.catalog, self.path.as_deref(), self.text.as_bytes()).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (self.catalog, &self.path, &self.text) == (other.catalog, &other.path, &other.text)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.0, self.1, self.2) == (key.catalog, key.path.as_deref(), key.text.as_bytes())
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Entry> for Weigh {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        let plan = match entry {
            Entry::Plan(plan) => plan.size(),
            Entry::ByPath => 0,
        };
        let (Text::Own(text) | Text::Shape(text)) = &key.text;
        OVERHEAD + u64::try_from(text.len() + plan).unwrap_or(u64::MAX)
    }
}

/// What makes a plan of a text: [`sql::analyze_by`], but for tests of the session alone.
pub type Analyze = fn(&[u8], &Context<'_>, Option<&Arc<SearchPath>>) -> (Result<Plan, Refusal>, bool);

/// Plans by text and catalog, shared by all sessions.
pub struct Plans {
    policy: Arc<Policy>,
    cache: Cache<Key, Entry, Weigh>,
    hits: AtomicU64,
    misses: AtomicU64,
    analyze: Analyze,
    /// Whether an audit log is kept, so that plans say what it gets of their statements.
    audited: bool,
}

/// How well the cache of plans does, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Texts whose plan was there.
    pub hits: u64,
    /// Texts that were analysed.
    pub misses: u64,
    /// Plans kept now.
    pub plans: usize,
    /// Bytes that they are taken to cost.
    pub bytes: u64,
}

impl Plans {
    /// A cache of so many bytes. `audited` says whether an audit log is kept.
    pub fn new(policy: Arc<Policy>, bytes: u64, audited: bool) -> Self {
        Self { audited, ..Self::with_analysis(policy, bytes, sql::analyze_by) }
    }

    /// The same with another analysis, and without an audit log.
    pub fn with_analysis(policy: Arc<Policy>, bytes: u64, analyze: Analyze) -> Self {
        let items = usize::try_from(bytes / (2 * OVERHEAD)).unwrap_or(usize::MAX);
        Self {
            policy,
            cache: Cache::with_weighter(items, bytes, Weigh),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            analyze,
            audited: false,
        }
    }

    /// How well the cache does.
    pub fn figures(&self) -> Figures {
        Figures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            plans: self.cache.len(),
            bytes: self.cache.weight(),
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The plan of a text; `None` if it depends on the search path, which is not known.
    pub(super) fn plan(
        &self,
        text: &[u8],
        catalog: &Arc<Catalog>,
        parameters: &Parameters,
        prepared: &dyn Fn(&str) -> Option<Arc<Plan>>,
        path: Option<&Arc<SearchPath>>,
    ) -> Result<Option<Arc<Plan>>, Refusal> {
        parameters.check_text(text).map_err(Refusal::Refused)?;
        let shape = Shape::of(text);
        let shaped =
            shape.as_ref().and_then(|shape| match self.kept(Text::Shape(&shape.text), catalog, path)? {
                Entry::Plan(plan) if !plan.serves(text, shape) => None,
                entry => Some(entry),
            });
        let plan = match shaped.or_else(|| self.kept(Text::Own(text), catalog, path)) {
            Some(Entry::Plan(plan)) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                plan
            }
            Some(Entry::ByPath) => return Ok(None),
            None => {
                self.misses.fetch_add(1, Ordering::Relaxed);
                let context = Context { policy: &self.policy, catalog, prepared, audited: self.audited };
                let analyze = || (self.analyze)(text, &context, path);
                let (outcome, by_path) = if text.len() < LARGE { analyze() } else { alone(analyze) };
                if by_path && path.is_none() {
                    return Ok(None);
                }
                let mut plan = outcome?;
                let shape = shape.filter(|shape| {
                    plan.is_inert() && shape.has_only_numbers() || plan.generalize(text, shape)
                });
                let keeps = shape.is_some() || plan.cacheable();
                if keeps {
                    plan.shrink();
                }
                let plan = Arc::new(plan);
                let text = shape.as_ref().map_or(Text::Own(text), |shape| Text::Shape(&shape.text));
                if keeps {
                    self.keep(text, catalog, Entry::Plan(Arc::clone(&plan)), plan.path.clone());
                    if plan.path.is_some() {
                        self.keep(text, catalog, Entry::ByPath, None);
                    }
                }
                plan
            }
        };
        if (plan.protected || plan.names_by_encoding()) && !parameters.suit_protection() {
            return Err(Refusal::Refused(ClientError::refused(
                Code::SessionForm,
                "protected columns need standard_conforming_strings on and client_encoding UTF8",
                "Set both for this session.",
            )));
        }
        Ok(Some(plan))
    }

    fn kept(&self, text: Text<&[u8]>, catalog: &Catalog, path: Option<&Arc<SearchPath>>) -> Option<Entry> {
        match self.cache.get(&Lookup(catalog.version(), None, text))? {
            Entry::ByPath if path.is_some() => {
                self.cache.get(&Lookup(catalog.version(), path.map(AsRef::as_ref), text))
            }
            entry => Some(entry),
        }
    }

    fn keep(&self, text: Text<&[u8]>, catalog: &Catalog, entry: Entry, path: Option<Arc<SearchPath>>) {
        self.cache.insert(Key { catalog: catalog.version(), path, text: text.to_key() }, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ClientError;

    /// Which of these texts, one after the other, are analysed; none of those that are refused.
    fn misses(path: Option<&[&str]>, texts: &[&str]) -> Vec<Option<bool>> {
        let policy = "[tables.\"public.people\"]\nssn = { type = \"text\", mode = \"deterministic\" }";
        let policy = Arc::new(Policy::parse(policy).unwrap());
        let schema =
            "CREATE TABLE people (id int, ssn text); CREATE SCHEMA other; CREATE TABLE other.people (id int)";
        let schema = if path.is_some() { schema } else { "CREATE TABLE people (id int, ssn text)" };
        let catalog = sql::schema(schema, &policy).unwrap();
        let path = path.map(|schemas| {
            let schemas: Vec<String> = schemas.iter().map(|schema| (*schema).to_owned()).collect();
            Arc::new(SearchPath::new(schemas.clone(), schemas.first().cloned()))
        });
        let plans = Plans::new(policy, 1 << 20, false);
        let mut parameters = Parameters::default();
        parameters.set(b"client_encoding", b"UTF8");
        let missed = |text: &&str| {
            let before = plans.figures().misses;
            let plan = plans.plan(text.as_bytes(), &catalog, &parameters, &|_| None, path.as_ref());
            let plan = plan.ok()??;
            let mut sealed = Vec::new();
            let sent = plan.rewrite(
                text.as_bytes(),
                |_, literal, _, _, _| {
                    sealed.push(literal.to_owned());
                    Ok::<(), ClientError>(())
                },
                |_| String::new(),
            );
            let sent = String::from_utf8(sent.unwrap()).unwrap();
            assert!(sealed.iter().all(|value| text.contains(value) && !sent.contains(value)), "{sent}");
            Some(plans.figures().misses > before)
        };
        texts.iter().map(missed).collect()
    }

    #[test]
    fn a_text_with_the_mark_of_a_literal_is_none_of_the_shape() {
        let texts =
            ["SELECT id FROM people WHERE ssn = '078-05-1120'", "SELECT id FROM people WHERE ssn = \u{2}"];
        assert_eq!(misses(None, &texts), [Some(true), None]);
    }

    #[test]
    fn texts_that_differ_in_protected_values_are_analysed_once() {
        let texts = [
            "SELECT id FROM people WHERE ssn = '078-05-1120' LIMIT 10",
            "SELECT id FROM people WHERE ssn = '078-05-1121' LIMIT 10",
            // Fixed: another plan.
            "SELECT id FROM people WHERE ssn = '078-05-1122' LIMIT 20",
            "SELECT id FROM people WHERE ssn = '078-05-1123' LIMIT 20",
            "INSERT INTO people VALUES (1, 'x-1')",
            "INSERT INTO people VALUES (4711, 'x-2')",
            "INSERT INTO people VALUES (4712, E'x-3')",
            "INSERT INTO people VALUES (4713, E'x-4')",
        ];
        let expected = [true, false, true, false, true, false, true, true].map(Some);
        assert_eq!(misses(None, &texts), expected);
        assert_eq!(misses(Some(&["public", "other"]), &texts), expected);
    }
}
