//! The journal as its server sees it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use selvedge_identity::{Epoch, ServerName};

use crate::error::{AppendError, JournalError};
use crate::options::{Driver, JournalOptions};
use crate::queue::Queue;
use crate::reader::Reader;
use crate::recovery::Recovered;
use crate::storage::Storage;
use crate::view::{Counters, EpochRange, JournalState, View};
use crate::writer::{self, Writer};

/// Where an appended record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Appended {
    /// The epoch it was appended in.
    pub epoch: Epoch,
    /// Its sequence in it.
    pub sequence: u64,
}

/// How a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// On disk, as durable as configured.
    Durable,
    /// In memory only, because the disk does not take it.
    Volatile,
}

/// The durable log of one server, open for writing. Share it in an `Arc`; every method takes
/// `&self` and may be called from any thread. Dropping it commits what was appended, as
/// [`Journal::close`] does.
pub struct Journal {
    shared: Arc<Shared>,
    recovered: Recovered,
    thread: Mutex<Option<JoinHandle<()>>>,
    manual: Mutex<Option<Writer>>,
}

/// What the writer shares with appenders and readers.
pub(crate) struct Shared {
    pub(crate) server: ServerName,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) queue: Queue,
    pub(crate) view: View,
}

impl Journal {
    /// Opens or creates the journal of `server` in the folder `dir`: locks it, recovers it, and
    /// begins a new epoch, whose [`EpochStart`](crate::EpochStart) is on disk when this returns.
    /// `random` gives the random part of epochs; two calls must never give the same number.
    ///
    /// # Errors
    /// [`JournalError::InUse`] while another writer has the folder; [`JournalError::ForeignServer`]
    /// if it is another server's; [`JournalError::Storage`] if it cannot be read or written, a
    /// full disk included.
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        server: ServerName,
        random: Box<dyn FnMut() -> u64 + Send>,
        options: JournalOptions,
    ) -> Result<Self, JournalError> {
        let driver = options.driver;
        let (shared, writer, recovered) = writer::open(storage, dir, server, random, options)?;
        let (thread, manual) = match driver {
            Driver::Manual => (None, Some(writer)),
            Driver::Thread => {
                let thread = std::thread::Builder::new()
                    .name(format!("journal-{}", shared.server.as_str()))
                    .spawn(move || writer.run())
                    .map_err(JournalError::storage("start the writer of", dir))?;
                (Some(thread), None)
            }
        };
        Ok(Self {
            shared,
            recovered,
            thread: Mutex::new(thread),
            manual: Mutex::new(manual),
        })
    }

    /// Whose journal it is.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.shared.server
    }

    /// The current epoch. It changes when the disk fails and when it works again.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.view.lock().current().epoch
    }

    /// What the opening found.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Gives the payload the next sequence and queues it for the next commit. Sequences follow
    /// the order of calls. Copies; never waits for the disk. The first byte is the record's kind
    /// and must not be 0.
    ///
    /// # Errors
    /// See [`AppendError`]; no sequence is used then.
    pub fn append(&self, payload: &[u8]) -> Result<Appended, AppendError> {
        let appended = self.shared.queue.append(payload, None)?;
        Ok(appended.expect("any epoch will do"))
    }

    /// As [`Journal::append`], but only while `epoch` is the current one: for a record that names
    /// another of its epoch by sequence alone. `None` where the epoch has ended.
    ///
    /// # Errors
    /// As there.
    pub fn append_in(&self, epoch: Epoch, payload: &[u8]) -> Result<Option<Appended>, AppendError> {
        self.shared.queue.append(payload, Some(epoch))
    }

    /// Waits until the record is committed: at once if it is. Resolves as [`Kept::Volatile`] if
    /// the disk fails meanwhile.
    pub async fn durable(&self, at: Appended) -> Kept {
        let view = &self.shared.view;
        if let Some(kept) = view.kept(at) {
            return kept;
        }
        self.shared.queue.want();
        view.until(|| view.kept(at)).await
    }

    /// As [`Journal::durable`], blocking the thread. (Under [`Driver::Manual`] another thread
    /// must call [`Journal::step`].)
    pub fn wait_durable(&self, at: Appended) -> Kept {
        if let Some(kept) = self.shared.view.kept(at) {
            return kept;
        }
        self.shared.queue.want();
        self.shared.view.wait_kept(at)
    }

    /// Whether and how the record is kept; `None` while it is queued.
    #[must_use]
    pub fn kept(&self, at: Appended) -> Option<Kept> {
        self.shared.view.kept(at)
    }

    /// The current epoch, and how many of its records are committed (to disk; in a volatile
    /// epoch, to memory): those with sequences below the number.
    #[must_use]
    pub fn durable_watermark(&self) -> (Epoch, u64) {
        let mut view = self.shared.view.lock();
        let current = view.current();
        (current.epoch, current.end)
    }

    /// Reads committed records in order from a position on, `None` from the oldest there is. A
    /// position that is not there any more reads as a [`Gap`](crate::Gap).
    #[must_use]
    pub fn reader(&self, from: Option<(Epoch, u64)>) -> Reader {
        Reader::new(self.shared.clone(), from)
    }

    /// What can be read, oldest epoch first; the last is the current one.
    #[must_use]
    pub fn epochs(&self) -> Vec<EpochRange> {
        self.shared.view.lock().ranges()
    }

    /// Whether records reach the disk.
    #[must_use]
    pub fn state(&self) -> JournalState {
        self.shared.view.lock().state.clone()
    }

    /// Counts for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.view.lock().counters
    }

    /// Under [`Driver::Manual`]: tries a failed disk again, then commits the oldest queued group.
    /// Answers whether there was one. Under [`Driver::Thread`] it does nothing.
    pub fn step(&self) -> bool {
        let mut manual = self.manual.lock().unwrap_or_else(PoisonError::into_inner);
        manual.as_mut().is_some_and(Writer::step)
    }

    /// Commits everything that was appended, ends the writer and releases the folder. Later
    /// appends are refused; readers read to the end and then learn that it is closed. A second
    /// call does nothing.
    pub fn close(&self) {
        self.shared.queue.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(server = %self.shared.server, "journal writer panicked");
        }
        let manual = self
            .manual
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = manual {
            writer.run();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let threaded = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if threaded {
            self.close();
        }
    }
}
