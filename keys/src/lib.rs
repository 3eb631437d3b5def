//! The whole cryptography of Trefoil: no network and no async (but for the optional lock by AWS KMS), no
//! `unsafe`; the memory in which shares wait is of the crate `trefoil-arena`. Beside it the tokens of SQL, by
//! which carriers are found in texts.

pub mod announcement;
pub mod appointment;
pub mod audit;
pub mod bundle;
pub mod carrier;
pub mod cell;
pub mod check;
pub mod command;
pub mod envelope;
pub mod escrow;
pub mod handover;
mod json;
mod kdf;
mod kill_point;
pub mod lex;
pub mod lock;
pub mod memory;
pub mod panics;
pub mod password;
pub mod private_file;
pub mod privileges;
pub mod proxy_share;
pub mod receipt;
mod sealing;
pub mod secret;
pub mod share;
pub mod signing;
mod siv;
pub mod status;
pub mod store;
pub mod tls;

pub use kill_point::kill_point;
pub use trefoil_arena::{NoRoom, Protection, Wiping, protection};
