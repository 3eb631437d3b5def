//! Slots of 32 bytes for shares that wait: in memory that nobody but this process can read.
//!
//! Where the kernel has `memfd_secret(2)`, not even root reads it through `/proc`, and the kernel itself
//! has it mapped no more. Elsewhere the pages are locked (`mlock(2)`), left out of core dumps and wiped in
//! children. Results are checked: what is not protected is not given out. Slots are wiped when they are
//! made and when they are dropped. One descriptor, one process-wide arena that grows by [`CHUNK`] up to
//! [`MAX_SLOTS`] or RLIMIT_MEMLOCK, whichever ends first.
//!
//! Beside it an allocator that wipes what it takes back ([`Wiping`]).

mod allocator;
mod pages;

pub use allocator::Wiping;
#[cfg(debug_assertions)]
pub use allocator::leave_unwiped;

use pages::Pages;
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroize;

/// Bytes of a slot.
pub const SLOT: usize = 32;

/// Bytes by which the arena grows.
pub const CHUNK: usize = 16 * 1024;

/// How many slots there may be.
pub const MAX_SLOTS: usize = 262_144;

/// No slot is left, or no page that could be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no protected memory is left for shares: RLIMIT_MEMLOCK may be too low")]
pub struct NoRoom;

/// How the memory is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// By `memfd_secret(2)`.
    Secret,
    /// By `mlock(2)`.
    Locked,
}

/// One slot, all zeros at first.
pub struct Slot(NonNull<[u8; SLOT]>);

// SAFETY: a slot is the only way to its bytes, like a Box.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Slot {}
// SAFETY: shared access only reads.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot of the process's arena.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn new() -> Result<Self, NoRoom> {
        arena().take().map(Self)
    }

    /// The bytes.
    #[allow(unsafe_code, reason = "the arena is not the allocator's")]
    pub fn as_bytes(&self) -> &[u8; SLOT] {
        // SAFETY: the address came from the arena, is aligned (bytes), initialised (pages are zeros) and
        // never unmapped; no other slot has it.
        unsafe { self.0.as_ref() }
    }

    /// The bytes, to write.
    #[allow(unsafe_code, reason = "the arena is not the allocator's")]
    pub fn as_mut_bytes(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as above, and this is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.as_mut_bytes().zeroize();
        arena().free.push(Address(self.0));
    }
}

/// How the arena's memory is protected. Maps its first chunk, so that a program can find out at its start.
///
/// # Errors
/// [`NoRoom`].
pub fn protection() -> Result<Protection, NoRoom> {
    drop(Slot::new()?);
    Ok(arena().pages.protection())
}

/// Where a free slot lies.
struct Address(NonNull<[u8; SLOT]>);

// SAFETY: nobody else knows the address of a free slot.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Address {}

struct Arena {
    pages: Pages,
    free: Vec<Address>,
    slots: usize,
}

impl Arena {
    fn take(&mut self) -> Result<NonNull<[u8; SLOT]>, NoRoom> {
        if self.free.is_empty() {
            self.grow()?;
        }
        self.free.pop().map(|address| address.0).ok_or(NoRoom)
    }

    fn grow(&mut self) -> Result<(), NoRoom> {
        const PER_CHUNK: usize = CHUNK / SLOT;
        if self.slots + PER_CHUNK > MAX_SLOTS {
            return Err(NoRoom);
        }
        let chunk: NonNull<[[u8; SLOT]; PER_CHUNK]> = self.pages.map()?.cast();
        // Giving a slot back needs no allocation.
        self.free.reserve(self.slots + PER_CHUNK);
        for index in (0..PER_CHUNK).rev() {
            #[allow(unsafe_code, reason = "the arena is not the allocator's")]
            // SAFETY: the chunk has as many slots.
            let slot = unsafe { chunk.cast::<[u8; SLOT]>().add(index) };
            self.free.push(Address(slot));
        }
        self.slots += PER_CHUNK;
        Ok(())
    }
}

fn arena() -> MutexGuard<'static, Arena> {
    static ARENA: LazyLock<Mutex<Arena>> =
        LazyLock::new(|| Mutex::new(Arena { pages: Pages::open(), free: Vec::new(), slots: 0 }));
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::{CHUNK, Protection, SLOT, Slot, protection};
    use std::collections::HashSet;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    #[test]
    fn slots_are_apart_and_come_back_wiped() {
        let count = 3 * CHUNK / SLOT;
        let mut slots: Vec<Slot> = (0..count).map(|_| Slot::new().unwrap()).collect();
        for (slot, value) in slots.iter_mut().zip((0..=255).cycle()) {
            assert_eq!(*slot.as_bytes(), [0; SLOT]);
            slot.as_mut_bytes().fill(value);
        }
        for (slot, value) in slots.iter().zip((0..=255).cycle()) {
            assert_eq!(*slot.as_bytes(), [value; SLOT]);
        }
        let before: HashSet<usize> = slots.iter().map(|slot| slot.0.addr().get()).collect();
        assert_eq!(before.len(), count);
        drop(slots);
        let again: Vec<Slot> = (0..count).map(|_| Slot::new().unwrap()).collect();
        assert!(again.iter().all(|slot| *slot.as_bytes() == [0; SLOT]));
        assert!(again.iter().any(|slot| before.contains(&slot.0.addr().get())));
    }

    /// With memfd_secret not even this process reads it by another way than its own addresses.
    #[test]
    fn what_proc_shows_of_it() {
        let mut slot = Slot::new().unwrap();
        slot.as_mut_bytes().fill(0x5a);
        let at = u64::try_from(slot.0.addr().get()).unwrap();
        let mut seen = [0; SLOT];
        let read = File::open("/proc/self/mem").unwrap().read_exact_at(&mut seen, at);
        match protection().unwrap() {
            Protection::Secret => assert!(read.is_err() && seen == [0; SLOT]),
            Protection::Locked => assert!(read.is_ok() && seen == [0x5a; SLOT]),
        }
        let (maps, page) = (std::fs::read_to_string("/proc/self/smaps").unwrap(), at & !4095);
        let range = |line: &str| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
        };
        let of = maps.lines().skip_while(|line| range(line).is_none_or(|range| !range.contains(&page)));
        let flags = of.into_iter().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" lo") && flags.contains(" dd"), "locked, and in no dump: {flags}");
    }
}
