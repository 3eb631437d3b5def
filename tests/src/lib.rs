//! What the end-to-end tests, `make up` and `make demo` share: a throwaway PostgreSQL, a tenant, the
//! programs under test as real processes, a recording relay, and a frontend that sees raw messages.
//!
//! Everything listens on loopback, and every process ends with the one that started it.

pub mod authority;
pub mod balancer;
pub mod bench;
pub mod cluster;
pub mod corpus;
pub mod differential;
pub mod endpoint;
pub mod error;
pub mod frontend;
pub mod leak;
pub mod leash;
pub mod memory;
pub mod page;
pub mod programs;
pub mod recorder;
pub mod secured;
pub mod soak;
pub mod stack;
pub mod tenant;

pub use error::{Error, Result};
