//! Connections of PostgreSQL's protocol, from the first byte to the first packet of a session: TCP, Unix
//! sockets, and TLS on either side. What is said over them is not known here.

mod accept;
mod address;
mod certificate;
mod connect;
mod listen;
mod places;
mod served;
mod stream;
mod trust;
mod workers;

#[cfg(test)]
mod tests;

pub use accept::{AcceptError, Accepted, MAX_PACKET, accept};
pub use address::{Address, MalformedAddress};
pub use certificate::{Subject, end_point, expiry};
pub use connect::{ClientTls, ConnectError, connect};
pub use listen::{Incoming, ListenError, Listeners};
pub use places::{Capacity, Claim, Place, Places, network};
pub use served::{Clients, Offer, ServedError, ServedTls, Source, identity};
pub use stream::Stream;
pub use trust::{Trust, TrustError};
pub use workers::{Seat, Workers};
