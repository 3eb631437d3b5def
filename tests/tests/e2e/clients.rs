//! Drivers and object-relational mappers, each with its idioms: a small application makes its tables,
//! fills and uses them, and prints what it sees. Over tables under the policy that is what it is on a
//! PostgreSQL without a proxy, and nothing that it marked is seen beyond the proxy.

use crate::scripts::{go, java, node, output, python};
use crate::shared::{assert_same, database, shared};
use std::process::Command;
use trefoil_tests::leak::{Marker, Search};
use trefoil_tests::programs::source;

/// Runs an application on both sides. It puts `mark` into each text that it protects.
fn the_same(mark: &str, application: &mut Command) {
    let (plain, protected) = (database(), database());
    let expected = output(application, &[("URL", &plain.direct.url()), ("MARK", mark)]);
    assert!(expected.lines().count() > 100 && !expected.contains("FAILED"), "without a proxy: {expected}");
    assert_same(&output(application, &[("URL", &protected.alice.url()), ("MARK", mark)]), &expected);
    let search = Search::new([&Marker::text(mark)], 4).unwrap();
    let sent = shared().recorder.sent();
    let leaks: Vec<_> = sent.iter().flat_map(|bytes| search.leaks(bytes)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    assert!(
        sent.iter().any(|bytes| memchr::memmem::find(bytes, b"Cardiology").is_some()),
        "nothing was sent"
    );
}

#[test]
fn psql() {
    let mut psql = Command::new("sh");
    psql.args(["-c", "exec psql -X -d \"$URL\" -v VERBOSITY=terse -v QUIET=on -v mark=\"$MARK\" -f \"$0\""]);
    the_same("QJPSQLQZ", psql.arg(source().join("tests/psql/with_psql.sql")).env("LC_ALL", "C.UTF-8"));
}

#[test]
fn asyncpg() {
    the_same("QJASYNCPGQZ", &mut python("tests/python/with_asyncpg.py"));
}

#[test]
fn sqlalchemy_over_psycopg() {
    the_same("QJALCHEMYPGQZ", python("tests/python/with_sqlalchemy.py").arg("psycopg"));
}

#[test]
fn sqlalchemy_over_asyncpg() {
    the_same("QJALCHEMYASYNCQZ", python("tests/python/with_sqlalchemy.py").arg("asyncpg"));
}

#[test]
fn node_postgres() {
    the_same("QJNODEQZ", &mut node("tests/node/with_pg.js"));
}

#[test]
fn jdbc() {
    the_same("QJJDBCQZ", &mut java("WithJdbc"));
}

#[test]
fn pgx() {
    the_same("QJPGXQZ", &mut go());
}
