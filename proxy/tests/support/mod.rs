//! What the proxy's tests share.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod collection;

/// Runs a test with the stack that analysis has in the proxy.
pub(crate) fn on_a_large_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
