//! What is known of each server's journal: its epochs, what was received of them, what is lost.

use std::collections::{BTreeMap, HashMap};

use selvedge_entry::Record;
use selvedge_identity::{Epoch, Position, ServerName};
use selvedge_journal::EpochStart;

use super::index::{Placed, Row};
use super::ranges::Ranges;

/// The number of a (server, epoch).
pub(crate) type EpochId = u32;

/// One epoch of one server's journal.
#[derive(Debug)]
pub(crate) struct EpochState {
    pub(crate) server: ServerName,
    pub(crate) epoch: Epoch,
    pub(crate) received: Ranges,
    /// Declared lost: past retention at the owner.
    pub(crate) lost: Ranges,
    /// Looked through by the owner when it was asked for something: what is not here of these was
    /// not asked for, and is kept there.
    pub(crate) passed_over: Ranges,
    /// What its first record says, once that is known.
    pub(crate) start: Option<EpochStart>,
    /// Entries whose records may still come, by the opening's sequence.
    open: HashMap<u64, Row>,
    /// Records that came before their opening.
    waiting: HashMap<u64, Vec<(Record, Placed)>>,
}

/// All journals.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    epochs: Vec<EpochState>,
    servers: BTreeMap<ServerName, BTreeMap<Epoch, EpochId>>,
}

impl Journals {
    /// The number of an epoch, a new one for a new epoch.
    pub(crate) fn intern(&mut self, server: &ServerName, epoch: Epoch) -> EpochId {
        if let Some(id) = self.find(server, epoch) {
            return id;
        }
        let id = self.epochs.len() as EpochId;
        self.epochs.push(EpochState {
            server: server.clone(),
            epoch,
            received: Ranges::default(),
            lost: Ranges::default(),
            passed_over: Ranges::default(),
            start: None,
            open: HashMap::new(),
            waiting: HashMap::new(),
        });
        self.servers
            .entry(server.clone())
            .or_default()
            .insert(epoch, id);
        id
    }

    /// Notes an epoch's first record. The epoch before that it names is known from now on, also
    /// where nothing of it is here.
    pub(crate) fn begin(&mut self, id: EpochId, start: EpochStart) {
        let server = self.state(id).server.clone();
        if let Some((previous, _)) = start.previous {
            self.intern(&server, previous);
        }
        self.state_mut(id).start = Some(start);
    }

    /// The number of a known epoch.
    pub(crate) fn find(&self, server: &ServerName, epoch: Epoch) -> Option<EpochId> {
        self.servers.get(server)?.get(&epoch).copied()
    }

    /// Whose epoch it is.
    pub(crate) fn name(&self, id: EpochId) -> (&ServerName, Epoch) {
        let state = &self.epochs[id as usize];
        (&state.server, state.epoch)
    }

    /// The state of an epoch.
    pub(crate) fn state(&self, id: EpochId) -> &EpochState {
        &self.epochs[id as usize]
    }

    /// The state of an epoch, to change it.
    pub(crate) fn state_mut(&mut self, id: EpochId) -> &mut EpochState {
        &mut self.epochs[id as usize]
    }

    /// Every server with its epochs, oldest first.
    pub(crate) fn servers(
        &self,
    ) -> impl Iterator<Item = (&ServerName, impl Iterator<Item = &EpochState>)> {
        self.servers
            .iter()
            .map(|(server, epochs)| (server, epochs.values().map(|id| self.state(*id))))
    }

