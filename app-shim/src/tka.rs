//! The application's shares TKa of all users, in the text form that goes with their requests. A
//! request sees all of one user's shares as they are at that moment; each change is seen by the next.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use trefoil_keys::bundle;
use trefoil_keys::carrier::{MalformedCarrier, app_share};
use zeroize::Zeroizing;

/// A user's shares as text.
pub(crate) type Text = Zeroizing<String>;

/// All users' shares.
#[derive(Default)]
pub(crate) struct ApplicationShares(RwLock<HashMap<String, Text>>);

impl ApplicationShares {
    /// Those of these users.
    pub(crate) fn new(users: HashMap<String, Text>) -> Self {
        Self(RwLock::new(users))
    }

    /// Shows a user's shares, which are empty for one that is not known.
    pub(crate) fn of<T>(&self, user: &str, look: impl FnOnce(&str) -> T) -> T {
        let users = self.0.read().unwrap_or_else(PoisonError::into_inner);
        look(users.get(user).map_or("", |shares| shares.as_str()))
    }

    /// Puts shares in place of those that these users have.
    pub(crate) fn put(&self, changed: Vec<(String, Text)>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(changed);
    }

    /// Takes a user's shares away.
    pub(crate) fn remove(&self, user: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(user);
    }
}

/// A user's shares as they go with a request. An error is a keyspace whose name cannot stand there.
pub(crate) fn text(shares: &bundle::Shares) -> Result<Text, MalformedCarrier> {
    app_share::format(shares.iter().map(|(keyspace, issued)| (keyspace.as_str(), &issued.share)))
}
