//! HTTPS as Trefoil's programs speak it to one another: a server whose every wait and buffer is
//! bounded, a client that trusts one pinned certificate, and errors that say what to do.
//!
//! Who may do what is each program's own question; here nothing is known of shares and commands.

pub mod body;
pub mod client;
pub mod problem;
pub mod server;

pub use problem::Problem;
