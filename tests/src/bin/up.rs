//! `make up`: starts every part, writes `$DIR/env`, and keeps them up until Ctrl-C, or
//! until one of them ends.

#[path = "up/directory.rs"]
mod directory;

use directory::Directory;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use trefoil_tests::cluster::Cluster;
use trefoil_tests::stack::{Part, ProxyOptions, check_policy, start_proxy, start_sidecar};
use trefoil_tests::tenant::{Tenant, write_private};
use trefoil_tests::{Error, Result, programs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // Taken first, so that a signal during the start ends what was started as well.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let running = tokio::task::spawn_blocking(start);
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stop);
    let mut parts = tokio::select! {
        () = &mut stop => return Ok(()),
        started = running => started.map_err(|error| Error::new(error.to_string()))??,
    };
    let outcome = tokio::select! {
        () = &mut stop => Ok(()),
        ended = parts.first_to_end() => Err(ended),
    };
    println!("stopping");
    drop(parts);
    outcome
}

/// Everything that was started; dropped in this order: whoever uses a part goes first.
struct Parts {
    sidecars: [Part; 2],
    proxy: Part,
    cluster: Cluster,
    _directory: Directory,
}

impl Parts {
    /// Waits until one of them has ended, and says which.
    async fn first_to_end(&mut self) -> Error {
        loop {
            // What others depend on comes first: where several have ended, it is the cause.
            let parts = self.sidecars.iter_mut().map(Part::process_mut);
            let parts = [self.cluster.process_mut(), self.proxy.process_mut()].into_iter().chain(parts);
            for part in parts {
                if !part.running() {
                    let log = part.log().display();
                    return Error::new(format!("{} has ended; see {log}", part.name()));
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Starts everything.
fn start() -> Result<Parts> {
    let directory = Directory::take()?;
    let dir = directory.path();
    let path = match setting("POLICY") {
        Some(path) => PathBuf::from(path),
        None => programs::source().join("deploy/policy.toml"),
    };
    let policy = fs::read_to_string(&path)
        .map_err(|error| Error::new(format!("policy {}: {error}", path.display())))?;

    println!("issuing the shares of tenant clinic to alice and bob");
    let tenant = Tenant::create(&dir.join("tenant"), "clinic", &["alice", "bob"])?;
    check_policy(&path, &tenant)?;
    println!("starting PostgreSQL");
    let cluster = Cluster::within(dir)?;
    let database = cluster.create_database("clinic")?;
    println!("starting proxy and sidecars");
    let options = ProxyOptions {
        policy: &policy,
        tenant: &tenant,
        database: &database,
        recorder: None,
        configuration: "",
    };
    let proxy = start_proxy(dir, &options)?;
    let alice = start_sidecar(dir, &tenant, &proxy, Some("alice"))?;
    let bob = start_sidecar(dir, &tenant, &proxy, Some("bob"))?;

    let assignments = [
        ("DIRECT_URL", database.url()),
        ("PROXY_URL", database.through(proxy.port()).url()),
        ("APP_URL", database.through(alice.port()).url()),
        ("APP_URL_BOB", database.through(bob.port()).url()),
        ("POSTGRES_DATA", cluster.data().display().to_string()),
        ("POSTGRES_LOG", cluster.log_file().display().to_string()),
        ("PROXY_PID", proxy.process().pid().to_string()),
    ];
    let text: String =
        assignments.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    let env = dir.join("env");
    write_private(&env, &text)?;
    print!("\n{text}\n");
    println!(
        "ready: . {} && psql \"$APP_URL\"     (Ctrl-C stops everything)",
        quoted(&env.display().to_string())
    );
    Ok(Parts { sidecars: [alice, bob], proxy, cluster, _directory: directory })
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// As a word of the shell.
fn quoted(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/:@._-".contains(character);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}
