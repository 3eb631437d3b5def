//! What executing a connection's prepared statements means, by their names.

use crate::settings::Tag;
use crate::statement::{Argument, Effect, Statement};
use crate::user_from::UserFrom;
use std::collections::HashMap;
use std::sync::Arc;
use trefoil_keys::carrier::Carriers;

/// Most statements that mean something and that one connection may keep.
const MAX: usize = 1024;

/// What a text's comments say.
#[derive(Default)]
pub(crate) struct Comments {
    /// The shim's own values.
    pub(crate) carriers: Option<Carriers>,
    /// The user that is named in the application's own way.
    pub(crate) tag: Tag,
}

impl Comments {
    /// Whether they say anything.
    pub(crate) fn say_something(&self) -> bool {
        self.carriers.is_some() || self.tag != Tag::None
    }
}

/// What executing one means.
pub(crate) struct Prepared {
    /// Of its text.
    pub(crate) comments: Comments,
    /// What it does.
    pub(crate) statement: Statement,
    /// Declared types of its parameters.
    pub(crate) types: Vec<u32>,
}

impl Prepared {
    /// Whether its user could be mistaken if it was forgotten.
    fn matters(&self) -> bool {
        self.comments.say_something() || !self.statement.effects.is_empty()
    }

    /// Whether the values of its parameters are needed.
    pub(crate) fn asks_parameters(&self) -> bool {
        self.statement.effects.iter().any(|effect| matches!(effect, Effect::Call(_)))
    }

    /// Whether the user may be another one after it.
    pub(crate) fn changes(&self) -> bool {
        self.statement.effects.iter().any(Effect::changes)
    }

    /// What it does with these parameters.
    pub(crate) fn effects<'a>(
        &'a self,
        from: &'a UserFrom,
        parameter: impl Fn(usize) -> Option<Argument> + 'a,
    ) -> impl Iterator<Item = Effect> + 'a {
        self.statement.effects.iter().filter_map(move |effect| match effect {
            Effect::Call(call) => call.effect(from, &parameter),
            other => Some(other.clone()),
        })
    }
}

/// What is known of a name.
pub(crate) enum Known {
    /// Nothing: no comment, and it sets nothing.
    Plain,
    /// This.
    Prepared(Arc<Prepared>),
    /// It may be any.
    Forgotten,
}

/// All of a connection's.
#[derive(Default)]
pub(crate) struct PreparedStatements {
    by_name: HashMap<Vec<u8>, (Arc<Prepared>, Doubtful)>,
    /// There are more than are kept.
    forgot: bool,
}

/// Whether it was to be dropped: then it is either gone, or still what it was.
type Doubtful = bool;

impl PreparedStatements {
    /// Puts a statement in place of the one before.
    pub(crate) fn put(&mut self, name: &[u8], prepared: Prepared) {
        self.by_name.remove(name);
        let matters = prepared.matters();
        if self.by_name.len() < MAX && (matters || prepared.statement.plainly_reads) {
            self.by_name.insert(name.to_owned(), (Arc::new(prepared), false));
        } else {
            self.forgot |= matters;
        }
    }

    /// What executing it means.
    pub(crate) fn get(&self, name: &[u8]) -> Known {
        match self.by_name.get(name) {
            Some((_, true)) => Known::Forgotten,
            Some((prepared, false)) => Known::Prepared(Arc::clone(prepared)),
            None if self.forgot && !name.is_empty() => Known::Forgotten,
            None => Known::Plain,
        }
    }

    /// None has ever been kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && !self.forgot
    }

    /// Close was sent, which cannot fail.
    pub(crate) fn close(&mut self, name: &[u8]) {
        self.by_name.remove(name);
    }

    /// A statement was sent that drops one, or all, if it succeeds.
    pub(crate) fn deallocate(&mut self, name: Option<&str>) {
        for (known, (_, doubtful)) in &mut self.by_name {
            *doubtful |= name.is_none_or(|name| name.as_bytes() == known);
        }
    }

    /// It has succeeded.
    pub(crate) fn deallocated(&mut self) {
        self.by_name.retain(|_, (_, doubtful)| !*doubtful);
    }
}
