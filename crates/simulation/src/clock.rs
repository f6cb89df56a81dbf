//! A server's clock: the simulation's time, wrong by as much as the seed says, with jumps.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvedge_entry::Timestamp;
use selvedge_node::Clock;
use tokio::time::Instant;

/// When every simulation begins, on a clock that is right: 2026-01-01T00:00:00Z, in nanoseconds.
const BEGIN_NS: i64 = 1_767_225_600_000_000_000;

#[derive(Debug)]
pub(crate) struct SimClock {
    begin: Instant,
    skew_ns: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(begin: Instant, skew_ns: i64) -> Self {
        Self {
            begin,
            skew_ns: AtomicI64::new(skew_ns),
        }
    }

    /// Jumps forth or back.
    pub(crate) fn jump(&self, ns: i64) {
        self.skew_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// As the journal wants it.
    pub(crate) fn system_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.now().0.max(0).unsigned_abs())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.monotonic_ns()).unwrap_or(i64::MAX);
        Timestamp(BEGIN_NS + elapsed + self.skew_ns.load(Ordering::Relaxed))
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
