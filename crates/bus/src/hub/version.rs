//! A number that grows with every change, for subscribers to wait on.
//!
//! As a `watch` channel would be; but that one wakes its waiters in an order drawn at random, and
//! a seeded simulation wants the same one each time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Version {
    number: AtomicU64,
    changed: Notify,
}

impl Version {
    /// What it is now. Changes made before it grew are seen by whoever reads it.
    pub(crate) fn now(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Something has changed.
    pub(crate) fn grow(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Resolves once it is another than `seen`.
    pub(crate) async fn after(&self, seen: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            if self.now() != seen {
                return;
            }
            changed.await;
        }
    }
}
