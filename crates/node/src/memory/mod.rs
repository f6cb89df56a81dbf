//! What a server knows of its fleet: the sessions' actions of every journal, its own included.
//!
//! A fold over the journals as the back-end network brings them (B2): records may come twice, and
//! ends the same. Bounded by bytes and by age: the oldest entries go first and are counted. For
//! every epoch of every journal it keeps the *watermark*, the end of the contiguous run of records
//! it has seen: a head is *held* when the watermark has passed its effect, evicted since or not,
//! and that is what a request waits for (E6). What actions wrote of their sessions' state is kept
//! apart from the entries that wrote it (`states`).
//!
//! Age counts from when this server learned of a thing, on its monotonic clock; what it finds in
//! its journal at the start, from then.

mod held;
mod states;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use selvedge_entry::{Closing, Effect, Entry, Follow, Glance, Opening, Record, StateWrite, Text};
use selvedge_identity::{ClientId, Epoch, HEADS_MAX, Position, ServerName, SessionId};
use selvedge_journal::EpochStart;
use selvedge_session::{Candidate, States};
use tokio::sync::Notify;

use self::held::{Held, copy_body, opening_bytes};
use self::states::Shelves;
use crate::{Clock, MemoryOptions};

/// Actions that one look for missing heads goes through at most: what lies deeper was looked at
/// when the actions between came in, but for a memory that has just started.
const SEARCH_MAX: usize = 1024;

/// Actions of a session among which its tips are looked for.
const TIPS_SEARCH_MAX: usize = 256;

/// Ended epochs of one server that are remembered.
const EPOCHS_MAX: usize = 64;

/// Actions of a session that its state begins with: as many as it remembers.
const BEGIN_MAX: usize = 32;

/// A server's memory of the fleet.
pub struct Memory {
    state: Mutex<State>,
    changed: Notify,
    /// Notified when a request waits for what is not here yet.
    wanted: Arc<Notify>,
    options: MemoryOptions,
    clock: Arc<dyn Clock>,
}

/// What a memory holds of one name of a session's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateView {
    /// The values that are left, the one that is shown first.
    pub candidates: Vec<Candidate>,
    /// Of those, the writes that an action with the heads asked for replaces.
    pub known: Vec<Position>,
    /// Other names of the session that have a value, and the bytes of those values.
    pub others: (usize, usize),
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
    /// Entries let go because of their age.
    pub expired: u64,
    /// Sessions whose state is held.
    pub states: usize,
    /// Estimated bytes of that state.
    pub state_bytes: usize,
    /// Sessions whose state was let go because there was too much.
    pub states_evicted: u64,
    /// Sessions whose state was let go because nothing was done in them for too long.
    pub states_expired: u64,
    /// Writes of state let go because their session had too many.
    pub state_writes_dropped: u64,
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
    /// In order of arrival, as in `arrival`.
    sessions: HashMap<SessionId, VecDeque<Position>>,
    /// With the time of it.
    arrival: VecDeque<(u64, Position)>,
    states: Shelves,
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
    /// By the sequence of their openings, which rise; a map that grows by moving all it holds would
    /// stop every request for as long.
    entries: BTreeMap<u64, Box<Held>>,
}

