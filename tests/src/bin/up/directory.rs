//! The directory of one `make up`, which no other may use while this one runs: its database would be
//! removed under it. The file by which it is locked also says that `make up` made the directory.

use crate::setting;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use trefoil_tests::{Error, Result};

const LOCK: &str = "trefoil-up.lock";

/// A directory that is ours for as long as this value lives.
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// `DIR`, or a directory of this user below the temporary one.
    pub(crate) fn take() -> Result<Self> {
        let own = fs::metadata("/proc/self")?.uid();
        let path = setting("DIR")
            .map_or_else(|| std::env::temp_dir().join(format!("trefoil-up-{own}")), PathBuf::from);
        fs::create_dir_all(&path).map_err(|error| Error::at(&path, &error))?;
        let path = path.canonicalize().map_err(|error| Error::at(&path, &error))?;
        if fs::metadata(&path)?.uid() != own {
            return Err(Error::new(format!(
                "{} belongs to another user; choose another with DIR=…",
                path.display()
            )));
        }
        let lock = lock(&path)?;
        // Others may pass through to what the server's user owns; the files themselves are private.
        fs::set_permissions(&path, Permissions::from_mode(0o711))?;
        drop(fs::remove_file(path.join("env")));
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let at = |error| Error::at(&path, &error);
    if !path.exists() && fs::read_dir(dir).map_err(|error| Error::at(dir, &error))?.next().is_some() {
        return Err(Error::new(format!(
            "{} holds files that this `make up` did not make; remove them, or choose another with DIR=…",
            dir.display()
        )));
    }
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(at)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).map_err(at)?;
            return Err(Error::new(format!(
                "{} is in use by process {}; choose another with DIR=…",
                dir.display(),
                holder.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(at(error)),
    }
    file.set_len(0).map_err(at)?;
    writeln!(file, "{}", std::process::id()).map_err(at)?;
    Ok(file)
}
