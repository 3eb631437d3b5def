//! Files, flags and variables, and what is wrong with them.

use super::*;
use crate::upstream::Tls as UpstreamTls;
use std::io::Write;
use trefoil_link::Trust;

const FILE: &str = r#"
    listen = "127.0.0.1:7000"
    policy = "policy.toml"
    state = "state"
    max_validity = 30
    [upstream]
    host = "/run/postgresql"
    [catalog]
    user = "trefoil"
    password = "0123"
    [lock]
    key_file = "lock.key"
"#;

fn locked(lock: &str) -> String {
    FILE.replace("key_file = \"lock.key\"", lock)
}

#[test]
fn a_store_has_a_lock_and_an_admin_port() {
    let admin = locked("key_file = \"lock.key\"\n[admin]\nlisten = \"0.0.0.0:1\"");
    let StoreConfig { directory, lock, listen, .. } = load(&admin, &[], None).unwrap().store;
    assert_eq!((directory.to_str(), listen.port()), (Some("state"), 1));
    assert_eq!(lock, Lock::KeyFile("lock.key".into()));
    assert_eq!(load(FILE, &[], None).unwrap().store.listen.to_string(), "127.0.0.1:6434");
}

fn load(file: &str, variables: &[(&str, &str)], listen: Option<&str>) -> Result<Config, String> {
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file.as_bytes()).unwrap();
    let arguments = Arguments {
        config: Some(on_disk.path().to_owned()),
        listen: listen.map(str::to_owned),
        ..Arguments::default()
    };
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::load(&arguments, variable).map_err(|error| error.to_string())
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let config = load(FILE, &[], None).unwrap();
    assert_eq!(config.listen.addresses, [("127.0.0.1".to_owned(), 7000)]);
    assert_eq!(config.upstream, Upstream { host: "/run/postgresql".to_owned(), port: 5432, tls: None });
    assert_eq!(config.catalog.password.unwrap().as_str(), "0123");
    assert_eq!((config.max_validity.as_secs(), config.clock_skew.as_secs()), (30, 5));
    assert_eq!(config.log_format, LogFormat::Text);

    let variables = [
        ("TREFOIL_LISTEN", "127.0.0.1:8000"),
        ("TREFOIL_UPSTREAM_PORT", "5433"),
        ("TREFOIL_MAX_VALIDITY", "20"),
        ("TREFOIL_LOG_FORMAT", "json"),
    ];
    let config = load(FILE, &variables, None).unwrap();
    assert_eq!((config.listen.addresses[0].1, config.upstream.port), (8000, 5433));
    assert_eq!(config.max_validity.as_secs(), 20);
    assert_eq!(config.log_format, LogFormat::Json);

    let listen = load(FILE, &variables, Some("[::1]:0")).unwrap().listen;
    assert_eq!(listen.addresses, [("::1".to_owned(), 0)]);
}

#[test]
fn every_variable_reaches_its_key() {
    for key in KEYS {
        let value = if key.starts_with("max") || key.contains("port") { "70000000000" } else { "" };
        let name = variable_name(key);
        assert!(is_known_variable(&name));
        let result = load(FILE, &[(&name, value)], None);
        let paths = [
            "policy",
            "state",
            "catalog.password",
            "lock.key_file",
            "admin.certificate",
            "tls.certificate",
            "tls.client_ca",
            "upstream.ca",
        ];
        let taken = paths.contains(&key) || key.ends_with("_file");
        assert!(taken || result.is_err(), "{key}");
    }
    assert!(!is_known_variable("TREFOIL_LISTNE"));
}

