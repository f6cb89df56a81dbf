//! What follows what: the graph over `after`, and who cannot reach whom.
//!
//! Actions are numbered in the order of their ordering ids, which extends the causal order, so
//! all that an action follows has a lower number. In a session most of what is lower is an
//! ancestor; the graph therefore keeps, per action, the lower ones that are *not*. That list is
//! exactly what a timeline shows, so time and memory grow with the answer: a session of requests
//! one after the other takes a few words an action, however long it is. A bound on all lists
//! together keeps a graph without order (which no client makes) from taking n²/2 words.
//!
//! An `after` may name an action that is not here (evicted, lost, still under way) or that is not
//! lower (which breaks the ordering rule): it is kept as an *unknown* ancestor, of which nothing
//! is known but who follows it.

use std::collections::HashMap;

use selvedge_entry::{Direction, Entry};
use selvedge_identity::{Epoch, Origin, Position, ServerName, StackId};

/// Unknown ancestors that are told apart, per action.
const UNKNOWN_MAX: usize = 256;

/// The graph of one session's actions.
pub(crate) struct Graph {
    /// Per action what it follows: lower numbers, ascending.
    pub(crate) heads: Vec<Vec<u32>>,
    /// Per action what follows it: higher numbers, ascending.
    pub(crate) followers: Vec<Vec<u32>>,
    /// Per action the lower ones that are no ancestors, ascending; of the first actions only
    /// where [`Graph::related`] is less than all.
    pub(crate) apart: Vec<Vec<u32>>,
    /// Per action the unknown actions that it follows itself.
    pub(crate) unknown_heads: Vec<Vec<u32>>,
    /// Per action its request.
    pub(crate) request: Vec<u32>,
    pub(crate) requests: Vec<Request>,
    unknown_sets: UnknownSets,
    unknown: Vec<SetId>,
}

/// The actions that one request caused on the server that took it.
#[derive(Default)]
pub(crate) struct Request {
    /// What the request carried: what its actions follow outside of it.
    pub(crate) heads: Vec<u32>,
    /// Of that, what is unknown.
    pub(crate) unknown_heads: Vec<u32>,
    /// Actions of other requests that carried one of its actions.
    pub(crate) followers: Vec<u32>,
    /// If the request's own entry is here: the sequence of its answer's effect, if there is one.
    pub(crate) answered: Option<Option<u64>>,
}

impl Graph {
    /// Builds the graph of `actions`, which are sorted by ordering id and of which no two have
    /// one position. At most `pairs_max` pairs of actions that are apart are kept.
    pub(crate) fn new(actions: &[Entry], pairs_max: usize) -> Self {
        let mut graph = Self {
            heads: Vec::with_capacity(actions.len()),
            followers: vec![Vec::new(); actions.len()],
            apart: Vec::with_capacity(actions.len()),
            unknown_heads: Vec::with_capacity(actions.len()),
            request: Vec::with_capacity(actions.len()),
            requests: Vec::new(),
            unknown_sets: UnknownSets::new(),
            unknown: Vec::with_capacity(actions.len()),
        };
        graph.link(actions);
        graph.group(actions);
        let mut pairs = 0;
        for action in 0..actions.len() {
            graph.unknown_of(action);
            let Some(apart) = graph.apart_of(action, pairs_max - pairs) else {
                break;
            };
            pairs += apart.len();
            graph.apart.push(apart);
        }
        graph
    }

    /// How many actions, from the first, are related to each other: all, unless that would have
    /// taken too much memory.
    pub(crate) fn related(&self) -> usize {
        self.apart.len()
    }

    /// Whether `a` is before `b`, that is an ancestor of it. Both are below [`Graph::related`].
    pub(crate) fn before(&self, a: u32, b: u32) -> bool {
        a < b && self.apart[b as usize].binary_search(&a).is_err()
    }

    /// Whether the unknown action `unknown` is before `b`; `None` if there are too many to tell.
    pub(crate) fn unknown_before(&self, unknown: u32, b: u32) -> Option<bool> {
        let set = self.unknown_sets.get(self.unknown[b as usize])?;
        Some(set.binary_search(&unknown).is_ok())
    }

    /// Whether `b` has an unknown ancestor that is none of `a`'s: then `a` may be before it.
    pub(crate) fn may_hide(&self, a: u32, b: u32) -> bool {
        let (a, b) = (self.unknown[a as usize], self.unknown[b as usize]);
        let (Some(of_a), Some(of_b)) = (self.unknown_sets.get(a), self.unknown_sets.get(b)) else {
            return true;
        };
        a != b
            && !of_b
                .iter()
                .all(|unknown| of_a.binary_search(unknown).is_ok())
    }

    fn link(&mut self, actions: &[Entry]) {
        let numbers: HashMap<&Position, u32> = (0..)
            .zip(actions)
            .map(|(number, action)| (&action.position, number))
            .collect();
        let mut unknown: HashMap<&Position, u32> = HashMap::new();
        for (number, action) in (0..).zip(actions) {
            let (mut heads, mut unknown_heads) = (Vec::new(), Vec::new());
            for follow in &action.opening.after {
                match numbers.get(&follow.position) {
                    Some(head) if *head < number => heads.push(*head),
                    _ => {
                        let next = unknown.len() as u32;
                        unknown_heads.push(*unknown.entry(&follow.position).or_insert(next));
                    }
                }
            }
            for list in [&mut heads, &mut unknown_heads] {
                list.sort_unstable();
                list.dedup();
            }
            for head in &heads {
                self.followers[*head as usize].push(number);
            }
            self.heads.push(heads);
            self.unknown_heads.push(unknown_heads);
        }
    }

