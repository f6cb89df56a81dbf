//! Makes segments and writes to them. What happens when that fails is the writer's business.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use selvedge_identity::{Epoch, ServerName};

use crate::format::{SEGMENT_HEADER, Salt, SegmentHeader, SegmentName};
use crate::options::{Durability, JournalOptions};
use crate::queue::Group;
use crate::start::EpochStart;
use crate::storage::{File, Lock, Storage};
use crate::view::{EpochView, SegmentView};

/// Set in the random part of volatile epochs. They take the counter of the durable epoch before:
/// so they stand behind it, and yet before every later durable one, although a crash makes the
/// journal forget that they were.
const VOLATILE: u64 = 1 << 63;

/// What is needed to make segments.
pub(crate) struct Files {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) server: ServerName,
    pub(crate) options: JournalOptions,
    pub(crate) random: Box<dyn FnMut() -> u64 + Send>,
    /// Held as long as the writer lives.
    pub(crate) lock: Option<Box<dyn Lock>>,
}

/// A segment that is being written.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: Arc<Path>,
    pub(crate) first: u64,
    pub(crate) salt: Salt,
    pub(crate) created: SystemTime,
    /// Written and, as configured, synced up to here.
    pub(crate) bytes: u64,
    /// Space taken up to here.
    pub(crate) allocated: u64,
    /// Its name in the folder is durable.
    pub(crate) listed: bool,
}

impl Files {
    /// The durable epoch after those up to `counter`.
    pub(crate) fn draw_durable(&mut self, counter: u32) -> SegmentName {
        SegmentName {
            epoch: Epoch {
                counter: counter.saturating_add(1),
                random: (self.random)() & !VOLATILE,
            },
            first: 0,
            salt: Salt((self.random)()),
        }
    }

    /// The volatile epoch after the durable one of this counter.
    pub(crate) fn draw_volatile(&mut self, counter: u32) -> (Epoch, Salt) {
        let random = (self.random)() | VOLATILE;
        (Epoch { counter, random }, Salt((self.random)()))
    }

    /// Makes the first segment of a durable epoch, with its start on disk; fails where there is
    /// no room for so many bytes more.
    pub(crate) fn begin(
        &self,
        name: SegmentName,
        previous: Option<(Epoch, u64)>,
        room: u64,
    ) -> io::Result<(Segment, Group)> {
        let mut group = start_group(name.epoch, name.salt, false, previous);
        group.seal(name.salt);
        let mut segment = self.create(name)?;
        let written = match segment.file.allocate(room) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
            // Not every file system can take space ahead.
            _ => self.write(&mut segment, &group.bytes),
        };
        if let Err(error) = written {
            self.discard(&segment);
            return Err(error);
        }
        Ok((segment, group))
    }

    /// Makes a segment with its header, not yet synced.
    pub(crate) fn create(&self, name: SegmentName) -> io::Result<Segment> {
        let path: Arc<Path> = self.dir.join(name.to_string()).into();
        let created = (self.options.clock)();
        let header = SegmentHeader {
            server: self.server.clone(),
            epoch: name.epoch,
            first: name.first,
            salt: name.salt,
            created,
        };
        let segment = Segment {
            file: self.storage.create(&path)?,
            path,
            first: name.first,
            salt: name.salt,
            created,
            bytes: SEGMENT_HEADER as u64,
            allocated: 0,
            listed: false,
        };
        if let Err(error) = segment.file.write_at(0, &header.encode()) {
            self.discard(&segment);
            return Err(error);
        }
        Ok(segment)
    }

    /// One write, one sync. Counts the bytes as the segment's only if both went well.
    pub(crate) fn write(&self, segment: &mut Segment, bytes: &[u8]) -> io::Result<()> {
        let end = segment.bytes + bytes.len() as u64;
        self.allocate(segment, end);
        segment.file.write_at(segment.bytes, bytes)?;
        if self.options.durability == Durability::Sync {
            segment.file.sync_data()?;
            if !segment.listed {
                self.storage.sync_dir(&self.dir)?;
                segment.listed = true;
            }
        }
        segment.bytes = end;
        Ok(())
    }

    /// Takes space ahead. A disk that cannot, or is nearly full, may still take the write itself.
    pub(crate) fn allocate(&self, segment: &mut Segment, end: u64) {
        if self.options.allocate_bytes == 0 || end <= segment.allocated {
            return;
        }
        let wanted = (end + self.options.allocate_bytes)
            .min(self.options.segment_bytes)
            .max(end);
        segment.allocated = match segment.file.allocate(wanted) {
            Ok(()) => wanted,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => end,
            // Not asked again.
            Err(_) => u64::MAX,
        };
    }

    pub(crate) fn is_full(&self, segment: &Segment, more: u64) -> bool {
        let now = (self.options.clock)();
        let age = now.duration_since(segment.created).unwrap_or_default();
        let segment_bytes = self.options.segment_bytes.max(4096);
        segment.bytes + more > segment_bytes || age > self.options.segment_age
    }

    /// Removes a segment that got no durable record. If that fails too, it stays behind as a
    /// file whose records no epoch start counts; the next opening removes it.
    pub(crate) fn discard(&self, segment: &Segment) {
        if let Err(error) = self.storage.remove(&segment.path) {
            tracing::warn!(path = %segment.path.display(), %error,
                "failed segment cannot be removed");
        }
    }
}

impl Segment {
    /// Gives back the space that was taken ahead.
    pub(crate) fn finish(&self) {
        if let Err(error) = self.file.truncate(self.bytes) {
            tracing::warn!(path = %self.path.display(), %error, "segment keeps its empty tail");
        }
    }

    pub(crate) fn view(&self) -> SegmentView {
        SegmentView {
            path: self.path.clone(),
            first: self.first,
            bytes: self.bytes,
            created: self.created,
        }
    }

    pub(crate) fn epoch_view(&self, epoch: Epoch) -> EpochView {
        EpochView {
            epoch,
            salt: self.salt,
            segments: VecDeque::from([self.view()]),
            durable_end: 0,
            end: 0,
        }
    }
}

/// An epoch\'s record 0.
pub(crate) fn start_group(
    epoch: Epoch,
    salt: Salt,
    volatile: bool,
    previous: Option<(Epoch, u64)>,
) -> Group {
    let start = EpochStart {
        epoch,
        volatile,
        previous,
    };
    let mut group = Group::new(epoch, 0, 0);
    group.push(salt, &start.encode());
    group
}
