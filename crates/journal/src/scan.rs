//! Reads a segment's records one by one, and finds the way again after damage.
//!
//! Used by recovery, by readers and by tools alike, so that all three agree on what is a record.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::format::{
    COMMIT_HEADER, COMMIT_MAGIC, CommitHeader, FRAME_HEADER, RECORD_BYTES_MAX, SEGMENT_HEADER,
    Salt, frame_check, frame_header,
};
use crate::storage::File;

/// How much is read from a file at once.
const CHUNK: usize = 256 << 10;

/// What stands next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record.
    Record { sequence: u64, payload: Bytes },
    /// Nothing more: the limit, or zeros up to it.
    End,
    /// The bytes at this offset are neither: torn or damaged. [`Scanner::resume`] goes on behind
    /// them.
    Bad { offset: u64 },
}

pub(crate) struct Scanner {
    file: Arc<dyn File>,
    salt: Salt,
    offset: u64,
    limit: u64,
    next: u64,
    commit: Option<Commit>,
    commit_at: u64,
    chunk: Bytes,
    chunk_at: u64,
}

/// The commit that `offset` stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Commit {
    end: u64,
    end_sequence: u64,
}

impl Scanner {
    /// Reads from behind the segment's header on, never beyond `limit` bytes of the file.
    pub(crate) fn new(file: Arc<dyn File>, salt: Salt, first: u64, limit: u64) -> Self {
        Self {
            file,
            salt,
            offset: SEGMENT_HEADER as u64,
            limit,
            next: first,
            commit: None,
            commit_at: SEGMENT_HEADER as u64,
            chunk: Bytes::new(),
            chunk_at: 0,
        }
    }

    /// The sequence that the next record should have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The offset behind the last record read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the last commit that was entered begins.
    pub(crate) fn commit_at(&self) -> u64 {
        self.commit_at
    }

