//! The users that P knows, each with its TKp's. A live envelope holds its user, so that a burst sees
//! a withdrawal or a change without a look-up and without a lock.

use super::rejection::Rejection;
use arc_swap::{ArcSwapOption, Guard};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use trefoil_keys::bundle;

/// One user; the same for as long as the program runs.
pub(super) struct User(ArcSwapOption<Held>);

/// What is held of a user that is not withdrawn.
pub(super) struct Held {
    /// Another number for each replacement: TKa is then another one too.
    pub(super) generation: u64,
    /// TKp's by keyspace.
    pub(super) shares: bundle::Shares,
}

/// A look at what is held, and proof that the user was not withdrawn when it was taken.
pub(super) struct Look(Guard<Option<Arc<Held>>>);

impl User {
    /// The TKp's as they are now.
    pub(super) fn look(&self) -> Look {
        Look(self.0.load())
    }
}

impl Look {
    /// What is held.
    pub(super) fn held(&self) -> Result<&Held, Rejection> {
        self.0.as_deref().ok_or(Rejection::User)
    }
}

/// All users by UId; withdrawn ones may be among them.
#[derive(Default)]
pub(super) struct Users {
    by_id: RwLock<HashMap<String, Arc<User>>>,
}

impl Users {
    pub(super) fn get(&self, user: &str) -> Result<Arc<User>, Rejection> {
        let users = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        users.get(user).map(Arc::clone).ok_or(Rejection::User)
    }

    /// Puts TKp's in place of those before; `None` withdraws the user.
    pub(super) fn set(&self, user: &str, shares: Option<bundle::Shares>) {
        let mut users = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let held = |generation| shares.map(|shares| Arc::new(Held { generation, shares }));
        match users.get(user).map(AsRef::as_ref) {
            Some(User(known)) => {
                let before = known.load().as_ref().map_or(0, |held| held.generation);
                known.store(held(before + 1));
            }
            None => {
                users.insert(user.to_owned(), Arc::new(User(ArcSwapOption::new(held(1)))));
            }
        }
    }
}
