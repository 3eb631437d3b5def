//! What executing a connection's prepared statements means, by their names.

use crate::settings::Tag;
use crate::statement::{Argument, Effect, Statement};
use crate::user_from::UserFrom;
use std::collections::{HashMap, HashSet, VecDeque};
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
    /// Names of which it is not known what they mean until the server has made or closed them.
    contested: HashSet<Vec<u8>>,
    /// What was sent to make or close one, in order, empty where that does not matter; `None` where a
    /// request ends.
    sent: VecDeque<Option<Vec<u8>>>,
}

/// Whether it was to be dropped: then it is either gone, or still what it was.
type Doubtful = bool;

impl PreparedStatements {
    /// Puts a statement in place of the one before.
    pub(crate) fn put(&mut self, name: &[u8], prepared: Prepared) {
        // If there is one of that name already, Parse fails and that one stays.
        let before = self.by_name.remove(name).is_some_and(|(before, _)| before.matters());
        let matters = prepared.matters();
        self.sends(name, before);
        if self.by_name.len() < MAX && (matters || prepared.statement.plainly_reads) {
            self.by_name.insert(name.to_owned(), (Arc::new(prepared), false));
        } else {
            self.forgot |= matters;
        }
    }

    /// What executing it means.
    pub(crate) fn get(&self, name: &[u8]) -> Known {
        match self.by_name.get(name) {
            _ if self.contested.contains(name) => Known::Forgotten,
            Some((_, true)) => Known::Forgotten,
            Some((prepared, false)) => Known::Prepared(Arc::clone(prepared)),
            None if self.forgot && !name.is_empty() => Known::Forgotten,
            None => Known::Plain,
        }
    }

    /// Close was sent, which is skipped where something before it fails.
    pub(crate) fn close(&mut self, name: &[u8]) {
        let before = self.by_name.remove(name).is_some_and(|(before, _)| before.matters());
        self.sends(name, before);
    }

    /// Something was sent that is answered in the same way, and makes or closes no statement.
    pub(crate) fn passes(&mut self) {
        self.sent.push_back(Some(Vec::new()));
    }

    fn sends(&mut self, name: &[u8], contests: bool) {
        // One without a name is always replaced.
        if contests && !name.is_empty() {
            self.contested.insert(name.to_owned());
        }
        self.sent.push_back(Some(name.to_owned()));
    }

    /// A request was sent to its end.
    pub(crate) fn request_ended(&mut self) {
        self.sent.push_back(None);
    }

    /// The end was none: the server ignored it.
    pub(crate) fn request_goes_on(&mut self) {
        if self.sent.back().is_some_and(Option::is_none) {
            self.sent.pop_back();
        }
    }

    /// The server has made or closed one.
    pub(crate) fn done(&mut self) {
        if let Some(Some(_)) = self.sent.front()
            && let Some(Some(name)) = self.sent.pop_front()
            && !self.sent.iter().flatten().any(|later| *later == name)
        {
            self.contested.remove(&name);
        }
    }

    /// The server skips what is left of the request: what it was to make or close is what it was before.
    pub(crate) fn failed(&mut self) {
        while let Some(Some(_)) = self.sent.front() {
            if let Some(Some(name)) = self.sent.pop_front()
                && !name.is_empty()
            {
                if self.contested.len() < MAX {
                    self.contested.insert(name);
                } else {
                    self.forgot = true;
                }
            }
        }
    }

    /// The server has answered a request.
    pub(crate) fn ready(&mut self) {
        self.failed();
        self.sent.pop_front();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::read;

    fn prepared(text: &str) -> Prepared {
        let from = UserFrom { setting: Some("app.who".to_owned()), ..UserFrom::default() };
        let statement = read(text.as_bytes(), &from).all.pop().unwrap();
        Prepared { comments: Comments::default(), statement, types: Vec::new() }
    }

    const SETS: &str = "SET app.who = 'bob'";

    /// One that sets something, which the server has made.
    fn made() -> PreparedStatements {
        let mut all = PreparedStatements::default();
        all.put(b"s", prepared(SETS));
        all.request_ended();
        all.done();
        all.ready();
        assert!(matches!(all.get(b"s"), Known::Prepared(_)));
        all
    }

    #[test]
    fn a_name_that_is_taken_means_nothing_certain() {
        let mut all = made();
        all.put(b"s", prepared("SELECT 1"));
        all.request_ended();
        assert!(matches!(all.get(b"s"), Known::Forgotten));
        all.failed();
        all.ready();
        assert!(matches!(all.get(b"s"), Known::Forgotten));
        all.close(b"s");
        all.put(b"s", prepared("SELECT 1"));
        all.request_ended();
        all.done();
        all.done();
        all.ready();
        assert!(matches!(all.get(b"s"), Known::Prepared(_)));
    }

    #[test]
    fn a_close_that_is_skipped_closes_nothing() {
        let mut all = made();
        all.put(b"", prepared("SELECT 1"));
        all.close(b"s");
        all.request_ended();
        assert!(matches!(all.get(b"s"), Known::Forgotten));
        all.failed();
        all.ready();
        assert!(matches!(all.get(b"s"), Known::Forgotten));
        let mut all = made();
        all.close(b"s");
        all.request_ended();
        all.done();
        all.ready();
        assert!(matches!(all.get(b"s"), Known::Plain));
    }
}
