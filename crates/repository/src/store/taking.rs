//! Takes records and spans: finds what is new, writes it, indexes it, and makes it durable.
//!
//! Everything goes through one writer, so what is decided on a batch holds until it is written.
//! A sync holds no lock that writing needs: what comes while the disk works is written meanwhile
//! and made durable by the next sync, once for all of it (a group commit).

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};
use selvedge_spans::{Contexts, Span, StoredSpans};

use super::frame;
use super::index::Row;
use super::segments::{Location, Writer};
use super::spans::{Batch, Known};
use super::{Store, StoreError, Stored, TakenSpans};

/// The most spans of one frame.
const FRAME_SPANS: usize = 1024;

/// A frame's overhead is below this, without the lengths of its parts.
const FRAME_BYTES: usize = 1024;

impl Store {
    /// Takes consecutive records of one epoch, the first at sequence `first`; those that are here
    /// already are left out. When it returns, they are in the files (durable after the next
    /// [`Store::sync`]) and in every answer.
    ///
    /// # Errors
    /// When the files cannot be written; the batch may be handed in again.
    pub fn append(
        &self,
        server: &ServerName,
        epoch: Epoch,
        first: u64,
        records: &[Bytes],
    ) -> Result<Stored, StoreError> {
        let mut writer = self.writer_with_room()?;
        let end = first.saturating_add(records.len() as u64);
        let missing = {
            let index = self.read();
            match index.journals.find(server, epoch) {
                Some(id) => index.journals.state(id).received.missing(first, end),
                None => vec![(first, end)],
            }
        };
        let mut new = 0;
        for (from, to) in missing.into_iter().filter(|(from, to)| from < to) {
            let part = &records[(from - first) as usize..(to - first) as usize];
            let size: usize = part.iter().map(|record| record.len() + 4).sum();
            fits(size)?;
            let mut bytes = Vec::with_capacity(size + FRAME_BYTES);
            let starts = frame::encode_batch(&mut bytes, server, epoch, from, part);
            let payload = writer
                .append(&bytes)
                .map_err(|error| writer.failed(error))?;
            let list = starts
                .iter()
                .zip(part)
                .map(|(start, bytes)| (payload.at(*start, bytes), bytes));
            self.write().take(server, epoch, from, list);
            new += to - from;
        }
        let repeated = records.len() as u64 - new;
        self.records.fetch_add(new, Ordering::Relaxed);
        self.repeated.fetch_add(repeated, Ordering::Relaxed);
        Ok(Stored { new, repeated })
    }

