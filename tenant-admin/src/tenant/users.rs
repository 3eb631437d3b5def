//! Users: each change becomes a signed command in the outbox.

use super::grants::Grants;
use super::history::{Event, UserOp};
use super::keyspace::IssuedTriple;
use super::outbox::{Former, Halves, Work};
use super::renewal::{MAX_BATCH_BYTES, size};
use super::{Tenant, TenantError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use trefoil_keys::bundle::{IssuedShare, Shares, UserBundle, Version};
use trefoil_keys::command::MAX_BATCH;

/// A user.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) state: State,
    /// TKu by keyspace. Empty if the user is withdrawn, or if a recovered vault does not have it.
    pub(crate) shares: Shares,
    /// Why it has these shares. Nothing if the user is withdrawn, or if a recovered vault does not know.
    #[serde(default)]
    pub(crate) grants: Grants,
    /// How often this share was written to a file.
    pub(crate) exports: u32,
    /// Whether the user may have got another share since, by a newer copy of this vault.
    #[serde(default)]
    pub(crate) outdated: bool,
}

/// Whether a user has access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Active,
    Withdrawn,
}

impl User {
    /// Granted keyspaces, with the epochs of their shares.
    pub(crate) fn keyspaces(&self) -> BTreeMap<String, u8> {
        self.shares.iter().map(|(keyspace, share)| (keyspace.clone(), share.epoch)).collect()
    }

    /// A user with these shares, which are the newest, and the grants that they are of.
    pub(super) fn active(shares: Shares, grants: Grants) -> Self {
        Self { state: State::Active, shares, grants, exports: 0, outdated: false }
    }

    fn without_share(state: State) -> Self {
        Self { state, ..Self::active(Shares::new(), Grants::default()) }
    }

    /// What it goes back to if the next command is refused.
    pub(super) fn before(&self) -> Former {
        Former {
            shares: duplicate(&self.shares),
            exports: self.exports,
            grants: self.grants.clone(),
            outdated: self.outdated,
        }
    }

    /// Whether the vault has the share that counts, for certain.
    pub(crate) fn has_share(&self) -> bool {
        !self.shares.is_empty() && !self.outdated
    }
}

/// A copy that somebody asked for by name.
pub(super) fn duplicate(shares: &Shares) -> Shares {
    let one = |share: &IssuedShare| IssuedShare { epoch: share.epoch, share: share.share.duplicate() };
    shares.iter().map(|(keyspace, share)| (keyspace.clone(), one(share))).collect()
}

/// TKu's for the vault; TKa's and TKp's for the command.
pub(super) fn separate(triples: impl Iterator<Item = (String, IssuedTriple)>) -> (Shares, Halves) {
    let (mut user, mut halves) = (Shares::new(), Halves::default());
    for (keyspace, triple) in triples {
        user.insert(keyspace.clone(), triple.user);
        halves.application.insert(keyspace.clone(), triple.application);
        halves.proxy.insert(keyspace, triple.proxy);
    }
    (user, halves)
}

impl Tenant {
    /// Makes a new user with these grants, each keyspace by a fresh triple.
    pub(crate) fn add_user(&mut self, uid: &str, grants: &Grants, now: u64) -> Result<(), TenantError> {
        self.require_new(uid)?;
        let (shares, halves) = self.fresh_triples(grants);
        let user = User::active(shares, grants.clone());
        self.user_command(UserOp::Add, uid, user.keyspaces(), None, Some(halves), now)?;
        self.users.insert(uid.to_owned(), user);
        Ok(())
    }

