//! The one that owns the files: commits, rotation, retention, and what happens when the disk
//! fails.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use selvedge_identity::{Epoch, ServerName};

use crate::error::JournalError;
use crate::format::{Salt, SegmentName};
use crate::journal::Shared;
use crate::options::{Durability, JournalOptions};
use crate::pace::Pace;
use crate::queue::{Group, Queue};
use crate::recovery::{EpochFiles, Recovered, recover};
use crate::segment::{Files, Segment, start_group};
use crate::storage::Storage;
use crate::view::{EpochView, JournalState, SegmentView, View};

/// The file that the owner's lock is on.
const LOCK: &str = "lock";

/// After a failure the disk is taken as good again only with this much room, so that the journal
/// does not begin an epoch for every few bytes that someone frees.
const RETRY_ROOM: u64 = 1 << 20;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    files: Files,
    /// The segment being written; `None` while volatile.
    active: Option<Segment>,
    epoch: Epoch,
    /// The last epoch with durable records, and how many.
    last_durable: Option<(Epoch, u64)>,
    pace: Pace,
    retry_at: Option<Instant>,
    /// The durable epoch that is tried to begin; the same again, so that a try that a crash
    /// brings back is not another epoch.
    retry_name: SegmentName,
}

/// Opens the folder and begins an epoch.
pub(crate) fn open(
    storage: Arc<dyn Storage>,
    dir: &Path,
    server: ServerName,
    random: Box<dyn FnMut() -> u64 + Send>,
    options: JournalOptions,
) -> Result<(Arc<Shared>, Writer, Recovered), JournalError> {
    let mut files = Files {
        storage,
        dir: dir.to_path_buf(),
        server,
        options,
        random,
        lock: None,
    };
    if files.options.durability == Durability::Memory {
        return Ok(open_memory(files));
    }
    files
        .storage
        .create_dir(dir)
        .map_err(JournalError::storage("create the folder", dir))?;
    let lock = files.storage.lock(&dir.join(LOCK)).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            JournalError::InUse {
                dir: dir.to_path_buf(),
            }
        } else {
            JournalError::storage("lock", dir.join(LOCK))(error)
        }
    })?;
    files.lock = Some(lock);

    let (past, recovered) = recover(&*files.storage, dir, &files.server)?;
    if let Some(torn) = &recovered.torn {
        tracing::warn!(server = %files.server, path = %torn.path.display(), offset = torn.offset,
            "torn tail cut");
    }
    for damage in &recovered.damage {
        tracing::error!(server = %files.server, path = %damage.path.display(),
            offset = damage.offset, from = damage.from, to = damage.to, "journal is damaged");
    }
    let counter = past.iter().map(|epoch| epoch.epoch.counter).max();
    let name = files.draw_durable(counter.unwrap_or(0));
    let epoch = name.epoch;
    let (segment, group) = files
        .begin(name, recovered.previous, 0)
        .map_err(JournalError::storage("begin a segment in", dir))?;

    let mut epochs: Vec<EpochView> = past.into_iter().map(EpochView::from).collect();
    epochs.push(segment.epoch_view(epoch));
    let queue = Queue::new(epoch, segment.salt, group.end());
    let writer = files.share(epochs, queue, JournalState::Durable, Some(segment), epoch);
    writer
        .shared
        .view
        .publish(|view| view.publish_durable(group.into(), segment_bytes(&writer.active)));
    writer.retain();
    Ok((writer.shared.clone(), writer, recovered))
}

/// Without a disk there is no counter to go on from: the time of day in seconds, so that later
/// lives still have later epochs.
fn open_memory(mut files: Files) -> (Arc<Shared>, Writer, Recovered) {
    let now = (files.options.clock)();
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (epoch, salt) = files.draw_volatile(u32::try_from(seconds).unwrap_or(u32::MAX));
    let state = JournalState::Volatile {
        since: now,
        reason: "kept in memory only, as configured".into(),
    };
    let queue = Queue::new(epoch, salt, 1);
    let writer = files.share(
        vec![EpochView::volatile(epoch, salt)],
        queue,
        state,
        None,
        epoch,
    );
    let start = start_group(epoch, salt, true, None);
    writer
        .shared
        .view
        .publish(|view| view.publish_volatile(start.into()));
    (writer.shared.clone(), writer, Recovered::default())
}

