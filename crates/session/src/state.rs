//! A session's state: which of the values that its actions wrote are left.
//!
//! An action that writes a name replaces the writes of it that are before the action; two writes
//! of which neither is before the other are both left, a conflict, until one comes that follows
//! both. "Before" is reachability over `after`, which needs the session's graph, and nobody keeps
//! all of that. So a write names what it replaces ([`StateWrite::replaces`]), found once, where it
//! is made ([`States::known`]); everywhere else what is left is *the writes that no other names*.
//! That is a set, so any order of arrival ends the same: a write that comes after the one that
//! replaced it is recognised, for the replaced ones that are still to come are remembered.
//!
//! To find what is before a new action, the newest actions of the session are remembered with
//! what they follow. What an action that is forgotten had in its past, those that follow it know.
//! An action that follows only what was forgotten long ago (a copied token, thirty actions old)
//! replaces nothing, and a conflict is shown that is none: the safe side, as nothing is lost.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use selvedge_entry::{StateWrite, Text};
use selvedge_identity::{OrderingId, Position};
use smallvec::SmallVec;

/// Actions of a session whose past is remembered: more than a client has in flight.
const ACTIONS_MAX: usize = 32;

/// Names of one session's state; writes of more are dropped.
const NAMES_MAX: usize = 64;

/// Writes of one name, neither before the other, that are kept: as many as a token has heads. The
/// greatest ordering ids stay.
const CANDIDATES_MAX: usize = 16;

/// Replaced writes of one name that are remembered, with what replaced them: those of the requests
/// in flight.
const GONE_MAX: usize = 16;

/// Replaced writes that are remembered until they come.
const AWAITED_MAX: usize = 256;

/// The state of one session.
#[derive(Clone, Debug, Default)]
pub struct States {
    names: Vec<Named>,
    /// By counter, ascending.
    actions: Vec<Action>,
    /// Writes that were replaced before they came.
    awaited: Vec<Awaited>,
}

#[derive(Clone, Debug)]
struct Named {
    name: Text,
    candidates: Vec<Candidate>,
    /// Oldest first.
    gone: VecDeque<Gone>,
}

impl Named {
    fn remember(&mut self, gone: Gone) {
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(gone);
    }
}

/// A write that was replaced.
#[derive(Clone, Debug)]
struct Gone {
    at: Position,
    action: Position,
    counter: u64,
    /// The write that replaced it, and its action.
    by: (Position, Position),
}

/// A write that is to come, and was replaced.
#[derive(Clone, Debug)]
struct Awaited {
    name: Text,
    at: Position,
    by: (Position, Position),
}

/// A value that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The record that the write stands in.
    pub at: Position,
    /// The action that wrote it.
    pub action: Position,
    /// The counter of the action's ordering id.
    pub counter: u64,
    /// The value, as JSON; `None`: it was taken away.
    pub value: Option<Bytes>,
}

impl Candidate {
    /// The ordering id of the action that wrote it.
    #[must_use]
    pub fn ordering(&self) -> OrderingId {
        OrderingId {
            counter: self.counter,
            server: self.action.server.clone(),
        }
    }

    /// Sorts the greatest ordering id, whose value is shown, first.
    pub fn sort(candidates: &mut [Self]) {
        candidates.sort_by(|a, b| b.place().cmp(&a.place()));
    }

    fn place(&self) -> impl Ord + '_ {
        (self.counter, &self.at)
    }
}

#[derive(Clone, Debug)]
struct Action {
    position: Position,
    counter: u64,
    after: SmallVec<[Position; 1]>,
    /// Writes in the past of those that it follows and that were forgotten.
    knows: Vec<Position>,
}