    /// The same for several, by as few commands as can be.
    pub(crate) fn add_users(
        &mut self,
        uids: &[String],
        grants: &Grants,
        now: u64,
    ) -> Result<(), TenantError> {
        if let [uid] = uids {
            return self.add_user(uid, grants, now);
        }
        let keyspaces = self.granted(grants);
        let mut batch = BTreeMap::new();
        let mut room = MAX_BATCH_BYTES;
        for uid in uids {
            self.require_new(uid)?;
            let size = size(uid, keyspaces.iter());
            if batch.len() == MAX_BATCH || size > room {
                self.add_batch(std::mem::take(&mut batch), &keyspaces, now)?;
                room = MAX_BATCH_BYTES;
            }
            room = room.saturating_sub(size);
            let (shares, halves) = self.fresh_triples(grants);
            let user = User::active(shares, grants.clone());
            self.users.insert(uid.clone(), user);
            batch.insert(uid.clone(), halves);
        }
        self.add_batch(batch, &keyspaces, now)
    }

    fn add_batch(
        &mut self,
        batch: BTreeMap<String, Halves>,
        keyspaces: &BTreeSet<String>,
        now: u64,
    ) -> Result<(), TenantError> {
        let users: Vec<String> = batch.keys().cloned().collect();
        let (Some(first), Some(last)) = (users.first().cloned(), users.last().cloned()) else {
            return Ok(());
        };
        let seq = self.queue(Work::AddBatch { first, last, count: users.len() }, batch, now)?;
        let keyspaces = self.epochs().into_iter().filter(|(name, _)| keyspaces.contains(name)).collect();
        self.record(now, Event::UsersAdded { seq, users, keyspaces });
        Ok(())
    }

    fn require_new(&self, uid: &str) -> Result<(), TenantError> {
        match self.users.get(uid).map(|user| user.state) {
            Some(State::Active) => Err(TenantError::UserExists(uid.to_owned())),
            Some(State::Withdrawn) => Err(TenantError::UidUsed(uid.to_owned())),
            None => Ok(()),
        }
    }

    /// Gives the user fresh triples; the old ones die when the proxy applies the command.
    pub(crate) fn rekey_user(&mut self, uid: &str, now: u64) -> Result<(), TenantError> {
        let user = self.active(uid)?;
        let former = user.before();
        let grants = self.grants_for_rekey(uid)?;
        let (shares, halves) = self.fresh_triples(&grants);
        let user = User::active(shares, grants);
        self.user_command(UserOp::Change, uid, user.keyspaces(), Some(former), Some(halves), now)?;
        self.users.insert(uid.to_owned(), user);
        Ok(())
    }

    /// Takes the user's access away, for good.
    pub(crate) fn withdraw_user(&mut self, uid: &str, now: u64) -> Result<(), TenantError> {
        let user = self.user(uid)?;
        if user.state == State::Withdrawn {
            return Err(TenantError::AlreadyWithdrawn(uid.to_owned()));
        }
        // Kept until the proxy has confirmed: it may refuse.
        let former = user.before();
        let keyspaces = user.keyspaces();
        self.user_command(UserOp::Withdraw, uid, keyspaces, Some(former), None, now)?;
        self.users.insert(uid.to_owned(), User::without_share(State::Withdrawn));
        Ok(())
    }

    /// What the user's agent needs. `lost`: the caller knows that the share was exported before, and asks
    /// for it again deliberately.
    pub(crate) fn export_user(&mut self, uid: &str, lost: bool, now: u64) -> Result<UserBundle, TenantError> {
        let user = self.active(uid)?;
        if !user.has_share() {
            return Err(TenantError::ShareUnknown(uid.to_owned()));
        }
        let again = user.exports > 0;
        if again && !lost {
            return Err(TenantError::ExportedBefore(uid.to_owned()));
        }
        let bundle = UserBundle {
            version: Version,
            tenant: self.name.clone(),
            user: uid.to_owned(),
            audience: self.application.clone(),
            envelope_key: self.envelope_key()?.to_jwk(),
            announcement_key: Some(self.signing_key.verifying_key().clone()),
            announcement_serial: self.announcements,
            shares: duplicate(&user.shares),
        };
        if let Some(user) = self.users.get_mut(uid) {
            user.exports = user.exports.saturating_add(1);
        }
        self.record(now, Event::UserExported { user: uid.to_owned(), again });
        Ok(bundle)
    }

