//! What a journal's folder holds, and how its owner makes it whole at the opening.
//!
//! Only the last segment of the last epoch can have a torn tail: the writer begins a segment, an
//! epoch and a commit only once everything before is durable. So bad bytes with a commit behind
//! them are damage: they stay where they are and read as a gap. Bad bytes with nothing behind
//! them are the commit that the crash interrupted, which nobody was told of: they are cut.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use selvedge_identity::{Epoch, ServerName};

use crate::error::JournalError;
use crate::format::{HeaderFault, SEGMENT_HEADER, Salt, SegmentHeader, SegmentName};
use crate::scan::{Scanner, Step};
use crate::start::EpochStart;
use crate::storage::{File, Storage};

/// What the opening found and did.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The last durable epoch of earlier lives, and how many records it holds.
    pub previous: Option<(Epoch, u64)>,
    /// The interrupted commit that was cut off, if there was one. Nothing of it was acknowledged.
    pub torn: Option<Torn>,
    /// Damage met in the last segment. (Older segments are checked as they are read.)
    pub damage: Vec<Damage>,
}

/// A torn tail that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment; gone if nothing of it was whole.
    pub path: PathBuf,
    /// Where it was cut, in bytes.
    pub offset: u64,
}

/// Records that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where the damage starts, in bytes.
    pub offset: u64,
    /// The segment's epoch.
    pub epoch: Epoch,
    /// The first lost sequence.
    pub from: u64,
    /// The first sequence that is not lost.
    pub to: u64,
}

impl From<Damage> for JournalError {
    fn from(damage: Damage) -> Self {
        Self::Damaged {
            path: damage.path,
            offset: damage.offset,
            epoch: damage.epoch,
            from: damage.from,
            to: damage.to,
        }
    }
}

/// A segment as it lies in the folder.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub(crate) path: Arc<Path>,
    pub(crate) first: u64,
    /// The file's length.
    pub(crate) bytes: u64,
    /// `None`: the header is damaged (the name tells the rest).
    pub(crate) created: Option<SystemTime>,
    pub(crate) server: Option<ServerName>,
}

/// An epoch as it lies in the folder: at least one segment, in order.
#[derive(Clone, Debug)]
pub(crate) struct EpochFiles {
    pub(crate) epoch: Epoch,
    pub(crate) salt: Salt,
    pub(crate) segments: Vec<SegmentFile>,
    /// Its record 0, if it is there.
    pub(crate) start: Option<EpochStart>,
    /// How many records it durably held, as a later epoch's start says.
    pub(crate) end: Option<u64>,
}

/// Reads names, headers and epoch starts. Changes nothing.
pub(crate) fn survey(storage: &dyn Storage, dir: &Path) -> Result<Vec<EpochFiles>, JournalError> {
    let names = storage
        .list(dir)
        .map_err(JournalError::storage("list", dir))?;
    let mut found: Vec<SegmentName> = names
        .iter()
        .filter_map(|name| SegmentName::parse(name))
        .collect();
    found.sort_by_key(|name| (name.epoch, name.first));

    let mut epochs: Vec<EpochFiles> = Vec::new();
    for name in found {
        let path: Arc<Path> = dir.join(name.to_string()).into();
        let file = match storage.open(&path) {
            Ok(file) => file,
            // Retention of a live writer.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(JournalError::storage("open", &*path)(error)),
        };
        let segment = segment_file(&*file, path, name.first)?;
        match epochs.last_mut() {
            Some(last) if last.epoch == name.epoch => last.segments.push(segment),
            _ => epochs.push(EpochFiles {
                epoch: name.epoch,
                salt: name.salt,
                start: first_record(file, &segment, name)?,
                segments: vec![segment],
                end: None,
            }),
        }
    }
    follow_chain(&mut epochs);
    Ok(epochs)
}

/// Takes out what was never durable: what an epoch's start passes over when it names the last
/// durable epoch before it. (Failed tries to begin an epoch or a segment, which could not be
/// removed, or which a crash brought back. They stay where they are.)
fn follow_chain(epochs: &mut Vec<EpochFiles>) {
    let links: Vec<(Epoch, Epoch, u64)> = epochs
        .iter()
        .filter_map(|files| {
            let (previous, end) = files.start?.previous?;
            Some((files.epoch, previous, end))
        })
        .collect();
    epochs.retain_mut(|files| {
        for (epoch, previous, end) in &links {
            if files.epoch == *previous {
                files.end = Some(*end);
                files.segments.retain(|segment| segment.first < *end);
            }
            if *previous < files.epoch && files.epoch < *epoch {
                return false;
            }
        }
        !files.segments.is_empty()
    });
}

fn segment_file(file: &dyn File, path: Arc<Path>, first: u64) -> Result<SegmentFile, JournalError> {
    let mut header = [0; SEGMENT_HEADER];
    let read = file
        .read_at(0, &mut header)
        .map_err(JournalError::storage("read", &*path))?;
    let header = match SegmentHeader::decode(&header[..read]) {
        Ok(header) => Some(header),
        Err(HeaderFault::Damaged) => None,
        Err(HeaderFault::Version(version)) => {
            return Err(JournalError::UnsupportedVersion {
                path: path.to_path_buf(),
                version,
            });
        }
    };
    Ok(SegmentFile {
        first,
        bytes: file
            .bytes()
            .map_err(JournalError::storage("measure", &*path))?,
        created: header.as_ref().map(|header| header.created),
        server: header.map(|header| header.server),
        path,
    })
}

