//! Where a subscriber stands in one journal, and what it gets next. Pure.
//!
//! The rule: a cursor walks the journal's epochs in the order of writing and each epoch's
//! sequences from first to end. What it meets is either in the ring (delivered), or at the owner
//! (read from there), or nowhere any more (a gap), or not there yet (wait).

use std::sync::Arc;
use std::time::Duration;

use selvedge_identity::Epoch;
use tokio::time::Instant;

use super::journal::{Bound, JournalState, Shared};
use crate::Event;

/// Where a subscriber stands in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere yet; begins at the oldest record that the owner has.
    Oldest,
    /// Nowhere yet; begins with the oldest epoch that the owner has: what is gone of it is a gap.
    First,
    /// Nowhere yet; begins at the first record of the epoch being written.
    Epoch,
    /// Resumes at a position that the hub has not looked up yet.
    Named(Epoch, u64),
    /// The next record wanted.
    At(Epoch, u64),
}

/// What a subscriber gets next of a journal.
#[derive(Debug)]
pub(crate) enum Step {
    /// A batch of the ring, all of it.
    Whole(Arc<Shared>),
    /// A batch of the ring, from this sequence on and before that one.
    Part(Arc<Shared>, u64, u64),
    /// Records that are nowhere any more.
    Gap { epoch: Epoch, from: u64, to: u64 },
    /// What was asked for is beyond what is known of the epoch being written. It may yet come: what
    /// the subscriber had, it may have had from elsewhere.
    Ahead { epoch: Epoch, asked: u64, end: u64 },
    /// To be read from the owner: records from `from` on, and none at or after `limit`.
    Refill { epoch: Epoch, from: u64, limit: u64 },
    /// Nothing before this instant.
    Due(Instant),
    /// Nothing until something changes.
    Idle,
}

impl JournalState {
    /// Takes one step from `place`, which moves on behind what is delivered or reported missing;
    /// before a refill it stays, and the result moves it. Nothing at or behind `bound` is given.
    pub(crate) fn step(
        &self,
        place: &mut Place,
        now: Instant,
        delay: Duration,
        bound: Bound,
    ) -> Step {
        if bound == Bound::Nothing {
            return Step::Idle;
        }
        if let Some(step) = self.settle(place) {
            return step;
        }
        let Place::At(mut epoch, mut sequence) = *place else {
            return Step::Idle;
        };
        let Some(mut index) = self.index_of(epoch) else {
            return Step::Idle;
        };
        loop {
            let known = self.epochs[index];
            let (end, goes_on) = bound.end(index, known.end);
            let mut limit = end;
            if let Some(item) = self.ring_after(index, sequence) {
                let batch = &item.shared.batch;
                if batch.epoch == epoch {
                    if batch.first <= sequence && sequence < end {
                        let due = item.announced + delay;
                        if due > now {
                            *place = Place::At(epoch, sequence);
                            return Step::Due(due);
                        }
                        let to = batch.end().min(end);
                        *place = Place::At(epoch, to);
                        let shared = Arc::clone(&item.shared);
                        return if batch.first == sequence && batch.end() == to {
                            Step::Whole(shared)
                        } else {
                            Step::Part(shared, sequence, to)
                        };
                    }
                    limit = batch.first.min(end);
                }
            }
            if sequence < limit {
                // What another bus keeps may be older than what the owner has.
                let had_from = match (&self.kept, known.at_owner) {
                    (Some(_), _) => 0,
                    (None, true) => known.first,
                    (None, false) => limit,
                };
                if sequence < had_from {
                    let to = had_from.min(limit);
                    *place = Place::At(epoch, to);
                    return Step::Gap {
                        epoch,
                        from: sequence,
                        to,
                    };
                }
                *place = Place::At(epoch, sequence);
                if self.source().is_none() {
                    return Step::Idle;
                }
                let due = known.extended_at + delay;
                if due > now {
                    limit = limit.min(known.extended_from);
                    if sequence >= limit {
                        return Step::Due(due);
                    }
                }
                return Step::Refill {
                    epoch,
                    from: sequence,
                    limit,
                };
            }
            let next = self.epochs.get(index + 1).filter(|_| goes_on);
            let Some(next) = next else {
                *place = Place::At(epoch, sequence);
                return Step::Idle;
            };
            index += 1;
            epoch = next.epoch;
            sequence = 0;
        }
    }

    /// Turns a place that was asked for into a position, once the journal's epochs are known.
    fn settle(&self, place: &mut Place) -> Option<Step> {
        let (Some(oldest), Some(newest)) = (self.epochs.first(), self.epochs.last()) else {
            return (!matches!(place, Place::At(..))).then_some(Step::Idle);
        };
        match *place {
            Place::At(..) => {}
            Place::Oldest => *place = Place::At(oldest.epoch, oldest.first),
            Place::First => *place = Place::At(oldest.epoch, 0),
            Place::Epoch => *place = Place::At(newest.epoch, newest.first),
            Place::Named(epoch, sequence) if self.index_of(epoch).is_some() => {
                let ahead = epoch == newest.epoch && sequence > newest.end;
                *place = Place::At(epoch, sequence);
                if ahead && sequence < Event::UNKNOWN_END {
                    return Some(Step::Ahead {
                        epoch,
                        asked: sequence,
                        end: newest.end,
                    });
                }
            }
            Place::Named(epoch, sequence) => {
                // The owner no longer knows it: go on with the epoch after it. A counter that is
                // nowhere surpassed means that the counting began anew (a lost disk).
                let next = self
                    .epochs
                    .iter()
                    .find(|known| known.epoch.counter > epoch.counter)
                    .unwrap_or(oldest);
                *place = Place::At(next.epoch, 0);
                if sequence < Event::UNKNOWN_END {
                    return Some(Step::Gap {
                        epoch,
                        from: sequence,
                        to: Event::UNKNOWN_END,
                    });
                }
            }
        }
        None
    }

    /// Whether the source's word that an epoch holds nothing at a position is final: the epoch
    /// has a successor. (Of the epoch being written, more may be on its way.)
    pub(crate) fn has_ended(&self, epoch: Epoch) -> bool {
        self.epochs.last().is_some_and(|known| known.epoch != epoch)
    }
}
