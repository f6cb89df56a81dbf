//! Reads a journal without being its writer: for tools that look at a folder or a single file.
//!
//! Nothing is changed and no lock is taken, so it may be done while the writer runs: it then
//! reads what was there when it came to the last segment, and stops at the torn or unwritten
//! tail.

use std::path::Path;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};

use crate::error::JournalError;
use crate::format::{HeaderFault, SEGMENT_HEADER, Salt, SegmentHeader, SegmentName};
use crate::recovery::survey;
use crate::scan::{Scanner, Step};
use crate::storage::Storage;

/// A record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Whose journal.
    pub server: ServerName,
    /// Which epoch.
    pub epoch: Epoch,
    /// Its sequence.
    pub sequence: u64,
    /// What was appended, or of sequence 0 an [`EpochStart`](crate::EpochStart). It shares a
    /// larger buffer.
    pub payload: Bytes,
}

/// The records of a folder or a file, in order. An error tells of records that are lost there
/// ([`JournalError::Damaged`]) or of a segment that cannot be read; the iteration goes on behind.
pub struct ReadDir {
    storage: Arc<dyn Storage>,
    segments: vec::IntoIter<Segment>,
    open: Option<(Segment, Scanner)>,
}

struct Segment {
    path: Arc<Path>,
    server: ServerName,
    epoch: Epoch,
    salt: Salt,
    first: u64,
    bytes: u64,
    /// The sequence at which the records are known to end; `None` of the last segment.
    end: Option<u64>,
    header_damaged: bool,
}

/// Reads the journal in the folder `dir`.
///
/// # Errors
/// When the folder or a segment's header cannot be read. A folder without segments is an empty
/// journal.
pub fn read_dir(storage: Arc<dyn Storage>, dir: &Path) -> Result<ReadDir, JournalError> {
    let epochs = survey(&*storage, dir)?;
    let servers = || epochs.iter().flat_map(|epoch| &epoch.segments);
    // Damaged headers name nobody: their neighbours do, or the folder.
    let anyone = servers().find_map(|segment| segment.server.clone());
    let folder = || ServerName::new(dir.file_name()?.to_str()?).ok();
    let Some(server) = anyone.or_else(folder) else {
        return match servers().next() {
            None => Ok(ReadDir::new(storage, Vec::new())),
            Some(segment) => Err(JournalError::NotASegment {
                path: segment.path.to_path_buf(),
            }),
        };
    };
    let mut segments = Vec::new();
    for epoch in &epochs {
        for (i, segment) in epoch.segments.iter().enumerate() {
            let next = epoch.segments.get(i + 1).map(|next| next.first);
            let end = [next, epoch.end].into_iter().flatten().min();
            segments.push(Segment {
                path: segment.path.clone(),
                server: segment.server.clone().unwrap_or_else(|| server.clone()),
                epoch: epoch.epoch,
                salt: epoch.salt,
                first: segment.first,
                bytes: segment.bytes,
                end,
                header_damaged: segment.server.is_none(),
            });
        }
    }
    Ok(ReadDir::new(storage, segments))
}

/// Reads one segment, whatever its name is.
///
/// # Errors
/// When the file cannot be read or is no segment.
pub fn read_file(storage: Arc<dyn Storage>, path: &Path) -> Result<ReadDir, JournalError> {
    let file = storage
        .open(path)
        .map_err(JournalError::storage("open", path))?;
    let mut header = [0; SEGMENT_HEADER];
    let read = file
        .read_at(0, &mut header)
        .map_err(JournalError::storage("read", path))?;
    let not_ours = || JournalError::NotASegment {
        path: path.to_path_buf(),
    };
    let (name, server) = match SegmentHeader::decode(&header[..read]) {
        Ok(SegmentHeader {
            server,
            epoch,
            first,
            salt,
            ..
        }) => (SegmentName { epoch, first, salt }, Some(server)),
        Err(HeaderFault::Version(version)) => {
            return Err(JournalError::UnsupportedVersion {
                path: path.to_path_buf(),
                version,
            });
        }
        Err(HeaderFault::Damaged) => (SegmentName::parse_path(path).ok_or_else(not_ours)?, None),
    };
    let folder = || ServerName::new(path.parent()?.file_name()?.to_str()?).ok();
    let segment = Segment {
        path: path.into(),
        header_damaged: server.is_none(),
        server: server.or_else(folder).ok_or_else(not_ours)?,
        epoch: name.epoch,
        salt: name.salt,
        first: name.first,
        bytes: file
            .bytes()
            .map_err(JournalError::storage("measure", path))?,
        end: None,
    };
    Ok(ReadDir::new(storage, vec![segment]))
}

impl ReadDir {
    fn new(storage: Arc<dyn Storage>, segments: Vec<Segment>) -> Self {
        Self {
            storage,
            segments: segments.into_iter(),
            open: None,
        }
    }

    fn open_next(&mut self) -> Option<Result<(), JournalError>> {
        let segment = self.segments.next()?;
        if segment.end.is_some_and(|end| end <= segment.first) {
            return Some(Ok(()));
        }
        let file = match self.storage.open(&segment.path) {
            Ok(file) => file,
            Err(error) => {
                return Some(Err(JournalError::storage("open", &*segment.path)(error)));
            }
        };
        let scanner = Scanner::new(file, segment.salt, segment.first, segment.bytes);
        let damaged = segment.header_damaged.then(|| JournalError::Damaged {
            path: segment.path.to_path_buf(),
            offset: 0,
            epoch: segment.epoch,
            from: segment.first,
            to: segment.first,
        });
        self.open = Some((segment, scanner));
        Some(damaged.map_or(Ok(()), Err))
    }
}

impl Iterator for ReadDir {
    type Item = Result<ReadRecord, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((segment, scanner)) = &mut self.open else {
                match self.open_next()? {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            };
            if segment.end == Some(scanner.next_sequence()) {
                self.open = None;
                continue;
            }
            match read_on(segment, scanner) {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) => self.open = None,
                Err(error) => {
                    let goes_on = matches!(error, JournalError::Damaged { to, .. }
                        if segment.end.is_none_or(|end| to < end));
                    if !goes_on {
                        self.open = None;
                    }
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The next record; `None` at the end of the segment.
fn read_on(segment: &Segment, scanner: &mut Scanner) -> Result<Option<ReadRecord>, JournalError> {
    let failed = || JournalError::storage("read", &*segment.path);
    let from = scanner.next_sequence();
    let offset = match scanner.step().map_err(failed())? {
        Step::Record { sequence, payload } => {
            return Ok(Some(ReadRecord {
                server: segment.server.clone(),
                epoch: segment.epoch,
                sequence,
                payload,
            }));
        }
        Step::End => scanner.offset(),
        Step::Bad { offset } => offset,
    };
    // Without a known end, what nothing follows is the tail: torn, or being written right now.
    let to = match segment.end {
        None if !scanner.commit_follows().map_err(failed())? => return Ok(None),
        None => {
            scanner.resume().map_err(failed())?;
            scanner.next_sequence()
        }
        Some(end) if scanner.resume().map_err(failed())? => scanner.next_sequence().min(end),
        Some(end) => end,
    };
    Err(JournalError::Damaged {
        path: segment.path.to_path_buf(),
        offset,
        epoch: segment.epoch,
        from,
        to,
    })
}
