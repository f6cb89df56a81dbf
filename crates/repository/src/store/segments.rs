//! The store's files: numbered segments that only grow, one writer.
//!
//! A segment is `DATA/repository/<number>.seg`: eight bytes of magic, then frames (see
//! [`super::frame`]). Only the newest is written; at its full size the next begins. Every write
//! goes to a known offset, so a failed one (a full disk) is simply written again at the same
//! place. What a crash tore is cut when the store opens. Of journals the bus delivers it again,
//! because the positions to resume from are those that the files hold: for them `sync` bounds how
//! much is fetched again after a crash of the host; it does not decide what is kept. Spans come
//! once: who sent them is answered after the sync.
//!
//! A failed sync leaves a part of its file in doubt: it still reads back, and no later sync brings
//! it to the disk unless it is written again. So the next sync writes it again, if nothing was
//! taken meanwhile; else the next file begins by saying which part is in doubt for good, and a span
//! that lies there is written again when it comes again. What a process reads back of the newest
//! file when it starts may be of that kind, too, so it is written once more.
//!
//! Limits: segments are never removed (retention comes with the block engine); file handles stay
//! open, one a segment.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use selvedge_journal::{File, Lock, Storage};

use super::StoreError;
use super::frame::{self, Frame, HEADER_BYTES};

const MAGIC: &[u8; 8] = b"selvrep\x01";
const EXTENSION: &str = "seg";

/// Where bytes lie in the store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Location {
    /// Where a record lies that starts `start` bytes into this payload.
    pub(crate) fn at(self, start: u32, record: &[u8]) -> Self {
        Self {
            segment: self.segment,
            offset: self.offset + start,
            length: record.len() as u32,
        }
    }
}

/// The files by number, for readers.
#[derive(Default)]
pub(crate) struct SegmentFiles {
    files: RwLock<Vec<Arc<dyn File>>>,
}

impl SegmentFiles {
    /// Reads the bytes at a location.
    pub(crate) fn read(&self, at: Location) -> io::Result<Bytes> {
        let file = self.file(at.segment)?;
        read_exact(&*file, u64::from(at.offset), at.length as usize)
    }

