//! The listener: one task for each session, a bound on their number, and a stop that lets them end.

use crate::config::Config;
use crate::policy::Policy;
use crate::session::{self, Environment, Figures, Plans, Upstream};
use crate::shares::Shares;
use crate::upstream::Catalogs;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;
use trefoil_link::{Address, Stream};

/// Sessions at a time; the server's `max_connections` is usually far below.
const SESSIONS: usize = 4096;

/// How often the plan cache's figures are logged, where they change.
const FIGURES: Duration = Duration::from_secs(300);

/// How long sessions may go on after the stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `shutdown` completes, then gives the sessions a little time to end.
pub async fn run(
    config: Config,
    policy: Arc<Policy>,
    shares: Arc<Shares>,
    catalogs: Arc<Catalogs>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let listener = TcpListener::bind(config.listen).await?;
    let environment = Arc::new(Environment {
        plans: Plans::new(policy, config.plan_cache_bytes),
        shares,
        catalogs: Arc::clone(&catalogs),
        upstream: Upstream { address: Address::new(&config.upstream.host, config.upstream.port), tls: None },
        max_message: config.max_message,
        max_statements: config.max_statements,
        max_portals: config.max_portals,
    });
    tracing::info!("listening on {}", listener.local_addr()?);
    let mut background = JoinSet::new();
    background.spawn(catalogs.poll(config.catalog_poll));
    background.spawn(log_figures(Arc::clone(&environment)));
    let places = Arc::new(Semaphore::new(SESSIONS));
    let mut sessions = JoinSet::new();
    let mut number = 0_u64;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Neither ends by itself, and stale catalogs are not served on.
            Some(_) = background.join_next() => {
                return Err(io::Error::other("a background task ended; the log says where"));
            }
            Some(ended) = sessions.join_next() => report(&ended),
            accepted = listener.accept() => match accepted {
                Ok((client, peer)) => {
                    number += 1;
                    let span = tracing::info_span!("session", number, %peer);
                    let (places, environment) = (Arc::clone(&places), Arc::clone(&environment));
                    // Fails where the client has left already.
                    client.set_nodelay(true).ok();
                    sessions.spawn(serve(Stream::Tcp(client), places, environment).instrument(span));
                }
                Err(error) => {
                    // Out of descriptors, most likely: sessions that end free some.
                    tracing::error!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    drop(background);
    let ended = async {
        while let Some(ended) = sessions.join_next().await {
            report(&ended);
        }
    };
    // Dropping the set ends those that are left.
    tokio::time::timeout(GRACE, ended).await.ok();
    Ok(())
}

async fn log_figures(environment: Arc<Environment>) {
    let mut before = Figures::default();
    loop {
        tokio::time::sleep(FIGURES).await;
        let now = environment.plans.figures();
        if now != before {
            let Figures { hits, misses, plans, bytes } = now;
            tracing::info!(hits, misses, plans, bytes, "plan cache");
        }
        before = now;
    }
}

async fn serve(client: Stream, places: Arc<Semaphore>, environment: Arc<Environment>) {
    let Ok(_place) = places.try_acquire() else {
        tracing::warn!("too many sessions");
        return session::turn_away(client).await;
    };
    match session::serve(client, environment).await {
        Ok(()) => tracing::debug!("ended"),
        Err(error) => tracing::info!(%error, "ended"),
    }
}

/// A session that panicked ends alone. What it said is not logged: it may hold anything.
fn report(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a session ended by a defect of the proxy");
    }
}
