//! `make demo`: the whole of Trefoil in a terminal, on a throwaway PostgreSQL. Each scene is checked;
//! the exit status is 0 only if every one went as promised.

#[path = "demo/bootstrap.rs"]
mod bootstrap;
#[path = "demo/clinic.rs"]
mod clinic;
#[path = "demo/scenes.rs"]
mod scenes;
#[path = "demo/screen.rs"]
mod screen;

use std::process::ExitCode;
use std::time::Duration;
use trefoil_tests::cluster::Cluster;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::stack::{Part, Stack};
use trefoil_tests::tenant::Tenant;
use trefoil_tests::{Error, Result};

/// The parts, and the ways to the database.
struct Parts {
    // Dropped in this order: whoever uses a part goes first.
    _sidecars: Vec<Part>,
    _application: Part,
    _proxy: Part,
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
    let parts = tokio::task::spawn_blocking(|| {
        let mut screen = screen::Screen::new();
        set_up(&mut screen).map(|parts| (screen, parts))
    });
    let (mut screen, parts) = parts.await.map_err(|error| Error::new(error.to_string()))??;
    let work = scenes::play(&parts, &mut screen);
    tokio::time::timeout(Duration::from_secs(300), work)
        .await
        .map_err(|_| Error::new("it takes longer than five minutes"))??;
    Ok(screen)
}

fn set_up(screen: &mut screen::Screen) -> Result<Parts> {
    screen.title("Setting up");
    screen.say("a throwaway PostgreSQL that logs every statement");
    let cluster = Cluster::scratch()?;
    let direct = cluster.create_database("clinic")?;
    let Stack { acting, application, proxy, tenant } =
        bootstrap::play(&cluster.directory().join("parts"), &direct, screen)?;
    let [alice, bob] = acting.as_slice() else { return Err(Error::new("two sidecars")) };
    Ok(Parts {
        through_proxy: direct.through(proxy.port()),
        alice: direct.through(alice.port()),
        bob: direct.through(bob.port()),
        application: direct.through(application.port()),
        _sidecars: acting,
        _application: application,
        _proxy: proxy,
        direct,
        tenant,
        cluster,
    })
}
