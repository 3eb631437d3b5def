//! A relay between the proxy and PostgreSQL that keeps every byte sent upstream.

use crate::Result;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

type Recording = Arc<Mutex<Vec<u8>>>;

/// A recording relay; it stops to accept when dropped.
pub struct Recorder {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Recording>>>,
    stopped: Arc<AtomicBool>,
}

impl Recorder {
    /// Starts a relay to a port of the loopback interface.
    pub fn start(upstream: u16) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), upstream)
    }

    /// Starts a relay from a port of this address.
    pub fn start_at(address: IpAddr, upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        let connections = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let recorder = Self { address, connections: Arc::clone(&connections), stopped: Arc::clone(&stopped) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) {
                    let recording = Recording::default();
                    locked(&connections).push(Arc::clone(&recording));
                    relay(&client, &server, Some(recording));
                    relay(&server, &client, None);
                }
            }
        });
        Ok(recorder)
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every byte sent upstream so far, by connection.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        locked(&self.connections).iter().map(|recording| locked(recording).clone()).collect()
    }

    /// Forgets what was recorded.
    pub fn clear(&self) {
        for recording in locked(&self.connections).iter() {
            locked(recording).clear();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn relay(from: &TcpStream, to: &TcpStream, recording: Option<Recording>) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    drop(to.set_nodelay(true));
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let Some(bytes) = buffer.get(..length) else { break };
            // Recorded before it is sent: whoever sees the answer finds the question here.
            if let Some(recording) = &recording {
                locked(recording).extend_from_slice(bytes);
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Write));
        drop(from.shutdown(Shutdown::Read));
    });
}
