//! The files of the log on disk: where the chain stands when it is opened, appending all or nothing, and
//! the change to the next file. `audit.log` is written, `audit.log.000001` the first that was full.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use trefoil_keys::audit::{Chain, Event, FileStart, Head, Line, Promise};
use trefoil_keys::private_file::{self, FileError};

/// How much is read at first from the end of a file.
const TAIL: u64 = 64 * 1024;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be read or written.
    #[error("audit log {path}: {reason}; give the proxy a directory that it may write")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        reason: io::Error,
    },
    /// The file is not the proxy's alone.
    #[error("audit log: {0}")]
    Unfit(FileError),
    /// The first checkpoint could not be signed.
    #[error("audit log {0}: its start could not be signed; the proxy's log says why")]
    Unsigned(String),
    /// Another process writes it.
    #[error("audit log {0}: another process writes it; each proxy needs a log of its own")]
    Locked(String),
    /// It does not end, or begin, as a log does.
    #[error(
        "audit log {0}: it was changed from outside: no records of a log; keep its files elsewhere, as \
         evidence, and start again: a new log begins"
    )]
    Damaged(String),
    /// No thread for it.
    #[error("audit log: cannot start its thread: {0}")]
    Thread(io::Error),
}

impl AuditError {
    pub(super) fn unwritable(path: &Path, reason: io::Error) -> Self {
        Self::Unusable { path: path.display().to_string(), reason }
    }

    fn damaged(path: &Path) -> Self {
        Self::Damaged(path.display().to_string())
    }
}

/// The file that is written.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
    /// There may be more in the file than these.
    dirty: bool,
    chain: Chain,
    log: String,
    number: u64,
    promise: Promise,
}

impl LogFile {
    /// Opens the log, or begins one; its next files will promise this. Also says how many bytes of an incomplete
    /// last line were taken away.
    pub(super) fn open(path: &Path, promise: Promise) -> Result<(Self, u64), AuditError> {
        let failed = |reason| AuditError::unwritable(path, reason);
        let file = match private_file::open_own(path) {
            Err(error) if error.is_not_found() => {
                let former = last_full(path).map_err(failed)?.map(|number| numbered(path, number));
                let start = match former {
                    None => FileStart::first(promise),
                    Some(former) => {
                        let mut file = private_file::open_own(&former).map_err(AuditError::Unfit)?;
                        let (start, chain, _) = ends(&mut file, &former)?;
                        FileStart::after(start.log, start.file, chain, promise)
                    }
                };
                let begun = Self::begin(path, start, &super::now()).map_err(failed)?;
                fs::rename(new_name(path), path).and_then(|()| sync_directory(path)).map_err(failed)?;
                return Ok((begun, 0));
            }
            opened => opened.map_err(AuditError::Unfit)?,
        };
        lock(&file, path)?;
        let mut file = file;
        let (start, chain, length) = ends(&mut file, path)?;
        let torn = file.metadata().map_err(failed)?.len() - length;
        let (log, number) = (start.log, start.file);
        let (path, dirty) = (path.to_owned(), torn > 0);
        let mut opened = Self { path, file, length, dirty, chain, log, number, promise };
        opened.clean().map_err(failed)?;
        Ok((opened, torn))
    }

