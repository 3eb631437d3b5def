//! The user's agent and the application's second door, as processes: between real clients and a real
//! origin.

// Helpers outside of `#[test]` functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod agent;
mod at_rest;
mod carriers;
mod clock;
mod curl;
mod door;
mod failures;
#[cfg(feature = "keyring")]
mod keyring;
mod latency;
mod origin;
mod pages;
#[path = "../admin/peer.rs"]
#[allow(dead_code, reason = "the tests of the interface use more of it")]
mod peer;
#[path = "../admin/sidecar.rs"]
#[allow(dead_code, reason = "the tests of the interface use more of it")]
mod sidecar;
mod streams;
#[path = "../admin/tenant.rs"]
#[allow(dead_code, reason = "the tests of the interface use more of it")]
mod tenant;
mod websocket;
