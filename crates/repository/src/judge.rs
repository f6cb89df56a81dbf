//! Judges requests as they come to rest, so that searches and metrics know what is broken without
//! building trees.
//!
//! A thread of its own takes the requests that changed, waits until each has been quiet for a
//! moment, and has its verdict found. A request that changes again waits again. Nothing depends
//! on it but speed and metrics: who needs a verdict earlier finds it on the spot.
//!
//! Limits: at most [`WAITING_MAX`] requests wait here; the others wait in the store.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::store::{Row, Store};

/// The most requests whose quiet is waited for here.
const WAITING_MAX: usize = 1 << 16;

/// The judging thread. Dropping it stops it, without waiting.
pub(crate) struct Judge {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    /// Judges the requests of a store, each once it has been quiet for so long.
    pub(crate) fn start(store: Arc<Store>, quiet: Duration) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let judging = Judging {
            store,
            quiet,
            stopped,
            waiting: VecDeque::new(),
        };
        let thread = std::thread::Builder::new()
            .name("judge".to_owned())
            .spawn(move || judging.run())?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) async fn stop(mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It ends within one request; a panic in it was logged by the hook.
            _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Judging {
    store: Arc<Store>,
    quiet: Duration,
    stopped: Receiver<()>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    row: Row,
    /// How often it had changed when it began to wait.
    changes: u32,
    since: Instant,
}

impl Judging {
    fn run(mut self) {
        let tick = (self.quiet / 4).clamp(Duration::from_millis(10), Duration::from_millis(500));
        let mut failing = false;
        while self.stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
            let since = Instant::now();
            let room = WAITING_MAX - self.waiting.len();
            let dirty = self.store.take_dirty(room).into_iter();
            self.waiting.extend(dirty.map(|(row, changes)| Waiting {
                row,
                changes,
                since,
            }));
            while let Some(next) = self.next_quiet() {
                let settled = self.store.settle(next.row);
                if let Err(error) = &settled
                    && !failing
                {
                    tracing::error!(%error, "cannot judge requests; trying again");
                }
                failing = settled.is_err();
                if failing || self.stopped.try_recv().is_ok() {
                    break;
                }
            }
        }
    }

    /// The next request that was quiet for long enough; those that were not wait again.
    fn next_quiet(&mut self) -> Option<Waiting> {
        loop {
            let next = self.waiting.front()?;
            if next.since.elapsed() < self.quiet {
                return None;
            }
            let next = self.waiting.pop_front()?;
            let changes = self.store.changes(next.row);
            if changes == next.changes {
                return Some(next);
            }
            self.waiting.push_back(Waiting {
                row: next.row,
                changes,
                since: Instant::now(),
            });
            if self.quiet.is_zero() {
                return None;
            }
        }
    }
}
