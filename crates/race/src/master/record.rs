//! Races as the master remembers them.

use std::collections::VecDeque;

use selvedge_clock::{Common, Nanos};

use crate::contest::{Call, Evidence, RaceId};
use crate::identifier::TransmitIdentifier;
use crate::wire::{Measured, Sent, Silence};

/// How far an answer of the replicas has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reports are awaited.
    Open,
    /// Somebody answered, or the master did.
    Closed,
}

/// One race.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) race: RaceId,
    pub(crate) call: Call,
    pub(crate) identifier: TransmitIdentifier,
    /// When the answers are due, by the common clock.
    pub(crate) instant: Common,
    pub(crate) delay: Nanos,
    /// Until then reports are awaited.
    pub(crate) until: Common,
    /// The replicas that it was handed to, by their place in the roster, and what they said.
    pub(crate) entered: Vec<(usize, Option<Result<Sent, Silence>>)>,
    pub(crate) stage: Stage,
    /// All were silent, and the master answered (or could not).
    pub(crate) by_master: bool,
    pub(crate) winner: Option<(String, Evidence)>,
    /// What our client measured.
    pub(crate) measured: Vec<Measured>,
    /// Where DNS sends that client.
    pub(crate) dns: Option<String>,
}

impl Record {
    /// Whether everybody has said that it is silent.
    pub(crate) fn all_silent(&self) -> bool {
        self.entered
            .iter()
            .all(|(_, report)| matches!(report, Some(Err(_))))
    }

    /// Whether somebody has answered.
    pub(crate) fn answered(&self) -> bool {
        self.entered
            .iter()
            .any(|(_, report)| matches!(report, Some(Ok(_))))
    }
}

/// The newest races.
#[derive(Debug)]
pub(crate) struct Records {
    races: VecDeque<Record>,
    kept: usize,
    /// From this place on there may be open ones.
    pub(crate) open: VecDeque<u64>,
}

impl Records {
    pub(crate) fn new(kept: usize) -> Self {
        Self {
            races: VecDeque::new(),
            kept: kept.max(1),
            open: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, record: Record) {
        self.open.push_back(record.race.sequence);
        self.races.push_back(record);
        while self.races.len() > self.kept {
            self.races.pop_front();
        }
    }

    /// They rise, but with gaps: probes take numbers too.
    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut Record> {
        let at = self
            .races
            .binary_search_by_key(&sequence, |record| record.race.sequence)
            .ok()?;
        self.races.get_mut(at)
    }

    /// The newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.races.iter().rev()
    }
}
