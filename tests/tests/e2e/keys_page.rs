//! `docs/keys.md`: each of its commands, in order, and what it prints.

use crate::shared::cluster;
use std::fs;
use trefoil_tests::cluster::free_port;
use trefoil_tests::page::{Stage, play, rewrite};
use trefoil_tests::programs::{program, source};

/// Settings of the test: where the programs are, a cheap passphrase, who logs in to PostgreSQL; and a
/// wait for what was started in the background.
fn prelude(machine_port: u16) -> String {
    let endpoint = cluster().endpoint();
    let programs = program("trefoil-admin").unwrap();
    format!(
        "export PATH='{}':\"$PATH\" TREFOIL_PASSPHRASE='correct horse battery staple' \
         PGHOST=127.0.0.1 PGPORT={machine_port} PGUSER={} PGPASSWORD={} PGDATABASE=keys_page\n\
         trefoil-admin() {{ command trefoil-admin --work-factor 8 \"$@\"; }}\n\
         answering() {{ until curl -sk -o /dev/null https://127.0.0.1:$1/health; do sleep 0.05; done; }}\n\
         ended() {{ while kill -0 \"$1\" 2>/dev/null; do sleep 0.02; done; }}",
        programs.parent().unwrap().display(),
        endpoint.user,
        endpoint.password,
    )
}

#[test]
fn the_page_on_keys_shows_what_its_commands_print() {
    let database = cluster().endpoint();
    cluster().create_database("keys_page").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut ports = vec![(5432, database.port)];
    for port in [6432, 6433, 6434, 6435, 6442, 6443, 6444, 6445, 6452, 6453, 6454, 6455, 7434] {
        ports.push((port, free_port().unwrap()));
    }
    let prelude = prelude(database.port);
    let stage = Stage { directory: scratch.path(), ports: &ports, prelude: &prelude };
    let path = source().join("docs/keys.md");
    let page = fs::read_to_string(&path).unwrap();
    // To write the page: what is printed takes the place of what is shown.
    if std::env::var_os("TREFOIL_WRITE_PAGE").is_some() {
        let (written, outcome) = rewrite(&page, &stage);
        fs::write(&path, written).unwrap();
        return outcome.unwrap();
    }
    if let Err(error) = play(&page, &stage) {
        panic!("docs/keys.md, {error}");
    }
}