impl States {
    /// Takes note of an action of the session and of what it follows.
    pub fn action<'a>(
        &mut self,
        position: &Position,
        counter: u64,
        after: impl IntoIterator<Item = &'a Position>,
    ) {
        let after = after.into_iter().cloned().collect();
        if let Some(known) = self.find_mut(position) {
            known.after = after;
            return;
        }
        let place = self
            .actions
            .partition_point(|action| action.counter <= counter);
        let action = Action {
            position: position.clone(),
            counter,
            after,
            knows: Vec::new(),
        };
        self.actions.insert(place, action);
        while self.actions.len() > ACTIONS_MAX {
            self.forget_oldest();
        }
    }

    /// Takes a write that `action` made, in the record `at`; each once. `arrived` says of a record
    /// whether it came before, or can never come. Returns whether there was room for it.
    pub fn write(
        &mut self,
        at: &Position,
        action: &Position,
        write: &StateWrite,
        arrived: impl Fn(&Position) -> bool,
    ) -> bool {
        self.awaited
            .retain(|awaited| awaited.at == *at || !arrived(&awaited.at));
        let Some(number) = self.named(&write.name) else {
            return false;
        };
        let named = &mut self.names[number];
        let by = (at.clone(), action.clone());
        for replaced in &write.replaces {
            let place = named.candidates.iter().position(|one| one.at == *replaced);
            if let Some(place) = place {
                let replaced = named.candidates.remove(place);
                named.remember(Gone {
                    at: replaced.at,
                    action: replaced.action,
                    counter: replaced.counter,
                    by: by.clone(),
                });
            } else if !arrived(replaced) && self.awaited.len() < AWAITED_MAX {
                self.awaited.push(Awaited {
                    name: write.name.clone(),
                    at: replaced.clone(),
                    by: by.clone(),
                });
            }
        }
        let is_this = |awaited: &Awaited| awaited.name == write.name && awaited.at == *at;
        if let Some(place) = self.awaited.iter().position(is_this) {
            named.remember(Gone {
                at: at.clone(),
                action: action.clone(),
                counter: write.counter,
                by: self.awaited.swap_remove(place).by,
            });
            return true;
        }
        let candidates = &mut named.candidates;
        candidates.push(Candidate {
            at: at.clone(),
            action: action.clone(),
            counter: write.counter,
            value: write.value.clone(),
        });
        Candidate::sort(candidates);
        let room = candidates.len() <= CANDIDATES_MAX;
        candidates.truncate(CANDIDATES_MAX);
        room
    }

    /// What is left of a name, the value that is shown first. More than one: a conflict.
    #[must_use]
    pub fn candidates(&self, name: &str) -> &[Candidate] {
        let named = self.names.iter().find(|named| *named.name == *name);
        named.map_or(&[], |named| &named.candidates)
    }

    /// The names that were written, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<Text> {
        let left = self.names.iter().filter(|one| !one.candidates.is_empty());
        let mut names: Vec<Text> = left.map(|named| named.name.clone()).collect();
        names.sort();
        names
    }

    /// What an action that follows `heads` replaces of a name: the writes before it but for those
    /// that one before it replaced. (What one *not* before it replaced counts: who hears of this
    /// action first must not find what both replaced.)
    #[must_use]
    pub fn known<'h>(
        &self,
        name: &str,
        heads: impl IntoIterator<Item = &'h Position>,
    ) -> Vec<Position> {
        let Some(named) = self.names.iter().find(|named| *named.name == *name) else {
            return Vec::new();
        };
        let counters = named.candidates.iter().map(|one| one.counter);
        let counters = counters.chain(named.gone.iter().map(|one| one.counter));
        let Some(lowest) = counters.min() else {
            return Vec::new();
        };
        let mut past: HashSet<&Position> = HashSet::new();
        let mut writes: HashSet<&Position> = HashSet::new();
        let mut next: Vec<&Position> = Vec::new();
        for head in heads {
            next.push(head); // collected, all of them would have to live as long as `self`
        }
        while let Some(position) = next.pop() {
            if !past.insert(position) {
                continue;
            }
            // An action is above all that it follows: below the lowest write there is none.
            if let Some(action) = self.find(position)
                && action.counter >= lowest
            {
                next.extend(&action.after);
                writes.extend(&action.knows);
            }
        }
        let before =
            |at: &Position, action: &Position| past.contains(action) || writes.contains(at);
        let left = named.candidates.iter();
        let left = left.filter(|one| before(&one.at, &one.action));
        let gone = named.gone.iter();
        let gone = gone.filter(|one| before(&one.at, &one.action) && !before(&one.by.0, &one.by.1));
        let left = left.map(|one| &one.at);
        left.chain(gone.map(|one| &one.at)).cloned().collect()
    }

    /// Estimated bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let candidate = |one: &Candidate| 160 + one.value.as_ref().map_or(0, Bytes::len);
        let named = |one: &Named| {
            let values: usize = one.candidates.iter().map(candidate).sum();
            64 + one.name.len() + values + 176 * one.gone.len()
        };
        let names: usize = self.names.iter().map(named).sum();
        let knows: usize = self.actions.iter().map(|action| action.knows.len()).sum();
        names + 160 * self.actions.len() + 48 * knows + 160 * self.awaited.len()
    }

    fn named(&mut self, name: &Text) -> Option<usize> {
        let found = self.names.iter().position(|named| named.name == *name);
        if found.is_some() || self.names.len() >= NAMES_MAX {
            return found;
        }
        self.names.push(Named {
            name: name.clone(),
            candidates: Vec::new(),
            gone: VecDeque::new(),
        });
        Some(self.names.len() - 1)
    }

    /// The newest are asked for most.
    fn find(&self, position: &Position) -> Option<&Action> {
        let mut newest_first = self.actions.iter().rev();
        newest_first.find(|action| action.position == *position)
    }

    fn find_mut(&mut self, position: &Position) -> Option<&mut Action> {
        let mut newest_first = self.actions.iter_mut().rev();
        newest_first.find(|action| action.position == *position)
    }

    /// Forgets the action with the lowest counter; those that follow it know its writes.
    fn forget_oldest(&mut self) {
        let oldest = self.actions.remove(0);
        let left = self.names.iter().flat_map(|named| &named.candidates);
        let gone = self.names.iter().flat_map(|named| &named.gone);
        let writes = left
            .map(|one| (&one.at, &one.action))
            .chain(gone.flat_map(|one| [(&one.at, &one.action), (&one.by.0, &one.by.1)]));
        let known = |(at, action): &(&Position, &Position)| {
            **action == oldest.position || oldest.knows.contains(at)
        };
        let known: Vec<Position> = writes.filter(known).map(|(at, _)| at.clone()).collect();
        if known.is_empty() {
            return;
        }
        for action in &mut self.actions {
            if action.after.contains(&oldest.position) {
                action.knows.extend(known.iter().cloned());
                action.knows.sort_unstable();
                action.knows.dedup();
            }
        }
    }
}
