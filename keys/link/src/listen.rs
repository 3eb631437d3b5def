//! Sockets that listen: TCP at several addresses, and a Unix socket (as PostgreSQL's
//! `listen_addresses` and `unix_socket_directories`).

use crate::stream::Stream;
use std::fs::{self, Permissions};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that the kernel keeps until they are taken.
const BACKLOG: u32 = 1024;
/// PostgreSQL's default, too: who may connect is decided by the directory's permissions and by the login.
const MODE: u32 = 0o777;

/// Nothing listens there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {reason}")]
pub struct ListenError {
    place: String,
    reason: io::Error,
}

/// Sockets that listen. A socket file is removed with this.
pub struct Listeners {
    sockets: Vec<Socket>,
    /// Where the next look begins, so that no socket keeps the others waiting.
    next: usize,
}

/// A connection that was accepted, and belongs to no runtime yet.
pub enum Incoming {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// By the Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Incoming {
    /// Has the runtime serve it in which this is called.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A socket file of this process.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listeners {
    /// Listens at all addresses of these hosts, and at a socket file, of which one that nobody listens on
    /// any more is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn open(hosts: &[(String, u16)], unix: Option<&Path>) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for (host, port) in hosts {
            let failed = |reason| ListenError { place: format!("{host}:{port}"), reason };
            sockets.extend(all_of(host, *port).await.map_err(failed)?.into_iter().map(Socket::Tcp));
        }
        if let Some(path) = unix {
            let failed = |reason| ListenError { place: path.display().to_string(), reason };
            let (listener, file) = socket_file(path).await.map_err(failed)?;
            sockets.push(Socket::Unix(listener, file));
        }
        Ok(Self { sockets, next: 0 })
    }

    /// Where they listen, for people.
    pub fn places(&self) -> impl Iterator<Item = String> {
        self.sockets.iter().map(|socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string()),
            Socket::Unix(_, file) => file.path.display().to_string(),
        })
    }

    /// The next connection, and from where it comes if not by the Unix socket. Nothing is lost if this is
    /// dropped before its end.
    ///
    /// # Errors
    /// The kernel's: most often there are no descriptors left.
    pub async fn accept(&mut self) -> io::Result<(Incoming, Option<SocketAddr>)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Incoming, Option<SocketAddr>)>> {
        let count = self.sockets.len().max(1);
        for offset in 0..count {
            let at = (self.next + offset) % count;
            let accepted = match self.sockets.get(at) {
                Some(Socket::Tcp(listener)) => listener.poll_accept(context)?.map(|(stream, peer)| {
                    // These fail where the client has left already.
                    stream.set_nodelay(true).ok();
                    rustix::net::sockopt::set_socket_keepalive(&stream, true).ok();
                    Ok((Incoming::Tcp(stream.into_std()?), Some(peer)))
                }),
                Some(Socket::Unix(listener, _)) => listener
                    .poll_accept(context)?
                    .map(|(stream, _)| Ok((Incoming::Unix(stream.into_std()?), None))),
                None => Poll::Pending,
            };
            if accepted.is_ready() {
                self.next = at + 1;
                return accepted;
            }
        }
        Poll::Pending
    }
}

/// At all addresses of a name at which it is possible; there must be one.
async fn all_of(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match tcp(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => failure = error,
        }
    }
    if listeners.is_empty() { Err(failure) } else { Ok(listeners) }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 may be listened on beside [::].
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn socket_file(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            _ => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
        },
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    let made = fs::symlink_metadata(path)?;
    Ok((listener, SocketFile { path: path.to_owned(), device: made.dev(), inode: made.ino() }))
}

/// Removes the file, unless another program has put its own there.
impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = |found: fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(same) {
            fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_are_listened_on_and_each_is_heard() {
        let hosts = [("127.0.0.1".to_owned(), 0), ("127.0.0.2".to_owned(), 0)];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".s.PGSQL.6432");
        let mut listeners = Listeners::open(&hosts, Some(&path)).await.unwrap();
        let places: Vec<String> = listeners.places().collect();
        let [first, second, third] = &places[..] else { panic!("{places:?}") };
        assert_eq!(Path::new(third), path);
        for place in [first, second, first] {
            let client = TcpStream::connect(place).await.unwrap();
            let (stream, peer) = listeners.accept().await.unwrap();
            assert!(matches!(stream.open().unwrap(), Stream::Tcp(_)));
            assert_eq!(peer, Some(client.local_addr().unwrap()));
        }
        let _client = UnixStream::connect(&path).await.unwrap();
        assert!(matches!(listeners.accept().await.unwrap(), (Incoming::Unix(_), None)));
    }

    #[tokio::test]
    async fn a_socket_file_is_replaced_only_if_nobody_listens_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let open = || Listeners::open(&[], Some(&path));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = open().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        let says = open().await.err().unwrap().to_string();
        assert!(says.ends_with("another program listens there"), "{says}");
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "notes").unwrap();
        let says = open().await.err().unwrap().to_string();
        assert!(says.ends_with("a file that is no socket"), "{says}");
        assert_eq!(fs::read(&path).unwrap(), b"notes");
    }
}
