//! The interface for the tenant admin: the real sidecar over real TLS, between a tenant admin and a
//! proxy's admin port that are played here.

// Helpers outside of `#[test]` functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod announcement;
mod commands;
mod interface;
mod login;
mod peer;
mod recovery;
mod sidecar;
mod tenant;
