//! `trefoil-shim`: beside the application, attaches user, envelope and the application's shares to its
//! requests, and relays the rest to the proxy byte for byte; beside the user, attaches its envelopes to
//! what its browser sends.

use std::process::ExitCode;

/// Shares pass through buffers of TLS, HTTP and JSON, which free them unwiped.
#[global_allocator]
static ALLOCATOR: trefoil_keys::Wiping = trefoil_keys::Wiping;

fn main() -> ExitCode {
    trefoil_shim::command::run()
}
