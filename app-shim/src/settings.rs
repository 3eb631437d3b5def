//! What one connection's application has set, as far as it says whose shares a statement needs, with
//! PostgreSQL's rules for settings: LOCAL ends with the transaction, and what a transaction set is undone
//! unless it commits.
//!
//! Invariant: where it cannot be told what a setting is now, it is unclear whose shares are needed, and it
//! stays so until the setting is set again. A former user is never the answer.

mod setting;

use crate::statement::{Change, Effect, New};
use crate::user_from::{Name, UserFrom};
use setting::{Current, Setting, Value};
use std::sync::Arc;
use trefoil_keys::carrier::{Carriers, checked};

/// NAMEDATALEN: the server cuts longer names of roles.
const MAX_ROLE: usize = 63;
/// No role.
const NONE: &str = "none";

/// What a connection began with.
#[derive(Default)]
pub(crate) struct Beginning {
    /// Values of the shim's own parameters.
    pub(crate) carriers: Carriers,
    /// The role that it connects as.
    pub(crate) role: Option<String>,
    /// Other parameters that are followed.
    pub(crate) settings: Vec<(Name, String)>,
}

/// Whose shares a statement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// This user's.
    User(String),
    /// Nobody is named.
    Unnamed,
    /// It cannot be told.
    Unclear,
}

impl Who {
    /// Whether nobody is named, or this user.
    pub(crate) fn is_unnamed_or(&self, user: &str) -> bool {
        match self {
            Self::User(named) => named == user,
            Self::Unnamed => true,
            Self::Unclear => false,
        }
    }
}

/// What a comment says of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Nothing.
    #[default]
    None,
    /// This one.
    User(String),
    /// Something that is not understood.
    Unclear,
}

/// The settings of one connection.
pub(crate) struct Settings {
    from: Arc<UserFrom>,
    login: Option<String>,
    user: Setting,
    envelope: Setting,
    claims: Setting,
    setting: Setting,
    role: Setting,
    authorization: Setting,
    application_name: Setting,
    in_transaction: bool,
    /// There is a savepoint to which the transaction may be rolled back.
    savepoint: bool,
    /// A request that is not answered yet ends the transaction, or part of it.
    ends: bool,
    /// It ends all of it.
    ends_all: bool,
    /// A request that is not answered yet runs a procedure: it may have committed before it failed.
    procedure: bool,
    /// There may be a prepared statement or cursor that sets something.
    hidden: bool,
    outcome: Option<Outcome>,
}

/// How the transaction, or the part of it since the last such answer, has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Committed,
    Undone,
    /// Both, and in between something may have been set.
    Mixed,
}

