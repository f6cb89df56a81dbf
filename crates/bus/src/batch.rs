//! What travels on the bus: runs of consecutive journal records.

use bytes::Bytes;
use selvedge_identity::{Epoch, Position, ServerName};

/// Consecutive records of one journal epoch, after their fdatasync (or of a volatile epoch). The
/// bus never looks into a record; record 0 of an epoch is the journal's own and passes like any
/// other.
///
/// Cloning copies no record bytes. Records of one batch may share one buffer, so whoever keeps a
/// few of them for long should copy those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose journal.
    pub server: ServerName,
    /// Which run of its writer.
    pub epoch: Epoch,
    /// The sequence of the first record.
    pub first: u64,
    /// The records, at sequences `first`, `first + 1`, and so on.
    pub records: Vec<Bytes>,
}

impl Batch {
    /// The sequence after the last record (saturating).
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.records.len() as u64)
    }

    /// What it holds, in bytes: the records and what keeping each of them costs.
    #[must_use]
    pub fn cost(&self) -> usize {
        const RECORD: usize = size_of::<Bytes>();
        self.records.iter().map(|r| r.len() + RECORD).sum()
    }

    /// The records at sequences from `from` up to `to` (exclusive), where it has them; `None` if
    /// it has none of these.
    #[must_use]
    pub fn slice(&self, from: u64, to: u64) -> Option<Batch> {
        let from = from.max(self.first);
        let to = to.min(self.end());
        if from >= to {
            return None;
        }
        let range = (from - self.first) as usize..(to - self.first) as usize;
        Some(Batch {
            server: self.server.clone(),
            epoch: self.epoch,
            first: from,
            records: self.records[range].to_vec(),
        })
    }

    /// The position of the record at index `index`.
    #[must_use]
    pub fn position(&self, index: usize) -> Position {
        Position {
            server: self.server.clone(),
            epoch: self.epoch,
            sequence: self.first.saturating_add(index as u64),
        }
    }
}

/// What a journal still has of one of its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Which epoch.
    pub epoch: Epoch,
    /// The first record that can still be read.
    pub first: u64,
    /// The sequence after the last durable record.
    pub end: u64,
}

/// Cuts a batch into parts that each cost at most `cost_max`, or hold one record.
pub(crate) fn split(batch: Batch, cost_max: usize) -> Vec<Batch> {
    if batch.cost() <= cost_max {
        return vec![batch];
    }
    let mut parts = Vec::new();
    let mut part = Batch {
        server: batch.server.clone(),
        epoch: batch.epoch,
        first: batch.first,
        records: Vec::new(),
    };
    let mut cost = 0;
    for (index, record) in batch.records.into_iter().enumerate() {
        let more = record.len() + size_of::<Bytes>();
        if cost + more > cost_max && !part.records.is_empty() {
            let first = batch.first.saturating_add(index as u64);
            let next = Batch {
                server: part.server.clone(),
                epoch: part.epoch,
                first,
                records: Vec::new(),
            };
            parts.push(std::mem::replace(&mut part, next));
            cost = 0;
        }
        cost += more;
        part.records.push(record);
    }
    parts.push(part);
    parts
}
