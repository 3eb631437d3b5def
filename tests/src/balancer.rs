//! A TCP load balancer: each connection goes to the next of several ports at which somebody answers.

use crate::Result;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Listens until this process ends.
pub struct Balancer {
    port: u16,
    targets: Arc<[Target]>,
}

struct Target {
    port: u16,
    taken: AtomicUsize,
}

impl Balancer {
    /// In front of these ports.
    pub fn start(ports: &[u16]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let targets: Arc<[Target]> =
            ports.iter().map(|port| Target { port: *port, taken: AtomicUsize::default() }).collect();
        let shared = Arc::clone(&targets);
        thread::spawn(move || {
            for (turn, client) in listener.incoming().flatten().enumerate() {
                if let Some(server) = next(&shared, turn) {
                    relay(client, server);
                }
            }
        });
        Ok(Self { port, targets })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections each port got.
    pub fn taken(&self) -> Vec<usize> {
        self.targets.iter().map(|target| target.taken.load(Ordering::Relaxed)).collect()
    }
}

fn next(targets: &[Target], turn: usize) -> Option<TcpStream> {
    let in_turn = targets.iter().cycle().skip(turn % targets.len().max(1)).take(targets.len());
    in_turn.into_iter().find_map(|target| {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port)).ok()?;
        target.taken.fetch_add(1, Ordering::Relaxed);
        Some(server)
    })
}

fn relay(client: TcpStream, server: TcpStream) {
    if let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) {
        thread::spawn(move || copy(from_client, to_server));
        thread::spawn(move || copy(server, client));
    }
}

/// Both ways end with either.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(buffer.get(..length).unwrap_or_default()).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
