//! How a journal is kept.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync: survives a power failure.
    #[default]
    Sync,
    /// After the write: survives the end of the process, not of the machine.
    Os,
    /// No file at all: a ring of [`JournalOptions::volatile_bytes`], every epoch volatile.
    Memory,
}

/// How much of the past is kept. `None` keeps all. Whole segments go, oldest first, when a
/// segment is finished and at the opening; the segment being written always stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retain {
    /// The most bytes of finished segments.
    pub bytes: Option<u64>,
    /// The greatest age of a finished segment's first record.
    pub age: Option<Duration>,
}

/// Who runs the commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// A thread of the journal's own.
    #[default]
    Thread,
    /// Whoever calls [`Journal::step`](crate::Journal::step): for seeded simulation and tests.
    /// Dropping such a journal flushes nothing.
    Manual,
}

/// Options of a journal. `JournalOptions::default()` suits a server.
#[derive(Clone)]
pub struct JournalOptions {
    /// A segment is finished before it would grow over this. Default 64 MiB; at least 4 KiB.
    /// (One commit larger than it still goes into one segment.)
    pub segment_bytes: u64,
    /// A segment older than this is finished at the next commit. Default one day.
    pub segment_age: Duration,
    /// Space is allocated ahead in steps of this many bytes, so that a commit seldom changes the
    /// file's size. Default 4 MiB; 0 allocates nothing ahead.
    pub allocate_bytes: u64,
    /// How much of the past is kept. Default: all.
    pub retain: Retain,
    /// When a record counts as durable. Default: after fdatasync.
    pub durability: Durability,
    /// Committed records kept in memory for readers that keep up, in bytes. Default 4 MiB.
    pub recent_bytes: usize,
    /// Records kept in memory while the disk does not take them, in bytes. Default 64 MiB; the
    /// oldest go first and are counted.
    pub volatile_bytes: usize,
    /// How long the writer waits before it tries a failed disk again. Default 2 s.
    pub retry_after: Duration,
    /// How long records may lie while nobody waits for them: many are then one commit. Default
    /// 2 ms.
    pub linger: Duration,
    /// Who runs the commits. Default: a thread.
    pub driver: Driver,
    /// Where the time of day comes from (a segment's creation, ages).
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(24 * 60 * 60),
            allocate_bytes: 4 << 20,
            retain: Retain::default(),
            durability: Durability::Sync,
            recent_bytes: 4 << 20,
            volatile_bytes: 64 << 20,
            retry_after: Duration::from_secs(2),
            linger: Duration::from_millis(2),
            driver: Driver::Thread,
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("segment_age", &self.segment_age)
            .field("allocate_bytes", &self.allocate_bytes)
            .field("retain", &self.retain)
            .field("durability", &self.durability)
            .field("recent_bytes", &self.recent_bytes)
            .field("volatile_bytes", &self.volatile_bytes)
            .field("retry_after", &self.retry_after)
            .field("linger", &self.linger)
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}
