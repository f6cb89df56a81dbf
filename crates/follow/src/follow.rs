//! From what the bus delivers to entries, each once for each step of its life.
//!
//! An entry comes as several records: its opening, its effect, its closing. A watcher wants it
//! once, as soon as it has come far enough for what it asks ([`Needs`]); so each time an entry
//! gets further it is handed on with the step it has reached. Records that come again are left
//! out by their positions, also over a restart: what this holds can be written and read back, and
//! [`Follow::positions`] tell the bus where to go on.
//!
//! Bounded: an entry whose closing never comes is given up when its server begins another epoch,
//! or when too many wait.

use std::collections::BTreeMap;

use bytes::Bytes;
use selvedge_bus::Batch;
use selvedge_entry::{Begins, Entry, Fold, Glance, Record};
use selvedge_filter::Needs;
use selvedge_identity::{Epoch, Position, ServerName};
use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, Place};

/// Entries of one epoch that may wait for their closing.
const OPEN_MAX: usize = 65_536;

/// An entry that got further.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// As it is now.
    pub entry: &'a Entry,
    /// How far it had come before; `None`: it is new.
    pub before: Option<Needs>,
    /// How far it has come.
    pub after: Needs,
}

impl Step<'_> {
    /// Whether this step is the one that makes the entry complete enough: it is so exactly once
    /// in an entry's life.
    #[must_use]
    pub fn completes(&self, needs: Needs) -> bool {
        self.before.is_none_or(|before| before < needs) && self.after >= needs
    }
}

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowCounts {
    /// Records taken.
    pub records: u64,
    /// Records that came again.
    pub repeated: u64,
    /// Records that this version cannot read.
    pub unreadable: u64,
    /// Records that can no longer be had.
    pub lost: u64,
    /// Entries given up before their end.
    pub unclosed: u64,
}

/// All journals, each as far as it was followed.
#[derive(Debug, Default)]
pub struct Follow {
    journals: BTreeMap<ServerName, Journal>,
    counts: FollowCounts,
}

/// A journal's newest epoch. Epochs come one after the other.
#[derive(Debug)]
struct Journal {
    epoch: Epoch,
    /// The next record wanted.
    next: u64,
    /// What records below this one make was told before: it is not told again.
    told: u64,
    fold: Fold,
    /// The entries in the fold, by their openings' sequences.
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    reached: Needs,
    /// Its records, to be written.
    records: Vec<(u64, Bytes)>,
}

