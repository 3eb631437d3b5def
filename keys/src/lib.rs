//! The whole cryptography of Trefoil: no network, no async, no `unsafe`.

pub mod announcement;
pub mod bundle;
pub mod carrier;
pub mod cell;
pub mod check;
pub mod command;
pub mod envelope;
pub mod handover;
mod json;
mod kdf;
mod kill_point;
pub mod private_file;
pub mod proxy_share;
pub mod receipt;
pub mod secret;
pub mod share;
pub mod signing;
pub mod status;
pub mod tls;

pub use kill_point::kill_point;