    /// Makes a file with its first record, beside the one that is written.
    fn begin(path: &Path, start: FileStart, at: &str) -> io::Result<Self> {
        let new = new_name(path);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).mode(0o600).create_new(true).open(&new)?;
        lock(&file, path).map_err(io::Error::other)?;
        let (mut chain, mut text) = (start.before(), String::new());
        chain.append(at, &start.body(), &mut text);
        let FileStart { log, file: number, promise, .. } = start;
        let mut begun = Self {
            path: path.to_owned(),
            file,
            length: 0,
            dirty: false,
            chain: Chain::default(),
            log,
            number,
            promise,
        };
        begun.append(&text, chain)?;
        Ok(begun)
    }

    pub(super) fn chain(&self) -> Chain {
        self.chain
    }

    pub(super) fn head(&self) -> Head {
        self.head_at(self.chain)
    }

    /// The head of this log when it stands there.
    pub(super) fn head_at(&self, chain: Chain) -> Head {
        Head { log: self.log.clone(), records: chain.records, hash: chain.hash }
    }

    pub(super) fn length_with(&self, text: &str) -> u64 {
        self.length + u64::try_from(text.len()).unwrap_or(u64::MAX)
    }

    /// Appends lines, durably: all of them or, after an error, nothing.
    pub(super) fn append(&mut self, lines: &str, chain: Chain) -> io::Result<()> {
        self.clean()?;
        self.dirty = true;
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // If this fails too, the next attempt begins with it.
            let _ = self.clean();
            return Err(error);
        }
        self.dirty = false;
        self.length = self.length_with(lines);
        self.chain = chain;
        Ok(())
    }

    /// Takes away what is not a whole record.
    fn clean(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.length)?;
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Goes on in a new file.
    pub(super) fn rotate(&mut self, at: &str) -> io::Result<()> {
        let start = FileStart::after(self.log.clone(), self.number, self.chain, self.promise);
        let next = Self::begin(&self.path, start, at)?;
        let full = numbered(&self.path, self.number);
        if full.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, full.display().to_string()));
        }
        fs::rename(&self.path, &full)?;
        if let Err(error) = fs::rename(new_name(&self.path), &self.path) {
            fs::rename(&full, &self.path)?;
            return Err(error);
        }
        *self = next;
        Ok(())
    }

    /// Makes the change to a new file durable, and removes the oldest ones beyond `keep`.
    pub(super) fn settle(&self, keep: u64) -> io::Result<()> {
        sync_directory(&self.path)?;
        if let Some(last) = self.number.checked_sub(keep).filter(|last| keep > 0 && *last > 0) {
            for number in full_numbers(&self.path)?.into_iter().filter(|number| *number <= last) {
                fs::remove_file(numbered(&self.path, number))?;
            }
        }
        Ok(())
    }
}

fn lock(file: &File, path: &Path) -> Result<(), AuditError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => AuditError::Locked(path.display().to_string()),
        TryLockError::Error(reason) => AuditError::unwritable(path, reason),
    })
}

/// How the file begins, where its chain stands, and the length of its whole lines.
fn ends(file: &mut File, path: &Path) -> Result<(FileStart, Chain, u64), AuditError> {
    let failed = |reason| AuditError::unwritable(path, reason);
    let mut first = Vec::new();
    BufReader::new(&*file).take(TAIL).read_until(b'\n', &mut first).map_err(failed)?;
    let text = str::from_utf8(&first).ok().and_then(|text| text.strip_suffix('\n'));
    let Some(Event::File(start)) = text.and_then(Line::parse).map(|line| line.event) else {
        return Err(AuditError::damaged(path));
    };
    let (last, length) = last_line(file).map_err(failed)?;
    let chain = str::from_utf8(&last).ok().and_then(Line::parse).map(|line| line.chain());
    Ok((start, chain.ok_or_else(|| AuditError::damaged(path))?, length))
}

/// The last whole line, without its end, and where it ends in the file.
fn last_line(file: &mut File) -> io::Result<(Vec<u8>, u64)> {
    let total = file.metadata()?.len();
    let mut size = TAIL.min(total);
    loop {
        file.seek(SeekFrom::Start(total - size))?;
        let mut bytes = Vec::new();
        (&*file).take(size).read_to_end(&mut bytes)?;
        let ends: Vec<usize> = memchr::memrchr_iter(b'\n', &bytes).take(2).collect();
        let (end, begin) = match ends.as_slice() {
            [end, before] => (Some(*end), Some(before + 1)),
            [end] if size == total => (Some(*end), Some(0)),
            _ => (None, None),
        };
        if let (Some(end), Some(begin)) = (end, begin) {
            let line = bytes.get(begin..end).unwrap_or_default().to_vec();
            let past = u64::try_from(end + 1).unwrap_or(u64::MAX);
            return Ok((line, total - size + past));
        }
        if size == total {
            return Ok((Vec::new(), 0));
        }
        size = (2 * size).min(total);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn new_name(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    with_suffix(path, &format!(".{number:06}"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The numbers of the full files that are there.
fn full_numbers(path: &Path) -> io::Result<Vec<u64>> {
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory(path))? {
        let name = entry?.file_name();
        let suffix = name.to_str().and_then(|name| name.strip_prefix(own.as_ref())?.strip_prefix('.'));
        numbers.extend(suffix.and_then(|suffix| suffix.parse::<u64>().ok()));
    }
    Ok(numbers)
}

fn last_full(path: &Path) -> io::Result<Option<u64>> {
    Ok(full_numbers(path)?.into_iter().max())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}