    /// Where to resume each journal: at the first record that is neither here nor declared lost,
    /// or may be there. Not named is a journal of which there may be epochs before those known:
    /// it is to be had from its oldest.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.servers()
            .filter_map(|(server, epochs)| {
                let epochs: Vec<&EpochState> = epochs.collect();
                let (last, before) = epochs.split_last()?;
                if !epochs.first()?.is_begun() {
                    return None;
                }
                let open = |state: &&&EpochState| {
                    state.contiguous() < expected_end(state, &epochs) || !is_ended(state, &epochs)
                };
                let resume = before.iter().find(open).unwrap_or(last);
                Some(Position {
                    server: server.clone(),
                    epoch: resume.epoch,
                    sequence: resume.next(),
                })
            })
            .collect()
    }

    /// The open entry of an opening.
    pub(crate) fn find_open(&self, epoch: EpochId, opening: u64) -> Option<Row> {
        self.state(epoch).open.get(&opening).copied()
    }

    /// Keeps a record until its opening comes.
    pub(crate) fn wait(&mut self, epoch: EpochId, opening: u64, record: Record, placed: Placed) {
        let state = self.state_mut(epoch);
        // A damaged journal must not make memory grow: an opening stands before what names it,
        // and one that is here but not open is no opening.
        if opening < placed.sequence && !state.received.holds(opening, opening + 1) {
            state
                .waiting
                .entry(opening)
                .or_default()
                .push((record, placed));
        }
    }

    /// Notes an entry whose records may come; returns those that came before it.
    pub(crate) fn open(&mut self, epoch: EpochId, opening: u64, row: Row) -> Vec<(Record, Placed)> {
        let state = self.state_mut(epoch);
        state.open.insert(opening, row);
        state.waiting.remove(&opening).unwrap_or_default()
    }

    /// Forgets an entry that nothing can come for any more: all between its opening and its
    /// closing is here.
    pub(crate) fn close(&mut self, epoch: EpochId, opening: u64, closing: u64) {
        let state = self.state_mut(epoch);
        if state.received.holds(opening, closing) {
            state.open.remove(&opening);
        }
    }
}

impl EpochState {
    /// Whether what it says of the epoch before it is here, or can no longer be had.
    fn is_begun(&self) -> bool {
        self.received.holds(0, 1) || self.lost.holds(0, 1)
    }

    /// Where to go on: the first sequence that is neither here nor declared lost. Of an epoch
    /// whose rest is lost without a known end, the end of what is known.
    pub(crate) fn next(&self) -> u64 {
        self.contiguous().min(self.known_end())
    }

    /// The first sequence that is neither here nor declared lost.
    fn contiguous(&self) -> u64 {
        let mut known = self.received.clone();
        for (from, to) in self.lost.iter() {
            known.insert(from, to);
        }
        known.contiguous()
    }

    /// One past the last record that was seen or declared lost.
    pub(crate) fn known_end(&self) -> u64 {
        let lost = self.lost.iter().map(|(from, to)| match to {
            UNKNOWN_END => from,
            to => to,
        });
        self.received.end().max(lost.max().unwrap_or(0))
    }
}

/// The end of a loss of which nobody can tell how much it is.
pub(crate) const UNKNOWN_END: u64 = selvedge_bus::Event::UNKNOWN_END;

/// One past the last record that an epoch is known to have had: what a later epoch says of it, or
/// what was seen of it.
pub(crate) fn expected_end(state: &EpochState, epochs: &[&EpochState]) -> u64 {
    told_end(state, epochs)
        .unwrap_or(0)
        .max(state.received.end())
}

/// Whether nothing of an epoch that another follows can be missing unnoticed. Of a durable one the
/// next says where it ended: without that its last records may be missing, and whole epochs after
/// them. Nobody says it of a volatile one.
fn is_ended(state: &EpochState, epochs: &[&EpochState]) -> bool {
    let volatile = state.start.is_some_and(|start| start.volatile);
    volatile || state.lost.end() == UNKNOWN_END || told_end(state, epochs).is_some()
}

/// Where a later epoch says that it ended.
fn told_end(state: &EpochState, epochs: &[&EpochState]) -> Option<u64> {
    epochs
        .iter()
        .filter_map(|later| later.start?.previous)
        .filter(|(epoch, _)| *epoch == state.epoch)
        .map(|(_, end)| end)
        .max()
}
