//! What a server knows of its fleet: the sessions' actions of every journal, its own included.
//!
//! A fold over the journals as the back-end network brings them (B2): records may come twice, and
//! ends the same. Bounded by bytes: the oldest entries go first and are counted. For every epoch
//! of every journal it keeps the *watermark*, the end of the contiguous run of records it has
//! seen: a head is *held* when the watermark has passed its effect, evicted since or not, and that
//! is what a request waits for (E6).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use selvedge_entry::{Closing, Data, Effect, Entry, Follow, Opening, Record};
use selvedge_identity::{ClientId, Epoch, HEADS_MAX, Position, ServerName, SessionId};
use selvedge_journal::EpochStart;
use tokio::sync::Notify;

/// Actions that one look for missing heads goes through at most: what lies deeper was looked at
/// when the actions between came in, but for a memory that has just started.
const SEARCH_MAX: usize = 1024;

/// Actions of a session among which its tips are looked for.
const TIPS_SEARCH_MAX: usize = 256;

/// Ended epochs of one server that are remembered.
const EPOCHS_MAX: usize = 64;

/// A server's memory of the fleet.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    changed: Notify,
    bytes_max: usize,
}

/// Counts of what a memory holds and has let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounts {
    /// Entries held.
    pub entries: usize,
    /// Sessions with at least one entry held.
    pub sessions: usize,
    /// Estimated bytes held.
    pub bytes: usize,
    /// Entries let go because the memory was full.
    pub evicted: u64,
    /// Records that came a second time.
    pub duplicates: u64,
    /// Records that can never be had: their owner no longer has them.
    pub lost: u64,
    /// Records that could not be read.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
struct State {
    journals: HashMap<ServerName, JournalView>,
    sessions: HashMap<SessionId, VecDeque<Position>>,
    arrival: VecDeque<Position>,
    counts: MemoryCounts,
}

/// Where a session stands, as far as is known here.
pub(crate) struct Tips {
    /// What nothing follows.
    pub(crate) tips: Vec<Follow>,
    /// The greatest counter.
    pub(crate) floor: Option<u64>,
    /// Whose session it is.
    pub(crate) client: Option<ClientId>,
}

/// What is known of one server's journal.
#[derive(Debug, Default)]
struct JournalView {
    absent: bool,
    epochs: BTreeMap<Epoch, EpochView>,
}

#[derive(Debug, Default)]
struct EpochView {
    /// Every record below it was seen, or is known to be lost.
    watermark: u64,
    /// Where the epoch ended, once its successor has said so.
    end: Option<u64>,
    entries: HashMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    bytes: usize,
    /// Everything that it follows was held when last looked at, so no look need go further.
    complete: bool,
}

