//! Which settings a session has, as statements, transactions and savepoints change them.

use super::*;
use crate::statement;

fn from() -> UserFrom {
    UserFrom {
        claim: Some("sub".to_owned()),
        setting: Some("app.u".to_owned()),
        role: true,
        ..UserFrom::default()
    }
}

struct Session(Settings);

impl Session {
    fn new() -> Self {
        let only = UserFrom { setting: Some("app.u".to_owned()), ..UserFrom::default() };
        let settings = vec![(Name::Setting, "startup".to_owned())];
        Self(Settings::new(Arc::new(only), Beginning { settings, ..Beginning::default() }))
    }

    fn with_all() -> Self {
        let beginning = Beginning { role: Some("login".to_owned()), ..Beginning::default() };
        Self(Settings::new(Arc::new(from()), beginning))
    }

    fn send(&mut self, text: &str) {
        let from = self.0.from.clone();
        for effect in statement::read(text.as_bytes(), &from).effects() {
            match effect {
                Effect::Call(call) => {
                    if let Some(effect) = call.effect(&from, |_| None) {
                        self.0.apply(&effect);
                    }
                }
                effect => self.0.apply(effect),
            }
        }
    }

    fn answer(&mut self, tags: &[&str], status: u8) {
        for tag in tags {
            match *tag {
                "ERROR" => self.0.failed(),
                tag => self.0.completed(tag.as_bytes()),
            }
        }
        self.0.ready(status, true);
    }

    fn run(&mut self, text: &str, tags: &[&str], status: u8) {
        self.send(text);
        self.answer(tags, status);
    }

    #[track_caller]
    fn is(&self, user: &str) {
        let expected = match user {
            "?" => Who::Unclear,
            "-" => Who::Unnamed,
            user => Who::User(user.to_owned()),
        };
        assert_eq!(self.0.who(&Tag::None), expected);
    }
}

#[test]
fn outside_of_a_transaction() {
    let mut s = Session::new();
    s.send("SET app.u = 'a'");
    assert!(s.0.unsettled());
    s.is("a");
    s.answer(&["SET"], b'I');
    assert!(!s.0.unsettled());
    s.is("a");
    s.run("SET app.u = 'b'", &["ERROR"], b'I');
    s.is("a");
    s.run("SET LOCAL app.u = 'b'", &["SET"], b'I');
    s.is("a");
    s.run("SET app.u = ''", &["SET"], b'I');
    s.is("-");
    s.run("RESET app.u", &["RESET"], b'I');
    s.is("startup");
}

#[test]
fn commit_and_rollback() {
    for (end, tags, status, user) in [
        ("COMMIT", &["COMMIT"][..], b'I', "b"),
        ("COMMIT AND CHAIN", &["COMMIT"], b'T', "b"),
        ("COMMIT", &["ROLLBACK"], b'I', "startup"),
        ("ROLLBACK", &["ROLLBACK"], b'I', "startup"),
        ("PREPARE TRANSACTION 'x'", &["PREPARE TRANSACTION"], b'I', "b"),
        ("COMMIT", &["ERROR"], b'I', "startup"),
        ("ROLLBACK AND CHAIN", &["ROLLBACK"], b'T', "?"),
        ("ROLLBACK; BEGIN", &["ROLLBACK", "BEGIN"], b'T', "?"),
        ("SELECT 1", &["SELECT 1"], b'T', "local"),
        // An answer that cannot be: nothing is guessed.
        ("SELECT 1", &[], b'I', "?"),
    ] {
        let mut s = Session::new();
        s.run("BEGIN", &["BEGIN"], b'T');
        s.run("SET app.u = 'a'", &["SET"], b'T');
        s.run("SET app.u = 'b'", &["SET"], b'T');
        s.run("SET LOCAL app.u = 'local'", &["SET"], b'T');
        s.is("local");
        s.run(end, tags, status);
        s.is(user);
        assert_eq!(s.0.unsettled(), user == "local", "{end}");
    }
}

