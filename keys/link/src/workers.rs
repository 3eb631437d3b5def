//! Threads for sessions: one a core, each with a runtime of its own. A session stays where it began, so its
//! two sockets wake no other thread than the one that serves both.

use std::io;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// The threads. To be dropped outside of any runtime.
pub struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    runtime: Runtime,
    /// Held by each of its sessions.
    sessions: Arc<()>,
}

/// A session's place on a thread, until this is dropped.
pub struct Seat {
    worker: Handle,
    _session: Arc<()>,
}

impl Workers {
    /// Starts them, with stacks of so many bytes.
    ///
    /// # Errors
    /// The kernel's, if there are no threads left.
    pub fn start(stack: usize) -> io::Result<Self> {
        let start = |_| {
            // Of this kind, and with one thread, because such a runtime goes on while a session blocks it.
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("sessions")
                .thread_stack_size(stack)
                .enable_all()
                .build()?;
            Ok(Worker { runtime, sessions: Arc::default() })
        };
        let all = (0..available_parallelism()?.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { all })
    }

    /// A place on the thread with the fewest sessions; none if there are no threads.
    pub fn seat(&self) -> Option<Seat> {
        let least = self.all.iter().min_by_key(|worker| Arc::strong_count(&worker.sessions))?;
        Some(Seat { worker: least.runtime.handle().clone(), _session: Arc::clone(&least.sessions) })
    }

    /// Ends all sessions. What does not come to an await is waited for so long.
    pub fn stop(self, patience: Duration) {
        for worker in self.all {
            worker.runtime.shutdown_timeout(patience);
        }
    }
}

impl Seat {
    /// The runtime of the thread.
    pub fn worker(&self) -> &Handle {
        &self.worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn sessions_spread_over_the_threads_and_stay_while_one_is_blocked() {
        let workers = Workers::start(256 * 1024).unwrap();
        let threads = available_parallelism().unwrap().get();
        let seats: Vec<Seat> = (0..3 * threads).map(|_| workers.seat().unwrap()).collect();
        let mut taken = BTreeMap::<String, usize>::new();
        for seat in &seats {
            *taken.entry(seat.worker().id().to_string()).or_default() += 1;
        }
        assert!(taken.len() == threads && taken.values().all(|count| *count == 3), "{taken:?}");
        let (free, other) = (&seats[0], &seats[threads]);
        assert_eq!(free.worker().id(), other.worker().id());
        let (told, hears) = std::sync::mpsc::channel();
        let blocked = free.worker().spawn(async move { tokio::task::block_in_place(|| hears.recv()) });
        other.worker().spawn(async move { told.send("hello") });
        assert_eq!(free.worker().block_on(blocked).unwrap(), Ok("hello"));
        workers.stop(Duration::ZERO);
    }
}