    /// Reads the bytes at a location, as many of them as there are and `least` at least.
    pub(crate) fn read_up_to(&self, at: Location, least: u32) -> io::Result<Bytes> {
        let file = self.file(at.segment)?;
        let mut bytes = vec![0; at.length as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(u64::from(at.offset) + filled as u64, &mut bytes[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled < least as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    fn file(&self, segment: u32) -> io::Result<Arc<dyn File>> {
        let files = self.files.read();
        let files = files.unwrap_or_else(std::sync::PoisonError::into_inner);
        let file = files.get(segment as usize).cloned();
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn push(&self, file: Arc<dyn File>) -> u32 {
        let mut files = self
            .files
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        files.push(file);
        (files.len() - 1) as u32
    }
}

/// The writing end.
pub(crate) struct Writer {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    files: Arc<SegmentFiles>,
    current: Arc<dyn File>,
    number: u32,
    end: u64,
    /// All before it in the current file is durable.
    synced: u64,
    segment_bytes: u64,
    /// Parts of files that are not known to be durable.
    doubts: Vec<(u32, Range<u64>)>,
    /// The last sync of the current file failed: it gets no more until one goes well.
    failed: bool,
    /// Keeps other processes out for as long as it lives.
    _lock: Box<dyn Lock>,
}

/// A sync that was begun: the file, and how far it will be durable.
pub(crate) struct Syncing {
    file: Arc<dyn File>,
    number: u32,
    end: u64,
    /// A sync failed before: what lies from here on is to be written again.
    again_from: Option<u64>,
}

impl Syncing {
    /// Waits for the disk.
    pub(crate) fn run(&self) -> io::Result<()> {
        match self.again_from {
            None => self.file.sync_data(),
            Some(from) => {
                // Never bytes that were not written: of a failed write the disk may give back
                // what was there before.
                let length = usize::try_from(self.end - from).map_err(io::Error::other)?;
                if !is_sound(&read_exact(&*self.file, from, length)?, from) {
                    let lost = "what a failed sync left no longer reads back";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, lost));
                }
                rewrite(&*self.file, from, self.end)
            }
        }
    }
}

impl Writer {
    /// Opens the folder, hands every sound frame to `replay` with the location of its payload,
    /// cuts a torn tail.
    ///
    /// # Errors
    /// When the folder cannot be made, read or locked.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        segment_bytes: u64,
        mut replay: impl FnMut(&SegmentFiles, Location, Frame),
    ) -> Result<(Self, Arc<SegmentFiles>), StoreError> {
        let failed = |path: &Path, what| {
            let path = path.to_owned();
            move |source| StoreError::Files { what, path, source }
        };
        storage.create_dir(dir).map_err(failed(dir, "create"))?;
        let lock = lock(&*storage, dir)?;
        let numbers = numbers(&*storage, dir).map_err(failed(dir, "list"))?;
        let files = Arc::new(SegmentFiles::default());
        let (mut before, mut last) = (None, None);
        let mut doubts = Vec::new();
        for (index, number) in numbers.iter().enumerate() {
            let path = segment_path(dir, *number);
            if *number as usize != index {
                return Err(StoreError::MissingSegment(segment_path(dir, index as u32)));
            }
            let file = storage
                .open_writable(&path)
                .map_err(failed(&path, "open"))?;
            let segment = files.push(Arc::clone(&file));
            let mut frames = |at: Location, frame: Frame| match frame {
                Frame::Doubt { segment, from, to } => doubts.push((segment, from..to)),
                frame => replay(&files, at, frame),
            };
            let end =
                replay_segment(&*file, segment, &mut frames).map_err(failed(&path, "read"))?;
            let length = file.bytes().map_err(failed(&path, "read"))?;
            if end < length {
                tracing::warn!(file = %path.display(), at = end, bytes = length - end, "cut what a crash tore");
                // A torn frame inside an older segment is cut as well: what it held is missing
                // from the positions, so the bus delivers it again.
                file.truncate(end).map_err(failed(&path, "cut"))?;
                file.sync_data().map_err(failed(&path, "sync"))?;
            }
            before = last.replace((file, *number, end));
        }
        let fresh = match last {
            Some((_, _, end)) => end < MAGIC.len() as u64,
            None => true,
        };
        let (current, number, end) = match last {
            Some((file, number, _)) if fresh => (file, number, 0),
            Some(found) => found,
            None => {
                let file =
                    create(&*storage, dir, 0).map_err(failed(&segment_path(dir, 0), "create"))?;
                files.push(Arc::clone(&file));
                (file, 0, 0)
            }
        };
        let mut writer = Self {
            storage,
            dir: dir.to_owned(),
            files: Arc::clone(&files),
            current,
            number,
            end,
            synced: end,
            segment_bytes,
            doubts,
            failed: false,
            _lock: lock,
        };
        // The file may not have come to say what is in doubt of the one before.
        if let Some((file, number, length)) = before.filter(|_| end <= MAGIC.len() as u64) {
            rewrite(&*file, 0, length).map_err(failed(&segment_path(dir, number), "sync"))?;
        }
        if fresh {
            writer
                .write_magic()
                .map_err(failed(&segment_path(dir, number), "write"))?;
        } else {
            rewrite(&*writer.current, 0, end)
                .map_err(failed(&segment_path(dir, number), "sync"))?;
        }
        Ok((writer, files))
    }

    /// Whether the next frame needs a new file: [`Writer::roll`] comes first.
    pub(crate) fn is_full(&self) -> bool {
        let full = self.end >= self.segment_bytes && self.end > MAGIC.len() as u64;
        full || self.failed
    }

    /// Writes one frame (header and payload); returns where its payload lies. After an error
    /// nothing was written, and the same frame may be tried again.
    pub(crate) fn append(&mut self, frame: &[u8]) -> io::Result<Location> {
        self.current.write_at(self.end, frame)?;
        let at = Location {
            segment: self.number,
            offset: (self.end + HEADER_BYTES as u64) as u32,
            length: (frame.len() - HEADER_BYTES) as u32,
        };
        self.end += frame.len() as u64;
        Ok(at)
    }

    /// Begins to make durable all that was written: run it without holding the writer, and hand
    /// the result to [`Writer::end_sync`]. `None` if there is nothing to do. One at a time, and
    /// none while the writer rolls.
    pub(crate) fn begin_sync(&self) -> Option<Syncing> {
        self.unsynced().then(|| Syncing {
            file: Arc::clone(&self.current),
            number: self.number,
            end: self.end,
            again_from: self.failed.then_some(self.synced),
        })
    }

    /// Takes what a sync said. After an error the next frame begins a new file.
    pub(crate) fn end_sync(&mut self, syncing: &Syncing, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = result {
            if !std::mem::replace(&mut self.failed, true) {
                self.doubts.push((syncing.number, self.synced..self.end));
            }
            return Err(error);
        }
        if std::mem::replace(&mut self.failed, false) {
            let from = self.synced;
            self.doubts
                .retain(|(number, part)| *number != syncing.number || part.start < from);
        }
        self.synced = syncing.end;
        Ok(())
    }

    /// Begins the next file. The one before is durable or in doubt.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        // What is in doubt stays so: what comes now is not to wait for it.
        if let Some(syncing) = self.begin_sync().filter(|_| !self.failed) {
            let result = syncing.run();
            self.end_sync(&syncing, result)?;
        }
        let mut start = MAGIC.to_vec();
        for part in self.doubts_of(self.number) {
            frame::encode_doubt(&mut start, self.number, part);
        }
        let file = create(&*self.storage, &self.dir, self.number + 1)?;
        file.write_at(0, &start)?;
        self.number = self.files.push(Arc::clone(&file));
        self.current = file;
        self.end = start.len() as u64;
        self.synced = 0;
        self.failed = false;
        Ok(())
    }

    /// Whether what lies there is durable: `None` while no sync has come as far.
    pub(crate) fn durable(&self, at: Location) -> Option<bool> {
        let (start, end) = (u64::from(at.offset), u64::from(at.offset + at.length));
        let mut doubts = self.doubts_of(at.segment);
        if doubts.any(|part| start < part.end && part.start < end) {
            return Some(false);
        }
        (at.segment < self.number || end <= self.synced).then_some(true)
    }

    /// A failed write as an error that names the file.
    pub(crate) fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Files {
            what: "write",
            path: segment_path(&self.dir, self.number),
            source,
        }
    }

