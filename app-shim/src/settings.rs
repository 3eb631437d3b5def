//! The user and envelope that one connection's application has set, with PostgreSQL's rules for
//! settings: LOCAL ends with the transaction, and what a transaction set is undone unless it commits.
//! Savepoints are not followed: what was set after one stays until the transaction ends.

use crate::set_statement::{Name, SetStatement};
use trefoil_keys::carrier::Carriers;

/// User and envelope of one connection.
#[derive(Default)]
pub(crate) struct Settings {
    user: Setting,
    envelope: Setting,
    in_transaction: bool,
    /// Whether a text with RESET ALL has passed, so that the tag RESET may mean it.
    resets_all: bool,
    outcome: Option<Outcome>,
}

#[derive(Default)]
struct Setting {
    startup: Option<String>,
    session: Option<String>,
    /// What `session` was before the running transaction changed it.
    before: Option<Option<String>>,
    /// Set by `SET LOCAL`; an inner `None` uncovers the startup value.
    local: Option<Option<String>>,
}

/// How the transaction, or the part of it since the last such answer, has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Committed,
    Undone,
}

impl Settings {
    /// The settings of a connection that was started with these.
    pub(crate) fn new(startup: Carriers) -> Self {
        let setting = |startup| Setting { startup, ..Setting::default() };
        Self { user: setting(startup.user), envelope: setting(startup.envelope), ..Self::default() }
    }

    /// The user.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.current()
    }

    /// The envelope.
    pub(crate) fn envelope(&self) -> Option<&str> {
        self.envelope.current()
    }

    /// Notes a statement that is on its way. The application's share is not kept: the shim has it.
    pub(crate) fn set(&mut self, statement: &SetStatement) {
        let setting = match statement.name {
            Name::User => &mut self.user,
            Name::Envelope => &mut self.envelope,
            Name::AppShare => return,
        };
        if statement.local {
            setting.local = Some(statement.value.clone());
        } else {
            let before = std::mem::replace(&mut setting.session, statement.value.clone());
            setting.before.get_or_insert(before);
            setting.local = None;
        }
    }

    /// Whether something may still be undone by what the server answers.
    pub(crate) fn unsettled(&self) -> bool {
        self.user.unsettled() || self.envelope.unsettled()
    }

    /// The server completed a statement with this tag.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        match tag {
            b"COMMIT" => self.outcome = Some(Outcome::Committed),
            // Within a transaction it may be ROLLBACK TO; then ReadyForQuery says so.
            b"ROLLBACK" => self.outcome = Some(Outcome::Undone),
            b"DISCARD ALL" => self.reset(),
            b"RESET" if self.resets_all => self.reset(),
            _ => {}
        }
    }

    /// Looks for RESET ALL in a text, which connection pools send among other statements.
    pub(crate) fn note(&mut self, text: &[u8]) {
        let mut after_reset = false;
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        self.resets_all |= words.any(|word| {
            let all = after_reset && word.get(..3).is_some_and(|all| all.eq_ignore_ascii_case(b"all"));
            after_reset = word.last_chunk::<5>().is_some_and(|last| last.eq_ignore_ascii_case(b"reset"));
            all
        });
    }

    fn reset(&mut self) {
        for setting in [&mut self.user, &mut self.envelope] {
            *setting = Setting { startup: setting.startup.take(), ..Setting::default() };
        }
    }

    /// The server reported an error.
    pub(crate) fn failed(&mut self) {
        self.outcome = Some(Outcome::Undone);
    }

    /// The server sent ReadyForQuery with this status.
    pub(crate) fn ready(&mut self, status: u8) {
        let idle = status == b'I';
        let outcome = self.outcome.take();
        let committed = outcome == Some(Outcome::Committed);
        if idle || committed {
            let keep = committed || (outcome.is_none() && !self.in_transaction);
            self.user.settle(keep);
            self.envelope.settle(keep);
        }
        self.in_transaction = !idle;
    }
}

impl Setting {
    fn current(&self) -> Option<&str> {
        let set = match &self.local {
            Some(local) => local.as_deref(),
            None => self.session.as_deref(),
        };
        set.or(self.startup.as_deref())
    }

