//! Passwords in the memory of running programs: of a login, nothing stays in the proxy or the sidecar but what
//! a configuration has to keep.

use crate::authentication::scram::verifier;
use crate::authentication::{Options, Proxy, setting, tls};
use crate::memory::{Looked, TURN, found};
use crate::shared::cluster;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frontend, sqlstate};
use trefoil_tests::stack::Part;

/// As long as what is searched for must be.
const BY_SCRAM: &[u8; 32] = b"QZ4uYp0w8sKfLx2dRb6nVt1cHg9mJe5a";
const AS_IT_IS: &[u8; 32] = b"QZj7Tq3zBv0yXk5oWh2lMs8rDn4gUc6f";
const WRONG: &[u8; 32] = b"QZa1Ls9eKd8rFj7tGh6yPw5uQo4iZm3x";
const OF_ALICE: &[u8; 32] = b"QZe3Wc5rVf7tBg9yNh1uJm2kXl4oCp6s";

fn text(password: &[u8; 32]) -> &str {
    str::from_utf8(password).unwrap()
}

/// Two roles, one for which the database keeps to SCRAM, and one for which it asks for the password.
fn roles() {
    setting();
    for (role, password) in [("memory_scram", BY_SCRAM), ("memory_password", AS_IT_IS)] {
        let create =
            format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{}'", text(password));
        cluster().endpoint().run(&create).unwrap();
    }
}

/// Sessions that have logged in and go on, and one that has failed to.
fn logged_in(endpoint: &Endpoint, logins: &[(&str, &[u8; 32])]) -> Vec<Frontend> {
    let login = |user: &str, password| {
        let password = text(password).to_owned();
        Frontend::connect(&Endpoint { user: user.to_owned(), password, ..endpoint.clone() }, &[])
    };
    let (first, _) = logins[0];
    assert!(login(first, WRONG).is_err(), "{first} is let in by any password");
    let mut open: Vec<_> = logins.iter().map(|(user, password)| login(user, password).unwrap()).collect();
    for client in &mut open {
        assert_eq!(sqlstate(&client.query("SELECT 1").unwrap()), None);
    }
    open
}

fn passwords_in(part: &Part, names: &[(&str, &[u8; 32])]) -> BTreeMap<String, usize> {
    found(part, names.iter().map(|(name, password)| (*name, **password)))
}

#[test]
fn no_password_of_a_client_stays_behind() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    roles();
    let looked = Looked::start("memory_passwords", "open");
    let logins = [("memory_scram", BY_SCRAM), ("memory_password", AS_IT_IS)];
    let parts = [&looked.stack.proxy, &looked.stack.application];
    let open = parts.map(|part| logged_in(&looked.through(part), &logins));
    let all = [("by SCRAM", BY_SCRAM), ("as it is", AS_IT_IS), ("a wrong one", WRONG)];
    for part in parts {
        assert_eq!(passwords_in(part, &all), BTreeMap::new(), "{}, sessions open", part.process().name());
    }
    drop(open);
    looked.wait_until_idle(0);
    for part in parts {
        assert_eq!(passwords_in(part, &all), BTreeMap::new(), "{}, sessions ended", part.process().name());
    }
}

#[test]
fn of_the_passwords_of_a_users_file_there_is_one_copy_and_of_its_users_none() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    roles();
    let [of_alice, by_scram, as_it_is] = [OF_ALICE, BY_SCRAM, AS_IT_IS].map(text);
    let verifier = verifier(of_alice);
    let users = format!(
        "[users.alice]\nverifier = {verifier:?}\nrole = \"memory_scram\"\npassword = {by_scram:?}\n\
         [users.bob]\nverifier = {verifier:?}\nrole = \"memory_password\"\npassword = {as_it_is:?}\n"
    );
    let upstream = tls(&setting().authority.file());
    let options = Options {
        upstream: Some(&upstream),
        hba: Some("host all all 127.0.0.1/32 scram\n"),
        users: Some(&users),
        ..Options::default()
    };
    let mut proxy = Proxy::start(&options);
    proxy.part.restart(&[("TREFOIL_MEMORY", "open")]).unwrap();
    let open = logged_in(&proxy.endpoint("", ""), &[("alice", OF_ALICE), ("bob", OF_ALICE)]);
    // The file is read once more, and what was read before is gone.
    proxy.part.process().signal("HUP").unwrap();
    let open_too = logged_in(&proxy.endpoint("", ""), &[("alice", OF_ALICE), ("bob", OF_ALICE)]);
    let clients = [("of alice", OF_ALICE), ("a wrong one", WRONG)];
    assert_eq!(passwords_in(&proxy.part, &clients), BTreeMap::new());
    for kept in [("by SCRAM", BY_SCRAM), ("as it is", AS_IT_IS)] {
        let found = passwords_in(&proxy.part, &[kept]);
        // Both halves of the one that the next login needs.
        assert!(found.values().sum::<usize>() == 2, "{found:?}");
    }
    drop((open, open_too));
}