impl Memory {
    /// An empty memory within these bounds.
    #[must_use]
    pub fn new(options: MemoryOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            wanted: Arc::default(),
            options,
            clock,
        }
    }

    /// Takes consecutive records of one journal's epoch, the first of sequence `first`. Records
    /// below the watermark are dropped as duplicates.
    pub fn apply(&self, server: &ServerName, epoch: Epoch, first: u64, records: &[Bytes]) {
        {
            let mut state = self.lock();
            let now_ns = self.clock.monotonic_ns();
            let keeps = self.options.bytes_max > 0;
            for (sequence, payload) in (first..).zip(records) {
                state.record(server, epoch, sequence, payload, keeps.then_some(now_ns));
            }
            state.make_room(&self.options);
            state.expire(&self.options, now_ns);
        }
        self.changed.notify_waiters();
    }

    /// Lets go what has become too old.
    pub fn expire(&self) {
        let now_ns = self.clock.monotonic_ns();
        self.lock().expire(&self.options, now_ns);
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

    /// Is notified when a request waits for what is not here yet.
    pub(crate) fn wanted(&self) -> Arc<Notify> {
        self.wanted.clone()
    }

    /// Says that a request waits for what is not here yet.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
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

    /// What is left of a name of the session's state, and what of it an action replaces that
    /// follows `heads`.
    #[must_use]
    pub fn state<'h>(
        &self,
        session: SessionId,
        name: &str,
        heads: impl IntoIterator<Item = &'h Position>,
    ) -> StateView {
        let state = self.lock();
        let Some(states) = state.states.get(session) else {
            return StateView::default();
        };
        let names = states.names();
        let others = names.iter().filter(|other| ***other != *name);
        let bytes = others.clone().map(|other| {
            let values = states.candidates(other).iter();
            let values = values.map(|one| one.value.as_ref().map_or(0, Bytes::len));
            values.max().unwrap_or(0)
        });
        StateView {
            candidates: states.candidates(name).to_vec(),
            known: states.known(name, heads),
            others: (others.clone().count(), bytes.sum()),
        }
    }

    /// The names of the session's state that have values, sorted.
    #[must_use]
    pub fn state_names(&self, session: SessionId) -> Vec<Text> {
        let state = self.lock();
        state
            .states
            .get(session)
            .map_or_else(Vec::new, States::names)
    }

    /// Whether the record at this position has come, be it let go since.
    #[must_use]
    pub fn has_seen(&self, position: &Position) -> bool {
        arrived(&self.lock().journals, position)
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
            states: state.states.len(),
            state_bytes: state.states.bytes(),
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
        held(&self.journals, position)
    }

    fn record(
        &mut self,
        server: &ServerName,
        epoch: Epoch,
        sequence: u64,
        payload: &Bytes,
        now_ns: Option<u64>,
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
        let Some(now_ns) = now_ns else { return };
        // Most of what a fleet writes is no session's, and need not be read.
        match Record::glance(payload) {
            Ok(Glance::Begins(begins)) if !begins.acts && !begins.state => return,
            Ok(Glance::Continues { opening, state }) if !state => {
                let view = self.view(server, epoch);
                if !view.entries.contains_key(&opening) {
                    return;
                }
            }
            Ok(Glance::Broadcast) => return,
            Ok(_) => {}
            Err(_) => {
                self.counts.unreadable += 1;
                return;
            }
        }
        let at = Position {
            server: server.clone(),
            epoch,
            sequence,
        };
        match Record::decode(payload) {
            Ok(record) => self.fold(now_ns, at, record),
            Err(_) => self.counts.unreadable += 1,
        }
    }

    /// The first record of an epoch says where the one before ended.
    fn start(&mut self, server: &ServerName, start: &EpochStart) {
        if let Some((previous, end)) = start.previous {
            self.view(server, previous).end = Some(end);
        }
    }

    fn fold(&mut self, now_ns: u64, at: Position, record: Record) {
        match record {
            Record::Opening(opening) => {
                self.open(now_ns, at, *opening);
            }
            Record::Whole(opening, closing) => {
                self.open(now_ns, at.clone(), *opening);
                self.close(now_ns, &at, at.sequence, *closing);
            }
            Record::Effect { opening, effect } => self.effect(now_ns, &at, opening, effect),
            Record::Closing { opening, closing } => self.close(now_ns, &at, opening, *closing),
            // Its content is for receivers; the action that sent it is an entry.
            Record::Broadcast { .. } => {}
        }
    }

    fn open(&mut self, now_ns: u64, position: Position, mut opening: Opening) {
        // Only actions of sessions: the gateway's entries and deeper calls are the repository's.
        let (Some(session), Some(counter)) = (opening.session, opening.counter) else {
            return;
        };
        copy_body(&mut opening.request);
        let after = opening.after.iter().map(|follow| &follow.position);
        let states = &mut self.states;
        states.action(now_ns, session, &position, counter, after);
        let bytes = opening_bytes(&opening);
        let held = Box::new(Held {
            entry: Entry {
                position: position.clone(),
                opening,
                effect: None,
                closing: None,
            },
            bytes,
            complete: false,
        });
        let view = self.view(&position.server, position.epoch);
        view.entries.insert(position.sequence, held);
        self.sessions
            .entry(session)
            .or_default()
            .push_back(position.clone());
        self.arrival.push_back((now_ns, position));
        self.counts.bytes += bytes;
    }

    fn effect(&mut self, now_ns: u64, at: &Position, opening: u64, effect: Effect) {
        self.write(now_ns, at, opening, &effect.state);
        let view = self.view(&at.server, at.epoch);
        if let Some(held) = view.entries.get_mut(&opening) {
            let grown = held.effect(at.sequence, effect);
            self.counts.bytes += grown;
        }
    }

    fn close(&mut self, now_ns: u64, at: &Position, opening: u64, closing: Closing) {
        self.write(now_ns, at, opening, &closing.state);
        let view = self.view(&at.server, at.epoch);
        if let Some(held) = view.entries.get_mut(&opening) {
            let grown = held.closing(at.sequence, closing);
            self.counts.bytes += grown;
        }
    }

    /// The entry that made the writes need not be held any more.
    fn write(&mut self, now_ns: u64, at: &Position, opening: u64, writes: &[StateWrite]) {
        let action = Position {
            sequence: opening,
            ..at.clone()
        };
        for write in writes {
            let Self {
                journals,
                sessions,
                states,
                ..
            } = self;
            // Written before this memory knew that the session has state.
            let begin = |states: &mut States| {
                let actions = sessions.get(&write.session).into_iter().flatten();
                for position in actions.rev().take(BEGIN_MAX) {
                    if let Some(held) = held(journals, position) {
                        let opening = &held.entry.opening;
                        let after = opening.after.iter().map(|follow| &follow.position);
                        states.action(position, opening.counter.unwrap_or(0), after);
                    }
                }
            };
            let arrived = |position: &Position| arrived(journals, position);
            if !states.write(now_ns, at, &action, write, begin, arrived) {
                self.counts.state_writes_dropped += 1;
            }
        }
    }

    fn make_room(&mut self, options: &MemoryOptions) {
        while self.counts.bytes > options.bytes_max && self.let_go() {
            self.counts.evicted += 1;
        }
        while self.states.bytes() > options.state_bytes_max && self.states.let_go(None) {
            self.counts.states_evicted += 1;
        }
    }

    fn expire(&mut self, options: &MemoryOptions, now_ns: u64) {
        let Some(age) = options.age_max else { return };
        let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let Some(since_ns) = now_ns.checked_sub(age_ns) else {
            return; // younger than that itself
        };
        while self.arrival.front().is_some_and(|(at, _)| *at < since_ns) && self.let_go() {
            self.counts.expired += 1;
        }
        while self.states.let_go(Some(since_ns)) {
            self.counts.states_expired += 1;
        }
    }

    /// Lets the oldest entry go; whether there was one.
    fn let_go(&mut self) -> bool {
        let Some((_, position)) = self.arrival.pop_front() else {
            return false;
        };
        let view = self.view(&position.server, position.epoch);
        if let Some(held) = view.entries.remove(&position.sequence) {
            self.counts.bytes -= held.bytes;
            let session = held.entry.opening.session;
            self.let_go_of_session(session, &position);
        }
        true
    }

    /// Entries go as they came, so this one is its session's first.
    fn let_go_of_session(&mut self, session: Option<SessionId>, position: &Position) {
        let Some(session) = session else { return };
        let Some(positions) = self.sessions.get_mut(&session) else {
            return;
        };
        let first = positions.pop_front();
        debug_assert_eq!(first.as_ref(), Some(position));
        if positions.is_empty() {
            self.sessions.remove(&session);
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

fn held<'j>(
    journals: &'j HashMap<ServerName, JournalView>,
    position: &Position,
) -> Option<&'j Held> {
    let journal = journals.get(&position.server)?;
    let view = journal.epochs.get(&position.epoch)?;
    view.entries.get(&position.sequence).map(Box::as_ref)
}

/// Whether the record has come, or can never come.
fn arrived(journals: &HashMap<ServerName, JournalView>, position: &Position) -> bool {
    let Some(journal) = journals.get(&position.server) else {
        return false;
    };
    match journal.epochs.get(&position.epoch) {
        Some(view) => {
            view.watermark > position.sequence
                || view.end.is_some_and(|end| position.sequence >= end)
        }
        None => journal.epochs.keys().any(|known| *known > position.epoch),
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({:?})", self.counts())
    }
}
