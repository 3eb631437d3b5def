//! New TKa's and TKp's for all users in batches, TKu's unchanged: after application or proxy were
//! compromised. How far it came stands in the vault, so that it can go on after an interruption.

use super::history::Event;
use super::outbox::Work;
use super::users::separate;
use super::{Tenant, TenantError};
use serde::{Deserialize, Serialize};
use trefoil_keys::command::MAX_BATCH;

/// Most bytes of UIds, keyspaces and shares in one batch: it is encoded three times over on its way, and
/// its size limited there.
pub(super) const MAX_BATCH_BYTES: usize = 1 << 20;
/// Of a share in JSON, beside the keyspace's name.
const SHARE_BYTES: usize = 80;

/// A renewal that has not come to the last user yet.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renewal {
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// The last user that a command was made for.
    pub(crate) after: Option<String>,
    /// Users that commands were made for.
    pub(crate) done: usize,
}

impl Tenant {
    /// The renewal that goes on, if there is one.
    pub(crate) fn renewal(&self) -> Option<&Renewal> {
        self.renewal.as_ref()
    }

    /// Begins a renewal, unless one goes on.
    pub(crate) fn begin_renewal(&mut self, now: u64) {
        self.renewal.get_or_insert(Renewal { started: now, after: None, done: 0 });
    }

    /// All users are to be renewed, those that a renewal has come to already as well.
    pub(crate) fn begin_renewal_again(&mut self, now: u64) {
        self.renewal = None;
        self.begin_renewal(now);
    }

    /// Users that the renewal still has to come to.
    pub(crate) fn left_to_renew(&self) -> usize {
        let after = self.renewal.as_ref().and_then(|renewal| renewal.after.as_deref());
        self.active_after(after).filter(|(_, user)| user.has_share()).count()
    }

    /// Active users whose TKu a recovered vault does not have, or an older copy not for certain: only a new
    /// triple renews them.
    pub(crate) fn without_share(&self) -> impl Iterator<Item = &str> {
        self.active_after(None).filter(|(_, user)| !user.has_share()).map(|(uid, _)| uid)
    }

    /// Makes the next batch's command, of at most `limit` users, and says of how many; none, and the end of
    /// the renewal, once all users have had theirs.
    pub(crate) fn renew_next(&mut self, limit: usize, now: u64) -> Result<Option<usize>, TenantError> {
        let Some(Renewal { after, .. }) = &self.renewal else { return Ok(None) };
        let mut room = MAX_BATCH_BYTES;
        let mut shares = std::collections::BTreeMap::new();
        let users = self.active_after(after.as_deref()).filter(|(_, user)| user.has_share());
        for (uid, user) in users.take(limit.min(MAX_BATCH)) {
            let size = size(uid, user.shares.keys());
            if size > room && !shares.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            let triples = user.shares.iter().filter_map(|(name, share)| {
                let keyspace = self.keyspaces.get(name)?;
                Some((name.clone(), keyspace.split_beside(&share.share)))
            });
            shares.insert(uid.to_owned(), separate(triples).1);
        }
        let (Some((first, _)), Some((last, _))) = (shares.first_key_value(), shares.last_key_value()) else {
            self.renewal = None;
            return Ok(None);
        };
        let (first, last, count) = (first.clone(), last.clone(), shares.len());
        let work = Work::Renew { first: first.clone(), last: last.clone(), count };
        let seq = self.queue(work, shares, now)?;
        self.record(now, Event::SharesRenewed { seq, first, last: last.clone(), count });
        if let Some(renewal) = &mut self.renewal {
            renewal.after = Some(last);
            renewal.done += count;
        }
        Ok(Some(count))
    }

    /// A refused batch is to be renewed once more, and what came behind it as well.
    pub(super) fn renew_again_from(&mut self, first: &str, count: usize, now: u64) {
        let before = self.users().map(|(uid, _)| uid).take_while(|uid| *uid < first).last();
        let before = before.map(str::to_owned);
        let (started, after, done) = match self.renewal.take() {
            Some(Renewal { started, after, done }) => (started, before.min(after), done),
            None => (now, before, count),
        };
        self.renewal = Some(Renewal { started, after, done: done.saturating_sub(count) });
    }
}

/// About how many bytes a user with shares of these keyspaces takes in a batch.
pub(super) fn size<'a>(uid: &str, keyspaces: impl Iterator<Item = &'a String>) -> usize {
    // Quotes and backslashes double in JSON.
    2 * uid.len() + keyspaces.map(|keyspace| keyspace.len() + SHARE_BYTES).sum::<usize>()
}
