//! What the hub knows of one journal: its epochs and their ends, a ring of recent batches, its
//! owner. Pure state; the caller holds the lock and gives the time.
//!
//! The ring is only a cache: sorted, bounded in bytes, and allowed to have holes. What a
//! subscriber needs and the ring has not is read from the owner.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};
use tokio::time::Instant;

use crate::{Batch, Extent, Holders, Source, Terms};

/// A batch as all subscribers share it, with its encoded form once a link needed one.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) batch: Batch,
    /// The body of a batch frame and the checksum over it.
    pub(crate) body: OnceLock<(Bytes, u32)>,
}

impl Shared {
    pub(crate) fn new(batch: Batch) -> Arc<Self> {
        Arc::new(Self {
            batch,
            body: OnceLock::new(),
        })
    }

    /// A batch that came in a frame, whose body can go out again as it is.
    pub(crate) fn with_body(batch: Batch, body: Bytes, body_crc: u32) -> Arc<Self> {
        Arc::new(Self {
            batch,
            body: OnceLock::from((body, body_crc)),
        })
    }
}

#[derive(Debug)]
pub(crate) struct RingItem {
    pub(crate) shared: Arc<Shared>,
    pub(crate) announced: Instant,
}

/// One epoch, as far as the hub knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) epoch: Epoch,
    /// The first record that the owner had when it last said.
    pub(crate) first: u64,
    /// After the last record that was announced or that the owner said it has.
    pub(crate) end: u64,
    /// Whether the owner, when it last said, had it at all.
    pub(crate) at_owner: bool,
    /// From here on the owner said, at `extended_at`, that it has more than was announced; what is
    /// before was known earlier.
    pub(crate) extended_from: u64,
    pub(crate) extended_at: Instant,
}

impl Known {
    /// Of an epoch that nothing is known of yet.
    fn unheard(epoch: Epoch, now: Instant) -> Self {
        Self {
            epoch,
            first: 0,
            end: 0,
            at_owner: true,
            extended_from: 0,
            extended_at: now,
        }
    }
}

pub(crate) struct Owner {
    /// Tells this ownership from earlier and later ones.
    pub(crate) generation: u64,
    /// The owner's link, for people.
    pub(crate) link: String,
    /// The program behind the link: the same one may take its name over from a link of its own
    /// that the hub does not know to be dead yet.
    pub(crate) instance: Option<[u8; 16]>,
    pub(crate) source: Arc<dyn Source>,
}

/// How far a subscriber may go in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// As far as it goes.
    None,
    /// Up to this sequence (exclusive) of the epoch of this index.
    At(usize, u64),
    /// Nowhere.
    Nothing,
}

impl Bound {
    /// The end of an epoch as far as the bound lets it be seen, and whether what lies behind that
    /// end may be seen too.
    pub(crate) fn end(self, index: usize, end: u64) -> (u64, bool) {
        match self {
            Self::None => (end, true),
            Self::At(at, _) if index < at => (end, true),
            Self::At(at, bound) if index == at => (end.min(bound), false),
            Self::At(..) | Self::Nothing => (0, false),
        }
    }
}

pub(crate) struct JournalState {
    pub(crate) server: ServerName,
    /// In the order of writing.
    pub(crate) epochs: Vec<Known>,
    /// Sorted by (epoch, sequence), without overlaps.
    pub(crate) ring: VecDeque<RingItem>,
    ring_cost: usize,
    pub(crate) owner: Option<Owner>,
    /// What reads from where another bus keeps records, the owner included: whether the owner is
    /// present or not.
    pub(crate) kept: Option<Arc<dyn Source>>,
    /// How the owner hands it out, now or when it was last there.
    pub(crate) terms: Terms,
    /// How far the owner has reported it, if its terms hold anything back.
    reported: Option<(Epoch, u64)>,
    /// How far holders hold it: the sequence after the last record.
    pub(crate) held: BTreeMap<ServerName, (Epoch, u64)>,
    /// What its owner was told of them.
    pub(crate) told: Option<Holders>,
    /// Grows with every change of presence or of the present owner's epoch.
    pub(crate) presence: u64,
    /// Grows with every change: a subscriber that found nothing looks again only after one.
    pub(crate) changes: u64,
}

impl JournalState {
    pub(crate) fn new(server: ServerName) -> Self {
        Self {
            server,
            epochs: Vec::new(),
            ring: VecDeque::new(),
            ring_cost: 0,
            owner: None,
            kept: None,
            terms: Terms::default(),
            reported: None,
            held: BTreeMap::new(),
            told: None,
            presence: 0,
            changes: 1,
        }
    }

    /// Someone becomes the owner, or nobody is any more.
    pub(crate) fn set_owner(&mut self, owner: Option<Owner>) {
        if let Some(owner) = &owner {
            self.terms = owner.source.terms();
            self.reported = owner.source.reported();
        }
        self.owner = owner;
        self.told = None;
        self.presence += 1;
        self.changes += 1;
    }

    /// The owner reports everything up to `end` of `epoch`.
    pub(crate) fn report(&mut self, epoch: Epoch, end: u64) {
        self.reported = Some((epoch, end));
        self.changes += 1;
    }

    /// Where records that are not in the ring are read.
    pub(crate) fn source(&self) -> Option<&Arc<dyn Source>> {
        let owner = self.owner.as_ref().map(|owner| &owner.source);
        self.kept.as_ref().or(owner)
    }