impl Settings {
    /// The settings of a connection that began with these.
    pub(crate) fn new(from: Arc<UserFrom>, beginning: Beginning) -> Self {
        let Beginning { carriers, role, settings } = beginning;
        let mut new = Self {
            from,
            login: role.filter(|role| role.len() <= MAX_ROLE),
            user: Setting::default(),
            envelope: Setting::default(),
            claims: Setting::default(),
            setting: Setting::default(),
            role: Setting::default(),
            authorization: Setting::default(),
            application_name: Setting::default(),
            in_transaction: false,
            savepoint: false,
            ends: false,
            ends_all: false,
            procedure: false,
            hidden: false,
            outcome: None,
        };
        let own = [(Name::User, carriers.user), (Name::Envelope, carriers.envelope)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in own.chain(settings) {
            let value = new.value(name, New::Text(value));
            if let Some(setting) = new.of(name) {
                setting.begins(value);
            }
        }
        new
    }

    fn of(&mut self, name: Name) -> Option<&mut Setting> {
        Some(match name {
            Name::User => &mut self.user,
            Name::Envelope => &mut self.envelope,
            Name::Claims => &mut self.claims,
            Name::Setting => &mut self.setting,
            Name::Role => &mut self.role,
            Name::Authorization => &mut self.authorization,
            Name::Application => &mut self.application_name,
            // The shim has it.
            Name::AppShare => return None,
        })
    }

    fn all(&self) -> [&Setting; 7] {
        let Self { user, envelope, claims, setting, role, authorization, application_name, .. } = self;
        [user, envelope, claims, setting, role, authorization, application_name]
    }

    fn all_mut(&mut self) -> [&mut Setting; 7] {
        let Self { user, envelope, claims, setting, role, authorization, application_name, .. } = self;
        [user, envelope, claims, setting, role, authorization, application_name]
    }

    /// Whose shares a statement with this tag needs now.
    pub(crate) fn who(&self, tag: &Tag) -> Who {
        if let Some(who) = self.says(&self.user) {
            return who;
        }
        match tag {
            Tag::User(user) if !user.is_empty() => return Who::User(user.clone()),
            Tag::Unclear => return Who::Unclear,
            _ => {}
        }
        for setting in [&self.claims, &self.setting] {
            if let Some(who) = self.says(setting) {
                return who;
            }
        }
        if self.from.role {
            match self.says(&self.role) {
                Some(Who::User(role)) if role != NONE => return Who::User(role),
                Some(Who::Unclear) => return Who::Unclear,
                _ => {}
            }
            if let Some(who) = self.says(&self.authorization) {
                return who;
            }
            return self.login.clone().map_or(Who::Unclear, Who::User);
        }
        self.says(&self.application_name).unwrap_or(Who::Unnamed)
    }

    /// Whom a setting names, if anybody.
    fn says(&self, setting: &Setting) -> Option<Who> {
        if self.ends && setting.is_unsettled() {
            return Some(Who::Unclear);
        }
        match setting.current() {
            Current::Unset => None,
            Current::Text(user) => Some(Who::User(user.to_owned())),
            Current::Unclear => Some(Who::Unclear),
        }
    }

    /// The envelope that the application has set itself: an error if it cannot be told.
    pub(crate) fn envelope(&self) -> Result<Option<&str>, Unclear> {
        match self.envelope.current() {
            _ if self.ends && self.envelope.is_unsettled() => Err(Unclear),
            Current::Unset => Ok(None),
            Current::Text(envelope) => Ok(Some(envelope)),
            Current::Unclear => Err(Unclear),
        }
    }

    /// Notes what a statement does that is on its way.
    pub(crate) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Set(change) => self.change(change),
            Effect::ResetAll => self.reset_all(),
            Effect::DiscardAll => {
                self.reset_all();
                self.hidden = false;
                self.set(Name::Authorization, None, false);
                self.set(Name::Role, Some(Value::Text(NONE.to_owned())), false);
            }
            Effect::Run if !self.hidden => {}
            // Its parameters were not at hand.
            Effect::Call(_) | Effect::Unclear | Effect::Run => self.lose_what_the_database_keeps(),
            Effect::Savepoint => self.savepoint = true,
            Effect::RollbackTo => self.ends = true,
            Effect::End => (self.ends, self.ends_all) = (true, true),
            Effect::Procedure => self.procedure = true,
            Effect::Hide => self.hidden = true,
            Effect::Deallocate(_) => {}
        }
    }

    fn change(&mut self, change: &Change) {
        let value = self.value(change.name, change.value.clone());
        if change.name == Name::Authorization
            && !matches!(self.role.current(), Current::Unset | Current::Text(NONE))
        {
            // It puts the role off as well, and what a rollback makes of it differs between versions.
            self.role.lose();
        }
        self.set(change.name, value, change.local);
    }

    fn reset_all(&mut self) {
        // Role and session_authorization are none of them.
        for name in [Name::User, Name::Envelope, Name::Claims, Name::Setting, Name::Application] {
            self.set(name, None, false);
        }
    }

    fn set(&mut self, name: Name, value: Option<Value>, local: bool) {
        let (after_end, after_savepoint) = (self.ends, self.savepoint);
        if let Some(setting) = self.of(name) {
            setting.set(value, local, after_end, after_savepoint);
        }
    }

    fn value(&self, name: Name, new: New) -> Option<Value> {
        let text = match new {
            New::Default => return None,
            New::Unclear => return Some(Value::Unclear),
            New::Text(text) => text,
        };
        let text = match name {
            Name::Claims => self.from.claimed(&text),
            Name::Role | Name::Authorization if text.len() > MAX_ROLE => return Some(Value::Unclear),
            _ => Ok(text),
        };
        let text = text.ok().filter(|text| checked(text.as_bytes()).is_ok());
        Some(text.map_or(Value::Unclear, Value::Text))
    }

    /// Something may have set any of them. The shim's own are taken off statements, so they cannot be meant.
    pub(crate) fn lose_what_the_database_keeps(&mut self) {
        let Self { from, claims, setting, role, authorization, application_name, .. } = self;
        for (is_followed, setting) in [
            (from.claim.is_some(), claims),
            (from.setting.is_some(), setting),
            (from.role, role),
            (from.role, authorization),
            (from.application_name, application_name),
        ] {
            if is_followed {
                setting.lose();
            }
        }
    }

    /// What was set for different parts of one text is not used for what follows it.
    pub(crate) fn lose_what_was_set<'e>(&mut self, effects: impl Iterator<Item = &'e Effect>) {
        for effect in effects {
            if let Effect::Set(change) = effect
                && let Some(setting) = self.of(change.name)
            {
                setting.lose();
            }
        }
    }

    /// Whether something may still be undone by what the server answers.
    pub(crate) fn unsettled(&self) -> bool {
        self.all().iter().any(|setting| setting.is_unsettled())
    }

    /// The server completed a statement with this tag.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        match tag {
            // For settings, PREPARE TRANSACTION is a COMMIT.
            b"COMMIT" | b"PREPARE TRANSACTION" => self.note(Outcome::Committed),
            b"ROLLBACK" => self.note(Outcome::Undone),
            b"SAVEPOINT" => self.savepoint = true,
            _ => {}
        }
    }

    /// The server reported an error.
    pub(crate) fn failed(&mut self) {
        self.note(if self.procedure { Outcome::Mixed } else { Outcome::Undone });
    }

    fn note(&mut self, outcome: Outcome) {
        let same = self.outcome.is_none_or(|before| before == outcome);
        self.outcome = Some(if same { outcome } else { Outcome::Mixed });
    }

    /// The server sent ReadyForQuery with this status; `last`: all that was sent is answered.
    pub(crate) fn ready(&mut self, status: u8, last: bool) {
        let idle = status == b'I';
        match (self.outcome.take(), status) {
            (Some(Outcome::Mixed), _) => self.settle(Setting::lose_if_unsettled),
            (Some(Outcome::Committed), _) => self.settle(Setting::keep),
            (Some(Outcome::Undone), b'I') => self.settle(Setting::undo),
            (Some(Outcome::Undone), b'T') if self.ends && !self.ends_all => {
                self.settle(Setting::lose_if_after_savepoint);
            }
            (Some(Outcome::Undone), b'T') => self.settle(Setting::lose_if_unsettled),
            (None, b'I') if self.in_transaction => self.settle(Setting::lose_if_unsettled),
            (None, b'I') => self.settle(Setting::keep),
            _ => {}
        }
        if last {
            (self.ends, self.ends_all, self.procedure) = (false, false, false);
            self.savepoint &= !idle;
        }
        self.in_transaction = !idle;
    }

    fn settle(&mut self, how: fn(&mut Setting)) {
        self.all_mut().into_iter().for_each(how);
    }
}

/// A value that cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unclear;

#[cfg(test)]
mod tests;
