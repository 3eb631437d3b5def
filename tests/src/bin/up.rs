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
use trefoil_tests::stack::{Ordered, Part, ProxyOptions, Stack};
use trefoil_tests::tenant::write_private;
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
    stack: Stack,
    cluster: Cluster,
    _directory: Directory,
}

impl Parts {
    /// Waits until one of them has ended, and says which.
    async fn first_to_end(&mut self) -> Error {
        loop {
            // What others depend on comes first: where several have ended, it is the cause.
            let Stack { acting, application, proxy, .. } = &mut self.stack;
            let parts = [proxy, application].into_iter().chain(acting).map(Part::process_mut);
            let parts = [self.cluster.process_mut()].into_iter().chain(parts);
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

    println!("starting PostgreSQL");
    let cluster = Cluster::within(dir)?;
    let database = cluster.create_database("clinic")?;
    println!("making the proxy");
    let options = ProxyOptions {
        policy: &policy,
        tenant: "clinic",
        database: &database,
        recorder: None,
        configuration: "",
    };
    let ordered = Ordered::proxy(dir, &options)?;
    ordered.check()?;
    println!("starting it, handing its key over to tenant clinic, issuing shares to alice and bob");
    let stack = Stack::around(dir, ordered.start()?, &["alice", "bob"], 2)?;
    let [alice, bob] = stack.acting.as_slice() else { return Err(Error::new("two sidecars")) };

    let assignments = [
        ("DIRECT_URL", database.url()),
        ("PROXY_URL", database.through(stack.proxy.port()).url()),
        ("APP_URL", database.through(alice.port()).url()),
        ("APP_URL_BOB", database.through(bob.port()).url()),
        ("POSTGRES_DATA", cluster.data().display().to_string()),
        ("POSTGRES_LOG", cluster.log_file().display().to_string()),
        ("PROXY_PID", stack.proxy.process().pid().to_string()),
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
    Ok(Parts { stack, cluster, _directory: directory })
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
