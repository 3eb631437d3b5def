//! The real sidecar: its interface for the tenant admin over real TLS, between a tenant admin and a
//! proxy's admin port that are played here, and what it relays.

// Helpers outside of `#[test]` functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod announcement;
mod commands;
mod interface;
mod links;
mod login;
mod peer;
mod pki;
mod recovery;
mod relay;
mod sidecar;
mod tenant;
mod users;
