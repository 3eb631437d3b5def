//! psycopg 3 and jwcrypto, run by `tests/python/`.

use crate::scripts::{output, python};
use crate::shared::{assert_same, clinic, create_schema, create_unprotected_twin, database, shared};
use trefoil_tests::programs::program;

#[test]
fn psycopg_cannot_tell_the_difference() {
    let program = |url: String, table: &str| {
        output(&mut python("tests/python/drivers.py"), &[("URL", &url), ("TABLE", table)])
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
    let program = |url: String| output(&mut python("tests/python/cursors.py"), &[("URL", &url)]);
    let expected = program(database.direct.url());
    assert_same(&program(database.alice.url()), &expected);
}

#[test]
fn an_envelope_made_by_jwcrypto_is_accepted() {
    let database = clinic();
    let bundle = shared().tenant.user_bundle("alice").display().to_string();
    let url = database.application.url();
    let seen = output(&mut python("tests/python/envelope.py"), &[("URL", &url), ("BUNDLE", &bundle)]);
    assert!(seen.contains("SEED-001"));
}

#[test]
fn what_is_sealed_and_signed_passes_between_keys_and_jwcrypto_both_ways() {
    let example = program("examples/jose").unwrap();
    output(python("keys/tests/jose/interop.py").arg(example), &[]);
}
