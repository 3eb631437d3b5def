//! Panics: defects of a program, each of which ends what it happened in and nothing else. They are counted,
//! and told by their place alone: what a panic says may quote data.

use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts each panic from now on, and tells `tell` where it was (file, line, column) in place of printing
/// what it says. A later call takes the place of this one; the count goes on.
pub fn watch(tell: fn(&str)) {
    panic::set_hook(Box::new(move |panic| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        tell(&panic.location().map(ToString::to_string).unwrap_or_default());
    }));
}

/// How many there were since [`watch`] was called first.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// A place where a test may have the program panic, by `TREFOIL_PANIC_AT=place=marker`: when it is reached
/// with the marker among what it has `seen`. Places are `area.what is about to happen`. Debug builds only: in
/// a release build the environment is not even read.
#[inline]
#[allow(clippy::panic, reason = "that is what it is for")]
pub fn panic_point(place: &str, seen: &[u8]) {
    #[cfg(debug_assertions)]
    {
        static WANTED: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var("TREFOIL_PANIC_AT").ok());
        let marker = WANTED.as_ref().and_then(|wanted| wanted.strip_prefix(place)?.strip_prefix('='));
        if let Some(marker) = marker
            && memchr::memmem::find(seen, marker.as_bytes()).is_some()
        {
            panic!("provoked at {place} by {}", String::from_utf8_lossy(seen));
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = (place, seen);
}
