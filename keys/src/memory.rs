//! What keeps secrets from who looks into this process's memory: no core dumps, no look from other
//! processes of the same user, no program started from it that has more rights than it, and bytes that are
//! wiped when they are done with.
//!
//! In a debug build a test may lift it, to look, and to see that it sees: with `TREFOIL_MEMORY=open` the
//! process is dumpable, with `TREFOIL_MEMORY=unwiped` it leaves its secrets behind as well. In a release
//! build the environment is not even read.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use std::io;
use zeroize::Zeroize;

/// Switches core dumps off, keeps other processes out, and gives up what set-user-ID programs would give.
/// To be called before the program has further threads, which inherit it.
///
/// # Errors
/// If the kernel does not; nothing secret should be read then.
pub fn keep_private() -> io::Result<()> {
    #[cfg(debug_assertions)]
    if !wipes() {
        trefoil_arena::leave_unwiped();
    }
    if switch() == Switch::Off {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_no_new_privs(true)?)
}

/// Overwrites a secret.
pub fn wipe(secret: &mut (impl Zeroize + ?Sized)) {
    if wipes() {
        secret.zeroize();
    }
}

/// Whether secrets are wiped: always, but in a test that looks for them.
pub(crate) fn wipes() -> bool {
    switch() != Switch::Unwiped
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(debug_assertions), allow(dead_code, reason = "for tests of debug builds"))]
enum Switch {
    Off,
    Open,
    Unwiped,
}

#[cfg(not(debug_assertions))]
const fn switch() -> Switch {
    Switch::Off
}

#[cfg(debug_assertions)]
fn switch() -> Switch {
    static SWITCH: std::sync::LazyLock<Switch> =
        std::sync::LazyLock::new(|| match std::env::var("TREFOIL_MEMORY").as_deref() {
            Ok("open") => Switch::Open,
            Ok("unwiped") => Switch::Unwiped,
            _ => Switch::Off,
        });
    *SWITCH
}
