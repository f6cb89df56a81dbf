//! The entry store, first form: append-only files and an index in memory.
//!
//! It takes the raw records of every journal, each exactly once by position, writes them to its
//! own files as they are, and keeps an index of where they lie; answers read them back. What it
//! holds is a set of records, so late, doubled and reordered deliveries end in the same answers,
//! and the files alone, read again at the next start, give the same index and the positions to go
//! on from. Nothing outside this module knows how entries are kept: the block engine takes its
//! place behind the same methods.
//!
//! Limits of this form: about 130 bytes of memory an entry and 100 a request, no retention, one process a folder.
//!
//! Requirements: B3, D11.

mod frame;
mod index;
mod journals;
mod names;
mod ranges;
mod search;
mod segments;
mod view;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use selvedge_entry::{Entry, Fold, Record};
use selvedge_identity::{Epoch, Origin, Position, ServerName, SessionId};
use selvedge_journal::{EpochStart, Storage};
use thiserror::Error;

use self::frame::Body;
use self::index::{EntryRef, Index};
use self::segments::{Location, SegmentFiles, Writer};

pub(crate) use self::search::Summary;
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
    #[error("batch of {0} bytes is too large to store")]
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

/// Counters of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Entries held.
    pub entries: u64,
    /// Requests (origins) held.
    pub requests: u64,
    /// Visits with at least one action.
    pub sessions: u64,
    /// Records written since the start or read back at it.
    pub records: u64,
    /// Records delivered again and left out, since the start.
    pub repeated: u64,
    /// Records that this version cannot read.
    pub unreadable: u64,
    /// Entries that could not be read back from the files.
    pub damaged: u64,
}

