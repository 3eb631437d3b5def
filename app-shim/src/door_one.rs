//! The first door: takes the application's connections, as many as may be, and serves each in a task of
//! its own. Whoever has not logged in gives way to others.

use crate::config::{ConnectionLimits, Listen};
use crate::relay::Until;
use crate::session::{SessionError, Shared, log_in};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use trefoil_link::{Capacity, Incoming, ListenError, Listeners, Place, Places, Workers};

/// Places beside those of `max_connections`, for who has not logged in: each is told when there are too many.
const WAITING: usize = 64;
/// Of them, for one address.
const WAITING_PER_ADDRESS: usize = 16;
/// So many of them end when descriptors run out.
const RELIEF: usize = 16;

/// The door, open.
pub(crate) struct DoorOne {
    listeners: Listeners,
    places: Arc<Places>,
}

impl DoorOne {
    /// Listens.
    pub(crate) async fn open(listen: &Listen, limits: ConnectionLimits) -> Result<Self, ListenError> {
        let listeners = Listeners::open(&listen.addresses, listen.unix_socket.as_deref()).await?;
        let known = Capacity { in_all: limits.in_all, in_one_network: limits.from_one_network };
        let all = Capacity {
            in_all: known.in_all + WAITING,
            in_one_network: known.in_one_network + WAITING_PER_ADDRESS,
        };
        Ok(Self { listeners, places: Places::new(all, known) })
    }

    /// Serves until dropped, each connection on one of the workers.
    pub(crate) async fn run(mut self, shared: Arc<Shared>, workers: &Workers) {
        for place in self.listeners.places() {
            tracing::info!("listening on {place}");
        }
        loop {
            match self.listeners.accept().await {
                // There is always one that gives way: who has not logged in has places of their own.
                Ok((stream, peer)) => {
                    let place = self.places.take(peer.map(|peer| peer.ip()));
                    if let (Some(place), Some(seat)) = (place, workers.seat()) {
                        let held = hold(stream, place, shared.clone());
                        let worker = seat.worker().clone();
                        worker.spawn(async move { (held.await, seat).0 });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of descriptors: let some connections end.
                    self.places.relieve(RELIEF);
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Serves a connection as long as it has its place.
async fn hold(stream: Incoming, mut place: Place, shared: Arc<Shared>) {
    let claim = place.claim();
    let log_in = async { log_in(stream.open()?, &shared, &claim).await };
    let begun = tokio::select! {
        begun = log_in => begun,
        () = place.lost() => return tracing::debug!("connection gave way to another one"),
    };
    let ended = match begun {
        Ok(Some(mut relay)) => relay.run(Until::Ended).await.map(drop).map_err(SessionError::from),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => {}
        Err(SessionError::Accept(error)) => tracing::info!(%error, "connection refused"),
        Err(error) => tracing::debug!(%error, "connection broke off"),
    }
}
