//! The system's allocator, which wipes what it takes back: what passes through buffers that are others' to
//! free (of TLS, HTTP and JSON) is not left behind either.

use std::alloc::{GlobalAlloc, Layout, System};
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicBool, Ordering};

/// To be a program's global allocator. Memory that C code takes for itself does not come from it.
pub struct Wiping;

#[cfg(debug_assertions)]
static LEAVES: AtomicBool = AtomicBool::new(false);

/// Leaves memory as it is from now on: for a test that looks for what would be there then.
#[cfg(debug_assertions)]
pub fn leave_unwiped() {
    LEAVES.store(true, Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "an allocator is unsafe to write")]
// SAFETY: every call is the system allocator's, with the same arguments or, where it moves, as the trait's
// own `realloc` does it.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the block has this size, and nobody uses it any more.
        unsafe {
            wipe(at, layout.size());
            System.dealloc(at, layout);
        }
    }

    /// Never in place: the system's would move and leave a copy.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size fits the alignment. Both blocks are as long as what
        // is copied, and apart.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(at, new, layout.size().min(size));
                self.dealloc(at, layout);
            }
            new
        }
    }
}

#[allow(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe fn wipe(at: *mut u8, size: usize) {
    #[cfg(debug_assertions)]
    if LEAVES.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the caller owns the block.
    unsafe { at.write_bytes(0, size) };
    // It is read, for all that the compiler knows.
    std::hint::black_box(at);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::Wiping;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    #[global_allocator]
    static ALLOCATOR: Wiping = Wiping;

    /// What lies there now, past the allocator's own words at its beginning.
    fn there(at: usize, length: usize) -> Vec<u8> {
        let mut seen = vec![0xaa; length];
        let at = u64::try_from(at).unwrap();
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut seen, at).unwrap();
        seen.split_off(16)
    }

    #[test]
    fn what_is_freed_is_wiped_and_what_moves_leaves_nothing() {
        let mut growing = vec![0x5a_u8; 512];
        let first = growing.as_ptr().addr();
        assert_eq!(there(first, 512), [0x5a; 496]);
        growing.reserve_exact(4096);
        let second = growing.as_ptr().addr();
        assert!(first != second && growing.iter().all(|byte| *byte == 0x5a));
        assert!(!there(first, 512).windows(16).any(|seen| seen == [0x5a; 16]));
        drop(growing);
        assert!(!there(second, 4608).windows(16).any(|seen| seen == [0x5a; 16]));
    }
}