    /// Hears that an epoch goes up to `end`, without its records.
    #[cfg(feature = "jetstream")]
    pub(crate) fn extend(&mut self, epoch: Epoch, end: u64, now: Instant) {
        self.changes += 1;
        let known = match self.epochs.iter_mut().rfind(|known| known.epoch == epoch) {
            Some(known) => known,
            None => {
                self.presence += 1;
                self.epochs.push(Known::unheard(epoch, now));
                let last = self.epochs.len() - 1;
                &mut self.epochs[last]
            }
        };
        if known.end < end {
            known.extended_from = known.end;
            known.extended_at = now;
            known.end = end;
        }
    }

    /// How far subscribers who report may go.
    pub(crate) fn bound(&self) -> Bound {
        if !self.terms.mode.holds_back() {
            return Bound::None;
        }
        let place = |(epoch, end)| Some(Bound::At(self.index_of(epoch)?, end));
        self.reported.and_then(place).unwrap_or(Bound::Nothing)
    }

    /// Whether this is where the bound is.
    pub(crate) fn is_reported_to(&self, bound: Bound, epoch: Epoch, end: u64) -> bool {
        matches!(bound, Bound::At(..)) && self.reported == Some((epoch, end))
    }

    /// The epoch being written, if its writer is present.
    pub(crate) fn present_epoch(&self) -> Option<Epoch> {
        self.owner.as_ref()?;
        self.epochs.last().map(|known| known.epoch)
    }

    /// Where an epoch stands in the order of writing. Nearly always the last, so searched from
    /// the back.
    pub(crate) fn index_of(&self, epoch: Epoch) -> Option<usize> {
        self.epochs.iter().rposition(|known| known.epoch == epoch)
    }

    /// Takes what the owner says it has. Epochs that only the hub knows (past retention, lost with
    /// a disk, volatile) keep their place behind the one they followed.
    pub(crate) fn merge(&mut self, extents: &[Extent], now: Instant) {
        self.changes += 1;
        let before = self.epochs.last().map(|known| known.epoch);
        let mut merged: Vec<Known> = Vec::with_capacity(extents.len() + 1);
        for extent in extents {
            if extent.first > extent.end || merged.iter().any(|k| k.epoch == extent.epoch) {
                continue; // a source's mistake; the rest of what it says is still of use
            }
            let old = self.index_of(extent.epoch).map(|index| self.epochs[index]);
            let old = old.unwrap_or(Known::unheard(extent.epoch, now));
            let mut known = Known {
                first: extent.first,
                end: extent.end.max(old.end),
                at_owner: true,
                ..old
            };
            if old.end < extent.end {
                known.extended_from = old.end;
                known.extended_at = now;
            }
            merged.push(known);
        }
        let mut place = 0;
        for old in &self.epochs {
            match merged.iter().position(|k| k.epoch == old.epoch) {
                Some(index) => place = index + 1,
                None => {
                    merged.insert(
                        place,
                        Known {
                            at_owner: false,
                            ..*old
                        },
                    );
                    place += 1;
                }
            }
        }
        self.epochs = merged;
        if self.epochs.last().map(|known| known.epoch) != before {
            self.presence += 1;
        }
        debug_assert!(self.ring_is_sorted());
    }

    /// Takes an announced batch. What the ring has already, or could only hold out of order, is
    /// left out.
    pub(crate) fn announce(&mut self, shared: &Arc<Shared>, now: Instant, ring_bytes_max: usize) {
        self.changes += 1;
        let batch = &shared.batch;
        let index = match self.index_of(batch.epoch) {
            Some(index) => index,
            None => {
                self.epochs.push(Known::unheard(batch.epoch, now));
                self.presence += 1;
                self.epochs.len() - 1
            }
        };
        let known = &mut self.epochs[index];
        known.end = known.end.max(batch.end());
        known.at_owner = true;
        let shared = match self.ring.back().map(|last| &last.shared.batch) {
            None => Arc::clone(shared),
            Some(last) if last.epoch == batch.epoch => {
                if batch.first >= last.end() {
                    Arc::clone(shared)
                } else {
                    match batch.slice(last.end(), u64::MAX) {
                        Some(rest) => Shared::new(rest),
                        None => return,
                    }
                }
            }
            Some(last) => match self.index_of(last.epoch) {
                Some(last) if last > index => return,
                _ => Arc::clone(shared),
            },
        };
        self.ring_cost += shared.batch.cost();
        self.ring.push_back(RingItem {
            shared,
            announced: now,
        });
        while self.ring_cost > ring_bytes_max && self.ring.len() > 1 {
            if let Some(oldest) = self.ring.pop_front() {
                self.ring_cost -= oldest.shared.batch.cost();
            }
        }
    }

    /// The first batch in the ring that ends after a position.
    pub(crate) fn ring_after(&self, index: usize, sequence: u64) -> Option<&RingItem> {
        let at = self.ring.partition_point(|item| {
            let batch = &item.shared.batch;
            match self.index_of(batch.epoch) {
                Some(other) if other == index => batch.end() <= sequence,
                Some(other) => other < index,
                None => true,
            }
        });
        self.ring.get(at)
    }

    /// What the ring holds, in bytes.
    pub(crate) fn ring_cost(&self) -> usize {
        self.ring_cost
    }

    fn ring_is_sorted(&self) -> bool {
        let key = |item: &RingItem| {
            let batch = &item.shared.batch;
            (self.index_of(batch.epoch), batch.first)
        };
        self.ring.iter().is_sorted_by_key(key)
    }
}