#[test]
fn an_aborted_transaction_is_undone_at_its_end() {
    let mut s = Session::new();
    s.run("BEGIN", &["BEGIN"], b'T');
    s.run("SET app.u = 'a'", &["SET"], b'T');
    s.run("SELECT 1/0", &["ERROR"], b'E');
    s.is("a");
    s.run("ROLLBACK", &["ROLLBACK"], b'I');
    s.is("startup");
}

#[test]
fn local_covers_and_uncovers() {
    let mut s = Session::new();
    s.run("SET app.u = 'a'", &["SET"], b'I');
    s.run("BEGIN; SET LOCAL app.u TO DEFAULT", &["BEGIN", "SET"], b'T');
    s.is("startup");
    s.run("SET app.u = 'b'", &["SET"], b'T');
    s.is("b");
    s.run("COMMIT", &["COMMIT"], b'I');
    s.is("b");
    s.run("DISCARD ALL", &["DISCARD ALL"], b'I');
    s.is("startup");
}

#[test]
fn a_rollback_to_a_savepoint_loses_what_was_set_since() {
    let mut s = Session::new();
    s.run("BEGIN", &["BEGIN"], b'T');
    s.run("SET LOCAL app.u = 'a'", &["SET"], b'T');
    s.run("SAVEPOINT s", &["SAVEPOINT"], b'T');
    s.run("SELECT 1/0", &["ERROR"], b'E');
    s.run("ROLLBACK TO s", &["ROLLBACK"], b'T');
    // Set before there was a savepoint.
    s.is("a");
    s.run("SET LOCAL app.u = 'b'", &["SET"], b'T');
    s.is("b");
    s.run("ROLLBACK TO s", &["ROLLBACK"], b'T');
    s.is("?");
    s.run("SET LOCAL app.u = 'c'", &["SET"], b'T');
    s.is("c");
    s.run("COMMIT", &["COMMIT"], b'I');
    s.is("startup");
    // The savepoint is gone.
    s.run("BEGIN", &["BEGIN"], b'T');
    s.run("SET app.u = 'd'", &["SET"], b'T');
    s.run("SAVEPOINT s", &["SAVEPOINT"], b'T');
    s.run("ROLLBACK TO s", &["ROLLBACK"], b'T');
    s.is("d");
    s.run("SET app.u = 'e'; ROLLBACK TO s", &["SET", "ROLLBACK"], b'T');
    s.is("?");
    s.run("ROLLBACK", &["ROLLBACK"], b'I');
    s.is("startup");
}

#[test]
fn reset_all_is_undone_with_its_transaction() {
    let mut s = Session::new();
    s.run("SET app.u = 'a'", &["SET"], b'I');
    s.run("BEGIN; RESET ALL", &["BEGIN", "RESET"], b'T');
    s.is("startup");
    s.run("ROLLBACK", &["ROLLBACK"], b'I');
    s.is("a");
    s.run("CLOSE ALL; UNLISTEN *; RESET ALL", &["CLOSE CURSOR ALL", "UNLISTEN", "RESET"], b'I');
    s.is("startup");
}

#[test]
fn a_group_that_ends_a_transaction_and_sets_something() {
    for (text, tags, user) in [
        ("BEGIN; SET app.u = 'b'; ROLLBACK", &["BEGIN", "SET", "ROLLBACK"][..], "a"),
        ("BEGIN; SET app.u = 'b'; COMMIT", &["BEGIN", "SET", "COMMIT"], "b"),
        // Undone by the error, or not: it is not told which.
        ("SET app.u = 'b'; COMMIT; SELECT 1/0", &["SET", "COMMIT", "ERROR"], "?"),
        ("BEGIN; SET app.u = 'b'; ROLLBACK; SET app.u = 'c'", &["BEGIN", "SET", "ROLLBACK", "SET"], "?"),
        ("ROLLBACK; SET app.u = 'c'", &["ROLLBACK", "SET"], "?"),
    ] {
        let mut s = Session::new();
        s.run("SET app.u = 'a'", &["SET"], b'I');
        s.run(text, tags, b'I');
        s.is(user);
        s.run("SET app.u = 'd'", &["SET"], b'I');
        s.is("d");
    }
}