impl Follow {
    /// The next record wanted of each journal, for the bus.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let each = self.journals.iter();
        each.map(|(server, journal)| Position {
            server: server.clone(),
            epoch: journal.epoch,
            sequence: journal.next,
        })
        .collect()
    }

    /// Goes on from a cursor: what follows it is told.
    #[must_use]
    pub fn at(cursor: &Cursor) -> Self {
        let mut follow = Self::default();
        for (server, place) in &cursor.journals {
            let mut journal = Journal::new(server, place.epoch);
            journal.next = place.from;
            journal.told = place.told;
            follow.journals.insert(server.clone(), journal);
        }
        follow
    }

    /// Where to go on after what has been told.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let each = self.journals.iter().map(|(server, journal)| {
            let open = journal.open.first_key_value();
            let told = journal.next.max(journal.told);
            let place = Place {
                epoch: journal.epoch,
                from: open.map_or(journal.next, |(opening, _)| *opening).min(told),
                told,
            };
            (server.clone(), place)
        });
        Cursor {
            journals: each.collect(),
        }
    }

    /// How far a journal was followed: its newest epoch, and the sequence after the last record
    /// that was told of.
    #[must_use]
    pub fn reached(&self, server: &ServerName) -> Option<(Epoch, u64)> {
        let journal = self.journals.get(server)?;
        Some((journal.epoch, journal.next.max(journal.told)))
    }

    /// What a journal's records before `told` make was told by an earlier life, which had come
    /// further than what it wrote: they are taken again, and not told again.
    pub fn was_told(&mut self, server: &ServerName, epoch: Epoch, told: u64) {
        if let Some(journal) = self.journal(server, epoch) {
            journal.told = journal.told.max(told);
        }
    }

    /// What became of the records so far.
    #[must_use]
    pub fn counts(&self) -> FollowCounts {
        self.counts
    }

    /// Takes a batch, and hands on each entry that got further.
    pub fn take(&mut self, batch: &Batch, each: impl FnMut(Step<'_>)) {
        self.take_some(batch, |_| true, each);
    }

    /// As [`Follow::take`], of entries whose beginning is wanted: of the others nothing is read.
    pub fn take_some(
        &mut self,
        batch: &Batch,
        wanted: impl Fn(&Begins<'_>) -> bool,
        mut each: impl FnMut(Step<'_>),
    ) {
        let Some(journal) = self.journal(&batch.server, batch.epoch) else {
            self.counts.repeated += batch.records.len() as u64;
            return;
        };
        let known = journal.next.saturating_sub(batch.first);
        let known = known.min(batch.records.len() as u64) as usize;
        journal.next = journal.next.max(batch.end());
        let mut counts = FollowCounts {
            repeated: known as u64,
            records: (batch.records.len() - known) as u64,
            ..FollowCounts::default()
        };
        for (index, bytes) in batch.records.iter().enumerate().skip(known) {
            let sequence = batch.first + index as u64;
            // Record 0 of an epoch is the journal's own.
            if sequence > 0 && !journal.record(sequence, bytes, &wanted, &mut each, &mut counts) {
                counts.unreadable += 1;
            }
        }
        self.counts.add(counts);
    }

    /// Records that can no longer be had.
    pub fn gap(&mut self, server: &ServerName, epoch: Epoch, from: u64, to: u64) {
        let Some(journal) = self.journal(server, epoch) else {
            return;
        };
        // One without a known end is the rest of an epoch: another follows.
        if to == u64::MAX {
            return;
        }
        let lost = to.saturating_sub(from.max(journal.next));
        journal.next = journal.next.max(to);
        self.counts.lost += lost;
    }

    /// The journal in this epoch; `None` if it has gone on to a later one.
    fn journal(&mut self, server: &ServerName, epoch: Epoch) -> Option<&mut Journal> {
        let journal = self
            .journals
            .entry(server.clone())
            .or_insert_with(|| Journal::new(server, epoch));
        if journal.epoch != epoch {
            // The random part tells apart two lives with one counter; the later one wins.
            if epoch.counter < journal.epoch.counter {
                return None;
            }
            self.counts.unclosed += journal.open.len() as u64;
            *journal = Journal::new(server, epoch);
        }
        Some(journal)
    }

    /// What it holds, to be written.
    #[must_use]
    pub fn saved(&self) -> SavedFollow {
        let each = self.journals.iter();
        SavedFollow {
            counts: self.counts,
            journals: each
                .map(|(server, journal)| SavedJournal {
                    server: server.clone(),
                    epoch: journal.epoch,
                    next: journal.next,
                    told: journal.told,
                    records: journal
                        .open
                        .values()
                        .flat_map(|open| &open.records)
                        .map(|(sequence, bytes)| (*sequence, bytes.to_vec()))
                        .collect(),
                })
                .collect(),
        }
    }

    /// Goes on from what was written.
    #[must_use]
    pub fn restore(saved: SavedFollow) -> Self {
        let mut follow = Self {
            counts: saved.counts,
            ..Self::default()
        };
        for saved in saved.journals {
            let mut journal = Journal::new(&saved.server, saved.epoch);
            journal.next = saved.next;
            let mut counts = FollowCounts::default();
            let mut records = saved.records;
            records.sort_unstable_by_key(|(sequence, _)| *sequence);
            for (sequence, bytes) in records {
                let bytes = Bytes::from(bytes);
                journal.record(sequence, &bytes, |_| true, |_| {}, &mut counts);
            }
            journal.told = saved.told;
            follow.journals.insert(saved.server, journal);
        }
        follow
    }
}

impl Journal {
    fn new(server: &ServerName, epoch: Epoch) -> Self {
        Self {
            epoch,
            next: 0,
            told: 0,
            fold: Fold::new(server.clone(), epoch),
            open: BTreeMap::new(),
        }
    }

    /// Takes a record; false if it cannot be read.
    fn record(
        &mut self,
        sequence: u64,
        bytes: &Bytes,
        wanted: impl Fn(&Begins<'_>) -> bool,
        mut each: impl FnMut(Step<'_>),
        counts: &mut FollowCounts,
    ) -> bool {
        // Of an entry that is not wanted, or whose opening was lost or given up, nothing is made.
        match Record::glance(bytes) {
            Ok(Glance::Begins(begins)) if !wanted(&begins) => return true,
            Ok(Glance::Continues { opening, .. }) if !self.open.contains_key(&opening) => {
                return true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
        let Ok(record) = Record::decode(bytes) else {
            return false;
        };
        let Some(opening) = self.fold.apply(sequence, record) else {
            return true;
        };
        let Some(entry) = self.fold.get(opening) else {
            return true;
        };
        let after = [Needs::Closing, Needs::Effect]
            .into_iter()
            .find(|step| step.met_by(entry))
            .unwrap_or(Needs::Opening);
        let before = self.open.get(&opening).map(|open| open.reached);
        if sequence >= self.told && before.is_none_or(|before| before < after) {
            each(Step {
                entry,
                before,
                after,
            });
        }
        if after == Needs::Closing {
            self.close(opening);
            return true;
        }
        let open = self.open.entry(opening).or_insert_with(|| Open {
            reached: after,
            records: Vec::new(),
        });
        open.reached = after;
        // A copy: the batch's buffer is not to be held for one record of it.
        open.records.push((sequence, Bytes::copy_from_slice(bytes)));
        if self.open.len() > OPEN_MAX
            && let Some((&oldest, _)) = self.open.first_key_value()
        {
            self.close(oldest);
            counts.unclosed += 1;
        }
        true
    }

    fn close(&mut self, opening: u64) {
        self.open.remove(&opening);
        self.fold.remove(opening);
    }
}

impl FollowCounts {
    fn add(&mut self, more: Self) {
        self.records += more.records;
        self.repeated += more.repeated;
        self.unreadable += more.unreadable;
        self.lost += more.lost;
        self.unclosed += more.unclosed;
    }
}

/// A [`Follow`] as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedFollow {
    counts: FollowCounts,
    journals: Vec<SavedJournal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedJournal {
    server: ServerName,
    epoch: Epoch,
    next: u64,
    told: u64,
    /// The records of entries that wait for their closing.
    records: Vec<(u64, Vec<u8>)>,
}
