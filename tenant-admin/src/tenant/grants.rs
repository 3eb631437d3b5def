//! What users are granted: keyspaces of their own, and roles, which are named sets of keyspaces.
//!
//! Grants are what the tenant wants; a user's shares are what it has. A command brings them in line: a
//! keyspace that stays keeps its TKu, beside which TKa and TKp are new; one that comes gets a fresh triple;
//! one that goes is in the maps of application and proxy no more, and its TKu leaves the vault. Invariant:
//! an active user's grants come to one keyspace at least, but for users that a recovered vault has found
//! and nobody has granted anything yet.

use super::history::Event;
use super::outbox::{Former, Halves, Work};
use super::renewal::{MAX_BATCH_BYTES, size};
use super::users::{State, User, separate};
use super::{Tenant, TenantError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use trefoil_keys::command::MAX_BATCH;

/// Keyspaces by the role's name.
pub(crate) type Roles = BTreeMap<String, BTreeSet<String>>;

/// The keyspace that a user gets where nobody says which.
const DEFAULT: &str = "main";

/// What a user is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grants {
    /// Granted to the user itself.
    pub(crate) keyspaces: BTreeSet<String>,
    /// Roles that the user has.
    pub(crate) roles: BTreeSet<String>,
}

impl Grants {
    fn is_empty(&self) -> bool {
        self.keyspaces.is_empty() && self.roles.is_empty()
    }
}

/// How a user's keyspaces were changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Regranted {
    pub(crate) user: String,
    /// All that it has now.
    pub(crate) keyspaces: BTreeSet<String>,
    /// New ones: the user needs a new bundle for them.
    pub(crate) gained: BTreeSet<String>,
    pub(crate) lost: BTreeSet<String>,
}

impl Tenant {
    /// The roles.
    pub(crate) fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The active users that have a role.
    pub(crate) fn members<'t>(&'t self, role: &'t str) -> impl Iterator<Item = &'t str> {
        self.active_after(None).filter(|(_, user)| user.grants.roles.contains(role)).map(|(uid, _)| uid)
    }

    /// Grants of these keyspaces and roles, which must be there.
    pub(crate) fn known_grants(&self, keyspaces: &[String], roles: &[String]) -> Result<Grants, TenantError> {
        if let Some(role) = roles.iter().find(|role| !self.roles.contains_key(*role)) {
            return Err(TenantError::RoleUnknown(role.clone()));
        }
        let keyspaces = self.known_keyspaces(keyspaces)?;
        Ok(Grants { keyspaces, roles: roles.iter().cloned().collect() })
    }

    fn known_keyspaces(&self, names: &[String]) -> Result<BTreeSet<String>, TenantError> {
        match names.iter().find(|name| !self.keyspaces.contains_key(*name)) {
            Some(unknown) => {
                let known: Vec<&str> = self.keyspaces.keys().map(String::as_str).collect();
                Err(TenantError::KeyspaceUnknown { name: unknown.clone(), known: known.join(", ") })
            }
            None => Ok(names.iter().cloned().collect()),
        }
    }

    /// What a user gets where nobody says: the only keyspace, else `main`. A keyspace is there to keep most
    /// users out of it.
    pub(crate) fn default_grants(&self) -> Result<Grants, TenantError> {
        let only = self.keyspaces.keys().next().filter(|_| self.keyspaces.len() == 1);
        let main = self.keyspaces.keys().find(|name| *name == DEFAULT);
        let name = only.or(main).ok_or(TenantError::GrantsNeeded)?;
        Ok(Grants { keyspaces: [name.clone()].into(), roles: BTreeSet::new() })
    }

    /// The keyspaces that grants come to.
    pub(crate) fn granted(&self, grants: &Grants) -> BTreeSet<String> {
        let by_role = grants.roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        let all = grants.keyspaces.iter().chain(by_role);
        all.filter(|name| self.keyspaces.contains_key(*name)).cloned().collect()
    }

