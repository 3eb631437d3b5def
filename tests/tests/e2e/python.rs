//! psycopg 3 and jwcrypto, run by `tests/python/`.

use crate::shared::{assert_same, clinic, create_schema, create_unprotected_twin, database, shared};
use std::path::Path;
use std::process::Command;
use trefoil_tests::programs::{program, source};

fn python(script: &str, arguments: &[&Path], environment: &[(&str, String)]) -> String {
    let found = Command::new(source().join("deploy/python.sh")).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let interpreter = String::from_utf8(found.stdout).unwrap();
    let mut command = Command::new(interpreter.trim());
    command.arg("-B").arg(source().join(script)).args(arguments);
    let output = command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn psycopg_cannot_tell_the_difference() {
    let program = |url: String, table: &str| {
        python("tests/python/drivers.py", &[], &[("URL", url), ("TABLE", table.to_owned())])
    };
    let plain = database();
    create_schema(&plain.direct);
    let expected = program(plain.direct.url(), "patients");
    assert!(expected.lines().count() > 80, "{expected}");
    assert_same(&program(clinic().alice.url(), "patients"), &expected);
    let unprotected = database();
    create_unprotected_twin(&unprotected.alice);
    assert_same(&program(unprotected.alice.url(), "people"), &expected);
}

#[test]
fn server_side_cursors_of_psycopg_work_over_plain_tables() {
    let database = clinic();
    let expected = python("tests/python/cursors.py", &[], &[("URL", database.direct.url())]);
    assert_same(&python("tests/python/cursors.py", &[], &[("URL", database.alice.url())]), &expected);
}

#[test]
fn an_envelope_made_by_jwcrypto_is_accepted() {
    let database = clinic();
    let bundle = shared().tenant.user_bundle("alice").display().to_string();
    let environment = [("URL", database.application.url()), ("BUNDLE", bundle)];
    assert!(python("tests/python/envelope.py", &[], &environment).contains("SEED-001"));
}

#[test]
fn envelopes_pass_between_keys_and_jwcrypto_both_ways() {
    let example = program("examples/envelope").unwrap();
    python("keys/tests/jose/interop.py", &[&example], &[]);
}
