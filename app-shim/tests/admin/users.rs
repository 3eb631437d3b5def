//! Whose shares go with a statement, by the ways in which applications name their users. The envelope is
//! the application's own here, so that every message is seen.

use crate::relay::{
    EXECUTE, SHARE, SYNC, Session, Shim, complete, join, key, message, parse, query, ready, send,
};

const BOTH: &[u8] = b"user\0app\0";

fn shim(ways: &[(&str, &str)]) -> Shim {
    let names: Vec<String> = ways.iter().map(|(way, _)| format!("TREFOIL_USER_FROM_{way}")).collect();
    let variables: Vec<_> =
        names.iter().zip(ways).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    Shim::start_with(&variables)
}

/// A session whose application has brought the envelope `e1`.
fn session(shim: &Shim, parameters: &[u8]) -> Session {
    let mut session = shim.session(parameters);
    let set = |value: &str| query(format!("SET trefoil.envelope = '{value}'"));
    send(&mut session.client, &set("e1"));
    let (_, upstream) = (session.next_key(), set("set"));
    session.up_is(&upstream);
    session.down_passes(&complete("SET", b'I'));
    session
}

impl Session {
    /// Whose shares come with this text: `-` for nobody's.
    #[track_caller]
    fn whose(&mut self, text: &str) -> String {
        send(&mut self.client, &query(text));
        let user = self.next_key();
        self.up_is(&query(text));
        user
    }

    #[track_caller]
    fn run(&mut self, text: &str, tags: &[&str], status: u8) -> String {
        let user = self.whose(text);
        self.answer(tags, status);
        user
    }

    fn answer(&mut self, tags: &[&str], status: u8) {
        let tags: Vec<u8> =
            tags.iter().flat_map(|tag| message(b'C', &[tag.as_bytes(), b"\0"].concat())).collect();
        self.down_passes(&[tags, ready(status)].concat());
    }

    /// Answers a request that made so many prepared statements.
    fn made(&mut self, count: usize) {
        self.down_passes(&[message(b'1', b"").repeat(count), ready(b'I')].concat());
    }

    fn next_key(&mut self) -> String {
        let [user, envelope, share] = self.key();
        match user.as_str() {
            "" => {
                assert_eq!((envelope.as_str(), share.as_str()), ("", ""), "shares of nobody");
                "-".to_owned()
            }
            "alice" | "bob" => {
                assert_eq!(share, SHARE);
                user
            }
            _ => {
                assert_eq!(share, "");
                user
            }
        }
    }
}

#[test]
fn by_a_setting() {
    let shim = shim(&[("SETTING", "app.u")]);
    let mut s = session(&shim, BOTH);
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "-");
    s.run("SET app.u = 'alice'", &["SET"], b'I');
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "alice");
    // A text runs as the user that it names before anything else.
    let text = "BEGIN; SET LOCAL app.u TO 'bob'; SELECT 1";
    assert_eq!(s.run(text, &["BEGIN", "SET", "SELECT 1"], b'T'), "bob");
    assert_eq!(s.run("SELECT 1; COMMIT", &["SELECT 1", "COMMIT"], b'I'), "bob");
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "alice");
    assert_eq!(s.run("SELECT set_config('app.u', 'bob', false)", &["SELECT 1"], b'I'), "alice");
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "bob");
    assert_eq!(s.run("DISCARD ALL", &["DISCARD ALL"], b'I'), "bob");
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "-");
}

#[test]
fn at_the_connections_start() {
    let shim = shim(&[("SETTING", "app.u")]);
    for parameters in [&b"user\0app\0app.u\0bob\0"[..], b"user\0app\0options\0-c app.u=bob\0"] {
        let mut s = session(&shim, parameters);
        assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "bob");
        s.run("SET app.u = 'alice'; RESET app.u", &["SET", "RESET"], b'I');
        assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "bob");
    }
}

#[test]
fn two_users_in_one_text_get_nothing_nor_does_what_follows() {
    let shim = shim(&[("SETTING", "app.u")]);
    for text in [
        "SELECT 1; SET app.u = 'bob'; SELECT 2",
        "SET app.u = 'bob'; SELECT 1; SET app.u = 'alice'; SELECT 2",
        "BEGIN; SET LOCAL app.u = 'bob'; SELECT 1; COMMIT; SELECT 2",
        "SET app.u = E'bob'; SELECT 1",
        "DO 'BEGIN END'; SELECT 1",
        "SELECT set_config('app.u', name, true), name FROM users",
    ] {
        let mut s = session(&shim, BOTH);
        s.run("SET app.u = 'alice'", &["SET"], b'I');
        assert_eq!(s.run(text, &["SELECT 1"], b'I'), "-", "{text}");
        if !text.contains("COMMIT") {
            assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "-", "{text}");
        }
        s.run("SET app.u = 'bob'", &["SET"], b'I');
        assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "bob", "{text}");
    }
}