    /// Takes over a user that the application knows and a recovered vault does not. False if it is known.
    pub(crate) fn find_user(&mut self, uid: &str, now: u64) -> bool {
        if self.users.contains_key(uid) {
            return false;
        }
        self.users.insert(uid.to_owned(), User::without_share(State::Active));
        self.record(now, Event::UserFound { user: uid.to_owned() });
        true
    }

    /// The user, withdrawn or not.
    pub(crate) fn user(&self, uid: &str) -> Result<&User, TenantError> {
        self.users.get(uid).ok_or_else(|| TenantError::UserUnknown(uid.to_owned()))
    }

    /// All users, withdrawn ones too, by UId.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(uid, user)| (uid.as_str(), user))
    }

    /// Active users behind `after` in the order of their UIds.
    pub(super) fn active_after(&self, after: Option<&str>) -> impl Iterator<Item = (&str, &User)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let users = self.users.range::<str, _>((from, Unbounded));
        users.filter(|(_, user)| user.state == State::Active).map(|(uid, user)| (uid.as_str(), user))
    }

    /// Undoes what a refused command had done to its user.
    pub(super) fn revert_user(&mut self, op: UserOp, uid: &str, former: Option<Former>) {
        match (op, former) {
            (UserOp::Add, _) => drop(self.users.remove(uid)),
            (UserOp::Change | UserOp::Withdraw, Some(Former { shares, exports, grants, outdated })) => {
                let user = User { state: State::Active, shares, grants, exports, outdated };
                self.users.insert(uid.to_owned(), user);
            }
            (UserOp::Change | UserOp::Withdraw, None) => {}
        }
    }

    /// Takes the proxy's word that the user was withdrawn; false if the vault has no such user, or knows.
    pub(super) fn learn_withdrawal(&mut self, uid: &str, now: u64) -> bool {
        let Some(user) = self.users.get_mut(uid).filter(|user| user.state == State::Active) else {
            return false;
        };
        *user = User::without_share(State::Withdrawn);
        self.record(now, Event::WithdrawalFound { user: uid.to_owned() });
        true
    }

    /// From here on no share is certain but those that the outbox has for the proxy, nor, where there are
    /// several keyspaces, which of them the users have; how many are not.
    pub(super) fn doubt_shares(&mut self, but: impl Fn(&str) -> bool) -> usize {
        let one_keyspace = self.keyspaces.len() == 1;
        let users = self.users.iter_mut().filter(|(uid, user)| user.has_share() && !but(uid));
        let doubt = |(_, user): (_, &mut User)| {
            user.outdated = true;
            if !one_keyspace {
                user.grants = Grants::default();
            }
        };
        users.map(doubt).count()
    }

    pub(super) fn active(&self, uid: &str) -> Result<&User, TenantError> {
        let user = self.user(uid)?;
        match user.state {
            State::Active => Ok(user),
            State::Withdrawn => Err(TenantError::UserWithdrawn(uid.to_owned())),
        }
    }

    fn fresh_triples(&self, grants: &Grants) -> (Shares, Halves) {
        let granted = self.granted(grants);
        let keyspaces = self.keyspaces.iter().filter(|(name, _)| granted.contains(*name));
        separate(keyspaces.map(|(name, keyspace)| (name.clone(), keyspace.split())))
    }

    fn user_command(
        &mut self,
        op: UserOp,
        uid: &str,
        keyspaces: BTreeMap<String, u8>,
        former: Option<Former>,
        halves: Option<Halves>,
        now: u64,
    ) -> Result<(), TenantError> {
        let work = Work::User { op, uid: uid.to_owned(), former };
        let shares = halves.into_iter().map(|halves| (uid.to_owned(), halves)).collect();
        let seq = self.queue(work, shares, now)?;
        self.record(now, Event::UserCommand { op, user: uid.to_owned(), seq, keyspaces });
        Ok(())
    }
}
