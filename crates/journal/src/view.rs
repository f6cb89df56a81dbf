//! What the writer has published: the one thing that waiters and readers look at.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use selvedge_identity::Epoch;
use tokio::sync::Notify;

use crate::format::{COMMIT_HEADER, FRAME_HEADER, Salt, frame_header};
use crate::journal::{Appended, Kept};
use crate::options::Retain;
use crate::queue::Group;

/// How the journal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// Records reach the disk as configured.
    Durable,
    /// Records are kept in memory only: the disk failed and is tried again from time to time, or
    /// [`Durability::Memory`](crate::Durability::Memory) was asked for.
    Volatile {
        /// Since when.
        since: SystemTime,
        /// What the disk said.
        reason: String,
    },
}

/// Counts since the opening, but for `segments`, which is how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records committed to disk.
    pub records: u64,
    /// Commits to disk, each with one sync.
    pub commits: u64,
    /// Bytes written to segments.
    pub bytes: u64,
    /// Records kept in memory only.
    pub volatile_records: u64,
    /// Of these, how many fell out of memory.
    pub volatile_lost: u64,
    /// Failed writes and syncs, those of retries counted too.
    pub failures: u64,
    /// Segments on disk now.
    pub segments: u64,
    /// Segments that retention removed.
    pub segments_removed: u64,
    /// Records that retention removed.
    pub records_removed: u64,
}

/// What can be read of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRange {
    /// The epoch.
    pub epoch: Epoch,
    /// The oldest sequence there is. (Between it and `end` volatile records may be missing.)
    pub first: u64,
    /// One above the newest published sequence.
    pub end: u64,
    /// Sequences from here on to `end` are kept in memory only.
    pub durable_end: u64,
}

/// A segment that readers may open.
#[derive(Clone, Debug)]
pub(crate) struct SegmentView {
    pub(crate) path: Arc<Path>,
    pub(crate) first: u64,
    /// Only this much of the file may be read.
    pub(crate) bytes: u64,
    pub(crate) created: SystemTime,
}

#[derive(Clone, Debug)]
pub(crate) struct EpochView {
    pub(crate) epoch: Epoch,
    pub(crate) salt: Salt,
    pub(crate) segments: VecDeque<SegmentView>,
    /// Sequences below are (or were, before retention) in segments.
    pub(crate) durable_end: u64,
    /// Sequences below are published; those from `durable_end` on are in memory.
    pub(crate) end: u64,
}

impl EpochView {
    /// An epoch without segments.
    pub(crate) fn volatile(epoch: Epoch, salt: Salt) -> Self {
        Self {
            epoch,
            salt,
            segments: VecDeque::new(),
            durable_end: 0,
            end: 0,
        }
    }

    /// The sequence behind the last of the segment at `index`.
    pub(crate) fn segment_end(&self, index: usize) -> u64 {
        self.segments
            .get(index + 1)
            .map_or(self.durable_end, |next| next.first)
    }
}

/// A published group, still as its frames.
#[derive(Clone, Debug)]
pub(crate) struct RingGroup {
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) end: u64,
    bytes: Bytes,
}

impl From<Group> for RingGroup {
    fn from(group: Group) -> Self {
        Self {
            epoch: group.epoch,
            first: group.first,
            end: group.end(),
            bytes: group.bytes.into(),
        }
    }
}

