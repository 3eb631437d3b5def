//! Places for connections. Whoever comes when all are taken gets the place of a connection that has not
//! shown any credentials yet, the oldest of the network that holds the most: so a peer that fills places
//! pushes its own connections out, not those of others.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// All places, and who holds them.
pub(crate) struct Places {
    in_all: usize,
    in_one_network: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By number, so that the first is the oldest.
    by_number: BTreeMap<u64, Holder>,
    last: u64,
}

struct Holder {
    network: IpAddr,
    known: bool,
    /// Dropped with the holder, which ends [`Place::lost`].
    _stay: oneshot::Sender<Infallible>,
}

/// One place, free again when this is dropped.
pub(crate) struct Place {
    pub(crate) number: u64,
    places: Arc<Places>,
    lost: oneshot::Receiver<Infallible>,
}

impl Places {
    pub(crate) fn new(in_all: usize, in_one_network: usize) -> Arc<Self> {
        Arc::new(Self { in_all, in_one_network, held: Mutex::default() })
    }

    /// A place for a connection from this address, if need be in the stead of another one. None if all
    /// that could give way have shown credentials.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut held = self.held();
        if held.of(network) >= self.in_one_network {
            held.give_way(|holder| holder.network == network)?;
        }
        if held.by_number.len() >= self.in_all {
            let most = held.strangers().map(|network| held.of(network)).max()?;
            let crowded = held.strangers().find(|network| held.of(*network) == most);
            held.give_way(|holder| Some(holder.network) == crowded)?;
        }
        held.last += 1;
        let (stay, lost) = oneshot::channel();
        let number = held.last;
        held.by_number.insert(number, Holder { network, known: false, _stay: stay });
        Some(Place { number, places: Arc::clone(self), lost })
    }

    /// This place is not taken away any more.
    pub(crate) fn keep(&self, number: u64) {
        if let Some(holder) = self.held().by_number.get_mut(&number) {
            holder.known = true;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&self, network: IpAddr) -> usize {
        self.by_number.values().filter(|holder| holder.network == network).count()
    }

    /// The networks of those that may have to give way, the oldest first.
    fn strangers(&self) -> impl Iterator<Item = IpAddr> {
        self.by_number.values().filter(|holder| !holder.known).map(|holder| holder.network)
    }

    /// Ends the oldest connection of these that has shown no credentials.
    fn give_way(&mut self, may: impl Fn(&Holder) -> bool) -> Option<()> {
        let oldest = self.by_number.iter().find(|(_, holder)| !holder.known && may(holder));
        let number = *oldest?.0;
        self.by_number.remove(&number).map(drop)
    }
}

impl Place {
    /// Ends when another connection got the place.
    pub(crate) async fn lost(&mut self) {
        // Nothing is ever sent.
        let Err(_) = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().by_number.remove(&self.number);
    }
}

/// Whoever has one address of IPv6 has the other 2^64 of its network as well.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}
