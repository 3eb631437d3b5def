//! The proxy decides: by SCRAM from verifiers, by its rules, and with credentials of its own.

use super::{Options, PASSWORD, Proxy, psql, role, setting, tls_with_identity};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trefoil_tests::programs::program;

/// What `trefoil-proxy scram-verifier` makes of a password.
pub(crate) fn verifier(password: &str) -> String {
    let mut command = Command::new(program("trefoil-proxy").unwrap());
    let mut made =
        command.arg("scram-verifier").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    made.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = made.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const HBA: &str = "\
# The rest asks the database.
host all alice,bob,carol,eve   127.0.0.1/32 scram
host all mallory               127.0.0.1/32 reject
host postgres auth_trust       127.0.0.1/32 passthrough
";

fn proxy() -> Proxy {
    let users = format!(
        "[users.alice]\nverifier = {:?}\nrole = \"auth_scram\"\npassword = {PASSWORD:?}\n\
         [users.bob]\nverifier = {:?}\nrole = \"auth_cert\"\n\
         [users.carol]\nverifier = {:?}\nrole = \"auth_tls\"\npassword = \"QZstale7\"\n",
        verifier("QZalice1pass"),
        verifier("QZbob2 \u{2168}"),
        verifier("QZcarol3"),
    );
    let upstream = tls_with_identity();
    let options =
        Options { upstream: Some(&upstream), hba: Some(HBA), users: Some(&users), ..Options::default() };
    Proxy::start(&options)
}

#[test]
fn a_verifier_lets_its_password_in_as_its_role_and_nobody_else_reaches_the_database() {
    let proxy = proxy();
    assert_eq!(proxy.role("alice", "QZalice1pass").unwrap(), "auth_scram by TLS");
    // By the proxy's certificate; the password as SASLprep has it, too.
    assert_eq!(proxy.role("bob", "QZbob2 \u{2168}").unwrap(), "auth_cert by TLS");
    assert_eq!(proxy.role("bob", "QZbob2 IX").unwrap(), "auth_cert by TLS");
    let url = |user, more| {
        format!("postgresql://{user}@127.0.0.1:{}/postgres?sslmode=disable{more}", proxy.part.port())
    };
    assert_eq!(psql(&url("alice", ""), "QZalice1pass"), "auth_scram\n");

    let connections = proxy.recorder.sent().len();
    for (user, password) in [("alice", "QZbob2 IX"), ("alice", PASSWORD), ("eve", "x"), ("bob", "")] {
        let says = psql(&url(user, ""), password);
        let expected = format!("FATAL:  password authentication failed for user \"{user}\"");
        assert!(says.contains(&expected) || says.contains("no password supplied"), "{says}");
    }
    for user in ["mallory", "auth_scram", "zoe"] {
        let says = proxy.role(user, PASSWORD).unwrap_err();
        assert!(says.contains("hba_file") && says.contains(&format!("user \"{user}\"")), "{says}");
    }
    // Nor by a second user, nor by options.
    let alice = proxy.endpoint("alice", "QZalice1pass");
    assert!(role(&alice, &[("user", "eve")]).is_err());
    assert!(psql(&url("alice", "&channel_binding=require"), "QZalice1pass").contains("channel binding"));
    assert_eq!(proxy.recorder.sent().len(), connections, "a failed login reached the database");
    assert_eq!(
        role(&proxy.endpoint("eve", "QZalice1pass"), &[("user", "alice")]).unwrap(),
        "auth_scram by TLS"
    );

    // The credential upstream is wrong: the log says so, and carol nothing of its role.
    let says = proxy.role("carol", "QZcarol3").unwrap_err();
    assert!(says.contains("the database did not let the proxy in for user \"carol\""), "{says}");
    let log = proxy.log();
    assert!(log.contains("refuses this role to the proxy") && log.contains("auth_tls"), "{log}");

    let log = proxy.log();
    for secret in ["QZalice1pass", "QZbob2", "QZcarol3", "QZstale7", PASSWORD] {
        assert!(!log.contains(secret) && !proxy.sent(secret), "{secret} is seen");
    }
    assert!(log.contains("login refused") && log.contains("logged in"), "{log}");
}

#[test]
fn who_fails_again_and_again_waits_and_nobody_else() {
    let proxy = proxy();
    let began = Instant::now();
    for _ in 0..10 {
        let says = proxy.role("alice", "wrong").unwrap_err();
        assert!(says.contains("password authentication failed for user \"alice\""), "{says}");
    }
    // Five are free, and the first of the others finds nobody before it.
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    let began = Instant::now();
    assert!(proxy.role("bob", "QZbob2 IX").is_ok());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(proxy.role("alice", "QZalice1pass").unwrap(), "auth_scram by TLS");
}

#[test]
fn a_flood_of_wrong_passwords_is_not_answered() {
    let proxy = Proxy::start(&Options::default());
    let tried = |user: &'static str| {
        let endpoint = proxy.endpoint(user, "wrong");
        std::thread::spawn(move || role(&endpoint, &[]).unwrap_err())
    };
    // All at once: none has failed when the last one comes.
    let flood: Vec<_> = (0..40).map(|_| tried("auth_scram")).collect();
    let refused = "too many failed logins from this address for user \"auth_scram\"";
    let refused =
        flood.into_iter().filter_map(|one| one.join().unwrap().contains(refused).then_some(())).count();
    assert!((10..40).contains(&refused), "{refused} of 40");
    // Others come from the same address.
    let began = Instant::now();
    assert_eq!(proxy.role("auth_md5", PASSWORD).unwrap(), "auth_md5");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn who_may_log_in_is_read_again_at_a_signal_and_a_bad_file_changes_nothing() {
    let proxy = proxy();
    let rules = proxy.directory.join("hba_file");
    let hang_up = |lines: &str, expected: &str| {
        std::fs::write(&rules, lines).unwrap();
        proxy.part.process().signal("HUP").unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !proxy.log().contains(expected) {
            assert!(Instant::now() < end, "{}", proxy.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    hang_up("host all all all trust\n", "hba_file, line 1: `trust` is none of");
    assert_eq!(proxy.role("alice", "QZalice1pass").unwrap(), "auth_scram by TLS");
    hang_up("host all alice all reject\n", "hba_file, ident_file and users_file are read");
    assert!(proxy.role("alice", "QZalice1pass").unwrap_err().contains("hba_file rejects connection"));
    assert!(setting().authority.file().exists());
}