impl Writer {
    /// Commits until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        // However this ends, nobody may wait for it any longer.
        let _closer = Closer(self.shared.clone());
        let linger = self.files.options.linger;
        loop {
            let timeout = self
                .retry_at
                .map(|at| at.saturating_duration_since(Instant::now()));
            let gather = self.pace.gather();
            let (group, company) = self.shared.queue.wait(timeout, linger, gather);
            self.pace.waited(gather, company);
            match group {
                Some(group) => self.take(group),
                None if self.shared.queue.lock().is_drained() => break,
                None => {}
            }
            if self.retry_at.is_some_and(|at| at <= Instant::now()) {
                self.retry();
            }
        }
        if let Some(segment) = &self.active {
            segment.finish();
        }
    }

    pub(crate) fn step(&mut self) -> bool {
        if self.retry_at.is_some() {
            self.retry();
        }
        let group = self.shared.queue.lock().take();
        let found = group.is_some();
        if let Some(group) = group {
            self.take(group);
        }
        found
    }

    fn take(&mut self, mut group: Group) {
        let Some(segment) = self.active.take() else {
            self.shared
                .view
                .publish(|view| view.publish_volatile(group.into()));
            return;
        };
        group.seal(segment.salt);
        let started = Instant::now();
        match self.commit(segment, &group) {
            Ok(()) => {
                self.pace.committed(
                    u64::from(group.records) + self.shared.queue.queued(),
                    started.elapsed(),
                );
                self.last_durable = Some((self.epoch, group.end()));
                let bytes = segment_bytes(&self.active);
                self.shared
                    .view
                    .publish(|view| view.publish_durable(group.into(), bytes));
            }
            Err(error) => self.go_volatile(group, &error),
        }
    }

    /// Brings the group to disk, into a new segment if it is time. After an error there is no
    /// active segment any more.
    fn commit(&mut self, mut segment: Segment, group: &Group) -> io::Result<()> {
        if self.files.is_full(&segment, group.bytes.len() as u64) {
            segment.finish();
            let name = SegmentName {
                epoch: self.epoch,
                first: group.first,
                salt: segment.salt,
            };
            let mut next = self.files.create(name)?;
            if let Err(error) = self.files.write(&mut next, &group.bytes) {
                self.files.discard(&next);
                return Err(error);
            }
            let view = next.view();
            self.active = Some(next);
            self.shared.view.publish(|published| {
                published.counters.segments += 1;
                published.current().segments.push_back(view);
            });
            self.retain();
        } else {
            if let Err(error) = self.files.write(&mut segment, &group.bytes) {
                // Tidiness only: what is behind the watermark is never read, here or later.
                let _ = segment.file.truncate(segment.bytes);
                return Err(error);
            }
            self.active = Some(segment);
        }
        Ok(())
    }

    /// The disk does not take the group. The epoch durably ends at the watermark; what was given
    /// a position beyond it lives on in memory, and a volatile epoch begins.
    fn go_volatile(&mut self, group: Group, error: &io::Error) {
        let (epoch, salt) = self.files.draw_volatile(self.epoch.counter);
        let start = start_group(epoch, salt, true, self.last_durable);
        let since = (self.files.options.clock)();
        tracing::error!(server = %self.files.server, %error, ended = %self.epoch, begun = %epoch,
            "journal went volatile");
        self.switch(epoch, salt, Some(group), |view| {
            view.counters.failures += 1;
            view.state = JournalState::Volatile {
                since,
                reason: error.to_string(),
            };
            view.epochs.push(EpochView::volatile(epoch, salt));
            view.publish_volatile(start.into());
        });
        self.retry_name = self.files.draw_durable(self.epoch.counter);
        self.retry_at = Some(Instant::now() + self.files.options.retry_after);
    }

    /// Tries the disk; if it takes a first record, a durable epoch begins.
    fn retry(&mut self) {
        let name = self.retry_name;
        let epoch = name.epoch;
        let room = self.files.options.allocate_bytes.min(RETRY_ROOM);
        match self.files.begin(name, self.last_durable, room) {
            Ok((segment, start)) => {
                tracing::info!(server = %self.files.server, begun = %epoch,
                    "journal is durable again");
                self.last_durable = Some((epoch, start.end()));
                let epoch_view = segment.epoch_view(epoch);
                let bytes = segment.bytes;
                let salt = segment.salt;
                self.active = Some(segment);
                self.retry_at = None;
                self.switch(epoch, salt, None, |view| {
                    view.counters.segments += 1;
                    view.state = JournalState::Durable;
                    view.epochs.push(epoch_view);
                    view.publish_durable(start.into(), bytes);
                });
            }
            Err(error) => {
                tracing::debug!(server = %self.files.server, %error, "disk still fails");
                if error.kind() == io::ErrorKind::AlreadyExists {
                    // Left behind by a try before, and not to be removed.
                    self.retry_name = self.files.draw_durable(name.epoch.counter);
                }
                self.retry_at = Some(Instant::now() + self.files.options.retry_after);
                self.shared.view.publish(|view| {
                    view.counters.failures += 1;
                    if let JournalState::Volatile { reason, .. } = &mut view.state {
                        *reason = error.to_string();
                    }
                });
            }
        }
    }

    /// Lets an epoch begin for appenders and readers in one step. What is still queued of the
    /// one before is published from memory.
    fn switch(
        &mut self,
        epoch: Epoch,
        salt: Salt,
        failed: Option<Group>,
        begin: impl FnOnce(&mut crate::view::Inner),
    ) {
        // The queue stays locked until the view knows the epoch: whoever got a position in it
        // finds it there.
        let mut queue = self.shared.queue.lock();
        let queued = queue.switch(epoch, salt);
        self.epoch = epoch;
        self.shared.view.publish(|view| {
            for group in failed.into_iter().chain(queued) {
                view.publish_volatile(group.into());
            }
            begin(view);
        });
    }

    /// Removes the oldest segments, as far as retention says.
    fn retain(&self) {
        let retain = self.files.options.retain;
        if retain.bytes.is_none() && retain.age.is_none() {
            return;
        }
        let now = (self.files.options.clock)();
        let removed = self.shared.view.publish(|view| view.retain(retain, now));
        for path in removed {
            // Readers that have it open read on; others find the gap.
            if let Err(error) = self.files.storage.remove(&path) {
                tracing::warn!(server = %self.files.server, path = %path.display(), %error,
                    "old segment cannot be removed");
            }
        }
    }
}

