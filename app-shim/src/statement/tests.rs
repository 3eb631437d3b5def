//! What a statement does to the settings that name a user.

use super::*;

fn from() -> UserFrom {
    UserFrom {
        comment: None,
        claim: Some("sub".to_owned()),
        setting: Some("app.current_user".to_owned()),
        role: true,
        application_name: true,
    }
}

fn effects(text: &str) -> Vec<Effect> {
    read(text.as_bytes(), &from())
        .effects()
        .map(|effect| match effect {
            Effect::Call(call) => call.effect(&from(), |_| None).unwrap_or(Effect::Hide),
            other => other.clone(),
        })
        .collect()
}

fn change(name: Name, value: New, local: bool) -> Effect {
    Effect::Set(Change { name, value, local })
}

fn text(value: &str) -> New {
    New::Text(value.to_owned())
}

#[test]
fn forms_of_set() {
    use Name::{Application, Authorization, Envelope, Role, Setting, User};
    for (statement, name, value, local) in [
        ("SET app.current_user = 'bob'", Setting, text("bob"), false),
        ("set local App . \"current_user\" to 'o''neill' ;;", Setting, text("o'neill"), true),
        ("/* a */ SET -- b\n SESSION app.current_user TO Bob", Setting, text("bob"), false),
        ("SET app.current_user = \"Bob\"", Setting, text("Bob"), false),
        ("SET app.current_user = 42", Setting, text("42"), false),
        ("SET app.current_user = 042", Setting, New::Unclear, false),
        ("SET app.current_user = ''", Setting, text(""), false),
        ("SET app.current_user TO DEFAULT", Setting, New::Default, false),
        ("RESET app.current_user", Setting, New::Default, false),
        ("SET app.current_user = E'bob'", Setting, New::Unclear, false),
        ("SET app.current_user = 'b\\ob'", Setting, New::Unclear, false),
        ("SET app.current_user = 'b'\n'ob'", Setting, New::Unclear, false),
        ("SET LOCAL app.current_user = U&'bob'", Setting, New::Unclear, true),
        ("SET app.current_user = 'a', 'b'", Setting, New::Unclear, false),
        ("SET app.current_user = -1", Setting, New::Unclear, false),
        ("SET app.current_user 'a'", Setting, New::Unclear, false),
        ("SET application_name='x'", Application, text("x"), false),
        ("SET ROLE Bob", Role, text("bob"), false),
        ("SET LOCAL ROLE \"Bob\"", Role, text("Bob"), true),
        ("SET SESSION ROLE 'Bob'", Role, text("Bob"), false),
        ("SET role TO bob", Role, text("bob"), false),
        ("SET ROLE NONE", Role, text("none"), false),
        ("RESET ROLE", Role, New::Default, false),
        ("SET SESSION AUTHORIZATION bob", Authorization, text("bob"), false),
        ("SET LOCAL SESSION AUTHORIZATION 'bob'", Authorization, text("bob"), true),
        ("SET SESSION SESSION AUTHORIZATION DEFAULT", Authorization, New::Default, false),
        ("SET session_authorization = bob", Authorization, text("bob"), false),
        ("RESET SESSION AUTHORIZATION", Authorization, New::Default, false),
        ("SET trefoil.\"user\" = 'a'", User, text("a"), false),
        ("SET trefoil.envelope = 'a.b'", Envelope, text("a.b"), false),
        ("SET app.current_user = \"default\"", Setting, text("default"), false),
    ] {
        assert_eq!(effects(statement), [change(name, value, local)], "{statement}");
    }
}

#[test]
fn other_statements_set_nothing() {
    for statement in [
        "",
        ";;",
        "SET search_path = 'app.current_user'",
        "SET LOCAL TIME ZONE 'UTC'",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET app.current_users = 'a'",
        "RESET search_path",
        "SELECT 'SET app.current_user = ''a'''",
        "SELECT $$;SET app.current_user = 'a';$$",
        "SELECT $a$;SET app.current_user = 'a';$a$ /* ; SET ROLE x; */ -- ; RESET ALL",
        "SELECT \"a;SET ROLE b\"",
        "SELECT set_config('TimeZone', 'UTC', false), now()",
        "SELECT set_config FROM t",
        "UPDATE t SET app = 'a'",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
        "SELECT setting FROM pg_settings",
        "GRANT EXECUTE ON FUNCTION f() TO bob",
    ] {
        let found = effects(statement);
        assert!(found.iter().all(|effect| *effect == Effect::Run), "{statement}: {found:?}");
    }
}

#[test]
fn what_may_set_anything_counts_as_having_done_so() {
    for statement in [
        "DO $$ BEGIN PERFORM 1; END $$",
        "SET U&\"app\".\"current_user\" = 'a'",
        "SET app.U&\"current_user\" = 'a'",
        "RESET U&\"x\"",
        "SELECT set_config('app.current_' || 'user', 'a', true)",
        "SELECT set_config(name, 'a', true) FROM t",
        "SELECT set_config('app.current_user', name, true) FROM t",
        "SELECT 1, pg_catalog.set_config('app.current_user', 'a', true)",
        "SELECT \"set_config\"('app.current_user', 'a', true), 1",
        "SELECT U&\"set_config\"('x', 'a', true)",
        "SELECT set_config('app.current_user', 'a', true) FROM t",
        "SELECT set_config('app.current_user', 'a', 1 = 1)",
        "SELECT set_config(E'app.current_user', 'a', true)",
        "WITH x AS (SELECT set_config('role', 'a', true)) SELECT 1 FROM x",
        "INSERT INTO t SELECT set_config('role', 'a', true)",
        "UPDATE pg_catalog.pg_settings SET setting = 'a' WHERE name = 'app.current_user'",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        "EXPLAIN ANALYZE SELECT set_config('role', 'a', true)",
        "COPY (SELECT set_config('role', 'a', true)) TO STDOUT",
    ] {
        let found = effects(statement);
        assert_eq!(found.first(), Some(&Effect::Unclear), "{statement}: {found:?}");
    }
    for statement in [
        "PREPARE s AS SELECT set_config('role', $1, true)",
        "DECLARE c CURSOR FOR SELECT set_config($$role$$, 'a', true)",
    ] {
        assert_eq!(effects(statement), [Effect::Hide], "{statement}");
    }
}

