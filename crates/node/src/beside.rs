//! Identifiers that come as messages of their own, beside the requests they belong to (D5).
//!
//! For protocols that have no room: the request goes as ever, its identifier by another way (a
//! datagram, another topic), and both are known by what names the request at both sides. Either
//! may come first. An identifier waits here for its request, in a bounded store, for a set time;
//! a request waits for its identifier as long as its code says, and is then a new root. Nothing
//! of this can fail a request, and everything that did not meet is counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::reference::Store;
use selvedge_identity::carrier::separate::{self, Separate, SeparateError};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Node;
use crate::metrics::count;

/// The bounds of a [`Beside`].
#[derive(Clone, Copy, Debug)]
pub struct BesideOptions {
    /// Identifiers that wait for their requests; more drop the oldest. Default 16,384.
    pub held_max: usize,
    /// How long one waits. Default 30 s.
    pub held_for: Duration,
    /// Requests that may wait at once; more go on at once as new roots. Default 1,024.
    pub waiters_max: usize,
}

impl Default for BesideOptions {
    fn default() -> Self {
        Self {
            held_max: 16 * 1024,
            held_for: Duration::from_secs(30),
            waiters_max: 1024,
        }
    }
}

/// What became of identifiers and requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BesideCounts {
    /// Requests whose identifier was there first.
    pub held: u64,
    /// Requests that waited, and whose identifier came.
    pub awaited: u64,
    /// Requests whose identifier did not come in time: new roots.
    pub missing: u64,
    /// Requests that were not let wait, because too many did: new roots.
    pub crowded: u64,
    /// Messages refused: malformed, damaged, or from a source that is not trusted.
    pub refused: u64,
    /// Identifiers dropped before their time, because the store was full.
    pub dropped: u64,
}

/// Where identifiers and requests meet.
pub struct Beside {
    node: Node,
    state: Mutex<State>,
    waiters_max: usize,
    began: Instant,
    held: AtomicU64,
    awaited: AtomicU64,
    missing: AtomicU64,
    crowded: AtomicU64,
    refused: AtomicU64,
}

struct State {
    store: Store<Vec<u8>>,
    /// Requests that wait, each with a number that tells those of one name apart.
    waiting: HashMap<Vec<u8>, Vec<(u64, oneshot::Sender<RequestIdentifier>)>>,
    waiters: usize,
    next: u64,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BesideError {
    /// It is none.
    #[error(transparent)]
    Message(#[from] SeparateError),
    /// Its source is not among those that the node trusts.
    #[error("identifier message from {0}, which is not trusted: see the setting `trusted`")]
    Source(IpAddr),
}

impl Beside {
    /// An empty one.
    #[must_use]
    pub fn new(node: Node, options: BesideOptions) -> Self {
        let held_for_ms = u64::try_from(options.held_for.as_millis()).unwrap_or(u64::MAX);
        Self {
            node,
            state: Mutex::new(State {
                store: Store::new(options.held_max, held_for_ms),
                waiting: HashMap::new(),
                waiters: 0,
                next: 0,
            }),
            waiters_max: options.waiters_max,
            began: Instant::now(),
            held: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// An identifier's message came from this address. All requests of its name that wait get it
    /// (they are deliveries of one); if none does, it is held for one.
    ///
    /// # Errors
    /// See [`BesideError`]; counted.
    pub fn came(&self, message: &[u8], peer: IpAddr) -> Result<(), BesideError> {
        let read = match self.node.trusts(Some(peer)) {
            true => Separate::parse(message).map_err(BesideError::from),
            false => Err(BesideError::Source(peer)),
        };
        let message = read.inspect_err(|_| count(&self.refused))?;
        let identifier = message.identifier();
        let mut state = self.lock();
        match state.waiting.remove(message.about()) {
            Some(waiting) => {
                state.waiters -= waiting.len();
                for (_, request) in waiting {
                    // One that went away meanwhile needs it no more.
                    let _ = request.send(identifier.clone());
                }
            }
            None => {
                let about = message.about().to_vec();
                let now_ms = self.now_ms();
                state.store.insert(about, identifier.clone(), now_ms);
            }
        }
        Ok(())
    }

    /// The identifier of the request that `about` names: held, or awaited at most for `longest`.
    /// `None`: the request is a new root. An identifier is given once, so that a name can be used
    /// again.
    pub async fn of(&self, about: &[u8], longest: Duration) -> Option<RequestIdentifier> {
        let (number, receiver) = {
            let mut state = self.lock();
            if let Some(identifier) = state.store.take(&about.to_vec(), self.now_ms()) {
                count(&self.held);
                return Some(identifier);
            }
            if longest.is_zero() {
                count(&self.missing);
                return None;
            }
            if state.waiters >= self.waiters_max {
                count(&self.crowded);
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            state.next += 1;
            state.waiters += 1;
            let number = state.next;
            let waiting = state.waiting.entry(about.to_vec()).or_default();
            waiting.push((number, sender));
            (number, receiver)
        };
        // Also where this future is dropped before its end.
        let _leaves = Leaves {
            beside: self,
            about,
            number,
        };
        let came = tokio::time::timeout(longest, receiver).await;
        match came {
            Ok(Ok(identifier)) => {
                count(&self.awaited);
                Some(identifier)
            }
            _ => {
                count(&self.missing);
                None
            }
        }
    }

    /// Takes the messages that come to this socket, a datagram each, until it fails or this
    /// future is dropped.
    ///
    /// # Errors
    /// The socket's.
    pub async fn listen(&self, socket: &UdpSocket) -> std::io::Result<()> {
        // One byte more than the longest: what does not fit is none of ours.
        let mut datagram = [0; separate::TEXT_MAX + 3];
        loop {
            let (length, peer) = socket.recv_from(&mut datagram).await?;
            if let Err(error) = self.came(&datagram[..length], peer.ip()) {
                tracing::debug!(%peer, %error, "identifier message refused");
            }
        }
    }

    /// What became of identifiers and requests so far.
    #[must_use]
    pub fn counts(&self) -> BesideCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BesideCounts {
            held: read(&self.held),
            awaited: read(&self.awaited),
            missing: read(&self.missing),
            crowded: read(&self.crowded),
            refused: read(&self.refused),
            dropped: self.lock().store.dropped(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Beside({:?})", self.counts())
    }
}

/// A request that waits; dropped, it waits no more.
struct Leaves<'a> {
    beside: &'a Beside,
    about: &'a [u8],
    number: u64,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut state = self.beside.lock();
        let Some(waiting) = state.waiting.get_mut(self.about) else {
            return;
        };
        let before = waiting.len();
        waiting.retain(|(number, _)| *number != self.number);
        let left = before - waiting.len();
        if waiting.is_empty() {
            state.waiting.remove(self.about);
        }
        state.waiters -= left;
    }
}
