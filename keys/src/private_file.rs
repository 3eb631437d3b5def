//! Files of one account alone, which hold secrets or what nobody else may write; replaced as a whole or not
//! at all.
//!
//! Invariant: what passes through here lives only in buffers that are wiped when dropped.

use rand::Rng;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// No file of ours comes near this; a larger one is a mistake and would only fill the memory.
const MAX_BYTES: u64 = 256 << 20;

/// What is wrong with a file that should hold secrets. The message is whole: it has no source, which
/// would be printed once more.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system said no.
    #[error("cannot {action} {path}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        reason: io::Error,
    },
    /// A directory, pipe or device.
    #[error("{0} is not a regular file")]
    NotRegular(PathBuf),
    /// Others than the owner may open it.
    #[error("{path} can be opened by others than its owner (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link, where the file itself is needed.
    #[error("{0} is a symbolic link; give the path of the file itself")]
    Link(PathBuf),
    /// Another account's.
    #[error("{path} belongs to user {owner}, and this program runs as user {own}; run: chown {own} {path}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner (UID).
        owner: u32,
        /// Who this program runs as (UID).
        own: u32,
    },
    /// Too large to be what it should be.
    #[error("{0} is larger than any such file can be")]
    TooLarge(PathBuf),
}

impl FileError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |reason| Self::Io { action, path: path.to_owned(), reason }
    }

    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { reason, .. } if reason.kind() == io::ErrorKind::NotFound)
    }

    /// Whether there is a file where [`create`] should have made one.
    pub fn is_already_there(&self) -> bool {
        matches!(self, Self::Io { reason, .. } if reason.kind() == io::ErrorKind::AlreadyExists)
    }
}

/// Whether systemd has handed the file to this service alone (`LoadCredential=`): it is root's, and the
/// service's account reads it by an ACL, whose mask stands where the group's permissions are.
fn is_credential(path: &Path, metadata: &fs::Metadata) -> bool {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
    metadata.uid() == 0 && directory.is_some_and(|directory| path.parent() == Some(Path::new(&directory)))
}

/// The whole content of the file at `path`, which must be a regular file without any permission for
/// group and others; only of a credential of systemd's the group's permission to read says nothing.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // The kind is looked at first: opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(FileError::io("open", path))?.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let mut file = File::open(path).map_err(FileError::io("open", path))?;
    let metadata = file.metadata().map_err(FileError::io("examine", path))?;
    closed(path, &metadata, if is_credential(path, &metadata) { 0o037 } else { 0o077 })?;
    let length = match usize::try_from(metadata.len()) {
        Ok(length) if metadata.len() <= MAX_BYTES => length,
        _ => return Err(FileError::TooLarge(path.to_owned())),
    };
    // Sized once: a buffer that grows leaves its former place behind unwiped.
    let mut content = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut content).map_err(FileError::io("read", path))?;
    Ok(content)
}

/// None of these permissions.
fn closed(path: &Path, metadata: &fs::Metadata, bits: u32) -> Result<(), FileError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & bits == 0 { Ok(()) } else { Err(FileError::Exposed { path: path.to_owned(), mode }) }
}

/// The file at `path` for reading and appending. It must be there, a regular file and no link to one, this
/// account's own, and without any permission for group and others.
pub fn open_own(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(path).map_err(|reason| match reason.raw_os_error() {
        Some(nix::libc::ELOOP) => FileError::Link(path.to_owned()),
        _ => FileError::io("open", path)(reason),
    })?;
    let metadata = file.metadata().map_err(FileError::io("examine", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let (owner, own) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != own {
        return Err(FileError::Foreign { path: path.to_owned(), owner, own });
    }
    closed(path, &metadata, 0o077)?;
    Ok(file)
}

/// Puts `content` at `path` with mode 0600: after a crash there is the old file or the new one, and
/// once this returns, the new one. What [`read`] would not take is not written either.
pub fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    place(path, content, |temporary| fs::rename(temporary, path))
}

/// Puts `content` at `path` with mode 0600 unless something is there: after a crash there is nothing or
/// the whole file, and of two processes at the same time one fails.
pub fn create(path: &Path, content: &[u8]) -> Result<(), FileError> {
    place(path, content, |temporary| {
        fs::hard_link(temporary, path)?;
        fs::remove_file(temporary)
    })
}

fn place(path: &Path, content: &[u8], put: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FileError> {
    let directory = directory_of(path);
    let Some(name) = path.file_name() else {
        return Err(FileError::NotRegular(path.to_owned()));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", rand::rng().next_u64()));
    let temporary = directory.join(temporary);

    let result = write_new(&temporary, content).and_then(|()| put(&temporary));
    if let Err(reason) = result {
        // The first failure is the one worth telling.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::io("write", path)(reason));
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(FileError::io("sync", directory))
}

/// Where `path` is an entry.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// `value` as indented JSON with a final line feed, leaving no copy of any part behind.
pub fn to_json<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut buffer = WipedBuffer(Zeroizing::new(Vec::with_capacity(4096)));
    serde_json::to_writer_pretty(&mut buffer, value)?;
    buffer.append(b"\n");
    Ok(buffer.0)
}

/// `value` as JSON in one line, leaving no copy of any part behind.
pub fn to_compact_json<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut buffer = WipedBuffer(Zeroizing::new(Vec::with_capacity(512)));
    serde_json::to_writer(&mut buffer, value)?;
    Ok(buffer.0)
}

/// Grows like a `Vec`, but wipes the place that it moves out of.
struct WipedBuffer(Zeroizing<Vec<u8>>);

impl WipedBuffer {
    fn append(&mut self, data: &[u8]) {
        let needed = self.0.len() + data.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(data);
    }
}

impl Write for WipedBuffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.append(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