#[test]
fn a_syntax_error_does_not_show_the_line() {
    let error = load(&FILE.replace("\"0123\"", "\"s3cret"), &[], None).err().unwrap();
    assert!(error.contains("line 10: not valid TOML") && !error.contains("s3cret"), "{error}");
    let missing = Arguments { config: Some("/nonexistent".into()), ..Arguments::default() };
    assert!(matches!(Config::load(&missing, |_| None), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn says_once_and_in_which_file_what_is_wrong() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "nobody = 1").unwrap();
    let name = file.path().display().to_string();
    for (config, reason) in [
        (Some(file.path().to_owned()), name.as_str()),
        (Some("/nonexistent".into()), "/nonexistent: No such file"),
        (None, "--config"),
    ] {
        let arguments = Arguments { config, ..Arguments::default() };
        let error = Config::load(&arguments, |_| None).err().unwrap();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(std::error::Error::source(&error).is_none(), "{error}");
    }
}

#[test]
fn the_database_is_reached_by_tls_unless_it_is_a_socket_or_said_otherwise() {
    let tls = |keys: &str| {
        let file = FILE.replace("host = \"/run/postgresql\"", keys);
        load(&file, &[], None).map(|config| config.upstream.tls)
    };
    let full = |trust, tls12| UpstreamTls { name: "db.example".to_owned(), trust, identity: None, tls12 };
    assert_eq!(tls("host = \"db.example\"").unwrap(), Some(full(Trust::System, false)));
    let own = "host = \"db.example\"\nca = \"ca.pem\"\nmin_version = \"1.2\"";
    assert_eq!(tls(own).unwrap(), Some(full(Trust::Authority("ca.pem".into()), true)));
    assert_eq!(tls("host = \"db.example\"\ntls = \"disable\"").unwrap(), None);
    assert_eq!(tls("host = \"/run/postgresql\"\nca = \"ca.pem\"").unwrap(), None);
    for (keys, reason) in [
        ("tls = \"require\"", "require"),
        ("tls = \"disable\"\nca = \"ca.pem\"", "no use without TLS"),
        ("certificate = \"c.pem\"", "belong together"),
        ("min_version = \"1.1\"", "1.1"),
    ] {
        let says = tls(keys).unwrap_err();
        assert!(says.contains(reason), "{says}");
    }
}

#[test]
fn refuses_with_the_reason() {
    for (file, reason) in [
        (FILE.replace("\"127.0.0.1:7000\"", "[]"), "no `unix_socket` either"),
        (FILE.replace("127.0.0.1:7000", "/run/x"), "name it by `unix_socket`"),
        (FILE.replace("policy = ", "unix_socket = \"here\"\npolicy = "), "absolute path of a socket file"),
        (FILE.replace("policy = ", "unix_socket = \"/tmp\"\npolicy = "), "absolute path of a socket file"),
        (FILE.replace("policy = ", "max_connections = 0\npolicy = "), "between"),
        (FILE.replace("policy = ", "max_connections_per_address = 0\npolicy = "), "between"),
        (FILE.replace("policy = ", "authentication_timeout = 601\npolicy = "), "between"),
        (locked("key_file = \"lock\"\n[tls]\nkey = \"key.pem\""), "no certificate"),
        (locked("key_file = \"lock\"\n[tls]\nmin_version = \"1.1\""), "no version of TLS"),
        (FILE.replace("127.0.0.1:7000", "here"), "not an address with a port"),
        (FILE.replace("max_validity = 30", "max_validity = 0"), "between"),
        (FILE.replace("max_validity", "max_validty"), "max_validty"),
        (FILE.replace("host", "hots"), "hots"),
        (FILE.replace("policy = ", "state = "), "duplicate key"),
        (FILE.replace("policy = \"policy.toml\"", ""), "policy"),
        (FILE.replace("max_validity = 30", "log_format = \"xml\""), "xml"),
        (FILE.replace("state = \"state\"", ""), "state"),
        (FILE.replace("[lock]", "[catalog.lock]"), "lock"),
        (locked("aws_kms = \"k\"\nkey_file = \"lock\""), "not both"),
        (locked("key_file = \"lock\"\n[admin]\nlisten = \"here\""), "not an address with a port"),
        (locked("key_file = \"lock\"\n[admin]\nkey = \"key.pem\""), "no certificate"),
    ] {
        let error = load(&file, &[], None).err().unwrap();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn one_address_or_several_with_a_socket_beside() {
    let listen = |text: &str| {
        let file = FILE.replace("listen = \"127.0.0.1:7000\"", text);
        load(&file, &[], None).unwrap().listen
    };
    let owned = |pairs: &[(&str, u16)]| -> Vec<(String, u16)> {
        pairs.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()
    };
    let both = [("127.0.0.1", 1), ("::1", 2)];
    assert_eq!(listen("listen = [\"127.0.0.1:1\", \"[::1]:2\"]").addresses, owned(&both));
    assert_eq!(listen("listen = \"127.0.0.1:1, [::1]:2\"").addresses, owned(&both));
    assert_eq!(listen("listen = \"db.example:6432\"").addresses, owned(&[("db.example", 6432)]));
    let socket = listen("listen = []\nunix_socket = \"/run/trefoil/.s.PGSQL.6432\"");
    assert_eq!(socket.unix_socket, Some("/run/trefoil/.s.PGSQL.6432".into()));
    assert!(socket.addresses.is_empty());
}

#[test]
fn limits_and_tls_have_defaults() {
    let Config { listen, tls, .. } = load(FILE, &[], None).unwrap();
    assert_eq!((listen.max_connections, listen.max_connections_per_address), (4096, 4096));
    assert_eq!(listen.authentication_timeout.as_secs(), 60);
    let plain = Tls { certificate: None, key: None, client_ca: None, tls12: false, required: true };
    assert_eq!(tls, plain);
    let file = format!("{FILE}\n[tls]\nrequired = false\nmin_version = \"1.2\"\ncertificate = \"c.pem\"");
    let tls = load(&file, &[("TREFOIL_MAX_CONNECTIONS", "10")], None).unwrap();
    assert_eq!((tls.tls.required, tls.tls.tls12, tls.listen.max_connections_per_address), (false, true, 10));
}
