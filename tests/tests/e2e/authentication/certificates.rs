//! Clients known by their certificates, and by whether they speak TLS, as `hba_file` says.

use super::{Options, PASSWORD, Proxy, psql, setting, tls_with_identity};
use trefoil_tests::authority::{Authority, Certified};

const HBA: &str = "\
hostssl   all auth_cert       127.0.0.1/32 cert
hostssl   all auth_trust      127.0.0.1/32 cert map=people
hostssl   all auth_scram      127.0.0.1/32 passthrough clientcert=verify-full
hostssl   all auth_md5        127.0.0.1/32 passthrough clientcert=verify-ca
hostnossl all auth_password   127.0.0.1/32 passthrough
";

const IDENT: &str = "people /^(.*)@clinic\\.example$ auth_\\1\n";

struct Clients {
    proxy: Proxy,
    authority: Authority,
}

impl Clients {
    fn start() -> Self {
        let directory = setting().directory.join("clients");
        let authority = Authority::new(&directory).unwrap();
        let served = setting().authority.certify(&["localhost"]).unwrap();
        let tls = format!(
            "certificate = {:?}\nkey = {:?}\nclient_ca = {:?}",
            served.certificate,
            served.key,
            authority.file()
        );
        let upstream = tls_with_identity();
        let proxy = Proxy::start(&Options {
            upstream: Some(&upstream),
            hba: Some(HBA),
            ident: Some(IDENT),
            tls: Some(&tls),
            ..Options::default()
        });
        Self { proxy, authority }
    }

    /// What psql says as this user, with a certificate in this name.
    fn psql(&self, user: &str, password: &str, name: Option<&str>) -> String {
        let certificate = name.map(|name| {
            let Certified { certificate, key } = self.authority.certify(&[name]).unwrap();
            format!("sslcert={} sslkey={}", certificate.display(), key.display())
        });
        self.psql_by("verify-full", user, password, &certificate.unwrap_or_default())
    }

    fn psql_by(&self, mode: &str, user: &str, password: &str, more: &str) -> String {
        let (port, ca) = (self.proxy.part.port(), setting().authority.file());
        let settings = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user={user} dbname=postgres sslmode={mode} \
             sslrootcert={} {more}",
            ca.display()
        );
        psql(&settings, password)
    }
}

#[test]
fn a_certificate_lets_in_whose_it_is_and_a_rule_holds_for_its_links_alone() {
    let clients = Clients::start();
    let none = "connection requires a valid client certificate";
    let other = |user| format!("certificate authentication failed for user \"{user}\"");
    let wrong = |user| format!("password authentication failed for user \"{user}\"");
    for (user, password, name, says) in [
        // The user's name, or what the map makes of it.
        ("auth_cert", "", Some("auth_cert"), "auth_cert\n".to_owned()),
        ("auth_cert", "", Some("auth_scram"), other("auth_cert")),
        ("auth_cert", PASSWORD, None, none.to_owned()),
        ("auth_trust", "", Some("trust@clinic.example"), "auth_trust\n".to_owned()),
        ("auth_trust", "", Some("auth_trust"), other("auth_trust")),
        ("auth_trust", "", Some("trust@clinic.example.org"), other("auth_trust")),
        // Both the user's certificate and the password.
        ("auth_scram", PASSWORD, Some("auth_scram"), "auth_scram\n".to_owned()),
        ("auth_scram", "wrong", Some("auth_scram"), wrong("auth_scram")),
        ("auth_scram", PASSWORD, Some("auth_md5"), other("auth_scram")),
        ("auth_scram", PASSWORD, None, none.to_owned()),
        // Anybody's of that authority, and the password.
        ("auth_md5", PASSWORD, Some("anybody"), "auth_md5\n".to_owned()),
        ("auth_md5", "wrong", Some("anybody"), wrong("auth_md5")),
        ("auth_md5", PASSWORD, None, none.to_owned()),
    ] {
        let said = clients.psql(user, password, name);
        assert!(said.contains(&says), "{user} with {name:?}: {said}");
    }
    for (mode, user, says) in [
        ("disable", "auth_password", "auth_password\n"),
        (
            "verify-full",
            "auth_password",
            "no entry in hba_file for host \"127.0.0.1\", user \"auth_password\"",
        ),
        ("disable", "auth_md5", "user \"auth_md5\", database \"postgres\", no encryption"),
        ("disable", "auth_cert", "no entry in hba_file"),
    ] {
        let said = clients.psql_by(mode, user, PASSWORD, "");
        assert!(said.contains(says), "{user} by {mode}: {said}");
    }
    // One of another authority is none, whatever it says.
    let stranger = Authority::new(&setting().directory.join("another")).unwrap();
    let Certified { certificate, key } = stranger.certify(&["auth_cert"]).unwrap();
    let shown = format!("sslcert={} sslkey={}", certificate.display(), key.display());
    let said = clients.psql_by("verify-full", "auth_cert", "", &shown);
    assert!(said.contains("alert") && !said.contains("auth_cert\n"), "{said}");
    assert!(!clients.proxy.sent(PASSWORD) && !clients.proxy.log().contains(PASSWORD));
}
