//! From a statement text to its plan: the cache that all sessions share, and the catalog that one
//! session sees.

use super::parameters::Parameters;
use crate::error::{ClientError, Code};
use crate::policy::{Policy, catalog::Catalog};
use crate::sql::{self, Context, Plan, Refusal};
use quick_cache::{Equivalent, Weighter, sync::Cache};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What an entry costs beside its text; plans are small.
const OVERHEAD: u64 = 512;

struct Key {
    catalog: u64,
    text: Box<[u8]>,
}

struct Lookup<'a>(u64, &'a [u8]);

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Lookup(self.catalog, &self.text).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (self.catalog, &self.text) == (other.catalog, &other.text)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.0, self.1) == (key.catalog, &key.text)
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Arc<Plan>> for Weigh {
    fn weight(&self, key: &Key, _: &Arc<Plan>) -> u64 {
        OVERHEAD + u64::try_from(key.text.len()).unwrap_or(u64::MAX)
    }
}

/// What makes a plan of a text: [`sql::analyze`], but for tests of the session alone.
pub type Analyze = fn(&[u8], &Context<'_>) -> Result<Plan, Refusal>;

/// Plans by text and catalog, shared by all sessions.
pub struct Plans {
    policy: Arc<Policy>,
    cache: Cache<Key, Arc<Plan>, Weigh>,
    analyze: Analyze,
}

impl Plans {
    /// A cache of so many bytes.
    pub fn new(policy: Arc<Policy>, bytes: u64) -> Self {
        Self::with_analysis(policy, bytes, sql::analyze)
    }

    /// The same with another analysis.
    pub fn with_analysis(policy: Arc<Policy>, bytes: u64, analyze: Analyze) -> Self {
        let items = usize::try_from(bytes / (2 * OVERHEAD)).unwrap_or(usize::MAX);
        Self { policy, cache: Cache::with_weighter(items, bytes, Weigh), analyze }
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The plan of a text.
    pub(super) fn plan(
        &self,
        text: &[u8],
        catalog: &Arc<Catalog>,
        parameters: &Parameters,
        prepared: &dyn Fn(&str) -> Option<Arc<Plan>>,
    ) -> Result<Arc<Plan>, Refusal> {
        parameters.check_text(text).map_err(Refusal::Refused)?;
        let plan = match self.cache.get(&Lookup(catalog.version(), text)) {
            Some(plan) => plan,
            None => {
                let context = Context { policy: &self.policy, catalog, prepared };
                let plan = Arc::new((self.analyze)(text, &context)?);
                if plan.cacheable() {
                    self.cache
                        .insert(Key { catalog: catalog.version(), text: text.into() }, Arc::clone(&plan));
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
        Ok(plan)
    }
}