fn first_record(
    file: Arc<dyn File>,
    segment: &SegmentFile,
    name: SegmentName,
) -> Result<Option<EpochStart>, JournalError> {
    if name.first != 0 {
        return Ok(None);
    }
    let step = Scanner::new(file, name.salt, 0, segment.bytes)
        .step()
        .map_err(JournalError::storage("read", &*segment.path))?;
    Ok(match step {
        Step::Record { payload, .. } => EpochStart::decode(&payload),
        Step::End | Step::Bad { .. } => None,
    })
}

/// Makes the folder whole: cuts the torn tail, removes segments without a whole record, and finds
/// where every epoch ends. Only for the owner of the folder's lock.
pub(crate) fn recover(
    storage: &dyn Storage,
    dir: &Path,
    server: &ServerName,
) -> Result<(Vec<EpochFiles>, Recovered), JournalError> {
    let mut epochs = survey(storage, dir)?;
    for segment in epochs.iter().flat_map(|epoch| &epoch.segments) {
        if let Some(found) = segment.server.as_ref().filter(|found| *found != server) {
            return Err(JournalError::ForeignServer {
                path: segment.path.to_path_buf(),
                found: found.clone(),
                expected: server.clone(),
            });
        }
    }

    let mut recovered = Recovered::default();
    let mut removed = false;
    while let Some(last) = epochs.last_mut() {
        let Some(segment) = last.segments.last_mut() else {
            epochs.pop();
            continue;
        };
        let tail = scan_tail(storage, last.epoch, last.salt, segment, true)?;
        recovered.damage.extend(tail.damage);
        if let Some(offset) = tail.torn {
            recovered.torn = Some(Torn {
                path: segment.path.to_path_buf(),
                offset,
            });
        }
        if tail.end > segment.first {
            last.end = Some(tail.end);
            recovered.previous = Some((last.epoch, tail.end));
            break;
        }
        remove_last(storage, last)?;
        removed = true;
    }
    epochs.retain(|epoch| !epoch.segments.is_empty());
    for epoch in epochs.iter_mut().filter(|epoch| epoch.end.is_none()) {
        // Its end was told by a start that is damaged: the records themselves must do.
        if let Some(segment) = epoch.segments.last_mut() {
            let tail = scan_tail(storage, epoch.epoch, epoch.salt, segment, false)?;
            epoch.end = Some(tail.end);
            recovered.damage.extend(tail.damage);
        }
    }
    if removed {
        storage
            .sync_dir(dir)
            .map_err(JournalError::storage("sync", dir))?;
    }
    Ok((epochs, recovered))
}

fn remove_last(storage: &dyn Storage, epoch: &mut EpochFiles) -> Result<(), JournalError> {
    if let Some(segment) = epoch.segments.pop() {
        storage
            .remove(&segment.path)
            .map_err(JournalError::storage("remove", &*segment.path))?;
    }
    Ok(())
}

struct Tail {
    end: u64,
    torn: Option<u64>,
    damage: Vec<Damage>,
}

/// Scans an epoch's last segment; `cut`: cuts what is behind its last whole record.
fn scan_tail(
    storage: &dyn Storage,
    epoch: Epoch,
    salt: Salt,
    segment: &mut SegmentFile,
    cut: bool,
) -> Result<Tail, JournalError> {
    let path = segment.path.clone();
    let file = if cut {
        storage.open_writable(&path)
    } else {
        storage.open(&path)
    }
    .map_err(JournalError::storage("open", &*path))?;
    let failed = || JournalError::storage("read", &*path);

    let mut scanner = Scanner::new(file.clone(), salt, segment.first, segment.bytes);
    let mut damage = Vec::new();
    let torn = loop {
        match scanner.step().map_err(failed())? {
            Step::Record { .. } => {}
            Step::End => break None,
            Step::Bad { offset } => {
                if !scanner.commit_follows().map_err(failed())? {
                    break Some(offset);
                }
                let from = scanner.next_sequence();
                scanner.resume().map_err(failed())?;
                damage.push(Damage {
                    path: path.to_path_buf(),
                    offset,
                    epoch,
                    from,
                    to: scanner.next_sequence(),
                });
            }
        }
    };
    let (end, offset) = (scanner.next_sequence(), scanner.offset());
    if cut && end > segment.first {
        cut_tail(&*file, scanner.commit_at(), offset, segment.bytes)
            .map_err(JournalError::storage("cut the torn tail of", &*path))?;
        segment.bytes = offset;
    }
    Ok(Tail { end, torn, damage })
}

/// Writes the last commit once more, drops what is behind it, and syncs.
///
/// Once more, because the last life may have ended on a failed sync: its bytes can then be read
/// from the operating system's memory and yet be missing on the disk, and no sync would bring
/// them there unless they are written again. Commits before it were synced before it began.
fn cut_tail(file: &dyn File, commit_at: u64, end: u64, bytes: u64) -> io::Result<()> {
    let mut commit = vec![0; (end - commit_at) as usize];
    let read = file.read_at(commit_at, &mut commit)?;
    file.write_at(commit_at, &commit[..read])?;
    if bytes > end {
        file.truncate(end)?;
    }
    file.sync_data()
}