    /// Finds the actions of each request: they share the place in the call tree.
    fn group(&mut self, actions: &[Entry]) {
        type Key<'a> = (&'a ServerName, Epoch, Origin, StackId);
        let mut known: HashMap<Key<'_>, u32> = HashMap::new();
        for action in actions {
            let fresh = self.requests.len() as u32;
            let call = action.opening.call.as_ref();
            let request = match call {
                Some(call) if action.opening.direction != Direction::Outbound => {
                    let identifier = &call.identifier;
                    let Position { server, epoch, .. } = &action.position;
                    *known
                        .entry((server, *epoch, identifier.origin(), identifier.own()))
                        .or_insert(fresh)
                }
                _ => fresh,
            };
            if request == fresh {
                self.requests.push(Request::default());
            }
            self.request.push(request);
            if action.opening.direction == Direction::Inbound {
                let effect = action.effect.as_ref().map(|(effect, _)| *effect);
                self.requests[request as usize].answered = Some(effect);
            }
        }
        for (action, request) in (0..).zip(&self.request) {
            let outside = |head: &&u32| self.request[**head as usize] != *request;
            for head in self.heads[action as usize].iter().filter(outside) {
                self.requests[*request as usize].heads.push(*head);
                let followed = self.request[*head as usize];
                self.requests[followed as usize].followers.push(action);
            }
            let unknown = &self.unknown_heads[action as usize];
            self.requests[*request as usize]
                .unknown_heads
                .extend(unknown);
        }
        for request in &mut self.requests {
            for list in [
                &mut request.heads,
                &mut request.unknown_heads,
                &mut request.followers,
            ] {
                list.sort_unstable();
                list.dedup();
            }
        }
    }

    /// The lower ones that are no ancestors: those that are ancestors of none of its heads.
    /// `None` if they are more than `room`.
    fn apart_of(&self, action: usize, room: usize) -> Option<Vec<u32>> {
        let number = action as u32;
        let Some((last, others)) = self.heads[action].split_last() else {
            return (action <= room).then(|| (0..number).collect());
        };
        // Lower than the last head: what is apart from it. Higher: all.
        let candidates = &self.apart[*last as usize];
        let above = action - 1 - *last as usize;
        let is_apart = |candidate: &u32| {
            others.iter().all(|head| {
                candidate > head
                    || (candidate != head
                        && self.apart[*head as usize].binary_search(candidate).is_ok())
            })
        };
        let mut apart = Vec::new();
        if candidates.len() + above <= room {
            apart.reserve_exact(candidates.len() + above);
        }
        for candidate in candidates.iter().copied().filter(is_apart) {
            apart.push(candidate);
        }
        if apart.len() + above > room {
            return None;
        }
        apart.extend(*last + 1..number);
        apart.shrink_to_fit();
        Some(apart)
    }

    fn unknown_of(&mut self, action: usize) {
        let sets = self.heads[action]
            .iter()
            .map(|head| self.unknown[*head as usize]);
        let set = self.unknown_sets.union(sets, &self.unknown_heads[action]);
        self.unknown.push(set);
    }
}

/// Sets of unknown ancestors, each kept once: actions mostly share their heads' set.
struct UnknownSets {
    sets: Vec<Vec<u32>>,
    ids: HashMap<Vec<u32>, SetId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct SetId(u32);

/// More than can be told apart.
const TOO_MANY: SetId = SetId(u32::MAX);

impl UnknownSets {
    fn new() -> Self {
        Self {
            sets: vec![Vec::new()],
            ids: HashMap::from([(Vec::new(), SetId(0))]),
        }
    }

    /// `None`: too many.
    fn get(&self, id: SetId) -> Option<&[u32]> {
        self.sets.get(id.0 as usize).map(Vec::as_slice)
    }

    fn union(&mut self, mut ids: impl Iterator<Item = SetId>, more: &[u32]) -> SetId {
        let Some(first) = ids.next() else {
            return self.intern(more.to_vec());
        };
        let rest: Vec<SetId> = ids.filter(|id| *id != first).collect();
        if rest.is_empty() && more.is_empty() {
            return first;
        }
        let mut union = more.to_vec();
        for id in rest.into_iter().chain([first]) {
            match self.get(id) {
                Some(set) => union.extend_from_slice(set),
                None => return TOO_MANY,
            }
        }
        union.sort_unstable();
        union.dedup();
        self.intern(union)
    }

    fn intern(&mut self, set: Vec<u32>) -> SetId {
        if set.len() > UNKNOWN_MAX {
            return TOO_MANY;
        }
        let next = SetId(self.sets.len() as u32);
        *self.ids.entry(set).or_insert_with_key(|set| {
            self.sets.push(set.clone());
            next
        })
    }
}
