//! The library behind `trefoil-proxy`: a PostgreSQL relay that encrypts and decrypts the columns
//! named in a policy. The table of allowed arrows between these modules is held by a test.

pub mod admin;
pub mod audit;
pub mod authentication;
pub mod bootstrap;
pub mod certificates;
pub mod config;
pub mod explain;
pub mod server;
pub mod session;
pub mod shares;
pub mod sql;
pub mod state;
pub mod upstream;
pub mod wire;

pub use trefoil_columns::{copy, error, hex, lex, policy, value};

#[cfg(test)]
extern crate self as trefoil_proxy;
#[cfg(test)]
#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library of its own")]
mod fuzz;
