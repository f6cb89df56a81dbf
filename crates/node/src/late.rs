//! Openings that are written only if the request is still going on after a while.
//!
//! Most requests end within milliseconds, and one record is cheaper than two; but a request that
//! hangs, or whose server dies, must stand in the journal. So each unwritten opening waits here
//! for [`LATE`], in the order it came.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long an opening may stay unwritten.
const LATE: Duration = Duration::from_millis(100);

type Write = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Late {
    queue: Mutex<VecDeque<(u64, Write)>>,
}

impl Late {
    pub(crate) fn push(&self, now_ns: u64, write: Write) {
        self.lock().push_back((now_ns, write));
    }

    /// Writes what came more than [`LATE`] ago.
    pub(crate) fn sweep(&self, now_ns: u64) {
        let due_ns = now_ns.saturating_sub(LATE.as_nanos() as u64);
        loop {
            let write = {
                let mut queue = self.lock();
                match queue.front() {
                    Some((came_ns, _)) if *came_ns <= due_ns => queue.pop_front(),
                    _ => return,
                }
            };
            if let Some((_, write)) = write {
                write();
            }
        }
    }

    /// How often to sweep.
    pub(crate) const PERIOD: Duration = Duration::from_millis(25);

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Write)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