#[test]
fn set_config_alone() {
    let one = |statement: &str| {
        let read = read(statement.as_bytes(), &from());
        let [Statement { effects, touches_data: false, .. }] = read.all.as_slice() else {
            panic!("{statement}");
        };
        effects
            .iter()
            .map(|effect| match effect {
                Effect::Call(call) => call.effect(&from(), |number| match number {
                    1 => Some(Argument::Text("bob".to_owned())),
                    2 => Some(Argument::Text("ROLE".to_owned())),
                    3 => Some(Argument::Null),
                    4 => Some(Argument::Text("t".to_owned())),
                    _ => None,
                }),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let bob = |name, local| Some(change(name, text("bob"), local));
    assert_eq!(one("SELECT set_config('app.current_user', 'bob', true)"), [bob(Name::Setting, true)]);
    assert_eq!(
        one("select pg_catalog.set_config('role'::text, $1::text, false::bool) as r;"),
        [bob(Name::Role, false)]
    );
    assert_eq!(
        one("SELECT set_config('search_path', $9, true), set_config($2, $1, $4) x"),
        [bob(Name::Role, true)]
    );
    assert_eq!(one("SELECT set_config('role', $3, 'on')"), [Some(change(Name::Role, New::Default, true))]);
    assert_eq!(
        one("SELECT set_config('role', NULL, false)"),
        [Some(change(Name::Role, New::Default, false))]
    );
    assert_eq!(one("SELECT set_config('role', $9, true)"), [Some(change(Name::Role, New::Unclear, true))]);
    for unclear in [
        "SELECT set_config($9, 'a', true)",
        "SELECT set_config('role', 'a', $9)",
        "SELECT set_config('role', 'a', $3)",
    ] {
        assert_eq!(one(unclear), [Some(Effect::Unclear)], "{unclear}");
    }
    assert_eq!(one("SELECT set_config($1, 'a', true)"), [None]);
}

#[test]
fn transactions() {
    use Effect::{Deallocate, DiscardAll, End, ResetAll, RollbackTo, Run, Savepoint};
    for (text, expected) in [
        ("BEGIN; COMMIT", vec![End]),
        ("START TRANSACTION; END; ABORT", vec![End, End]),
        ("ROLLBACK WORK TO SAVEPOINT a", vec![RollbackTo]),
        ("ROLLBACK TRANSACTION; ROLLBACK AND CHAIN", vec![End, End]),
        ("PREPARE TRANSACTION 'x'", vec![End]),
        ("SAVEPOINT a; ROLLBACK TO a; RELEASE a", vec![Savepoint, RollbackTo]),
        ("RESET ALL; DISCARD PLANS; DISCARD ALL", vec![ResetAll, DiscardAll]),
        (
            "DEALLOCATE PREPARE \"S\"; DEALLOCATE ALL",
            vec![Deallocate(Some("S".to_owned())), Deallocate(None)],
        ),
        ("EXECUTE s; FETCH c", vec![Run, Run]),
    ] {
        assert_eq!(effects(text), expected, "{text}");
    }
}

#[test]
fn shares_are_taken_out_of_all_statements() {
    let text =
        "BEGIN; SET LOCAL trefoil.envelope='e1';SET trefoil.app_share TO 's''1'; SET trefoil.\"user\"='a'";
    let without = |text: &[u8]| read(text, &UserFrom::default()).without_shares(text);
    let expected =
        "BEGIN; SET LOCAL trefoil.envelope='set';SET trefoil.app_share TO 'set'; SET trefoil.\"user\"='a'";
    assert_eq!(without(text.as_bytes()).unwrap(), expected.as_bytes());
    assert_eq!(without(b"SET trefoil.envelope=''"), None);
    assert_eq!(without(b"SELECT '\xff'; SET trefoil.envelope='e1'"), None);
}

#[test]
fn what_is_not_utf8_names_nobody() {
    let found = read(b"SET app.current_user = 'b\xffb'", &from());
    assert_eq!(found.effects().collect::<Vec<_>>(), [&change(Name::Setting, New::Unclear, false)]);
}

#[test]
fn plain_reads() {
    let reads = |text: &str| read(text.as_bytes(), &from()).plainly_read();
    for text in [
        "SELECT name, count(*) FROM patients WHERE (ward = 3 OR ssn IN ('x', $1)) GROUP BY name",
        "BEGIN; SELECT 1; COMMIT",
        "WITH x AS (SELECT 1) SELECT * FROM x JOIN y USING (id) ORDER BY lower(name) LIMIT (2)",
        "VALUES (1, 'insert into'), (2, '')",
        "SELECT \"update\" FROM t",
        "TABLE t",
        "SHOW x",
    ] {
        assert!(reads(text), "{text}");
    }
    for text in [
        "INSERT INTO t VALUES (1)",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR KEY SHARE",
        "SELECT a INTO b FROM t",
        "SELECT nextval('s')",
        "SELECT do_something(1)",
        "SELECT \"do\"(1)",
        "SELECT 1; UPDATE t SET a = 1",
        "EXPLAIN ANALYZE DELETE FROM t",
        "COPY t FROM STDIN",
        "CALL p()",
        "FETCH c",
    ] {
        assert!(!reads(text), "{text}");
    }
}
