//! Tails the journal: from memory while it keeps up, from the files when it does not.
//!
//! A reader holds nothing that the writer waits for. It looks at what is published under a short
//! lock and reads files outside of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use selvedge_identity::Epoch;

use crate::error::JournalError;
use crate::format::Salt;
use crate::journal::Shared;
use crate::scan::{Scanner, Step};
use crate::view::{EpochView, Inner, RingGroup};

/// Consecutive committed records of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Their epoch.
    pub epoch: Epoch,
    /// The first one's sequence; the others follow without a gap.
    pub first: u64,
    /// Their payloads, at least one. They share larger buffers: copy what is to be kept for long.
    pub records: Vec<Bytes>,
}

/// Records that this journal cannot give any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Their epoch.
    pub epoch: Epoch,
    /// The first missing sequence.
    pub from: u64,
    /// The sequence behind the last missing one. [`Gap::UNKNOWN_END`]: the epoch itself is not
    /// known here any more; its records from `from` on, if there were any, are gone.
    pub to: u64,
    /// Why.
    pub cause: GapCause,
}

/// Why records are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// Retention removed them, or the journal's folder was lost.
    Removed,
    /// They were kept in memory only and fell out of it.
    Volatile,
    /// Their bytes changed on disk.
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
    },
}

impl Gap {
    /// Stands for an end that nobody knows.
    pub const UNKNOWN_END: u64 = u64::MAX;
}

/// What a reader gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Records.
    Batch(Batch),
    /// Missing records, told once, in their place.
    Gap(Gap),
    /// The journal was closed and everything was read.
    Closed,
}

/// Reads committed records in order. Made by [`Journal::reader`](crate::Journal::reader); lives
/// on when the journal is closed.
pub struct Reader {
    shared: Arc<Shared>,
    /// The epoch and sequence to be read next; `None` before the oldest.
    position: Option<(Epoch, u64)>,
    cursor: Option<Cursor>,
}

/// An open segment, read up to the reader's position.
struct Cursor {
    path: Arc<Path>,
    scanner: Scanner,
}

