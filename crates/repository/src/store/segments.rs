//! The store's files: numbered segments that only grow, one writer.
//!
//! A segment is `DATA/repository/<number>.seg`: eight bytes of magic, then frames (see
//! [`super::frame`]). Only the newest is written; at its full size the next begins. Every write
//! goes to a known offset, so a failed one (a full disk) is simply written again at the same
//! place. What a crash tore is cut when the store opens; the bus delivers it again, because the
//! positions to resume from are those that the files hold. So `sync` bounds how much is fetched
//! again after a crash of the host; it does not decide what is kept.
//!
//! Limits: segments are never removed (retention comes with the block engine); file handles stay
//! open, one a segment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use selvedge_journal::{File, Lock, Storage};

use super::StoreError;
use super::frame::{self, Frame, HEADER_BYTES};

const MAGIC: &[u8; 8] = b"selvrep\x01";
const EXTENSION: &str = "seg";

/// Where bytes lie in the store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Location {
    /// Where a record lies that starts `start` bytes into this payload.
    pub(crate) fn at(self, start: u32, record: &Bytes) -> Self {
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
        let file = self
            .files
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(at.segment as usize)
            .cloned()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        read_exact(&*file, u64::from(at.offset), at.length as usize)
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
    /// Where the next frame goes.
    end: u64,
    segment_bytes: u64,
    unsynced: bool,
    /// The current file failed to sync: what it holds is in doubt, and it gets no more.
    doubtful: bool,
    /// Keeps other processes out for as long as it lives.
    _lock: Box<dyn Lock>,
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
        mut replay: impl FnMut(Location, Frame),
    ) -> Result<(Self, Arc<SegmentFiles>), StoreError> {
        let failed = |path: &Path, what| {
            let path = path.to_owned();
            move |source| StoreError::Files { what, path, source }
        };
        storage.create_dir(dir).map_err(failed(dir, "create"))?;
        let lock = lock(&*storage, dir)?;
        let numbers = numbers(&*storage, dir).map_err(failed(dir, "list"))?;
        let files = Arc::new(SegmentFiles::default());
        let mut last = None;
        for (index, number) in numbers.iter().enumerate() {
            let path = segment_path(dir, *number);
            if *number as usize != index {
                return Err(StoreError::MissingSegment(segment_path(dir, index as u32)));
            }
            let file = storage
                .open_writable(&path)
                .map_err(failed(&path, "open"))?;
            let segment = files.push(Arc::clone(&file));
            let end =
                replay_segment(&*file, segment, &mut replay).map_err(failed(&path, "read"))?;
            let length = file.bytes().map_err(failed(&path, "read"))?;
            if end < length {
                tracing::warn!(file = %path.display(), at = end, bytes = length - end, "cut what a crash tore");
                // A torn frame inside an older segment is cut as well: what it held is missing
                // from the positions, so the bus delivers it again.
                file.truncate(end).map_err(failed(&path, "cut"))?;
                file.sync_data().map_err(failed(&path, "sync"))?;
            }
            last = Some((file, *number, end));
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
            segment_bytes,
            unsynced: false,
            doubtful: false,
            _lock: lock,
        };
        if fresh {
            writer
                .write_magic()
                .map_err(failed(&segment_path(dir, number), "write"))?;
        }
        Ok((writer, files))
    }

    /// Writes one frame (header and payload); returns where its payload lies. After an error
    /// nothing was written, and the same frame may be tried again.
    pub(crate) fn append(&mut self, frame: &[u8]) -> io::Result<Location> {
        let full = self.end >= self.segment_bytes && self.end > MAGIC.len() as u64;
        if full || self.doubtful {
            self.roll()?;
        }
        self.current.write_at(self.end, frame)?;
        let at = Location {
            segment: self.number,
            offset: (self.end + HEADER_BYTES as u64) as u32,
            length: (frame.len() - HEADER_BYTES) as u32,
        };
        self.end += frame.len() as u64;
        self.unsynced = true;
        Ok(at)
    }

    /// Makes all that was written durable. After an error the next frame begins a new file.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            self.current
                .sync_data()
                .inspect_err(|_| self.doubtful = true)?;
        }
        Ok(())
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A failed write as an error that names the file.
    pub(crate) fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Files {
            what: "write",
            path: segment_path(&self.dir, self.number),
            source,
        }
    }

    /// Whether something written is not durable yet.
    pub(crate) fn unsynced(&self) -> bool {
        self.unsynced
    }

    fn roll(&mut self) -> io::Result<()> {
        if !self.doubtful {
            self.sync()?;
        }
        let file = create(&*self.storage, &self.dir, self.number + 1)?;
        file.write_at(0, MAGIC)?;
        self.number = self.files.push(Arc::clone(&file));
        self.current = file;
        self.end = MAGIC.len() as u64;
        self.doubtful = false;
        Ok(())
    }

    fn write_magic(&mut self) -> io::Result<()> {
        self.current.write_at(0, MAGIC)?;
        self.end = MAGIC.len() as u64;
        self.unsynced = true;
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