    /// Notes that the records `[from, to)` of an epoch can no longer be had.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn lose(
        &self,
        server: &ServerName,
        epoch: Epoch,
        from: u64,
        to: u64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer_with_room()?;
        let known = {
            let index = self.read();
            let id = index.journals.find(server, epoch);
            id.is_some_and(|id| index.journals.state(id).lost.holds(from, to))
        };
        if known {
            return Ok(());
        }
        let mut bytes = Vec::new();
        frame::encode_gap(&mut bytes, server, epoch, from, to);
        writer
            .append(&bytes)
            .map_err(|error| writer.failed(error))?;
        self.write().lose(server, epoch, from, to);
        Ok(())
    }

    /// Takes spans. When it returns they are durable and in every answer. Exact repeats, of spans
    /// that are here or of each other, are counted and left out; spans that contradict another of
    /// their identity are kept. Callers at the same time share their syncs.
    ///
    /// # Errors
    /// When the files cannot be written, or the disk does not make them durable; the batch may be
    /// handed in again.
    pub fn take_spans(&self, spans: &[Span]) -> Result<TakenSpans, StoreError> {
        let mut taken = TakenSpans::default();
        let mut waits = Waits::default();
        for spans in spans.chunks(FRAME_SPANS) {
            self.append_spans(spans, &mut taken, &mut waits)?;
        }
        for at in waits.0 {
            self.make_durable(at)?;
        }
        self.spans_repeated
            .fetch_add(taken.repeated, Ordering::Relaxed);
        Ok(taken)
    }

    /// Makes everything that was taken durable.
    ///
    /// # Errors
    /// When the disk refuses. What was written since the last sync may be gone after a crash of
    /// the host; [`Store::positions`] of the next start tell what to fetch again. Called again it
    /// writes that again, if nothing was taken meanwhile.
    pub fn sync(&self) -> Result<(), StoreError> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync_once()
    }

    /// Whether something that was taken is not durable yet.
    pub fn unsynced(&self) -> bool {
        self.writer().unsynced()
    }

    /// Writes those spans that are new, as one frame if they fit, and notes what is to be waited
    /// for.
    fn append_spans(
        &self,
        spans: &[Span],
        taken: &mut TakenSpans,
        waits: &mut Waits,
    ) -> Result<(), StoreError> {
        // All that takes long is done before the writer is taken.
        let stored = StoredSpans::of(spans);
        let size = stored.contexts.len() + stored.bytes.len() + 4 * spans.len();
        if fits(size).is_err() && spans.len() > 1 {
            let (front, back) = spans.split_at(spans.len() / 2);
            self.append_spans(front, taken, waits)?;
            return self.append_spans(back, taken, waits);
        }
        fits(size)?;
        let contexts = Contexts::decode(&stored.contexts).expect("just written");
        let (batch, hashes) = {
            let index = self.read();
            let batch = Batch::new(contexts, index.spans.keys());
            let hashes = stored.spans.iter().map(|at| {
                let hash = batch.hash(&stored.bytes[at.clone()], index.spans.keys());
                hash.expect("just written")
            });
            let hashes: Vec<u64> = hashes.collect();
            (batch, hashes)
        };
        let mut writer = self.writer_with_room()?;
        let found = self.find(&batch, &stored, &hashes)?;
        let mut wanted = Vec::new();
        for (at, found) in found.iter().enumerate() {
            match found {
                Found::Repeat => taken.repeated += 1,
                Found::New => wanted.push(at),
                Found::Here(_, place) => match writer.durable(*place) {
                    Some(true) => taken.repeated += 1,
                    // Its first sender was told that it is not here for sure.
                    Some(false) => wanted.push(at),
                    None => {
                        taken.repeated += 1;
                        waits.add(*place);
                    }
                },
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(size + FRAME_BYTES);
        let parts = wanted
            .iter()
            .map(|&at| &stored.bytes[stored.spans[at].clone()]);
        let places = frame::encode_spans(&mut bytes, &stored.contexts, parts);
        let payload = writer
            .append(&bytes)
            .map_err(|error| writer.failed(error))?;
        let mut index = self.write();
        let number = index
            .spans
            .add_batch(payload.at(places.contexts, &stored.contexts));
        for (&at, start) in wanted.iter().zip(places.spans) {
            let place = payload.at(start, &stored.bytes[stored.spans[at].clone()]);
            match found[at] {
                Found::Here(row, _) => index.spans.move_to(row, place, number),
                _ => index.take_span(&spans[at], place, number, hashes[at]),
            }
        }
        taken.new += wanted.len() as u64;
        waits.add(payload);
        Ok(())
    }

    /// Which spans of a batch are here. The writer is held, so none comes meanwhile.
    fn find(
        &self,
        batch: &Batch,
        stored: &StoredSpans,
        hashes: &[u64],
    ) -> Result<Vec<Found>, StoreError> {
        let bytes = |at: usize| &stored.bytes[stored.spans[at].clone()];
        let mut earlier: HashMap<u64, Vec<usize>> = HashMap::with_capacity(hashes.len());
        let mut candidates = Vec::new();
        let mut found = Vec::with_capacity(hashes.len());
        {
            let index = self.read();
            for (at, hash) in hashes.iter().enumerate() {
                let same = earlier.entry(*hash).or_default();
                if same
                    .iter()
                    .any(|&other| batch.same(bytes(at), batch, bytes(other)))
                {
                    found.push(Found::Repeat);
                    continue;
                }
                same.push(at);
                found.push(Found::New);
                let rows = index.spans.with_hash(*hash);
                candidates.extend(rows.map(|row| {
                    let place = index.spans.place(&index.spans.rows[row as usize]);
                    (at, row, place)
                }));
            }
        }
        let mut known = Known::new(&self.files);
        let keys = self.read().spans.keys().clone();
        for (at, row, place) in candidates {
            let same = known.same(place, &keys, batch, bytes(at));
            if same.map_err(|source| self.unreadable(source))? {
                found[at] = Found::Here(row, place.at);
            }
        }
        Ok(found)
    }

    /// Waits until what lies there is durable, by another's sync or by one of its own.
    fn make_durable(&self, at: Location) -> Result<(), StoreError> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let durable = self.writer().durable(at);
        match durable {
            Some(true) => Ok(()),
            Some(false) => Err(self.writer().failed(io::Error::other(
                "a sync of the file failed before; send the batch again",
            ))),
            None => self.sync_once(),
        }
    }

    /// One sync, by who holds the right to.
    fn sync_once(&self) -> Result<(), StoreError> {
        let Some(syncing) = self.writer().begin_sync() else {
            return Ok(());
        };
        let result = syncing.run();
        let mut writer = self.writer();
        let ended = writer.end_sync(&syncing, result);
        ended.map_err(|error| writer.failed(error))
    }

    /// The writer, on a file that takes more.
    pub(super) fn writer_with_room(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let writer = self.writer();
        if !writer.is_full() {
            return Ok(writer);
        }
        drop(writer);
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.writer();
        if writer.is_full() {
            let rolled = writer.roll();
            rolled.map_err(|error| writer.failed(error))?;
        }
        Ok(writer)
    }
}

/// Where the last bytes lie, in each file, that a caller waits for.
#[derive(Debug, Default)]
struct Waits(Vec<Location>);

impl Waits {
    fn add(&mut self, at: Location) {
        match self.0.iter_mut().find(|known| known.segment == at.segment) {
            Some(known) => *known = (*known).max(at),
            None => self.0.push(at),
        }
    }
}

/// Whether a span of a batch is here.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// It repeats an earlier one of its batch.
    Repeat,
    New,
    /// In this row, which lies there.
    Here(Row, Location),
}

fn fits(bytes: usize) -> Result<(), StoreError> {
    if bytes > frame::PAYLOAD_BYTES_MAX - FRAME_BYTES {
        return Err(StoreError::TooLarge(bytes));
    }
    Ok(())
}