/// Where the next records are.
enum Plan {
    Wait,
    Closed,
    Gap(Gap),
    Memory(Vec<RingGroup>),
    File {
        path: Arc<Path>,
        salt: Salt,
        first: u64,
        bytes: u64,
        end: u64,
    },
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, position: Option<(Epoch, u64)>) -> Self {
        Self {
            shared,
            position,
            cursor: None,
        }
    }

    /// The epoch and sequence that comes next; `None` until the first record was given to a
    /// reader that began at the oldest.
    #[must_use]
    pub fn position(&self) -> Option<(Epoch, u64)> {
        self.position
    }

    /// The next records, about `max_bytes` of payload (at least one record); waits for them. May
    /// be dropped while it waits: nothing is lost.
    ///
    /// Files are read in place, at most some 256 KiB and a record a call.
    ///
    /// # Errors
    /// When a segment cannot be read; the position stays, so it may be tried again.
    pub async fn next_batch(&mut self, max_bytes: usize) -> Result<Delivery, JournalError> {
        let shared = self.shared.clone();
        shared
            .view
            .until(|| self.try_next(max_bytes).transpose())
            .await
    }

    /// As [`Reader::next_batch`], but `None` where that would wait.
    ///
    /// # Errors
    /// As there.
    pub fn try_next(&mut self, max_bytes: usize) -> Result<Option<Delivery>, JournalError> {
        loop {
            let plan = self.plan(max_bytes);
            match plan {
                Plan::Wait => return Ok(None),
                Plan::Closed => return Ok(Some(Delivery::Closed)),
                Plan::Gap(gap) => return Ok(Some(self.give_gap(gap))),
                Plan::Memory(groups) => {
                    self.cursor = None;
                    return Ok(self.take_memory(&groups, max_bytes));
                }
                Plan::File {
                    path,
                    salt,
                    first,
                    bytes,
                    end,
                } => match self.take_file(&path, salt, first, bytes, end, max_bytes) {
                    // Retention was faster; the view knows by now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !self.lists(&path) => {
                    }
                    Err(error) => {
                        self.cursor = None;
                        return Err(JournalError::storage("read", &*path)(error));
                    }
                    Ok(delivery) => return Ok(Some(delivery)),
                },
            }
        }
    }

    /// Finds where the position is; moves it over the ends of epochs.
    fn plan(&mut self, max_bytes: usize) -> Plan {
        let view = self.shared.view.lock();
        loop {
            let Some((epoch, sequence)) = self.position else {
                let oldest = view
                    .epochs
                    .iter()
                    .find_map(|epoch| Some((epoch.epoch, view.oldest(epoch)?)));
                if oldest.is_none() {
                    return if view.closed {
                        Plan::Closed
                    } else {
                        Plan::Wait
                    };
                }
                self.position = oldest;
                continue;
            };
            let Some(index) = view.epochs.iter().rposition(|e| e.epoch == epoch) else {
                return Plan::Gap(Gap {
                    epoch,
                    from: sequence,
                    to: Gap::UNKNOWN_END,
                    cause: GapCause::Removed,
                });
            };
            let known = &view.epochs[index];
            if sequence < known.end {
                return plan_within(&view, known, sequence, max_bytes);
            }
            match view.epochs.get(index + 1) {
                Some(next) => self.position = Some((next.epoch, 0)),
                None if view.closed => return Plan::Closed,
                None => return Plan::Wait,
            }
        }
    }

    /// Moves the position behind the gap.
    fn give_gap(&mut self, gap: Gap) -> Delivery {
        self.position = if gap.to == Gap::UNKNOWN_END {
            // The next later epoch. If there is none, the journal began anew (its folder was
            // lost), and everything it has is news.
            let view = self.shared.view.lock();
            view.epochs
                .iter()
                .find(|epoch| epoch.epoch > gap.epoch)
                .map(|epoch| (epoch.epoch, view.oldest(epoch).unwrap_or(0)))
        } else {
            Some((gap.epoch, gap.to))
        };
        Delivery::Gap(gap)
    }

    fn take_memory(&mut self, groups: &[RingGroup], max_bytes: usize) -> Option<Delivery> {
        let (epoch, first) = self.position?;
        let mut records = Vec::new();
        let mut bytes = 0;
        for payload in groups.iter().flat_map(|group| group.payloads(first)) {
            if !records.is_empty() && bytes + payload.len() > max_bytes {
                break;
            }
            bytes += payload.len();
            records.push(payload);
        }
        self.position = Some((epoch, first + records.len() as u64));
        Some(Delivery::Batch(Batch {
            epoch,
            first,
            records,
        }))
    }

    fn take_file(
        &mut self,
        path: &Arc<Path>,
        salt: Salt,
        segment_first: u64,
        limit: u64,
        end: u64,
        max_bytes: usize,
    ) -> io::Result<Delivery> {
        let (epoch, first) = self.position.expect("planned from a position");
        let cursor = match self.cursor.take() {
            Some(cursor) if cursor.path == *path && cursor.scanner.next_sequence() <= first => {
                cursor
            }
            _ => Cursor {
                path: path.clone(),
                scanner: Scanner::new(self.shared.storage.open(path)?, salt, segment_first, limit),
            },
        };
        let scanner = &mut self.cursor.insert(cursor).scanner;
        scanner.set_limit(limit);
        scanner.seek(first)?;

        let mut records: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes && first + (records.len() as u64) < end {
            match scanner.step()? {
                Step::Record { sequence, .. } if sequence < first => {}
                Step::Record { payload, .. } => {
                    bytes += payload.len();
                    records.push(payload);
                }
                Step::End | Step::Bad { .. } if !records.is_empty() => break,
                step => {
                    let offset = match step {
                        Step::Bad { offset } => offset,
                        _ => scanner.offset(),
                    };
                    let found = scanner.resume()?;
                    let to = if found {
                        scanner.next_sequence().min(end)
                    } else {
                        end
                    };
                    if to <= first {
                        continue;
                    }
                    let gap = Gap {
                        epoch,
                        from: first,
                        to,
                        cause: GapCause::Damaged {
                            path: path.to_path_buf(),
                            offset,
                        },
                    };
                    return Ok(self.give_gap(gap));
                }
            }
        }
        self.position = Some((epoch, first + records.len() as u64));
        Ok(Delivery::Batch(Batch {
            epoch,
            first,
            records,
        }))
    }

    fn lists(&self, path: &Arc<Path>) -> bool {
        let view = self.shared.view.lock();
        let mut segments = view.epochs.iter().flat_map(|epoch| &epoch.segments);
        segments.any(|segment| segment.path == *path)
    }
}

fn plan_within(view: &Inner, epoch: &EpochView, sequence: u64, max_bytes: usize) -> Plan {
    let durable = sequence < epoch.durable_end;
    let ring = if durable { &view.recent } else { &view.held };
    let mut groups = Vec::new();
    let mut bytes = 0;
    for group in ring.from(epoch.epoch, sequence) {
        if (groups.is_empty() && group.first > sequence) || bytes > max_bytes {
            break;
        }
        // Of the first group only a part may be wanted, so one more may be taken than needed.
        bytes += if groups.is_empty() {
            1
        } else {
            group.frame_bytes()
        };
        groups.push(group.clone());
    }
    if !groups.is_empty() {
        return Plan::Memory(groups);
    }
    if !durable {
        let next = ring.from(epoch.epoch, sequence).next();
        return Plan::Gap(Gap {
            epoch: epoch.epoch,
            from: sequence,
            to: next.map_or(epoch.end, |group| group.first),
            cause: GapCause::Volatile,
        });
    }
    let after = epoch
        .segments
        .partition_point(|segment| segment.first <= sequence);
    let Some(index) = after.checked_sub(1) else {
        return Plan::Gap(Gap {
            epoch: epoch.epoch,
            from: sequence,
            to: epoch
                .segments
                .front()
                .map_or(epoch.durable_end, |segment| segment.first),
            cause: GapCause::Removed,
        });
    };
    let segment = &epoch.segments[index];
    Plan::File {
        path: segment.path.clone(),
        salt: epoch.salt,
        first: segment.first,
        bytes: segment.bytes,
        end: epoch.segment_end(index),
    }
}