impl RingGroup {
    /// The payloads from `sequence` on.
    pub(crate) fn payloads(&self, sequence: u64) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = COMMIT_HEADER;
        std::iter::from_fn(move || {
            let header = self.bytes.get(at..)?.first_chunk::<FRAME_HEADER>()?;
            let start = at + FRAME_HEADER;
            at = start + frame_header(header).0;
            Some(start..at)
        })
        .skip(sequence.saturating_sub(self.first) as usize)
        .map(|range| self.bytes.slice(range))
    }

    pub(crate) fn frame_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The newest groups of one kind, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Ring {
    groups: VecDeque<RingGroup>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    fn new(bytes_max: usize) -> Self {
        Self {
            groups: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Answers how many records fell out. The newest group always stays.
    fn push(&mut self, group: RingGroup) -> u64 {
        self.bytes += group.bytes.len();
        self.groups.push_back(group);
        let mut lost = 0;
        while self.bytes > self.bytes_max && self.groups.len() > 1 {
            if let Some(oldest) = self.groups.pop_front() {
                self.bytes -= oldest.bytes.len();
                lost += oldest.end - oldest.first;
            }
        }
        lost
    }

    /// The groups from the one that holds the sequence on, within the epoch.
    pub(crate) fn from(&self, epoch: Epoch, sequence: u64) -> impl Iterator<Item = &RingGroup> {
        let start = self
            .groups
            .partition_point(|group| (group.epoch, group.end) <= (epoch, sequence));
        self.groups
            .range(start..)
            .take_while(move |group| group.epoch == epoch)
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// Oldest first, never empty; the last is the current one.
    pub(crate) epochs: Vec<EpochView>,
    /// Durable groups that readers need not fetch from the files.
    pub(crate) recent: Ring,
    /// Groups that are nowhere else.
    pub(crate) held: Ring,
    pub(crate) state: JournalState,
    pub(crate) counters: Counters,
    pub(crate) closed: bool,
}

impl Inner {
    pub(crate) fn current(&mut self) -> &mut EpochView {
        self.epochs.last_mut().expect("there is always an epoch")
    }

    /// Publishes a group that reached the disk.
    pub(crate) fn publish_durable(&mut self, group: RingGroup, segment_bytes: u64) {
        self.counters.records += group.end - group.first;
        self.counters.commits += 1;
        self.counters.bytes += group.frame_bytes() as u64;
        let current = self.current();
        current.end = group.end;
        current.durable_end = group.end;
        if let Some(segment) = current.segments.back_mut() {
            segment.bytes = segment_bytes;
        }
        self.recent.push(group);
    }

    /// Publishes a group that is kept in memory only.
    pub(crate) fn publish_volatile(&mut self, group: RingGroup) {
        self.counters.volatile_records += group.end - group.first;
        self.current().end = group.end;
        self.counters.volatile_lost += self.held.push(group);
    }

    /// Takes segments that retention no longer keeps out of the view; answers their files.
    pub(crate) fn retain(&mut self, retain: Retain, now: SystemTime) -> Vec<Arc<Path>> {
        let mut removed = Vec::new();
        let mut bytes: u64 = self
            .epochs
            .iter()
            .flat_map(|epoch| &epoch.segments)
            .map(|segment| segment.bytes)
            .sum();
        let current = self.epochs.len() - 1;
        'epochs: for (i, epoch) in self.epochs.iter_mut().enumerate() {
            while let Some(oldest) = epoch.segments.front() {
                if i == current && epoch.segments.len() == 1 {
                    break 'epochs;
                }
                let age = now.duration_since(oldest.created).unwrap_or_default();
                let kept = retain.bytes.is_none_or(|max| bytes <= max)
                    && retain.age.is_none_or(|max| age <= max);
                if kept {
                    break 'epochs;
                }
                bytes -= oldest.bytes;
                self.counters.segments -= 1;
                self.counters.segments_removed += 1;
                self.counters.records_removed += epoch.segment_end(0).saturating_sub(oldest.first);
                removed.push(oldest.path.clone());
                epoch.segments.pop_front();
            }
        }
        removed
    }

    /// What can be read, oldest epoch first.
    pub(crate) fn ranges(&self) -> Vec<EpochRange> {
        self.epochs
            .iter()
            .map(|epoch| EpochRange {
                epoch: epoch.epoch,
                first: self.oldest(epoch).unwrap_or(epoch.end),
                end: epoch.end,
                durable_end: epoch.durable_end,
            })
            .filter(|range| range.first < range.end)
            .collect()
    }

    /// The oldest sequence that can be read of the epoch.
    pub(crate) fn oldest(&self, epoch: &EpochView) -> Option<u64> {
        let on_disk = epoch.segments.front().map(|segment| segment.first);
        on_disk.or_else(|| self.held.from(epoch.epoch, 0).next().map(|g| g.first))
    }

    fn kept(&self, at: Appended) -> Option<Kept> {
        let by_end = |end| {
            if at.sequence < end {
                Kept::Durable
            } else {
                Kept::Volatile
            }
        };
        // The current epoch first: it is nearly always that one.
        let position = self.epochs.iter().rposition(|e| e.epoch == at.epoch);
        match position.map(|i| &self.epochs[i]) {
            Some(epoch) if at.sequence < epoch.end || self.closed => {
                Some(by_end(epoch.durable_end))
            }
            Some(_) => None,
            None => Some(Kept::Volatile),
        }
    }
}

pub(crate) struct View {
    inner: Mutex<Inner>,
    changed: Notify,
    blocked: Condvar,
}

impl View {
    pub(crate) fn new(
        epochs: Vec<EpochView>,
        recent_bytes: usize,
        held_bytes: usize,
        state: JournalState,
    ) -> Self {
        let segments = epochs.iter().map(|e| e.segments.len() as u64).sum();
        Self {
            inner: Mutex::new(Inner {
                epochs,
                recent: Ring::new(recent_bytes),
                held: Ring::new(held_bytes),
                state,
                counters: Counters {
                    segments,
                    ..Counters::default()
                },
                closed: false,
            }),
            changed: Notify::new(),
            blocked: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is published and wakes whoever waits.
    pub(crate) fn publish<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_waiters();
        self.blocked.notify_all();
        changed
    }

    /// Waits until `look` finds something; it is asked again after each change.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            // Registered before looking, so that no change in between is missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }

    pub(crate) fn kept(&self, at: Appended) -> Option<Kept> {
        self.lock().kept(at)
    }

    pub(crate) fn wait_kept(&self, at: Appended) -> Kept {
        let mut inner = self.lock();
        loop {
            if let Some(kept) = inner.kept(at) {
                return kept;
            }
            inner = self
                .blocked
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