#[test]
fn by_a_comment_in_the_applications_own_way() {
    let shim = shim(&[("COMMENT", "user"), ("SETTING", "app.u")]);
    let mut s = session(&shim, BOTH);
    s.run("SET app.u = 'alice'", &["SET"], b'I');
    assert_eq!(s.run("SELECT 1 /*route='x',user='bob'*/", &["SELECT 1"], b'I'), "bob");
    assert_eq!(s.run("SELECT 1 /*route='x'*/", &["SELECT 1"], b'I'), "alice");
    assert_eq!(s.run("/*user='bob'*/ SELECT 1 /*user='alice'*/", &["SELECT 1"], b'I'), "-");
    assert_eq!(s.run("SELECT 1 /*user=bob*/", &["SELECT 1"], b'I'), "-");
    // A prepared statement keeps it.
    let text = "SELECT 1 /*user='bob'*/";
    s.up(&join(&[&parse("s", text), SYNC]), &join(&[&key("bob", "", SHARE), &parse("s", text), SYNC]));
    s.made(1);
    let (bind, other) = (bind("s", &[]), bind("", &[]));
    s.up(
        &join(&[&parse("", "SELECT 2"), &other, EXECUTE, &bind, EXECUTE, SYNC]),
        &join(&[
            &key("alice", "", SHARE),
            &parse("", "SELECT 2"),
            &other,
            EXECUTE,
            &key("bob", "", SHARE),
            &bind,
            EXECUTE,
            SYNC,
        ]),
    );
    s.answer(&[], b'I');
    // If it may have been dropped it may be anything.
    assert_eq!(s.run("DEALLOCATE s", &[], b'E'), "alice");
    s.up(&join(&[&bind, SYNC]), &join(&[&key("", "", ""), &bind, SYNC]));
}

fn bind(name: &str, parameters: &[&str]) -> Vec<u8> {
    let mut body = [b"\0", name.as_bytes(), b"\0\0\0"].concat();
    body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        body.extend(u32::try_from(parameter.len()).unwrap().to_be_bytes());
        body.extend(parameter.as_bytes());
    }
    body.extend(b"\0\0");
    message(b'B', &body)
}

fn parse_plain(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

#[test]
fn as_postgrest_does_it() {
    let shim = shim(&[("CLAIM", "sub"), ("ROLE", "true")]);
    let mut s = session(&shim, b"user\0authenticator\0");
    assert_eq!(s.run("BEGIN", &["BEGIN"], b'T'), "authenticator");
    let text = "select set_config('search_path', $1, true), set_config($2, $3, true), set_config('role', $4, true), \
                set_config('request.jwt.claims', $5, true)";
    let bound = |claims| bind("", &["public", "request.method", "GET", "web", claims]);
    for (claims, user) in [(r#"{"role":"web","sub":"bob"}"#, "bob"), (r#"{"role":"web"}"#, "web"), ("x", "-")]
    {
        let select = parse_plain("", "SELECT 1");
        send(&mut s.client, &join(&[&parse_plain("", text), &bound(claims), EXECUTE, &select, SYNC]));
        s.next_key();
        s.up_is(&join(&[&parse_plain("", text), &bound(claims), EXECUTE]));
        assert_eq!(s.next_key(), user);
        s.up_is(&join(&[&select, SYNC]));
        s.answer(&["SELECT 1"], b'T');
    }
    s.run("COMMIT", &["COMMIT"], b'I');
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "authenticator");
}

#[test]
fn a_statement_that_names_a_user_counts_where_it_is_executed() {
    let shim = shim(&[("SETTING", "app.u")]);
    let mut s = session(&shim, BOTH);
    s.run("SET app.u = 'alice'", &["SET"], b'I');
    let set = parse_plain("set", "SELECT set_config('app.u', $1, false)");
    let select = parse_plain("get", "SELECT 1");
    send(&mut s.client, &join(&[&set, &select, SYNC]));
    s.next_key();
    s.up_is(&join(&[&set, &select, SYNC]));
    s.made(2);
    // Bound first and executed later: whom the first Execute runs as cannot be told.
    let (bound, other) = (bind("set", &["bob"]), bind("get", &[]));
    send(&mut s.client, &join(&[&bound, &other, EXECUTE, SYNC]));
    s.next_key();
    s.up_is(&bound);
    assert_eq!(s.next_key(), "-");
    s.up_is(&join(&[&other, EXECUTE, SYNC]));
    s.answer(&["SELECT 1"], b'I');
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "-");
}

#[test]
fn the_next_request_waits_until_the_user_is_settled() {
    let shim = shim(&[("SETTING", "app.u")]);
    let mut s = session(&shim, BOTH);
    s.run("SET app.u = 'alice'", &["SET"], b'I');
    send(&mut s.client, &join(&[&query("SET app.u = 'bob'"), &query("SELECT 1")]));
    assert_eq!(s.next_key(), "alice");
    s.up_is(&query("SET app.u = 'bob'"));
    s.nothing_up();
    // It was refused.
    s.down_passes(&join(&[&message(b'E', b"SERROR\0\0"), &ready(b'I')]));
    assert_eq!(s.next_key(), "alice");
    s.up_is(&query("SELECT 1"));
}

#[test]
fn by_role_and_application_name() {
    let by_role = shim(&[("ROLE", "true")]);
    let mut s = session(&by_role, b"user\0alice\0");
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "alice");
    s.run("BEGIN; SET LOCAL ROLE bob", &["BEGIN", "SET"], b'T');
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'T'), "bob");
    s.run("ROLLBACK", &["ROLLBACK"], b'I');
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "alice");
    // PgBouncer's way when it gives a connection to another client.
    let by_name = shim(&[("APPLICATION_NAME", "true")]);
    let mut s = session(&by_name, b"user\0pool\0application_name\0alice\0");
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "alice");
    s.run("SET client_encoding='UTF8';SET application_name='bob';", &["SET", "SET"], b'I');
    assert_eq!(s.run("SELECT 1", &["SELECT 1"], b'I'), "bob");
}