impl Memory {
    /// An empty memory of at most `bytes_max` estimated bytes of entries.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            bytes_max,
        }
    }

    /// Takes consecutive records of one journal's epoch, the first of sequence `first`. Records
    /// below the watermark are dropped as duplicates.
    pub fn apply(&self, server: &ServerName, epoch: Epoch, first: u64, records: &[Bytes]) {
        {
            let mut state = self.lock();
            for (sequence, payload) in (first..).zip(records) {
                state.record(server, epoch, sequence, payload, self.bytes_max);
            }
            state.evict(self.bytes_max);
        }
        self.changed.notify_waiters();
    }

    /// Notes that the records from `from` to below `to` can no longer be had; `u64::MAX`: that
    /// nothing more of the epoch can.
    pub fn gap(&self, server: &ServerName, epoch: Epoch, from: u64, to: u64) {
        {
            let mut state = self.lock();
            let view = state.view(server, epoch);
            if to == u64::MAX {
                view.end = Some(view.end.unwrap_or(u64::MAX).min(view.watermark));
                return self.changed.notify_waiters();
            }
            let lost = to.saturating_sub(view.watermark.max(from));
            view.watermark = view.watermark.max(to);
            state.counts.lost += lost;
        }
        self.changed.notify_waiters();
    }

    /// Notes whether a server is on the back-end network. An absent one is not waited for.
    pub fn presence(&self, server: &ServerName, present: bool) {
        self.lock()
            .journals
            .entry(server.clone())
            .or_default()
            .absent = !present;
        self.changed.notify_waiters();
    }

    /// Of `heads` and all that they follow, what this memory does not hold and may yet get.
    #[must_use]
    pub fn missing(&self, heads: &[Follow]) -> Vec<Follow> {
        self.lock().missing(heads)
    }

    /// Resolves at the next change after the call of this function.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// The session's actions that this memory holds, by ordering id.
    #[must_use]
    pub fn history(&self, session: SessionId) -> Vec<Entry> {
        let state = self.lock();
        let positions = state.sessions.get(&session);
        let mut entries: Vec<Entry> = positions
            .into_iter()
            .flatten()
            .filter_map(|position| state.held(position))
            .map(|held| held.entry.clone())
            .collect();
        drop(state);
        entries.sort_by_cached_key(Entry::ordering);
        entries
    }

    /// What nothing that this memory holds of the session follows: what an action follows that the
    /// session's client did not ask for. Of a long history the newest part is looked at.
    pub(crate) fn tips(&self, session: SessionId) -> Tips {
        let state = self.lock();
        let positions = state.sessions.get(&session);
        let newest = positions.into_iter().flatten().rev().take(TIPS_SEARCH_MAX);
        let held: Vec<&Entry> = newest
            .filter_map(|position| state.held(position))
            .map(|held| &held.entry)
            .collect();
        let followed: HashSet<&Position> = held
            .iter()
            .flat_map(|entry| &entry.opening.after)
            .map(|follow| &follow.position)
            .collect();
        let tips = held
            .iter()
            .filter(|entry| !followed.contains(&entry.position))
            .take(HEADS_MAX);
        Tips {
            tips: tips.map(|entry| follow(entry)).collect(),
            floor: held.iter().filter_map(|entry| entry.opening.counter).max(),
            client: held.iter().find_map(|entry| entry.opening.client),
        }
    }

    /// The watermark of every epoch known, for a subscription to go on from.
    #[must_use]
    pub fn watermarks(&self) -> Vec<(ServerName, Epoch, u64)> {
        let state = self.lock();
        let mut all: Vec<_> = state
            .journals
            .iter()
            .flat_map(|(server, journal)| {
                let epochs = journal.epochs.iter();
                epochs.map(move |(epoch, view)| (server.clone(), *epoch, view.watermark))
            })
            .collect();
        all.sort();
        all
    }

    /// What it holds and has let go.
    #[must_use]
    pub fn counts(&self) -> MemoryCounts {
        let state = self.lock();
        MemoryCounts {
            entries: state.arrival.len(),
            sessions: state.sessions.len(),
            ..state.counts
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves a memory that may miss an entry, never a wrong one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn view(&mut self, server: &ServerName, epoch: Epoch) -> &mut EpochView {
        // Not `entry()`: it would clone the name for every record.
        if !self.journals.contains_key(server) {
            self.journals.insert(server.clone(), JournalView::default());
        }
        let journal = self.journals.get_mut(server).expect("inserted above");
        if !journal.epochs.contains_key(&epoch) && journal.epochs.len() >= EPOCHS_MAX {
            let oldest_empty = journal
                .epochs
                .iter()
                .find(|(_, view)| view.entries.is_empty())
                .map(|(epoch, _)| *epoch);
            if let Some(oldest) = oldest_empty {
                journal.epochs.remove(&oldest);
            }
        }
        journal.epochs.entry(epoch).or_default()
    }

    fn held(&self, position: &Position) -> Option<&Held> {
        let journal = self.journals.get(&position.server)?;
        journal
            .epochs
            .get(&position.epoch)?
            .entries
            .get(&position.sequence)
    }

    fn record(
        &mut self,
        server: &ServerName,
        epoch: Epoch,
        sequence: u64,
        payload: &Bytes,
        bytes_max: usize,
    ) {
        let view = self.view(server, epoch);
        if sequence < view.watermark {
            self.counts.duplicates += 1;
            return;
        }
        let lost = sequence - view.watermark;
        view.watermark = sequence + 1;
        self.counts.lost += lost;
        if let Some(start) = EpochStart::decode(payload) {
            self.start(server, &start);
            return;
        }
        if bytes_max == 0 {
            return;
        }
        match Record::decode(payload) {
            Ok(record) => self.fold(server, epoch, sequence, record),
            Err(_) => self.counts.unreadable += 1,
        }
    }

    /// The first record of an epoch says where the one before ended.
    fn start(&mut self, server: &ServerName, start: &EpochStart) {
        if let Some((previous, end)) = start.previous {
            self.view(server, previous).end = Some(end);
        }
    }

    fn fold(&mut self, server: &ServerName, epoch: Epoch, sequence: u64, record: Record) {
        match record {
            Record::Opening(opening) => self.open(server, epoch, sequence, *opening, None, None),
            Record::Whole(opening, closing) => {
                let effect = effect_of(&closing);
                self.open(
                    server,
                    epoch,
                    sequence,
                    *opening,
                    Some((sequence, effect)),
                    Some(*closing),
                );
            }
            Record::Effect { opening, effect } => {
                if let Some(held) = self.view(server, epoch).entries.get_mut(&opening) {
                    held.entry.effect = Some((sequence, effect));
                }
            }
            Record::Closing {
                opening,
                mut closing,
            } => {
                copy_body(&mut closing.request);
                copy_body(&mut closing.response);
                let Some(held) = self.view(server, epoch).entries.get_mut(&opening) else {
                    return;
                };
                let grown = closing_bytes(&closing);
                held.bytes += grown;
                held.entry
                    .effect
                    .get_or_insert_with(|| (sequence, effect_of(&closing)));
                held.entry.closing = Some(*closing);
                self.counts.bytes += grown;
            }
            // Its content is for receivers; the action that sent it is an entry.
            Record::Broadcast { .. } => {}
        }
    }

    fn open(
        &mut self,
        server: &ServerName,
        epoch: Epoch,
        sequence: u64,
        mut opening: Opening,
        effect: Option<(u64, Effect)>,
        mut closing: Option<Closing>,
    ) {
        // Only actions of sessions: the gateway's entries and deeper calls are the repository's.
        let (Some(session), Some(_)) = (opening.session, opening.counter) else {
            return;
        };
        copy_body(&mut opening.request);
        if let Some(closing) = &mut closing {
            copy_body(&mut closing.request);
            copy_body(&mut closing.response);
        }
        let bytes = opening_bytes(&opening) + closing.as_ref().map_or(0, closing_bytes);
        let position = Position {
            server: server.clone(),
            epoch,
            sequence,
        };
        let held = Held {
            entry: Entry {
                position: position.clone(),
                opening,
                effect,
                closing,
            },
            bytes,
            complete: false,
        };
        self.view(server, epoch).entries.insert(sequence, held);
        self.sessions
            .entry(session)
            .or_default()
            .push_back(position.clone());
        self.arrival.push_back(position);
        self.counts.bytes += bytes;
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.counts.bytes > bytes_max {
            let Some(position) = self.arrival.pop_front() else {
                return;
            };
            let Some(held) = self
                .view(&position.server, position.epoch)
                .entries
                .remove(&position.sequence)
            else {
                continue;
            };
            self.counts.bytes -= held.bytes;
            self.counts.evicted += 1;
            let Some(session) = held.entry.opening.session else {
                continue;
            };
            if let Some(positions) = self.sessions.get_mut(&session) {
                if positions.front() == Some(&position) {
                    positions.pop_front();
                } else {
                    positions.retain(|other| *other != position);
                }
                if positions.is_empty() {
                    self.sessions.remove(&session);
                }
            }
        }
    }

    fn missing(&mut self, heads: &[Follow]) -> Vec<Follow> {
        let mut missing = Vec::new();
        let mut seen: HashSet<Position> = HashSet::new();
        let mut walked: Vec<Position> = Vec::new();
        let mut next: Vec<Follow> = heads.to_vec();
        while let Some(follow) = next.pop() {
            if seen.len() >= SEARCH_MAX || !seen.insert(follow.position.clone()) {
                continue;
            }
            match self.knows(&follow) {
                Knows::Held => {}
                Knows::Never => continue,
                Knows::NotYet => {
                    missing.push(follow);
                    continue;
                }
            }
            let Some(held) = self.held(&follow.position) else {
                continue; // evicted: held once, and so was what it follows
            };
            if held.complete {
                continue;
            }
            let opening = &held.entry.opening;
            // What its own server waited for in vain has been paid for.
            let unpaid = |before: &&Follow| !opening.unseen.contains(&before.position);
            next.extend(opening.after.iter().filter(unpaid).cloned());
            walked.push(follow.position);
        }
        if missing.is_empty() && seen.len() < SEARCH_MAX {
            for position in walked {
                let view = self.view(&position.server, position.epoch);
                if let Some(held) = view.entries.get_mut(&position.sequence) {
                    held.complete = true;
                }
            }
        }
        missing
    }

    fn knows(&self, follow: &Follow) -> Knows {
        let position = &follow.position;
        let Some(journal) = self.journals.get(&position.server) else {
            return Knows::NotYet; // its server may be about to join
        };
        let view = journal.epochs.get(&position.epoch);
        if let Some(view) = view {
            if view.watermark > follow.effect {
                return Knows::Held;
            }
            if view.end.is_some_and(|end| follow.effect >= end) {
                return Knows::Never;
            }
        } else if journal.epochs.keys().any(|known| *known > position.epoch) {
            return Knows::Never; // long ended
        }
        if journal.absent {
            return Knows::Never;
        }
        Knows::NotYet
    }
}

/// What a memory can say of a head.
enum Knows {
    Held,
    NotYet,
    /// Its server is down, or its epoch ended before it.
    Never,
}

/// What follows an entry names this of it.
fn follow(entry: &Entry) -> Follow {
    let effect = entry.effect.as_ref().map(|(sequence, _)| *sequence);
    Follow {
        position: entry.position.clone(),
        effect: effect.unwrap_or(entry.position.sequence),
    }
}

/// What a closing without an effect record says of the effect.
fn effect_of(closing: &Closing) -> Effect {
    Effect {
        after_ns: closing.duration_ns,
        status: closing.status,
        outcome: closing.outcome,
        attributes: Vec::new(),
    }
}

/// A body is a slice of its whole batch, which it would keep in memory for as long as itself.
fn copy_body(data: &mut Data) {
    if let Some(body) = &mut data.body {
        *body = Bytes::copy_from_slice(body);
    }
}

fn opening_bytes(opening: &Opening) -> usize {
    let fields = |fields: &selvedge_entry::Fields| -> usize {
        fields.iter().map(|(k, v)| k.len() + v.len() + 48).sum()
    };
    480 + opening.after.len() * 48
        + fields(&opening.request.fields)
        + fields(&opening.attributes)
        + opening.request.body.as_ref().map_or(0, Bytes::len)
}

fn closing_bytes(closing: &Closing) -> usize {
    160 + closing.request.body.as_ref().map_or(0, Bytes::len)
        + closing.response.body.as_ref().map_or(0, Bytes::len)
}
