//! Reads the files of a store into an index, when it opens.
//!
//! Frames are taken in the order they lie. What a frame says of journals was new when it was
//! written; a span may lie there twice, where its first copy was in doubt.

use bytes::Bytes;
use selvedge_entry::Record;
use selvedge_identity::{Epoch, ServerName};
use selvedge_journal::EpochStart;
use selvedge_spans::{Contexts, Damaged, Part};

use super::frame::{Body, Frame};
use super::index::Index;
use super::segments::{Location, SegmentFiles};
use super::spans::{Batch, Known};

/// Reads the files of a store into an index.
#[derive(Default)]
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) records: u64,
    pub(super) damaged: u64,
}

impl Replay {
    /// Takes a frame; `payload` is where it lies.
    pub(super) fn take(&mut self, files: &SegmentFiles, payload: Location, frame: Frame) {
        match frame {
            Frame::Journal {
                server,
                epoch,
                first,
                body: Body::Gap(to),
            } => self.index.lose(&server, epoch, first, to),
            Frame::Journal {
                server,
                epoch,
                first,
                body: Body::Passed(to),
            } => self.index.pass_over(&server, epoch, first, to),
            Frame::Journal {
                server,
                epoch,
                first,
                body: Body::Batch(list),
            } => {
                self.records += list.len() as u64;
                let list = list
                    .iter()
                    .map(|(start, bytes)| (payload.at(*start, bytes), bytes));
                self.index.take(&server, epoch, first, list);
            }
            Frame::Spans { contexts, spans } => {
                let count = spans.len() as u64;
                if self.take_spans(files, payload, &contexts, &spans).is_err() {
                    self.damaged += count;
                }
            }
            Frame::Doubt { .. } => {}
            Frame::Other => self.index.unreadable += 1,
        }
    }

    fn take_spans(
        &mut self,
        files: &SegmentFiles,
        payload: Location,
        contexts: &(u32, Bytes),
        spans: &[(u32, Bytes)],
    ) -> Result<(), Damaged> {
        let (start, bytes) = contexts;
        let keys = self.index.spans.keys().clone();
        let batch = Batch::new(Contexts::decode(bytes)?, &keys);
        let number = self.index.spans.add_batch(payload.at(*start, bytes));
        let mut known = Known::new(files);
        for (start, bytes) in spans {
            let at = payload.at(*start, bytes);
            let (Ok(hash), Ok(span)) = (
                batch.hash(bytes, &keys),
                batch.contexts.span(bytes, Part::Tree),
            ) else {
                self.damaged += 1;
                continue;
            };
            // A span whose first copy was in doubt lies there twice: the second counts.
            let spans = &self.index.spans;
            let earlier = spans.with_hash(hash).find(|&row| {
                let place = spans.place(&spans.rows[row as usize]);
                known.same(place, &keys, &batch, bytes).unwrap_or(false)
            });
            match earlier {
                Some(row) => self.index.spans.move_to(row, at, number),
                None => self.index.take_span(&span, at, number, hash),
            }
        }
        Ok(())
    }
}

impl Index {
    /// Takes the records of one frame, none of which was seen before.
    pub(super) fn take<'a>(
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

    pub(super) fn lose(&mut self, server: &ServerName, epoch: Epoch, from: u64, to: u64) {
        let id = self.journals.intern(server, epoch);
        self.journals.state_mut(id).lost.insert(from, to);
    }
}
