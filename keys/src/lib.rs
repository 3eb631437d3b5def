//! The whole cryptography of Trefoil: no network, no async, no `unsafe`.

pub mod bundle;
pub mod carrier;
pub mod cell;
pub mod check;
pub mod envelope;
mod kdf;
pub mod private_file;
pub mod secret;
pub mod share;