    fn unsettled(&self) -> bool {
        self.before.is_some() || self.local.is_some()
    }

    fn settle(&mut self, keep: bool) {
        self.local = None;
        if let Some(before) = self.before.take()
            && !keep
        {
            self.session = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(Carriers { user: Some("startup".to_owned()), ..Carriers::default() })
    }

    fn set(value: &str, local: bool) -> SetStatement {
        let value = (!value.is_empty()).then(|| value.to_owned());
        SetStatement { name: Name::User, value, local }
    }

    fn query(settings: &mut Settings, tag: &str, status: u8) {
        settings.completed(tag.as_bytes());
        settings.ready(status);
    }

    #[test]
    fn outside_of_a_transaction() {
        let mut s = settings();
        s.set(&set("a", false));
        assert!(s.unsettled());
        assert_eq!(s.user(), Some("a"));
        query(&mut s, "SET", b'I');
        assert!(!s.unsettled());
        assert_eq!(s.user(), Some("a"));
        s.set(&set("b", false));
        s.failed();
        s.ready(b'I');
        assert_eq!(s.user(), Some("a"));
        s.set(&set("b", true));
        query(&mut s, "SET", b'I');
        assert_eq!(s.user(), Some("a"));
        s.set(&set("", false));
        query(&mut s, "RESET", b'I');
        assert_eq!(s.user(), Some("startup"));
    }

    #[test]
    fn commit_and_rollback() {
        for (end, status, user) in [
            ("COMMIT", b'I', "b"),
            ("COMMIT", b'T', "b"),
            ("ROLLBACK", b'I', "startup"),
            ("PREPARE TRANSACTION", b'I', "startup"),
            ("ROLLBACK", b'T', "local"),
            ("SELECT 1", b'T', "local"),
        ] {
            let mut s = settings();
            query(&mut s, "BEGIN", b'T');
            s.set(&set("a", false));
            query(&mut s, "SET", b'T');
            s.set(&set("b", false));
            query(&mut s, "SET", b'T');
            s.set(&set("local", true));
            query(&mut s, "SET", b'T');
            assert_eq!(s.user(), Some("local"));
            query(&mut s, end, status);
            assert_eq!(s.user(), Some(user), "{end}");
            assert_eq!(s.unsettled(), user == "local");
        }
    }

    #[test]
    fn aborted_transaction() {
        let mut s = settings();
        query(&mut s, "BEGIN", b'T');
        s.set(&set("a", false));
        query(&mut s, "SET", b'T');
        s.failed();
        s.ready(b'E');
        assert_eq!(s.user(), Some("a"));
        query(&mut s, "ROLLBACK", b'I');
        assert_eq!(s.user(), Some("startup"));
    }

    #[test]
    fn local_covers_and_uncovers() {
        let mut s = settings();
        s.set(&set("a", false));
        query(&mut s, "SET", b'I');
        query(&mut s, "BEGIN", b'T');
        s.set(&set("", true));
        assert_eq!(s.user(), Some("startup"));
        s.set(&set("b", false));
        assert_eq!(s.user(), Some("b"));
        query(&mut s, "DISCARD ALL", b'I');
        assert_eq!(s.user(), Some("startup"));
    }

    #[test]
    fn reset_all() {
        let mut s = settings();
        s.set(&set("a", false));
        query(&mut s, "SET", b'I');
        s.note(b"RESET search_path; SELECT 'all'");
        query(&mut s, "RESET", b'I');
        assert_eq!(s.user(), Some("a"));
        s.note(b"CLOSE ALL;UNLISTEN *;Reset\n ALL;");
        query(&mut s, "RESET", b'I');
        assert_eq!(s.user(), Some("startup"));
    }

    #[test]
    fn one_group_with_its_own_transaction() {
        let mut s = settings();
        s.set(&set("a", false));
        for tag in ["BEGIN", "SET", "ROLLBACK"] {
            s.completed(tag.as_bytes());
        }
        s.ready(b'I');
        assert_eq!(s.user(), Some("startup"));
    }
}
