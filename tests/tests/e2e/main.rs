//! End to end: the real programs, a real PostgreSQL, real drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "these are tests")]

mod admin;
mod audit;
mod authentication;
mod catalog;
mod clients;
mod clinic;
mod copy;
mod decrypt;
mod defects;
mod deploy;
mod drivers;
mod hardening;
mod keys_page;
mod keyspaces;
mod leaks;
mod life;
mod limits;
mod links;
mod memory;
mod noise;
mod pairs;
mod passwords;
mod pipeline;
mod python;
mod replacement;
mod scripts;
mod shared;
mod shares;
mod strangers;
mod tls;
mod transparency;
mod users;
