//! The database decides: the proxy asks for a password if the database does, and logs in with it.

use super::{Options, PASSWORD, Proxy, psql, role, setting, tls, tls_with_identity};
use trefoil_tests::authority::Authority;

#[test]
fn a_client_logs_in_by_whatever_the_database_asks_for() {
    let authority = setting().authority.file();
    let clear = Proxy::start(&Options::default());
    let tls = Proxy::start(&Options { upstream: Some(&tls(&authority)), ..Options::default() });
    for user in ["auth_scram", "auth_md5", "auth_password", "auth_trust"] {
        assert_eq!(clear.role(user, PASSWORD).unwrap(), user);
        assert_eq!(tls.role(user, PASSWORD).unwrap(), format!("{user} by TLS"));
    }
    assert_eq!(tls.role("auth_tls", PASSWORD).unwrap(), "auth_tls by TLS");
    for user in ["auth_scram", "auth_md5", "auth_password", "nobody"] {
        let says = format!("password authentication failed for user \"{user}\"");
        for proxy in [&clear, &tls] {
            let refused = proxy.role(user, "wrong").unwrap_err();
            assert!(refused.contains(&says), "{refused}");
        }
    }
    assert!(clear.role("auth_tls", PASSWORD).unwrap_err().contains("pg_hba.conf rejects connection"));
    assert!(tls.role("auth_reject", PASSWORD).unwrap_err().contains("pg_hba.conf rejects connection"));

    let url = |user| format!("postgresql://{user}@127.0.0.1:{}/postgres?sslmode=disable", tls.part.port());
    assert_eq!(psql(&url("auth_tls"), PASSWORD), "auth_tls\n");
    assert!(psql(&url("auth_tls"), "wrong").contains("password authentication failed"));
    assert!(psql(&url("auth_tls"), "").contains("no password supplied"));
    // Without a password nobody is asked for one.
    assert_eq!(psql(&url("auth_trust"), ""), "auth_trust\n");

    // A relay sees neither password nor statement.
    assert!(tls.recorder.sent().len() > 5);
    assert!(!tls.sent(PASSWORD) && !tls.sent("SELECT") && !tls.sent("auth_"), "said in clear");
    assert!(clear.sent("SELECT session_user"));
    for proxy in [&clear, &tls] {
        let log = proxy.log();
        assert!(!log.contains(PASSWORD) && !log.contains("wrong"), "{log}");
        assert_eq!(log.matches("MD5 hashes of passwords").count(), 1, "{log}");
    }
}

#[test]
fn the_proxys_own_certificate_lets_nobody_else_in() {
    let upstream = tls_with_identity();
    let proxy = Proxy::start(&Options { upstream: Some(&upstream), ..Options::default() });
    assert_eq!(proxy.role("auth_tls", PASSWORD).unwrap(), "auth_tls by TLS");
    for user in ["auth_cert", "auth_trust"] {
        let refused = proxy.role(user, "").unwrap_err();
        assert!(refused.contains("the database asked for no password"), "{refused}");
    }
}

#[test]
fn a_database_with_another_certificate_is_told_nothing() {
    let stranger = Authority::new(&setting().directory.join("stranger")).unwrap();
    let upstream = tls(&stranger.file());
    let proxy = Proxy::start(&Options { upstream: Some(&upstream), ..Options::default() });
    let refused = proxy.role("auth_scram", PASSWORD).unwrap_err();
    assert!(refused.contains("the database server cannot be reached"), "{refused}");
    assert!(proxy.log().contains("no TLS handshake"), "{}", proxy.log());
    assert!(!proxy.sent("auth_scram"));
}

#[test]
fn one_user_alone_goes_to_the_database_and_no_longer_name_than_it_knows() {
    let proxy = Proxy::start(&Options::default());
    let endpoint = proxy.endpoint("auth_trust", PASSWORD);
    // The last one counts, in the proxy as in the database.
    assert_eq!(role(&endpoint, &[("user", "auth_scram")]).unwrap(), "auth_scram");
    assert!(proxy.sent("auth_scram") && !proxy.sent("auth_trust"));
    let long = "a".repeat(64);
    for (user, parameters) in
        [(long.as_str(), vec![]), ("auth_trust", vec![("database", long.as_str())]), ("", vec![])]
    {
        let refused = role(&proxy.endpoint(user, PASSWORD), &parameters).unwrap_err();
        assert!(
            refused.contains("longer than 63 bytes") || refused.contains("no PostgreSQL user name"),
            "{refused}"
        );
    }
}
