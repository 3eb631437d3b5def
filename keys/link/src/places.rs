//! Places for connections. Whoever comes when all are taken gets the place of a connection that has not
//! shown any credentials yet, the oldest of the network that has the most of these: so a peer that fills
//! places pushes its own connections out, not those of others.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// In all.
    pub in_all: usize,
    /// From one address (IPv6: from one /64).
    pub in_one_network: usize,
}

/// All places, and who holds them.
pub struct Places {
    capacity: Capacity,
    known: Capacity,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By number, so that the first is the oldest.
    by_number: BTreeMap<u64, Holder>,
    by_network: HashMap<Option<IpAddr>, Count>,
    known: usize,
    last: u64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    strangers: usize,
    known: usize,
}

struct Holder {
    network: Option<IpAddr>,
    known: bool,
    /// Dropped with the holder, which ends [`Place::lost`].
    _stay: oneshot::Sender<Infallible>,
}

/// One place, free again when this is dropped.
pub struct Place {
    claim: Claim,
    lost: oneshot::Receiver<Infallible>,
}

/// By which a connection keeps its place.
#[derive(Clone)]
pub struct Claim {
    number: u64,
    places: Arc<Places>,
}

impl Places {
    /// So many places, of which those who have shown credentials may keep so many (`known`).
    pub fn new(capacity: Capacity, known: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, known, held: Mutex::default() })
    }

    /// A place for a connection from this address (none: by a Unix socket), if need be in the stead of
    /// another one. None if all that could give way have shown credentials.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let network = address.map(network);
        let mut held = self.held();
        let Count { strangers, known } = held.of(network);
        if strangers + known >= self.capacity.in_one_network {
            held.give_way(network)?;
        }
        if held.by_number.len() >= self.capacity.in_all {
            let crowded = held.most_crowded()?;
            held.give_way(crowded)?;
        }
        held.last += 1;
        let (stay, lost) = oneshot::channel();
        let number = held.last;
        held.by_number.insert(number, Holder { network, known: false, _stay: stay });
        held.by_network.entry(network).or_default().strangers += 1;
        Some(Place { claim: Claim { number, places: Arc::clone(self) }, lost })
    }

    /// Ends up to so many connections of strangers: something that all need has run out.
    pub fn relieve(&self, count: usize) {
        let mut held = self.held();
        for _ in 0..count {
            let Some(crowded) = held.most_crowded() else { return };
            held.give_way(crowded);
        }
    }

    /// How many have not shown credentials.
    pub fn strangers(&self) -> usize {
        let held = self.held();
        held.by_number.len() - held.known
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&self, network: Option<IpAddr>) -> Count {
        self.by_network.get(&network).copied().unwrap_or_default()
    }

    /// The network with the most strangers; of several, that with the oldest one.
    fn most_crowded(&self) -> Option<Option<IpAddr>> {
        let most = self.by_network.values().map(|count| count.strangers).max().filter(|most| *most > 0)?;
        let mut strangers = self.by_number.values().filter(|holder| !holder.known);
        strangers.find(|holder| self.of(holder.network).strangers == most).map(|holder| holder.network)
    }

    /// Ends this network's oldest connection that has shown no credentials.
    fn give_way(&mut self, network: Option<IpAddr>) -> Option<()> {
        let mut oldest = self.by_number.iter().filter(|(_, holder)| !holder.known);
        let number = *oldest.find(|(_, holder)| holder.network == network)?.0;
        self.remove(number);
        Some(())
    }

    fn remove(&mut self, number: u64) {
        let Some(Holder { network, known, .. }) = self.by_number.remove(&number) else { return };
        self.known -= usize::from(known);
        if let Some(count) = self.by_network.get_mut(&network) {
            let of_its_kind = if known { &mut count.known } else { &mut count.strangers };
            *of_its_kind -= 1;
            if count.strangers + count.known == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    /// The network of one that has its place and could keep it.
    fn could_keep(&self, number: u64, limit: Capacity) -> Option<Option<IpAddr>> {
        let network = self.by_number.get(&number)?.network;
        let room = self.known < limit.in_all && self.of(network).known < limit.in_one_network;
        room.then_some(network)
    }
}

impl Place {
    /// For whoever learns that the connection may stay.
    pub fn claim(&self) -> Claim {
        self.claim.clone()
    }

    /// Ends when another connection got the place.
    pub async fn lost(&mut self) {
        // Nothing is ever sent.
        let Err(_) = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.claim.places.held().remove(self.claim.number);
    }
}

impl Claim {
    /// Whether the place could be kept now.
    pub fn has_room(&self) -> bool {
        self.places.held().could_keep(self.number, self.places.known).is_some()
    }

    /// Credentials were shown: from now on the place is not taken away. False if as many have done so as
    /// may, or if the place is lost.
    pub fn keep(&self) -> bool {
        let mut held = self.places.held();
        match held.by_number.get(&self.number) {
            Some(holder) if holder.known => return true,
            _ => {}
        }
        let Some(network) = held.could_keep(self.number, self.places.known) else { return false };
        let Some(holder) = held.by_number.get_mut(&self.number) else { return false };
        holder.known = true;
        held.known += 1;
        let count = held.by_network.entry(network).or_default();
        count.strangers -= 1;
        count.known += 1;
        true
    }
}

/// Whoever has one address of IPv6 has the other 2^64 of its network as well.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn places(in_all: usize, in_one_network: usize, known: usize) -> Arc<Places> {
        let known = Capacity { in_all: known, in_one_network: known };
        Places::new(Capacity { in_all, in_one_network }, known)
    }

    fn host(last: u8) -> Option<IpAddr> {
        Some(Ipv4Addr::new(10, 0, 0, last).into())
    }

    fn has_lost(place: &mut Place) -> bool {
        place.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_most_crowded_network_gives_way_whoever_else_has_logged_in() {
        let places = places(6, 6, 4);
        let mut known: Vec<_> = (0..3).map(|_| places.take(host(1)).unwrap()).collect();
        assert!(known.iter().all(|place| place.claim().keep()));
        let mut own = places.take(host(1)).unwrap();
        let mut flood: Vec<_> = (0..10).map(|_| places.take(host(2)).unwrap()).collect();
        assert!(!has_lost(&mut own) && !known.iter_mut().any(has_lost));
        assert!(own.claim().keep(), "the fourth may");
        assert_eq!(flood.iter_mut().filter_map(|place| has_lost(place).then_some(())).count(), 8);
        let late = places.take(None).unwrap();
        assert!(!late.claim().has_room() && !late.claim().keep(), "no fifth");
        drop(known.pop());
        assert!(late.claim().has_room() && late.claim().keep());
    }

    #[test]
    fn one_network_keeps_no_more_than_it_may() {
        let places =
            Places::new(Capacity { in_all: 9, in_one_network: 3 }, Capacity { in_all: 9, in_one_network: 2 });
        let six = |last: u16| Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last)));
        let first = places.take(six(1)).unwrap();
        let second = places.take(six(2)).unwrap();
        assert!(first.claim().keep() && second.claim().keep() && first.claim().keep());
        let mut third = places.take(six(3)).unwrap();
        assert!(!third.claim().has_room());
        let fourth = places.take(six(4)).unwrap();
        assert!(has_lost(&mut third) && !fourth.claim().keep());
        assert!(places.take(host(1)).unwrap().claim().keep());
    }

    #[test]
    fn nothing_is_left_of_those_who_have_gone() {
        let places = places(4, 4, 4);
        for kept in [false, true] {
            let place = places.take(host(1)).unwrap();
            assert_eq!(kept && place.claim().keep(), kept);
        }
        let lost = places.take(None).unwrap();
        places.relieve(2);
        assert!(!lost.claim().keep(), "its place is gone");
        drop(lost);
        let held = places.held();
        assert_eq!((held.by_number.len(), held.by_network.len(), held.known), (0, 0, 0));
    }
}
