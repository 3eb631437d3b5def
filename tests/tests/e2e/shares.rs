//! What happens without the right three shares: nothing is decrypted, and nothing is written.

use crate::shared::{Database, clinic, shared};
use std::time::{Duration, SystemTime};
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::tenant::Tenant;

const QUESTION: &str = "SELECT ssn FROM patients WHERE id = 1";

fn comment(user: &str, envelope: &str) -> String {
    format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ ")
}

/// Asks the sidecar that acts for whom the application names.
fn ask(database: &Database, user: &str, envelope: &str, question: &str) -> Vec<Frame> {
    let mut client = Frontend::connect(&database.application, &[]).unwrap();
    client.query(&(comment(user, envelope) + question)).unwrap()
}

fn refused(frames: &[Frame], code: &str) -> String {
    assert_eq!(sqlstate(frames).as_deref(), Some(code), "{frames:?}");
    let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
    assert!(!frames.iter().any(|frame| frame.tag == b'D'), "no rows beside a refusal");
    error.field(b'M').unwrap()
}

fn answered(frames: &[Frame]) {
    let row = frames.iter().find(|frame| frame.tag == b'D').unwrap_or_else(|| panic!("{frames:?}"));
    assert_eq!(row.columns(), [Some(b"SEED-001".to_vec())]);
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn without_a_share_nothing_protected_is_read_or_written() {
    let database = clinic();
    let mut client = Frontend::connect(&database.proxy, &[]).unwrap();
    refused(&client.query(QUESTION).unwrap(), "28000");
    refused(
        &client.extended("SELECT id FROM patients WHERE ssn = $1", &[Some(b"x")], true).unwrap(),
        "28000",
    );
    refused(&client.query("INSERT INTO patients (id, ssn) VALUES (99, 'x')").unwrap(), "28000");
    // What needs no key needs no share.
    assert_eq!(sqlstate(&client.query("SELECT count(*) FROM patients").unwrap()), None);
    assert_eq!(sqlstate(&client.query("SELECT name FROM wards").unwrap()), None);
}

#[test]
fn two_users_of_one_tenant_see_the_same() {
    let database = clinic();
    for endpoint in [&database.alice, &database.bob] {
        answered(&Frontend::connect(endpoint, &[]).unwrap().query(QUESTION).unwrap());
    }
}

#[test]
fn an_application_may_name_user_and_envelope_in_a_comment() {
    let database = clinic();
    let envelope = shared().tenant.envelope("alice", &[]).unwrap();
    answered(&ask(&database, "alice", &envelope, QUESTION));
    let mut client = Frontend::connect(&database.application, &[]).unwrap();
    answered(&client.extended(&(comment("alice", &envelope) + QUESTION), &[], true).unwrap());
    // The comment serves its own statement only.
    refused(&client.query(QUESTION).unwrap(), "28000");
    for sent in shared().recorder.sent() {
        assert!(memchr::memmem::find(&sent, envelope.as_bytes()).is_none(), "the envelope went upstream");
    }
    assert!(!shared().cluster.log().contains(&envelope));
}

#[test]
fn an_expired_envelope_is_told_apart_and_refused() {
    let database = clinic();
    let old = (now() - 3600).to_string();
    let envelope = shared().tenant.envelope("alice", &["--issued-at", &old]).unwrap();
    let message = refused(&ask(&database, "alice", &envelope, QUESTION), "28000");
    assert!(message.contains("expired"), "{message}");
}

#[test]
fn an_envelope_expires_within_a_session() {
    let database = clinic();
    let envelope = shared().tenant.envelope("alice", &["--lifetime", "3"]).unwrap();
    let mut client = Frontend::connect(&database.application, &[]).unwrap();
    let question = comment("alice", &envelope) + QUESTION;
    answered(&client.query(&question).unwrap());
    // Lifetime, the allowed skew, and a second to spare.
    std::thread::sleep(Duration::from_secs(9));
    let message = refused(&client.query(&question).unwrap(), "28000");
    assert!(message.contains("expired"), "{message}");
}

#[test]
fn an_envelope_from_the_future_or_valid_for_too_long_is_refused() {
    let database = clinic();
    let future = (now() + 3600).to_string();
    let envelope = shared().tenant.envelope("alice", &["--issued-at", &future]).unwrap();
    refused(&ask(&database, "alice", &envelope, QUESTION), "28000");
    // However long it claims to live, it serves max_validity after its issue.
    let issued = (now() - 300).to_string();
    let envelope = shared().tenant.envelope("alice", &["--issued-at", &issued, "--lifetime", "86400"]);
    if let Ok(envelope) = envelope {
        refused(&ask(&database, "alice", &envelope, QUESTION), "28000");
    }
}

#[test]
fn someone_elses_envelope_is_refused() {
    let database = clinic();
    let envelope = shared().tenant.envelope("bob", &[]).unwrap();
    refused(&ask(&database, "alice", &envelope, QUESTION), "28000");
    refused(&ask(&database, "nobody", &envelope, QUESTION), "28000");
}

#[test]
fn a_damaged_envelope_is_refused() {
    let database = clinic();
    let envelope = shared().tenant.envelope("alice", &[]).unwrap();
    for position in [10, envelope.len() / 2, envelope.len() - 3] {
        let mut damaged = envelope.clone().into_bytes();
        damaged[position] = if damaged[position] == b'A' { b'B' } else { b'A' };
        refused(&ask(&database, "alice", &String::from_utf8(damaged).unwrap(), QUESTION), "28000");
    }
    refused(&ask(&database, "alice", "no envelope at all", QUESTION), "28000");
    refused(&ask(&database, "alice", "", QUESTION), "28000");
}

#[test]
fn a_share_of_another_tenant_is_refused() {
    let database = clinic();
    let shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let other = Tenant::offline(&dir.path().join("other"), "other", &["alice"]).unwrap();
    // Sealed for the other tenant's proxy, and sealed for ours with the other tenant's share in it.
    refused(&ask(&database, "alice", &other.envelope("alice", &[]).unwrap(), QUESTION), "28000");
    let crossed = other.user_bundle_for("alice", &shared.tenant).unwrap();
    refused(&ask(&database, "alice", &other.envelope_from(&crossed, &[]).unwrap(), QUESTION), "28000");
}

#[test]
fn a_read_envelope_does_not_write() {
    let database = clinic();
    let envelope = shared().tenant.envelope("alice", &["--scope", "read"]).unwrap();
    answered(&ask(&database, "alice", &envelope, QUESTION));
    for write in [
        "INSERT INTO patients (id, ssn) VALUES (99, 'x')",
        "UPDATE patients SET ssn = 'x' WHERE id = 1",
        "DELETE FROM patients WHERE ssn = 'SEED-001'",
        "WITH x AS (DELETE FROM patients WHERE id = 1 RETURNING ssn) SELECT ssn FROM x",
    ] {
        refused(&ask(&database, "alice", &envelope, write), "42501");
    }
    answered(&ask(&database, "alice", &envelope, QUESTION));
}

#[test]
fn a_withdrawn_user_is_refused_at_once_within_a_session() {
    let database = clinic();
    let shared = shared();
    let envelope = shared.tenant.envelope("carol", &[]).unwrap();
    let mut client = Frontend::connect(&database.application, &[]).unwrap();
    let question = comment("carol", &envelope) + QUESTION;
    answered(&client.query(&question).unwrap());
    shared.tenant.withdraw("carol").unwrap();
    let last = client.query(&question).unwrap();
    refused(&last, "28000");
    // Between the rows of an answer it ends the session; then the next one begins here.
    if last.last().is_none_or(|frame| frame.tag != b'Z') {
        client = Frontend::connect(&database.application, &[]).unwrap();
    }
    refused(&client.query(&question).unwrap(), "28000");
    // Refused before it is sent, and the session goes on.
    let write = comment("carol", &envelope) + "UPDATE patients SET ward = 77 WHERE id = 1 RETURNING ssn";
    refused(&client.query(&write).unwrap(), "28000");
    assert_eq!(sqlstate(&client.query("SELECT 1").unwrap()), None);
    assert_eq!(
        database.direct.run("SELECT ward FROM patients WHERE id = 1").unwrap(),
        [[Some("1".to_owned())]]
    );
    answered(&Frontend::connect(&database.alice, &[]).unwrap().query(QUESTION).unwrap());
}

#[test]
fn shares_as_settings_of_the_session() {
    let database = clinic();
    let tenant = &shared().tenant;
    let envelope = tenant.envelope("alice", &[]).unwrap();
    let share = tenant.application_share("alice").unwrap();
    let mut client = Frontend::connect(&database.proxy, &[]).unwrap();
    let value = |frames: &[Frame]| {
        let row = frames.iter().find(|frame| frame.tag == b'D').unwrap_or_else(|| panic!("{frames:?}"));
        row.columns()
    };
    client.query("SET trefoil.\"user\" = 'alice'").unwrap();
    client.query(&format!("SET trefoil.envelope = '{envelope}'")).unwrap();
    refused(&client.query(QUESTION).unwrap(), "28000");
    let set = "SELECT set_config('trefoil.app_share', $1, false)";
    let frames = client.extended(set, &[Some(share.as_bytes())], false).unwrap();
    assert_eq!(sqlstate(&frames), None);
    answered(&client.query(QUESTION).unwrap());
    assert_eq!(value(&client.query("SHOW trefoil.\"user\"").unwrap()), [Some(b"alice".to_vec())]);
    assert_eq!(value(&client.query("SHOW trefoil.envelope").unwrap()), [Some(b"set".to_vec())]);
    assert_eq!(value(&client.query("SHOW trefoil.app_share").unwrap()), [Some(b"set".to_vec())]);
    client.query("RESET trefoil.app_share").unwrap();
    refused(&client.query(QUESTION).unwrap(), "28000");

    // SET LOCAL ends with the transaction.
    client.query("BEGIN").unwrap();
    client.query(&format!("SET LOCAL trefoil.app_share = '{share}'")).unwrap();
    answered(&client.query(QUESTION).unwrap());
    client.query("COMMIT").unwrap();
    refused(&client.query(QUESTION).unwrap(), "28000");

    // In the startup message.
    let options =
        format!("-c trefoil.user=alice -c trefoil.envelope={envelope} -c trefoil.app_share={share}");
    let mut client = Frontend::connect(&database.proxy, &[("options", &options)]).unwrap();
    answered(&client.query(QUESTION).unwrap());

    let secret = share.split_once(':').unwrap().1;
    let log = shared().cluster.log();
    for needle in [envelope.as_str(), secret] {
        assert!(!log.contains(needle), "a share is in the server's log");
        for sent in shared().recorder.sent() {
            assert!(memchr::memmem::find(&sent, needle.as_bytes()).is_none(), "a share went upstream");
        }
    }
}

#[test]
fn a_cell_that_was_tampered_with_is_an_error_that_names_it() {
    let database = clinic();
    let flip = "UPDATE patients SET ssn = set_byte(ssn, 20, get_byte(ssn, 20) # 1) WHERE id = 1";
    database.direct.run(flip).unwrap();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    let frames = client.query(QUESTION).unwrap();
    let message = refused(&frames, "XX001");
    assert!(message.contains("patients") && message.contains("ssn"), "{message}");
    // A cell of another column is no cell of this one.
    database.direct.run("UPDATE patients SET ssn = mrn WHERE id = 2").unwrap();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    refused(&client.query("SELECT ssn FROM patients WHERE id = 2").unwrap(), "XX001");
}

#[test]
fn the_database_itself_refuses_what_is_no_cell() {
    let database = clinic();
    let error = database.direct.run("UPDATE patients SET ssn = 'plain text' WHERE id = 1").unwrap_err();
    assert!(error.to_string().starts_with("23514"), "{error}");
    let rows = database.direct.run("SELECT ssn::text FROM patients WHERE id = 1").unwrap();
    assert!(rows[0][0].as_ref().unwrap().starts_with("\\x12"), "{rows:?}");
}

#[test]
fn the_logs_of_proxy_and_sidecars_hold_no_value() {
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    client.query("SELECT id FROM patients WHERE ssn = 'LOGMARKER77'").unwrap();
    client.query("SELECT id FROM patients WHERE upper(ssn) = 'LOGMARKER77'").unwrap();
    client.query("INSERT INTO patients (id, visits) VALUES (60, 'LOGMARKER77')").unwrap();
    let directory = shared().cluster.directory().join("parts");
    let mut logs = 0;
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            logs += 1;
            let log = std::fs::read_to_string(entry.path()).unwrap();
            for needle in ["LOGMARKER77", "SEED-", "eyJ"] {
                assert!(!log.contains(needle), "{}: {needle}", entry.path().display());
            }
        }
    }
    assert_eq!(logs, 4);
}
