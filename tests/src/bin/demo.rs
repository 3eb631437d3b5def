//! `make demo`: the whole of Trefoil in a terminal, on a throwaway PostgreSQL. Each scene is checked;
//! the exit status is 0 only if every one went as promised.

#[path = "demo/clinic.rs"]
mod clinic;
#[path = "demo/scenes.rs"]
mod scenes;
#[path = "demo/screen.rs"]
mod screen;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use trefoil_tests::cluster::Cluster;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::stack::{Part, ProxyOptions, start_proxy, start_sidecar};
use trefoil_tests::tenant::Tenant;
use trefoil_tests::{Error, Result, programs};

/// The parts, and the ways to the database.
struct Parts {
    // Dropped in this order: whoever uses a part goes first.
    _sidecars: [Part; 3],
    proxy: Part,
    /// Straight to PostgreSQL: what its operator sees.
    direct: Endpoint,
    /// Through the proxy, no shares attached.
    through_proxy: Endpoint,
    /// The application as alice, and as bob.
    alice: Endpoint,
    bob: Endpoint,
    /// The application, as whoever it names.
    application: Endpoint,
    tenant: Tenant,
    cluster: Cluster,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = demo() => done,
        _ = tokio::signal::ctrl_c() => Err(Error::new("interrupted")),
    };
    match done {
        Ok(screen) if screen.failed() == 0 => {
            println!("\nAll {} promises were kept.", screen.kept());
            ExitCode::SUCCESS
        }
        Ok(screen) => {
            println!("\n{} of {} promises were BROKEN.", screen.failed(), screen.failed() + screen.kept());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nThe demo could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<screen::Screen> {
    let mut screen = screen::Screen::new();
    screen.title("Setting up");
    let parts = tokio::task::spawn_blocking(set_up);
    let parts = parts.await.map_err(|error| Error::new(error.to_string()))??;
    let work = scenes::play(&parts, &mut screen);
    tokio::time::timeout(Duration::from_secs(300), work)
        .await
        .map_err(|_| Error::new("it takes longer than five minutes"))??;
    Ok(screen)
}

fn set_up() -> Result<Parts> {
    println!("  a throwaway PostgreSQL that logs every statement");
    let cluster = Cluster::scratch()?;
    let direct = cluster.create_database("clinic")?;
    let dir = cluster.directory().join("parts");
    println!("  a tenant: its key, the check value, the proxy's RSA pair; shares for alice and bob");
    let tenant = Tenant::create(&dir.join("tenant"), "clinic", &["alice", "bob"])?;
    let policy = programs::source().join("deploy/policy.toml");
    let policy = fs::read_to_string(&policy).map_err(|error| Error::at(&policy, &error))?;
    println!("  the proxy, and the application's sidecars");
    let options = ProxyOptions {
        policy: &policy,
        tenant: &tenant,
        database: &direct,
        recorder: None,
        configuration: "",
    };
    let proxy = start_proxy(&dir, &options)?;
    let alice = start_sidecar(&dir, &tenant, &proxy, Some("alice"))?;
    let bob = start_sidecar(&dir, &tenant, &proxy, Some("bob"))?;
    let application = start_sidecar(&dir, &tenant, &proxy, None)?;
    Ok(Parts {
        through_proxy: direct.through(proxy.port()),
        alice: direct.through(alice.port()),
        bob: direct.through(bob.port()),
        application: direct.through(application.port()),
        _sidecars: [alice, bob, application],
        proxy,
        direct,
        tenant,
        cluster,
    })
}