    /// The keyspaces that a user has by roles and not by itself, with these roles.
    pub(crate) fn by_role(&self, user: &User) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for role in &user.grants.roles {
            let keyspaces = self.roles.get(role).into_iter().flatten();
            for keyspace in keyspaces.filter(|name| !user.grants.keyspaces.contains(*name)) {
                found.entry(keyspace.clone()).or_default().push(role.clone());
            }
        }
        found
    }

    /// Gives a user more.
    pub(crate) fn grant(
        &mut self,
        uid: &str,
        more: &Grants,
        now: u64,
    ) -> Result<Vec<Regranted>, TenantError> {
        let mut grants = self.active(uid)?.grants.clone();
        grants.keyspaces.extend(more.keyspaces.iter().cloned());
        grants.roles.extend(more.roles.iter().cloned());
        self.regrant(vec![(uid.to_owned(), grants)], now)
    }

    /// Takes from a user what it was granted.
    pub(crate) fn revoke(
        &mut self,
        uid: &str,
        less: &Grants,
        now: u64,
    ) -> Result<Vec<Regranted>, TenantError> {
        let mut grants = self.active(uid)?.grants.clone();
        for keyspace in &less.keyspaces {
            if !grants.keyspaces.remove(keyspace) && !self.granted(&grants).contains(keyspace) {
                return Err(TenantError::NotGranted { user: uid.to_owned(), what: keyspace.clone() });
            }
        }
        for role in &less.roles {
            if !grants.roles.remove(role) {
                return Err(TenantError::NotGranted { user: uid.to_owned(), what: format!("role {role}") });
            }
        }
        // Somebody who revokes a keyspace does not want it to stay by another way.
        for keyspace in &less.keyspaces {
            let has = |role: &&String| self.roles.get(*role).is_some_and(|of| of.contains(keyspace));
            if let Some(role) = grants.roles.iter().find(has) {
                let (user, keyspace) = (uid.to_owned(), keyspace.clone());
                return Err(TenantError::GrantedByRole { user, keyspace, role: role.clone() });
            }
        }
        self.regrant(vec![(uid.to_owned(), grants)], now)
    }

    /// Makes a role, or changes it and the keyspaces of all that have it.
    pub(crate) fn set_role(
        &mut self,
        role: &str,
        keyspaces: &[String],
        now: u64,
    ) -> Result<Vec<Regranted>, TenantError> {
        let keyspaces = self.known_keyspaces(keyspaces)?;
        if self.roles.get(role) != Some(&keyspaces) {
            self.roles.insert(role.to_owned(), keyspaces.clone());
            self.record(now, Event::RoleSet { role: role.to_owned(), keyspaces });
        }
        let members = self.active_after(None).filter(|(_, user)| user.grants.roles.contains(role));
        let members = members.map(|(uid, user)| (uid.to_owned(), user.grants.clone())).collect();
        self.regrant(members, now)
    }

    /// Roles come to this keyspace no more, which no user has a share of.
    pub(super) fn leave_out_of_roles(&mut self, keyspace: &str, now: u64) {
        let mut changed = Vec::new();
        for (role, keyspaces) in &mut self.roles {
            if keyspaces.remove(keyspace) {
                changed.push((role.clone(), keyspaces.clone()));
            }
        }
        for (role, keyspaces) in changed {
            self.record(now, Event::RoleSet { role, keyspaces });
        }
    }

    /// Removes a role that nobody has.
    pub(crate) fn remove_role(&mut self, role: &str, now: u64) -> Result<(), TenantError> {
        if !self.roles.contains_key(role) {
            return Err(TenantError::RoleUnknown(role.to_owned()));
        }
        let members: Vec<&str> = self.members(role).collect();
        if let Some(first) = members.first() {
            let (role, first) = (role.to_owned(), (*first).to_owned());
            return Err(TenantError::RoleInUse { role, first, count: members.len() });
        }
        self.roles.remove(role);
        self.record(now, Event::RoleRemoved { role: role.to_owned() });
        Ok(())
    }

    /// Gives users these grants, and makes the commands for those whose shares are not in line with them.
    fn regrant(&mut self, users: Vec<(String, Grants)>, now: u64) -> Result<Vec<Regranted>, TenantError> {
        let mut changed = Vec::new();
        let mut batch: BTreeMap<String, (Former, Halves)> = BTreeMap::new();
        let mut room = MAX_BATCH_BYTES;
        for (uid, grants) in users {
            let wanted = self.granted(&grants);
            if wanted.is_empty() {
                return Err(TenantError::LeftWithNothing(uid));
            }
            let user = self.active(&uid)?;
            let held: BTreeSet<String> = user.shares.keys().cloned().collect();
            if held == wanted && user.has_share() {
                if let Some(user) = self.users.get_mut(&uid) {
                    user.grants = grants;
                }
                continue;
            }
            let former = user.before();
            // A share that may have been replaced since must not come to life again.
            let certain = user.has_share();
            let triples = wanted.iter().filter_map(|name| {
                let keyspace = self.keyspaces.get(name)?;
                let triple =
                    match user.shares.get(name).filter(|share| certain && share.epoch == keyspace.epoch) {
                        Some(kept) => keyspace.split_beside(&kept.share),
                        None => keyspace.split(),
                    };
                Some((name.clone(), triple))
            });
            let (shares, halves) = separate(triples);
            let size = size(&uid, wanted.iter());
            if batch.len() == MAX_BATCH || size > room {
                self.grants_command(std::mem::take(&mut batch), now)?;
                room = MAX_BATCH_BYTES;
            }
            room = room.saturating_sub(size);
            batch.insert(uid.clone(), (former, halves));
            let lost = held.difference(&wanted).cloned().collect();
            let held = if certain { held } else { BTreeSet::new() };
            let gained: BTreeSet<String> = wanted.difference(&held).cloned().collect();
            if let Some(user) = self.users.get_mut(&uid) {
                // What is new was in no file yet.
                let exports = if gained.is_empty() { user.exports } else { 0 };
                *user = User { exports, ..User::active(shares, grants) };
            }
            changed.push(Regranted { user: uid, keyspaces: wanted, gained, lost });
        }
        self.grants_command(batch, now)?;
        Ok(changed)
    }

    fn grants_command(
        &mut self,
        batch: BTreeMap<String, (Former, Halves)>,
        now: u64,
    ) -> Result<(), TenantError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (mut formers, mut halves, mut users) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (uid, (former, half)) in batch {
            let keyspaces = self.user(&uid)?.shares.keys().cloned().collect();
            users.insert(uid.clone(), keyspaces);
            formers.insert(uid.clone(), former);
            halves.insert(uid, half);
        }
        let seq = self.queue(Work::Grants { formers }, halves, now)?;
        self.record(now, Event::GrantsChanged { seq, users });
        Ok(())
    }

    /// For a vault from before there were grants: each user is granted what it has.
    pub(crate) fn grant_what_users_have(&mut self) {
        for user in self.users.values_mut().filter(|user| user.state == State::Active) {
            user.grants.keyspaces = user.shares.keys().cloned().collect();
        }
        self.formers_are_granted_what_they_had();
    }

    /// What a new triple of the user's is made for. A recovered vault does not know what a user had: only
    /// where there is one keyspace there is no doubt.
    pub(super) fn grants_for_rekey(&self, uid: &str) -> Result<Grants, TenantError> {
        let user = self.active(uid)?;
        match user.grants.is_empty() {
            false => Ok(user.grants.clone()),
            true if self.keyspaces.len() == 1 => self.default_grants(),
            true => Err(TenantError::GrantsUnknown(uid.to_owned())),
        }
    }
}
