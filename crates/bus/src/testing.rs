//! A journal in memory, for tests of the bus and of what stands on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};

use crate::{Batch, Extent, Found, Holders, Source, SourceError, SourceRead, Terms};

/// A [`Source`] that keeps its records in memory. It can begin epochs, forget its oldest records
/// as retention would, and fail.
#[derive(Debug)]
pub struct MemoryJournal {
    server: ServerName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    epochs: Vec<EpochRecords>,
    failing: bool,
    reads: u64,
    terms: Terms,
    reported: Option<(Epoch, u64)>,
    taken: Option<(Epoch, u64)>,
    stored: Option<(Epoch, u64)>,
    holders: Holders,
}

#[derive(Debug)]
struct EpochRecords {
    epoch: Epoch,
    first: u64,
    records: Vec<Bytes>,
}

impl MemoryJournal {
    /// A journal with its first epoch, which holds one record.
    ///
    /// # Panics
    /// If `server` is no server name.
    #[must_use]
    pub fn new(server: &str) -> Self {
        let journal = Self {
            server: ServerName::new(server).expect("a server name"),
            state: Mutex::default(),
        };
        journal.begin_epoch();
        journal
    }

    /// Begins an epoch, with one record as a journal's own: the batch to announce.
    pub fn begin_epoch(&self) -> Batch {
        {
            let mut state = self.state();
            let counter = state.epochs.last().map_or(1, |last| last.epoch.counter + 1);
            state.epochs.push(EpochRecords {
                epoch: Epoch {
                    counter,
                    random: 0x5e1e_0000 + u64::from(counter),
                },
                first: 0,
                records: Vec::new(),
            });
        }
        self.append([Bytes::from_static(b"\0epoch")])
    }

    /// Writes records: the batch to announce.
    pub fn append(&self, records: impl IntoIterator<Item = Bytes>) -> Batch {
        let mut state = self.state();
        let epoch = state.epochs.last_mut().expect("an epoch");
        let first = epoch.first + epoch.records.len() as u64;
        let records: Vec<Bytes> = records.into_iter().collect();
        epoch.records.extend(records.iter().cloned());
        Batch {
            server: self.server.clone(),
            epoch: epoch.epoch,
            first,
            records,
        }
    }

    /// Writes `count` records that each tell their own position.
    pub fn append_numbered(&self, count: usize) -> Batch {
        let (epoch, next) = self.next();
        self.append((next..next + count as u64).map(|s| Bytes::from(format!("{epoch}/{s}"))))
    }

    /// The epoch being written, and the next sequence.
    #[must_use]
    pub fn next(&self) -> (Epoch, u64) {
        let state = self.state();
        let last = state.epochs.last().expect("an epoch");
        (last.epoch, last.first + last.records.len() as u64)
    }

    /// Forgets the records of `epoch` before `sequence`, as retention does.
    pub fn forget_before(&self, epoch: Epoch, sequence: u64) {
        let mut state = self.state();
        if let Some(held) = state.epochs.iter_mut().find(|held| held.epoch == epoch) {
            let count = sequence.saturating_sub(held.first) as usize;
            held.records.drain(..count.min(held.records.len()));
            held.first = held.first.max(sequence);
        }
    }

    /// Loses the records of the epoch being written from `sequence` on, as a crash of one that
    /// does not wait for the disk.
    pub fn lose_from(&self, sequence: u64) {
        let mut state = self.state();
        let last = state.epochs.last_mut().expect("an epoch");
        last.records
            .truncate(sequence.saturating_sub(last.first) as usize);
    }

    /// Forgets a whole epoch.
    pub fn forget_epoch(&self, epoch: Epoch) {
        self.state().epochs.retain(|held| held.epoch != epoch);
    }

    /// Makes reads fail, or work again.
    pub fn set_failing(&self, failing: bool) {
        self.state().failing = failing;
    }

    /// Hands itself out so; to be called before it joins.
    pub fn set_terms(&self, terms: Terms) {
        self.state().terms = terms;
    }

    /// Reports everything that it holds now: up to where.
    pub fn report(&self) -> (Epoch, u64) {
        let end = self.next();
        self.state().reported = Some(end);
        end
    }

    /// How far it was told that the bus has stored it.
    #[must_use]
    pub fn stored_to(&self) -> Option<(Epoch, u64)> {
        self.state().stored
    }

    /// The report that it was told to be taken.
    #[must_use]
    pub fn report_taken(&self) -> Option<(Epoch, u64)> {
        self.state().taken
    }

    /// How far others hold it, as it was told last.
    #[must_use]
    pub fn holders(&self) -> Holders {
        self.state().holders
    }

    /// How often it was read.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for MemoryJournal {
    fn server(&self) -> ServerName {
        self.server.clone()
    }

    fn epochs(&self) -> Vec<Extent> {
        let extent = |held: &EpochRecords| Extent {
            epoch: held.epoch,
            first: held.first,
            end: held.first + held.records.len() as u64,
        };
        self.state().epochs.iter().map(extent).collect()
    }

    async fn read(
        &self,
        epoch: Epoch,
        from: u64,
        bytes_max: usize,
    ) -> Result<SourceRead, SourceError> {
        let mut state = self.state();
        state.reads += 1;
        if state.failing {
            return Err(SourceError("told to fail".to_owned()));
        }
        let Some(held) = state.epochs.iter().find(|held| held.epoch == epoch) else {
            return Ok(SourceRead::End);
        };
        if from < held.first {
            return Ok(SourceRead::Gap { to: held.first });
        }
        let rest = held.records.get((from - held.first) as usize..);
        let mut bytes = 0;
        let records: Vec<Bytes> = rest
            .unwrap_or_default()
            .iter()
            .take_while(|record| {
                let fits = bytes == 0 || bytes + record.len() <= bytes_max;
                bytes += record.len().max(1);
                fits
            })
            .cloned()
            .collect();
        if records.is_empty() {
            return Ok(SourceRead::End);
        }
        Ok(SourceRead::Batch(Batch {
            server: self.server.clone(),
            epoch,
            first: from,
            records,
        }))
    }

    fn terms(&self) -> Terms {
        self.state().terms
    }

    fn reported(&self) -> Option<(Epoch, u64)> {
        self.state().reported
    }

    fn taken(&self, epoch: Epoch, end: u64) {
        self.state().taken = Some((epoch, end));
    }

    fn stored(&self, epoch: Epoch, end: u64) {
        self.state().stored = Some((epoch, end));
    }

    fn held(&self, holders: Holders) {
        self.state().holders = holders;
    }

    /// Finds the records that end in the question, in one page.
    async fn find(&self, question: Bytes) -> Result<Found, SourceError> {
        let state = self.state();
        if state.failing {
            return Err(SourceError("told to fail".to_owned()));
        }
        let mut found = Found::default();
        for held in &state.epochs {
            found.looked.push(Extent {
                epoch: held.epoch,
                first: held.first,
                end: held.first + held.records.len() as u64,
            });
            let wanted = (held.first..).zip(&held.records);
            for (first, record) in wanted.filter(|(_, record)| record.ends_with(&question)) {
                found.batches.push(Batch {
                    server: self.server.clone(),
                    epoch: held.epoch,
                    first,
                    records: vec![record.clone()],
                });
            }
        }
        Ok(found)
    }
}
