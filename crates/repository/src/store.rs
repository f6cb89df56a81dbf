//! The store, first form: append-only files and an index in memory.
//!
//! It takes the raw records of every journal, each exactly once by position, and spans of services
//! that have no journal, each exactly once by content. It writes them to its own files and keeps
//! an index of where they lie; answers read them back. What it holds is a set, so late, doubled
//! and reordered deliveries end in the same answers, and the files alone, read again at the next
//! start, give the same index and the positions to go on from. Nothing outside this module knows
//! how entries and spans are kept: the block engine takes its place behind the same methods.
//!
//! Limits of this form: about 140 bytes of memory an entry, 85 a span, 300 a request (and 24 for
//! each host of it), names once each; no retention, one process a folder.
//!
//! Requirements: B3, D11, E2.

mod frame;
mod index;
mod journals;
mod loading;
mod losses;
mod names;
mod origins;
mod passing;
mod ranges;
mod replay;
mod search;
mod segments;
mod spans;
mod taking;
mod verdicts;
mod view;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use selvedge_identity::Position;
use selvedge_journal::Storage;
use thiserror::Error;

use self::index::Index;
use self::replay::Replay;
use self::segments::{SegmentFiles, Writer};

pub(crate) use self::index::Row;
pub(crate) use self::search::Summary;
pub(crate) use self::verdicts::Calls;
pub use self::view::{EpochView, GapView, JournalView, OPERATIONS_MAX, ServiceView, SessionView};

/// Why the store cannot open or write.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Files {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("{} is in use by another repository; stop it or choose another folder", .0.display())]
    InUse(PathBuf),
    /// A file of the sequence is gone.
    #[error("{} is missing; put it back, or empty the folder to fetch all entries again", .0.display())]
    MissingSegment(PathBuf),
    /// A batch that no file can hold.
    #[error("batch of {0} bytes is too large to store; send less at once")]
    TooLarge(usize),
}

/// How the store keeps its files.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// A file's size in bytes at which the next begins. Default 64 MiB.
    pub segment_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Records that were new.
    pub new: u64,
    /// Records that were there already.
    pub repeated: u64,
}

/// What became of a batch of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenSpans {
    /// Spans that were new.
    pub new: u64,
    /// Exact repeats of spans that were there already, or stood in the batch before.
    pub repeated: u64,
}

/// Counters of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Entries held.
    pub entries: u64,
    /// Spans held.
    pub spans: u64,
    /// Requests (origins) held.
    pub requests: u64,
    /// Visits with at least one action.
    pub sessions: u64,
    /// Records written since the start or read back at it.
    pub records: u64,
    /// Records delivered again and left out, since the start.
    pub repeated: u64,
    /// Spans that came again and were left out, since the start.
    pub spans_repeated: u64,
    /// Records that this version cannot read.
    pub unreadable: u64,
    /// Entries and spans that could not be read back from the files.
    pub damaged: u64,
}

/// The store. All methods may be called from any thread; queries see every batch that
/// [`Store::append`] or [`Store::take_spans`] has returned for.
pub struct Store {
    /// Held while the disk makes something durable; taken before the writer.
    syncing: Mutex<()>,
    writer: Mutex<Writer>,
    files: Arc<SegmentFiles>,
    index: RwLock<Index>,
    dir: PathBuf,
    records: AtomicU64,
    repeated: AtomicU64,
    spans_repeated: AtomicU64,
    damaged: AtomicU64,
}

impl Store {
    /// Opens or creates the store in `dir`, and reads its files.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let mut replay = Replay::default();
        let (writer, files) = Writer::open(
            storage,
            dir,
            options.segment_bytes,
            |files, payload, frame| replay.take(files, payload, frame),
        )?;
        Ok(Self {
            syncing: Mutex::new(()),
            writer: Mutex::new(writer),
            files,
            index: RwLock::new(replay.index),
            dir: dir.to_owned(),
            records: AtomicU64::new(replay.records),
            repeated: AtomicU64::new(0),
            spans_repeated: AtomicU64::new(0),
            damaged: AtomicU64::new(replay.damaged),
        })
    }

    /// Where to go on, for each server known: the first record that is neither here nor lost, or
    /// may be there. A server whose first epochs may be missing is left out: all that it has is
    /// wanted.
    pub fn positions(&self) -> Vec<Position> {
        self.read().journals.positions()
    }

    /// The counters.
    pub fn counts(&self) -> StoreCounts {
        let index = self.read();
        StoreCounts {
            entries: index.entries.len() as u64,
            spans: index.spans.rows.len() as u64,
            requests: index.origins.len() as u64,
            sessions: index.by_last.len() as u64,
            records: self.records.load(Ordering::Relaxed),
            repeated: self.repeated.load(Ordering::Relaxed),
            spans_repeated: self.spans_repeated.load(Ordering::Relaxed),
            unreadable: index.unreadable,
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
