//! Pages from the kernel: `memfd_secret(2)` where it is, else `mmap(2)`, `mlock(2)` and `madvise(2)`.
//! Whatever of it fails, no page is given out.

use super::{CHUNK, MAX_SLOTS, NoRoom, Protection, SLOT};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

/// Where pages come from.
pub(super) struct Pages {
    /// The secret memory, of [`MAX_SLOTS`], mapped as it is needed.
    secret: Option<OwnedFd>,
    mapped: usize,
}

impl Pages {
    pub(super) fn open() -> Self {
        Self { secret: secret_memory(), mapped: 0 }
    }

    pub(super) fn protection(&self) -> Protection {
        if self.secret.is_some() { Protection::Secret } else { Protection::Locked }
    }

    /// One more chunk, of zeros, which is never unmapped.
    pub(super) fn map(&mut self) -> Result<NonNull<u8>, NoRoom> {
        let chunk = match &self.secret {
            Some(file) => {
                let offset = libc::off_t::try_from(self.mapped).map_err(|_| NoRoom)?;
                map(libc::MAP_SHARED, file.as_raw_fd(), offset)?
            }
            None => {
                let chunk = map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
                lock(chunk)?;
                chunk
            }
        };
        self.mapped += CHUNK;
        Ok(chunk)
    }
}

/// A file of secret memory; `None` if the kernel has none, or none for this process.
#[allow(unsafe_code, reason = "no safe wrapper has this call")]
fn secret_memory() -> Option<OwnedFd> {
    // SAFETY: takes flags, touches no memory.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let descriptor = i32::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0)?;
    // SAFETY: the kernel has just opened it for us.
    let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let size = libc::off_t::try_from(MAX_SLOTS * SLOT).ok()?;
    // SAFETY: touches no memory.
    (unsafe { libc::ftruncate(file.as_raw_fd(), size) } == 0).then_some(file)
}

#[allow(unsafe_code, reason = "the arena is not the allocator's")]
fn map(flags: libc::c_int, file: libc::c_int, offset: libc::off_t) -> Result<NonNull<u8>, NoRoom> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the address, so nothing that is mapped is replaced.
    let at = unsafe { libc::mmap(ptr::null_mut(), CHUNK, rights, flags, file, offset) };
    if at == libc::MAP_FAILED { Err(NoRoom) } else { NonNull::new(at.cast()).ok_or(NoRoom) }
}

/// Never swapped, never dumped, empty in a child. What cannot be locked is given back.
#[allow(unsafe_code, reason = "the arena is not the allocator's")]
fn lock(chunk: NonNull<u8>) -> Result<(), NoRoom> {
    let at = chunk.as_ptr().cast();
    // SAFETY: the chunk is mapped, and has that size; none of the calls changes its bytes here.
    let locked = unsafe {
        libc::mlock(at, CHUNK) == 0
            && libc::madvise(at, CHUNK, libc::MADV_DONTDUMP) == 0
            && libc::madvise(at, CHUNK, libc::MADV_WIPEONFORK) == 0
    };
    if locked {
        return Ok(());
    }
    // SAFETY: nobody has its address any more.
    unsafe { libc::munmap(at, CHUNK) };
    Err(NoRoom)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::{Pages, Protection};

    #[test]
    fn where_there_is_no_secret_memory_pages_are_locked() {
        let mut pages = Pages { secret: None, mapped: 0 };
        assert_eq!(pages.protection(), Protection::Locked);
        let (one, other) = (pages.map().unwrap(), pages.map().unwrap());
        assert_ne!(one, other);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        assert!(!locked.contains(" 0 kB"), "{locked}");
    }
}
