//! Answers a question with a page of the journal (D7, on demand).
//!
//! A page looks through a bounded part of the journal and gives what it found there, what it
//! looked through, and the question that goes on behind it. Memory is a page's, whatever the
//! journal's size; the journal's writer is not held up, and between two reads others run.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem::Finder;
use selvedge_bus::{Batch, Extent, Found, SourceError};
use selvedge_entry::{OPEN_MAX, Question, Record};
use selvedge_identity::{Epoch, ServerName};
use selvedge_journal::{Delivery, Gap, Journal};
use tokio::time::Instant;

use crate::metrics::{NodeMetrics, add};

/// Bytes of the journal that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes of records that one page looks through.
const LOOK_BYTES_MAX: usize = 64 << 20;
/// Bytes of records that one page gives; the last may go over it.
const FOUND_BYTES_MAX: usize = 512 << 10;
/// A record that no frame of the bus holds beside the rest of a page. It is told to be lost, as on
/// the bus.
const RECORD_BYTES_MAX: usize = 15 << 20;
/// How long one page looks; far below what the network waits for an answer.
const LOOK_TIME_MAX: Duration = Duration::from_millis(500);

/// One page.
pub(super) async fn page(
    server: &ServerName,
    journal: &Journal,
    metrics: &NodeMetrics,
    question: &[u8],
) -> Result<Found, SourceError> {
    let question = Question::decode(question).map_err(|error| SourceError(error.to_string()))?;
    let until = question
        .until
        .unwrap_or_else(|| journal.durable_watermark());
    let mut reader = journal.reader(question.from);
    let began = Instant::now();
    let mut looking = Looking::new(server, &question);
    let more = loop {
        if looking.bytes >= LOOK_BYTES_MAX
            || looking.found_bytes >= FOUND_BYTES_MAX
            || began.elapsed() >= LOOK_TIME_MAX
        {
            break true;
        }
        let delivery = reader
            .try_next(READ_BYTES)
            .map_err(|error| SourceError(error.to_string()))?;
        let ended = match delivery {
            Some(Delivery::Batch(batch)) => {
                looking.take(batch.epoch, batch.first, &batch.records, until)
            }
            Some(Delivery::Gap(gap)) => {
                looking.miss(&gap);
                false
            }
            Some(Delivery::Closed) | None => true,
        };
        if ended || reader.position().is_some_and(|at| at == until) {
            break false;
        }
        tokio::task::yield_now().await;
    };
    add(&metrics.records_found, looking.count);
    let (mut found, open) = looking.done();
    if more {
        let next = Question {
            wanted: question.wanted,
            from: reader.position(),
            until: Some(until),
            open,
        };
        found.next = Some(next.encode().into());
    }
    Ok(found)
}

/// A page in the making.
struct Looking<'a> {
    server: &'a ServerName,
    question: &'a Question,
    needle: Option<Finder<'a>>,
    /// The epoch that `open` is of.
    epoch: Option<Epoch>,
    /// Openings of wanted entries that have not ended.
    open: BTreeSet<u64>,
    found: Found,
    count: usize,
    /// Bytes looked through, and given.
    bytes: usize,
    found_bytes: usize,
}

impl<'a> Looking<'a> {
    fn new(server: &'a ServerName, question: &'a Question) -> Self {
        Self {
            server,
            question,
            needle: question.wanted.needle().map(Finder::new),
            epoch: question.from.map(|(epoch, _)| epoch),
            open: question.open.iter().copied().collect(),
            found: Found::default(),
            count: 0,
            bytes: 0,
            found_bytes: 0,
        }
    }

    /// Looks through records; answers whether the end has been reached.
    fn take(&mut self, epoch: Epoch, first: u64, records: &[Bytes], until: (Epoch, u64)) -> bool {
        self.enter(epoch);
        let end = first + records.len() as u64;
        let stop = if epoch == until.0 {
            end.min(until.1)
        } else {
            end
        };
        for (sequence, record) in (first..stop).zip(records) {
            self.bytes += record.len();
            if self.wants(sequence, record) {
                self.give(epoch, sequence, record);
            }
        }
        if first < stop {
            extend(&mut self.found.looked, epoch, first, stop);
        }
        stop < end
    }

    /// Notes what the journal no longer has.
    fn miss(&mut self, gap: &Gap) {
        self.enter(gap.epoch);
        extend(&mut self.found.looked, gap.epoch, gap.from, gap.to);
        extend(&mut self.found.gaps, gap.epoch, gap.from, gap.to);
    }

    fn enter(&mut self, epoch: Epoch) {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.open.clear();
        }
    }

    fn wants(&mut self, sequence: u64, record: &Bytes) -> bool {
        // An epoch's own first record says how it began and where the one before it ended.
        if record.first() == Some(&0) {
            return true;
        }
        let opens = selvedge_entry::Wanted::may_open(record);
        let unlikely = match &self.needle {
            Some(needle) if opens => needle.find(record).is_none(),
            _ => !opens && self.open.is_empty(),
        };
        if unlikely {
            return false;
        }
        match Record::decode(record) {
            Ok(Record::Opening(opening)) => {
                let wanted = self.question.wanted.holds(&opening);
                if wanted {
                    self.open.insert(sequence);
                    if self.open.len() > OPEN_MAX {
                        self.open.pop_first();
                    }
                }
                wanted
            }
            Ok(Record::Whole(opening, _)) => self.question.wanted.holds(&opening),
            Ok(Record::Effect { opening, .. } | Record::Broadcast { opening, .. }) => {
                self.open.contains(&opening)
            }
            Ok(Record::Closing { opening, .. }) => self.open.remove(&opening),
            Err(_) => false,
        }
    }

    fn give(&mut self, epoch: Epoch, sequence: u64, record: &Bytes) {
        if record.len() > RECORD_BYTES_MAX {
            let server = self.server;
            tracing::warn!(%server, %epoch, sequence, "record too long for a bus link");
            extend(&mut self.found.gaps, epoch, sequence, sequence + 1);
            return;
        }
        self.count += 1;
        self.found_bytes += record.len();
        // A record is a slice of the whole group that it was read with.
        let record = Bytes::copy_from_slice(record);
        match self.found.batches.last_mut() {
            Some(last) if last.epoch == epoch && last.end() == sequence => {
                last.records.push(record);
            }
            _ => self.found.batches.push(Batch {
                server: self.server.clone(),
                epoch,
                first: sequence,
                records: vec![record],
            }),
        }
    }

    fn done(self) -> (Found, Vec<u64>) {
        (self.found, self.open.into_iter().collect())
    }
}

/// Adds a run to a list of them.
fn extend(extents: &mut Vec<Extent>, epoch: Epoch, first: u64, end: u64) {
    match extents.last_mut() {
        Some(last) if last.epoch == epoch && last.end == first => last.end = end,
        _ => extents.push(Extent { epoch, first, end }),
    }
}
