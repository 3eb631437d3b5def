//! Where the plaintext goes: standard output, or a file that only its owner may read and that bears its
//! name only once it is whole.

use super::error::DecryptError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 20;

pub(super) struct OutputFile {
    file: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
}

impl OutputFile {
    /// A new file, to be at `path` in the end.
    pub(super) fn create(path: &Path) -> Result<Self, DecryptError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(DecryptError::OutputExists(path.to_owned()));
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".partial");
        let temporary = PathBuf::from(temporary);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => DecryptError::OutputExists(temporary.clone()),
            _ => DecryptError::Write(error),
        })?;
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// The file is whole.
    pub(super) fn finish(mut self) -> Result<(), DecryptError> {
        let done = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.path));
        done.map_err(DecryptError::Write)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // Once it is finished there is none.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Standard output with a buffer.
pub(super) fn standard() -> impl Write {
    BufWriter::with_capacity(BUFFER, io::stdout().lock())
}