/// The store. All methods may be called from any thread; queries see every batch that
/// [`Store::append`] has returned for.
pub struct Store {
    writer: Mutex<Writer>,
    files: Arc<SegmentFiles>,
    index: RwLock<Index>,
    records: AtomicU64,
    repeated: AtomicU64,
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
        let mut index = Index::default();
        let mut records = 0;
        let (writer, files) = Writer::open(
            storage,
            dir,
            options.segment_bytes,
            |payload, frame| match frame.body {
                Body::Gap(to) => index.lose(&frame.server, frame.epoch, frame.first, to),
                Body::Batch(list) => {
                    records += list.len() as u64;
                    let list = list
                        .iter()
                        .map(|(start, bytes)| (payload.at(*start, bytes), bytes));
                    index.take(&frame.server, frame.epoch, frame.first, list);
                }
            },
        )?;
        Ok(Self {
            writer: Mutex::new(writer),
            files,
            index: RwLock::new(index),
            records: AtomicU64::new(records),
            repeated: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        })
    }

    /// Takes consecutive records of one epoch, the first at sequence `first`; those that are here
    /// already are left out. When it returns, they are in the files (durable after the next
    /// [`Store::sync`]) and in every answer.
    ///
    /// # Errors
    /// When the files cannot be written; the batch may be handed in again.
    pub fn append(
        &self,
        server: &ServerName,
        epoch: Epoch,
        first: u64,
        records: &[Bytes],
    ) -> Result<Stored, StoreError> {
        let mut writer = self.writer();
        let end = first.saturating_add(records.len() as u64);
        let missing = {
            let index = self.read();
            match index.journals.find(server, epoch) {
                Some(id) => index.journals.state(id).received.missing(first, end),
                None => vec![(first, end)],
            }
        };
        let mut new = 0;
        for (from, to) in missing.into_iter().filter(|(from, to)| from < to) {
            let part = &records[(from - first) as usize..(to - first) as usize];
            let size: usize = part.iter().map(|record| record.len() + 4).sum();
            if size > frame::PAYLOAD_BYTES_MAX - 1024 {
                return Err(StoreError::TooLarge(size));
            }
            let mut bytes = Vec::with_capacity(size + 1024);
            let starts = frame::encode_batch(&mut bytes, server, epoch, from, part);
            let payload = writer
                .append(&bytes)
                .map_err(|error| writer.failed(error))?;
            let list = starts
                .iter()
                .zip(part)
                .map(|(start, bytes)| (payload.at(*start, bytes), bytes));
            self.write().take(server, epoch, from, list);
            new += to - from;
        }
        let repeated = records.len() as u64 - new;
        self.records.fetch_add(new, Ordering::Relaxed);
        self.repeated.fetch_add(repeated, Ordering::Relaxed);
        Ok(Stored { new, repeated })
    }

    /// Notes that the records `[from, to)` of an epoch can no longer be had.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn lose(
        &self,
        server: &ServerName,
        epoch: Epoch,
        from: u64,
        to: u64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let known = {
            let index = self.read();
            let id = index.journals.find(server, epoch);
            id.is_some_and(|id| index.journals.state(id).lost.holds(from, to))
        };
        if known {
            return Ok(());
        }
        let mut bytes = Vec::new();
        frame::encode_gap(&mut bytes, server, epoch, from, to);
        writer
            .append(&bytes)
            .map_err(|error| writer.failed(error))?;
        self.write().lose(server, epoch, from, to);
        Ok(())
    }

    /// Makes everything that was taken durable.
    ///
    /// # Errors
    /// When the disk refuses. What was written since the last sync may be gone after a crash of
    /// the host; [`Store::positions`] of the next start tell what to fetch again.
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        writer.sync().map_err(|error| writer.failed(error))
    }

    /// Whether something that was taken is not durable yet.
    pub fn unsynced(&self) -> bool {
        self.writer().unsynced()
    }

    /// Where to go on, for each server known: the first record that is neither here nor lost.
    pub fn positions(&self) -> Vec<Position> {
        self.read().journals.positions()
    }

    /// The entries of a request, by position; `None` if nothing of it is here.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn request(&self, origin: Origin) -> Result<Option<Vec<Entry>>, StoreError> {
        let entries: Vec<EntryRef> = {
            let index = self.read();
            let Some(&row) = index.by_origin.get(&origin) else {
                return Ok(None);
            };
            let request = &index.origins[row as usize];
            index
                .chain(request)
                .map(|(_, entry)| EntryRef::of(&index, entry))
                .collect()
        };
        self.load(entries).map(Some)
    }

    /// The entries of a visit, by position: its actions, and what else carried the session.
    /// `None` if nothing of it is here.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn session(&self, session: SessionId) -> Result<Option<Vec<Entry>>, StoreError> {
        let entries: Vec<EntryRef> = {
            let index = self.read();
            let Some(&row) = index.by_session.get(&session) else {
                return Ok(None);
            };
            let visit = &index.sessions[row as usize];
            index
                .session_chain(visit)
                .map(|(_, entry)| EntryRef::of(&index, entry))
                .collect()
        };
        self.load(entries).map(Some)
    }

    /// The counters.
    pub fn counts(&self) -> StoreCounts {
        let index = self.read();
        StoreCounts {
            entries: index.entries.len() as u64,
            requests: index.origins.len() as u64,
            sessions: index.by_last.len() as u64,
            records: self.records.load(Ordering::Relaxed),
            repeated: self.repeated.load(Ordering::Relaxed),
            unreadable: index.unreadable,
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// Reads entries back, by position.
    fn load(&self, mut entries: Vec<EntryRef>) -> Result<Vec<Entry>, StoreError> {
        entries.sort_unstable_by(|a, b| a.position().cmp(&b.position()));
        let mut loaded = Vec::with_capacity(entries.len());
        for entry in &entries {
            match self.load_one(entry) {
                Ok(Some(entry)) => loaded.push(entry),
                // Another program changed the file under us: said, and the rest answered.
                Ok(None) => {
                    self.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(position = ?entry.position(), "stored entry is damaged");
                }
                Err(source) => {
                    return Err(StoreError::Files {
                        what: "read",
                        path: self.writer().dir().to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(loaded)
    }

    fn load_one(&self, entry: &EntryRef) -> io::Result<Option<Entry>> {
        let mut fold = Fold::new(entry.server.clone(), entry.epoch);
        let mut parts = vec![(entry.sequence, entry.opening)];
        parts.extend(
            entry
                .effect
                .iter()
                .chain(&entry.closing)
                .map(|part| (part.sequence, part.at)),
        );
        for (sequence, at) in parts {
            match Record::decode(&self.files.read(at)?) {
                Ok(record) => _ = fold.apply(sequence, record),
                Err(_) => return Ok(None),
            }
        }
        Ok(fold.remove(entry.sequence))
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Takes the records of one frame, none of which was seen before.
    fn take<'a>(
        &mut self,
        server: &ServerName,
        epoch: Epoch,
        first: u64,
        records: impl Iterator<Item = (Location, &'a Bytes)>,
    ) {
        let id = self.journals.intern(server, epoch);
        for (sequence, (at, bytes)) in (first..).zip(records) {
            // One by one: what is decided on a record depends on what was taken before it, not on
            // what is still to come in the same frame.
            let received = &mut self.journals.state_mut(id).received;
            received.insert(sequence, sequence + 1);
            // Kind 0 is the journal's own.
            if bytes.first() == Some(&0) {
                if let Some(start) = EpochStart::decode(bytes) {
                    self.journals.begin(id, start);
                }
                continue;
            }
            match Record::decode(bytes) {
                Ok(record) => self.insert(id, sequence, &record, at),
                Err(error) => {
                    self.unreadable += 1;
                    tracing::debug!(%server, %epoch, sequence, %error, "unreadable record kept");
                }
            }
        }
    }

    fn lose(&mut self, server: &ServerName, epoch: Epoch, from: u64, to: u64) {
        let id = self.journals.intern(server, epoch);
        self.journals.state_mut(id).lost.insert(from, to);
    }
}

#[cfg(test)]
mod tests;