impl Files {
    /// The writer and what it shares, with nothing published yet.
    fn share(
        self,
        epochs: Vec<EpochView>,
        queue: Queue,
        state: JournalState,
        active: Option<Segment>,
        epoch: Epoch,
    ) -> Writer {
        let (recent, held) = (self.options.recent_bytes, self.options.volatile_bytes);
        Writer {
            shared: Arc::new(Shared {
                server: self.server.clone(),
                storage: self.storage.clone(),
                queue,
                view: View::new(epochs, recent, held, state),
            }),
            last_durable: active.is_some().then_some((epoch, 1)),
            files: self,
            active,
            epoch,
            pace: Pace::default(),
            retry_at: None,
            retry_name: SegmentName {
                epoch,
                first: 0,
                salt: Salt(0),
            },
        }
    }
}

impl From<EpochFiles> for EpochView {
    fn from(files: EpochFiles) -> Self {
        let end = files.end.unwrap_or_default();
        Self {
            epoch: files.epoch,
            salt: files.salt,
            segments: files
                .segments
                .into_iter()
                .map(|segment| SegmentView {
                    path: segment.path,
                    first: segment.first,
                    bytes: segment.bytes,
                    created: segment.created.unwrap_or(UNIX_EPOCH),
                })
                .collect(),
            durable_end: end,
            end,
        }
    }
}

fn segment_bytes(active: &Option<Segment>) -> u64 {
    active.as_ref().map_or(0, |segment| segment.bytes)
}

/// Closes the journal to appenders, waiters and readers when the writer is gone.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.view.publish(|view| view.closed = true);
    }
}