    /// More of the file has become readable.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let (offset, sequence) = (self.offset, self.next);
        let whole = Commit {
            end: offset,
            end_sequence: sequence,
        };
        if self.commit.is_none_or(|commit| commit == whole) {
            self.commit = None;
            match self.commit_header()? {
                Some(header) if header.first == self.next => {
                    self.commit_at = self.offset;
                    self.offset += COMMIT_HEADER as u64;
                    self.commit = Some(Commit {
                        end: self.offset + u64::from(header.bytes),
                        end_sequence: header.first + u64::from(header.records),
                    });
                }
                Some(_) => {
                    return Ok(Step::Bad {
                        offset: self.offset,
                    });
                }
                None if self.zeros_to_limit()? => return Ok(Step::End),
                None => {
                    return Ok(Step::Bad {
                        offset: self.offset,
                    });
                }
            }
        }
        let (offset, sequence) = (self.offset, self.next);
        // More frames than the header counts are none of the writer's.
        let counted = self.commit.is_some_and(|c| sequence < c.end_sequence);
        let frame = if counted { self.frame(sequence)? } else { None };
        let Some(payload) = frame else {
            return Ok(Step::Bad { offset });
        };
        self.offset += (FRAME_HEADER + payload.len()) as u64;
        self.next += 1;
        Ok(Step::Record { sequence, payload })
    }

    /// Skips whole commits, as far as they can be skipped, so that the record of `sequence` is
    /// not far. (Damage stops the skipping; stepping meets it then.)
    pub(crate) fn seek(&mut self, sequence: u64) -> io::Result<()> {
        while self.commit.is_none() {
            match self.commit_header()? {
                Some(header) if header.first == self.next => {
                    let end_sequence = header.first + u64::from(header.records);
                    let end = self.offset + COMMIT_HEADER as u64 + u64::from(header.bytes);
                    if end_sequence > sequence || end > self.limit {
                        break;
                    }
                    self.next = end_sequence;
                    self.offset = end;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// After [`Step::Bad`]: whether a commit begins anywhere behind. The writer begins one only
    /// after the one before is durable, so then the bad bytes are damage, not a torn tail.
    pub(crate) fn commit_follows(&mut self) -> io::Result<bool> {
        let (from, next) = self.commit.map_or((self.offset, self.next), |commit| {
            (commit.end, commit.end_sequence)
        });
        Ok(self.find_commit(from, next)?.is_some())
    }

    /// After [`Step::Bad`]: goes on at the next readable place; answers whether there is one.
    /// [`Scanner::next_sequence`] tells how many records were passed over.
    pub(crate) fn resume(&mut self) -> io::Result<bool> {
        if let Some(commit) = self.commit
            && commit.end <= self.limit
        {
            if !self.resume_within(commit)? {
                self.offset = commit.end;
                self.next = commit.end_sequence;
                self.commit = None;
            }
            return Ok(true);
        }
        let Some((offset, header)) = self.find_commit(self.offset, self.next)? else {
            return Ok(false);
        };
        self.commit = None;
        self.offset = offset;
        self.next = header.first;
        Ok(true)
    }

    /// Tries to pass over single damaged records by their lengths.
    fn resume_within(&mut self, commit: Commit) -> io::Result<bool> {
        let (mut offset, mut sequence) = (self.offset, self.next);
        loop {
            let Some(header) = self.window(offset, FRAME_HEADER)? else {
                return Ok(false);
            };
            let (length, _) = frame_header(header.first_chunk().expect("window of that size"));
            let end = offset + (FRAME_HEADER + length) as u64;
            if length == 0 || length > RECORD_BYTES_MAX || end >= commit.end {
                return Ok(false);
            }
            (offset, sequence) = (end, sequence + 1);
            if sequence >= commit.end_sequence {
                return Ok(false);
            }
            let before = std::mem::replace(&mut self.offset, offset);
            if self.frame(sequence)?.is_some() {
                self.next = sequence;
                return Ok(true);
            }
            self.offset = before;
        }
    }

    /// The first valid commit header at or behind `from` that can follow what was read, with the
    /// sequence `next` or a later one.
    fn find_commit(&mut self, from: u64, next: u64) -> io::Result<Option<(u64, CommitHeader)>> {
        let mut at = from;
        while at + COMMIT_HEADER as u64 <= self.limit {
            let length = (self.limit - at).min(CHUNK as u64) as usize;
            let Some(window) = self.window(at, length)? else {
                return Ok(None);
            };
            let starts = window.len() - (COMMIT_HEADER - 1);
            for start in 0..starts {
                if window[start..start + 4] != COMMIT_MAGIC {
                    continue;
                }
                let Some(header) = CommitHeader::decode(self.salt, &window[start..]) else {
                    continue;
                };
                let offset = at + start as u64;
                // The skipped bytes can have held no more records than this.
                let skipped_max = (offset - self.offset) / (FRAME_HEADER as u64 + 1);
                let skipped = header.first.checked_sub(self.next);
                if header.first >= next && skipped.is_some_and(|n| n <= skipped_max) {
                    return Ok(Some((offset, header)));
                }
            }
            at += starts as u64;
        }
        Ok(None)
    }

    fn commit_header(&mut self) -> io::Result<Option<CommitHeader>> {
        let salt = self.salt;
        Ok(self
            .window(self.offset, COMMIT_HEADER)?
            .and_then(|bytes| CommitHeader::decode(salt, &bytes)))
    }

    /// The payload of the frame at the offset, if it is the record of `sequence`.
    fn frame(&mut self, sequence: u64) -> io::Result<Option<Bytes>> {
        let end = self.commit.map_or(self.limit, |c| c.end.min(self.limit));
        if self.offset + FRAME_HEADER as u64 > end {
            return Ok(None);
        }
        let Some(header) = self.window(self.offset, FRAME_HEADER)? else {
            return Ok(None);
        };
        let (length, check) = frame_header(header.first_chunk().expect("window of that size"));
        let whole = FRAME_HEADER + length;
        if length == 0 || length > RECORD_BYTES_MAX || self.offset + whole as u64 > end {
            return Ok(None);
        }
        let Some(frame) = self.window(self.offset, whole)? else {
            return Ok(None);
        };
        let payload = frame.slice(FRAME_HEADER..);
        Ok((frame_check(self.salt, sequence, &payload) == check).then_some(payload))
    }

    fn zeros_to_limit(&mut self) -> io::Result<bool> {
        let mut at = self.offset;
        while at < self.limit {
            let length = (self.limit - at).min(CHUNK as u64) as usize;
            match self.window(at, length)? {
                Some(window) if window.iter().all(|byte| *byte == 0) => at += length as u64,
                Some(_) => return Ok(false),
                None => {
                    // The file ends before the limit.
                    let bytes = self.file.bytes()?;
                    if bytes >= self.limit {
                        return Ok(true);
                    }
                    self.limit = bytes;
                }
            }
        }
        Ok(true)
    }

    /// `length` bytes at `offset`; `None` if the limit or the file's end comes first.
    fn window(&mut self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        let end = offset + length as u64;
        if end > self.limit {
            return Ok(None);
        }
        if offset < self.chunk_at || end > self.chunk_at + self.chunk.len() as u64 {
            let wanted = (self.limit - offset).min(length.max(CHUNK) as u64) as usize;
            let mut chunk = BytesMut::zeroed(wanted);
            let read = self.file.read_at(offset, &mut chunk)?;
            chunk.truncate(read);
            self.chunk = chunk.freeze();
            self.chunk_at = offset;
            if read < length {
                return Ok(None);
            }
        }
        let start = (offset - self.chunk_at) as usize;
        Ok(Some(self.chunk.slice(start..start + length)))
    }
}