#[test]
fn while_the_transaction_ends_nobody_is_meant() {
    let mut s = Session::new();
    s.run("BEGIN; SET LOCAL app.u = 'b'", &["BEGIN", "SET"], b'T');
    s.send("COMMIT");
    s.is("?");
    s.answer(&["COMMIT"], b'I');
    s.is("startup");
}

#[test]
fn the_first_way_that_has_a_value_decides() {
    let mut s = Session::with_all();
    s.is("login");
    s.run("SET ROLE web", &["SET"], b'I');
    s.is("web");
    s.run("SET app.u = 'bob'", &["SET"], b'I');
    s.is("bob");
    s.run(r#"SET request.jwt.claims = '{"sub":"carol"}'"#, &["SET"], b'I');
    s.is("carol");
    assert_eq!(s.0.who(&Tag::User("dave".to_owned())), Who::User("dave".to_owned()));
    assert_eq!(s.0.who(&Tag::Unclear), Who::Unclear);
    s.run("SET trefoil.\"user\" = 'eve'", &["SET"], b'I');
    assert_eq!(s.0.who(&Tag::User("dave".to_owned())), Who::User("eve".to_owned()));
    s.run("RESET ALL", &["RESET"], b'I');
    s.is("web");
    s.run(r#"SET request.jwt.claims = '{"sub":7}'"#, &["SET"], b'I');
    s.is("?");
    s.run("SET request.jwt.claims = ''", &["SET"], b'I');
    s.is("web");
    s.run("SET ROLE NONE", &["SET"], b'I');
    s.is("login");
}

#[test]
fn roles() {
    let mut s = Session::with_all();
    s.run("SET SESSION AUTHORIZATION bob", &["SET"], b'I');
    s.is("bob");
    s.run("SET ROLE web", &["SET"], b'I');
    s.is("web");
    // What becomes of the role is not told.
    s.run("RESET SESSION AUTHORIZATION", &["RESET"], b'I');
    s.is("?");
    s.run("DISCARD ALL", &["DISCARD ALL"], b'I');
    s.is("login");
    s.run(&format!("SET ROLE {}", "r".repeat(64)), &["SET"], b'I');
    s.is("?");
}

#[test]
fn what_is_not_followed_makes_it_unclear_until_it_is_set_again() {
    for text in ["DO 'x'", "SELECT set_config('app.' || 'u', 'b', false)", "SET U&\"app\".u = 'b'"] {
        let mut s = Session::new();
        s.run("SET app.u = 'a'", &["SET"], b'I');
        s.run(text, &["DO"], b'I');
        s.is("?");
        s.run("SELECT 1", &["SELECT 1"], b'I');
        s.is("?");
        s.run("RESET app.u", &["RESET"], b'I');
        s.is("startup");
    }
    let mut s = Session::new();
    s.run("SET trefoil.\"user\" = 'a'", &["SET"], b'I');
    s.run("DO 'x'", &["DO"], b'I');
    s.is("a");
}

#[test]
fn what_was_prepared_to_set_something() {
    let mut s = Session::new();
    s.run("EXECUTE s", &["SELECT 1"], b'I');
    s.is("startup");
    s.run("PREPARE s AS SELECT set_config('app.u', $1, false)", &["PREPARE"], b'I');
    s.is("startup");
    s.run("EXECUTE s('b')", &["SELECT 1"], b'I');
    s.is("?");
}

#[test]
fn a_procedure_may_have_committed_before_it_failed() {
    let mut s = Session::new();
    s.run("SET app.u = 'a'; CALL p()", &["SET", "ERROR"], b'I');
    s.is("?");
    s.run("SET app.u = 'a'", &["SET"], b'I');
    s.run("CALL p()", &["ERROR"], b'I');
    s.is("a");
    s.run("SET app.u = 'b'; CALL p()", &["SET", "CALL"], b'I');
    s.is("b");
    s.run("SET app.u = 'c'; SELECT 1/0", &["SET", "ERROR"], b'I');
    s.is("b");
}