    /// Whether something written to the current file is not durable yet.
    pub(crate) fn unsynced(&self) -> bool {
        self.end > self.synced
    }

    fn doubts_of(&self, segment: u32) -> impl Iterator<Item = &Range<u64>> {
        let doubts = self.doubts.iter();
        doubts
            .filter(move |(number, _)| *number == segment)
            .map(|(_, part)| part)
    }

    fn write_magic(&mut self) -> io::Result<()> {
        self.current.write_at(0, MAGIC)?;
        self.end = MAGIC.len() as u64;
        self.synced = 0;
        Ok(())
    }
}

/// Hands on the sound frames of one segment; returns where they end.
fn replay_segment(
    file: &dyn File,
    segment: u32,
    replay: &mut impl FnMut(Location, Frame),
) -> io::Result<u64> {
    let length = usize::try_from(file.bytes()?).map_err(io::Error::other)?;
    let bytes = read_exact(file, 0, length)?;
    if !bytes.starts_with(MAGIC) {
        return Ok(0);
    }
    let mut at = MAGIC.len();
    while let Some((frame, taken)) = frame::decode(&bytes.slice(at..)) {
        let location = Location {
            segment,
            offset: (at + HEADER_BYTES) as u32,
            length: (taken - HEADER_BYTES) as u32,
        };
        replay(location, frame);
        at += taken;
    }
    Ok(at as u64)
}

/// Whether these bytes of a file, which begin at `from`, are whole frames and nothing else.
fn is_sound(bytes: &Bytes, from: u64) -> bool {
    let mut rest = bytes.clone();
    if from == 0 {
        if !rest.starts_with(MAGIC) {
            return false;
        }
        rest = rest.slice(MAGIC.len()..);
    }
    while let Some((_, taken)) = frame::decode(&rest) {
        rest = rest.slice(taken..);
    }
    rest.is_empty()
}

/// Makes durable what reads back from `from` up to `end`: a sync alone does not, if an earlier one
/// failed.
fn rewrite(file: &dyn File, from: u64, end: u64) -> io::Result<()> {
    const STEP: u64 = 1 << 20;
    let mut at = from;
    while at < end {
        let length = STEP.min(end - at);
        file.write_at(at, &read_exact(file, at, length as usize)?)?;
        at += length;
    }
    file.sync_data()
}

fn read_exact(file: &dyn File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(offset + filled as u64, &mut bytes[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(bytes.into())
}

fn lock(storage: &dyn Storage, dir: &Path) -> Result<Box<dyn Lock>, StoreError> {
    let path = dir.join("lock");
    storage.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::InUse(dir.to_owned()),
        _ => StoreError::Files {
            what: "lock",
            path,
            source,
        },
    })
}

fn create(storage: &dyn Storage, dir: &Path, number: u32) -> io::Result<Arc<dyn File>> {
    let path = segment_path(dir, number);
    let file = match storage.create(&path) {
        // A roll that failed after its create is tried again: nothing in it was counted.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = storage.open_writable(&path)?;
            file.truncate(0)?;
            file
        }
        other => other?,
    };
    storage.sync_dir(dir)?;
    Ok(file)
}

fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.{EXTENSION}"))
}

fn numbers(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<u32>> {
    let names = storage.list(dir)?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| {
            name.strip_suffix(EXTENSION)?
                .strip_suffix('.')?
                .parse()
                .ok()
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}
