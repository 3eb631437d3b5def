//! The admin port of real processes over loopback: bootstrap, commands, and what a crash leaves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod appointment;
mod bootstrap;
mod commands;
mod crash;
mod envelopes;
mod full_disk;
mod process;
mod tenant;
