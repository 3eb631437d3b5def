//! The listener: one task for each session, a bound on their number, and a stop that lets them end.

use crate::config::Listen;
use crate::session::{self, Caller, Environment, Figures, SessionError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;
use trefoil_link::{Capacity, Incoming, ListenError, Listeners, Place, Places, Workers};

/// Places beside those of `max_connections`, for who has not logged in: each is told when there are too many.
const WAITING: usize = 128;
/// Of them, for one address.
const WAITING_PER_ADDRESS: usize = 32;

/// How many of them give way at once when descriptors have run out.
const RELIEF: usize = 32;
/// How many do for each that comes when they are about to: as many as it needs, the second at its login.
const RELIEF_IN_TIME: usize = 2;

/// Descriptors beside those of sessions.
const SPARE_DESCRIPTORS: u64 = 128;

/// How often the plan cache's figures are logged, where they change.
const FIGURES: Duration = Duration::from_secs(300);

/// How long sessions may go on after the stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why the proxy does not serve on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A task that has no end has ended.
    #[error("a background task ended; the log says where")]
    Task,
}

/// Serves until `shutdown` completes, each session on one of the workers, then gives them a little time to end.
///
/// # Errors
/// Where nothing can listen.
pub async fn run(
    listen: &Listen,
    environment: Environment,
    catalog_poll: Duration,
    workers: &Workers,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let Listen { addresses, unix_socket, max_connections, max_connections_per_address, .. } = listen;
    let mut listeners = Listeners::open(addresses, unix_socket.as_deref()).await?;
    let environment = Arc::new(environment);
    let known = Capacity { in_all: *max_connections, in_one_network: *max_connections_per_address };
    let all = Capacity {
        in_all: known.in_all + WAITING,
        in_one_network: known.in_one_network + WAITING_PER_ADDRESS,
    };
    let places = Places::new(all, known);
    allow_descriptors(all.in_all);
    for place in listeners.places() {
        tracing::info!("listening on {place}");
    }
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&environment.catalogs).poll(catalog_poll));
    background.spawn(log_figures(Arc::clone(&environment)));
    let mut sessions = JoinSet::new();
    let mut number = 0_u64;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Neither ends by itself, and stale catalogs are not served on.
            Some(_) = background.join_next() => {
                return Err(ServeError::Task);
            }
            Some(ended) = sessions.join_next() => report(&ended),
            accepted = listeners.accept() => match accepted {
                Ok((client, peer)) => {
                    number += 1;
                    let address = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
                    let span = tracing::info_span!("session", number, peer = address);
                    let peer = peer.map(|peer| peer.ip().to_canonical());
                    if !are_enough_left(&client, places.strangers() + RELIEF_IN_TIME) {
                        places.relieve(RELIEF_IN_TIME);
                    }
                    let caller = Caller { number, address, peer };
                    // There is always a stranger that gives way: they have places of their own.
                    if let (Some(place), Some(seat)) = (places.take(peer), workers.seat()) {
                        let session = serve(client, caller, place, Arc::clone(&environment)).instrument(span);
                        let worker = seat.worker().clone();
                        sessions.spawn_on(async move { (session.await, seat).0 }, &worker);
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: who has not logged in gives some back.
                    tracing::error!(%error, "cannot accept");
                    places.relieve(RELIEF);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listeners);
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

/// Two for each connection, as far as this process may have them.
fn allow_descriptors(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2) + SPARE_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if current.is_some_and(|current| current < allowed)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum })
    {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
    if allowed < wanted {
        tracing::warn!(
            "the limit on open files is {allowed}, and max_connections may take {wanted}: raise the limit \
             (LimitNOFILE= in systemd) or lower max_connections"
        );
    }
}

/// Whether so many more descriptors may be had. The kernel gives the lowest that is free.
fn are_enough_left(latest: &Incoming, needed: usize) -> bool {
    let latest = usize::try_from(latest.as_fd().as_raw_fd()).unwrap_or(usize::MAX);
    let highest = u64::try_from(latest.saturating_add(needed)).unwrap_or(u64::MAX);
    getrlimit(Resource::Nofile).current.is_none_or(|allowed| highest < allowed)
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

async fn serve(client: Incoming, caller: Caller, mut place: Place, environment: Arc<Environment>) {
    let claim = place.claim();
    let begin = async { session::begin(client.open()?, &caller, claim, environment).await };
    let begun = tokio::select! {
        begun = begin => begun,
        () = place.lost() => return tracing::info!("ended: gave way to another one, before its login"),
    };
    let ended: Result<(), SessionError> = match begun {
        Ok(Some(session)) => session.serve().await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match ended {
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
