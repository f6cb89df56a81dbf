//! Sends datagrams at their instants: one thread that sleeps until shortly before and then spins.
//!
//! A sleeping thread wakes tens of microseconds late, now and then a millisecond; a spinning one is
//! there. All replicas of one process share the thread: two that spin for the same instant on one
//! core hold one another up.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use selvedge_clock::{Local, Nanos};

use crate::host::HostClock;
use crate::wire::Silence;

/// From so long before the instant on, it spins, unless told otherwise: longer than most threads wake
/// late.
pub const SPIN: Duration = Duration::from_micros(200);

/// The most datagrams that wait.
const PENDING_MAX: usize = 65_536;

/// A datagram and its instant.
pub(crate) struct Paced {
    /// On `clock`.
    pub(crate) due: Local,
    pub(crate) clock: HostClock,
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// Later than this after `due` it is not sent.
    pub(crate) tolerance: Nanos,
    /// Told when it left, or why not; called when nothing else is due.
    pub(crate) done: Box<dyn FnOnce(Result<Local, Silence>) + Send>,
}

/// The thread. It ends when this is dropped; what waits then is not sent.
pub struct Pacer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Orders instants of different clocks.
    clock: HostClock,
    spin: Duration,
}

#[derive(Default)]
struct State {
    heap: BinaryHeap<Item>,
    stopped: bool,
}

struct Item {
    /// `due` on the pacer's clock.
    order: Local,
    paced: Paced,
}

impl Pacer {
    /// Starts the thread, which spins from so long before each instant on.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(spin: Duration) -> Result<Self, std::io::Error> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            clock: HostClock::default(),
            spin,
        });
        let runs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("race-pacer".to_owned())
            .spawn(move || runs.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a datagram; one too many is given back to `done` as [`Silence::Full`].
    pub(crate) fn send(&self, paced: Paced) {
        let ahead = paced.due - paced.clock.now();
        let order = self.shared.clock.now() + ahead;
        let mut state = self.shared.lock();
        if state.heap.len() >= PENDING_MAX || state.stopped {
            drop(state);
            (paced.done)(Err(Silence::Full));
            return;
        }
        state.heap.push(Item { order, paced });
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let spin = Nanos::try_from(self.spin.as_nanos()).unwrap_or(Nanos::MAX);
        // What is to be told waits until nothing is due: telling takes as long as sending.
        let mut told: Vec<(Paced, Result<Local, Silence>)> = Vec::new();
        loop {
            let state = self.lock();
            if state.stopped {
                return;
            }
            let ahead = state.heap.peek().map(|item| item.order - self.clock.now());
            match ahead {
                Some(ahead) if ahead <= spin => {
                    if let Some(Item { paced, .. }) = pop(state) {
                        let outcome = paced.send();
                        told.push((paced, outcome));
                    }
                }
                _ if !told.is_empty() => {
                    drop(state);
                    for (paced, outcome) in told.drain(..) {
                        (paced.done)(outcome);
                    }
                }
                Some(ahead) => {
                    let sleep = Duration::from_nanos(u64::try_from(ahead - spin).unwrap_or(0));
                    drop(self.changed.wait_timeout(state, sleep));
                }
                None => drop(self.changed.wait(state)),
            }
        }
    }
}

/// Without the lock from here on: whoever queues must not wait for an instant.
fn pop(mut state: MutexGuard<'_, State>) -> Option<Item> {
    state.heap.pop()
}

impl Paced {
    fn send(&self) -> Result<Local, Silence> {
        let mut now = self.clock.now();
        while now < self.due {
            std::hint::spin_loop();
            now = self.clock.now();
        }
        if now - self.due > self.tolerance {
            return Err(Silence::Late);
        }
        match self.socket.send_to(&self.bytes, self.to) {
            Ok(_) => Ok(now),
            Err(error) => {
                tracing::debug!(%error, to = %self.to, "an answer was not sent");
                Err(Silence::Send)
            }
        }
    }
}

impl Ord for Item {
    /// The earliest is the greatest: it leaves the heap first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.order.cmp(&self.order)
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Item {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn paced(
        due: Local,
        byte: u8,
        tolerance: Nanos,
        to: &UdpSocket,
        done: mpsc::Sender<(u8, Result<Local, Silence>)>,
    ) -> Paced {
        Paced {
            due,
            clock: HostClock::default(),
            socket: Arc::new(UdpSocket::bind("127.0.0.1:0").expect("bound")),
            to: to.local_addr().expect("address"),
            bytes: vec![byte],
            tolerance,
            done: Box::new(move |outcome| done.send((byte, outcome)).expect("listens")),
        }
    }

    #[test]
    fn datagrams_leave_in_the_order_of_their_instants_and_none_before() {
        let pacer = Pacer::start(SPIN).expect("thread");
        let to = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let (done, outcomes) = mpsc::channel();
        let start = HostClock::default().now();
        for byte in [3, 1, 2] {
            let due = start + Nanos::from(byte) * 5_000_000;
            pacer.send(paced(due, byte, Nanos::MAX, &to, done.clone()));
        }
        for expected in 1..=3 {
            let mut buffer = [0];
            to.recv(&mut buffer).expect("received");
            assert_eq!(buffer, [expected]);
            let (byte, outcome) = outcomes.recv().expect("told");
            assert_eq!(byte, expected);
            assert!(outcome.expect("sent") >= start + Nanos::from(byte) * 5_000_000);
        }
    }

    #[test]
    fn what_is_late_is_not_sent() {
        let pacer = Pacer::start(SPIN).expect("thread");
        let to = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let (done, outcomes) = mpsc::channel();
        pacer.send(paced(
            HostClock::default().now() - 2_000_000,
            1,
            1_000_000,
            &to,
            done,
        ));
        assert_eq!(outcomes.recv().expect("told"), (1, Err(Silence::Late)));
        to.set_nonblocking(true).expect("set");
        assert!(to.recv(&mut [0]).is_err());
    }
}
